"""Lifecycle of uploads: those begun long ago and not finished are given up, with their parts.

Invariants: an upload that was completed or aborted since it was looked at is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from tickvault.engine.commit import Transaction
from tickvault.objects import entries
from tickvault.objects.entries import Entry, Kind
from tickvault.objects.lifecycle_rules import Rule, due_ns
from tickvault.objects.lifecycle_walk import BucketWalk, Candidate, Page
from tickvault.objects.model import BucketInfo

_NOTHING = Entry(0, 0, 0, 0, 0, b"", 0, 0, 0)


class Uploads:
    """Finds uploads that were begun long ago and not finished."""

    table = b"U"

    def __init__(self, walk: BucketWalk, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if rule.upload_days is not None]
        self._walk = walk

    def find(self, page: Page) -> list[Candidate]:
        """Return what is due on a page of U entries."""
        found = []
        for index_key, raw in page.items:
            key, sequence = entries.split_versioned(index_key)
            begun_ns = entries.decode_document(index_key, raw).data["t"]
            if not any(
                rule.upload_days is not None
                and key.startswith(rule.prefix)
                and self._walk.now_ns >= due_ns(begun_ns, rule.upload_days)
                for rule in self.rules
            ):
                continue
            size = 0
            first, end = entries.part_key(sequence, 0), entries.part_key(sequence + 1, 0)
            for part in page.snapshot.scan(first, end):
                decoded = self._walk.decode(*part)
                size += decoded.size if decoded is not None else 0
            found.append(Candidate(key, _NOTHING._replace(sequence=sequence), size))
        return found

    def remove(self, txn: Transaction, info: BucketInfo, candidate: Candidate) -> str:
        """Abort the upload."""
        sequence = candidate.entry.sequence
        if txn.get(entries.upload_key(info.bucket_id, candidate.key, sequence)) is None:
            return "changed_count"
        txn.append(Kind.UPLOAD_REMOVE, info.bucket_id, candidate.key, b"", aux=sequence)
        return "upload_aborted_count"
