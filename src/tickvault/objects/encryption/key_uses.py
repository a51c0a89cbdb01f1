"""Who needs a key: which versions, and whether one of them is locked; and its destruction, which asks first.

Invariants: a key is not destroyed while a version under a retention or a legal hold needs it, whoever asks: the last
look is taken inside the commit in which the key is destroyed, so that no lock can come between; no body is opened, and
no key is needed to ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import Reader
from tickvault.engine.segments import SegmentGoneError
from tickvault.errors import IntegrityError, LockedError
from tickvault.objects import entries
from tickvault.objects.encryption.setting import (
    BucketEncryption,
    EncryptionRequest,
    default_key_id,
)
from tickvault.objects.encryption.stored import effective
from tickvault.objects.entries import ENTRY_ATTRIBUTES, ENTRY_DAMAGED, ENTRY_ENCRYPTED, ENTRY_LOCK, Entry
from tickvault.objects.lock.guard import lock_of, version_of
from tickvault.objects.lookup import later_attributes, read_record
from tickvault.security.cipher import AES_256_GCM
from tickvault.security.keyring import KeyDescription
from tickvault.security.keyring.keyring import CHECK_INTERVAL_S

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

Progress = Callable[[int, int, str], None]
#: Longer than a process may go on with a key that another one disabled, seconds.
SETTLE_S = CHECK_INTERVAL_S + 0.2
#: Versions that are looked at in one read transaction.
_PAGE = 1000
_RECORD_SIZE = 4096


class EncryptedVersion(NamedTuple):
    """A version whose body is encrypted."""

    bucket_id: int
    key: bytes
    entry: Entry
    encryption: Mapping[str, Any]
    """The entry ``en`` of its record, with what was made anew."""


@dataclass
class KeyUses:
    """Which versions a key wraps the data keys of."""

    key_id: str
    versions: int = 0
    locked: int = 0
    """Of these, under a retention that has not ended, or a legal hold."""
    uploads: int = 0
    """Uploads in progress."""
    buckets: int = 0
    """Buckets whose new versions it is for."""
    unreadable: int = 0
    """Encrypted versions whose record is damaged, so that nobody knows which key they need."""
    first_locked: str = ""
    """One of the locked ones: bucket, key, version."""


class DestroyReport(NamedTuple):
    """What the destruction of a key made unreadable."""

    key: KeyDescription
    uses: KeyUses


def check_setting(store: ObjectStore, encryption: str | Mapping[str, Any] | EncryptionRequest) -> BucketEncryption:
    """Return the setting of a bucket that is asked for, once its key is there.

    Raises
    ------
    InvalidInputError
        It names no suite, or a customer's key, which a bucket cannot have.
    AccessDeniedError
        There is no such key.
    """
    request = EncryptionRequest.of(encryption)
    assert request is not None, "asked for"
    suite = request.suite or AES_256_GCM.name
    setting = BucketEncryption(suite, request.key_id or default_key_id(suite), request.mode)
    BucketEncryption.of(setting.document())
    store.keys.prepare(setting.key_id, AES_256_GCM.key_size)
    return setting


def encrypted_versions(store: ObjectStore, bucket_id: int | None = None) -> Iterator[EncryptedVersion | None]:
    """Iterate over the encrypted versions of a bucket, or of all; None for one whose record is damaged.

    A version that is made, removed or moved meanwhile may or may not be seen; every other one is, once.
    """
    for tag in (b"O", b"V"):
        start = tag if bucket_id is None else entries.bucket_prefix(tag, bucket_id)
        end = bytes((tag[0] + 1,)) if bucket_id is None else entries.bucket_prefix(tag, bucket_id + 1)
        while start:
            page, start = _page(store, tag, start, end)
            yield from page


def _page(store: ObjectStore, tag: bytes, start: bytes, end: bytes) -> tuple[list[EncryptedVersion | None], bytes]:
    """Return one page, and where the next one begins; empty at the end."""
    page: list[EncryptedVersion | None] = []
    seen = 0
    with store.engine.snapshot() as snapshot:
        for index_key, raw in snapshot.scan(start, end):
            if seen >= _PAGE:
                return page, index_key
            seen += 1
            if not raw[4] & ENTRY_ENCRYPTED:
                continue
            entry = entries.decode_entry(index_key, raw)
            key = index_key[5:] if tag == b"O" else entries.split_versioned(index_key)[0]
            page.append(_read(store, snapshot, int.from_bytes(index_key[1:5], "big"), key, entry))
    return page, b""


def _read(store: ObjectStore, reader: Reader, bucket_id: int, key: bytes, entry: Entry) -> EncryptedVersion | None:
    if entry.flags & ENTRY_DAMAGED:
        return None
    try:
        record, _ = read_record(store.engine.segments, entry, key, bucket_id)
        extras = entries.decode_put_meta(record.meta).extras
        if entry.flags & ENTRY_ATTRIBUTES:
            extras = {**extras, **later_attributes(reader, bucket_id, key, entry.sequence)}
    except (IntegrityError, SegmentGoneError):
        return None
    found = effective(extras)
    return None if found is None else EncryptedVersion(bucket_id, key, entry, found)


def uses_of_key(store: ObjectStore, key_id: str, *, progress: Progress | None = None) -> KeyUses:
    """Return who needs a key; reads the record of every encrypted version."""
    uses = KeyUses(key_id)
    infos = store.list_buckets()
    names = {info.bucket_id: info.name for info in infos}
    uses.buckets = sum(info.encryption is not None and info.encryption.key_id == key_id for info in infos)
    for number, found in enumerate(encrypted_versions(store)):
        if progress is not None and number % _PAGE == 0:
            progress(number, 0, "versions")
        if found is None:
            uses.unreadable += 1
            continue
        if found.encryption["k"] != key_id:
            continue
        uses.versions += 1
        if found.entry.flags & ENTRY_LOCK and _is_locked(store, found):
            uses.locked += 1
            if not uses.first_locked:
                version_id = entries.version_id_of(found.entry.sequence, found.entry.flags)
                name = names.get(found.bucket_id, str(found.bucket_id))
                uses.first_locked = f"{name}/{found.key.decode(errors='replace')} version {version_id}"
    with store.engine.snapshot() as snapshot:
        for index_key, raw in snapshot.scan(b"U", b"V"):
            encryption = entries.decode_document(index_key, raw).data.get("en")
            uses.uploads += encryption is not None and encryption["k"] == key_id
    return uses


def _is_locked(store: ObjectStore, found: EncryptedVersion) -> bool:
    with store.engine.snapshot() as snapshot:
        lock = lock_of(snapshot, found.bucket_id, found.key, found.entry.sequence)
        if lock.damaged or lock.legal_hold:
            return True
        return lock.retention_mode is not None and store.lock_clock.trusted_ns(snapshot) < lock.retain_until_ns


def destroy_key(
    store: ObjectStore, key_id: str, *, progress: Progress | None = None, settle_s: float = SETTLE_S
) -> DestroyReport:
    """Destroy a key, so that what it encrypts can never be read again.

    Parameters
    ----------
    settle_s : float
        How long the key is disabled before, so that no process still writes under it, seconds.

    Raises
    ------
    LockedError
        A version under a retention or a legal hold needs it, or one whose record is damaged may.
    NotFoundError
        There is no such key.
    ConflictError
        It was destroyed already.
    """
    known = store.keys.describe(key_id)
    uses = uses_of_key(store, key_id, progress=progress)
    _refuse_locked(uses)
    was_enabled = known.state == "enabled" and store.keys.at_once
    if was_enabled:
        # Another process looks once a second; what it wrapped meanwhile would be acknowledged and lost.
        store.keys.disable(key_id)
        time.sleep(settle_s)
    try:
        destroyed = _destroy(store, key_id)
    except BaseException:
        if was_enabled:
            store.keys.enable(key_id)
        raise
    store.keys.note_destroyed(destroyed)
    return DestroyReport(destroyed, uses)


def _destroy(store: ObjectStore, key_id: str) -> KeyDescription:
    destroyed: list[KeyDescription] = []

    def run(txn: Transaction) -> None:
        # Whatever was locked since the look above: the commit lock is held, so that nothing comes between.
        for index_key, raw in txn.scan(b"L", b"M"):
            _check_lock(store, txn, key_id, index_key, raw)
        if not destroyed:
            destroyed.append(store.keys.destroy(key_id))

    store.engine.commit(Operation(run, _RECORD_SIZE))
    return destroyed[0]


def _check_lock(store: ObjectStore, txn: Transaction, key_id: str, index_key: bytes, raw: bytes) -> None:
    bucket_id = int.from_bytes(index_key[1:5], "big")
    key, sequence = entries.split_versioned(index_key)
    entry = version_of(txn, bucket_id, key, sequence)
    if entry is None or not entry.flags & ENTRY_ENCRYPTED:
        return
    data = entries.decode_document(index_key, raw).data
    ended = "u" in data and not data["h"] and (data["m"] is None or store.lock_clock.trusted_ns(txn) >= data["u"])
    if ended:
        return
    found = _read(store, txn, bucket_id, key, entry)
    if found is None or found.encryption["k"] == key_id:
        version_id = entries.version_id_of(entry.sequence, entry.flags)
        _refuse_locked(KeyUses(key_id, 1, 1, first_locked=f"{key.decode(errors='replace')} version {version_id}"))


def _refuse_locked(uses: KeyUses) -> None:
    if uses.locked:
        raise LockedError(
            f"destroy key {uses.key_id}: {uses.locked} locked version(s) need it, such as {uses.first_locked}; what is "
            "locked stays readable. Destroy it when their retention and legal hold have ended, or move them to another "
            "key first (`tickvault keys rewrap BUCKET --key ID`)"
        )
