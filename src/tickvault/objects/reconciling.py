"""Holding what is stored against what the audit trail says was written.

Checksums find bytes that decayed; whoever edits a segment on purpose makes the checksums right again.  The trail is
signed and chained, and its head can be kept elsewhere, so what it says of a version (its entity tag, size and lock,
and whether it was removed) is evidence that the store's own files are not.

Invariants: nothing is changed; a version is judged by its bytes as they are read now, not by what the index says of
them; what the trail cannot know (it began later, or has a gap it names) is no finding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tickvault.audit.record import AuditRecord, Category
from tickvault.errors import AccessDeniedError, IntegrityError, NotFoundError, TickVaultError
from tickvault.objects.auditing import lock_detail
from tickvault.objects.get import ObjectReader
from tickvault.objects.lock.retention import ObjectLock, time_text
from tickvault.objects.model import NULL_VERSION, ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.store import ObjectStore

Progress = Callable[[int, int, str], None]
_LOCK_FIELDS = ("legal_hold", "retention_mode", "retain_until")


class Finding(NamedTuple):
    """A version that is not what the trail says."""

    kind: str
    """``missing``, ``changed``, ``lock``, ``unreadable``, ``unknown``, or ``removed`` while it was locked."""
    bucket: str
    key: str
    version_id: str
    text: str


@dataclass
class ReconcileReport:
    """What was compared, and what differs."""

    versions: int = 0
    """Versions that the trail says are there."""
    bytes: int = 0
    unread: int = 0
    """Versions whose bytes could not be read for want of a key (a customer's, or one that was destroyed); what the
    index and the trail say of them agrees."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is what the trail says."""
        return not self.findings


@dataclass
class _Expected:
    etag: str
    size: int
    lock: dict[str, str]
    sequence: int


def reconcile(
    store: ObjectStore,
    records: Iterable[AuditRecord],
    *,
    everything: bool = False,
    progress: Progress | None = None,
) -> ReconcileReport:
    """Compare versions with the trail.

    Parameters
    ----------
    records : iterable of AuditRecord
        The whole trail, verified, in its order.
    everything : bool
        All buckets; otherwise those with object lock, whose versions may not change.
    """
    report = ReconcileReport()
    buckets = {
        info.name: store.bucket(info.name)
        for info in store.list_buckets()
        if everything or info.object_lock is not None
    }
    expected, known_from = _expected(records, buckets, report.findings)
    report.versions = len(expected)
    for number, ((name, key, version_id), one) in enumerate(expected.items()):
        if progress is not None and number % 64 == 0:
            progress(number, len(expected), "versions")
        found = _compare(buckets[name], key, version_id, one, report)
        if found is not None:
            report.findings.append(found)
    for bucket in buckets.values():
        report.findings += _unknown(bucket, expected, known_from)
    if progress is not None:
        progress(len(expected), len(expected), "versions")
    return report


def _expected(
    records: Iterable[AuditRecord], buckets: dict[str, Bucket], findings: list[Finding]
) -> tuple[dict[tuple[str, str, str], _Expected], int]:
    """Return what the trail says is there, and the sequence after which it knows of every change."""
    expected: dict[tuple[str, str, str], _Expected] = {}
    known_from = 0
    wall_offset_ns = 0
    for record in records:
        detail = record.detail
        if "wall_offset_ns" in detail:
            wall_offset_ns = int(detail["wall_offset_ns"])
        if record.category is not Category.CHANGE:
            if record.action in ("TrailBegun", "TrailGap", "JournalBehindTrail"):
                last = detail.get("until_sequence") or detail.get("vault_sequence") or detail.get("after_sequence", "0")
                known_from = max(known_from, int(last))
            continue
        if record.bucket not in buckets:
            continue
        at = (record.bucket, record.key, record.version_id)
        if "etag" in detail and "part_number" not in detail:
            lock = {name: detail[name] for name in _LOCK_FIELDS if name in detail}
            expected[at] = _Expected(detail["etag"], record.size_bytes, lock, record.vault_sequence)
        elif "removed" in detail or ("delete_marker" in detail and record.version_id == NULL_VERSION):
            gone = expected.pop(at, None)
            if gone is not None and _was_locked(gone.lock, record, record.time_ns - wall_offset_ns):
                findings.append(
                    Finding(
                        "removed",
                        *at,
                        f"{record.bucket}/{record.key} version {record.version_id}: the trail says that it was removed "
                        f"(record {record.sequence}) while it was locked: {_words(gone.lock)}",
                    )
                )
        elif "legal_hold" in detail and at in expected:
            expected[at].lock = {name: detail[name] for name in _LOCK_FIELDS if name in detail}
    return expected, known_from


def _was_locked(lock: dict[str, str], removal: AuditRecord, trusted_ns: int) -> bool:
    """Return whether the guard, had it been asked, would have refused a removal."""
    if lock.get("legal_hold") == "on":
        return True
    mode = lock.get("retention_mode")
    if mode is None or (mode == "GOVERNANCE" and "bypass_governance" in removal.detail):
        return False
    return time_text(trusted_ns) < lock["retain_until"]


def _compare(bucket: Bucket, key: str, version_id: str, expected: _Expected, report: ReconcileReport) -> Finding | None:
    def finding(kind: str, text: str) -> Finding:
        return Finding(kind, bucket.name, key, version_id, f"{bucket.name}/{key} version {version_id}: {text}")

    try:
        info = bucket.head(key, version_id=version_id)
    except NotFoundError:
        return finding("missing", "the trail says that it was written and nothing of its removal, and it is not there")
    except IntegrityError as error:
        return finding("unreadable", str(error))
    lock = _lock_of(info)
    if lock != expected.lock:
        return finding("lock", f"its lock is {_words(lock)}; the trail says {_words(expected.lock)}")
    if (info.etag, info.size) != (expected.etag, expected.size):
        return finding(
            "changed",
            f"it has etag {info.etag} and {info.size} bytes; the trail says {expected.etag} and {expected.size}",
        )
    try:
        computed = _etag(bucket.read(key, version_id=version_id))
    except AccessDeniedError:
        report.unread += 1
        return None
    except TickVaultError as error:
        return finding("unreadable", str(error))
    report.bytes += info.size
    if computed is not None and computed != expected.etag:
        return finding("changed", f"its bytes give etag {computed}; the trail says that {expected.etag} was written")
    return None


def _etag(reader: ObjectReader) -> str | None:
    """Return the entity tag that the bytes give; None where the tag is not made from them."""
    info = reader.info
    if info.encryption is not None and info.encryption.mode in ("kms", "customer"):
        # The tag is drawn by lot, so that it tells nothing of the plaintext; the cipher tells of any change of it.
        for _ in reader.chunks(0, info.size):
            pass
        return None
    if "-" not in info.etag:
        whole = hashlib.md5(usedforsecurity=False)
        for chunk in reader.chunks(0, info.size):
            whole.update(chunk)
        return whole.hexdigest()
    if not info.part_sizes:
        return None
    digests = []
    start = 0
    for size in info.part_sizes:
        part = hashlib.md5(usedforsecurity=False)
        for chunk in reader.chunks(start, start + size):
            part.update(chunk)
        digests.append(part.digest())
        start += size
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(info.part_sizes)}"


def _lock_of(info: ObjectInfo) -> dict[str, str]:
    if not info.locked:
        return {}
    mode = info.retention_mode if info.retention_mode in ("GOVERNANCE", "COMPLIANCE") else None
    return lock_detail(ObjectLock(mode, info.retain_until_ns, info.legal_hold))  # type: ignore[arg-type]


def _words(lock: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in lock.items()) or "none"


def _unknown(bucket: Bucket, expected: dict[tuple[str, str, str], _Expected], known_from: int) -> Iterable[Finding]:
    """Iterate over versions that are there and of which the trail should know, and does not."""
    key_marker: str | None = ""
    version_id_marker = ""
    while key_marker is not None:
        page = bucket.list_versions_page(key_marker=key_marker, version_id_marker=version_id_marker)
        for info in page.versions:
            at = (bucket.name, info.key, info.version_id)
            if not info.delete_marker and info.sequence > known_from and at not in expected:
                yield Finding(
                    "unknown", *at, f"{bucket.name}/{info.key} version {info.version_id}: the trail knows nothing of it"
                )
        key_marker, version_id_marker = page.next_key_marker, page.next_version_id_marker or ""
