"""Which checksums are computed and kept, and which a client may name.

Invariants: what a client sends with a body is compared where the body is read (`BodyChecks`); what is kept
with an object was computed from the bytes received. An object for which no checksum was named gets
CRC-64/NVME, as in S3.

Source: S3 User Guide, "Checking object integrity for data uploads"; API Reference, PutObject.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import hexlify
from collections.abc import Mapping

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.errors import S3Error

DEFAULT_ALGORITHM = "crc64nvme"


def algorithm_named(name: str) -> str:
    """Return an algorithm a client names, in lower case.

    Raises
    ------
    S3Error
        ``InvalidRequest`` for an unknown one, ``NotImplemented`` for one that is not installed.
    """
    algorithm = name.strip().lower()
    checksums.new(algorithm)
    return algorithm


def header_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the ``x-amz-checksum-*`` headers that speak of a whole object: canonical base64 by algorithm.

    A composite value, which ends in ``-`` and the count of parts, is kept with its ending.
    """
    found: dict[str, str] = {}
    for name, algorithm in checksums.HEADER_ALGORITHMS.items():
        value = headers.get(name)
        if value is not None:
            digest, dash, count = value.strip().partition("-")
            found[algorithm] = checksums.encode(checksums.decode(algorithm, digest)) + dash + count
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    return found


def announced_algorithm(headers: Mapping[str, str]) -> str | None:
    """Return the algorithm of the checksum that a body comes with, in a header or a trailer; None without
    one.

    The reader of the body has refused headers that contradict each other.
    """
    for name, algorithm in checksums.HEADER_ALGORITHMS.items():
        if name in headers:
            return algorithm
    trailer = headers.get("x-amz-trailer")
    return checksums.HEADER_ALGORITHMS.get(trailer.strip().lower()) if trailer else None


def etag_of_content_md5(headers: Mapping[str, str]) -> str | None:
    """Return the ETag that a Content-MD5, found right, already is; None without one."""
    value = headers.get("content-md5")
    return hexlify(b64decode(value)).decode() if value is not None else None


def element_name(algorithm: str) -> str:
    """Return the name of a checksum in S3's XML, such as ``ChecksumCRC32C``."""
    return f"Checksum{algorithm.upper()}"
