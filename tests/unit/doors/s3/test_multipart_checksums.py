"""Checksums of objects made of parts: which pairs exist, and what they come to."""

import base64
import hashlib
import zlib

import pytest

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.multipart_checksums import object_checksum, part_algorithms, upload_checksum
from tickvault.objects.model import PartInfo, UploadInfo


@pytest.mark.parametrize(
    ("algorithm", "kind", "expected"),
    [
        (None, None, (None, None)),
        ("CRC32", None, ("crc32", "COMPOSITE")),
        ("CRC32C", "FULL_OBJECT", ("crc32c", "FULL_OBJECT")),
        ("CRC64NVME", None, ("crc64nvme", "FULL_OBJECT")),
        ("SHA256", None, ("sha256", "COMPOSITE")),
        ("SHA256", "FULL_OBJECT", None),
        ("CRC64NVME", "COMPOSITE", None),
        (None, "COMPOSITE", None),
        ("CRC32", "HALF", None),
        ("ADLER", None, None),
    ],
)
def test_pairs(algorithm, kind, expected):
    headers = {}
    if algorithm:
        headers["x-amz-checksum-algorithm"] = algorithm
    if kind:
        headers["x-amz-checksum-type"] = kind
    if expected is not None:
        assert upload_checksum(headers) == expected
        return
    with pytest.raises(S3Error) as caught:
        upload_checksum(headers)
    assert caught.value.code == "InvalidRequest"


def parts_of(pieces, algorithm):
    return [
        PartInfo(n, len(piece), "e", 0, {algorithm: checksums.compute(algorithm, piece)})
        for n, piece in enumerate(pieces, 1)
    ]


def test_what_they_come_to():
    pieces = [b"a" * 1000, b"b" * 37, b""]
    whole = b"".join(pieces)
    upload = UploadInfo("k", "u", 0, checksum_algorithm="crc32", checksum_type="FULL_OBJECT")
    expected = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    assert object_checksum(upload, parts_of(pieces, "crc32")) == ({"crc32": expected}, "FULL_OBJECT")
    upload = upload._replace(checksum_algorithm="sha256", checksum_type="COMPOSITE")
    digest = hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).digest()
    expected = base64.b64encode(digest).decode() + "-3"
    assert object_checksum(upload, parts_of(pieces, "sha256")) == ({"sha256": expected}, "COMPOSITE")
    nothing_named = UploadInfo("k", "u", 0)
    values, kind = object_checksum(nothing_named, parts_of(pieces, "crc64nvme"))
    assert (values, kind) == ({"crc64nvme": checksums.compute("crc64nvme", whole)}, "FULL_OBJECT")
    assert object_checksum(nothing_named, parts_of(pieces, "crc32")) == ({}, None)


def test_a_part_with_another_checksum_than_its_upload_is_refused():
    upload = UploadInfo("k", "u", 0, checksum_algorithm="sha1", checksum_type="COMPOSITE")
    assert part_algorithms(upload, None) == ("sha1",)
    assert part_algorithms(upload, "sha1") == ("sha1",)
    with pytest.raises(S3Error):
        part_algorithms(upload, "crc32")
    assert part_algorithms(UploadInfo("k", "u", 0), "crc32") == ("crc32", "crc64nvme")
