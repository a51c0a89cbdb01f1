"""Attributes of a version that may be set after it was written: its tags, its stored headers.

Invariants: they belong to one version and go with it; setting them makes no new version and changes no other attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tickvault.engine.commit import Operation, Transaction
from tickvault.errors import IntegrityError, LockedError
from tickvault.objects import entries, names
from tickvault.objects.entries import ATTRIBUTES_CHANGE, ENTRY_ATTRIBUTES, Kind
from tickvault.objects.get import head, retrying
from tickvault.objects.lookup import later_attributes, read_record, require_version
from tickvault.objects.model import ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

#: Tags take at most 10 × (128 + 256) characters; headers are few.
_RECORD_SIZE = 64 * 1024


def get_tags(bucket: Bucket, key: str, version_id: str | None) -> dict[str, str]:
    """Return the tags of a version."""
    raw_key = names.encode_key(key)
    engine = bucket.store.engine

    def attempt() -> dict[str, str]:
        with engine.snapshot() as snapshot:
            entry, _ = require_version(snapshot, bucket.name, bucket.bucket_id, raw_key, version_id)
            if entry.flags & ENTRY_ATTRIBUTES:
                later = later_attributes(snapshot, bucket.bucket_id, raw_key, entry.sequence)
                if "tg" in later:
                    return dict(later["tg"])
            record, _ = read_record(engine.segments, entry, raw_key, bucket.bucket_id)
            return dict(entries.decode_put_meta(record.meta).extras.get("tg", {}))

    return retrying(attempt, key)


def set_tags(bucket: Bucket, key: str, tags: Mapping[str, str], version_id: str | None) -> ObjectInfo:
    """Replace the tags of a version; an empty mapping removes them."""
    made = _set(bucket, key, version_id, {"tg": names.check_tags(tags)})
    assert made is not None, "only a set bound to a sequence can miss"
    return made


def set_headers(bucket: Bucket, key: str, headers: Mapping[str, str | None], version_id: str | None) -> ObjectInfo:
    """Merge into the stored headers of a version; None removes one."""
    while True:
        info = head(bucket, key, version_id)
        if info.locked:
            _check_unlocked(bucket, info, headers)
        merged: dict[str, str | None] = {
            **info.headers,
            **{name.lower(): value for name, value in headers.items()},
        }
        kept = {name: value for name, value in merged.items() if value is not None}
        made = _set(bucket, key, info.version_id, {"hd": kept}, sequence=info.sequence)
        if made is not None:
            return made


def _check_unlocked(bucket: Bucket, info: ObjectInfo, headers: Mapping[str, str | None]) -> None:
    """Raise unless the stored headers of a version may change: they are part of what is read of it.

    An ACL says who may read, and nothing of what is read; it may change as tags may.
    """
    changed = {name.lower() for name, value in headers.items() if info.headers.get(name.lower()) != value}
    with bucket.store.engine.snapshot() as snapshot:
        kept = info.legal_hold or info.retain_until_ns > bucket.store.lock_clock.trusted_ns(snapshot)
    if kept and changed - {"x-amz-acl"}:
        raise LockedError(
            f"{bucket.name}/{info.key} version {info.version_id} is locked: its headers cannot change; write "
            "a new version"
        )


def _set(
    bucket: Bucket, key: str, version_id: str | None, attributes: dict[str, Any], sequence: int | None = None
) -> ObjectInfo | None:
    """Set attributes of a version; with `sequence`, return None if the version is another one meanwhile."""
    raw_key = names.encode_key(key)
    state = bucket.state

    def run(txn: Transaction) -> str | None:
        info = state.changing(txn)
        entry, _ = require_version(txn, bucket.name, info.bucket_id, raw_key, version_id)
        if sequence is not None and entry.sequence != sequence:
            return None
        try:
            later = later_attributes(txn, info.bucket_id, raw_key, entry.sequence)
        except IntegrityError:
            # What was set last is lost; what is set now makes the version readable again.
            later = {}
        later.pop(ATTRIBUTES_CHANGE, None)  # of the change before
        if "hd" in attributes:
            later[ATTRIBUTES_CHANGE] = "hd"
        txn.append(
            Kind.ATTRIBUTES,
            info.bucket_id,
            raw_key,
            entries.pack({**later, **attributes}),
            aux=entry.sequence,
        )
        return entries.version_id_of(entry.sequence, entry.flags)

    found = bucket.store.engine.commit(Operation(run, _RECORD_SIZE + len(raw_key)))
    return None if found is None else head(bucket, key, found)
