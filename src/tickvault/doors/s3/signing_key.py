"""The signing key of SigV4, and the small texts around it: credential scope and timestamp.

Invariants: the key itself never leaves its object, not in a representation either; a signature is 64
lower-case hexadecimal digits.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm

from tickvault.doors.s3.errors import S3Error

_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z").fullmatch
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_BLOCK_SIZE = 64


class SigningKey:
    """Signs on one day for one region and service.

    HMAC-SHA-256 with both pads hashed beforehand, which takes less than half the time of `hmac.digest`.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        assert len(key) <= _BLOCK_SIZE
        padded = key.ljust(_BLOCK_SIZE, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER_PAD))
        self._outer = hashlib.sha256(padded.translate(_OUTER_PAD))

    @classmethod
    def derive(cls, secret: str, date: str, region: str, service: str = "s3") -> SigningKey:
        """Return the key of a secret for a date (``YYYYMMDD``), a region and a service."""
        key = hmac.digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
        for step in (region.encode(), service.encode(), b"aws4_request"):
            key = hmac.digest(key, step, "sha256")
        return cls(key)

    def sign(self, text: str) -> str:
        """Return the signature of a string to sign, in hex."""
        inner = self._inner.copy()
        inner.update(text.encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


def is_timestamp(text: str) -> bool:
    """Tell whether a text has the form ``YYYYMMDDTHHMMSSZ``."""
    return _TIMESTAMP(text) is not None


def parse_timestamp(timestamp: str) -> int:
    """Return ``YYYYMMDDTHHMMSSZ`` in seconds since the epoch.

    Raises
    ------
    S3Error
        ``AccessDenied``, as S3 answers, when it is not a time.
    """
    if is_timestamp(timestamp):
        try:
            return timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            pass
    raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")


def parse_scope(credential: str, code: str, service: str = "s3") -> tuple[str, str, str, str]:
    """Return access key, date, region and scope of a credential (``KEY/date/region/s3/aws4_request``).

    Raises
    ------
    S3Error
        It has another form, or is for another service.
    """
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or not parts[2] or parts[4] != "aws4_request":
        raise S3Error(
            code,
            'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    if parts[3] != service:
        raise S3Error(
            code,
            f"The Credential is mal-formed; incorrect service {parts[3]!r}. This endpoint belongs to {service!r}.",
        )
    if len(parts[1]) != 8 or not parts[1].isascii() or not parts[1].isdigit():
        raise S3Error(code, "The Credential is mal-formed; its date must be YYYYMMDD.")
    return parts[0], parts[1], parts[2], "/".join(parts[1:])
