"""The way of a lifecycle run through one bucket: look at a page, commit what was found, look at the next.

What is looked for, and what must still hold when it is removed, is told by a `Removal`.

Invariants: nothing is removed that was not looked at: each removal is checked again inside its commit, against the
version's sequence, its tags, and its place among the others; a removal is an ordinary record, so that guards are asked,
and one that they refuse is counted and stops nothing; memory does not grow with the number of keys or versions; no
snapshot outlives one page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import Reader, prefix_end
from tickvault.errors import IntegrityError, NotFoundError, TickVaultError
from tickvault.objects import entries
from tickvault.objects.entries import ENTRY_ATTRIBUTES, ENTRY_NULL, Entry, decode_entry
from tickvault.objects.lifecycle_report import BucketLifecycle
from tickvault.objects.lifecycle_rules import Rule
from tickvault.objects.lookup import later_attributes
from tickvault.objects.model import BucketInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

#: Entries looked at under one snapshot.
_PAGE_LENGTH = 1000
#: Removals in one commit: few enough that a writer beside it does not wait long.
_BATCH_LENGTH = 200
_RECORD_SIZE = 256


class Candidate(NamedTuple):
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


class Page(NamedTuple):
    """Entries of one table as of one point in time."""

    snapshot: Reader
    last_sequence: int
    items: list[tuple[bytes, bytes]]


class Removal(Protocol):
    """One kind of removal: what of a table is due, and how it goes."""

    @property
    def table(self) -> bytes:
        """First byte of the entries to look at."""

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that may find something."""

    def find(self, page: Page) -> list[Candidate]:
        """Return what is due on a page of the table."""

    def remove(self, txn: Transaction, info: BucketInfo, candidate: Candidate) -> str:
        """Remove a candidate inside a commit, and return the counter of its outcome."""


class BucketWalk:
    """One run over one bucket."""

    def __init__(self, bucket: Bucket, now_ns: int, report: BucketLifecycle) -> None:
        self.now_ns = now_ns
        """The time that the rules are held against."""
        self.bucket_id = bucket.bucket_id
        self._bucket = bucket
        self._report = report
        self._engine = bucket.store.engine

    def run(self, removal: Removal) -> None:
        """Look at a table page by page, and remove what was found before the next page is looked at."""
        for prefix in _scopes(removal.rules):
            start = entries.bucket_prefix(removal.table, self.bucket_id) + prefix
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
                    found = removal.find(Page(snapshot, snapshot.tail.sequence, items))
                for at in range(0, len(found), _BATCH_LENGTH):
                    self._remove_batch(found[at : at + _BATCH_LENGTH], removal)
                if items:
                    start = items[-1][0] + b"\0"

    # -- what every removal asks

    def decode(self, index_key: bytes, raw: bytes) -> Entry | None:
        """Return an entry; None, and counted, if it is damaged."""
        try:
            return decode_entry(index_key, raw)
        except IntegrityError:
            self._report.damaged_count += 1
            return None

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

    def unchanged(self, txn: Transaction, index_key: bytes, candidate: Candidate) -> bool:
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

    # -- committing

    def _remove_batch(self, batch: Sequence[Candidate], removal: Removal) -> None:
        """Remove candidates in one commit, or each in its own if one of them undoes it."""
        try:
            self._commit(batch, removal)
        except IntegrityError:
            if len(batch) == 1:
                self._report.damaged_count += 1
                return
            for candidate in batch:
                self._remove_batch([candidate], removal)

    def _commit(self, batch: Sequence[Candidate], removal: Removal) -> None:
        state = self._bucket.state

        def run(txn: Transaction) -> list[tuple[str, int]]:
            info = state.changing(txn)
            outcomes = []
            for candidate in batch:
                length = txn.length
                try:
                    outcome = removal.remove(txn, info, candidate)
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


def _frees(outcome: str, info: BucketInfo, candidate: Candidate) -> bool:
    if outcome == "marker_made_count":
        # A delete marker hides a version with an id of its own; where versions are suspended it replaces a null one.
        return info.versioning == "suspended" and bool(candidate.entry.flags & ENTRY_NULL)
    return outcome not in ("changed_count", "refused_count")


def _scopes(rules: Sequence[Rule]) -> list[bytes]:
    """Return the prefixes to walk: those of the rules, without the ones that lie within another."""
    found: list[bytes] = []
    for prefix in sorted({rule.prefix for rule in rules}):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
