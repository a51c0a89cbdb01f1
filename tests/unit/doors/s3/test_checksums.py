from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.checksums import BodyChecks
from tickvault.doors.s3.errors import S3Error

BUILT_IN = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5")


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [  # check values of the CRC catalogue, and FIPS 180
        ("crc32", b64(bytes.fromhex("CBF43926"))),
        ("crc32c", b64(bytes.fromhex("E3069283"))),
        ("crc64nvme", b64(bytes.fromhex("AE8B14860A799888"))),
        ("sha1", b64(hashlib.sha1(b"123456789").digest())),
        ("sha256", b64(hashlib.sha256(b"123456789").digest())),
        ("sha512", b64(hashlib.sha512(b"123456789").digest())),
        ("md5", b64(hashlib.md5(b"123456789").digest())),
    ],
)
def test_values_of_the_catalogue(algorithm: str, value: str) -> None:
    assert checksums.compute(algorithm, b"123456789") == value


def test_every_algorithm_of_the_service_model_is_known() -> None:
    import botocore.loaders

    model = botocore.loaders.Loader().load_service_model("s3", "service-2")
    named = {name.lower() for name in model["shapes"]["ChecksumAlgorithm"]["enum"]}
    assert named == set(checksums.DIGEST_SIZES)


@pytest.mark.parametrize("algorithm", ["xxhash64", "xxhash3", "xxhash128"])
def test_xxhash_agrees_with_its_published_values_or_says_that_it_is_missing(algorithm: str) -> None:
    published = {  # of the empty input, xxHash specification
        "xxhash64": "EF46DB3751D8E999",
        "xxhash3": "2D06800538D394C2",
        "xxhash128": "99AA06D3014798D86001C324468D497F",
    }
    try:
        import xxhash  # noqa: F401
    except ImportError:
        with pytest.raises(S3Error) as caught:
            checksums.new(algorithm)
        assert caught.value.code == "NotImplemented"
    else:
        assert checksums.new(algorithm).digest() == bytes.fromhex(published[algorithm])


@given(data=st.binary(max_size=300), cut=st.integers(0, 300), algorithm=st.sampled_from(BUILT_IN))
def test_pieces_give_the_same_as_the_whole(data: bytes, cut: int, algorithm: str) -> None:
    checksum = checksums.new(algorithm)
    checksum.update(data[:cut])
    checksum.update(memoryview(data)[cut:])
    assert checksums.encode(checksum.digest()) == checksums.compute(algorithm, data)


@given(
    parts=st.lists(st.binary(max_size=60), max_size=6),
    algorithm=st.sampled_from(["crc32", "crc32c", "crc64nvme"]),
)
def test_combined_parts_give_the_checksum_of_the_object(parts: list[bytes], algorithm: str) -> None:
    combined = checksums.combine(algorithm, [(checksums.compute(algorithm, p), len(p)) for p in parts])
    assert combined == checksums.compute(algorithm, b"".join(parts))


def test_combining_counts_every_byte_of_a_large_part() -> None:
    zeros = bytes(5 << 20)
    parts = [(checksums.compute("crc32", b"abc"), 3), (checksums.compute("crc32", zeros), len(zeros))]
    assert base64.b64decode(checksums.combine("crc32", parts)) == zlib.crc32(b"abc" + zeros).to_bytes(4, "big")


def test_digests_cannot_be_combined() -> None:
    with pytest.raises(S3Error, match="FULL_OBJECT"):
        checksums.combine("sha256", [])


def test_composite_is_the_digest_of_digests_and_the_part_count() -> None:
    one, two = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
    expected = f"{b64(hashlib.sha256(one + two).digest())}-2"
    assert checksums.composite("sha256", [b64(one), b64(two)]) == expected


@pytest.mark.parametrize("value", ["", "AAAA", "!!!!", "AAAAAAA=", "AAAAAA", "ÄAAAAA==", "AAAAAA==\nAAAAAA=="])
def test_what_is_not_a_value_is_refused(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        checksums.decode("crc32", value)
    assert caught.value.code == "InvalidRequest"


def check(headers: dict[str, str], data: bytes, trailers: dict[str, str] | None = None) -> dict[str, str]:
    checks = BodyChecks.from_headers(headers)
    assert checks is not None
    checks.update(data[:3])
    checks.update(data[3:])
    checks.finish(trailers or {})
    return checks.values


def test_nothing_announced_is_nothing_to_check() -> None:
    assert BodyChecks.from_headers({"x-amz-checksum-algorithm": "CRC32", "content-type": "x"}) is None


@pytest.mark.parametrize("algorithm", BUILT_IN)
def test_a_header_that_matches_is_kept_and_one_that_does_not_is_refused(algorithm: str) -> None:
    headers = {f"x-amz-checksum-{algorithm}": checksums.compute(algorithm, b"body")}
    assert check(headers, b"body") == {algorithm: headers[f"x-amz-checksum-{algorithm}"]}
    with pytest.raises(S3Error) as caught:
        check(headers, b"bodY")
    assert caught.value.code == "BadDigest"


def test_content_md5() -> None:
    headers = {"content-md5": b64(hashlib.md5(b"body").digest())}
    assert check(headers, b"body") == {}
    with pytest.raises(S3Error) as caught:
        check(headers, b"bodY")
    assert caught.value.code == "BadDigest"
    for wrong in ("abc", b64(b"too short"), ""):
        with pytest.raises(S3Error) as caught:
            BodyChecks.from_headers({"content-md5": wrong})
        assert caught.value.code == "InvalidDigest"


def test_both_content_md5_and_a_checksum_are_compared() -> None:
    headers = {
        "content-md5": b64(hashlib.md5(b"body").digest()),
        "x-amz-checksum-crc32": checksums.compute("crc32", b"other"),
    }
    with pytest.raises(S3Error, match="CRC32"):
        check(headers, b"body")


def test_a_trailer_must_come_and_match() -> None:
    headers = {"x-amz-trailer": "x-amz-checksum-crc32c"}
    value = checksums.compute("crc32c", b"body")
    assert check(headers, b"body", {"x-amz-checksum-crc32c": value}) == {"crc32c": value}
    with pytest.raises(S3Error) as caught:
        check(headers, b"body", {})
    assert caught.value.code == "MalformedTrailerError"
    with pytest.raises(S3Error) as caught:
        check(headers, b"bodY", {"x-amz-checksum-crc32c": value})
    assert caught.value.code == "BadDigest"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-trailer": "x-amz-meta-name"},
        {"x-amz-trailer": "x-amz-checksum-crc32, x-amz-checksum-sha1"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "CRC16"},
        {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "AAAAAA=="},
    ],
)
def test_headers_that_contradict_themselves_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        BodyChecks.from_headers(headers)
    assert caught.value.code == "InvalidRequest"


def test_the_checksum_of_an_object_is_not_that_of_the_request_that_completes_it() -> None:
    assert BodyChecks.from_headers({"x-amz-checksum-crc32": "AAAAAA=="}, object_level=True) is None
