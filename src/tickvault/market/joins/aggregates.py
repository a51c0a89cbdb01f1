"""What a window's rows come to: count, sum, min, max, mean, first, last and vwap.

Invariants: nulls are left out, by every function; numbers are exact, means and averages rounded once to their unit,
half to even; of no value the result is null (the count 0); what does not fit int64 raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.joins.attach import Attached
from tickvault.market.joins.gathering import by_rows
from tickvault.market.joins.kernels import frozen, smallest
from tickvault.market.joins.wide import cumulate, quotients
from tickvault.market.schema import PRICE_SCALE, Column, Kind
from tickvault.market.table import Table

_WHAT = "window_join"
_ALL = tuple(Kind)
_SUMMED = (Kind.PRICE, Kind.SIZE, Kind.TURNOVER, Kind.INT)
_ORDERED = (*_SUMMED, Kind.TIME, Kind.ID)
_ROW = Column("", Kind.INT)


class Windows(NamedTuple):
    """Which right rows are in the window of each left row."""

    rows: Array
    """int64: the right rows by group and time; windows are of places among these."""
    begins: Array
    ends: Array
    """int64, shape (n_left,): [begin, end)."""
    order: Array
    """int64: left rows that have a time and a group, in an order in which neither begins nor ends fall."""
    timeless: Array
    """bool, shape (n_left,): left rows whose time is null, which have no window."""


class _Asked(NamedTuple):
    """One column in the windows: only the rows in which it is not null."""

    right: Table
    column: Column
    rows: Array
    begins: Array
    ends: Array
    order: Array

    def values(self, name: str) -> Array:
        """Return a column of the rows."""
        return frozen(self.right[name][self.rows])

    def divided(self, column: Column, weights: Array, factor: int, divisors: Array) -> Array:
        """Return the sums of the column, times weights if there are any and a factor, divided; of a kind."""
        highs, lows = np.empty((2, len(self.rows) + 1), np.uint64)
        cumulate(self.values(self.column.name), weights, highs, lows)
        out = np.empty(len(self.begins), np.int64)
        row: int = quotients(highs, lows, self.begins, self.ends, factor, divisors, column.null, out)
        if row >= 0:
            raise InvalidInputError(f"{_WHAT}: the result for {self.column.name} does not fit int64 at left row {row}")
        return out

    def picked(self, places: Array) -> Attached:
        """Return the values at places among the rows, null where the window is empty."""
        some = self.begins < self.ends
        rows = np.full(len(places), -1, np.int64)
        rows[some] = self.rows[places[some]]
        (values,) = by_rows([(self.right[self.column.name], self.column)], rows)
        words = self.right.strings(self.column.name) if self.column.kind is Kind.CODE else []
        return Attached(self.column, values, words)


def aggregate(windows: Windows, right: Table, name: str, function: str, column: str | None) -> Attached:
    """Return one aggregate as a column of the name.

    Raises
    ------
    InvalidInputError
        The function is not known, or not one for a column of its kind, or a result does not fit int64.
    """
    if function not in _FUNCTIONS:
        raise InvalidInputError(f"{_WHAT}: {name} asks for {function!r}; the functions are {', '.join(_FUNCTIONS)}")
    if column is None and function != "count":
        raise InvalidInputError(f"{_WHAT}: {name} asks for {function} of no column; only count can do without")
    kinds, made = _FUNCTIONS[function]
    known = _ROW if column is None else right.column(column)
    if known.kind not in kinds:
        raise InvalidInputError(f"{_WHAT}: {name} asks for {function} of {column}, which is of kind {known.kind}")
    present = np.ones(len(right), np.bool_)
    for each in (known.name, size_column(right, known.name) if function == "vwap" else ""):
        if each and right.column(each).kind is not Kind.FLAGS:
            present &= right[each] != right.column(each).null
    found = made(_asked(windows, right, known, present))
    if function == "count":
        found.values[windows.timeless] = found.column.null
    return found._replace(column=found.column._replace(name=name))


def _asked(windows: Windows, right: Table, column: Column, present: Array) -> _Asked:
    if present.all():
        return _Asked(right, column, windows.rows, windows.begins, windows.ends, windows.order)
    kept = present[windows.rows]
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))
    return _Asked(right, column, windows.rows[kept], before[windows.begins], before[windows.ends], windows.order)


def size_column(table: Table, price: str) -> str:
    """Return the column of sizes that belongs to a price: ``size``, ``bid_sz_00`` of ``bid_px_00``, else ``volume``.

    Raises
    ------
    InvalidInputError
        The table has none.
    """
    name = price.replace("_px_", "_sz_") if "_px_" in price else ("size" if price == "price" else "volume")
    if name not in table or table.column(name).kind is not Kind.SIZE:
        raise InvalidInputError(f"{_WHAT}: vwap of {price} needs its sizes in a column {name}, and there is none")
    return name


def _count(asked: _Asked) -> Attached:
    return Attached(Column("", Kind.INT, "rows in the window"), asked.ends - asked.begins, [])


def _first(asked: _Asked) -> Attached:
    return asked.picked(asked.begins)


def _last(asked: _Asked) -> Attached:
    return asked.picked(asked.ends - 1)


def _min(asked: _Asked) -> Attached:
    return _extreme(asked, largest=False)


def _max(asked: _Asked) -> Attached:
    return _extreme(asked, largest=True)


def _extreme(asked: _Asked, *, largest: bool) -> Attached:
    values = asked.right[asked.column.name][asked.rows]
    if values.dtype == np.uint64:
        values = (values ^ np.uint64(1 << 63)).view(np.int64)  # signed, in the same order
    places = np.full(len(asked.begins), -1, np.int64)
    keys = values.astype(np.int64)
    smallest(frozen(~keys if largest else keys), asked.order, asked.begins, asked.ends, places)
    return asked.picked(places)


def _sum(asked: _Asked) -> Attached:
    column = Column("", asked.column.kind, f"sum of {asked.column.name}")
    return Attached(column, asked.divided(column, _none(), 1, np.minimum(asked.ends - asked.begins, 1)), [])


def _mean(asked: _Asked) -> Attached:
    # A mean of sizes is no number of whole units: it is a decimal, and those are kept as prices are.
    column = Column("", Kind.PRICE, f"mean of {asked.column.name}")
    scale = {Kind.SIZE: asked.right.size_scale, Kind.TURNOVER: asked.right.turnover_scale}.get(asked.column.kind, 1)
    factor = 1 if asked.column.kind is Kind.PRICE else PRICE_SCALE
    return Attached(column, asked.divided(column, _none(), factor, (asked.ends - asked.begins) * scale), [])


def _vwap(asked: _Asked) -> Attached:
    column = Column("", Kind.PRICE, f"mean of {asked.column.name}, weighted by size")
    sizes = asked.values(size_column(asked.right, asked.column.name))
    if len(sizes) and int(sizes.min()) < 0:
        raise InvalidInputError(
            f"{_WHAT}: vwap of {asked.column.name}: a size is {int(sizes.min())}, which weighs nothing"
        )
    totals = asked._replace(column=asked.right.column(size_column(asked.right, asked.column.name)))
    divisors = totals.divided(Column("", Kind.SIZE), _none(), 1, np.minimum(asked.ends - asked.begins, 1))
    # Where there is no row, the total is null, and nothing may be divided by that.
    divisors[asked.begins >= asked.ends] = 0
    return Attached(column, asked.divided(column, sizes, 1, divisors), [])


def _none() -> Array:
    return frozen(np.empty(0, np.int64))


_FUNCTIONS: dict[str, tuple[tuple[Kind, ...], Callable[[_Asked], Attached]]] = {
    "count": (_ALL, _count),
    "sum": (_SUMMED, _sum),
    "min": (_ORDERED, _min),
    "max": (_ORDERED, _max),
    "mean": (_SUMMED, _mean),
    "first": (_ALL, _first),
    "last": (_ALL, _last),
    "vwap": ((Kind.PRICE,), _vwap),
}
