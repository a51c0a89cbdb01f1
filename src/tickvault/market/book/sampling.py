"""Books over time: at one moment, after each event, or at regular moments.

A book is shown after whole events only: between two rows of one it may be crossed, or lack an order that moves.

Invariants: what is shown of a moment was known at it: no row counts that is later, or stands behind one that is; the
rows of `book_levels` stand in the order of the table.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.book.depth import Depth, empty_stacks
from tickvault.market.book.kernels import COUNT_NULL, Stacks
from tickvault.market.book.orderbook import OrderBook
from tickvault.market.book.rows import STATED_LEVELS, check, event_ends, flags_of, known_rows, stated_columns
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import nanoseconds_of, to_ns

DEPTH_MAX = 1000
#: Rows that are sampled at most, so that a slip such as ``every="1ns"`` is told and does not fill the memory.
ROWS_MAX = 100_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
}
_INTERVAL = re.compile(r"([0-9]{1,12})\s*(ns|us|µs|ms|s|m|h|d)")
#: What a row tells of the event that it stands for, of the schemas that have it.
_CARRIED = ("ts_event", "ts_recv", "flags", "sequence", "instrument_id", "publisher_id")


class _Moments(NamedTuple):
    """What is to be shown."""

    stops: Array
    """int64: after so many rows of the table, 0 before any."""
    times: Array | None
    """int64 ns: the moments themselves, where they are not the events."""


def book_at(table: Table, ts_ns: Any, depth: int = 10) -> Depth:
    """Return the book at a moment: after the last event that was over at it.

    The table is replayed from its first row: it must begin with the book's own beginning, a snapshot or an empty book.
    For many moments `book_levels` with `at` replays it once.

    Parameters
    ----------
    table : Table
        Of one series; see `OrderBook.apply`.
    ts_ns : int or time
        On `ts_index`; the moment itself counts. An int is ns UTC; see `to_ns` for what else is a time.
    depth : int
        Levels, at most.

    Returns
    -------
    Depth
        Empty where no event was over.
    """
    check(table, "book_at")
    moment = to_ns(ts_ns, "book_at")
    stop = int(_whole_events(table, np.array([moment]))[0])
    book = OrderBook().apply(table.slice(0, stop))
    return book._depth(depth, is_whole=True)


def book_levels(
    table: Table,
    depth: int | None = None,
    *,
    every: str | int | datetime.timedelta | None = None,
    at: Sequence[Any] | Array | None = None,
) -> Table:
    """Return the best levels over time, as columns ``bid_px_00``, ``bid_sz_00``, ``bid_ct_00``, ``ask_px_00``, ….

    Parameters
    ----------
    table : Table
        Of one series of `mbo`, `mbp-delta`, `mbp-10`, `mbp-1` or `bbo`. The first row begins a new book.
    depth : int, optional
        Levels of each side, up to 1000; by default 10, and 1 of rows that state only the best.
    every : str, int or timedelta, optional
        ``"100ms"``, ``"1s"``, ``"5m"``: at the whole multiples of it (UTC), from the first after an event was over to
        the last in the table's time. A number: after each so many events. By default after each event.
    at : sequence of times, optional
        At these moments instead, in the order given; see `to_ns` for what is a time.

    Returns
    -------
    Table
        Of `mbp-1` for a depth of 1, else of `mbp-10`; levels from the eleventh on are columns beyond the schema. Price
        and size are null where there is no level, the count also where the source tells no orders.
        `ts_event`, `ts_recv`, `flags` and `sequence` (of `mbp-delta` the last update id) are those of the event's last
        row. Of moments, `ts_recv` is the moment, and the others are those of the last event that was over at it.

    Raises
    ------
    InvalidInputError
        The rows tell no book; the depth is more than they tell; the interval is none.
    """
    check(table, "book_levels")
    depth = _checked_depth(table, depth)
    moments = _moments(table, every, at)
    if table.schema.name in STATED_LEVELS:
        stacks = _stated(table, moments.stops, depth)
    else:
        order = np.argsort(moments.stops, kind="stable")
        stacks = OrderBook()._stack(table, moments.stops[order], depth)
        if (order[1:] < order[:-1]).any():
            back = np.argsort(order)
            stacks = Stacks(*(array[:, :, back] for array in stacks))
    return _table_of(table, moments, stacks)


def _checked_depth(table: Table, depth: int | None) -> int:
    told = STATED_LEVELS.get(table.schema.name, DEPTH_MAX)
    if depth is None:
        return min(told, 10)
    if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or not 1 <= depth <= told:
        raise InvalidInputError(
            f"book_levels: depth must be 1 to {told}, as many levels as {table.schema.name} can give; was {depth!r}"
        )
    return int(depth)


# -- moments


def _whole_events(table: Table, moments: Array) -> Array:
    """Return after how many rows the last event was over at each moment, int64; 0 if none."""
    ends = np.concatenate(([0], event_ends(table)))
    found: Array = ends[np.searchsorted(ends, known_rows(table, moments), "right") - 1]
    return found


def _moments(table: Table, every: Any, at: Any) -> _Moments:
    if at is not None:
        if every is not None:
            raise InvalidInputError("book_levels: give every or at, not both")
        times = _times(at)
        return _Moments(_whole_events(table, times), times)
    ends = event_ends(table)
    if every is None:
        return _Moments(ends, None)
    if isinstance(every, int | np.integer) and not isinstance(every, bool):
        if every < 1:
            raise InvalidInputError(f"book_levels: every must be 1 event or more, was {every}")
        return _Moments(ends[int(every) - 1 :: int(every)], None)
    times = _grid(table, ends, _interval_ns(every))
    return _Moments(_whole_events(table, times), times)


def _times(at: Any) -> Array:
    if isinstance(at, np.ndarray) and at.dtype.kind in "iM":
        return nanoseconds_of(at, "at") if at.dtype.kind == "M" else at.astype(np.int64)
    return np.array([to_ns(moment, "at") for moment in at], np.int64)


def _interval_ns(every: Any) -> int:
    if isinstance(every, datetime.timedelta):
        found = (every.days * 86_400 + every.seconds) * 1_000_000_000 + every.microseconds * 1_000
    else:
        match = _INTERVAL.fullmatch(every.strip()) if isinstance(every, str) else None
        found = int(match[1]) * _UNITS_NS[match[2]] if match else 0
    if not 0 < found < 2**62:
        raise InvalidInputError(
            f"book_levels: every must be a number of events, or a time such as '100ms', '1s' or '5m'; was {every!r}"
        )
    return found


def _grid(table: Table, ends: Array, interval: int) -> Array:
    """Return the multiples of an interval, int64 ns, from the first event's end on to the last row's time."""
    times = table["ts_index"]
    known = times[times != TIME_NULL]
    if not len(ends) or not len(known):
        return np.empty(0, np.int64)
    first, last = int(np.maximum.accumulate(times)[ends[0] - 1]), int(known.max())
    low, high = -(-max(first, int(known.min())) // interval), -(-last // interval)
    if high - low >= ROWS_MAX:
        raise InvalidInputError(
            f"book_levels: {high - low + 1:,} rows, and {ROWS_MAX:,} are the most; take a longer interval, or a part "
            "of the table"
        )
    return np.arange(low, high + 1, dtype=np.int64) * interval


# -- rows


def _stated(table: Table, stops: Array, depth: int) -> Stacks:
    """Return the levels that rows state, of the last row before each stop."""
    stacks = empty_stacks(depth, len(stops))
    rows, none = np.maximum(stops - 1, 0), stops == 0
    parts = (("px", stacks.price, PRICE_NULL), ("sz", stacks.size, SIZE_NULL), ("ct", stacks.orders, COUNT_NULL))
    for side, level, name in stated_columns(table.schema, depth):
        for what, out, null in parts:
            out[side, level] = null
            if len(table):
                out[side, level] = np.where(none, null, table[name.replace("??", what)][rows])
    return stacks


def _table_of(table: Table, moments: _Moments, stacks: Stacks) -> Table:
    arrays = _carried(table, moments)
    extensions = []
    schema = schema_of("mbp-1" if stacks.price.shape[1] == 1 else "mbp-10")
    for level in range(stacks.price.shape[1]):
        for side, word in enumerate(("bid", "ask")):
            for what, kind, stack in zip(("px", "sz", "ct"), (Kind.PRICE, Kind.SIZE, Kind.ID), stacks, strict=True):
                name = f"{word}_{what}_{level:02d}"
                arrays[name] = stack[side, level]
                if schema.column(name) is None:
                    extensions.append(Column(name, kind, width="<u4" if kind is Kind.ID else ""))
    columns = Columns(schema, arrays, extensions=extensions, size_scale=table.size_scale)
    made = Table.of(columns, table.venue, table.symbol)
    made.adjustment, made.adjusted_on = table.adjustment, table.adjusted_on
    return made


def _carried(table: Table, moments: _Moments) -> dict[str, Array]:
    """Return what the rows that ended the events say; null where there was none."""
    schema, rows, none = schema_of("mbp-10"), np.maximum(moments.stops - 1, 0), moments.stops == 0
    sources = {name: table[name] for name in _CARRIED if name in table}
    if "last_update_id" in table:
        sources["sequence"] = table["last_update_id"]
    sources["flags"] = flags_of(table)
    arrays: dict[str, Array] = {}
    for name, source in sources.items():
        column = schema.column(name)
        assert column is not None, "carried columns are the schema's"
        null = np.full(len(rows), column.null, column.dtype)
        arrays[name] = np.where(none, null, source[rows]) if len(table) else null
    if moments.times is not None:
        arrays["ts_recv"] = moments.times
    return arrays
