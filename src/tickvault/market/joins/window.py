"""The window join: to each row of one table what the rows of another around its time come to.

Invariants: the left rows stay as they are, in their order; a window holds both its ends; a window that ends at the
row's own time (``after=0``) shows nothing from the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.joins import kernels
from tickvault.market.joins.aggregates import Windows, aggregate
from tickvault.market.joins.asof import time_column
from tickvault.market.joins.attach import attach, check_adjustment, new_names
from tickvault.market.joins.durations import duration_text, to_duration_ns
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.keys import Groups, groups_of
from tickvault.market.joins.matching import order_of
from tickvault.market.schema import TIME_NULL
from tickvault.market.table import Table

_WHAT = "window_join"


def window_join(
    left: Table,
    right: Table,
    before: Any,
    after: Any,
    aggregates: Mapping[str, tuple[str, str | None]],
    on: str = "ts_index",
    by: str | Sequence[str] | None = "symbol",
    *,
    prevailing: bool = False,
) -> Table:
    """Return the left rows, each with aggregates of the right rows in a window of time around it.

    Parameters
    ----------
    left, right : Table
        In any order of time.
    before, after : int (ns), str or timedelta
        The window is [t - before, t + after], both ends in it. One may be negative: ``before="-1s", after="5s"`` begins
        a second after the row.
    aggregates : mapping of str to (function, column)
        By the name of the new column: ``{"vwap_5s": ("vwap", "price"), "quotes": ("count", None)}``. Functions are
        count, sum, min, max, mean, first, last, and vwap, which weighs a price by its size (``size`` for ``price``,
        ``bid_sz_00`` for ``bid_px_00``, else ``volume``). Nulls are left out.
    on, by
        As in `asof_join`.
    prevailing : bool
        Count the last row before the window in, because it still held when the window began; not where a row stands
        at the very begin. That is kdb+'s ``wj``, and without it ``wj1``.

    Returns
    -------
    Table
        Of the left table's schema, series and order, with the new columns: a count is a plain integer; sum, min, max,
        first and last are of the column's kind; means and vwap are decimals in units of 1e-9 (kind price), rounded half
        to even. Of a window without values they are null, and the count is 0; of a row without a time all are null.

    Raises
    ------
    InvalidInputError
        The window ends before it begins; a function or column is none; a name is taken; a result does not fit int64.
    """
    lengths = to_duration_ns(before, "before"), to_duration_ns(after, "after")
    if sum(lengths) < 0:
        raise InvalidInputError(
            f"{_WHAT}: the window from {duration_text(lengths[0])} before to {duration_text(lengths[1])} after a row "
            "ends before it begins"
        )
    new_names(left, list(aggregates), "", _WHAT)
    asked = {name: _function(name, told) for name, told in aggregates.items()}
    kinds = [right.column(column).kind for function, column in asked.values() if column and function != "count"]
    check_adjustment(left, right, kinds, _WHAT)
    times = [time_column(table, on, side, _WHAT) for table, side in ((left, "left"), (right, "right"))]
    windows = _windows(times[0], times[1], groups_of(left, right, by, _WHAT), lengths, prevailing)
    added = [aggregate(windows, right, name, *told) for name, told in asked.items()]
    return attach(left, added, size_scale=right.size_scale, turnover_scale=right.turnover_scale)


def _function(name: str, told: Any) -> tuple[str, str | None]:
    if isinstance(told, str) or not isinstance(told, Sequence) or len(told) != 2:
        raise InvalidInputError(f"{_WHAT}: {name} is asked for as (function, column), was {told!r}")
    return told[0], told[1]


def _windows(left: Array, right: Array, groups: Groups, lengths: tuple[int, int], prevailing: bool) -> Windows:
    rows, starts = arranged(right, None if groups.is_one else groups.right, groups.group_count)
    order, _ = arranged(left, None if groups.is_one else groups.left, groups.group_count)
    begins, ends = np.zeros((2, len(left)), np.int64)
    kernels.windows(
        left, frozen(groups.left, np.int32), order, frozen(right[rows]), starts, *lengths, prevailing, begins, ends
    )
    return Windows(rows, begins, ends, order, left == TIME_NULL)


def arranged(times: Array, groups: Array | None, group_count: int) -> tuple[Array, Array]:
    """Return (rows by group and time, those without either left out; where each group starts among them).

    Rows of one group and time keep their order.
    """
    order = order_of(times)
    order = np.arange(len(times)) if order is None else order
    # Nulls come first in order.
    order = order[np.searchsorted(times, TIME_NULL, side="right", sorter=order) :]
    if groups is None:
        return order, np.array([0, len(order)], np.int64)
    starts = np.empty(group_count + 1, np.int64)
    out = np.empty(len(order), np.int64)
    kernels.by_group(frozen(order), frozen(groups, np.int32), group_count, starts, out)
    return out[: starts[-1]], starts
