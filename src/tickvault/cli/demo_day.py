"""A simulated trading day: quotes and trades of twenty invented instruments, the same on every machine.

Each object holds one schema of one instrument over one minute, as a ``.npy`` array of int64 with a row for
each column, so that ``numpy.load`` gives the columns back: prices in 1e-9 currency units, times in
nanoseconds UTC.

Invariants: equal seeds give equal days; times never fall inside a series; the best bid lies below the best
ask; every trade is at the bid or the ask that stood at its time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

VENUE = "XSIM"
DATE = "2026-01-05"
OPEN_NS = 1_767_623_400_000_000_000
"""2026-01-05 14:30 UTC, in nanoseconds since the epoch."""
MINUTE_NS = 60_000_000_000
MINUTE_COUNT = 390
TICK = 10_000_000
"""Price step, 0.01 in units of 1e-9."""
QUOTES_PER_MINUTE = 60
TRADE_SHARE = 1 / 3
"""Trades for each quote."""

COLUMNS = {
    "bbo": ("ts_event", "bid_px", "ask_px", "bid_sz", "ask_sz"),
    "trades": ("ts_event", "price", "size", "side"),
}
"""Columns of each schema, in order; `side` is the aggressor's: 1 bought, -1 sold."""

SYMBOLS = (
    "ALDER", "ASPEN", "BEECH", "BIRCH", "CEDAR", "CLOVE", "EBONY", "ELDER", "FERNS", "HAZEL",
    "HOLLY", "LARCH", "LILAC", "MAPLE", "MYRTL", "OLIVE", "ROWAN", "SPRUC", "TEAKS", "WILLO",
)  # fmt: skip
"""Invented: no exchange lists them."""


@dataclass(frozen=True, slots=True)
class Series:
    """The day of one instrument."""

    symbol: str
    columns: dict[str, IntArray]
    """By schema, shape (columns of the schema, rows)."""


def series(symbol: str, seed: int) -> Series:
    """Simulate the quotes and trades of one instrument."""
    rng = np.random.default_rng([seed, *symbol.encode()])
    quote_count = int(rng.poisson(QUOTES_PER_MINUTE * MINUTE_COUNT))
    # Trading is busiest at the open and at the close: a mixture of a flat and a U-shaped density.
    position = np.where(rng.random(quote_count) < 0.6, rng.random(quote_count), rng.beta(0.5, 0.5, quote_count))
    ts_quote = OPEN_NS + np.sort((position * (MINUTE_COUNT * MINUTE_NS - 1)).astype(np.int64))
    step = rng.choice(np.array([-1, 0, 1]), quote_count, p=[0.24, 0.52, 0.24])
    start = int(rng.integers(2_000, 40_000))
    bid_ticks = np.maximum(start + np.cumsum(step), 100)
    spread_ticks = rng.choice(np.array([1, 2, 3]), quote_count, p=[0.7, 0.22, 0.08])
    bbo = np.stack(
        [
            ts_quote,
            bid_ticks * TICK,
            (bid_ticks + spread_ticks) * TICK,
            100 * rng.geometric(0.2, quote_count),
            100 * rng.geometric(0.2, quote_count),
        ]
    ).astype(np.int64)

    hit = np.flatnonzero(rng.random(quote_count) < TRADE_SHARE)
    side = rng.choice(np.array([-1, 1]), hit.size)
    price = np.where(side > 0, bbo[2, hit], bbo[1, hit])
    trades = np.stack([ts_quote[hit], price, 10 * rng.geometric(0.1, hit.size), side]).astype(np.int64)
    return Series(symbol, {"bbo": bbo, "trades": trades})


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
            "tick_size": TICK,
            "columns": COLUMNS,
            "rows": {schema: rows.shape[1] for schema, rows in one.columns.items()},
        },
        indent=2,
    ).encode()


def _npy(columns: IntArray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(columns), allow_pickle=False)
    return buffer.getvalue()
