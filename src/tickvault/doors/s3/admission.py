"""From a parsed HTTP head to an authenticated request with its body.

Invariants: nothing reaches an operation without having passed `Admission.admit`; only a CORS preflight, a browser
form upload and a request of STS may pass it unauthenticated on a server that does not allow anonymous requests; the
operations of the latter two check the signature of the form, and that over the body of the request.
"""

from __future__ import annotations

from collections.abc import Mapping

from tickvault.doors.s3.addressing import Target, bucket_and_key, split_target
from tickvault.doors.s3.body import EMPTY_BODY, RequestBody
from tickvault.doors.s3.checksums import BodyChecks
from tickvault.doors.s3.chunked import ChunkedDecoder
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Body, Request
from tickvault.doors.s3.sigv4 import (
    ANONYMOUS,
    EMPTY_SHA256,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    Authenticator,
    Identity,
)

_BODY_METHODS = frozenset({"PUT", "POST"})


class Admission:
    """Lets requests in.

    Parameters
    ----------
    authenticator : Authenticator
        Checks the signatures.
    domains : tuple of str
        Domains whose subdomains are buckets (virtual-host style).
    limits : Limits
        Sizes of bodies.
    """

    def __init__(self, authenticator: Authenticator, domains: tuple[str, ...], limits: Limits) -> None:
        self._authenticator = authenticator
        self._domains = tuple(domain.lower().strip(".") for domain in domains)
        self._limits = limits

    def admit(
        self,
        method: str,
        raw_target: bytes,
        headers: dict[str, str],
        request_id: str,
        *,
        has_body: bool = False,
        remote: str = "",
        secure: bool = False,
        tls_version: str = "",
    ) -> tuple[Request, RequestBody | None]:
        """Return the request, and its body when the connection has to fill one.

        Raises
        ------
        S3Error
            The request is malformed, not signed as it must be, or speaks against itself.
        """
        target = split_target(raw_target)
        host = headers.get("host", "")
        bucket, key = bucket_and_key(target.decoded_path, host, self._domains)
        if method == "POST" and not bucket:
            identity = ANONYMOUS  # STS and the like sign their body, which is not here yet
        elif "authorization" in headers:
            identity = self._authenticator.authenticate(method, target, headers)
        else:
            identity = self._identify_unsigned(method, target, headers, key)
        body: Body = EMPTY_BODY
        arriving: RequestBody | None = None
        if has_body or method in _BODY_METHODS:
            body = arriving = self._body(method, target, headers, identity)
        elif identity.payload not in (EMPTY_SHA256, UNSIGNED_PAYLOAD):
            raise _hash_mismatch(identity.payload)
        request = Request(
            method,
            target.path,
            bucket,
            key,
            target.query,
            headers,
            body,
            identity.access_key,
            request_id,
            remote,
            secure,
            host,
            tls_version,
        )
        signer = identity.signer
        if signer is not None:
            request.signer = signer
            request.identity = signer.identity
        return request, arriving

    def _identify_unsigned(self, method: str, target: Target, headers: Mapping[str, str], key: str) -> Identity:
        """Return who sent a request without an Authorization header."""
        if "X-Amz-Signature" not in target.query:
            if method == "OPTIONS":
                return ANONYMOUS
            if method == "POST" and not key and not target.query_pairs:
                content_type = headers.get("content-type", "")
                if content_type.lower().startswith("multipart/form-data"):
                    return ANONYMOUS
        return self._authenticator.authenticate(method, target, headers)

    def _body(self, method: str, target: Target, headers: dict[str, str], identity: Identity) -> RequestBody:
        limits = self._limits
        content_length = headers.get("content-length")
        length: int | None = int(content_length) if content_length is not None else None
        payload = identity.payload
        if payload == UNSIGNED_PAYLOAD:
            # What the client says of the body without having signed it is still to be kept.
            payload = headers.get("x-amz-content-sha256", payload)
            if payload.startswith("STREAMING-"):
                if payload != STREAMING_UNSIGNED_TRAILER:
                    raise S3Error("InvalidRequest", f"{payload} needs a signature that covers it.")
                identity = identity._replace(payload=payload)
        decoder = None
        sha256_hex = None
        if payload.startswith("STREAMING-"):
            if length is None and "transfer-encoding" not in headers:
                raise S3Error("MissingContentLength")
            announced = headers.get("x-amz-decoded-content-length")
            if announced is not None:
                length = _number(announced)
            elif length is not None:
                raise S3Error("MissingContentLength", "The x-amz-decoded-content-length HTTP header is missing.")
            decoder = ChunkedDecoder(identity, length)
            _remove_aws_chunked(headers)
        elif payload != UNSIGNED_PAYLOAD:
            sha256_hex = payload.lower()
        if length is not None and length > limits.body_size_max:
            raise S3Error("EntityTooLarge", None, ProposedSize=length, MaxSizeAllowed=limits.body_size_max)
        # Completing an upload carries the checksum of the object, which is not that of the list of parts sent
        # here.
        object_level = method == "POST" and "uploadId" in target.query
        checks = BodyChecks.from_headers(headers, object_level=object_level)
        return RequestBody(
            length,
            decoder,
            sha256_hex,
            checks,
            buffer_max=limits.body_buffer_max,
            size_max=limits.body_size_max,
        )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise S3Error("InvalidArgument", "x-amz-decoded-content-length must be a number.")
    return int(text)


def _remove_aws_chunked(headers: dict[str, str]) -> None:
    """Take ``aws-chunked`` out of Content-Encoding: it is of the transport, and must not be stored."""
    encodings = [name.strip() for name in headers.get("content-encoding", "").split(",")]
    kept = [name for name in encodings if name and name.lower() != "aws-chunked"]
    if kept:
        headers["content-encoding"] = ", ".join(kept)
    else:
        headers.pop("content-encoding", None)


def _hash_mismatch(given: str) -> S3Error:
    return S3Error(
        "XAmzContentSHA256Mismatch",
        None,
        ClientComputedContentSHA256=given,
        S3ComputedContentSHA256=EMPTY_SHA256,
    )
