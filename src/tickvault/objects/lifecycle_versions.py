"""Lifecycle of versions: noncurrent ones go when they have been so for long enough, delete markers when they hide
nothing any more.

Invariants: a version that has become current since it was looked at stays; so do the newest noncurrent versions that a
rule retains.
"""

from __future__ import annotations

from collections.abc import Sequence

from tickvault.engine.commit import Transaction
from tickvault.engine.index import Reader, prefix_end
from tickvault.objects import entries
from tickvault.objects.delete import append_delete
from tickvault.objects.entries import ENTRY_MARKER, Entry, decode_entry
from tickvault.objects.lifecycle_rules import Rule, due_ns
from tickvault.objects.lifecycle_walk import BucketWalk, Candidate, Page
from tickvault.objects.model import BucketInfo


class NoncurrentVersions:
    """Finds noncurrent versions that have been so for long enough, and are not among the newest to retain."""

    table = b"V"

    def __init__(self, walk: BucketWalk, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if rule.noncurrent_days is not None]
        self._walk = walk
        # Where the last page ended: a key's versions may lie on several.
        self._key = b""
        self._successor_ns: int | None = None
        self._newer_count = 0

    def find(self, page: Page) -> list[Candidate]:
        """Return what is due on a page of V entries, newest first for each key."""
        found = []
        for index_key, raw in page.items:
            key = entries.split_versioned(index_key)[0]
            if key != self._key:
                self._begin(page.snapshot, key)
            entry = self._walk.decode(index_key, raw)
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
        current_key = entries.object_key(self._walk.bucket_id, key)
        raw = reader.get(current_key)
        if raw is not None:
            current = self._walk.decode(current_key, raw)
            # A damaged one tells no time: nothing below it is old enough.
            self._successor_ns = self._walk.now_ns if current is None else current.modified_ns

    def _judge(self, page: Page, key: bytes, entry: Entry, successor_ns: int) -> Candidate | None:
        due = [
            rule
            for rule in self.rules
            if rule.noncurrent_days is not None
            and self._walk.now_ns >= due_ns(successor_ns, rule.noncurrent_days)
            and self._newer_count >= rule.newer_noncurrent_versions
        ]
        if not due:
            return None
        matching, tags = self._walk.matching(page.snapshot, due, key, entry)
        if not matching:
            return None
        retained = min(rule.newer_noncurrent_versions for rule in matching)
        return Candidate(key, entry, entry.size, tags, retained, page.last_sequence)

    def remove(self, txn: Transaction, info: BucketInfo, candidate: Candidate) -> str:
        """Remove the version, unless it is current by now or among those to retain."""
        key, sequence = candidate.key, candidate.entry.sequence
        index_key = entries.version_key(info.bucket_id, key, sequence)
        if (
            not self._walk.unchanged(txn, index_key, candidate)
            # While a version that was newer at the look is still there, this one has not become current since.
            or not self._has_version_between(txn, key, sequence, candidate.seen_sequence)
            or not self._retained(txn, key, sequence, candidate.newer_retained)
        ):
            return "changed_count"
        _append_removal(txn, info, candidate)
        return "noncurrent_removed_count"

    def _has_version_between(self, txn: Transaction, key: bytes, after: int, upto: int) -> bool:
        """Return whether there is a version with a sequence in (after, upto]."""
        current_key = entries.object_key(self._walk.bucket_id, key)
        raw = txn.get(current_key)
        if raw is not None and after < decode_entry(current_key, raw).sequence <= upto:
            return True
        first = entries.version_key(self._walk.bucket_id, key, upto)
        for _ in txn.scan(first, entries.version_key(self._walk.bucket_id, key, after)):
            return True
        return False

    def _retained(self, txn: Transaction, key: bytes, sequence: int, count: int) -> bool:
        """Return whether at least `count` noncurrent versions are newer than one."""
        if count == 0:
            return True
        if txn.get(entries.object_key(self._walk.bucket_id, key)) is None:
            # The newest entry is then the delete marker that is current.
            count += 1
        prefix = entries.version_prefix(self._walk.bucket_id, key)
        for _ in txn.scan(prefix, entries.version_key(self._walk.bucket_id, key, sequence)):
            count -= 1
            if count == 0:
                return True
        return False


class DeleteMarkers:
    """Finds delete markers that are the only version of their key."""

    table = b"V"

    def __init__(self, walk: BucketWalk, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if rule.judges_markers and (rule.expired_markers or rule.expires)]
        self._walk = walk
        self._key = b""

    def find(self, page: Page) -> list[Candidate]:
        """Return what is due on a page of V entries."""
        found = []
        for index_key, raw in page.items:
            key, first = entries.split_versioned(index_key)[0], False
            if key != self._key:
                self._key, first = key, True
            entry = self._walk.decode(index_key, raw) if first else None
            if entry is None or not entry.flags & ENTRY_MARKER:
                continue
            due = any(
                key.startswith(rule.prefix) and (rule.expired_markers or rule.due(entry.modified_ns, self._walk.now_ns))
                for rule in self.rules
            )
            if due and self._alone(page.snapshot, key, entry.sequence):
                found.append(Candidate(key, entry))
        return found

    def remove(self, txn: Transaction, info: BucketInfo, candidate: Candidate) -> str:
        """Remove the marker, unless it hides something by now."""
        if not self._alone(txn, candidate.key, candidate.entry.sequence):
            return "changed_count"
        _append_removal(txn, info, candidate)
        return "marker_removed_count"

    def _alone(self, reader: Reader, key: bytes, sequence: int) -> bool:
        """Return whether a delete marker is there and is the only version of its key."""
        if reader.get(entries.object_key(self._walk.bucket_id, key)) is not None:
            return False
        prefix = entries.version_prefix(self._walk.bucket_id, key)
        marker_key = entries.version_key(self._walk.bucket_id, key, sequence)
        found = False
        for index_key, _ in reader.scan(prefix, prefix_end(prefix)):
            if index_key != marker_key:
                return False
            found = True
        return found


def _append_removal(txn: Transaction, info: BucketInfo, candidate: Candidate) -> None:
    version_id = entries.version_id_of(candidate.entry.sequence, candidate.entry.flags)
    append_delete(txn, info, candidate.key.decode(), candidate.key, version_id)
