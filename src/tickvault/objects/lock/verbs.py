"""Setting the lock of a version that is there: its retention, its legal hold.

Invariants: a lock belongs to one version and goes with it; setting it makes no new version; what may be set is decided
by the guard in the commit, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from tickvault.engine.commit import Operation, Transaction
from tickvault.errors import InvalidInputError
from tickvault.objects import entries, names
from tickvault.objects.entries import ENTRY_LOCK, META, META_LOCK, Kind
from tickvault.objects.get import head
from tickvault.objects.lock.guard import LOCK_DOCUMENT, lock_of
from tickvault.objects.lock.retention import UNLOCKED, BucketLock, ObjectLock, requested_lock, time_text
from tickvault.objects.lookup import require_version
from tickvault.objects.model import BucketInfo, ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

_RECORD_SIZE = 512


def no_lock_error(bucket: str) -> InvalidInputError:
    """Return the error of a lock in a bucket that has none."""
    return InvalidInputError(
        f"bucket {bucket} has no object lock; make it with object_lock=True, or turn it on: "
        "bucket.set_object_lock(), `tickvault lock enable`"
    )


def retain(
    bucket: Bucket,
    key: str,
    version_id: str | None,
    mode: str | None,
    until: datetime | int | None,
    *,
    bypass_governance: bool,
) -> ObjectInfo:
    """Set the retention of a version; `mode` and `until` None lift it, where that may be."""
    asked = requested_lock(mode, until, legal_hold=False)

    def change(txn: Transaction, found: ObjectLock) -> ObjectLock:
        if asked is None:
            return found._replace(retention_mode=None, retain_until_ns=0)
        if (asked.retention_mode, asked.retain_until_ns) != found[:2]:
            check_future(bucket, txn, key, asked)
        return found._replace(retention_mode=asked.retention_mode, retain_until_ns=asked.retain_until_ns)

    return _set(bucket, key, version_id, change, bypass_governance=bypass_governance)


def hold(bucket: Bucket, key: str, version_id: str | None, on: bool) -> ObjectInfo:
    """Place a legal hold on a version, or take it off."""
    if not isinstance(on, bool):
        raise InvalidInputError(f"a legal hold is True or False, not {on!r}")
    return _set(
        bucket, key, version_id, lambda _, found: found._replace(legal_hold=on), bypass_governance=False, is_hold=True
    )


def check_future(bucket: Bucket, txn: Transaction, key: str, lock: ObjectLock) -> None:
    """Raise unless a retention ends in the future."""
    now_ns = bucket.store.lock_clock.stamp_ns(txn)
    if lock.retention_mode is not None and lock.retain_until_ns <= now_ns:
        raise InvalidInputError(
            f"{bucket.name}/{key}: retain_until {time_text(lock.retain_until_ns)} must lie in the future; it is "
            f"{time_text(now_ns)} now"
        )


def _set(
    bucket: Bucket,
    key: str,
    version_id: str | None,
    change: Callable[[Transaction, ObjectLock], ObjectLock],
    *,
    bypass_governance: bool,
    is_hold: bool = False,
) -> ObjectInfo:
    raw_key = names.encode_key(key)
    state = bucket.state

    def run(txn: Transaction) -> str:
        info = state.inside(txn)
        if LOCK_DOCUMENT not in info.documents:
            raise no_lock_error(bucket.name)
        # A lock that a crash could take back would be none, however the bucket writes its data.
        txn.strict = True
        entry, _ = require_version(txn, bucket.name, info.bucket_id, raw_key, version_id)
        found = ObjectLock()
        if entry.flags & ENTRY_LOCK:
            found = lock_of(txn, info.bucket_id, raw_key, entry.sequence)
        data = change(txn, found).data()
        if bypass_governance:
            data["b"] = True
        if is_hold:
            data["w"] = "hold"
        txn.append(Kind.LOCK, info.bucket_id, raw_key, entries.pack(data), aux=entry.sequence)
        return entries.version_id_of(entry.sequence, entry.flags)

    bucket.store.lock_clock.ensure()
    return head(bucket, key, bucket.store.engine.commit(Operation(run, _RECORD_SIZE + len(raw_key))))


def locked_meta(
    bucket: Bucket, txn: Transaction, info: BucketInfo, key: bytes, meta: bytes
) -> tuple[bytes, ObjectLock]:
    """Return the meta of a PUT with the lock it gets, and that lock: what the writer asked for, else the default.

    A default applies also where the writer placed a legal hold only.
    """
    document = info.documents.get(LOCK_DOCUMENT)
    asked = META.unpack_from(meta)[2] & META_LOCK
    if document is None:
        if asked:
            raise no_lock_error(info.name)
        return meta, UNLOCKED
    put = entries.decode_put_meta(meta) if asked else None
    lock = UNLOCKED if put is None else ObjectLock.of(put.extras["lk"])
    if lock.retention_mode is not None:
        check_future(bucket, txn, key.decode(), lock)
        return meta, lock
    default = BucketLock.of(document)
    if default.mode is None:
        return meta, lock
    # Whole milliseconds, as S3 writes them, rounded up.
    until_ns = -(-default.until_ns(bucket.store.lock_clock.stamp_ns(txn)) // 1_000_000) * 1_000_000
    lock = lock._replace(retention_mode=default.mode, retain_until_ns=until_ns)
    put = entries.decode_put_meta(meta) if put is None else put
    extras = {**put.extras, "lk": lock.data()}
    return entries.encode_put_meta(put.etag, put.etag_parts, put.size, put.extents, extras), lock
