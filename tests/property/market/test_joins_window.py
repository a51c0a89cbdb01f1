"""The window join against plain Python: lists, fractions, no cleverness."""

from __future__ import annotations

from fractions import Fraction
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.columns import Columns
from tickvault.market.joins import kernels, window_join
from tickvault.market.joins.wide import cumulate, quotients
from tickvault.market.schema import CODE_NULL, PRICE_NULL, SIZE_NULL, TIME_NULL, schema_of
from tickvault.market.table import Table

WORDS = ["Q", "P"]
times = st.integers(0, 20) | st.just(TIME_NULL)
prices = st.integers(-5, 5) | st.integers(-(10**15), 10**15) | st.just(PRICE_NULL)
sizes = st.integers(0, 4) | st.integers(0, 10**13) | st.just(SIZE_NULL)
codes = st.integers(-1, 1)
left_rows = st.lists(st.tuples(times, codes), max_size=25)
right_rows = st.lists(st.tuples(times, codes, prices, sizes), max_size=40)
ASKED: dict[str, tuple[str, str | None]] = {
    "n": ("count", None),
    "prices": ("count", "price"),
    **{f"{name}_price": (name, "price") for name in ("sum", "min", "max", "mean", "first", "last", "vwap")},
    **{f"{name}_size": (name, "size") for name in ("sum", "max", "last")},
}


def window(left: tuple[int, int], right: list[Any], before: int, after: int, by: bool, prevailing: bool) -> list[Any]:
    """Return the right rows in the window of a left one, by time."""
    time, code = left
    if time == TIME_NULL or (by and code < 0):
        return []
    mine = sorted((row for row in right if row[0] != TIME_NULL and (not by or row[1] == code)), key=lambda row: row[0])
    found = [row for row in mine if time - before <= row[0] <= time + after]
    earlier = [row for row in mine if row[0] < time - before]
    if prevailing and earlier and not any(row[0] == time - before for row in mine):
        found = [earlier[-1], *found]
    return found


def result(function: str, column: str | None, rows: list[Any]) -> int | None:
    """Return what an aggregate comes to, None for null."""
    at = {"price": 2, "size": 3, None: 0}[column]
    null = {"price": PRICE_NULL, "size": SIZE_NULL, None: TIME_NULL}[column]
    kept = [row for row in rows if row[at] != null]
    values = [row[at] for row in kept]
    if function == "count":
        return len(values)
    if function == "vwap":
        kept = [row for row in kept if row[3] != SIZE_NULL]
        total = sum(row[3] for row in kept)
        return round(Fraction(sum(row[2] * row[3] for row in kept), total)) if total else None
    if not values:
        return None
    made = {"sum": sum, "min": min, "max": max, "first": itemgetter(0), "last": itemgetter(-1)}
    if function == "mean":
        return round(Fraction(sum(values), len(values)))
    return int(made[function](values))


@settings(deadline=None, max_examples=300)
@given(
    left=left_rows,
    right=right_rows,
    lengths=st.tuples(st.integers(-4, 12), st.integers(-4, 12)).filter(lambda both: sum(both) >= 0),
    in_order=st.booleans(),
    by=st.booleans(),
    prevailing=st.booleans(),
)
def test_every_window_comes_to_what_its_rows_say(
    left: list[Any], right: list[Any], lengths: tuple[int, int], in_order: bool, by: bool, prevailing: bool
) -> None:
    if in_order:
        left, right = sorted(left, key=lambda row: row[0]), sorted(right, key=lambda row: row[0])
    one = {"ts_event": np.array([row[0] for row in left], np.int64), "exchange": _codes(left)}
    other = {"ts_event": np.array([row[0] for row in right], np.int64), "exchange": _codes(right)}
    for name, at in (("price", 2), ("size", 3)):
        other[name] = np.array([row[at] for row in right], np.int64)
    joined = window_join(
        Table.of(Columns(schema_of("bbo"), one, {"exchange": WORDS})),
        Table.of(Columns(schema_of("trades"), other, {"exchange": WORDS})),
        *lengths,
        ASKED,
        by="exchange" if by else None,
        prevailing=prevailing,
    )
    for place, row in enumerate(left):
        rows = window(row, right, *lengths, by, prevailing)
        for name, (function, column) in ASKED.items():
            want = None if row[0] == TIME_NULL else result(function, column, rows)
            found = int(joined[name][place])
            assert (None if found == joined.column(name).null else found) == want, (place, name)


def _codes(rows: list[Any]) -> Any:
    return np.array([CODE_NULL if row[1] < 0 else row[1] for row in rows], np.int32)


@settings(deadline=None, max_examples=300)
@given(
    values=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1)), min_size=1, max_size=6),
    factor=st.sampled_from([1, 2, 10**9, 2**40]),
    divisor=st.integers(1, 2**63 - 1) | st.integers(1, 20),
)
def test_wide_sums_are_those_of_python(values: list[tuple[int, int]], factor: int, divisor: int) -> None:
    numbers, weights = (np.array(column, np.int64) for column in zip(*values, strict=True))
    highs, lows = np.empty((2, len(values) + 1), np.uint64)
    out = np.empty(len(values), np.int64)
    begins, ends = np.arange(len(values)), np.full(len(values), len(values))
    divisors = np.full(len(values), divisor)
    cumulate(kernels.frozen(numbers), kernels.frozen(weights), highs, lows)
    wrong = quotients(highs, lows, begins, ends, factor, divisors, SIZE_NULL, out)
    for row in range(len(values)):
        total = sum(value * weight for value, weight in values[row:]) * factor
        want = round(Fraction(total, divisor))
        if abs(want) >= 2**63 - 1:
            assert wrong == row
            return
        assert out[row] == want
    assert wrong == -1


def test_the_harness_sees_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernels.windows

    def ends_early(*given_arrays: Any) -> None:
        real(*given_arrays)
        begins, ends = given_arrays[-2:]
        ends[ends > begins + 1] -= 1

    monkeypatch.setattr(kernels, "windows", ends_early)
    with pytest.raises(AssertionError):
        test_every_window_comes_to_what_its_rows_say()
