"""Finding out how far a journal is valid, after a boot or a kill.

Invariants: what was acknowledged is found, because each frame says where it stands; a number that was given out is
never given again, because the catalog knows how far it has come even where the files do not.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import msgpack

from tickvault.market.journal.file import JournalFile, bases_in, file_name
from tickvault.market.journal.format import FrameKind, frame_at
from tickvault.market.journal.state import FAILED, PENDING, Extent

if TYPE_CHECKING:
    from tickvault.market.journal.appender import SeriesJournal

_PARTS_FRAME_MAX = 1024 * 1024


def recover(journal: SeriesJournal) -> Extent:
    """Make the state page anew from the files; under the series' lock."""
    floor = journal.floor()
    bases = bases_in(os.listdir(journal.folder))
    extent = Extent(-1, 0, floor.next_sequence, floor.stamp)
    journal_id = floor.journal_id or uuid.uuid4().hex[:16]
    if bases:
        base = bases[-1]
        file = JournalFile(journal.place.disk, os.path.join(journal.folder, file_name(base)), keep_rows=False)
        file.advance(None)
        journal_id = floor.journal_id or file.header.journal_id
        strays = file.strays()
        following = max(file.next_sequence, floor.next_sequence, *(stray.next_sequence for stray in strays))
        stamp = max(file.stamp, floor.stamp, *(stray.stamp for stray in strays))
        is_damaged = any(map(file.is_damage, strays))
        if base in floor.consumed or file.next_sequence < floor.next_sequence or is_damaged:
            # Nothing is written to it any more; what is damaged in it stays told.
            extent = Extent(-1, 0, following, stamp)
        else:
            # Behind a torn end nothing is written: a frame that was lost must not come back behind a new one.
            extent = Extent(base, file.end, following, stamp, FAILED if file.is_torn() else 0)
        file.close()
    journal.state.begin(journal.boot_id, journal_id, extent)
    journal.journal_id = journal_id
    return extent


def resolve(journal: SeriesJournal, extent: Extent) -> Extent:
    """Finish the append of parts that a process was killed in; under the series' lock."""
    journal.catch_up(extent)
    view = memoryview(journal.place.disk.pread(journal.fd, _PARTS_FRAME_MAX, extent.end))
    found = frame_at(view, 0, len(view), journal.seed, extent.next_sequence)
    extent = extent._replace(flags=extent.flags & ~PENDING)
    if found is not None and found.kind == FrameKind.PARTS:
        keys = set(msgpack.unpackb(view[found.offset : found.offset + found.length]))
        floor = journal.floor()
        if keys <= floor.part_keys:
            extent = extent._replace(
                end=extent.end + found.end,
                next_sequence=extent.next_sequence + found.row_count,
                stamp=max(extent.stamp, floor.stamp),
            )
    journal.state.publish(extent)
    return extent
