"""AWS Signature Version 4, by Authorization header and by presigned URL.

Invariants: a secret is never logged, stored in an answer, or part of an exception, nor is a customer's key or a session
token of the request; signatures are compared in constant time; a request is either signed by a known key, or anonymous
and only let through when the server was told to, or refused; every ``x-amz-*`` header and ``host`` must be signed, a
session token among them, and of a presigned URL the token stands in the query, which is signed whole; any region is
accepted, the service is ``s3`` unless it is asked for another.

Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tickvault.doors.s3.addressing import Target, canonical_path, canonical_query
from tickvault.doors.s3.authorization.signer import Find, Signer
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.signing_key import SigningKey, is_timestamp, parse_scope, parse_timestamp

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

CLOCK_SKEW_MAX_S = 15 * 60
PRESIGNED_EXPIRY_MAX_S = 7 * 24 * 3600
#: Signing keys and parsed Authorization headers kept; a client that fills them only makes them start afresh.
CACHE_COUNT_MAX = 1024
NAMES_CHECKED_COUNT_MAX = 32

_STREAMING = frozenset({STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER})
#: Values of ``x-amz-content-sha256`` that need no look at their form.
_KNOWN_PAYLOADS = _STREAMING | {UNSIGNED_PAYLOAD, EMPTY_SHA256}
_SIGNED_HEADERS = re.compile(r"[a-z0-9!#$%&'*+.^_`|~;-]+").fullmatch
_SHA256_HEX = re.compile(r"[0-9a-f]{64}").fullmatch
#: What a client may add to a presigned URL unsigned: it says how the body is checked, no more.
_UNSIGNED_ALLOWED = frozenset({"x-amz-content-sha256"})
#: What a request may hold that must not come back in an answer, which clients write into their logs: a header to the
#: end of its line, a parameter to the next one.
_HIDDEN = re.compile(
    r"(?im)(?:^|(?<=&))(x-amz-server-side-encryption-customer-key|"
    r"x-amz-copy-source-server-side-encryption-customer-key|x-amz-security-token)(?::.*|=[^&\n]*)"
)


class Identity(NamedTuple):
    """Who sent a request, and what its signature says about its body."""

    access_key: str
    """Empty for an anonymous request."""
    payload: str = UNSIGNED_PAYLOAD
    """The value of ``x-amz-content-sha256``: a digest in hex or one of the constants of this module."""
    chunk_key: SigningKey | None = None
    """Signing key for the chunks of a streaming payload."""
    timestamp: str = ""
    scope: str = ""
    signature: str = ""
    """The seed of the chain of chunk signatures."""
    signer: Signer | None = None
    """None for an anonymous request."""


ANONYMOUS = Identity("")


class _Credential(NamedTuple):
    """The constant part of a client's Authorization header, taken apart."""

    access_key: str
    date: str
    region: str
    service: str
    scope: str
    signed: tuple[str, ...]
    signed_joined: str
    names_checked: set[tuple[str, ...]]
    """Header names, in the order sent, of requests that were found to have signed all they must."""


class Authenticator:
    """Checks signatures.

    Parameters
    ----------
    find : callable
        Returns who signs with an access key and a session token, or raises `S3Error`.
    allow_anonymous : bool
        Let unsigned requests through, as ``ANONYMOUS``.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        find: Find,
        *,
        allow_anonymous: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._allow_anonymous = allow_anonymous
        self._clock = clock
        self._credentials: dict[str, _Credential] = {}
        self._keys: dict[tuple[str, str], tuple[Signer, SigningKey]] = {}
        self._times: dict[str, int] = {}

    def authenticate(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        *,
        service: str = "s3",
        payload_sha256: str | None = None,
    ) -> Identity:
        """Return who sent the request.

        Parameters
        ----------
        method : str
            Upper case.
        target : Target
            The request target as it was sent.
        headers : mapping of str to str
            Names in lower case, values decoded as Latin-1; repeated headers joined by a comma.
        service : str
            What the signature must be for.
        payload_sha256 : str, optional
            SHA-256 of the body in hex, for services whose clients sign it without saying it in a header.

        Raises
        ------
        S3Error
            ``AccessDenied``, ``SignatureDoesNotMatch``, ``RequestTimeTooSkewed``, ``InvalidAccessKeyId`` and
            others.
        """
        authorization = headers.get("authorization")
        if authorization is not None:
            if target.query_pairs and "X-Amz-Signature" in target.query:
                raise S3Error(
                    "InvalidArgument",
                    "Only one auth mechanism allowed; only the X-Amz-Algorithm query "
                    "parameter, Signature query string parameter or the Authorization header should be "
                    "specified",
                )
            return self._by_header(method, target, headers, authorization, service, payload_sha256)
        if target.query_pairs:
            query = target.query
            if "X-Amz-Signature" in query or "X-Amz-Algorithm" in query:
                return self._by_query(method, target, headers)
            if "AWSAccessKeyId" in query and "Signature" in query:
                raise _not_supported()
        if self._allow_anonymous:
            return ANONYMOUS
        raise S3Error("AccessDenied")

    def _signing_key(self, credential: _Credential, token: str | None) -> tuple[Signer, SigningKey]:
        """Return who signs, and with which key; raises `S3Error` for an access key that is not accepted."""
        signer = self._find(credential.access_key, token)
        cached = self._keys.get((credential.access_key, credential.scope))
        # Who signs is part of the entry, so that a changed secret takes effect at once.
        if cached is not None and cached[0] is signer:
            return cached
        key = SigningKey.derive(signer.secret, credential.date, credential.region, credential.service)
        if len(self._keys) >= CACHE_COUNT_MAX:
            self._keys.clear()
        made = self._keys[(credential.access_key, credential.scope)] = (signer, key)
        return made

    def _by_header(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        authorization: str,
        service: str,
        payload_sha256: str | None,
    ) -> Identity:
        constant, separator, signature = authorization.rpartition("Signature=")
        credential = self._credentials.get(constant)
        if credential is None:
            if not separator or not authorization.startswith(ALGORITHM):
                if authorization.startswith(("AWS ", "AWS4-ECDSA-P256-SHA256")):
                    raise _not_supported()
                raise S3Error(
                    "AuthorizationHeaderMalformed" if authorization.startswith("AWS") else "InvalidArgument",
                    "The authorization header is malformed; it must start with AWS4-HMAC-SHA256 and hold "
                    "Credential, SignedHeaders and Signature.",
                )
            # The order of the three fields is free; only the usual one, with the signature last, is worth
            # caching.
            constant_is_all = "," not in signature
            fields = _authorization_fields(authorization)
            signature = fields["Signature"]
            credential = _credential(
                fields["Credential"], fields["SignedHeaders"], "AuthorizationHeaderMalformed", service
            )
            if constant_is_all:
                if len(self._credentials) >= CACHE_COUNT_MAX:
                    self._credentials.clear()
                self._credentials[constant] = credential
        elif credential.service != service:
            raise S3Error("AuthorizationHeaderMalformed", f"The credential is not for the service {service!r}.")
        payload = headers.get("x-amz-content-sha256")
        if payload_sha256 is not None:
            if payload is not None and payload != payload_sha256:
                raise S3Error("SignatureDoesNotMatch", "x-amz-content-sha256 is not that of the body.")
            payload = payload_sha256
        if payload is None:
            raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        if payload not in _KNOWN_PAYLOADS and not _SHA256_HEX(payload):
            if payload.startswith("STREAMING-"):
                raise S3Error("NotImplemented", f"The payload signing of {payload} is not implemented.")
            raise S3Error(
                "InvalidArgument",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-"
                "PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-"
                "TRAILER or a valid sha256 value.",
            )
        timestamp = headers.get("x-amz-date") or _timestamp_of_date(headers)
        seconds = self._times.get(timestamp)
        skew = self._clock() - (self._seconds(timestamp) if seconds is None else seconds)
        if skew > CLOCK_SKEW_MAX_S or skew < -CLOCK_SKEW_MAX_S:
            raise S3Error(
                "RequestTimeTooSkewed",
                None,
                RequestTime=timestamp,
                ServerTime=_iso(self._clock()),
                MaxAllowedSkewMilliseconds=CLOCK_SKEW_MAX_S * 1000,
            )
        if credential.date != timestamp[:8]:
            raise S3Error("AuthorizationHeaderMalformed", "The date of the credential must be that of the request.")
        signer, key = self._signing_key(credential, headers.get("x-amz-security-token"))
        self._check(
            method,
            target,
            headers,
            credential,
            query=canonical_query(target.query_pairs) if target.query_pairs else "",
            payload=payload,
            timestamp=timestamp,
            key=key,
            signature=signature,
        )
        if payload in _STREAMING:
            return Identity(credential.access_key, payload, key, timestamp, credential.scope, signature, signer)
        return Identity(credential.access_key, payload, signer=signer)

    def _by_query(self, method: str, target: Target, headers: Mapping[str, str]) -> Identity:
        query = target.query
        code = "AuthorizationQueryParametersError"
        if query.get("X-Amz-Algorithm") != ALGORITHM:
            raise S3Error(code, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
        try:
            credential = _credential(query["X-Amz-Credential"], query["X-Amz-SignedHeaders"], code, "s3")
            timestamp, expires_text, signature = (
                query["X-Amz-Date"],
                query["X-Amz-Expires"],
                query["X-Amz-Signature"],
            )
        except KeyError:
            raise S3Error(
                code,
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
                "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ) from None
        if not expires_text.isascii() or not expires_text.isdigit() or len(expires_text) > 9:
            raise S3Error(code, "X-Amz-Expires should be a number")
        expires = int(expires_text)
        if not 1 <= expires <= PRESIGNED_EXPIRY_MAX_S:
            raise S3Error(code, f"X-Amz-Expires must be between 1 and {PRESIGNED_EXPIRY_MAX_S} seconds")
        signed_at = self._seconds(timestamp)
        if credential.date != timestamp[:8]:
            raise S3Error(code, "The date of X-Amz-Credential must be that of X-Amz-Date.")
        now = self._clock()
        if signed_at > now + CLOCK_SKEW_MAX_S:
            raise S3Error("AccessDenied", "Request is not valid yet")
        if now > signed_at + expires:
            times: dict[str, Any] = {
                "X-Amz-Expires": expires,
                "Expires": _iso(signed_at + expires),
                "ServerTime": _iso(now),
            }
            raise S3Error("AccessDenied", "Request has expired", **times)
        payload = query.get("X-Amz-Content-Sha256") or UNSIGNED_PAYLOAD
        if "x-amz-content-sha256" in credential.signed:
            payload = headers.get("x-amz-content-sha256", payload)
        if payload not in _KNOWN_PAYLOADS and not _SHA256_HEX(payload):
            raise S3Error("InvalidArgument", "x-amz-content-sha256 is not valid.")
        if "x-amz-security-token" in headers:
            raise S3Error("InvalidArgument", "The session token of a presigned URL stands in its query alone.")
        signer, key = self._signing_key(credential, query.get("X-Amz-Security-Token"))
        self._check(
            method,
            target,
            headers,
            credential,
            query=canonical_query(target.query_pairs, skip="X-Amz-Signature"),
            payload=payload,
            timestamp=timestamp,
            key=key,
            signature=signature,
        )
        return Identity(credential.access_key, payload, key, timestamp, credential.scope, signature, signer)

    def _check(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        credential: _Credential,
        *,
        query: str,
        payload: str,
        timestamp: str,
        key: SigningKey,
        signature: str,
    ) -> None:
        """Raise unless the signature is that of the request."""
        names = tuple(headers)
        if names not in credential.names_checked:
            _check_all_signed(names, credential)
        block = "".join([f"{name}:{headers.get(name, '')}\n" for name in credential.signed])
        if "\t" in block or (" " in block and ("  " in block or ": " in block or " \n" in block)):
            block = "".join([f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in credential.signed])
        tail = f"\n{query}\n{block}\n{credential.signed_joined}\n{payload}"
        path = canonical_path(target)
        prefix = f"{ALGORITHM}\n{timestamp}\n{credential.scope}\n"
        canonical = f"{method}\n{path}{tail}"
        to_sign = prefix + hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        given = signature.encode()
        if hmac.compare_digest(key.sign(to_sign).encode(), given):
            return
        if path != target.path:
            # Some clients sign the path with the escapes they sent rather than with S3's own.
            as_sent = prefix + hashlib.sha256(f"{method}\n{target.path}{tail}".encode("latin-1")).hexdigest()
            if hmac.compare_digest(key.sign(as_sent).encode(), given):
                return
        details = {
            "AWSAccessKeyId": credential.access_key,
            "SignatureProvided": signature,
            "StringToSign": to_sign,
            "CanonicalRequest": _without_secrets(canonical),
        }
        shown: dict[str, Any] = {name: text for name, text in details.items() if _is_xml_text(text)}
        raise S3Error("SignatureDoesNotMatch", None, **shown)

    def _seconds(self, timestamp: str) -> int:
        """Return a timestamp (``20130524T000000Z``) in seconds since the epoch."""
        seconds = self._times.get(timestamp)
        if seconds is None:
            seconds = parse_timestamp(timestamp)
            if len(self._times) >= CACHE_COUNT_MAX:
                self._times.clear()
            self._times[timestamp] = seconds
        return seconds


def _credential(credential: str, signed_headers: str, code: str, service: str) -> _Credential:
    access_key, date, region, scope = parse_scope(credential, code, service)
    signed = tuple(signed_headers.split(";"))
    if list(signed) != sorted(set(signed)) or signed_headers != signed_headers.lower():
        raise S3Error(code, "SignedHeaders must be lower-case names, sorted, each once.")
    if "host" not in signed or not _SIGNED_HEADERS(signed_headers):
        raise S3Error(code, "SignedHeaders must be header names and include 'host'.")
    return _Credential(access_key, date, region, service, scope, signed, signed_headers, set())


def _check_all_signed(names: tuple[str, ...], credential: _Credential) -> None:
    """Raise when a header that changes what the request does was left out of the signature."""
    for name in names:
        if name.startswith("x-amz-") and name not in credential.signed and name not in _UNSIGNED_ALLOWED:
            raise S3Error(
                "AccessDenied",
                "There were headers present in the request which were not signed",
                HeadersNotSigned=name,
            )
    if len(credential.names_checked) >= NAMES_CHECKED_COUNT_MAX:
        credential.names_checked.clear()
    credential.names_checked.add(names)


def _authorization_fields(authorization: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field in authorization[len(ALGORITHM) :].split(","):
        name, _, value = field.strip().partition("=")
        if name in fields:
            raise S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {name} repeats.")
        fields[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {name} is missing.")
    return fields


def _timestamp_of_date(headers: Mapping[str, str]) -> str:
    """Return the Date header in SigV4's own form; it stands in where ``x-amz-date`` is missing."""
    value = headers.get("date", "")
    if is_timestamp(value):
        return value
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return value  # refused where the time is parsed
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _not_supported() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _without_secrets(canonical: str) -> str:
    """Return a canonical request that may be shown: whoever compares it sees that a value was sent, and not which."""
    return _HIDDEN.sub(lambda found: f"{found[0][: len(found[1]) + 1]}(hidden)", canonical)


def _is_xml_text(text: str) -> bool:
    return all(character >= " " or character in "\n\t" for character in text) and "\ufffe" not in text
