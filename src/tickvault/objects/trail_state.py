"""What the audit trail says is there: every version, marker and bucket, with its lock, as its records tell it.

Invariants: it goes by the records alone, in their order; what the records themselves show to be against the rules of
object lock (a lock that was weakened, a version removed before its time, a lock turned off) is a finding, whoever did
it and however the store was brought to do it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tickvault.audit.record import AuditRecord, Category
from tickvault.objects.lock.retention import exact_time_text
from tickvault.objects.model import NULL_VERSION

_LOCK_FIELDS = ("legal_hold", "retention_mode", "retain_until")
#: A removal may be dated by a clock that is behind the compliance clock by so much.
_TOLERANCE_NS = 5 * 10**9
#: A clock that was set by so much is worth a note.
_JUMP_NOTED_NS = 3600 * 10**9

Place = tuple[str, str, str]
"""Bucket, key and version id."""


class Finding(NamedTuple):
    """Something that is not what the trail says, or that the trail shows should not have been."""

    kind: str
    """``missing``, ``changed``, ``lock``, ``unreadable``, ``unknown``, ``removed`` while it was locked, ``clock``,
    ``vault``."""
    bucket: str
    key: str
    version_id: str
    text: str


@dataclass
class VersionState:
    """A version as it was written."""

    etag: str
    size: int
    sequence: int
    modified_ns: int
    described: str
    """Digest of its content type, metadata and checksums; empty where it had none."""
    sha256: str
    lock: dict[str, str]
    marker: bool = False
    tagged: str = ""
    """Digest of its tags, as they were set last; empty for none."""
    headers: str = ""
    """The same of its response headers."""


@dataclass
class BucketTrail:
    """A bucket as its settings were set."""

    locked: bool = False
    lock: str = ""
    """Its lock as the trail words it."""
    proof: str = ""
    """Of its settings; empty where the trail has none."""
    versions: dict[tuple[str, str], VersionState] = field(default_factory=dict)
    """By key and version id."""


class TrailState:
    """What the trail says, up to the record that was taken last."""

    def __init__(self, vault_id: bytes) -> None:
        self.buckets: dict[str, BucketTrail] = {}
        self.documents: dict[str, str] = {}
        """Documents of the vault (identities, policies, keys, its clock): what proves each, by name; empty where a
        record of an earlier release has no proof."""
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.known_from = 0
        """The sequence after which the trail knows of every change."""
        self.last_record = 0
        self.last_sequence = 0
        """Of the last change that it tells of."""
        self.touched: set[Place] = set()
        """Versions that records told of since this was emptied."""
        self._vault_id = vault_id.hex()
        self._removed: list[tuple[str, Finding]] = []

    def take(self, record: AuditRecord) -> None:
        """Take the next record."""
        self.last_record = record.sequence
        self.last_sequence = max(self.last_sequence, record.vault_sequence)
        if record.key and not record.bucket and record.vault_sequence:
            self._document(record)
        if record.category is Category.SYSTEM:
            self._system(record)
        elif record.category is Category.CHANGE and record.bucket:
            if record.key:
                self._version(record, self.buckets.setdefault(record.bucket, BucketTrail()))
            else:
                self._bucket(record)

    def judged(self, now_ns: int) -> list[Finding]:
        """Return the findings, with removals of what would still be retained now, whatever the clock said then."""
        now = exact_time_text(now_ns)
        return self.findings + [finding for until, finding in self._removed if now < until]

    def _system(self, record: AuditRecord) -> None:
        detail = record.detail
        if record.action in ("TrailBegun", "TrailGap", "JournalBehindTrail"):
            last = detail.get("until_sequence") or detail.get("vault_sequence") or detail.get("after_sequence", "0")
            self.known_from = max(self.known_from, int(last))
            # What was written last before the gap need not be what was written last.
            self.documents.clear()
            for bucket in self.buckets.values():
                bucket.proof = ""
            if detail.get("vault_id", self._vault_id) != self._vault_id:
                text = f"the trail is that of vault {detail['vault_id']}, and this is vault {self._vault_id}"
                self.findings.append(Finding("vault", "", "", "", text))
            elif record.action != "TrailBegun":
                self.notes.append(f"record {record.sequence}: {record.action}, {_words(detail)}")
        elif record.action in ("TrailRestarted", "TrailRecovered", "Restore", "JournalDamaged"):
            self.notes.append(f"record {record.sequence}: {record.action}, {_words(detail)}")
        elif "jump_ns" in detail and abs(int(detail["jump_ns"])) >= _JUMP_NOTED_NS:
            seconds = int(detail["jump_ns"]) // 10**9
            self.notes.append(f"record {record.sequence}: the wall clock was set by {seconds:+,} s")

    def _document(self, record: AuditRecord) -> None:
        if record.action.startswith("Delete"):
            self.documents.pop(record.key, None)
        else:
            self.documents[record.key] = record.detail.get("proof", "")

    # -- buckets

    def _bucket(self, record: AuditRecord) -> None:
        detail = record.detail
        if "bucket_removed" in detail:
            gone = self.buckets.pop(record.bucket, None)
            if gone is not None and gone.locked and any(not one.marker for one in gone.versions.values()):
                self._find(
                    "removed", record, f"it was removed with {len(gone.versions)} versions in it, under object lock"
                )
        elif "versioning" in detail:
            state = self.buckets.setdefault(record.bucket, BucketTrail())
            state.proof = detail.get("proof", "")
            lock = detail.get("object_lock")
            if lock is not None:
                state.locked, state.lock = True, lock
            elif state.locked:
                self._find("lock", record, "its object lock was turned off, which nobody can")

    def _find(self, kind: str, record: AuditRecord, what: str) -> None:
        place = f"{record.bucket}/{record.key} version {record.version_id}" if record.key else f"bucket {record.bucket}"
        text = f"{place}: the trail says (record {record.sequence}) that {what}"
        self.findings.append(Finding(kind, record.bucket, record.key, record.version_id, text))

    # -- versions

    def _version(self, record: AuditRecord, bucket: BucketTrail) -> None:
        detail = record.detail
        at = (record.key, record.version_id)
        if "etag" in detail and "part_number" not in detail:
            self._replaced(record, bucket, at)
            bucket.versions[at] = VersionState(
                detail["etag"],
                record.size_bytes,
                record.vault_sequence,
                record.time_ns,
                detail.get("described", ""),
                detail.get("sha256", ""),
                _lock(detail),
                tagged=detail.get("tagged", ""),
                headers=detail.get("headers", ""),
            )
        elif "delete_marker" in detail:
            self._replaced(record, bucket, at)
            state = VersionState("", 0, record.vault_sequence, record.time_ns, "", "", {}, marker=True)
            bucket.versions[at] = state
        elif "removed" in detail:
            self._removal(record, bucket.versions.pop(at, None))
        elif "legal_hold" in detail:
            at = self._lock_change(record, bucket, at)
        elif "tagged" in detail or "headers" in detail:
            at = self._stands(record, bucket, at)
            if at in bucket.versions:
                state = bucket.versions[at]
                state.tagged = detail.get("tagged", state.tagged)
                state.headers = detail.get("headers", state.headers)
        self.touched.add((record.bucket, *at))

    def _replaced(self, record: AuditRecord, bucket: BucketTrail, at: tuple[str, str]) -> None:
        """A null version takes the place of the null version before it."""
        if record.version_id == NULL_VERSION:
            self._removal(record, bucket.versions.get(at))

    def _removal(self, record: AuditRecord, gone: VersionState | None) -> None:
        if gone is None or not gone.lock:
            return
        until = gone.lock.get("retain_until", "")
        what = f"it was removed while it was locked: {_words(gone.lock)}"
        if gone.lock.get("legal_hold") == "on":
            self._find("removed", record, what)
        elif until and not (gone.lock["retention_mode"] == "GOVERNANCE" and "bypass_governance" in record.detail):
            if exact_time_text(record.time_ns + _TOLERANCE_NS) < until:
                self._find("removed", record, what)
            else:
                # Lawful by the clocks of then; by those of now it is judged at the end.
                place = f"{record.bucket}/{record.key} version {record.version_id}"
                text = f"{place}: the trail says (record {record.sequence}) that {what}; a clock was ahead then"
                finding = Finding("removed", record.bucket, record.key, record.version_id, text)
                self._removed.append((until, finding))

    def _lock_change(self, record: AuditRecord, bucket: BucketTrail, at: tuple[str, str]) -> tuple[str, str]:
        """Take a new lock of a version; return where the version stands."""
        at = self._stands(record, bucket, at)
        if at not in bucket.versions:
            return at
        state = bucket.versions[at]
        new = _lock(record.detail)
        if _weakens(state.lock, new, record):
            self._find("lock", record, f"its lock was weakened, from {_words(state.lock)} to {_words(new)}")
        state.lock = new
        return at

    @staticmethod
    def _stands(record: AuditRecord, bucket: BucketTrail, at: tuple[str, str]) -> tuple[str, str]:
        """Return where the version stands that a change of it names: a null one is told of by its number."""
        if at not in bucket.versions:
            null = bucket.versions.get((record.key, NULL_VERSION))
            if null is not None and f"{null.sequence:016x}" == record.version_id:
                return record.key, NULL_VERSION
        return at


def _weakens(old: dict[str, str], new: dict[str, str], record: AuditRecord) -> bool:
    mode, until = old.get("retention_mode"), old.get("retain_until", "")
    if mode is None or exact_time_text(record.time_ns) >= until:
        return False
    if new.get("retention_mode") == mode and new["retain_until"] >= until:
        return False
    return mode == "COMPLIANCE" or "bypass_governance" not in record.detail


def _lock(detail: object) -> dict[str, str]:
    assert hasattr(detail, "__getitem__")
    return {name: detail[name] for name in _LOCK_FIELDS if name in detail}  # type: ignore[operator]


def _words(detail: object) -> str:
    items = dict(detail).items()  # type: ignore[call-overload]
    return " ".join(f"{name}={value}" for name, value in items) or "none"
