"""The JSON objects that ``--json`` prints for buckets, objects and reports.

Invariants: a field has the name that it has in `tickvault.objects.model`; times are int64 nanoseconds and
end in ``_ns``; sizes are bytes. Fields are added over time, never renamed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tickvault.cli import terminal
from tickvault.cli.retention import default_record
from tickvault.objects.model import BucketInfo, DeleteResult, ObjectInfo


def object_record(bucket: str, info: ObjectInfo) -> dict[str, Any]:
    """Return what a listing says of an object."""
    return {
        "bucket": bucket,
        "key": info.key,
        "size": info.size,
        "etag": info.etag,
        "version_id": info.version_id,
        "is_latest": info.is_latest,
        "delete_marker": info.delete_marker,
        "sequence": info.sequence,
        "modified_ns": info.modified_ns,
        **_lock(info),
    }


def object_detail(bucket: str, info: ObjectInfo, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return all that is known of an object."""
    return object_record(bucket, info) | {
        "content_type": info.content_type,
        "metadata": dict(info.metadata),
        "headers": dict(info.headers),
        "tags": dict(tags),
        "checksums": dict(info.checksums),
        "checksum_type": info.checksum_type,
        "part_sizes": list(info.part_sizes),
        "encryption": _encryption(info),
    }


def _encryption(info: ObjectInfo) -> dict[str, Any] | None:
    found = info.encryption
    if found is None:
        return None
    return {"mode": found.mode, "suite": found.suite, "key": found.key_id, "key_version": found.key_version or None}


def object_lock_record(bucket: str, info: ObjectInfo) -> dict[str, Any]:
    """Return what keeps a version."""
    return {"bucket": bucket, "key": info.key, "version_id": info.version_id, **_lock(info)}


def _lock(info: ObjectInfo) -> dict[str, Any]:
    return {
        "retention_mode": info.retention_mode,
        "retain_until_ns": info.retain_until_ns or None,
        "legal_hold": info.legal_hold,
    }


def lock_text(info: ObjectInfo) -> str:
    """Return what keeps a version, in words; empty where nothing does."""
    parts = []
    if info.retention_mode is not None:
        parts.append(f"{info.retention_mode} until {terminal.format_time(info.retain_until_ns)}")
    if info.legal_hold:
        parts.append("legal hold")
    return ", ".join(parts)


def bucket_record(info: BucketInfo) -> dict[str, Any]:
    """Return what is known of a bucket."""
    return {
        "bucket": info.name,
        "versioning": info.versioning,
        "durability": info.durability,
        "created_ns": info.created_ns,
        "documents": sorted(info.documents),
        "object_lock": info.object_lock is not None,
        "retention": default_record(info.object_lock),
        "encryption": None if info.encryption is None else info.encryption.document(),
    }


def delete_record(bucket: str, result: DeleteResult) -> dict[str, Any]:
    """Return what a delete did."""
    return {"bucket": bucket, **result._asdict()}


def report_record(report: Any) -> dict[str, Any]:
    """Return a report (a dataclass or a named tuple, nested ones too) as JSON values."""
    value = _plain(report)
    assert isinstance(value, dict), "a report has named fields"
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
