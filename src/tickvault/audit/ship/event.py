"""An audit record on its way to a receiver: its id, its fields as JSON, and its bytes.

Invariants: an event's id and its bytes follow from the trail and the record alone, so that a record sent twice is
the same event twice and a receiver can drop one of them; text is valid Unicode (a lone surrogate, which UTF-8 cannot
say, goes out as U+FFFD).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tickvault.audit.record import AuditRecord, Category

_NS = 10**9
_LINE_ENDS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))

CATEGORY_NAMES = {category: category.name.lower() for category in Category}


class Event(NamedTuple):
    """One record, made ready for one receiver."""

    event_id: str
    record: AuditRecord
    payload: bytes
    """The record as this receiver takes it."""


def event_id(trail_id: str, sequence: int) -> str:
    """Return the id of a record, the same in every receiver and in every attempt."""
    return f"{trail_id}-{sequence}"


def rfc3339(time_ns: int, digits: int = 9) -> str:
    """Return a time as RFC 3339, in UTC, with 0 to 9 decimals (cut, not rounded).

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456789Z'
    >>> rfc3339(1_700_000_000_123_456_789, 6)
    '2023-11-14T22:13:20.123456Z'
    """
    seconds, fraction = divmod(time_ns, _NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}"[: 20 + digits] + "Z" if digits else f"{text}Z"


def epoch_seconds(time_ns: int) -> str:
    """Return seconds since the epoch with nine decimals, exactly, where a float would keep only about seven."""
    seconds, fraction = divmod(time_ns, _NS)
    return f"{seconds}.{fraction:09d}"


def clean(text: str) -> str:
    """Return the text with what UTF-8 cannot say replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def category_name(record: AuditRecord) -> str:
    """Return ``change``, ``read``, ``refusal`` or ``system``; the number of a category that this release has not."""
    return CATEGORY_NAMES.get(record.category, str(int(record.category)))


def record_fields(trail_id: str, record: AuditRecord) -> dict[str, Any]:
    """Return a record as JSON takes it: every field, with the id of the event and the time also as RFC 3339."""
    return {
        "event_id": event_id(trail_id, record.sequence),
        "trail_id": trail_id,
        "sequence": record.sequence,
        "time": rfc3339(record.time_ns),
        "time_ns": record.time_ns,
        "clock_error_ns": record.clock_error_ns,
        "category": category_name(record),
        "action": clean(record.action),
        "result": clean(record.result),
        "status": record.status,
        "door": clean(record.door),
        "identity": clean(record.identity),
        "source": clean(record.source),
        "request_id": clean(record.request_id),
        "bucket": clean(record.bucket),
        "key": clean(record.key),
        "version_id": clean(record.version_id),
        "size_bytes": record.size_bytes,
        "vault_sequence": record.vault_sequence,
        "detail": {clean(name): clean(value) for name, value in record.detail.items()},
    }


def to_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8, on one line also for a reader that takes Unicode's other line ends for such."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in _LINE_ENDS:  # they can only stand within strings
        if character in text:
            text = text.replace(character, escape)
    return text.encode()
