"""What the shipping needs of a trail, and nothing more.

Invariants: a source only reads, takes no lock that a writer waits for, and gives records in the order of the trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tickvault.audit.record import AuditRecord


class Source(Protocol):
    """A trail, as its shippers read it."""

    @property
    def trail_id(self) -> str:
        """Identity of the trail; another trail in the same folder has another one."""

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest record, 0 for an empty trail."""

    def records(self, after_sequence: int, limit: int) -> Sequence[AuditRecord]:
        """Return at most `limit` records with sequences `after_sequence` + 1, + 2, …; none at the end of the trail."""
