"""Databento Binary Encoding, versions 1 to 3: ``.dbn`` and ``.dbn.zst``.

A stream is metadata, then records; streams that were joined end to end are read one after the other.  Each record goes
to the series of its instrument's symbol: as a mapping in the stream says, else the metadata for the day of the record,
else the instrument's number as text.

Invariants: a piece is of one series and in the stream's order; a record that cannot be decoded is quarantined, and so
are records of kinds that have no schema here; errors, mappings and system messages are counted, and not stored.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np

from tickvault.errors import IntegrityError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.dbn import kernels
from tickvault.market.feeds.dbn.metadata import PRELUDE_SIZE, Metadata, mapped_symbol, metadata_size, read_metadata
from tickvault.market.feeds.dbn.records import (
    SKIPPED,
    SYMBOL_MAPPING,
    Layout,
    columns_of,
    layout_of,
    receive_offsets,
)
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Member, Source
from tickvault.market.schema import CODE_NULL

_WRONG_DAYS = {
    kernels.NO_TIME: "it has neither ts_event nor ts_recv",
    kernels.BAD_TIME: "a time is beyond the year 2262",
}


class DbnFeed:
    """Databento Binary Encoding."""

    name = "dbn"

    def recognises(self, source: Source) -> bool:
        """Return whether the name ends in ``.dbn`` or ``.dbn.zst`` and the first bytes are its metadata's."""
        return source.name.lower().endswith((".dbn", ".dbn.zst", ".dbn.gz")) and source.head[:3] == b"DBN"

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source; see `feeds.protocol.Feed`."""
        reader = _Reader(source, options)
        for member in source.members():
            yield from reader.read(member)


class _Groups(NamedTuple):
    """What is to become of each group of records."""

    series: Array
    """int64: the number of the group's series, -1 where it is not stored."""
    layouts: list[Layout]
    """By series; those of one layout stand together."""
    symbols: list[str]
    reasons: dict[int, str]
    """Of groups that are quarantined."""


class _Reader:
    """Reads the streams of one source, one after the other."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        self._source = source
        self._options = options
        self._row_count = 0
        self._stored_count = 0
        self._byte_count = 0
        self._metadata: Metadata | None = None
        self._venue = ""
        self._overrides: dict[int, str] = {}
        self._receive_offsets = receive_offsets()

    def read(self, member: Member) -> Iterator[Decoded]:
        self._metadata, self._byte_count = None, 0
        rest = b""
        damage: IntegrityError | None = None
        blocks = member.blocks()
        while True:
            try:
                block = next(blocks, b"")
            except IntegrityError as error:
                damage, block = error, b""
            if not block:
                break
            data = rest + block if rest else block
            used = yield from self._block(data)
            self._byte_count += used
            rest = data[used:]
        if damage is None and (rest or self._metadata is None):
            what = "record" if self._metadata is not None else "metadata"
            damage = IntegrityError(
                f"{self._where}: cut off in the midst of a {what}, after {self._row_count} whole records, which were "
                f"read"
            )
        if rest and self._metadata is not None:
            yield Counted(1)
            yield Quarantined(self._row_count, "the stream is cut off in the midst of this record", rest)
        if damage is not None:
            raise damage

    @property
    def _where(self) -> str:
        return f"ingest {self._source.path}"

    def _block(self, data: bytes) -> Generator[Decoded, None, int]:
        """Decode what is whole in a block; return how many bytes that was."""
        offsets = np.empty(len(data) // (4 * kernels.HEADER_WORDS) + 1, np.int64)
        place = 0
        why = kernels.ENDED if self._metadata is not None else kernels.METADATA
        while True:
            if why == kernels.METADATA:
                head = data[place : place + PRELUDE_SIZE]
                size = metadata_size(head, self._where) if len(head) == PRELUDE_SIZE else PRELUDE_SIZE
                if place + size > len(data):
                    # Until the rest of it has come.
                    self._metadata = None
                    return place
                self._begin(read_metadata(data[place : place + size], self._where))
                place += size
            words = np.frombuffer(data, "<u4", (len(data) - place) // 4, place)
            count, mappings, stop, why = kernels.walk(words, offsets)
            if count:
                yield from self._run(words, offsets[:count], mappings)
            place += 4 * int(stop)
            if why == kernels.IMPOSSIBLE:
                raise IntegrityError(
                    f"{self._where}: record {self._row_count}, at byte {self._byte_count + place} of the stream, tells "
                    f"a length of {4 * data[place]} bytes; a record has at least {4 * kernels.HEADER_WORDS}, so that "
                    f"what follows cannot be read"
                )
            if why == kernels.ENDED:
                return place

    def _begin(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._overrides = {}
        self._venue = metadata.dataset.partition(".")[0]
        if not self._venue:
            self._venue = self._options.needed("venue", self._source, "its metadata names no dataset")

    def _run(self, words: Array, offsets: Array, mappings: int) -> Iterator[Decoded]:
        """Decode records of which only the first may be mappings of symbols."""
        assert self._metadata is not None, "metadata comes first"
        yield Counted(len(offsets))
        for place in offsets[:mappings].tolist():
            record = _raw(words, place)
            symbol = mapped_symbol(record, ts_out=self._metadata.ts_out)
            if symbol is not None:
                self._overrides[int.from_bytes(record[4:8], "little")] = symbol
        groups, keys = _grouped(words, offsets, self._receive_offsets)
        plan = self._plan(keys)
        yield from self._quarantined(words, offsets, groups, plan.reasons)
        yield from self._pieces(words, offsets, groups, plan)
        self._row_count += len(offsets)

    def _plan(self, keys: Array) -> _Groups:
        """Say of each group which series it belongs to, or why it is not stored."""
        assert self._metadata is not None, "metadata comes first"
        layouts: dict[tuple[int, int], Layout | str] = {}
        wanted: dict[int, tuple[int, str]] = {}
        reasons: dict[int, str] = {}
        different: list[Layout] = []
        for number, (rtype, length, instrument, day) in enumerate(keys.tolist()):
            size = 4 * length
            if rtype in SKIPPED:
                if rtype == SYMBOL_MAPPING and mapped_symbol(bytes(size), ts_out=self._metadata.ts_out) is None:
                    reasons[number] = f"a mapping of a symbol cannot have {size} bytes"
                continue
            found = layouts.get((rtype, size))
            if found is None:
                found = layout_of(rtype, size, self._metadata.schema_number, ts_out=self._metadata.ts_out)
                layouts[rtype, size] = found
                if isinstance(found, Layout) and not any(found is layout for layout in different):
                    different.append(found)
            if isinstance(found, str):
                reasons[number] = found
            elif day in _WRONG_DAYS:
                reasons[number] = f"rtype 0x{rtype:02X}: {_WRONG_DAYS[day]}"
            else:
                at = next(place for place, layout in enumerate(different) if layout is found)
                wanted[number] = (at, self._symbol(instrument, day))
        # Series in the order of their layouts, and of their first records within each.
        by_layout = sorted(dict.fromkeys(wanted.values()), key=lambda pair: pair[0])
        places = {pair: place for place, pair in enumerate(by_layout)}
        series = np.full(len(keys), -1, np.int64)
        for number, pair in wanted.items():
            series[number] = places[pair]
        return _Groups(series, [different[at] for at, _ in by_layout], [symbol for _, symbol in by_layout], reasons)

    def _symbol(self, instrument: int, day: int) -> str:
        assert self._metadata is not None, "metadata comes first"
        return self._overrides.get(instrument) or self._metadata.intervals.symbol(instrument, day) or str(instrument)

    def _quarantined(
        self, words: Array, offsets: Array, groups: Array, reasons: dict[int, str]
    ) -> Iterator[Quarantined]:
        if not reasons:
            return
        for row in np.flatnonzero(np.isin(groups, list(reasons))).tolist():
            record = _raw(words, int(offsets[row]))
            yield Quarantined(self._row_count + row, reasons[int(groups[row])], record)

    def _pieces(self, words: Array, offsets: Array, groups: Array, plan: _Groups) -> Iterator[Piece]:
        ends = np.empty(len(plan.symbols), np.int64)
        targets, ordinals = np.empty(len(offsets), np.int64), np.empty(len(offsets), np.int64)
        stored = kernels.arrange(groups, plan.series, ends, targets, ordinals)
        ordinals += self._stored_count
        self._stored_count += stored
        first, begin = 0, 0
        while first < len(plan.symbols):
            layout = plan.layouts[first]
            last = first
            while last < len(plan.symbols) and plan.layouts[last] is layout:
                last += 1
            end = int(ends[last - 1])
            length = layout.dtype.itemsize // 4
            if end - begin == len(offsets) and len(plan.symbols) == 1:
                # They stand side by side already.
                records = words[: end * length]
            else:
                records = np.empty((end - begin, length), "<u4")
                kernels.scatter(words, offsets, targets, begin, records)
            columns = columns_of(records.reshape(-1).view(layout.dtype), layout)
            if last - first == 1:
                yield Piece(self._venue, plan.symbols[first], columns, ordinals[begin:end])
            else:
                start = begin
                for number in range(first, last):
                    until = int(ends[number])
                    part = _taken(columns, start - begin, until - begin)
                    yield Piece(self._venue, plan.symbols[number], part, ordinals[start:until])
                    start = until
            first, begin = last, end


def _raw(words: Array, place: int) -> bytes:
    """Return the bytes of the record that begins at a word."""
    length = int(words[place]) & 0xFF
    return words[place : place + length].tobytes()


def _grouped(words: Array, offsets: Array, receive: Array) -> tuple[Array, Array]:
    """Return each record's group, and of each group its rtype, length in words, instrument and day."""
    groups = np.empty(len(offsets), np.int64)
    size = 1024
    while True:
        keys = np.empty((size // 2, 4), np.int64)
        count = kernels.group(words, offsets, receive, np.full(size, -1, np.int64), keys, groups)
        if count >= 0:
            return groups, keys[:count]
        size *= 8


def _taken(columns: Columns, start: int, end: int) -> Columns:
    """Return some rows, with no more words in their dictionaries than they use."""
    part = columns.take(slice(start, end))
    if not part.dictionaries:
        return part
    dictionaries = {}
    for name, words in columns.dictionaries.items():
        numbers: dict[int, int] = {CODE_NULL: CODE_NULL}
        # A definition's series has a row or two in a block.
        codes = [numbers.setdefault(code, len(numbers) - 1) for code in part.arrays[name].tolist()]
        part.arrays[name] = np.array(codes, np.int32)
        dictionaries[name] = [words[code] for code in numbers if code != CODE_NULL]
    part.dictionaries = dictionaries
    return part
