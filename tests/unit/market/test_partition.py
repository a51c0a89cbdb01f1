"""Rows are cut by the time they are found by: ticks by UTC day, what comes rarely by longer stretches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.market.partition import TIMELESS, WHOLE, partitions
from tickvault.market.schema import TIME_NULL, schema_of
from tickvault.market.times import to_ns


def cut(schema: str, *times: Any) -> dict[str, list[int]]:
    array = np.array([to_ns(time) if time is not None else TIME_NULL for time in times], np.int64)
    found = {}
    for name, rows in partitions(schema_of(schema), array):
        assert name not in found
        found[name] = np.arange(len(array))[rows].tolist()
    return found


def test_ticks_are_kept_by_day() -> None:
    assert cut("trades", "2013-10-07T23:59:59.999999999", "2013-10-08") == {"2013-10-07": [0], "2013-10-08": [1]}
    assert cut("mbo", "1969-12-31T23:59:59.999999999", 0) == {"1969-12-31": [0], "1970-01-01": [1]}


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("mbo", ["2013-12-31", "2014-01-01"]),
        ("ohlcv-1s", ["2013-12-31", "2014-01-01"]),
        ("ohlcv-1m", ["2013-12", "2014-01"]),
        ("ohlcv-5m", ["2013-12", "2014-01"]),
        ("definition", ["2013", "2014"]),
        ("ohlcv-1d", ["whole"]),
    ],
)
def test_what_comes_rarely_is_kept_together(schema: str, names: list[str]) -> None:
    assert list(cut(schema, "2013-12-31T10:00", "2014-01-01")) == names


def test_a_clock_that_goes_back_over_midnight_keeps_the_order_in_each_day() -> None:
    found = cut("trades", "2013-10-08", "2013-10-07T23:00", "2013-10-08T01:00", "2013-10-07T22:00")
    assert found == {"2013-10-07": [1, 3], "2013-10-08": [0, 2]}


def test_rows_without_a_time_have_a_place() -> None:
    assert cut("trades", None, "2013-10-07") == {TIMELESS: [0], "2013-10-07": [1]}
    assert cut("definition", None, "2013-10-07", None) == {TIMELESS: [0, 2], "2013": [1]}
    assert cut("ohlcv-1d", None, "2013-10-07", None) == {WHOLE: [0, 1, 2]}


def test_no_rows_no_partitions() -> None:
    assert cut("trades") == {}


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50), st.sampled_from(["mbo", "ohlcv-1m", "ohlcv-1d"]))
def test_every_row_is_in_one_partition(times: list[int], schema: str) -> None:
    array = np.array(times, np.int64)
    seen: list[int] = []
    for _, rows in partitions(schema_of(schema), array):
        inside = np.arange(len(array))[rows].tolist()
        assert inside == sorted(inside)
        seen += inside
    assert sorted(seen) == list(range(len(times)))
