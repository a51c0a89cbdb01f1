"""Partitions: the stretch of UTC time that one file of columns covers.

Ticks are kept by day. Bars and what comes rarely are kept by month or year, bars of a day and longer all together,
because a file for a few rows costs more than the rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import TIME_NULL, Schema

#: Rows without any time; they are found by reading without a range only.
TIMELESS = "timeless"
#: All rows of bars of a day and longer: 250 a year.
WHOLE = "whole"
_MINUTE_NS = 60 * 1_000_000_000
_DAY_NS = 86_400 * 1_000_000_000
_UNITS = {"definition": "Y", "status": "M", "statistics": "M"}


def unit_of(schema: Schema) -> str:
    """Return the partition's length: ``D``, ``M`` or ``Y``; of all rows together `WHOLE`."""
    if schema.interval_ns >= _DAY_NS:
        return WHOLE
    return "M" if schema.interval_ns >= _MINUTE_NS else _UNITS.get(schema.name, "D")


def partitions(schema: Schema, ts_index: Array) -> Iterator[tuple[str, slice | Array]]:
    """Cut rows into partitions, keeping their order in each.

    Yields
    ------
    (str, slice or ndarray of int64)
        The partition's name (``2013-10-07``, ``2013-10``, ``2013``, ``whole``) and its rows: a slice where they are
        together.
    """
    if not len(ts_index):
        return
    unit = unit_of(schema)
    if unit == WHOLE:
        yield WHOLE, slice(None)
        return
    days = ts_index // _DAY_NS
    if days[0] == days[-1] and (days == days[0]).all():
        yield _name(int(days[0]), unit), slice(None)
        return
    numbers = days if unit == "D" else _rounded(days, unit)
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    starts = np.concatenate(([0], cuts))
    if len(np.unique(numbers[starts])) == len(starts):
        for start, end in zip(starts.tolist(), [*cuts.tolist(), len(numbers)], strict=True):
            yield _name(int(days[start]), unit), slice(start, end)
        return
    # A clock that jumps: a partition's rows are not together.
    for number in np.unique(numbers).tolist():
        rows = np.flatnonzero(numbers == number)
        yield _name(int(days[rows[0]]), unit), rows


def _rounded(days: Array, unit: str) -> Array:
    whole: Array = days.astype("datetime64[D]").astype(f"datetime64[{unit}]").astype(np.int64)
    # `TIME_NULL` is no date; it keeps a number of its own.
    return np.where(days == TIME_NULL // _DAY_NS, TIME_NULL, whole)


def _name(day: int, unit: str) -> str:
    if day == TIME_NULL // _DAY_NS:
        return TIMELESS
    return str(np.datetime64(day, "D").astype(f"datetime64[{unit}]"))
