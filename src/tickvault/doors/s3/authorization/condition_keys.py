"""Condition keys, from what a request says and from what is stored.

Invariants: a value is one that its operators can read, or its key is left out: an address without a zone, a time in
ISO 8601, UTC; a key is never filled in from what the client may write freely where it stands for something else.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tickvault.doors.s3.lock_headers import HOLD, MODE, UNTIL, format_date, parse_date
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.request_document import parsed
from tickvault.doors.s3.tag_sets import from_element
from tickvault.objects.model import ObjectInfo

Values = str | tuple[str, ...]

_NS = 1_000_000_000
_DAY_S = 86_400


def moment_keys(now_s: float) -> dict[str, Values]:
    """Return what conditions see of the time."""
    return {"aws:CurrentTime": _iso(now_s), "aws:EpochTime": str(int(now_s))}


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
        keys["aws:TokenIssueTime"] = _iso(session.issued_ns / _NS)
    return keys


def tag_keys(tags: Mapping[str, str]) -> dict[str, Values]:
    """Return what conditions see of the tags that a request sets."""
    keys: dict[str, Values] = {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    keys["s3:RequestObjectTagKeys"] = tuple(tags)
    return keys


def lock_keys(mode: str | None, until_ns: int | None, hold: str | None, now_s: float) -> dict[str, Values]:
    """Return what conditions see of a lock."""
    keys: dict[str, Values] = {}
    if mode:
        keys["s3:object-lock-mode"] = mode
    if hold:
        keys["s3:object-lock-legal-hold"] = hold
    if until_ns:
        keys["s3:object-lock-retain-until-date"] = format_date(until_ns)
        # Begun days count, so that a limit on days is never exceeded by hours.
        days = -(-(until_ns - int(now_s * _NS)) // (_DAY_S * _NS))
        keys["s3:object-lock-remaining-retention-days"] = str(max(0, days))
    return keys


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


def stored_lock_keys(info: ObjectInfo, now_s: float) -> dict[str, Values]:
    """Return what conditions see of the lock that a version has."""
    return lock_keys(info.retention_mode, info.retain_until_ns or None, "ON" if info.legal_hold else "OFF", now_s)


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def body_keys(action: str, body: bytes, now_s: float) -> dict[str, Values]:
    """Return what conditions see of the body of a request; raises `S3Error` for one that cannot be read."""
    if action == "PutObjectTagging":
        return tag_keys(from_element(parsed(body, "Tagging")))
    if action == "PutObjectRetention":
        root = parsed(body, "Retention")
        until = root.value("RetainUntilDate")
        return lock_keys(root.value("Mode"), None if until is None else parse_date(until), None, now_s)
    if action == "PutObjectLegalHold":
        return lock_keys(None, None, parsed(body, "LegalHold").value("Status"), now_s)
    return {}
