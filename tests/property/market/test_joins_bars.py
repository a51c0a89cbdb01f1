"""Bars against plain Python: every row put into its interval by the wall clock of a zone."""

from __future__ import annotations

import datetime
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.bars import bars, kernels
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns

SECOND = 10**9
DAY = 86_400
ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Europe/London")
LENGTHS = {"1m": 60, "7m": 420, "1h": 3_600, "5h": 18_000, "1d": DAY, "2d": 2 * DAY}
# Around changes of clocks, so that days have other lengths.
anchors = st.sampled_from([to_ns(day) // SECOND for day in ("2024-03-09", "2024-11-02", "2024-04-06", "2024-10-26")])
rows = st.lists(
    st.tuples(
        st.integers(0, 4 * DAY) | st.integers(0, 300) | st.none(),
        st.integers(-3, 5) | st.just(PRICE_NULL),
        st.integers(0, 9) | st.just(SIZE_NULL),
        st.integers(0, 1),
        st.sampled_from("TTTF"),
    ),
    max_size=40,
)


def interval_of(second: int, length: int, zone: str, offset: int) -> tuple[int, int]:
    """Return (begin, end) of the interval that holds a time, all in seconds UTC."""
    clock = ZoneInfo(zone)
    wall = datetime.datetime.fromtimestamp(second, clock).replace(tzinfo=None) - datetime.timedelta(seconds=offset)
    number = wall.toordinal() - datetime.date(1970, 1, 1).toordinal()
    step = max(length // DAY, 1)

    def begin_of(day: int) -> int:
        local = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=day, seconds=offset)
        return int(local.replace(tzinfo=clock).timestamp())

    number = number // step * step
    while begin_of(number) > second:
        number -= step
    while begin_of(number + step) <= second:
        number += step
    day, following = begin_of(number), begin_of(number + step)
    if length >= DAY:
        return day, following
    begin = day + (second - day) // length * length
    return begin, min(begin + length, following)


def expected(given_rows: list[Any], anchor: int, length: int, zone: str, offset: int) -> dict[Any, list[Any]]:
    """Return [open, high, low, close, volume, count] by (symbol, begin, end)."""
    made: dict[Any, list[Any]] = {}
    kept = [row for row in given_rows if row[0] is not None and row[1] != PRICE_NULL and row[4] == "T"]
    for second, price, size, symbol, _ in sorted(kept, key=lambda row: row[0]):
        key = (symbol, *interval_of(anchor + second, length, zone, offset))
        bar = made.setdefault(key, [price, price, price, price, 0, 0])
        bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
        bar[4] = SIZE_NULL if SIZE_NULL in (bar[4], size) else bar[4] + size
        bar[5] += 1
    return made


def table(given_rows: list[Any], anchor: int) -> Table:
    times = [TIME_NULL if row[0] is None else (anchor + row[0]) * SECOND for row in given_rows]
    arrays = {
        "ts_event": np.array(times, np.int64),
        "price": np.array([row[1] for row in given_rows], np.int64),
        "size": np.array([row[2] for row in given_rows], np.int64),
        "action": np.array([ord(row[4]) for row in given_rows], np.uint8),
        "symbol": np.array([row[3] for row in given_rows], np.int32),
    }
    return Table.of(Columns(schema_of("trades"), arrays, {"symbol": ["A", "B"]}, [Column("symbol", Kind.CODE)]))


@settings(deadline=None, max_examples=250)
@given(
    given_rows=rows,
    anchor=anchors,
    interval=st.sampled_from(sorted(LENGTHS)),
    zone=st.sampled_from(ZONES),
    offset=st.sampled_from([0, 0, 17 * 3_600, -7 * 3_600, 1_800]),
)
def test_bars_are_those_of_the_rules(given_rows: list[Any], anchor: int, interval: str, zone: str, offset: int) -> None:
    want = expected(given_rows, anchor, LENGTHS[interval], zone, offset)
    made = bars(table(given_rows, anchor), interval, tz=zone, offset=offset * SECOND)
    found = listed(made)
    assert found == want
    assert list(made["ts_recv"]) == sorted(made["ts_recv"])
    filled = bars(table(given_rows, anchor), interval, tz=zone, offset=offset * SECOND, fill=True)
    check_filled(listed(filled), want)


def listed(made: Table) -> dict[Any, list[Any]]:
    names = ("open", "high", "low", "close", "volume", "trade_count")
    keys = zip(
        made["symbol"].tolist(), *((made[name] // SECOND).tolist() for name in ("ts_event", "ts_recv")), strict=True
    )
    return dict(zip(keys, map(list, zip(*(made[name].tolist() for name in names), strict=True)), strict=True))


def check_filled(filled: dict[Any, list[Any]], want: dict[Any, list[Any]]) -> None:
    assert {key: filled[key] for key in want} == want
    for symbol in (0, 1):
        mine = sorted(key for key in filled if key[0] == symbol)
        for before, key in itertools.pairwise(mine):
            assert key[1] == before[2], "without a gap"
            if key not in want:
                close = filled[before][3]
                assert filled[key] == [close] * 4 + [0, 0]
        known = sorted(key for key in want if key[0] == symbol)
        assert (mine[:1], mine[-1:]) == (known[:1], known[-1:])


def test_the_harness_sees_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def low_is_open(prices: Any, order: Any, firsts: Any, behinds: Any, out: Any) -> None:
        real(prices, order, firsts, behinds, out)
        out[2] = out[0]

    real = kernels.four_prices
    monkeypatch.setattr(kernels, "four_prices", low_is_open)
    with pytest.raises(AssertionError):
        test_bars_are_those_of_the_rules()
