"""Making out the records of a damaged batch: one damaged record costs no other.

Behind a record that does not match its checksum the next one is looked for: where the damaged record's own length says,
where its other lengths say, and then at every aligned offset.  A body may hold the very bytes of records (a segment
that somebody stored as an object), so a candidate counts only where it suits the batch: new records have ascending
sequences that end at the batch's last one, moved ones carry their flag, and the number of records is known.

Invariants: what is given as intact matched its own checksum; nothing is given twice; the pieces cover the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from crc32c import crc32c

from tickvault.engine.record import (
    ALIGNMENT,
    FLAG_RELOCATED,
    FLAG_SINGLE_FRAME,
    FRAME_SIZE,
    HEADER_SIZE,
    RECORD,
    RECORD_MAGIC,
    Record,
    aligned,
    decode_record,
    header_fits,
)

#: Candidates that fit, examined for one that accounts for the rest of the batch.
_CANDIDATES_MAX = 64


class Piece(NamedTuple):
    """Some bytes of a damaged batch."""

    offset: int
    length: int
    record: Record | None
    """A record, with ``intact=False`` where only its header could be made out; None where nothing could."""
    header: bool = False
    """Where a batch header should be, and no record is missing."""


class Salvage:
    """The search in one batch.

    Parameters
    ----------
    start, end : int
        Offsets of the first record, and past the last one.
    count : int or None
        Number of records; None where the batch's header is damaged too, or those of several batches.
    previous : int
        The last sequence before the batch.
    last : int
        The last sequence that the batch can have used.
    records_crc : int or None
        CRC over the records' CRC fields, where it is known.
    """

    def __init__(
        self,
        view: memoryview,
        start: int,
        end: int,
        *,
        count: int | None,
        previous: int,
        last: int,
        records_crc: int | None = None,
    ) -> None:
        self._view = view
        self._start = start
        self._end = end
        self._count = count
        self._previous = previous
        self._last = last
        self._records_crc = records_crc
        self._new_only = count is not None and last - previous == count
        self._moved_only = count is not None and last == previous
        self._decoded: dict[int, Record | None] = {}
        self._runs: dict[int, tuple[int, int]] = {}

    def pieces(self) -> list[Piece]:
        """Return what the batch holds, in order."""
        found: list[Piece] = []
        offset, left, sequence = self._start, self._count, self._previous
        # One sound record after the other is believed without more ado: the batch's header told where the first is.
        while offset < self._end:
            record = self._intact(offset)
            if record is not None:
                found.append(Piece(offset, record.length, record))
                offset += record.length
                left = None if left is None else left - 1
                if not record.flags & FLAG_RELOCATED:
                    sequence = max(sequence, record.sequence)
                continue
            following, lost = self._following(found, offset, left, sequence)
            if lost == 0:
                found.append(Piece(offset, following - offset, None, header=True))
            else:
                for piece in self._lost(offset, following, lost, sequence):
                    found.append(piece)
                    sequence += self._new_only
            left = None if left is None else max(left - lost, 0)
            offset = following
        return found

    # -- sound records

    def _intact(self, offset: int) -> Record | None:
        if offset not in self._decoded:
            record = decode_record(self._view, offset, self._end)
            self._decoded[offset] = record if record is not None and record.intact else None
        return self._decoded[offset]

    def _suits(self, record: Record, sequence: int) -> bool:
        """Return whether a record could stand in this batch after one of that sequence."""
        if record.flags & FLAG_RELOCATED:
            return not self._new_only and record.sequence <= self._last
        return not self._moved_only and sequence < record.sequence <= self._last

    def _run(self, offset: int) -> tuple[int, int]:
        """Return how many sound records follow each other from `offset` on, and where they end."""
        path = []
        while offset not in self._runs:
            record = self._intact(offset) if offset < self._end else None
            if record is None:
                self._runs[offset] = (0, offset)
                break
            path.append(offset)
            offset += record.length
        count, stop = self._runs[offset]
        for earlier in reversed(path):
            count += 1
            self._runs[earlier] = (count, stop)
        return count, stop

    # -- where it goes on

    def _following(self, before: list[Piece], offset: int, left: int | None, sequence: int) -> tuple[int, int]:
        """Return where the batch goes on behind a damaged record, and how many records are lost up to there."""
        if left is not None and left <= 1:
            return self._end, 1
        hinted = [offset + length for length in _lengths(self._view, offset, self._end)]
        fitting = []
        for following in hinted:
            if self._fits(following, 1, left, sequence):
                if self._accounts(following, 1, left):
                    return following, 1
                fitting.append(following)
        if fitting:
            return fitting[0], 1
        whole: list[tuple[int, int]] = []
        first: tuple[int, int] | None = None
        fitted = 0
        for following in self._candidates(offset):
            record = self._intact(following)
            if record is None:
                continue
            for lost in self._losses(record, following, offset, left, sequence):
                if not self._fits(following, lost, left, sequence):
                    continue
                fitted += 1
                if first is None:
                    first = (following, lost)
                if self._accounts(following, lost, left):
                    whole.append((following, lost))
                    if left is None or self._crc_holds(before, offset, following, lost):
                        return following, lost
                break
            if fitted >= _CANDIDATES_MAX:
                break
        # Fewest lost: a record inside a body comes before the one behind it, and loses or gains records.
        if whole:
            return min(whole, key=lambda found: found[1])
        if first is not None:
            return first
        return self._end, 1 if left is None else left

    def _losses(self, record: Record, following: int, offset: int, left: int | None, sequence: int) -> Iterator[int]:
        """Return how many records may be lost between `offset` and a sound record."""
        new = not record.flags & FLAG_RELOCATED
        if self._new_only or (left is None and new):
            lost = record.sequence - sequence - 1
            if (self._new_only and lost < 1) or lost * ALIGNMENT > following - offset:
                return
            yield lost
            return
        if left is None:
            # Without a count nothing tells a moved record from one inside a body.
            return
        count, stop = self._run(following)
        if stop == self._end and 1 <= left - count <= (following - offset) // ALIGNMENT:
            yield left - count
        else:
            yield max(1, record.sequence - sequence - 1 if new else 1)

    def _fits(self, following: int, lost: int, left: int | None, sequence: int) -> bool:
        if following == self._end:
            return left is None or left == lost
        record = self._intact(following)
        if record is None or not self._suits(record, sequence):
            return False
        if left is not None and left - lost < 1:
            return False
        if record.flags & FLAG_RELOCATED:
            return True
        skipped = record.sequence - sequence - 1
        if self._new_only:
            return skipped == lost
        return skipped <= lost and (left is None or self._last - record.sequence <= left - lost - 1)

    def _accounts(self, following: int, lost: int, left: int | None) -> bool:
        """Return whether sound records fill the rest of the batch from there, in the right number."""
        count, stop = self._run(following)
        return stop == self._end and (left is None or count == left - lost)

    def _crc_holds(self, before: list[Piece], offset: int, following: int, lost: int) -> bool:
        """Return whether the batch's checksum over the records' checksums agrees, where it can be computed."""
        if self._records_crc is None or lost != 1:
            return False
        crc = 0
        for at in [*(piece.offset for piece in before), offset]:
            crc = crc32c(self._view[at : at + 4], crc)
        while following < self._end:
            record = self._intact(following)
            assert record is not None
            crc = crc32c(self._view[following : following + 4], crc)
            following += record.length
        return bool(crc == self._records_crc)

    def _candidates(self, offset: int) -> Iterator[int]:
        """Iterate over the aligned offsets behind `offset` where the mark of a record stands."""
        start = offset + ALIGNMENT
        if start >= self._end:
            return
        marks = np.frombuffer(self._view[start : self._end], "<u2")[2 :: ALIGNMENT // 2]
        for number in np.flatnonzero(marks == RECORD_MAGIC).tolist():
            yield start + number * ALIGNMENT

    # -- what is lost

    def _lost(self, offset: int, following: int, lost: int, sequence: int) -> Iterator[Piece]:
        """Iterate over the damaged records between two offsets, with what their headers still tell."""
        for number in range(lost):
            stop = following
            if number < lost - 1:
                stop = next(
                    (
                        offset + length
                        for length in _lengths(self._view, offset, following)
                        if offset + length < following and marked(self._view, offset + length)
                    ),
                    following,
                )
            record = _made_out(self._view, offset, stop)
            if record is not None:
                stated = record.sequence
                if self._new_only:
                    stated = sequence + number + 1
                elif record.flags & FLAG_RELOCATED:
                    stated = min(stated, self._last)
                elif not sequence < stated <= self._last:
                    stated = min(sequence + 1, self._last)
                record = record._replace(sequence=stated)
            yield Piece(offset, stop - offset, record)
            offset = stop
            if offset >= following:
                return


def marked(view: memoryview, offset: int) -> bool:
    """Return whether the mark of a record stands there."""
    return int.from_bytes(view[offset + 4 : offset + 6], "little") == RECORD_MAGIC


def _lengths(view: memoryview, offset: int, end: int) -> list[int]:
    """Return the lengths that a damaged record may have: its length field's, and those its other fields add up to."""
    if offset + HEADER_SIZE > end:
        return []
    fields = RECORD.unpack_from(view, offset)
    length, header_length, key_length = fields[5], fields[7], fields[8]
    meta_length, body_length = fields[10], fields[12]
    frames = 0 if fields[3] & FLAG_SINGLE_FRAME else (body_length + FRAME_SIZE - 1) // FRAME_SIZE
    guesses = (
        length,
        aligned(header_length + body_length),
        aligned(aligned(HEADER_SIZE + key_length + meta_length + 4 * frames) + body_length),
    )
    return [
        guess
        for guess in dict.fromkeys(guesses)
        if guess >= HEADER_SIZE and guess % ALIGNMENT == 0 and offset + guess <= end
    ]


def _made_out(view: memoryview, offset: int, end: int) -> Record | None:
    """Return what a damaged record's header says, None if it has no key that a record could have."""
    mended = _one_bit(view, offset, end)
    if mended is not None:
        return mended
    (
        _,
        _,
        kind,
        flags,
        sequence,
        _,
        bucket_id,
        header_length,
        key_length,
        _,
        meta_length,
        _,
        body_length,
        time_ns,
        aux,
    ) = RECORD.unpack_from(view, offset)
    key_end = offset + HEADER_SIZE + key_length
    if not key_length or key_end > end:
        return None
    key = bytes(view[offset + HEADER_SIZE : key_end])
    try:
        key.decode()
    except UnicodeDecodeError:
        return None
    meta = bytes(view[key_end : key_end + meta_length]) if key_end + meta_length <= end else b""
    body = view[min(offset + header_length, end) : min(offset + header_length + body_length, end)]
    return Record(kind, flags, sequence, bucket_id, key, meta, time_ns, aux, body, end - offset, intact=False)


def _one_bit(view: memoryview, offset: int, end: int) -> Record | None:
    """Return what a record said before one bit of its header, key or meta flipped; None if that is not what happened.

    The checksum tells: about one damaged record in a million would pass for one with a single flipped bit and is none.
    It is good for the name of what is lost, and no byte of it is handed out.
    """
    raw = bytearray(view[offset:end])

    def decoded() -> Record | None:
        record = decode_record(memoryview(raw), 0, len(raw))
        return (
            record._replace(intact=False)
            if record is not None and record.intact and record.length == len(raw)
            else None
        )

    for at in range(HEADER_SIZE):
        for bit in range(8):
            raw[at] ^= 1 << bit
            record = decoded()
            raw[at] ^= 1 << bit
            if record is not None:
                return record
    # Behind the header no length can be wrong, so what a bit changes in the checksum depends on its place alone.
    fields = RECORD.unpack_from(raw)
    if not header_fits(fields, len(raw)):
        return None
    covered = fields[7] + (fields[12] if fields[3] & FLAG_SINGLE_FRAME else 0)
    wanted = crc32c(memoryview(raw)[4:covered]) ^ fields[0]
    zeros = memoryview(bytearray(covered))
    for at in range(HEADER_SIZE, HEADER_SIZE + fields[8] + fields[10]):
        plain = crc32c(zeros[at:])
        for bit in range(8):
            zeros[at] = 1 << bit
            changed = crc32c(zeros[at:]) ^ plain
            zeros[at] = 0
            if changed == wanted:
                raw[at] ^= 1 << bit
                return decoded()
    return None
