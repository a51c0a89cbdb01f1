"""The records that a receiver will never take, each with its reason.

Invariants: a letter is durable before the cursor passes its record; a torn last line (a crash while it was written)
never spoils the next one; the file is bounded, and when it is full its sink waits rather than lose a letter. A record
may stand here twice after a crash; its event id tells.

One line of JSON each: ``{"event_id": …, "reason": …, "rejected_at": …, "record": {…}}``. The record also stays in the
trail: the file is a list of what to look at, not the only copy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship.event import clean, event_id, record_fields, rfc3339, to_json
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.seam.disk import Disk, OsDisk

SIZE_BYTES_MAX = 64 << 20
_REASON_MAX = 2000


class DeadLetters:
    """The dead-letter file of one sink."""

    def __init__(self, path: str, disk: Disk | None = None, *, size_bytes_max: int = SIZE_BYTES_MAX) -> None:
        self.path = path
        self._disk = disk or OsDisk()
        self._size_bytes_max = size_bytes_max

    def add(self, trail_id: str, letters: Sequence[tuple[AuditRecord, str]], now_ns: int) -> None:
        """Append records with their reasons, and make them durable.

        Raises
        ------
        SinkUnavailable
            The file is full.
        """
        lines = b"".join(
            to_json(
                {
                    "event_id": event_id(trail_id, record.sequence),
                    "reason": clean(reason)[:_REASON_MAX],
                    "rejected_at": rfc3339(now_ns),
                    "record": record_fields(trail_id, record),
                }
            )
            + b"\n"
            for record, reason in letters
        )
        disk = self._disk
        fd = disk.open(self.path, create=True)
        try:
            size = disk.size(fd)
            if size and disk.pread(fd, 1, size - 1) != b"\n":
                lines = b"\n" + lines
            if size + len(lines) > self._size_bytes_max:
                raise SinkUnavailable(
                    f"the dead letters {self.path} would grow past {self._size_bytes_max} bytes; see why the receiver "
                    "rejects so many records, then move the file away: nothing is lost, the sink waits"
                )
            disk.pwritev(fd, [lines], size)
            disk.sync(fd)
        finally:
            disk.close(fd)
        if not size:
            disk.sync_directory(os.path.dirname(self.path) or ".")
