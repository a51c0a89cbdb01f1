"""A simulated trading day of twenty invented instruments, the same on every machine.

It comes twice: as tables for the library (see `market.simulate`), and its quotes and trades as small objects for the
S3 examples. Each object holds one schema of one instrument over one minute, as a ``.npy`` array of int64 with a row for
each column, so that ``numpy.load`` gives the columns back: prices in 1e-9 currency units, times in nanoseconds UTC.

Invariants: equal seeds give equal days; times never fall inside a series; the best bid lies below the best ask; no
trade is better than the bid or the ask that stood before it; objects and tables tell the same day.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tickvault.cli.simulate import load_simulator

if TYPE_CHECKING:
    from tickvault.market.simulate import Instrument, Market
    from tickvault.market.table import Table

IntArray = NDArray[np.int64]

VENUE = "XSIM"
DATE = "2026-01-05"
OPEN_NS = 1_767_623_400_000_000_000
"""2026-01-05 14:30 UTC, in nanoseconds since the epoch."""
MINUTE_NS = 60_000_000_000
MINUTE_COUNT = 390
EVENTS = 600_000
"""Rows of `mbo`."""

COLUMNS = {
    "bbo": ("ts_event", "bid_px", "ask_px", "bid_sz", "ask_sz"),
    "trades": ("ts_event", "price", "size", "side"),
}
"""Columns of the objects of each schema, in order; `side` is the aggressor's: 1 bought, -1 sold."""
_LIBRARY_COLUMNS = {"bid_px": "bid_px_00", "ask_px": "ask_px_00", "bid_sz": "bid_sz_00", "ask_sz": "ask_sz_00"}

SYMBOLS = (
    "ALDER", "ASPEN", "BEECH", "BIRCH", "CEDAR", "CLOVE", "EBONY", "ELDER", "FERNS", "HAZEL",
    "HOLLY", "LARCH", "LILAC", "MAPLE", "MYRTL", "OLIVE", "ROWAN", "SPRUC", "TEAKS", "WILLO",
)  # fmt: skip
"""Invented: no exchange lists them."""


@dataclass(frozen=True, slots=True)
class Series:
    """The day of one instrument."""

    symbol: str
    instrument: Instrument
    tables: dict[str, Table]
    """By schema, for the library."""
    columns: dict[str, IntArray]
    """By schema, for the objects: shape (columns of the schema, rows)."""


def market(seed: int) -> Market:
    """Return the market whose day it is.

    Raises
    ------
    InvalidInputError
        numba is not installed.
    """
    return load_simulator()(SYMBOLS, seed=seed, date=DATE, venue=VENUE, events=EVENTS)


def day(seed: int) -> list[Series]:
    """Simulate the day of all instruments."""
    of = market(seed)
    tables: dict[str, dict[str, Table]] = {symbol: {} for symbol in SYMBOLS}
    for table in of.flow(["definition", "status", "mbo", "trades", "bbo"], rows=EVENTS):
        tables[table.symbol][table.schema.name] = table
    return [
        Series(one.symbol, one, found, {schema: _plain(schema, found[schema]) for schema in COLUMNS})
        for one, found in zip(of.instruments, tables.values(), strict=True)
    ]


def series(symbol: str, seed: int) -> Series:
    """Simulate the day, and return that of one instrument."""
    return next(one for one in day(seed) if one.symbol == symbol)


def _plain(schema: str, table: Table) -> IntArray:
    rows: list[Any] = [table[_LIBRARY_COLUMNS.get(name, name)] for name in COLUMNS[schema]]
    if schema == "trades":
        rows[-1] = np.where(rows[-1] == ord("B"), 1, -1)
    return np.stack(rows).astype(np.int64)


def object_count() -> int:
    """Return how many objects `minutes` makes in all."""
    return len(SYMBOLS) * len(COLUMNS) * MINUTE_COUNT


def minutes(day: list[Series]) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the (key, body) pairs of each minute, in the order in which a market would make them."""
    edges = OPEN_NS + MINUTE_NS * np.arange(MINUTE_COUNT + 1)
    cuts = {
        (one.symbol, schema): np.searchsorted(rows[0], edges) for one in day for schema, rows in one.columns.items()
    }
    for minute in range(MINUTE_COUNT):
        hour, past = divmod(14 * 60 + 30 + minute, 60)
        batch = []
        for one in day:
            for schema, rows in one.columns.items():
                first, last = cuts[one.symbol, schema][minute : minute + 2]
                key = f"{VENUE}/{one.symbol}/{schema}/{DATE}/{hour:02d}{past:02d}.npy"
                batch.append((key, _npy(rows[:, first:last])))
        yield batch


def definition(one: Series) -> bytes:
    """Return what describes an instrument and its columns, as JSON."""
    return json.dumps(
        {
            "venue": VENUE,
            "raw_symbol": one.symbol,
            "simulated": True,
            "price_unit": 1e-9,
            "tick_size": one.instrument.tick,
            "currency": one.instrument.currency,
            "columns": COLUMNS,
            "rows": {schema: rows.shape[1] for schema, rows in one.columns.items()},
        },
        indent=2,
    ).encode()


def _npy(columns: IntArray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(columns), allow_pickle=False)
    return buffer.getvalue()
