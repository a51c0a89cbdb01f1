"""A table of one's own, in CSV, Parquet or Arrow IPC, by a mapping of columns.

``columns={"ts_event": "Time:ms", "price": "Px", "symbol": "Ticker", "ext:spread": "Sprd:price"}`` says which of its
columns each of ours is; a column of the same name as ours is taken unmapped. After a colon stands what a value is in:

- of times that are integers their unit: ``s``, ``ms``, ``us`` or ``ns``. Text with an offset, and Arrow's times with a
  zone, need no more; a wall clock needs `tz`, and what it never showed, or showed twice, is quarantined;
- of sizes and turnovers the digits after the point that are kept: ``Qty:8`` keeps 0.00000001. Otherwise they are whole,
  and the first that is not is an error;
- of an extension its kind: ``time``, ``price``, ``size``, ``turnover``, ``code``, ``char``, ``id`` or ``int``.
  Otherwise it is text, a dictionary string.

`schema` and `venue` are asked for, and `symbol` unless a column says it. Prices are decimals; where they are integers,
`scale` says how many make one. What is neither of ours nor mapped is not taken.

Invariants: nothing is guessed; a row that a value of cannot be read of is quarantined; the rows of a symbol stand in
the file's order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.faults import Faults
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.tabular import UNIT_DIGITS, Block, blocks
from tickvault.market.feeds.wall import moments
from tickvault.market.schema import CHAR_NULL, PRICE_NULL, PRICE_SCALE, TIME_NULL, Column, Kind, Schema, schema_of

_LETTERS = {"action": b"ACMRTFN", "side": b"ABN"}
_SCALED = (Kind.SIZE, Kind.TURNOVER)


class _Mapped(NamedTuple):
    """One of our columns, and where it comes from."""

    column: Column
    theirs: str
    tag: str
    """What stands after the colon; else nothing."""


class TableFeed:
    """Tables with a mapping of columns; used by name only."""

    name = "table"

    def recognises(self, source: Source) -> bool:
        """Return False: a table says nothing of what its columns mean, and is read when its format is said."""
        return False

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source; see the module."""
        schema = schema_of(options.needed("schema", source, "a table does not say what its rows are"))
        venue = options.needed("venue", source, "a table does not say its venue")
        plan: _Plan | None = None
        row_count = stored = 0
        for block in blocks(source):
            if plan is None:
                plan = _Plan(source, options, schema, block.names)
            columns, faults = plan.columns(block)
            yield Counted(block.rows)
            for row, reason in faults.reasons():
                yield Quarantined(row_count + row, reason, block.raw(row))
            row_count += block.rows
            if block.cut_off:
                yield Quarantined(row_count, "the last line is cut off", block.cut_off)
            series, symbols = plan.symbols(block)
            rows = np.flatnonzero(faults.good)
            ordinals = np.cumsum(faults.good) - 1 + stored
            stored += len(rows)
            order = rows[np.argsort(series[rows], kind="stable")]
            bounds = np.searchsorted(series[order], np.arange(len(symbols) + 1))
            for number, symbol in enumerate(symbols):
                mine = order[bounds[number] : bounds[number + 1]]
                if len(mine):
                    yield Piece(venue, symbol, columns.take(mine), ordinals[mine])


class _Plan:
    """How a table's columns become ours; made from its header."""

    def __init__(self, source: Source, options: IngestOptions, schema: Schema, names: list[str]) -> None:
        self._source, self._options, self._schema = source, options, schema
        self._names = names
        self._symbol_column = ""
        self._mapped: list[_Mapped] = []
        self._refuse_scale()
        for ours, value in options.columns.items():
            self._map(ours, value)
        taken = {mapped.column.name for mapped in self._mapped}
        self._mapped += [
            _Mapped(column, column.name, "")
            for column in schema.columns
            if column.name in names and column.name not in taken
        ]
        if not self._symbol_column and options.symbol is None and "symbol" in names:
            self._symbol_column = "symbol"
        if not self._symbol_column:
            options.needed("symbol", source, "no column is mapped to symbol, and it does not say its symbol")
        if not {"ts_event", "ts_recv"} & {mapped.column.name for mapped in self._mapped}:
            raise self._wrong("no column is mapped to ts_event or ts_recv", f"it has {', '.join(names)}")
        self._digits = {kind: self._digits_of(kind) for kind in _SCALED}

    def _wrong(self, what: str, rule: str) -> InvalidInputError:
        return InvalidInputError(f"ingest {self._source.path}: {what}; {rule}")

    def _refuse_scale(self) -> None:
        scale = self._options.scale
        if scale is not None and (scale < 1 or PRICE_SCALE % scale):
            raise self._wrong(f"scale={scale}", f"a scale divides {PRICE_SCALE}, as 10000 does")

    def _map(self, ours: str, value: str) -> None:
        theirs, tag = value, ""
        if value not in self._names and ":" in value:
            theirs, _, tag = value.rpartition(":")
        if theirs not in self._names:
            raise self._wrong(f"columns: {ours} is to be {theirs!r}", f"it has {', '.join(self._names)}")
        if ours == "symbol":
            self._symbol_column = theirs
            return
        column = self._schema.column(ours)
        if column is None and ours.startswith("ext:") and len(ours) > 4:
            kind = tag or Kind.CODE.value
            if self._schema.column(ours[4:]) is not None or kind not in {each.value for each in Kind}:
                kinds = ", ".join(each.value for each in Kind)
                raise self._wrong(
                    f"columns: {ours} as {value!r}", f"an extension has a new name, and a kind of {kinds}"
                )
            column, tag = Column(ours[4:], Kind(kind)), ""
        if column is None:
            known = ", ".join(each.name for each in self._schema.columns)
            raise self._wrong(
                f"columns: {self._schema.name} has no column {ours!r}", f"it has {known}; another is ext:NAME"
            )
        right = {
            Kind.TIME: tag in {"", *UNIT_DIGITS},
            Kind.SIZE: tag == "" or (tag.isdigit() and int(tag) <= 12),
            Kind.TURNOVER: tag == "" or (tag.isdigit() and int(tag) <= 12),
        }.get(column.kind, tag == "")
        if not right:
            raise self._wrong(
                f"columns: {ours} as {value!r}", "after the colon stands s, ms, us or ns of a time, digits of a size"
            )
        self._mapped.append(_Mapped(column, theirs, tag))

    def _digits_of(self, kind: Kind) -> int:
        """Return the digits that all columns of a kind keep: the most that one asks for."""
        return max((int(mapped.tag or 0) for mapped in self._mapped if mapped.column.kind is kind), default=0)

    def symbols(self, block: Block) -> tuple[Array, list[str]]:
        """Return each row's place in a list of symbols, and the list."""
        if not self._symbol_column:
            assert self._options.symbol is not None, "it was asked for"
            return np.zeros(block.rows, np.int32), [self._options.symbol]
        return block.words(self._symbol_column)

    def columns(self, block: Block) -> tuple[Columns, Faults]:
        """Return all rows of a block, and which of them are faults."""
        faults = Faults(block.sound, "it has not the fields of the header, or a quote in it does not end its field")
        arrays: dict[str, Array] = {}
        dictionaries: dict[str, list[str]] = {}
        for mapped in self._mapped:
            name = mapped.column.name
            if mapped.column.kind is Kind.CODE:
                arrays[name], dictionaries[name] = block.words(mapped.theirs)
                continue
            values, right = self._read(block, mapped, faults)
            faults.unless(right, f"its {mapped.theirs} is no {mapped.column.kind.value} that can be kept")
            arrays[name] = np.where(right, values, mapped.column.null).astype(mapped.column.dtype)
        times = [arrays[name] != TIME_NULL for name in ("ts_event", "ts_recv") if name in arrays]
        faults.unless(np.logical_or.reduce(times), "it has no time")
        if self._symbol_column:
            faults.unless(block.words(self._symbol_column)[0] >= 0, "it has no symbol")
        extensions = [mapped.column for mapped in self._mapped if self._schema.column(mapped.column.name) is None]
        columns = Columns(
            self._schema,
            arrays,
            dictionaries,
            extensions,
            size_scale=10 ** self._digits[Kind.SIZE],
            turnover_scale=10 ** self._digits[Kind.TURNOVER],
        )
        return columns, faults

    def _read(self, block: Block, mapped: _Mapped, faults: Faults) -> tuple[Array, Array]:
        column, theirs = mapped.column, mapped.theirs
        if column.kind is Kind.TIME:
            return self._times(block, mapped, faults)
        if column.kind is Kind.PRICE:
            return self._prices(block, theirs)
        if column.kind in _SCALED:
            return self._sizes(block, mapped)
        if column.kind is Kind.CHAR:
            return _letters(block, column.name, theirs)
        values, right = block.wholes(theirs, -(2**63))
        absent = values == -(2**63)
        limits = np.iinfo(column.dtype)
        right = right & (absent | ((values >= limits.min) & (values <= min(limits.max, 2**63 - 1))))
        # A flag is never null.
        none = np.array(column.null).astype(column.dtype)
        return np.where(absent, none, values.astype(column.dtype)), right

    def _times(self, block: Block, mapped: _Mapped, faults: Faults) -> tuple[Array, Array]:
        if mapped.tag and not block.is_time(mapped.theirs):
            return block.numbers(mapped.theirs, UNIT_DIGITS[mapped.tag], TIME_NULL)
        ours, theirs = mapped.column.name, mapped.theirs
        integers = block.is_integer(theirs)
        values, told, right = (
            (np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.bool_)) if integers else block.stamps(theirs)
        )
        if integers or (len(right) and not right.any() and block.numbers(theirs, 0, 0)[1].any()):
            raise self._wrong(
                f"the times in {theirs} are numbers, and their unit is not said",
                f'say it with columns={{"{ours}": "{theirs}:ms"}} (s, ms, us or ns)',
            )
        if (right & ~told).any():
            why = f"the times in {theirs} have no zone"
            zone = self._options.needed("tz", self._source, why)
            try:
                wall = moments(np.where(told, TIME_NULL, values), zone)
            except (ValueError, KeyError, OSError) as error:
                raise self._wrong(f"tz={zone!r} is no zone", str(error)) from error
            values = np.where(told, values, wall.times)
            faults.unless(wall.comes, f"its {theirs} never came in {zone}: the clock was set forward over it")
            faults.unless(wall.once, f"its {theirs} came twice in {zone}, and it has no offset that says which it is")
        return values, right

    def _prices(self, block: Block, theirs: str) -> tuple[Array, Array]:
        scale = self._options.scale
        if scale is None:
            if block.is_integer(theirs):
                self._options.needed("scale", self._source, f"the prices in {theirs} are integers")
            return block.numbers(theirs, 9, PRICE_NULL)
        unit = PRICE_SCALE // scale
        values, right = block.wholes(theirs, PRICE_NULL)
        present = values != PRICE_NULL
        right = right & (~present | (np.abs(values) < PRICE_NULL // unit))
        return np.where(present & right, np.where(present & right, values, 0) * unit, PRICE_NULL), right

    def _sizes(self, block: Block, mapped: _Mapped) -> tuple[Array, Array]:
        digits, null = self._digits[mapped.column.kind], mapped.column.null
        values, right = block.numbers(mapped.theirs, digits, null)
        finer, finer_right = block.numbers(mapped.theirs, digits + 3, null)
        lost = right & finer_right & (values != null) & (finer != values * 1000)
        if lost.any():
            example = block.raw(int(np.flatnonzero(lost)[0])).decode("utf-8", "replace")[:100]
            name = mapped.column.name
            raise self._wrong(
                f"{mapped.theirs} has more than {digits} digits after the point ({example})",
                f'say how many to keep with columns={{"{name}": "{mapped.theirs}:8"}}',
            )
        return values, right


def _letters(block: Block, ours: str, theirs: str) -> tuple[Array, Array]:
    found, words = block.words(theirs)
    allowed = _LETTERS.get(ours)
    values = np.full(len(words) + 1, CHAR_NULL, np.uint8)
    right = np.zeros(len(words) + 1, np.bool_)
    right[-1] = True
    for number, word in enumerate(words):
        letter = word.encode()
        right[number] = len(letter) == 1 and (allowed is None or letter in allowed)
        values[number] = letter[0] if right[number] else CHAR_NULL
    return values[found], right[found]
