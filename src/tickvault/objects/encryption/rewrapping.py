"""Data keys wrapped anew: after a key was rotated, or to move versions to another key.

Invariants: no body and no byte of a version's own record is touched, so that a locked version can be moved too; what is
wrapped anew opens the same body, and was opened before with the old one; a version that was removed or moved meanwhile
is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tickvault.engine.commit import Operation, Transaction
from tickvault.errors import AccessDeniedError, BusyError, IntegrityError, NotFoundError, TickVaultError
from tickvault.objects import entries
from tickvault.objects.encryption.key_uses import EncryptedVersion, encrypted_versions
from tickvault.objects.encryption.stored import digest_of, key_version_of, part_salts, place_binding
from tickvault.objects.entries import ATTRIBUTES_CHANGE, ENTRY_ATTRIBUTES, Kind
from tickvault.objects.lock.guard import version_of
from tickvault.objects.lookup import later_attributes, read_record

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

#: Versions in one commit.
_PAGE = 200
_RECORD_SIZE = 256
#: Tags and headers that were set later are written again with the key.
_ATTRIBUTES_SIZE_MAX = 64 * 1024


@dataclass
class RewrapReport:
    """What a rewrap did, and what it left undone: look at `complete` before a key is destroyed."""

    rewrapped: int = 0
    current: int = 0
    """Versions that had the current version of the key already."""
    failed: int = 0
    """Versions that stay as they were: damaged, under a key that may not be used, or changed at the same time."""
    first_failure: str = ""
    uploads: int = 0
    """Uploads in progress that stay under another key than the one that all was to be moved to: what they become needs
    that other key."""
    errors: list[TickVaultError] = field(default_factory=list)
    """Why versions stay as they were: the first of each kind."""

    @property
    def complete(self) -> bool:
        """Whether nothing was left as it was."""
        return not self.failed and not self.uploads


class _Renewed(NamedTuple):
    found: EncryptedVersion
    key_id: str
    wrapped: bytes


def rewrap(
    bucket: Bucket, key_id: str | None, *, progress: Callable[[int, int, str], None] | None = None
) -> RewrapReport:
    """Wrap the data keys of a bucket's encrypted versions under the current version of their key, or of another.

    Raises
    ------
    NotFoundError
        There is no key `key_id`.
    """
    report = RewrapReport()
    keys = bucket.store.keys
    if key_id is not None:
        keys.describe(key_id)
    versions: dict[str, int] = {}
    found = encrypted_versions(bucket.store, bucket.bucket_id)
    while page := list(islice(found, _PAGE)):
        renewed = []
        for one in page:
            if one is None:
                _failed(report, IntegrityError("the record of a version is damaged; run `tickvault verify`"))
                continue
            try:
                made = _renew(bucket, one, key_id or one.encryption["k"], versions)
            except (AccessDeniedError, IntegrityError, NotFoundError) as error:
                _failed(report, type(error)(f"{bucket.name}/{one.key.decode(errors='replace')}: {error}"))
                continue
            if made is None:
                report.current += 1
            else:
                renewed.append(made)
        if renewed:
            done, busy = _commit(bucket, renewed)
            report.rewrapped += done
            for key in busy:
                name = f"{bucket.name}/{key.decode(errors='replace')}"
                _failed(report, BusyError(f"{name}: its tags were set at the same time; rewrap once more"))
        if progress is not None:
            progress(report.rewrapped + report.current + report.failed, 0, "versions")
    if key_id is not None:
        report.uploads = _uploads_elsewhere(bucket, key_id)
    return report


def _failed(report: RewrapReport, error: TickVaultError) -> None:
    report.failed += 1
    report.first_failure = report.first_failure or str(error)
    if all(type(error) is not type(known) for known in report.errors):
        report.errors.append(error)


def _uploads_elsewhere(bucket: Bucket, key_id: str) -> int:
    """Return how many uploads in progress have their data keys under another key."""
    prefix, end = (entries.bucket_prefix(b"U", bucket.bucket_id + each) for each in (0, 1))
    count = 0
    with bucket.store.engine.snapshot() as snapshot:
        for index_key, raw in snapshot.scan(prefix, end):
            encryption = entries.decode_document(index_key, raw).data.get("en")
            count += encryption is not None and encryption["k"] != key_id
    return count


def _renew(bucket: Bucket, found: EncryptedVersion, key_id: str, versions: dict[str, int]) -> _Renewed | None:
    """Return a version's data key wrapped anew; None if that changes nothing."""
    keys = bucket.store.keys
    en = found.encryption
    if key_id not in versions:
        keys.prepare(key_id, 32)
        versions[key_id] = keys.describe(key_id).current_version
    if en["k"] == key_id and key_version_of(en["w"]) == versions[key_id] != 0:
        return None
    sizes: tuple[int, ...] = ()
    if "p" in en:
        record, _ = read_record(bucket.store.engine.segments, found.entry, found.key, found.bucket_id)
        sizes = tuple(entries.decode_put_meta(record.meta).extras["ps"])
    binding = place_binding(
        bucket.store.engine.vault_id,
        en["m"],
        en["s"],
        found.bucket_id,
        found.key,
        found.entry.sequence,
        found.entry.size,
        digest_of(part_salts(en, sizes), sizes),
    )
    inner = keys.unwrap(en["k"], en["w"], binding)
    return _Renewed(found, key_id, keys.wrap(key_id, inner, binding))


def _commit(bucket: Bucket, renewed: list[_Renewed]) -> tuple[int, list[bytes]]:
    """Write what was wrapped anew; return for how many versions, and the keys of those that were left."""
    state = bucket.state

    def run(txn: Transaction) -> tuple[int, list[bytes]]:
        info = state.changing(txn)
        count = 0
        busy = []
        for found, key_id, wrapped in renewed:
            entry = version_of(txn, info.bucket_id, found.key, found.entry.sequence)
            if entry is None:
                continue  # gone
            if entry.flags & ENTRY_ATTRIBUTES & ~found.entry.flags:
                busy.append(found.key)  # tags came meanwhile, for which there is no room: the next rewrap takes it
                continue
            later = {}
            if entry.flags & ENTRY_ATTRIBUTES:
                later = later_attributes(txn, info.bucket_id, found.key, entry.sequence)
            # What was set before is written again with it; the mark says that this is not what changes.
            meta = entries.pack({**later, "rw": {"k": key_id, "w": wrapped}, ATTRIBUTES_CHANGE: "rw"})
            txn.append(Kind.ATTRIBUTES, info.bucket_id, found.key, meta, aux=entry.sequence)
            count += 1
        return count, busy

    size = sum(_RECORD_SIZE + len(found.key) + len(wrapped) for found, _, wrapped in renewed)
    size += sum(_ATTRIBUTES_SIZE_MAX for found, _, _ in renewed if found.entry.flags & ENTRY_ATTRIBUTES)
    return bucket.store.engine.commit(Operation(run, size))
