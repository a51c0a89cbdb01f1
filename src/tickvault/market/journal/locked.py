"""The journal of a series while its lock is held, for changes that have to hold appends off.

Invariants: commit times noted here are earlier than those of all later appends; parts that are appended are named by a
frame that is durable before they are committed, so that a kill in between neither loses nor doubles a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgpack

from tickvault.market.journal.format import HEADER_SIZE, FrameKind, frame
from tickvault.market.journal.state import FAILED, PENDING, Extent
from tickvault.seam.disk import SyncError

if TYPE_CHECKING:
    from tickvault.market.journal.appender import SeriesJournal


class Appended(NamedTuple):
    """What an append was given."""

    sequence: int
    """Of its first row; rows of a series are numbered from 0 as they come, over all writers."""
    rows: int
    ts_commit: int
    """int64 ns UTC."""


class Locked:
    """The journal of a series while its lock is held."""

    def __init__(self, journal: SeriesJournal, extent: Extent) -> None:
        self._journal = journal
        self.extent = extent
        self._before = extent

    @property
    def journal_id(self) -> str:
        """Of the series' journal."""
        return self._journal.journal_id

    def note_stamp(self, stamp: int) -> None:
        """See to it that later appends have later commit times than a commit that was made meanwhile."""
        if stamp > self.extent.stamp:
            self.extent = self.extent._replace(stamp=stamp)

    def roll(self) -> None:
        """Begin a new file if the present one holds anything."""
        if self.extent.base >= 0 and self.extent.end > HEADER_SIZE:
            self.extent = self._before = self._journal.roll(self.extent)

    def append_parts(self, row_count: int, keys: Sequence[str], commit: Callable[[], int]) -> Appended:
        """Append rows that lie in parts.

        Parameters
        ----------
        commit : callable
            Makes the parts' commit and returns its time; what was noted before it makes a kill in the middle harmless.
        """
        journal = self._journal
        if self.extent.flags & FAILED or self.extent.base < 0:
            self.extent = journal.roll(self.extent)
        journal.catch_up(self.extent)
        sequence, stamp = self.extent.next_sequence, journal.stamp_after(self.extent)
        payload = msgpack.packb(list(keys))
        piece = frame(
            FrameKind.PARTS, 0, row_count, sequence, stamp, payload, journal.seed, strict=journal.place.is_strict()
        )
        pending = self.extent._replace(flags=self.extent.flags | PENDING)
        journal.state.publish(pending)
        try:
            flags = journal.write_frames(self.extent, [piece], len(piece))
        except SyncError:
            journal.state.publish(self.extent._replace(flags=FAILED))
            journal.place.poison()
            raise
        committed = commit()
        after = Extent(
            self.extent.base, self.extent.end + len(piece), sequence + row_count, max(stamp, committed), flags
        )
        journal.state.publish(after)
        journal.file.advance(after.end)
        journal.end = after.end
        self.extent = self._before = after
        return Appended(sequence, row_count, committed)

    def give_back(self) -> None:
        """Publish what changed."""
        if self.extent != self._before:
            self._journal.state.publish(self.extent)
