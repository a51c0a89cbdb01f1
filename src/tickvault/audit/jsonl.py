"""A record as one line of JSON, as exports have it.

Invariants: the same record gives the same bytes, in every release and in the stand-alone verifier, which makes them
again from the blocks and compares; lines are ASCII, so that any reader takes them.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tickvault.audit.record import AuditRecord


def time_text(time_ns: int) -> str:
    """Return a time as ISO 8601 with nanoseconds, UTC."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def as_mapping(record: AuditRecord) -> dict[str, Any]:
    """Return a record's fields in the order of the line."""
    return {
        "sequence": record.sequence,
        "time": time_text(record.time_ns),
        "time_ns": record.time_ns,
        "clock_error_ns": record.clock_error_ns,
        "category": record.category.name.lower(),
        "action": record.action,
        "result": record.result,
        "status": record.status,
        "door": record.door,
        "identity": record.identity,
        "source": record.source,
        "request_id": record.request_id,
        "bucket": record.bucket,
        "key": record.key,
        "version_id": record.version_id,
        "size_bytes": record.size_bytes,
        "vault_sequence": record.vault_sequence,
        "detail": dict(record.detail),
    }


def as_line(record: AuditRecord) -> bytes:
    """Return the line, with its line feed."""
    return json.dumps(as_mapping(record), ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
