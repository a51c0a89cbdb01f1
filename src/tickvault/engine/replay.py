"""Walking the journal: batch after batch, deciding where it ends and what is damaged.

A batch belongs to the journal if its header is sound and names the batch before it.  Where the walk breaks, bytes that
were known to be on the disk (a strict batch that has a successor was synced before the successor was written; so was
everything before the last segment) are **damage** and are walked around; others are the **torn tail** of a crash, and
the journal ends there.

Invariants: the walk never yields a batch twice or out of order; what it reports as damage was durable once, what it
drops as torn was never acknowledged as strict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickvault.engine.manifest import SegmentEntry
from tickvault.engine.record import (
    ALIGNMENT,
    BATCH_MAGIC,
    BATCH_STRICT,
    HEADER_SIZE,
    Batch,
    Location,
    Record,
    batch_intact,
    batch_records,
    batch_seed,
    decode_batch_header,
)
from tickvault.engine.salvage import Salvage, marked
from tickvault.engine.segments import SEGMENT_HEADER_SIZE, Segments

if TYPE_CHECKING:
    from tickvault.engine.index import IndexWriter
    from tickvault.engine.interpreter import Interpreter

#: What the texts begin with that tell of a damaged record, as against a batch.
RECORD_DAMAGE = ("checksum mismatch", "no sound record header")
_SEARCH_PIECE = 64 * 1024 * 1024


class Position(NamedTuple):
    """The end of a walk: where the next batch would be, and the batch before it."""

    segment_id: int
    offset: int
    batch_id: int
    sequence: int


class Damage(NamedTuple):
    """A place in a segment whose bytes are not what was written."""

    segment_id: int
    offset: int
    length: int
    key: bytes | None
    bucket_id: int
    text: str


@dataclass
class Walk:
    """One pass over the journal; iterate `batches`, then look at `end` and `damage`."""

    segments: Segments
    start: Position | None = None
    end: Position | None = None
    damage: list[Damage] = field(default_factory=list)
    only: int | None = None
    """Walk this one segment."""
    until: tuple[int, int] | None = None
    """Stop at this (segment, offset): where the journal ended when somebody looked."""
    synced_end: tuple[int, int] | None = None
    """After a failed sync: (segment, offset) beyond which cached bytes are not believed."""
    durable: tuple[int, int] = (0, 0)
    """(Segment, offset) up to which the journal is known to have been synced: a break before it is damage."""
    intact: bool = True
    """Whether all records of the batch that was yielded last match their checksums."""

    def batches(self) -> Iterator[tuple[SegmentEntry, memoryview, Batch]]:
        """Iterate over the batches of the journal in order."""
        entries = self.segments.manifest.journal()
        if self.start is not None:
            entries = [entry for entry in entries if entry.segment_id >= self.start.segment_id]
            self.end = self.start
        elif entries:
            first = entries[0]
            self.end = Position(first.segment_id, SEGMENT_HEADER_SIZE, first.previous_batch_id, first.base_sequence)
        for bound in (self.until, self.synced_end):
            if bound is not None:
                entries = [entry for entry in entries if entry.segment_id <= bound[0]]
        for number, entry in enumerate(entries):
            if self.only is not None:
                if entry.segment_id != self.only:
                    continue
                self.end = Position(entry.segment_id, SEGMENT_HEADER_SIZE, entry.previous_batch_id, entry.base_sequence)
            assert self.end is not None
            later = entries[number + 1 :]
            epoch_end = next((other.previous_batch_id for other in later if other.epoch > entry.epoch), None)
            if epoch_end is not None and self.end.batch_id == epoch_end and self.only is None:
                # Its epoch ended before this segment: a recovery was interrupted before it retired it.
                continue
            following = self._continued(entry, later)
            # What follows names the batch it follows: one beyond that was written by a process that died before its
            # commit, and the journal went on elsewhere.
            stop_ids = {epoch_end, following.previous_batch_id if following is not None else None} - {None}
            yield from self._segment(entry, stop_ids, complete=following is not None)
            # A segment without a batch is passed over: its first one was too large for it, or whoever made it died.
            at_end = self.end if self.end.segment_id == entry.segment_id else None
            last_ids = {self.end.batch_id, entry.previous_batch_id if at_end is None else None}
            if following is not None and following.previous_batch_id not in last_ids:
                retired = self.segments.manifest.retired_journal
                if not any(entry.segment_id < gone < following.segment_id for gone in retired):
                    at = SEGMENT_HEADER_SIZE if at_end is None else at_end.offset
                    text = "the last batches of the segment are missing"
                    self.damage.append(Damage(entry.segment_id, at, 0, None, 0, text))

    def _continued(self, entry: SegmentEntry, later: list[SegmentEntry]) -> SegmentEntry | None:
        """Return the later segment that proves that this one was synced to its end, None if there is none."""
        for other in later:
            if other.epoch > entry.epoch:
                return other
            view = self.segments.view(other.segment_id)
            if self._header(view, other, SEGMENT_HEADER_SIZE, len(view)) is not None:
                return other
        return None

    def _header(self, view: memoryview, entry: SegmentEntry, offset: int, limit: int) -> Batch | None:
        seed = batch_seed(self.segments.vault_id, entry.segment_id, offset)
        batch = decode_batch_header(view, offset, limit, seed)
        return batch if batch is not None and batch.epoch == entry.epoch else None

    def _segment(
        self, entry: SegmentEntry, stop_ids: set[int | None], *, complete: bool
    ) -> Iterator[tuple[SegmentEntry, memoryview, Batch]]:
        assert self.end is not None
        view = self.segments.view(entry.segment_id)
        limit = len(view)
        durable_end: int | None = None
        known_end = self.durable[1] if self.durable[0] == entry.segment_id else 0
        complete = complete or entry.segment_id < self.durable[0]
        for bound in (self.synced_end, self.until):
            if bound is not None and bound[0] == entry.segment_id:
                # Committed up to there: a break before it is damage, never an end.
                limit = durable_end = min(limit, bound[1])
        offset, previous, sequence = SEGMENT_HEADER_SIZE, entry.previous_batch_id, self.end.sequence
        if entry.segment_id == self.end.segment_id:
            offset, previous = self.end.offset, self.end.batch_id
        while previous not in stop_ids:
            batch = self._header(view, entry, offset, limit)
            sound = batch is not None and batch.previous_batch_id == previous
            self.intact = batch is not None and sound and batch_intact(view, batch)
            if not self.intact:
                if durable_end is None:
                    durable_end = max(known_end, self._durable_end(view, entry, offset, limit, complete))
                if offset >= durable_end:
                    return
                if not sound:
                    found = self._next_header(view, entry, offset, limit, sequence)
                    gap_end = min(durable_end, limit) if found is None else found.offset
                    if found is None:
                        # A second recovery ends before it, so nothing of it can be kept.
                        self.damage.append(
                            Damage(entry.segment_id, offset, gap_end - offset, None, 0, "no sound batch header")
                        )
                        return
                    # What follows was written after it: its records counted.
                    self.intact = False
                    length = gap_end - offset
                    yield entry, view, Batch(offset, 0, previous, entry.epoch, found.last_sequence, 0, length, 0, 0, 0)
                    batch = found
                    offset = found.offset
                    self.intact = batch_intact(view, batch)
            assert batch is not None
            yield entry, view, batch
            offset += batch.length
            previous, sequence = batch.batch_id, batch.last_sequence
            self.end = Position(entry.segment_id, offset, previous, sequence)

    def _next_header(
        self, view: memoryview, entry: SegmentEntry, offset: int, limit: int, sequence: int
    ) -> Batch | None:
        """Search for the next sound batch header; its checksum is bound to its place, so data cannot pass for one."""
        for start in range(offset + ALIGNMENT, limit - HEADER_SIZE + 1, _SEARCH_PIECE):
            piece = view[start : min(start + _SEARCH_PIECE, limit) & -ALIGNMENT]
            words = np.frombuffer(piece, "<u4")[:: ALIGNMENT // 4]
            for hit in np.flatnonzero(words == BATCH_MAGIC).tolist():
                batch = self._header(view, entry, start + hit * ALIGNMENT, limit)
                if batch is not None and batch.last_sequence >= sequence:
                    return batch
        return None

    def _durable_end(self, view: memoryview, entry: SegmentEntry, offset: int, limit: int, complete: bool) -> int:
        """Return the offset up to which this segment's bytes are known to have been synced."""
        durable = 0
        strict_end = 0
        batch = self._header(view, entry, offset, limit) or self._next_header(view, entry, offset, limit, 0)
        while batch is not None:
            if strict_end:
                durable = strict_end
            end = batch.offset + batch.length
            if batch.flags & BATCH_STRICT:
                strict_end = end
            following = self._header(view, entry, end, limit)
            if following is None and batch_intact(view, batch):
                # An intact batch without a successor: the end of the segment, unless a damaged header follows.
                following = self._next_header(view, entry, end, limit, batch.last_sequence)
                if following is None:
                    return max(durable, end if complete else 0)
            elif following is None:
                following = self._next_header(view, entry, end, limit, batch.last_sequence)
            if following is None and complete:
                durable = max(durable, end)
            batch = following
        return durable


def sound_records(walk: Walk, entry: SegmentEntry, view: memoryview, batch: Batch) -> Iterator[tuple[int, Record]]:
    """Iterate over (offset, record) of the batch that the walk has just yielded, noting damage in the walk.

    A damaged record whose key can be made out is yielded with ``intact=False``, so that the key stays known and reading
    it is an error; what cannot be made out at all is only noted.
    """
    if walk.intact:
        for offset, record in batch_records(view, batch):
            assert record is not None, "the batch was found intact"
            yield offset, record
        return
    assert walk.end is not None
    salvage = Salvage(
        view,
        batch.offset + HEADER_SIZE,
        batch.offset + batch.length,
        count=batch.record_count or None,
        previous=max(walk.end.sequence, entry.base_sequence),
        last=batch.last_sequence,
        records_crc=batch.records_crc if batch.record_count else None,
    )
    pieces = salvage.pieces()
    if not batch.record_count:
        sound = any(piece.record is not None and piece.record.intact for piece in pieces)
        length = HEADER_SIZE if sound else batch.length
        walk.damage.append(Damage(entry.segment_id, batch.offset, length, None, 0, "no sound batch header"))
        if not sound:
            # Nothing shows that the places are right; a record's mark and key still make a name worth telling.
            pieces = [piece for piece in pieces if piece.record is not None and marked(view, piece.offset)]
    for offset, length, record, header in pieces:
        if record is None:
            text = "no sound batch header" if header else "no sound record header"
            walk.damage.append(Damage(entry.segment_id, offset, length, None, 0, text))
            continue
        if not record.intact:
            text = "checksum mismatch"
            walk.damage.append(Damage(entry.segment_id, offset, length, record.key, record.bucket_id, text))
        yield offset, record


def apply_record(interpreter: Interpreter, writer: IndexWriter, segment_id: int, offset: int, record: Record) -> None:
    """Change the index as a record of the journal says, or as far as a damaged one can be made out.

    One whose bytes are sound and whose meaning is not was made up by somebody: it counts as damaged, so that the rest
    of the vault can be looked at.
    """
    if not record.intact or not interpreter.has_meaning(record):
        interpreter.apply_damaged(writer, record, Location(segment_id, offset, record.length))
        return
    interpreter.apply(
        writer,
        record.kind,
        record.flags,
        record.sequence,
        record.bucket_id,
        record.key,
        record.meta,
        record.time_ns,
        record.aux,
        len(record.body),
        record.place(segment_id, offset),
    )
