"""The trail in a vault's folder, as its shippers read it.

Invariants: it only reads; a record is given only from a block whose hash was checked and that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tickvault.audit.head import read_page
from tickvault.audit.query import query
from tickvault.audit.record import AuditRecord


class TrailSource:
    """The trail in ``VAULT/audit``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @property
    def trail_id(self) -> str:
        """Identity of the trail, 32 hexadecimal digits; empty while there is none."""
        page = read_page(self._folder)
        return "" if page is None else page.trail_id.hex()

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest record that was acknowledged, 0 for an empty trail."""
        page = read_page(self._folder)
        return 0 if page is None else page.sequence

    def records(self, after_sequence: int, limit: int) -> Sequence[AuditRecord]:
        """Return at most `limit` records behind `after_sequence`."""
        last = self.last_sequence
        if after_sequence >= last:
            return ()
        found = query(self._folder, sequence_from=after_sequence + 1, limit=limit)
        return [record for record in islice(found, limit) if record.sequence <= last]
