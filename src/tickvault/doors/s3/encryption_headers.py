"""Encryption on the wire: the headers that ask for it, that bring a customer's key, and that tell of it.

Invariants: a header that is not understood is refused, never ignored; a customer's key is taken over TLS, or from this
very machine, and is in no answer, log or error; an answer names what encrypted the body and nothing that opens it.

Sources: Amazon S3 User Guide, "Protecting data with server-side encryption", "Using server-side encryption with
customer-provided keys (SSE-C)"; Amazon S3 API Reference, PutObject, GetObject.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache

from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request
from tickvault.objects.encryption.customer_key import CustomerKeyError, check_key
from tickvault.objects.encryption.setting import CUSTOMER_KEY_SIZE, EncryptionRequest
from tickvault.objects.encryption.stored import EncryptionInfo
from tickvault.security.keyring.service import check_key_id

PREFIX = "x-amz-server-side-encryption"
KEY_ID = f"{PREFIX}-aws-kms-key-id"
_BUCKET_KEY = f"{PREFIX}-bucket-key-enabled"
_CUSTOMER = f"{PREFIX}-customer-"
CUSTOMER_ALGORITHM = f"{_CUSTOMER}algorithm"
COPY_SOURCE = f"x-amz-copy-source-{_CUSTOMER.removeprefix('x-amz-')}"
_FIELDS = ("algorithm", "key", "key-md5")
_KNOWN = {PREFIX, KEY_ID, _BUCKET_KEY, *(f"{_CUSTOMER}{field}" for field in _FIELDS)}


def asked_encryption(request: Request, headers: Mapping[str, str] | None = None) -> EncryptionRequest | None:
    """Return the encryption that a write asks for, None if it leaves that to its bucket.

    Parameters
    ----------
    headers : mapping, optional
        In place of the request's own: those of a form.

    Raises
    ------
    S3Error
        ``InvalidArgument``, ``InvalidRequest``, ``InvalidEncryptionAlgorithmError``; ``NotImplemented`` for what S3 has
        and this door does not (a context, ``aws:kms:dsse``).
    """
    found = request.headers if headers is None else headers
    named = [name for name in found if name.startswith(PREFIX)]
    if not named:
        return None
    for name in named:
        if name not in _KNOWN:
            raise not_implemented(f"Header {name}")
    customer_key = read_customer_key(request, headers=found)
    algorithm = found.get(PREFIX)
    if customer_key is not None:
        if algorithm is not None or KEY_ID in found:
            raise S3Error(
                "InvalidArgument",
                "Server Side Encryption with Customer provided key is incompatible with the encryption method "
                "specified",
                ArgumentName=PREFIX,
                ArgumentValue=algorithm,
            )
        return EncryptionRequest("customer", customer_key=customer_key)
    if algorithm == "aws:kms:dsse":
        raise not_implemented("Dual-layer server-side encryption (aws:kms:dsse)")
    if algorithm not in ("AES256", "aws:kms"):
        if algorithm is None and KEY_ID not in found:
            raise S3Error("InvalidArgument", f"{named[0]} needs {PREFIX}.", ArgumentName=PREFIX)
        if algorithm is not None:
            raise S3Error(
                "InvalidEncryptionAlgorithmError",
                "The encryption request you specified is not valid. Supported values: AES256, aws:kms.",
                ArgumentName=PREFIX,
                ArgumentValue=algorithm,
            )
    if KEY_ID in found and algorithm != "aws:kms":
        raise S3Error(
            "InvalidArgument",
            f"Server Side Encryption with AWS KMS managed key requires HTTP header {PREFIX} : aws:kms",
            ArgumentName=PREFIX,
            ArgumentValue=algorithm,
        )
    if algorithm == "AES256":
        return EncryptionRequest("managed")
    key_id = found.get(KEY_ID)
    return EncryptionRequest("kms", key_id=None if key_id is None else parse_key_id(key_id))


def said_encryption(headers: Mapping[str, str]) -> tuple[bool, EncryptionRequest | None]:
    """Return whether the headers of a write may be taken, and what they ask for; without a customer's key itself.

    For who must know it before everything about the request was checked: `asked_encryption` says what is wrong with it.
    """
    algorithm, key_id = headers.get(PREFIX), headers.get(KEY_ID)
    if any(name.startswith(_CUSTOMER) for name in headers):
        return algorithm is None and key_id is None, EncryptionRequest("customer")
    if algorithm == "aws:kms":
        return True, EncryptionRequest("kms", key_id=None if key_id is None else parse_key_id(key_id))
    if key_id is not None:
        return False, None
    return algorithm in (None, "AES256"), None if algorithm is None else EncryptionRequest("managed")


def parse_key_id(text: str) -> str:
    """Return the key id in what a client names a key: the id, or an ARN that ends in it.

    >>> parse_key_id("arn:aws:kms:us-east-1:000000000000:key/desk-7")
    'desk-7'
    """
    name = text.rpartition(":key/")[2] if text.startswith("arn:") else text
    try:
        return check_key_id(name)
    except ValueError:
        raise S3Error("KMS.NotFoundException", f"Invalid keyId {text!r:.200}") from None


def read_customer_key(
    request: Request, prefix: str = _CUSTOMER, *, headers: Mapping[str, str] | None = None
) -> bytes | None:
    """Return the customer's key that a request brings, None if it brings none.

    Parameters
    ----------
    prefix : str
        Of the three headers; `COPY_SOURCE` for that of the source of a copy.

    Raises
    ------
    S3Error
        ``InvalidRequest`` without TLS; ``InvalidArgument`` for a header that is missing, a key that is none, or an MD5
        that is not its own; ``InvalidEncryptionAlgorithmError``.
    """
    found = request.headers if headers is None else headers
    algorithm, key, digest = (found.get(prefix + field) for field in _FIELDS)
    if algorithm is None and key is None and digest is None:
        return None
    if not request.secure and not _is_loopback(request.remote):
        raise S3Error(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure "
            "connection.",
        )
    if algorithm is None:
        raise _wrong(
            prefix,
            "algorithm",
            "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption "
            "algorithm.",
        )
    if algorithm != "AES256":
        raise S3Error(
            "InvalidEncryptionAlgorithmError",
            "The encryption request you specified is not valid. The valid value is AES256.",
            ArgumentName=f"{prefix}algorithm",
            ArgumentValue=algorithm,
        )
    if key is None:
        raise _wrong(
            prefix,
            "key",
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret "
            "key.",
        )
    if digest is None:
        raise _wrong(
            prefix,
            "key-md5",
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated "
            "MD5 of the secret key.",
        )
    raw = _decoded(key)
    if raw is None or len(raw) != CUSTOMER_KEY_SIZE:
        raise _wrong(prefix, "key", "The secret key was invalid for the specified algorithm.")
    computed = hashlib.md5(raw, usedforsecurity=False).digest()
    if not hmac.compare_digest(computed, _decoded(digest) or b""):
        raise _wrong(prefix, "key-md5", "The calculated MD5 hash of the key did not match the hash that was provided.")
    return raw


def check_readable(request: Request, found: EncryptionInfo | None) -> None:
    """Raise what a read of an object says when the request does not bring what it takes; for reads of headers too.

    Raises
    ------
    S3Error
        ``InvalidArgument`` for headers that only a write may have.
    CustomerKeyError, AccessDeniedError
        See `check_key`.
    """
    headers = request.headers
    if PREFIX in headers or KEY_ID in headers:
        raise S3Error("InvalidArgument", f"{PREFIX} header is not supported for this operation.", ArgumentName=PREFIX)
    check = b"" if found is None else found.customer_check
    if check or f"{_CUSTOMER}algorithm" in headers:
        check_key(read_customer_key(request), check)


def check_part(request: Request, found: EncryptionInfo | None) -> bytes | None:
    """Return the customer's key of a part, once it is that of its upload."""
    for name in request.headers:
        if name.startswith(PREFIX) and not name.startswith(_CUSTOMER):
            raise not_implemented(f"Header {name} on a part, whose upload says how it is encrypted,")
    customer_key = read_customer_key(request)
    check = b"" if found is None else found.customer_check
    try:
        check_key(customer_key, check)
    except CustomerKeyError:
        if check:
            raise S3Error(
                "InvalidRequest",
                "The multipart upload initiate requested encryption. Subsequent part requests must include the "
                "appropriate encryption parameters.",
            ) from None
        raise S3Error(
            "InvalidRequest", "The multipart upload initiate did not request encryption with a customer's key."
        ) from None
    return customer_key


def encryption_headers(found: EncryptionInfo | None, request: Request | None = None) -> dict[str, str]:
    """Return the headers that tell how an object is encrypted.

    Parameters
    ----------
    request : Request, optional
        That brought the customer's key, whose MD5 is given back.
    """
    if found is None:
        return {}
    if found.mode == "managed":
        return {PREFIX: "AES256"}
    if found.mode == "kms":
        return {PREFIX: "aws:kms", KEY_ID: found.key_id}
    headers = {f"{_CUSTOMER}algorithm": "AES256"}
    digest = None if request is None else request.headers.get(f"{_CUSTOMER}key-md5")
    if digest is not None and (raw := _decoded(digest)) is not None:
        headers[f"{_CUSTOMER}key-MD5"] = b64encode(raw).decode("ascii")
    return headers


def _wrong(prefix: str, field: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=prefix + field)


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text.strip().encode("ascii"), validate=True)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _is_loopback(remote: str) -> bool:
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
