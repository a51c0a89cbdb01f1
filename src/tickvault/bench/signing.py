"""Requests signed before the clock starts: AWS Signature Version 4 in the header, rendered to bytes.

Signing costs more than sending, so a load generator that signed as it went would measure itself. A signature
is good for fifteen minutes, longer than any run.

Invariants: each rendered request is complete HTTP/1.1 with keep-alive and may be sent any number of times;
the signer shares no code with the door that verifies it.

Source: AWS, "Signature Version 4 signing process",
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@dataclass(slots=True)
class RequestSigner:
    """Renders signed requests for one key pair and one host, all dated to when the signer was made.

    Parameters
    ----------
    access_key, secret_key : str
    host : str
        Value of the Host header, ``127.0.0.1:9000``.
    region : str
    """

    access_key: str
    secret_key: str
    host: str
    region: str = "us-east-1"
    _date_time: str = field(init=False)
    _scope: str = field(init=False)
    _signing_key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._date_time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        day = self._date_time[:8]
        self._scope = f"{day}/{self.region}/s3/aws4_request"
        key = _hmac(f"AWS4{self.secret_key}".encode(), day)
        for part in (self.region, "s3", "aws4_request"):
            key = _hmac(key, part)
        self._signing_key = key

    def render(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        """Return the bytes of one signed request.

        Parameters
        ----------
        method : str
        path : str
            Decoded path, ``/bucket/key``.
        query : dict of str, optional
            Decoded parameters.
        body : bytes, optional
            Its SHA-256 is signed, as most clients do over plain HTTP.
        """
        target = quote(path, safe="/-_.~")
        pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in (query or {}).items())
        canonical_query = "&".join(f"{name}={value}" for name, value in pairs)
        payload_hash = _EMPTY_SHA256 if body is None else hashlib.sha256(body).hexdigest()
        canonical = (
            f"{method}\n{target}\n{canonical_query}\nhost:{self.host}\nx-amz-content-sha256:{payload_hash}\n"
            f"x-amz-date:{self._date_time}\n\n{_SIGNED_HEADERS}\n{payload_hash}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._date_time}\n{self._scope}\n{digest}"
        signature = _hmac(self._signing_key, to_sign).hex()
        head = (
            f"{method} {target}{'?' + canonical_query if canonical_query else ''} HTTP/1.1\r\n"
            f"Host: {self.host}\r\n"
            f"X-Amz-Date: {self._date_time}\r\n"
            f"X-Amz-Content-SHA256: {payload_hash}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self.access_key}/{self._scope}, "
            f"SignedHeaders={_SIGNED_HEADERS}, Signature={signature}\r\n"
        )
        if body is None:
            return (head + "\r\n").encode()
        return (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body
