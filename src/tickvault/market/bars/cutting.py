"""Which rows make which bar.

Invariants: rows without a time, or without what a bar is made of, make none; each other row makes one bar; bars of a
symbol follow each other in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.bars.intervals import Interval
from tickvault.market.bars.kernels import cut, fill_between
from tickvault.market.columns import Array
from tickvault.market.joins.asof import time_column
from tickvault.market.joins.days import DAY_NS
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.keys import text_codes
from tickvault.market.joins.window import arranged
from tickvault.market.schema import TIME_NULL
from tickvault.market.table import Table

#: Bars that `fill` may make; a clock that jumps would make more than there is memory for.
FILLED_MAX = 50_000_000
_WHOLE = 2**62


class Cuts(NamedTuple):
    """The bars of a table, by symbol and time."""

    order: Array
    """int64: the rows that make bars, by symbol and time."""
    firsts: Array
    behinds: Array
    """int64, shape (n_bars,): a bar is of the places [first, behind) in `order`."""
    groups: Array
    """int64: the number of its symbol."""
    begins: Array
    ends: Array
    """int64 ns UTC."""
    symbols: list[str]
    """By number; empty for a table of one series."""
    days: Array
    length_ns: int

    def values(self, table: Table, name: str) -> Array:
        """Return a column in the order of the bars' rows."""
        return frozen(table[name][self.order])


def cut_rows(rows: Table, kept: Array, interval: Interval, on: str) -> Cuts:
    """Cut the rows that are kept into bars of an interval by the time `on`."""
    times = time_column(rows, on, "", "bars")
    kept = kept & (times != TIME_NULL)
    codes: Array | None = None
    symbols: list[str] = []
    if "symbol" in rows:
        codes, symbols = text_codes(rows, "symbol")
    chosen = None if kept.all() else np.flatnonzero(kept)
    if chosen is not None:
        times = frozen(times[chosen])
        codes = None if codes is None else codes[chosen]
    order, starts = arranged(times, codes, max(len(symbols), 1))
    days = interval.days(times)
    length = interval.length_ns if interval.length_ns < DAY_NS else _WHOLE
    made = np.empty((4, len(order)), np.int64)
    count: int = cut(times, order, starts, days, length, *made)
    firsts, groups, begins, ends = (array[:count] for array in made)
    behinds = np.append(firsts[1:], len(order)).astype(np.int64)
    order = order if chosen is None else chosen[order]
    return Cuts(order, firsts, behinds, groups, begins, ends, symbols, days, length)


class Filled(NamedTuple):
    """Every interval from a symbol's first bar to its last."""

    sources: Array
    """int64: the bar that it is, or the last one before it."""
    empty: Array
    """bool: there was no row in it."""
    groups: Array
    begins: Array
    ends: Array


def fill_gaps(cuts: Cuts) -> Filled:
    """Return the intervals between bars too; raises `InvalidInputError` if there are more than `FILLED_MAX`."""
    given = (cuts.groups, cuts.begins, cuts.ends, cuts.days, cuts.length_ns, FILLED_MAX)
    count: int = fill_between(*given, np.empty(0, np.int64), np.empty((3, 0), np.int64))
    if count > FILLED_MAX:
        raise InvalidInputError(
            f"bars: fill=True would make more than {FILLED_MAX:,} bars; take a shorter range or a longer interval (a "
            "row whose clock is years off makes such a gap)"
        )
    sources, spans = np.empty(count, np.int64), np.empty((3, count), np.int64)
    fill_between(*given, sources, spans)
    empty = sources < 0
    return Filled(np.where(empty, -1 - sources, sources), empty, *spans)
