from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_client import ACCESS_KEY, SECRET_KEY

from tickvault.doors.s3.checksums import BodyChecks
from tickvault.doors.s3.chunked import SMALL_CHUNK_COUNT_MAX, ChunkedDecoder
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.signing_key import SigningKey
from tickvault.doors.s3.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    Identity,
)

TIMESTAMP = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
KEY = SigningKey.derive(SECRET_KEY, "20130524", "us-east-1")
#: Amazon's documented examples: 65 KiB of "a", the first chunk of 64 KiB.
DATA = b"a" * 66560
PLAIN_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
PLAIN_CHUNKS = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER_CHUNKS = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER_SIGNATURE = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


def decoder(payload: str, seed: str = PLAIN_SEED, length: int | None = len(DATA)) -> ChunkedDecoder:
    return ChunkedDecoder(Identity(ACCESS_KEY, payload, KEY, TIMESTAMP, SCOPE, seed), length)


def wire(signatures: tuple[str, ...], trailers: bytes = b"") -> bytes:
    first, second, last = (s.encode() for s in signatures)
    return (
        b"10000;chunk-signature=" + first + b"\r\n" + DATA[:65536] + b"\r\n"
        b"400;chunk-signature=" + second + b"\r\n" + DATA[65536:] + b"\r\n"
        b"0;chunk-signature=" + last + b"\r\n" + trailers + b"\r\n"
    )


def decode(decoder: ChunkedDecoder, data: bytes, piece_size: int = 1 << 20) -> bytes:
    pieces = []
    for start in range(0, len(data), piece_size):
        pieces += [bytes(piece) for piece in decoder.feed(data[start : start + piece_size])]
    decoder.finish()
    return b"".join(pieces)


def refusal(decoder: ChunkedDecoder, data: bytes) -> str:
    with pytest.raises(S3Error) as caught:
        decode(decoder, data)
    return caught.value.code


@pytest.mark.parametrize("piece_size", [1 << 20, 1000, 1])
def test_the_example_of_amazons_documentation(piece_size: int) -> None:
    assert decode(decoder(STREAMING_SIGNED), wire(PLAIN_CHUNKS), piece_size) == DATA


@pytest.mark.parametrize("piece_size", [1 << 20, 7])
def test_the_example_with_trailers_of_amazons_documentation(piece_size: int) -> None:
    trailers = f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n".encode()
    taker = decoder(STREAMING_SIGNED_TRAILER, TRAILER_SEED)
    assert decode(taker, wire(TRAILER_CHUNKS, trailers), piece_size) == DATA
    assert taker.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    whole = wire(PLAIN_CHUNKS)
    for position in (3, 40, 100, 65700, len(whole) - 50, len(whole) - 2):
        broken = bytearray(whole)
        broken[position] ^= 1
        with pytest.raises(S3Error):
            decode(decoder(STREAMING_SIGNED), bytes(broken))
    altered = bytearray(whole)
    altered[200] = ord("b")
    assert refusal(decoder(STREAMING_SIGNED), bytes(altered)) == "SignatureDoesNotMatch"


def test_a_chunk_left_out_is_noticed() -> None:
    second, last = PLAIN_CHUNKS[1:]
    data = f"400;chunk-signature={second}\r\n{'a' * 1024}\r\n0;chunk-signature={last}\r\n\r\n".encode()
    assert refusal(decoder(STREAMING_SIGNED, length=1024), data) == "SignatureDoesNotMatch"


def test_signed_trailers_must_be_signed() -> None:
    for trailers in (
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n",
        f"x-amz-checksum-crc32c:AAAAAA==\r\nx-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n".encode(),
        f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n".encode(),
    ):
        taker = decoder(STREAMING_SIGNED_TRAILER, TRAILER_SEED)
        assert refusal(taker, wire(TRAILER_CHUNKS, trailers)) == "SignatureDoesNotMatch"
    after = f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n".encode()
    taker = decoder(STREAMING_SIGNED_TRAILER, TRAILER_SEED)
    assert refusal(taker, wire(TRAILER_CHUNKS, after)) == "MalformedTrailerError"


def test_unsigned_chunks_do_not_pass_for_signed_ones() -> None:
    assert refusal(decoder(STREAMING_SIGNED, length=5), b"5\r\nhello\r\n0\r\n\r\n") == "IncompleteBody"


def test_no_trailers_where_none_belong() -> None:
    data = wire(PLAIN_CHUNKS, b"x-amz-checksum-crc32c:sOO8/Q==\r\n")
    assert refusal(decoder(STREAMING_SIGNED), data) == "MalformedTrailerError"


def unsigned(length: int | None = 5) -> ChunkedDecoder:
    return decoder(STREAMING_UNSIGNED_TRAILER, "", length)


@given(body=st.binary(max_size=200), chunk_size=st.integers(1, 50), piece_size=st.integers(1, 60), known=st.booleans())
def test_unsigned_round_trip(body: bytes, chunk_size: int, piece_size: int, known: bool) -> None:
    chunks = [body[start : start + chunk_size] for start in range(0, len(body), chunk_size)]
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    taker = unsigned(len(body) if known else None)
    assert decode(taker, data + b"0\r\nX-Amz-Checksum-Crc32: AAAAAA==\r\n\r\n", piece_size) == body
    assert taker.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"5\r\nhel",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"4\r\nhell\r\n0\r\n\r\n",
        b"6\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\nmore",
        b"5\r\nhello\r\n0\r\n\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5_\r\nhello\r\n0\r\n\r\n",
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"11111111111111111\r\nhello\r\n0\r\n\r\n",
        b"0" * 2000,
        b"0\r\n" + b"x" * 2000,
    ],
)
def test_framing_that_is_wrong_is_refused(data: bytes) -> None:
    assert refusal(unsigned(), data) == "IncompleteBody"


@pytest.mark.parametrize(
    "trailers",
    [
        b"no colon\r\n",
        b": no name\r\n",
        b"a b: c\r\n",
        b"a:1\r\na:2\r\n",
        b"a: \xff\r\n",
        b"".join(b"n%d:%s\r\n" % (i, b"v" * 900) for i in range(10)),
    ],
)
def test_trailers_that_are_wrong_are_refused(trailers: bytes) -> None:
    assert refusal(unsigned(), b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n") == "MalformedTrailerError"


def test_a_flood_of_small_chunks_is_refused() -> None:
    few = b"1\r\na\r\n" * SMALL_CHUNK_COUNT_MAX
    assert decode(unsigned(None), few + b"0\r\n\r\n") == b"a" * SMALL_CHUNK_COUNT_MAX
    assert refusal(unsigned(None), few + b"1\r\na\r\n0\r\n\r\n") == "InvalidChunkSizeError"


def test_a_line_without_an_end_does_not_grow() -> None:
    taker = unsigned(None)
    with pytest.raises(S3Error):
        for _ in range(3):
            taker.feed(b"5" * 600)


def test_what_botocore_sends_over_tls_is_understood() -> None:
    from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

    body = bytes(range(256)) * 300
    raw = AwsChunkedWrapper(io.BytesIO(body), Crc32Checksum, "x-amz-checksum-crc32", chunk_size=10_000)
    taker = unsigned(len(body))
    assert decode(taker, raw.read(), 777) == body
    checks = BodyChecks.from_headers({"x-amz-trailer": "x-amz-checksum-crc32"})
    assert checks is not None
    checks.update(body)
    checks.finish(taker.trailers)
    assert set(checks.values) == {"crc32"}
