"""One block of a cold file, decoded column by column, each once."""

from __future__ import annotations

from collections.abc import Sequence

import crc32c
import numpy as np

from tickvault.market.codec.chunks import (
    NO_COLUMN,
    Chunk,
    Codec,
    Mask,
    Term,
    begins_of,
    decode_mask,
    decode_numbers,
    libraries,
    term_of,
    unsigned,
)
from tickvault.market.codec.layout import ColumnInfo, damaged
from tickvault.market.columns import Array
from tickvault.market.schema import BID

_NO_MASK = np.empty(0, np.uint8)
_MASK64 = (1 << 64) - 1


class BlockDecoder:
    """Decodes columns of a block, and what they are made of."""

    def __init__(
        self, view: memoryview, columns: Sequence[ColumnInfo], chunks: Sequence[Chunk], row_count: int
    ) -> None:
        self._view = view
        self._columns = columns
        self._chunks = chunks
        self._row_count = row_count
        self._decoded: dict[int, Array] = {}
        self._masks: dict[int, Array] = {}
        self._bytes: dict[int, memoryview] = {}
        self._under_way: set[tuple[str, int]] = set()

    def column(self, place: int, out: Array | None = None) -> Array:
        """Return a column's values; decoded into `out` where it is given.

        Raises
        ------
        IntegrityError
            A chunk does not match its checksum, or does not hold what the index says.
        """
        found = self._decoded.get(place)
        if found is not None:
            if out is not None:
                out[:] = found
            return found
        self._enter("column", place)
        made = np.empty(self._row_count, self._columns[place].column.dtype) if out is None else out
        self._decode(place, self._chunks[place], made)
        self._under_way.discard(("column", place))
        self._decoded[place] = made
        return made

    def _enter(self, what: str, place: int) -> None:
        if (what, place) in self._under_way:
            raise damaged(f"column {self._columns[place].column.name} is made of itself")
        self._under_way.add((what, place))

    def _data(self, place: int) -> memoryview:
        """Return a chunk's bytes, checked."""
        found = self._bytes.get(place)
        if found is None:
            chunk = self._chunks[place]
            found = self._view[chunk.offset : chunk.offset + chunk.length]
            if crc32c.crc32c(found) != chunk.crc:
                raise damaged(f"a chunk of column {self._columns[place].column.name} does not match its checksum")
            self._bytes[place] = found
        return found

    def _mask(self, place: int) -> Array:
        """Return where a column has its `fill`, uint8; empty for nowhere."""
        found = self._masks.get(place)
        if found is not None:
            return found
        chunk = self._chunks[place]
        if chunk.mask == Mask.NONE:
            return _NO_MASK
        if chunk.mask == Mask.OWN:
            made = decode_mask(chunk.mask_codec, self._data(place)[: chunk.mask_length], self._row_count)
        else:
            self._enter("mask", place)
            other = self._mask(chunk.mask_column)
            self._under_way.discard(("mask", place))
            if not len(other):
                raise damaged(f"column {self._columns[place].column.name} has its mask from one that has none")
            made = other if chunk.mask == Mask.SAME else (other == 0).view(np.uint8)
        self._masks[place] = made
        return made

    def _decode(self, place: int, chunk: Chunk, out: Array) -> None:
        if chunk.term == Term.HELD:
            self._decode_held(place, chunk, out)
            return
        bits, mask = unsigned(out), self._mask(place)
        data = self._data(place)[chunk.mask_length if chunk.mask == Mask.OWN else 0 :]
        whole = not len(mask)
        width = chunk.width
        if whole and chunk.codec == Codec.NOTHING:
            bits[:] = chunk.base & ((1 << 8 * bits.itemsize) - 1)
        elif whole and width == bits.itemsize and chunk.base == 0 and chunk.factor == 1:
            decode_numbers(chunk.codec, data, bits)
        else:
            kernels = libraries().kernels
            count = len(out) if whole else len(mask) - int(np.count_nonzero(mask))
            stored = np.empty(count, f"u{width}")
            decode_numbers(chunk.codec, data, stored)
            base, factor = np.uint64(chunk.base), np.uint64(chunk.factor)
            if whole:
                kernels.widen(stored, base, factor, bits)
            else:
                kernels.widen_between(stored, mask, np.uint64(chunk.fill), base, factor, bits)
        if chunk.term != Term.NONE:
            self._add_term(chunk, mask, bits)

    def _decode_held(self, place: int, chunk: Chunk, out: Array) -> None:
        begins = begins_of(self.column(chunk.first))
        count = int(np.count_nonzero(begins))
        stored, events = np.empty(count, f"u{chunk.width}"), np.empty(count, np.uint64)
        decode_numbers(chunk.codec, self._data(place), stored)
        libraries().kernels.widen(stored, np.uint64(chunk.base), np.uint64(chunk.factor), events)
        np.take(events, np.cumsum(begins) - 1, out=unsigned(out))

    def _add_term(self, chunk: Chunk, mask: Array, bits: Array) -> None:
        kernels = libraries().kernels
        first = self.column(chunk.first)
        if chunk.term == Term.MIRROR:
            kernels.mirror(first, np.uint8(BID), np.uint64(chunk.extra), mask, bits)
            return
        second = self.column(chunk.second) if chunk.second != NO_COLUMN else None
        kernels.add(term_of(chunk.term, first, second, chunk.extra), mask, bits)
