"""Object lock on the wire: the headers that ask for a lock, and those that tell of one.

Invariants: a date never reads earlier than the retention ends, so that sending it back shortens nothing; a header that
is not understood is refused, never ignored.

Sources: Amazon S3 API Reference, PutObject, GetObject; S3 User Guide, "Locking objects with Object Lock".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from tickvault.doors.s3.errors import S3Error
from tickvault.errors import InvalidInputError
from tickvault.objects.lock.retention import MODES, ObjectLock, until_ns_of
from tickvault.objects.model import ObjectInfo

MODE = "x-amz-object-lock-mode"
UNTIL = "x-amz-object-lock-retain-until-date"
HOLD = "x-amz-object-lock-legal-hold"
LOCK_PREFIX = "x-amz-object-lock-"
_BYPASS = "x-amz-bypass-governance-retention"
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)")


def asked_lock(headers: Mapping[str, str]) -> ObjectLock | None:
    """Return the lock that a write asks for, None if it asks for none."""
    if MODE not in headers and UNTIL not in headers and HOLD not in headers:
        for name in headers:
            if name.startswith(LOCK_PREFIX):
                raise S3Error("InvalidRequest", f"Unknown header {name}.")
        return None
    mode, until, hold = headers.get(MODE), headers.get(UNTIL), headers.get(HOLD)
    if (mode is None) != (until is None):
        raise S3Error("InvalidArgument", f"{UNTIL} and {MODE} must both be supplied", ArgumentName=MODE)
    if hold not in (None, "ON", "OFF"):
        raise S3Error(
            "InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'", ArgumentName=HOLD, ArgumentValue=hold
        )
    if mode is None or until is None:
        return ObjectLock(legal_hold=True) if hold == "ON" else None
    if mode not in MODES:
        raise S3Error("InvalidArgument", "Unknown wormMode directive.", ArgumentName=MODE, ArgumentValue=mode)
    time_ns = parse_date(until)
    if time_ns is None:
        raise S3Error(
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
            ArgumentName=UNTIL,
            ArgumentValue=until,
        )
    return ObjectLock(mode, time_ns, hold == "ON")


def check_digest_sent(headers: Mapping[str, str]) -> None:
    """Refuse a write that names a lock and no digest of its body, as S3 does: wrong bytes would be there to stay."""
    if "content-md5" in headers or "x-amz-trailer" in headers:
        return
    if not any(name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type" for name in headers):
        raise S3Error(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock "
            "parameters",
        )


def bypasses_governance(headers: Mapping[str, str]) -> bool:
    """Return whether a request says that it bypasses GOVERNANCE."""
    return headers.get(_BYPASS, "").strip().lower() == "true"


def lock_headers(info: ObjectInfo) -> dict[str, str]:
    """Return the headers that tell of a version's lock."""
    headers: dict[str, str] = {}
    if info.retention_mode is not None:
        headers[MODE] = info.retention_mode
        headers[UNTIL] = format_date(info.retain_until_ns)
    if info.legal_hold:
        headers[HOLD] = "ON"
    return headers


def parse_date(text: str) -> int | None:
    """Return an ISO 8601 date with a time zone as nanoseconds since the epoch, None if it is none."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    *numbers, fraction, zone = match.groups()
    zone = "+00:00" if zone == "Z" else zone
    try:
        offset = datetime.strptime(zone, "%z").tzinfo
        whole = datetime(*(int(number) for number in numbers), tzinfo=offset)  # type: ignore[misc, arg-type]
        return until_ns_of(until_ns_of(whole.astimezone(UTC)) + int((fraction or "0").ljust(9, "0")))
    except (ValueError, OverflowError, InvalidInputError):
        return None


def format_date(time_ns: int) -> str:
    """Return the end of a retention as S3 writes it, to the millisecond, rounded up."""
    milliseconds = -(-time_ns // 1_000_000)
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
