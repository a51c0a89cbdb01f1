"""Lifecycle of objects: the current version of a key expires.

Invariants: where a bucket's versions are enabled nothing is lost here: the object is hidden behind a delete marker.
"""

from __future__ import annotations

from collections.abc import Sequence

from tickvault.engine.commit import Transaction
from tickvault.objects import entries
from tickvault.objects.delete import append_delete
from tickvault.objects.lifecycle_rules import Rule
from tickvault.objects.lifecycle_walk import BucketWalk, Candidate, Page
from tickvault.objects.model import BucketInfo


class CurrentVersions:
    """Finds current versions that have expired."""

    table = b"O"

    def __init__(self, walk: BucketWalk, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if rule.expires]
        self._walk = walk

    def find(self, page: Page) -> list[Candidate]:
        """Return what is due on a page of O entries."""
        found = []
        for index_key, raw in page.items:
            entry = self._walk.decode(index_key, raw)
            if entry is None:
                continue
            due = [rule for rule in self.rules if rule.due(entry.modified_ns, self._walk.now_ns)]
            if not due:
                continue
            key = index_key[5:]
            matching, tags = self._walk.matching(page.snapshot, due, key, entry)
            if matching:
                found.append(Candidate(key, entry, entry.size, tags))
        return found

    def remove(self, txn: Transaction, info: BucketInfo, candidate: Candidate) -> str:
        """Remove the object, or hide it where the bucket keeps versions."""
        index_key = entries.object_key(info.bucket_id, candidate.key)
        if not self._walk.unchanged(txn, index_key, candidate):
            return "changed_count"
        append_delete(txn, info, candidate.key.decode(), candidate.key, None)
        return "expired_count" if info.versioning == "off" else "marker_made_count"
