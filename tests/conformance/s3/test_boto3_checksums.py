"""Checksums of objects with boto3: in a header or a trailer, kept, given back, refused when wrong."""

import base64
import hashlib
import zlib

import pytest

from tickvault.doors.s3 import checksums

SIZES = [0, 10, 4096, 700_000]


def body_of(size):
    return bytes(n * 7 % 251 for n in range(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_computed_by_the_client(s3, bucket, algorithm, size):
    body = body_of(size)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    name = f"Checksum{algorithm}"
    assert answer[name] == checksums.compute(algorithm.lower(), body)
    assert answer["ChecksumType"] == "FULL_OBJECT"
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got[name] == answer[name]
    assert got["Body"].read() == body
    assert name not in s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-0") if size else True


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_given_as_a_value(s3, bucket, algorithm, size, refused):
    body = body_of(size)
    value = checksums.compute(algorithm.lower(), body)
    name = f"Checksum{algorithm}"
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, **{name: value})
    assert answer[name] == value
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == value
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    wrong = base64.b64encode(bytes(checksums.DIGEST_SIZES[algorithm.lower()] - 1) + b"\x07").decode()
    assert refused(s3.put_object, Bucket=bucket, Key="no", Body=body, **{name: wrong}) == (400, "BadDigest")
    assert refused(s3.put_object, Bucket=bucket, Key="no", Body=body, **{name: "AAA="}) == (
        400,
        "InvalidRequest",
    )
    assert refused(s3.head_object, Bucket=bucket, Key="no").status == 404


@pytest.mark.parametrize("size", SIZES)
def test_content_md5(endpoint, client_for, bucket, refused, size):
    s3 = client_for(endpoint, request_checksum_calculation="when_required")
    body = body_of(size)
    right = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, ContentMD5=right)
    assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    wrong = base64.b64encode(bytes(16)).decode()
    assert refused(s3.put_object, Bucket=bucket, Key="no", Body=body, ContentMD5=wrong) == (400, "BadDigest")
    assert refused(s3.put_object, Bucket=bucket, Key="no", Body=body, ContentMD5="x") == (
        400,
        "InvalidDigest",
    )
    assert refused(s3.head_object, Bucket=bucket, Key="no").status == 404


@pytest.mark.parametrize("size", SIZES)
def test_an_unsigned_trailer(s3, bucket, size):
    class Stream:
        """A body boto3 cannot rewind, so that its checksum follows in a trailer."""

        def __init__(self, data):
            self.data, self.at = data, 0

        def read(self, count=-1):
            end = len(self.data) if count is None or count < 0 else self.at + count
            piece, self.at = self.data[self.at : end], min(end, len(self.data))
            return piece

        def seek(self, offset, whence=0):
            self.at = offset if whence == 0 else len(self.data) + offset
            return self.at

        def tell(self):
            return self.at

    body = body_of(size)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=Stream(body), ChecksumAlgorithm="CRC32")
    assert answer["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert "ContentEncoding" not in got


@pytest.mark.parametrize("size", SIZES)
def test_without_one_the_object_gets_crc64nvme(endpoint, client_for, bucket, size):
    s3 = client_for(endpoint, request_checksum_calculation="when_required")
    body = body_of(size)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert answer["ChecksumCRC64NVME"] == checksums.compute("crc64nvme", body)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumType"] == "FULL_OBJECT"


def test_two_at_once_are_refused(s3, bucket, refused):
    values = {
        "ChecksumCRC32": checksums.compute("crc32", b"x"),
        "ChecksumSHA256": checksums.compute("sha256", b"x"),
    }
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **values) == (400, "InvalidRequest")
