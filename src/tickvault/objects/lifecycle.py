"""The lifecycle of a bucket's objects: old versions expire, unfinished uploads are given up.

The rules and their document are drawn in `tickvault.objects.lifecycle_rules`.  Days count from the creation of a
version (from the creation of its successor for a noncurrent one, from the initiation of an upload) and end at the
midnight UTC after.

Invariants: nothing is removed that was not looked at: each removal is checked again inside its commit, against the
version's sequence, its tags, and its place among the others; a removal is an ordinary record, so that guards are asked,
and one that they refuse is counted and stops nothing; memory does not grow with the number of keys or versions; no
snapshot outlives one page.

Source: Amazon S3 User Guide, "Managing the lifecycle of objects"; Amazon S3 API Reference, LifecycleRule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import Reader, prefix_end
from tickvault.errors import BucketNotFoundError, IntegrityError, NotFoundError, TickVaultError
from tickvault.objects import entries
from tickvault.objects.delete import append_delete
from tickvault.objects.entries import ENTRY_ATTRIBUTES, ENTRY_MARKER, ENTRY_NULL, Entry, Kind, decode_entry
from tickvault.objects.lifecycle_rules import DOCUMENT, Rule, due_ns, parse_rules, validate_lifecycle
from tickvault.objects.lookup import later_attributes
from tickvault.objects.model import BucketInfo

if TYPE_CHECKING:
    from tickvault.engine.engine import Progress
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.store import ObjectStore

__all__ = ["BucketLifecycle", "LifecycleReport", "run_lifecycle", "validate_lifecycle"]

#: Entries looked at under one snapshot.
_PAGE_LENGTH = 1000
#: Removals in one commit: few enough that a writer beside it does not wait long.
_BATCH_LENGTH = 200
_RECORD_SIZE = 256
_NOTHING = Entry(0, 0, 0, 0, 0, b"", 0, 0, 0)


@dataclass(slots=True)
class BucketLifecycle:
    """What a run did in one bucket."""

    bucket: str
    expired_count: int = 0
    """Current versions removed for good, in a bucket without versions."""
    marker_made_count: int = 0
    """Current versions hidden behind a new delete marker, in a bucket with versions."""
    noncurrent_removed_count: int = 0
    """Noncurrent versions, delete markers among them, removed for good."""
    marker_removed_count: int = 0
    """Delete markers removed that hid nothing any more."""
    upload_aborted_count: int = 0
    removed_size_bytes: int = 0
    """Bodies removed for good, parts of aborted uploads included."""
    refused_count: int = 0
    """Removals that a guard refused, such as an object lock."""
    changed_count: int = 0
    """Removals given up because the object changed between the look and the commit; the next run looks again."""
    damaged_count: int = 0
    """Entries that do not match their checksum, left for `tickvault verify`."""
    error: str | None = None
    """Why the run stopped early in this bucket; None if it did not."""


@dataclass(frozen=True, slots=True)
class LifecycleReport:
    """What one run did."""

    now_ns: int
    """The time that the rules were held against, int64 ns since the epoch, UTC."""
    buckets: tuple[BucketLifecycle, ...]
    """Those that have rules, by name."""

    @property
    def change_count(self) -> int:
        """Removals and delete markers made, over all buckets."""
        return sum(
            bucket.expired_count
            + bucket.marker_made_count
            + bucket.noncurrent_removed_count
            + bucket.marker_removed_count
            + bucket.upload_aborted_count
            for bucket in self.buckets
        )


def run_lifecycle(store: ObjectStore, now_ns: int | None = None, progress: Progress | None = None) -> LifecycleReport:
    """Apply the lifecycle rules of every bucket once.

    Parameters
    ----------
    store : ObjectStore
        Others may read, write, and run the same at the same time.
    now_ns : int, optional
        The time to hold the rules against, int64 ns since the epoch, UTC; the store's clock by default.
    progress : callable, optional
        Called with (buckets done, buckets, ``"buckets"``).

    Returns
    -------
    LifecycleReport
        An error in one bucket is noted there and keeps the run from no other.
    """
    moment = store.engine.clock.now_ns() if now_ns is None else now_ns
    with_rules = [info for info in store.list_buckets() if info.documents.get(DOCUMENT)]
    reports: list[BucketLifecycle] = []
    for number, info in enumerate(with_rules):
        if progress is not None:
            progress(number, len(with_rules), "buckets")
        report = BucketLifecycle(info.name)
        try:
            rules = parse_rules(info.documents[DOCUMENT])
            _Run(store.bucket(info.name), rules, moment, report).all()
        except BucketNotFoundError:
            # Deleted meanwhile, and its rules with it.
            continue
        except TickVaultError as error:
            report.error = f"{type(error).__name__}: {error}"
        reports.append(report)
    if progress is not None:
        progress(len(with_rules), len(with_rules), "buckets")
    return LifecycleReport(moment, tuple(reports))


class _Candidate(NamedTuple):
    """What looked removable, and what must still hold when it is removed."""

    key: bytes
    entry: Entry
    size: int = 0
    tags: Mapping[str, str] | None = None
    """As they were looked at; None if no rule asked."""
    newer_retained: int = 0
    """Noncurrent versions that must stay above it."""
    seen_sequence: int = 0
    """The vault's last sequence when it was looked at."""


class _Page(NamedTuple):
    """Entries of one table as of one point in time."""

    snapshot: Reader
    last_sequence: int
    items: list[tuple[bytes, bytes]]


_Remove = Callable[[Transaction, BucketInfo, _Candidate], str]


def _scopes(rules: Sequence[Rule]) -> list[bytes]:
    """Return the prefixes to walk: those of the rules, without the ones that lie within another."""
    found: list[bytes] = []
    for prefix in sorted({rule.prefix for rule in rules}):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


class _Run:
    """One run over one bucket."""

    def __init__(self, bucket: Bucket, rules: Sequence[Rule], now_ns: int, report: BucketLifecycle) -> None:
        self._bucket = bucket
        self._rules = rules
        self._now_ns = now_ns
        self._report = report
        self._engine = bucket.store.engine

    def all(self) -> None:
        """Expire current versions, then noncurrent ones, then delete markers left alone, then uploads."""
        # In this order a marker whose last version goes in this run goes in this run too.
        expiring = [rule for rule in self._rules if rule.expires]
        self._walk(b"O", expiring, _CurrentLook(self, expiring).find, self._remove_current)
        noncurrent = [rule for rule in self._rules if rule.noncurrent_days is not None]
        self._walk(b"V", noncurrent, _NoncurrentLook(self, noncurrent).find, self._remove_noncurrent)
        markers = [rule for rule in self._rules if rule.judges_markers and (rule.expired_markers or rule.expires)]
        self._walk(b"V", markers, _MarkerLook(self, markers).find, self._remove_marker)
        uploads = [rule for rule in self._rules if rule.upload_days is not None]
        self._walk(b"U", uploads, _UploadLook(self, uploads).find, self._abort_upload)

    # -- looking

    def _walk(
        self,
        tag: bytes,
        rules: Sequence[Rule],
        look: Callable[[_Page], list[_Candidate]],
        remove: _Remove,
    ) -> None:
        """Look at a table page by page, and remove what was found before the next page is looked at."""
        for prefix in _scopes(rules):
            start = entries.bucket_prefix(tag, self._bucket.bucket_id) + prefix
            end = prefix_end(start)
            items: list[tuple[bytes, bytes]] | None = None
            while items is None or len(items) == _PAGE_LENGTH:
                items = []
                with self._engine.snapshot() as snapshot:
                    self._bucket.state.inside(snapshot)
                    for item in snapshot.scan(start, end):
                        items.append(item)
                        if len(items) == _PAGE_LENGTH:
                            break
                    found = look(_Page(snapshot, snapshot.tail.sequence, items))
                for at in range(0, len(found), _BATCH_LENGTH):
                    self._remove_batch(found[at : at + _BATCH_LENGTH], remove)
                if items:
                    start = items[-1][0] + b"\0"

    def decode(self, index_key: bytes, raw: bytes) -> Entry | None:
        """Return an entry; None, and counted, if it is damaged."""
        try:
            return decode_entry(index_key, raw)
        except IntegrityError:
            self._report.damaged_count += 1
            return None

    @property
    def now_ns(self) -> int:
        """The time that the rules are held against."""
        return self._now_ns

    @property
    def bucket_id(self) -> int:
        """The bucket's number."""
        return self._bucket.bucket_id

    def matching(
        self, reader: Reader, rules: Sequence[Rule], key: bytes, entry: Entry
    ) -> tuple[list[Rule], Mapping[str, str] | None]:
        """Return the rules whose filter a version passes, and its tags if they mattered."""
        seen: list[Mapping[str, str]] = []

        def tags() -> Mapping[str, str]:
            if not seen:
                seen.append(self._tags(reader, key, entry))
            return seen[0]

        return [rule for rule in rules if rule.covers(key, entry, tags)], seen[0] if seen else None

    def _tags(self, reader: Reader, key: bytes, entry: Entry) -> Mapping[str, str]:
        if entry.flags & ENTRY_ATTRIBUTES:
            later = later_attributes(reader, self.bucket_id, key, entry.sequence)
            if "tg" in later:
                return dict(later["tg"])
        version_id = entries.version_id_of(entry.sequence, entry.flags)
        try:
            return self._bucket.get_tags(key.decode(), version_id=version_id)
        except NotFoundError:
            # Gone since the snapshot; what the rules make of it is checked again in the commit.
            return {}
        except IntegrityError:
            self._report.damaged_count += 1
            return {}

    def alone(self, reader: Reader, key: bytes, sequence: int) -> bool:
        """Return whether a delete marker is there and is the only version of its key."""
        if reader.get(entries.object_key(self.bucket_id, key)) is not None:
            return False
        prefix = entries.version_prefix(self.bucket_id, key)
        marker_key = entries.version_key(self.bucket_id, key, sequence)
        found = False
        for index_key, _ in reader.scan(prefix, prefix_end(prefix)):
            if index_key != marker_key:
                return False
            found = True
        return found

    # -- removing, inside a commit; each returns the counter of its outcome

    def _remove_current(self, txn: Transaction, info: BucketInfo, candidate: _Candidate) -> str:
        index_key = entries.object_key(info.bucket_id, candidate.key)
        if not self._unchanged(txn, index_key, candidate):
            return "changed_count"
        append_delete(txn, info, candidate.key.decode(), candidate.key, None)
        return "expired_count" if info.versioning == "off" else "marker_made_count"

    def _remove_noncurrent(self, txn: Transaction, info: BucketInfo, candidate: _Candidate) -> str:
        key, sequence = candidate.key, candidate.entry.sequence
        index_key = entries.version_key(info.bucket_id, key, sequence)
        if (
            not self._unchanged(txn, index_key, candidate)
            # While a version that was newer at the look is still there, this one has not become current since.
            or not self._has_version_between(txn, key, sequence, candidate.seen_sequence)
            or not self._retained(txn, key, sequence, candidate.newer_retained)
        ):
            return "changed_count"
        self._append_removal(txn, info, candidate)
        return "noncurrent_removed_count"

    def _remove_marker(self, txn: Transaction, info: BucketInfo, candidate: _Candidate) -> str:
        if not self.alone(txn, candidate.key, candidate.entry.sequence):
            return "changed_count"
        self._append_removal(txn, info, candidate)
        return "marker_removed_count"

    def _abort_upload(self, txn: Transaction, info: BucketInfo, candidate: _Candidate) -> str:
        sequence = candidate.entry.sequence
        if txn.get(entries.upload_key(info.bucket_id, candidate.key, sequence)) is None:
            return "changed_count"
        txn.append(Kind.UPLOAD_REMOVE, info.bucket_id, candidate.key, b"", aux=sequence)
        return "upload_aborted_count"

    @staticmethod
    def _append_removal(txn: Transaction, info: BucketInfo, candidate: _Candidate) -> None:
        version_id = entries.version_id_of(candidate.entry.sequence, candidate.entry.flags)
        append_delete(txn, info, candidate.key.decode(), candidate.key, version_id)

    def _unchanged(self, txn: Transaction, index_key: bytes, candidate: _Candidate) -> bool:
        """Return whether an entry is still that of the version looked at, with the tags it had."""
        raw = txn.get(index_key)
        if raw is None:
            return False
        entry = decode_entry(index_key, raw)
        if entry.sequence != candidate.entry.sequence:
            return False
        # Tags written with an object never change; only those set later can differ from what was looked at.
        if candidate.tags is None or not entry.flags & ENTRY_ATTRIBUTES:
            return True
        later = later_attributes(txn, self.bucket_id, candidate.key, entry.sequence)
        return "tg" not in later or dict(later["tg"]) == dict(candidate.tags)

    def _has_version_between(self, txn: Transaction, key: bytes, after: int, upto: int) -> bool:
        """Return whether there is a version with a sequence in (after, upto]."""
        current_key = entries.object_key(self.bucket_id, key)
        raw = txn.get(current_key)
        if raw is not None and after < decode_entry(current_key, raw).sequence <= upto:
            return True
        first = entries.version_key(self.bucket_id, key, upto)
        for _ in txn.scan(first, entries.version_key(self.bucket_id, key, after)):
            return True
        return False

    def _retained(self, txn: Transaction, key: bytes, sequence: int, count: int) -> bool:
        """Return whether at least `count` noncurrent versions are newer than one."""
        if count == 0:
            return True
        if txn.get(entries.object_key(self.bucket_id, key)) is None:
            # The newest entry is then the delete marker that is current.
            count += 1
        prefix = entries.version_prefix(self.bucket_id, key)
        for _ in txn.scan(prefix, entries.version_key(self.bucket_id, key, sequence)):
            count -= 1
            if count == 0:
                return True
        return False

    # -- committing

    def _remove_batch(self, batch: Sequence[_Candidate], remove: _Remove) -> None:
        """Remove candidates in one commit, or each in its own if one of them undoes it."""
        try:
            self._commit(batch, remove)
        except IntegrityError:
            if len(batch) == 1:
                self._report.damaged_count += 1
                return
            for candidate in batch:
                self._remove_batch([candidate], remove)

    def _commit(self, batch: Sequence[_Candidate], remove: _Remove) -> None:
        state = self._bucket.state

        def run(txn: Transaction) -> list[tuple[str, int]]:
            info = state.changing(txn)
            outcomes = []
            for candidate in batch:
                length = txn.length
                try:
                    outcome = remove(txn, info, candidate)
                except IntegrityError:
                    raise
                except TickVaultError:
                    if txn.length != length:
                        raise
                    outcome = "refused_count"
                outcomes.append((outcome, candidate.size if _frees(outcome, info, candidate) else 0))
            return outcomes

        size = sum(_RECORD_SIZE + len(candidate.key) for candidate in batch)
        for outcome, freed_bytes in self._engine.commit(Operation(run, size, frees=True)):
            setattr(self._report, outcome, getattr(self._report, outcome) + 1)
            self._report.removed_size_bytes += freed_bytes


def _frees(outcome: str, info: BucketInfo, candidate: _Candidate) -> bool:
    if outcome == "marker_made_count":
        # A delete marker hides a version with an id of its own; where versions are suspended it replaces a null one.
        return info.versioning == "suspended" and bool(candidate.entry.flags & ENTRY_NULL)
    return outcome not in ("changed_count", "refused_count")


class _CurrentLook:
    """Finds current versions that have expired."""

    def __init__(self, run: _Run, rules: Sequence[Rule]) -> None:
        self._run = run
        self._rules = rules

    def find(self, page: _Page) -> list[_Candidate]:
        """Return what is due on a page of O entries."""
        found = []
        for index_key, raw in page.items:
            entry = self._run.decode(index_key, raw)
            if entry is None:
                continue
            due = [rule for rule in self._rules if rule.due(entry.modified_ns, self._run.now_ns)]
            if not due:
                continue
            key = index_key[5:]
            matching, tags = self._run.matching(page.snapshot, due, key, entry)
            if matching:
                found.append(_Candidate(key, entry, entry.size, tags))
        return found


class _NoncurrentLook:
    """Finds noncurrent versions that have been so for long enough, and are not among the newest to retain."""

    def __init__(self, run: _Run, rules: Sequence[Rule]) -> None:
        self._run = run
        self._rules = rules
        # Where the last page ended: a key's versions may lie on several.
        self._key = b""
        self._successor_ns: int | None = None
        self._newer_count = 0

    def find(self, page: _Page) -> list[_Candidate]:
        """Return what is due on a page of V entries, newest first for each key."""
        found = []
        for index_key, raw in page.items:
            key = entries.split_versioned(index_key)[0]
            if key != self._key:
                self._begin(page.snapshot, key)
            entry = self._run.decode(index_key, raw)
            if entry is None:
                continue
            # Without a successor it is the delete marker that is current.
            if self._successor_ns is not None:
                candidate = self._judge(page, key, entry, self._successor_ns)
                if candidate is not None:
                    found.append(candidate)
                self._newer_count += 1
            self._successor_ns = entry.modified_ns
        return found

    def _begin(self, reader: Reader, key: bytes) -> None:
        self._key = key
        self._newer_count = 0
        self._successor_ns = None
        current_key = entries.object_key(self._run.bucket_id, key)
        raw = reader.get(current_key)
        if raw is not None:
            current = self._run.decode(current_key, raw)
            # A damaged one tells no time: nothing below it is old enough.
            self._successor_ns = self._run.now_ns if current is None else current.modified_ns

    def _judge(self, page: _Page, key: bytes, entry: Entry, successor_ns: int) -> _Candidate | None:
        due = [
            rule
            for rule in self._rules
            if rule.noncurrent_days is not None
            and self._run.now_ns >= due_ns(successor_ns, rule.noncurrent_days)
            and self._newer_count >= rule.newer_noncurrent_versions
        ]
        if not due:
            return None
        matching, tags = self._run.matching(page.snapshot, due, key, entry)
        if not matching:
            return None
        retained = min(rule.newer_noncurrent_versions for rule in matching)
        return _Candidate(key, entry, entry.size, tags, retained, page.last_sequence)


class _MarkerLook:
    """Finds delete markers that are the only version of their key."""

    def __init__(self, run: _Run, rules: Sequence[Rule]) -> None:
        self._run = run
        self._rules = rules
        self._key = b""

    def find(self, page: _Page) -> list[_Candidate]:
        """Return what is due on a page of V entries."""
        found = []
        for index_key, raw in page.items:
            key, first = entries.split_versioned(index_key)[0], False
            if key != self._key:
                self._key, first = key, True
            entry = self._run.decode(index_key, raw) if first else None
            if entry is None or not entry.flags & ENTRY_MARKER:
                continue
            due = any(
                key.startswith(rule.prefix) and (rule.expired_markers or rule.due(entry.modified_ns, self._run.now_ns))
                for rule in self._rules
            )
            if due and self._run.alone(page.snapshot, key, entry.sequence):
                found.append(_Candidate(key, entry))
        return found


class _UploadLook:
    """Finds uploads that were begun long ago and not finished."""

    def __init__(self, run: _Run, rules: Sequence[Rule]) -> None:
        self._run = run
        self._rules = rules

    def find(self, page: _Page) -> list[_Candidate]:
        """Return what is due on a page of U entries."""
        found = []
        for index_key, raw in page.items:
            key, sequence = entries.split_versioned(index_key)
            begun_ns = entries.decode_document(index_key, raw).data["t"]
            if not any(
                rule.upload_days is not None
                and key.startswith(rule.prefix)
                and self._run.now_ns >= due_ns(begun_ns, rule.upload_days)
                for rule in self._rules
            ):
                continue
            size = 0
            first, end = entries.part_key(sequence, 0), entries.part_key(sequence + 1, 0)
            for part in page.snapshot.scan(first, end):
                decoded = self._run.decode(*part)
                size += decoded.size if decoded is not None else 0
            found.append(_Candidate(key, _NOTHING._replace(sequence=sequence), size))
        return found
