"""S3's checksums: computed piece by piece, checked against what the client sent, and combined over parts.

Invariants: a value is the base64 of the big-endian digest; `BodyChecks` compares every value the client sent,
never only one of them; a value that was not sent is never made up; combining never reads the data again.

Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import hmac
import importlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from crc32c import crc32c as _crc32c

from tickvault.doors.s3 import crc64nvme as _crc64
from tickvault.doors.s3.errors import S3Error

Buffer = bytes | bytearray | memoryview

#: Digest size in bytes by algorithm, all that S3's service model names.
DIGEST_SIZES = {
    "crc32": 4,
    "crc32c": 4,
    "crc64nvme": 8,
    "sha1": 20,
    "sha256": 32,
    "sha512": 64,
    "md5": 16,
    "xxhash64": 8,
    "xxhash3": 8,
    "xxhash128": 16,
}

#: Reflected polynomial and width in bits of the algorithms whose values combine into that of the object.
_POLYNOMIALS = {"crc32": (0xEDB88320, 32), "crc32c": (0x82F63B78, 32), "crc64nvme": (_crc64.POLYNOMIAL, 64)}

#: ``x-amz-checksum-*`` headers by name; ``-algorithm``, ``-type`` and ``-mode`` are not among them.
HEADER_ALGORITHMS = {f"x-amz-checksum-{algorithm}": algorithm for algorithm in DIGEST_SIZES}


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: Buffer, /) -> None:
        """Take the next piece."""

    def digest(self) -> bytes:
        """Return the digest of what was taken so far, big-endian."""


class _Crc:
    """A CRC whose function takes the data and the value so far."""

    __slots__ = ("_function", "_size", "_value")

    def __init__(self, function: Callable[[Any, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def new(algorithm: str) -> Checksum:
    """Start a checksum.

    Parameters
    ----------
    algorithm : str
        Lower case, a key of `DIGEST_SIZES`.

    Raises
    ------
    S3Error
        ``InvalidRequest`` for an unknown algorithm; ``NotImplemented`` for xxHash without its package.
    """
    if algorithm == "crc32":
        return _Crc(zlib.crc32, 4)
    if algorithm == "crc32c":
        return _Crc(_crc32c, 4)
    if algorithm == "crc64nvme":
        return _Crc(_crc64.crc64nvme, 8)
    if algorithm in ("sha1", "sha256", "sha512", "md5"):
        return hashlib.new(algorithm, usedforsecurity=False)
    if algorithm in DIGEST_SIZES:
        try:
            xxhash = importlib.import_module("xxhash")
        except ImportError:
            raise S3Error(
                "NotImplemented", f"The checksum algorithm {algorithm.upper()} is not implemented here."
            ) from None
        function: Callable[[], Checksum] = {
            "xxhash64": xxhash.xxh64,
            "xxhash3": xxhash.xxh3_64,
            "xxhash128": xxhash.xxh3_128,
        }[algorithm]
        return function()
    raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")


def compute(algorithm: str, data: Buffer) -> str:
    """Return the checksum of `data` as S3 writes it, in base64."""
    checksum = new(algorithm)
    checksum.update(data)
    return encode(checksum.digest())


def encode(digest: bytes) -> str:
    """Return a digest as S3 writes it."""
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def decode(algorithm: str, value: str) -> bytes:
    """Return the digest that a client wrote.

    Raises
    ------
    S3Error
        ``InvalidRequest`` when it is not base64 or of the wrong size.
    """
    digest = _from_base64(value)
    if digest is None or len(digest) != DIGEST_SIZES[algorithm]:
        raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{algorithm} header is invalid.")
    return digest


def combine(algorithm: str, parts: Iterable[tuple[str, int]]) -> str:
    """Return the ``FULL_OBJECT`` checksum of an object from those of its parts.

    Parameters
    ----------
    algorithm : str
        ``crc32``, ``crc32c`` or ``crc64nvme``; digests such as SHA-256 cannot be combined.
    parts : iterable of (str, int)
        Base64 value and size in bytes of each part, in order.
    """
    if algorithm not in _POLYNOMIALS:
        raise S3Error(
            "InvalidRequest",
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    polynomial, width = _POLYNOMIALS[algorithm]
    total = 0
    for value, size in parts:
        crc = int.from_bytes(decode(algorithm, value), "big")
        # Appending `size` bytes multiplies what came before by x^(8 * size); the inversions at both ends
        # cancel.
        total = _multiply(_shift_operator(size, polynomial, width), total, polynomial, width) ^ crc
    return encode(total.to_bytes(width // 8, "big"))


def composite(algorithm: str, values: Iterable[str]) -> str:
    """Return the ``COMPOSITE`` checksum: that of the parts' digests one after the other, and the part
    count."""
    checksum = new(algorithm)
    count = 0
    for value in values:
        checksum.update(decode(algorithm, value))
        count += 1
    return f"{encode(checksum.digest())}-{count}"


def _multiply(a: int, b: int, polynomial: int, width: int) -> int:
    """Return a * b modulo the polynomial; bit `width - 1` is x^0, as reflected CRCs keep it."""
    product = 0
    top = 1 << (width - 1)
    while a:
        if a & top:
            product ^= b
        a = (a << 1) & ((1 << width) - 1)
        b = (b >> 1) ^ (polynomial if b & 1 else 0)
    return product


@functools.lru_cache(maxsize=256)
def _shift_operator(size: int, polynomial: int, width: int) -> int:
    """Return x^(8 * size) modulo the polynomial; cached, since the parts of an upload are mostly of one
    size."""
    result = 1 << (width - 1)
    square = 1 << (width - 2)
    exponent = 8 * size
    while exponent:
        if exponent & 1:
            result = _multiply(result, square, polynomial, width)
        square = _multiply(square, square, polynomial, width)
        exponent >>= 1
    return result


class BodyChecks:
    """What the client said its body's checksums are, and what they turn out to be.

    Attributes
    ----------
    values : dict of str to str
        Base64 values by algorithm that were found right; empty before `finish`.
    """

    __slots__ = ("_expected", "_md5", "_md5_expected", "_running", "_trailer", "values")

    def __init__(self, expected: dict[str, bytes], md5: bytes | None, trailer: str | None) -> None:
        self._expected = expected
        self._md5_expected = md5
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 is not None else None
        self._trailer = trailer
        self._running = {algorithm: new(algorithm) for algorithm in expected}
        if trailer is not None:
            self._running[trailer] = new(trailer)
        self.values: dict[str, str] = {}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, object_level: bool = False) -> BodyChecks | None:
        """Return the checks that the headers ask for, None when they ask for none.

        Parameters
        ----------
        headers : mapping of str to str
            Names in lower case.
        object_level : bool
            The ``x-amz-checksum-*`` headers speak of an object, not of this body, as when an upload is
            completed.

        Raises
        ------
        S3Error
            ``InvalidDigest`` or ``InvalidRequest`` when they contradict themselves.
        """
        md5 = None
        if "content-md5" in headers:
            md5 = _from_base64(headers["content-md5"])
            if md5 is None or len(md5) != 16:
                raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.")
        expected: dict[str, bytes] = {}
        trailer = None
        if not object_level:
            for name in headers:
                if name.startswith("x-amz-checksum-") and name in HEADER_ALGORITHMS:
                    expected[HEADER_ALGORITHMS[name]] = decode(HEADER_ALGORITHMS[name], headers[name])
            trailer = _announced_trailer(headers)
            if len(expected) + (trailer is not None) > 1:
                raise S3Error(
                    "InvalidRequest",
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                )
            _check_announced(headers, {*expected, *([trailer] if trailer else ())})
        if md5 is None and not expected and trailer is None:
            return None
        return cls(expected, md5, trailer)

    def update(self, data: Buffer) -> None:
        """Take the next decoded piece of the body."""
        if self._md5 is not None:
            self._md5.update(data)
        for checksum in self._running.values():
            checksum.update(data)

    def finish(self, trailers: Mapping[str, str]) -> None:
        """Compare everything at the end of the body.

        Raises
        ------
        S3Error
            ``BadDigest`` on a mismatch; ``MalformedTrailerError`` when an announced trailer is missing.
        """
        if self._md5 is not None and not hmac.compare_digest(self._md5.digest(), self._md5_expected or b""):
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
        if self._trailer is not None:
            value = trailers.get(f"x-amz-checksum-{self._trailer}")
            if value is None:
                raise S3Error("MalformedTrailerError", "The trailer announced by x-amz-trailer is missing.")
            self._expected[self._trailer] = decode(self._trailer, value)
        for algorithm, digest in self._expected.items():
            if not hmac.compare_digest(self._running[algorithm].digest(), digest):
                raise S3Error(
                    "BadDigest",
                    f"The {algorithm.upper()} you specified did not match the calculated checksum.",
                )
            self.values[algorithm] = encode(digest)


def _announced_trailer(headers: Mapping[str, str]) -> str | None:
    """Return the checksum algorithm that ``x-amz-trailer`` announces, None without one."""
    announced = headers.get("x-amz-trailer")
    if announced is None:
        return None
    names = [name.strip().lower() for name in announced.split(",") if name.strip()]
    algorithms = [HEADER_ALGORITHMS[name] for name in names if name in HEADER_ALGORITHMS]
    if len(names) > 1 or len(algorithms) != len(names):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return algorithms[0] if algorithms else None


def _check_announced(headers: Mapping[str, str], sent: set[str]) -> None:
    """Refuse an ``x-amz-sdk-checksum-algorithm`` that does not name what was sent."""
    announced = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if not announced:
        return
    if announced not in DIGEST_SIZES:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    if not sent:
        if "content-md5" in headers:  # older SDKs announce one and send Content-MD5 instead
            return
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer "
            "headers were found.",
        )
    if announced not in sent:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _from_base64(value: str) -> bytes | None:
    try:
        return binascii.a2b_base64(value.strip(), strict_mode=True)
    except (binascii.Error, ValueError):
        return None
