"""Reading a cold file; made by `open_cold`.

Invariants: see `codec.cold`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import crc32c
import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.codec.block import BlockDecoder
from tickvault.market.codec.chunks import BLOCK, CHUNK, NO_COLUMN, Chunk, Codec, Mask, Term
from tickvault.market.codec.identity import KNOWN, ORDINAL, SOURCE, STAMP, identity_of
from tickvault.market.codec.layout import HEADER, ColumnInfo, Footer, damaged
from tickvault.market.codec.reading import in_threads, select, threads_for, without_checks
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import TIME_NULL, Schema

#: Rows below which threads cost more than they save.
_ROWS_FOR_THREADS = 32_768
_ENDS_KEPT = 4
_TERMS, _MASKS = frozenset(map(int, Term)), frozenset(map(int, Mask))


class Block(NamedTuple):
    """Rows that are decoded together."""

    start: int
    row_count: int
    ts_first: int
    ts_last: int
    chunks: tuple[Chunk, ...]
    """By column, in the footer's order."""


class ColdFile:
    """A cold file."""

    def __init__(self, view: memoryview, footer: Footer) -> None:
        self._view = view
        self.footer = footer
        self._places = {info.column.name: place for place, info in enumerate(footer.columns)}
        self.blocks = _blocks(footer)
        # Of the ends of a range: what told the range is read next.
        self._ends: OrderedDict[int, Array] = OrderedDict()

    @property
    def schema(self) -> Schema:
        """The schema of the rows."""
        return self.footer.schema

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return self.footer.row_count

    @property
    def about(self) -> Mapping[str, Any]:
        """What the writer said of the file."""
        return self.footer.about

    @property
    def _time_place(self) -> int:
        """The place of the column that is `ts_index` throughout; -1 if it is made of two."""
        received, happened = self._places.get("ts_recv", -1), self._places.get("ts_event", -1)
        if received < 0:
            return happened
        return received if happened < 0 or not self.footer.columns[received].null_count else -1

    def rows(self, start_ns: int | None = None, end_ns: int | None = None) -> slice | Array:
        """Return which rows have their `ts_index` in [start_ns, end_ns): a slice, or int64 positions.

        Only blocks at the range's ends are decoded where rows are sorted by time.  Rows without any time count as
        earlier than all others.
        """
        if start_ns is None and end_ns is None:
            return slice(0, self.footer.row_count)
        low = -(2**63) if start_ns is None else start_ns
        high = 2**63 if end_ns is None else end_ns
        touched = [block for block in self.blocks if block.ts_first < high and block.ts_last >= low]
        if not self.footer.is_sorted:
            found = [block.start + np.flatnonzero(_within(self._times(block), low, high)) for block in touched]
            return np.concatenate(found) if found else np.empty(0, np.int64)
        if not touched:
            return slice(0, 0)
        first, last = touched[0], touched[-1]
        start, end = first.start, last.start + last.row_count
        if first.ts_first < low:
            start += int(np.searchsorted(self._times(first), low))
        if last.ts_last >= high:
            end = last.start + int(np.searchsorted(self._times(last), high))
        return slice(start, max(start, end))

    def read(
        self,
        columns: Sequence[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        out: Mapping[str, Array] | None = None,
        threads: int | None = None,
        *,
        rows: slice | Array | None = None,
    ) -> Columns:
        """Read rows.

        Parameters
        ----------
        columns : sequence of str, optional
            All by default.
        start_ns, end_ns : int, optional
            Rows whose `ts_index` lies in [start_ns, end_ns).
        out : mapping of str to ndarray, optional
            Arrays to decode into: contiguous, of the columns' types, at least as long as the rows.
        threads : int, optional
            As many as there are processors, at most 8, by default.
        rows : slice or ndarray of int, optional
            What `rows` returned, instead of a range of time.

        Raises
        ------
        IntegrityError
            A chunk that is needed is damaged; the message names its column.
        InvalidInputError
            The schema has no such column, or an array of `out` does not fit.
        """
        chosen = self.rows(start_ns, end_ns) if rows is None else _settled(rows, self.footer.row_count)
        infos = select(self.footer, columns)
        arrays = self._read(infos, chosen, out or {}, threads_for(threads))
        return without_checks(self.footer, infos, arrays)

    def ordinals(self, rows: slice | Array | None = None) -> Array:
        """Return rows' numbers in their sources, int64; empty if the writer gave none."""
        return self._identity(ORDINAL.name, 1, rows)

    def source_ids(self, rows: slice | Array | None = None) -> Array:
        """Return the ids of rows' sources, int64; empty if the writer gave none."""
        return self._identity(SOURCE.name, 0, rows)

    def stamps(self) -> Array | None:
        """Return rows' commit times, int64 ns; None where the file does not hold them."""
        return self._identity(STAMP.name, -1, None) if STAMP.name in self._places else None

    def known(self) -> Array | None:
        """Return when rows were published, int64 ns or null; None where the file does not say."""
        return self._identity(KNOWN.name, -1, None) if KNOWN.name in self._places else None

    def _identity(self, name: str, which: int, rows: slice | Array | None) -> Array:
        chosen = slice(0, self.footer.row_count) if rows is None else rows
        if name in self._places:
            info = self.footer.columns[self._places[name]]
            return self._read([info], _settled(chosen, self.footer.row_count), {}, threads_for(None))[name]
        identity = identity_of(self.footer.runs)
        return (identity.ordinals if which else identity.source_ids)[chosen]

    def verify(self) -> None:
        """Check all chunks against their checksums, without decoding them.

        Raises
        ------
        IntegrityError
            One does not match; the message names its column.
        """
        for number, block in enumerate(self.blocks):
            for info, chunk in zip(self.footer.columns, block.chunks, strict=True):
                if crc32c.crc32c(self._view[chunk.offset : chunk.offset + chunk.length]) != chunk.crc:
                    raise damaged(f"column {info.column.name} in block {number} does not match its checksum")

    def _times(self, block: Block) -> Array:
        found = self._ends.get(block.start)
        if found is None:
            found = self._ends[block.start] = self._decoded_times(block)
            while len(self._ends) > _ENDS_KEPT:
                self._ends.popitem(last=False)
        return found

    def _decoded_times(self, block: Block) -> Array:
        decoder = BlockDecoder(self._view, self.footer.columns, block.chunks, block.row_count)
        received, happened = self._places.get("ts_recv"), self._places.get("ts_event")
        if received is None:
            assert happened is not None, "the footer was checked for a time column"
            return decoder.column(happened)
        times = decoder.column(received)
        if happened is None or not (times == TIME_NULL).any():
            return times
        return np.where(times == TIME_NULL, decoder.column(happened), times)

    def _read(
        self, infos: Sequence[ColumnInfo], chosen: slice | Array, out: Mapping[str, Array], threads: int
    ) -> dict[str, Array]:
        count = chosen.stop - chosen.start if isinstance(chosen, slice) else len(chosen)
        arrays = {info.column.name: _room(info, count, out) for info in infos}
        jobs = []
        if isinstance(chosen, slice):
            touched = [b for b in self.blocks if b.start < chosen.stop and b.start + b.row_count > chosen.start]
        else:
            starts = np.array([block.start for block in self.blocks], np.int64)
            touched = [self.blocks[number] for number in np.unique(np.searchsorted(starts, chosen, "right") - 1)]
        threads = threads if count >= _ROWS_FOR_THREADS else 1
        places = [self._places[info.column.name] for info in infos]
        for block in touched:
            parts = _parts(places, block.chunks) if len(touched) < 2 * threads else [places]
            jobs += [(block, part) for part in parts]

        def run(job: tuple[Block, Sequence[int]]) -> None:
            block, part = job
            decoder = BlockDecoder(self._view, self.footer.columns, block.chunks, block.row_count)
            for place in part:
                self._decode(decoder, block, place, chosen, arrays[self.footer.columns[place].column.name])

        if threads > 1:
            # The longest first, so that no thread is left alone with it at the end.
            jobs.sort(key=lambda job: -sum(job[0].chunks[place].length for place in job[1]))
        in_threads(run, jobs, threads)
        return arrays

    def _decode(self, decoder: BlockDecoder, block: Block, place: int, chosen: slice | Array, array: Array) -> None:
        start, end = block.start, block.start + block.row_count
        known = self._ends.get(start) if place == self._time_place and isinstance(chosen, slice) else None
        if known is not None and isinstance(chosen, slice):
            low, high = max(start, chosen.start), min(end, chosen.stop)
            array[low - chosen.start : high - chosen.start] = known[low - start : high - start]
            return
        if not isinstance(chosen, slice):
            into = np.flatnonzero((chosen >= start) & (chosen < end))
            array[into] = decoder.column(place)[chosen[into] - start]
        elif chosen.start <= start and end <= chosen.stop:
            decoder.column(place, array[start - chosen.start : end - chosen.start])
        else:
            low, high = max(start, chosen.start), min(end, chosen.stop)
            array[low - chosen.start : high - chosen.start] = decoder.column(place)[low - start : high - start]


def _within(times: Array, low: int, high: int) -> Array:
    found = times >= low
    if high < 2**63:
        found &= times < high
    return found


def _settled(rows: slice | Array, row_count: int) -> slice | Array:
    if isinstance(rows, slice):
        start, end, step = rows.indices(row_count)
        if step != 1:
            raise InvalidInputError(f"rows of a cold file: a slice must have the step 1, was {step}")
        return slice(start, max(start, end))
    positions = np.asarray(rows)
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        raise InvalidInputError(f"rows of a cold file: positions must be integers, were {positions.dtype}")
    if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < row_count:
        raise InvalidInputError(f"rows of a cold file: positions must lie in 0 to {row_count - 1}")
    return positions.astype(np.int64, copy=False)


def _room(info: ColumnInfo, count: int, out: Mapping[str, Array]) -> Array:
    name, dtype = info.column.name, info.column.dtype
    given = out.get(name)
    if given is None:
        return np.empty(count, dtype)
    fits = given.ndim == 1 and given.dtype == dtype and len(given) >= count
    if not fits or not given.flags.c_contiguous or not given.flags.writeable:
        raise InvalidInputError(
            f"out[{name!r}] must be a contiguous, writable array of {count} or more {dtype}, "
            f"was {given.shape} of {given.dtype}"
        )
    return given[:count]


def _parts(places: Sequence[int], chunks: Sequence[Chunk]) -> list[list[int]]:
    """Return columns in groups, of which none needs another's columns."""
    linked = {
        place
        for place in range(len(chunks))
        for link in (chunks[place].first, chunks[place].second, chunks[place].mask_column)
        if link != NO_COLUMN
    }
    linked |= {
        link
        for place in linked
        for link in (chunks[place].first, chunks[place].second, chunks[place].mask_column)
        if link != NO_COLUMN
    }
    together = [place for place in places if place in linked]
    parts = [[place] for place in places if place not in linked]
    return [together, *parts] if together else parts


def _blocks(footer: Footer) -> tuple[Block, ...]:
    index, columns = memoryview(footer.index), footer.columns
    count = int.from_bytes(index[:8], "little") if len(index) >= 8 else -1
    if count < 0 or len(index) != 8 + count * BLOCK.size + count * len(columns) * CHUNK.size:
        raise damaged("the index of blocks is of another length than its blocks take")
    entries = list(BLOCK.iter_unpack(index[8 : 8 + count * BLOCK.size]))
    chunks = [Chunk(*entry) for entry in CHUNK.iter_unpack(index[8 + count * BLOCK.size :])]
    at = HEADER.size
    for chunk, place in zip(chunks, list(range(len(columns))) * count, strict=True):
        if chunk.offset != at or chunk.mask_length > chunk.length or not _makes_sense(chunk, place, columns):
            raise damaged(f"a chunk of column {columns[place].column.name} is described wrongly")
        at += chunk.length
    made, start = [], 0
    for number, (row_count, first, last) in enumerate(entries):
        of_block = tuple(chunks[number * len(columns) : (number + 1) * len(columns)])
        made.append(Block(start, row_count, first, last, of_block))
        start += row_count
    if at != footer.data_end or start != footer.row_count or any(block.row_count == 0 for block in made):
        raise damaged("its blocks do not add up to its rows and bytes")
    return tuple(made)


def _makes_sense(chunk: Chunk, place: int, columns: Sequence[ColumnInfo]) -> bool:
    for link in (chunk.first, chunk.second, chunk.mask_column):
        if link != NO_COLUMN and (link >= len(columns) or link == place):
            return False
    dtype = columns[place].column.dtype
    if chunk.codec not in (Codec.NOTHING, Codec.PCODEC, Codec.ZSTD) or chunk.width not in (1, 2, 4, 8):
        return False
    if chunk.width > dtype.itemsize or chunk.term not in _TERMS or chunk.mask not in _MASKS:
        return False
    if chunk.mask in (Mask.SAME, Mask.COMPLEMENT) and chunk.mask_column == NO_COLUMN:
        return False
    if chunk.term == Term.NONE:
        return True
    first, second = (columns[link].column.dtype if link != NO_COLUMN else None for link in (chunk.first, chunk.second))
    if dtype.itemsize != 8 or first is None:
        return False
    if chunk.term == Term.HELD:
        return first == np.dtype(np.uint8) and chunk.mask == Mask.NONE and chunk.codec != Codec.NOTHING
    if chunk.term in (Term.GREATER, Term.LESSER):
        return first == second == np.dtype(np.int64)
    if chunk.term == Term.PRODUCT:
        return second is not None and 0 < chunk.extra < 2**63
    return chunk.term != Term.MIRROR or first == np.dtype(np.uint8)
