"""Condition keys, from what a request says.

Invariants: a value is one that its operators can read, or its key is left out: an address without a zone, a time in
ISO 8601, UTC; a key is never filled in from what the client may write freely where it stands for something else.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

from collections.abc import Mapping

from tickvault.doors.s3.canned_acl import recognise
from tickvault.doors.s3.copy_source import parse_copy_source
from tickvault.doors.s3.encryption_headers import CUSTOMER_ALGORITHM, KEY_ID, parse_key_id, said_encryption
from tickvault.doors.s3.encryption_headers import PREFIX as ENCRYPTION
from tickvault.doors.s3.lock_headers import HOLD, MODE, UNTIL, parse_date
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.request_document import parsed
from tickvault.doors.s3.tag_sets import from_element
from tickvault.objects.condition_keys import (
    Values,
    copy_source_key,
    iso_time,
    lock_keys,
    tag_keys,
    used_encryption_keys,
)
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT
from tickvault.objects.model import BucketInfo

#: Headers that conditions see under their own name, as they were sent: other spellings of their values are refused.
_AS_SENT = ("x-amz-acl", "x-amz-storage-class", ENCRYPTION, CUSTOMER_ALGORITHM)
_DIRECTIVE = "x-amz-metadata-directive"
_COPY_SOURCE = "x-amz-copy-source"
_NS = 1_000_000_000


def origin_keys(request: Request) -> dict[str, Values]:
    """Return what conditions see of where a request comes from."""
    keys: dict[str, Values] = {"aws:SecureTransport": "true" if request.secure else "false"}
    if request.tls_version:
        keys["s3:TlsVersion"] = request.tls_version
    if request.remote:
        keys["aws:SourceIp"] = request.remote.partition("%")[0]  # without the zone of a link-local address
    for header, name in (("user-agent", "aws:UserAgent"), ("referer", "aws:Referer")):
        if header in request.headers:
            keys[name] = text_of(request.headers[header])
    session = None if request.signer is None else request.signer.credential.session
    if session is not None:
        keys["aws:TokenIssueTime"] = iso_time(session.issued_ns / _NS)
    return keys


def header_keys(headers: Mapping[str, str]) -> dict[str, Values]:
    """Return what conditions see of headers: each value as the store will take it, however it was written.

    Raises
    ------
    S3Error
        A header names no copy source or no key.
    """
    keys: dict[str, Values] = {f"s3:{name}": text_of(headers[name]) for name in _AS_SENT if name in headers}
    if _DIRECTIVE in headers:
        keys[f"s3:{_DIRECTIVE}"] = headers[_DIRECTIVE].upper()
    if KEY_ID in headers:
        keys[f"s3:{KEY_ID}"] = parse_key_id(headers[KEY_ID])
    if _COPY_SOURCE in headers:
        bucket, key, _ = parse_copy_source(headers[_COPY_SOURCE])
        keys.update(copy_source_key(bucket, key))
    return keys


def write_encryption_keys(headers: Mapping[str, str], settings: BucketInfo) -> dict[str, Values]:
    """Return what conditions see of the encryption that the headers of a write, or its bucket, make it have."""
    said, asked = said_encryption(headers)
    return used_encryption_keys(settings.documents.get(ENCRYPTION_DOCUMENT), asked) if said else {}


def text_of(value: str) -> str:
    """Return the value of a header as text: UTF-8 where it is that, else Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def request_lock_keys(headers: Mapping[str, str], now_s: float) -> dict[str, Values]:
    """Return what conditions see of the lock that a request's headers ask for."""
    if MODE not in headers and UNTIL not in headers and HOLD not in headers:
        return {}
    until_ns = parse_date(headers[UNTIL]) if UNTIL in headers else None
    return lock_keys(headers.get(MODE), until_ns, headers.get(HOLD), now_s)


def body_keys(action: str, body: bytes, now_s: float, owner_id: str = "") -> dict[str, Values]:
    """Return what conditions see of the body of a request; raises `S3Error` for one that cannot be read."""
    if action in ("PutObjectAcl", "PutBucketAcl"):
        # Spelled out or named in a header, it is the same canned ACL that is stored.
        return {"s3:x-amz-acl": recognise(owner_id, parsed(body, None))} if body else {}
    if action == "PutObjectTagging":
        return tag_keys(from_element(parsed(body, "Tagging")))
    if action == "PutObjectRetention":
        root = parsed(body, "Retention")
        until = root.value("RetainUntilDate")
        return lock_keys(root.value("Mode"), None if until is None else parse_date(until), None, now_s)
    if action == "PutObjectLegalHold":
        return lock_keys(None, None, parsed(body, "LegalHold").value("Status"), now_s)
    return {}
