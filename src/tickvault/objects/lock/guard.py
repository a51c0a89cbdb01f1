"""The guard: no record that would alter or remove a locked version passes the commit.

It is asked by `Transaction.append` before each record, inside the commit, whichever door, verb, lifecycle rule or
maintenance command brought it, and in whichever process; there is no other way for anything to change.

Invariants: what is refused has changed nothing; COMPLIANCE yields to nobody and can only be extended; GOVERNANCE
yields to who may bypass it and says so, and the record tells that; a legal hold yields to its removal only; a bucket
with a lock keeps it, and keeps versions, for ever; a lock that cannot be read keeps its version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tickvault.engine.commit import Change, Transaction
from tickvault.engine.index import Reader
from tickvault.engine.record import FLAG_RELOCATED
from tickvault.errors import IntegrityError, InvalidInputError, LockedError
from tickvault.objects import entries
from tickvault.objects.entries import (
    AUX_VERSIONED,
    CLOCK_DOCUMENT,
    DAMAGED_DOCUMENT,
    ENTRY_DAMAGED,
    ENTRY_LOCK,
    ENTRY_MARKER,
    ENTRY_NULL,
    META,
    META_LOCK,
    REMOVE_BYPASS,
    REMOVE_NULL,
    Entry,
    Kind,
    decode_document,
    decode_entry,
)
from tickvault.objects.lock.clock import ClockMark, ComplianceClock
from tickvault.objects.lock.retention import UNTIL_NS_MAX, BucketLock, ObjectLock, time_text

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

#: Where a bucket's settings keep its lock.
LOCK_DOCUMENT = "object_lock"
_PUT, _MARKER = int(Kind.PUT), int(Kind.DELETE_MARKER)


class Lookup(Protocol):
    """Whatever tells the value of an index key."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value of a key, None if there is none."""


class LockGuard:
    """The guard of one vault, as one process has it."""

    def __init__(self, clock: ComplianceClock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine

    def _something_lost(self) -> bool:
        """Return whether a recovery met bytes of which nobody can say what record they were."""
        return any(damage.key is None for damage in self._engine.report.damage)

    def __call__(self, txn: Transaction, change: Change) -> None:
        """Raise `LockedError` if the record would break a lock."""
        kind = change.kind
        if kind in (_PUT, _MARKER):
            copied = change.flags & FLAG_RELOCATED and _check_copy(txn, change)
            if not copied and not change.aux & AUX_VERSIONED:
                self._check_null(txn, change)
        elif kind == Kind.REMOVE:
            self._check_removal(txn, change)
        elif kind == Kind.LOCK:
            self._check_lock(txn, change)
        elif kind == Kind.BUCKET:
            _check_bucket(txn, change)
        elif kind == Kind.BUCKET_REMOVE:
            _check_bucket_empty(txn, change)
        elif kind == Kind.DOCUMENT and change.key == CLOCK_DOCUMENT.encode():
            self._check_clock(txn, change)

    # -- versions

    def _check_null(self, txn: Transaction, change: Change) -> None:
        """A null version replaces the null version before it."""
        raw = txn.get(entries.object_key(change.bucket_id, change.key))
        # The commonest case by far, in the path of every write: the flags stand behind the checksum.
        if raw is not None and raw[4] & ENTRY_NULL:
            if raw[4] & (ENTRY_LOCK | ENTRY_DAMAGED):
                index_key = entries.object_key(change.bucket_id, change.key)
                self._check_kept(txn, change, decode_entry(index_key, raw), "overwrite", bypass=False)
            return
        pointer = txn.get(entries.null_key(change.bucket_id, change.key))
        if pointer is not None:
            index_key = entries.version_key(change.bucket_id, change.key, int.from_bytes(pointer, "big"))
            raw = txn.get(index_key)
            if raw is not None and raw[4] & (ENTRY_LOCK | ENTRY_DAMAGED):
                self._check_kept(txn, change, decode_entry(index_key, raw), "overwrite", bypass=False)

    def _check_removal(self, txn: Transaction, change: Change) -> None:
        bucket_id, key = change.bucket_id, change.key
        null = change.meta[0] & REMOVE_NULL
        sequence = change.aux
        current_key = entries.object_key(bucket_id, key)
        pointer = txn.get(entries.null_key(bucket_id, key)) if null else None
        version_key = entries.version_key(bucket_id, key, int.from_bytes(pointer, "big") if pointer else sequence)
        for index_key in (current_key, version_key):
            raw = txn.get(index_key)
            if raw is None:
                continue
            entry = decode_entry(index_key, raw)
            # A null removal removes the null version up to its sequence, any other the version it names.
            if (
                entry.flags & ENTRY_NULL and entry.sequence <= sequence
                if null
                else not entry.flags & ENTRY_NULL and entry.sequence == sequence
            ):
                self._check_kept(txn, change, entry, "delete", bypass=bool(change.meta[0] & REMOVE_BYPASS))

    def _check_kept(self, txn: Transaction, change: Change, entry: Entry, verb: str, *, bypass: bool) -> None:
        if entry.flags & ENTRY_MARKER:
            return
        if self._something_lost() and bucket_lock_of(txn, change.bucket_id) is not None:
            raise _refused(
                txn,
                change,
                entry,
                verb,
                "the vault is damaged where nothing could be made out, and a hold or retention of it may have stood "
                "there; run `tickvault verify`, and restore a backup",
                None,
            )
        if not entry.flags & ENTRY_LOCK:
            if entry.flags & ENTRY_DAMAGED and bucket_lock_of(txn, change.bucket_id) is not None:
                raise _refused(
                    txn,
                    change,
                    entry,
                    verb,
                    "its record is damaged, and with it what it was locked until; restore a backup to know",
                    None,
                )
            return
        lock = lock_of(txn, change.bucket_id, change.key, entry.sequence)
        if lock.damaged:
            raise _refused(
                txn, change, entry, verb, "the record of its lock is damaged; restore a backup to know how long", lock
            )
        if lock.legal_hold:
            raise _refused(
                txn, change, entry, verb, "a legal hold is on it; whoever may place one can take it off", lock
            )
        if lock.retention_mode is None or (lock.retention_mode == "GOVERNANCE" and bypass):
            return
        trusted = self._clock.trusted_ns(txn)
        if trusted < lock.retain_until_ns:
            raise _refused(txn, change, entry, verb, _retained(lock, trusted, txn.now_ns), lock)

    # -- locks

    def _check_lock(self, txn: Transaction, change: Change) -> None:
        data = entries.unpack(change.meta)
        new = ObjectLock.of(data)
        index_key = entries.lock_key(change.bucket_id, change.key, change.aux)
        raw = txn.get(index_key)
        if change.flags & FLAG_RELOCATED:
            if not _is_copy(txn, index_key, change.sequence, data):
                raise IntegrityError(
                    f"a copy of the lock of {change.key.decode(errors='replace')!r} says other than its original"
                )
            return
        entry = version_of(txn, change.bucket_id, change.key, change.aux)
        assert entry is not None, "a lock is of a version that is there"
        assert not entry.flags & ENTRY_MARKER, "a delete marker has no lock"
        # A lock that the index has lost is not one that there never was.
        old = (
            lock_of(txn, change.bucket_id, change.key, change.aux)
            if raw is not None or entry.flags & ENTRY_LOCK
            else ObjectLock()
        )
        if old.damaged:
            raise _refused(txn, change, entry, "lock", "the record of its lock is damaged; restore a backup", old)
        if (new.retention_mode, new.retain_until_ns) == (old.retention_mode, old.retain_until_ns):
            return
        trusted = self._clock.trusted_ns(txn)
        if old.retention_mode is None or trusted >= old.retain_until_ns:
            return
        extended = new.retention_mode == old.retention_mode and new.retain_until_ns >= old.retain_until_ns
        if extended or (old.retention_mode == "GOVERNANCE" and data.get("b")):
            return
        what = (
            f"change the retention of a version kept in {old.retention_mode} mode until "
            f"{time_text(old.retain_until_ns)}"
        )
        if old.retention_mode == "COMPLIANCE":
            how = "in this mode a retention can only be extended, by anybody"
        else:
            how = "it can be extended; to shorten, change or lift it, ask for it to be bypassed (bypass_governance)"
        raise _located(LockedError(f"{_name(txn, change, entry)}: cannot {what}; {how}"), txn, change, entry)

    def _check_clock(self, txn: Transaction, change: Change) -> None:
        data = entries.unpack(change.meta)
        if change.flags & FLAG_RELOCATED and _is_copy(txn, b"S" + change.key, change.sequence, data):
            return
        mark = self._clock.mark(txn)
        new = ClockMark.of(data)
        # What it gives from now on counts, not what it says: one that claims to be older would run ahead.
        gives = self._clock.advanced_ns(new)
        if mark is None:
            for _ in txn.scan(b"L", b"M"):
                # It would release what is retained, on whoever's word it was made.
                raise IntegrityError(
                    "there are locks, but the record of the vault's compliance clock is missing: nothing that is "
                    "retained can be released; restore a backup"
                )
            stands = txn.now_ns
        else:
            stands = self._clock.trusted_ns(txn)
        # A slice for the time between reading the two.
        back = mark is not None and new.trusted_ns < mark.trusted_ns
        if back or gives > stands + 1_000_000_000 or not self._clock.of_this_boot(new):
            raise LockedError(
                f"the compliance clock stands at {time_text(stands)} and cannot be set to "
                f"{time_text(max(0, min(gives, UNTIL_NS_MAX)))}: it counts the time that has passed, and nobody sets it"
            )


# -- buckets


def _check_bucket(txn: Transaction, change: Change) -> None:
    """A lock of a bucket stays, and so do its versions."""
    index_key = entries.bucket_key(change.key.decode())
    raw = txn.get(index_key)
    data = entries.unpack(change.meta)
    if change.flags & FLAG_RELOCATED and _is_copy(txn, index_key, change.sequence, data):
        return
    new = data["doc"].get(LOCK_DOCUMENT)
    old = None
    if raw is not None:
        found = decode_document(index_key, raw).data
        old = found["doc"].get(LOCK_DOCUMENT)
        if old is not None and (found["id"], change.bucket_id) != (change.bucket_id, data["id"]):
            raise LockedError(
                f"bucket {change.key.decode()} has object lock; another bucket cannot take its place and hide it"
            )
    if old is not None and new is None:
        raise LockedError(f"bucket {change.key.decode()}: its object lock cannot be turned off, by anybody")
    if new is None:
        return
    BucketLock.of(new)
    if txn.get(entries.document_key(CLOCK_DOCUMENT)) is None:
        raise InvalidInputError(
            f"bucket {change.key.decode()}: object lock needs the compliance clock, which has not been started; turn "
            "it on with create_bucket(object_lock=True) or set_object_lock()"
        )
    if data["v"] != "enabled":
        if old is None:
            raise InvalidInputError(
                f"bucket {change.key.decode()}: object lock needs versioning; enable versioning first"
            )
        raise LockedError(f"bucket {change.key.decode()}: versioning stays enabled where there is an object lock")


def _check_bucket_empty(txn: Transaction, change: Change) -> None:
    raw = txn.get(entries.bucket_key(change.key.decode()))
    if change.flags & FLAG_RELOCATED and (
        raw is None or decode_document(entries.bucket_key(change.key.decode()), raw).data["id"] != change.bucket_id
    ):
        return  # gone since
    for tag in (b"O", b"V"):
        first = entries.bucket_prefix(tag, change.bucket_id)
        for _ in txn.scan(first, entries.bucket_prefix(tag, change.bucket_id + 1)):
            raise LockedError(f"bucket {change.key.decode()} still holds versions; it cannot be removed")


def bucket_lock_of(reader: Reader, bucket_id: int) -> BucketLock | None:
    """Return the lock configuration of a bucket, None if it has none."""
    data = _bucket(reader, bucket_id)[1]
    document = data.get("doc", {}).get(LOCK_DOCUMENT)
    return None if document is None else BucketLock.of(document)


def _bucket(reader: Reader, bucket_id: int) -> tuple[str, Mapping[str, Any]]:
    """Return (name, settings) of a bucket; buckets stand under their names, so this looks through them."""
    for key, raw in reader.scan(b"B", b"C"):
        data = decode_document(key, raw).data
        if data["id"] == bucket_id:
            return key[1:].decode(), data
    return f"bucket {bucket_id}", {}


# -- looking up


def version_of(reader: Reader, bucket_id: int, key: bytes, sequence: int) -> Entry | None:
    """Return the entry of a version by its sequence."""
    for index_key in (entries.object_key(bucket_id, key), entries.version_key(bucket_id, key, sequence)):
        raw = reader.get(index_key)
        if raw is not None:
            entry = decode_entry(index_key, raw)
            if entry.sequence == sequence:
                return entry
    return None


def lock_of(reader: Lookup, bucket_id: int, key: bytes, sequence: int) -> ObjectLock:
    """Return the lock of a version whose entry says that it has one."""
    index_key = entries.lock_key(bucket_id, key, sequence)
    raw = reader.get(index_key)
    if raw is None:
        return ObjectLock(damaged=True)
    data = decode_document(index_key, raw).data
    return ObjectLock(damaged=True) if DAMAGED_DOCUMENT in data else ObjectLock.of(data)


def _check_copy(txn: Transaction, change: Change) -> bool:
    """A copy made by compaction is the version it was, with its lock; return whether there is one that it is of."""
    entry = version_of(txn, change.bucket_id, change.key, change.sequence)
    if entry is None or change.kind != _PUT or not entry.flags & ENTRY_LOCK:
        return entry is not None
    etag, parts, flags, _, size = META.unpack_from(change.meta)
    same = (etag, parts, size) == (entry.etag, entry.etag_parts, entry.size)
    index_key = entries.lock_key(change.bucket_id, change.key, change.sequence)
    raw = txn.get(index_key)
    if same and raw is not None and (found := decode_document(index_key, raw)).sequence == change.sequence:
        # The lock that it was written with is still the one it has.
        lock = entries.decode_put_meta(change.meta).extras.get("lk") if flags & META_LOCK else None
        same = lock == found.data
    if not same:
        raise LockedError(f"{_name(txn, change, entry)} is locked, and a copy of it is not what it was")
    return True


def _is_copy(txn: Transaction, index_key: bytes, sequence: int, data: Any) -> bool:
    """Return whether what a copy says is what the index has of its original."""
    raw = txn.get(index_key)
    if raw is None:
        return False
    found = decode_document(index_key, raw)
    return found.sequence == sequence and bool(found.data == data)


def _name(reader: Reader, change: Change, entry: Entry) -> str:
    name = _bucket(reader, change.bucket_id)[0]
    version_id = entries.version_id_of(entry.sequence, entry.flags)
    return f"{name}/{change.key.decode(errors='replace')} version {version_id}"


def _refused(reader: Reader, change: Change, entry: Entry, verb: str, why: str, lock: ObjectLock | None) -> LockedError:
    error = LockedError(f"{verb} {_name(reader, change, entry)}: {why}")
    error.lock = lock
    return _located(error, reader, change, entry)


def _located(error: LockedError, reader: Reader, change: Change, entry: Entry) -> LockedError:
    """Return the error with what the audit trail keeps of it."""
    error.where = (
        _bucket(reader, change.bucket_id)[0],
        change.key.decode(errors="replace"),
        entries.version_id_of(entry.sequence, entry.flags),
    )
    error.action = "PutObjectRetention" if change.kind == Kind.LOCK else "DeleteObjectVersion"
    return error


def _retained(lock: ObjectLock, trusted_ns: int, wall_ns: int) -> str:
    text = f"it is kept in {lock.retention_mode} mode until {time_text(lock.retain_until_ns)}"
    if lock.retention_mode == "GOVERNANCE":
        text += "; whoever has the right may bypass it (bypass_governance)"
    if trusted_ns == 0:
        return f"{text}; the record of the vault's compliance clock is missing, and nothing is released without it"
    if wall_ns >= lock.retain_until_ns:
        # The wall clock says it is over: tell why it is not.
        text += (
            f"; the vault's compliance clock stands at {time_text(trusted_ns)}, behind the wall clock, which does not "
            "count (see `tickvault lock clock`)"
        )
    return text
