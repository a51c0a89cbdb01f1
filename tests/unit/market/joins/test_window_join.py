"""The window join: which rows a window holds, and what they come to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from joins_made import listed, made

import tickvault as tv
from tickvault.market.joins import window_join
from tickvault.market.schema import Column, Kind
from tickvault.market.table import Table

SECOND = 10**9


def left(times: list[Any], **more: Any) -> Table:
    return made("bbo", ts_event=times, bid_px_00=[0] * len(times), **more)


def trades(times: list[Any], prices: list[Any], sizes: list[Any] | None = None, **more: Any) -> Table:
    return made("trades", ts_event=times, price=prices, size=sizes or [1] * len(times), **more)


def rows_in(times: list[Any], at: int, before: Any, after: Any, **named: Any) -> list[int]:
    """Return the right rows in the window of one left row."""
    asked = {"n": ("count", None), "low": ("min", "price"), "high": ("max", "price")}
    joined = window_join(left([at]), trades(times, list(range(len(times)))), before, after, asked, **named)
    count, low, high = (listed(joined, name)[0] for name in asked)
    found = [] if not count else list(range(low, high + 1))
    assert len(found) == count
    return found


def test_both_ends_are_in_the_window() -> None:
    times = [9, 10, 10, 15, 20, 21]
    assert rows_in(times, 15, 5, 5) == [1, 2, 3, 4]
    assert rows_in(times, 15, 0, 0) == [3]
    assert rows_in(times, 16, 0, 0) == []
    assert rows_in(times, 15, -1, 6) == [4, 5], "from one after it to six after it"
    assert rows_in(times, 20, 11, -5) == [0, 1, 2, 3]


def test_the_prevailing_row_still_held_when_the_window_began() -> None:
    times = [5, 9, 9, 15, 20]
    assert rows_in(times, 15, 5, 2, prevailing=True) == [2, 3], "the last of equal times"
    assert rows_in(times, 14, 5, 2, prevailing=True) == [1, 2, 3], "rows stand at the very begin: nothing before held"
    assert rows_in(times, 12, 1, 1, prevailing=True) == [2], "also of a window that is empty"
    assert rows_in(times, 5, 1, 0, prevailing=True) == [0]
    assert rows_in(times, 3, 1, 1, prevailing=True) == []


def test_text_for_lengths() -> None:
    assert rows_in([0, SECOND, 2 * SECOND], SECOND, "1s", "500ms") == [0, 1]


def test_every_function() -> None:
    right = trades([1, 2, 3, 4], [10, None, 40, 25], [1, 5, None, 2], conditions=["a", "b", None, "d"])
    asked: dict[str, Any] = {
        "rows": ("count", None),
        "prices": ("count", "price"),
        "total": ("sum", "size"),
        "low": ("min", "price"),
        "high": ("max", "price"),
        "mean_price": ("mean", "price"),
        "first_size": ("first", "size"),
        "last_size": ("last", "size"),
        "last_text": ("last", "conditions"),
        "when": ("max", "ts_event"),
        "average": ("vwap", "price"),
    }
    joined = window_join(left([3, 9, None]), right, 2, 0, asked)
    assert {name: listed(joined, name)[0] for name in asked} == {
        "rows": 3,
        "prices": 2,
        "total": 6,
        "low": 10,
        "high": 40,
        "mean_price": 25,
        "first_size": 1,
        "last_size": 5,
        "last_text": "b",
        "when": 3,
        "average": 10,
    }
    assert [listed(joined, name)[1] for name in asked] == [0, 0] + [None] * 9, "no row is there: counts are 0"
    assert [listed(joined, name)[2] for name in asked] == [None] * 11, "no time: there is no window"
    kinds = [joined.column(name).kind for name in asked]
    assert kinds[:3] == [Kind.INT, Kind.INT, Kind.SIZE]
    assert kinds[5:] == [Kind.PRICE, Kind.SIZE, Kind.SIZE, Kind.CODE, Kind.TIME, Kind.PRICE]


@pytest.mark.parametrize(("prices", "mean"), [([1, 2], 2), ([2, 3], 2), ([-1, -2], -2), ([1, 1, 2], 1), ([1, 2, 2], 2)])
def test_a_mean_is_rounded_half_to_even(prices: list[int], mean: int) -> None:
    joined = window_join(left([1]), trades([1] * len(prices), prices), 0, 0, {"m": ("mean", "price")})
    assert listed(joined, "m") == [mean]


def test_a_mean_of_sizes_is_a_decimal() -> None:
    """Half a share is no whole number of shares: means are kept as prices are, and frames show 2.5."""
    right = trades([1, 1], [1, 1], [20, 30], size_scale=10)
    joined = window_join(left([1]), right, 0, 0, {"m": ("mean", "size"), "s": ("sum", "size")})
    assert joined.to_polars()["m"].to_list() == [2.5]
    assert joined.to_polars()["s"].to_list() == [5.0]
    assert joined.size_scale == 10


def test_sums_are_exact_beyond_64_bits() -> None:
    """Products of prices and sizes do not fit; their average does."""
    price, size = 60_000 * 10**9, 3 * 10**15
    right = trades([1, 1, 1], [price, price + 1, price + 2], [size, size, size])
    joined = window_join(left([1]), right, 0, 0, {"v": ("vwap", "price"), "m": ("mean", "price")})
    assert (listed(joined, "v"), listed(joined, "m")) == ([price + 1], [price + 1])
    weighed = trades([1, 1], [-(10**18), 10**18], [2**62, 2**62 - 2])
    want = round(Decimal(-2 * 10**18) / Decimal(2**63 - 2))
    assert listed(window_join(left([1]), weighed, 0, 0, {"v": ("vwap", "price")}), "v") == [want]


def test_what_does_not_fit_is_refused() -> None:
    right = trades([1, 1], [1, 1], [2**62, 2**62])
    with pytest.raises(tv.InvalidInputError, match="result for size does not fit int64 at left row 1"):
        window_join(left([0, 1]), right, 0, 0, {"s": ("sum", "size")})
    with pytest.raises(tv.InvalidInputError, match="does not fit"):
        window_join(left([0, 1]), right, 0, 0, {"m": ("mean", "size")})
    with pytest.raises(tv.InvalidInputError, match="a size is -3"):
        window_join(left([1]), trades([1], [1], [-3]), 0, 0, {"v": ("vwap", "price")})


def test_no_size_weighs_nothing() -> None:
    joined = window_join(left([1]), trades([1], [1], [0]), 0, 0, {"v": ("vwap", "price")})
    assert listed(joined, "v") == [None]


def test_a_vwap_of_quotes_takes_the_sizes_of_its_side() -> None:
    quotes = made("bbo", ts_event=[1, 1], ask_px_00=[10, 20], ask_sz_00=[3, 1])
    joined = window_join(left([1]), quotes, 0, 0, {"v": ("vwap", "ask_px_00")})
    assert listed(joined, "v") == [12], "12.5, half to even"
    bar = made("ohlcv-1m", ts_event=[1], ts_recv=[1], close=[7], volume=[2])
    assert listed(window_join(left([1]), bar, 0, 0, {"v": ("vwap", "close")}), "v") == [7]


def test_groups_and_rows_out_of_order() -> None:
    one = left([20, 10, 15, 10], symbols=["A", "B", "A", "C"])
    right = trades([19, 10, 9, 16, 10], [1, 2, 3, 4, 5], symbols=["A", "B", "A", "A", None])
    joined = window_join(one, right, 5, 0, {"n": ("count", None), "p": ("max", "price"), "f": ("first", "price")})
    assert listed(joined, "n") == [2, 1, 0, 0]
    assert listed(joined, "p") == [4, 2, None, None]
    assert listed(joined, "f") == [4, 2, None, None]
    assert listed(joined, "symbol") == ["A", "B", "A", "C"]


@pytest.mark.parametrize("by", [None, "exchange"])
def test_no_rows(by: str | None) -> None:
    asked: dict[str, Any] = {"n": ("count", None), "v": ("vwap", "price"), "m": ("max", "price"), "l": ("last", "size")}
    joined = window_join(left([1, 2], exchange=["Q", "P"]), trades([], [], exchange=[]), 1, 1, asked, by=by)
    assert [listed(joined, name) for name in asked] == [[0, 0], [None, None], [None, None], [None, None]]
    assert len(window_join(left([], exchange=[]), trades([1], [1], exchange=["Q"]), 1, 1, asked, by=by)) == 0


def test_windows_that_reach_beyond_the_type() -> None:
    edge = 2**63 - 1
    assert rows_in([-edge, 0, edge - 1], edge - 5, 2**62, 2**62) == [2]
    assert rows_in([-edge, 0, edge - 1], -edge + 5, 2**62, 2**62) == [0]


def test_unsigned_and_narrow_columns() -> None:
    right = trades([1, 1, 1], [1, 1, 1], sequence=[2**64 - 2, 5, None], depth=[3, 200, None])
    asked: dict[str, Any] = {"a": ("max", "sequence"), "b": ("min", "sequence"), "c": ("sum", "depth")}
    joined = window_join(left([1]), right, 0, 0, asked)
    assert [listed(joined, name) for name in asked] == [[2**64 - 2], [5], [203]]
    assert joined.column("c").dtype == "<i8"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"aggregates": {"x": ("median", "price")}}, "x asks for 'median'; the functions are count, sum"),
        ({"aggregates": {"x": ("sum", "ts_event")}}, "sum of ts_event, which is of kind time"),
        ({"aggregates": {"x": ("mean", "conditions")}}, "mean of conditions, which is of kind code"),
        ({"aggregates": {"x": ("max", "side")}}, "max of side, which is of kind char"),
        ({"aggregates": {"x": ("vwap", "size")}}, "vwap of size, which is of kind size"),
        ({"aggregates": {"x": ("sum", None)}}, "only count can do without"),
        ({"aggregates": {"x": ("sum", "nope")}}, "no column 'nope'"),
        ({"aggregates": {"x": "count"}}, r"asked for as \(function, column\)"),
        ({"aggregates": {"flags": ("count", None)}}, "'flags', which there is already"),
        ({"before": -3, "after": 2}, "from -3ns before to 2ns after a row ends before it begins"),
        ({"before": "x"}, "before: 'x' is no length of time"),
    ],
)
def test_what_is_refused(named: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"before": 1, "after": 1, "aggregates": {"n": ("count", None)}}
    with pytest.raises(tv.InvalidInputError, match=told):
        window_join(left([1]), trades([1], [1]), **(given | named))


def test_a_price_without_sizes_has_no_vwap() -> None:
    right = made("trades", ts_event=[1], price=[1], extensions=[Column("ask_px_07", Kind.PRICE)], ask_px_07=[1])
    for name in ("price", "ask_px_07"):
        with pytest.raises(tv.InvalidInputError, match="needs its sizes in a column"):
            window_join(left([1]), right, 0, 0, {"v": ("vwap", name)})
