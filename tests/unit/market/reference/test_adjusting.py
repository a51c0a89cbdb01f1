"""Adjustment: into the shares of a day, exactly, and once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.columns import Columns
from tickvault.market.reference import Action, adjust
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns

ONE = 10**9


def trades(*rows: tuple[str, int, int], symbol: str = "A", venue: str = "XNAS") -> Table:
    arrays = {
        "ts_event": np.array([to_ns(time) for time, _, _ in rows], np.int64),
        "price": np.array([price for _, price, _ in rows], np.int64),
        "size": np.array([size for _, _, size in rows], np.int64),
    }
    return Table.of(Columns(schema_of("trades"), arrays), venue, symbol)


def bars(*rows: tuple[str, int]) -> Table:
    begins = np.array([to_ns(f"{day}T14:30") for day, _ in rows], np.int64)
    closes = np.array([close for _, close in rows], np.int64)
    arrays = {"ts_event": begins, "ts_recv": begins + 6 * 3_600 * ONE, "close": closes, "volume": closes // ONE}
    return Table.of(Columns(schema_of("ohlcv-1d"), arrays), "XNAS", "A")


def test_rows_before_a_split_are_in_new_shares() -> None:
    """The ex-date begins at New York's midnight: four in the morning UTC, in summer."""
    table = trades(("2014-06-09T03:59:59", 645_570_000_000, 100), ("2014-06-09T04:00", 93_700_000_000, 10))
    made = adjust(table, [Action("A", "split", "2014-06-09", numerator=7)], on="2014-06-09")
    assert made["price"].tolist() == [92_224_285_714, 93_700_000_000], "645.57 / 7, to the nearest 1e-9"
    assert made["size"].tolist() == [700, 10]
    assert (made.adjustment, made.adjusted_on) == ("split", "2014-06-09")
    assert table["price"][0] == 645_570_000_000, "the rows that were read stay"


def test_a_split_after_the_day_changes_nothing_before_it() -> None:
    table = trades(("2014-06-06T15:00", 645 * ONE, 100))
    assert adjust(table, [Action("A", "split", "2014-06-09", numerator=7)], on="2014-06-08")["price"][0] == 645 * ONE


def test_rows_after_the_day_are_in_its_shares_too() -> None:
    table = trades(("2014-06-06T15:00", 700 * ONE, 100), ("2014-06-09T15:00", 100 * ONE, 700))
    made = adjust(table, [Action("A", "split", "2014-06-09", numerator=7)], on="2014-06-06")
    assert made["price"].tolist() == [700 * ONE, 700 * ONE]
    assert made["size"].tolist() == [100, 100]


def test_it_is_rounded_once_half_to_even() -> None:
    """Two splits of 2 for 1: 6 and 10 become 1.5 and 2.5, which are both 2; of 5, rounding twice would make 1 of 2."""
    table = trades(*(("2020-01-02T15:00", price, 1) for price in (6, 10, 5, 7, -6, PRICE_NULL)))
    actions = [Action("A", "split", day, numerator=2) for day in ("2020-02-03", "2020-03-02")]
    made = adjust(table, actions, on="2020-04-01")
    assert made["price"].tolist() == [2, 2, 1, 2, -2, PRICE_NULL]


def test_a_reverse_split_rounds_sizes() -> None:
    table = trades(("2009-06-30T15:00", ONE, 100), ("2009-06-30T15:00", ONE, 30), ("2009-06-30T15:00", ONE, SIZE_NULL))
    made = adjust(table, [Action("A", "split", "2009-07-01", numerator=1, denominator=20)], on="2009-07-01")
    assert made["price"].tolist() == [20 * ONE] * 3
    assert made["size"].tolist() == [5, 2, SIZE_NULL], "1.5 is rounded to 2"


def test_dividends_are_in_total_only() -> None:
    """The published example: 0.08 on a close of 24.96 makes a factor of 0.9968 (0.996794871...)."""
    table = trades(("2003-02-18T20:00", 24_960_000_000, 100))
    paid = Action("A", "dividend", "2003-02-19", amount=80_000_000, close=24_960_000_000)
    assert adjust(table, [paid], on="2003-03-01")["price"][0] == 24_960_000_000
    made = adjust(table, [paid], kind="total", on="2003-03-01")
    assert (made["price"][0], made["size"][0], made.adjustment) == (24_880_000_000, 100, "total")


def test_dividends_of_one_day_are_added() -> None:
    table = trades(("2020-01-01T15:00", 100 * ONE, 1))
    paid = [
        Action("A", "dividend", "2020-01-02", amount=each * ONE, close=100 * ONE, event=str(each)) for each in (1, 2)
    ]
    assert adjust(table, paid, kind="total", on="2020-01-02")["price"][0] == 97 * ONE


def test_daily_bars_tell_the_close_before() -> None:
    table = bars(("2020-01-02", 50 * ONE), ("2020-01-03", 40 * ONE), ("2020-01-06", 39 * ONE))
    paid = Action("A", "dividend", "2020-01-06", amount=ONE)
    assert adjust(table, [paid], kind="total", on="2020-01-06")["close"].tolist() == [
        48_750_000_000,
        39 * ONE,
        39 * ONE,
    ]
    early = Action("A", "dividend", "2019-01-02", amount=ONE)
    assert adjust(table, [early], kind="total", on="2020-01-06")["close"][0] == 50 * ONE, (
        "before all rows: none needs it"
    )
    ticks = trades(("2020-01-03T15:00", 40 * ONE, 1))
    with pytest.raises(tv.InvalidInputError, match="does not tell the close of the day before; give closes="):
        adjust(ticks, [paid], kind="total", on="2020-01-06")
    given = adjust(ticks, [paid], kind="total", on="2020-01-06", closes=lambda action: 40 * ONE)
    assert given["price"][0] == 39 * ONE


def test_a_bar_that_ends_with_the_midnight_of_an_ex_date_is_before_it() -> None:
    arrays = {
        "ts_event": np.array([to_ns("2014-06-08T04:00")], np.int64),
        "ts_recv": np.array([to_ns("2014-06-09T04:00")], np.int64),
        "close": np.array([700 * ONE], np.int64),
    }
    table = Table.of(Columns(schema_of("ohlcv-1d"), arrays), "USA", "A")
    made = adjust(table, [Action("A", "split", "2014-06-09", numerator=7)], on="2014-06-09")
    assert made["close"][0] == 100 * ONE


def test_several_symbols_have_their_own_actions() -> None:
    arrays = {
        "ts_event": np.full(3, to_ns("2020-01-02T15:00"), np.int64),
        "price": np.array([8 * ONE, 9 * ONE, 8 * ONE], np.int64),
        "symbol": np.array([0, 1, 0], np.int32),
    }
    column = Column("symbol", Kind.CODE)
    table = Table.of(Columns(schema_of("trades"), arrays, {"symbol": ["A", "B"]}, (column,)), "XNAS")
    actions = [Action("A", "split", "2020-02-03", numerator=2), Action("B", "split", "2020-02-03", numerator=3)]
    made = adjust(table, actions, on="2020-03-02")
    assert made["price"].tolist() == [4 * ONE, 3 * ONE, 4 * ONE]
    assert made.strings("symbol") == ["A", "B"]


def test_odd_factors_are_exact() -> None:
    """A product of forty dividends has a denominator of hundreds of digits; floats would be off by now."""
    rows = [("2000-01-03T15:00", 123_456_789_012_345, 1)]
    actions = [
        Action("A", "dividend", f"20{year:02d}-06-01", amount=333_333_333, close=97_777_777_777 + year)
        for year in range(1, 41)
    ]
    from fractions import Fraction

    factor = Fraction(1)
    for each in actions:
        factor *= 1 - Fraction(each.amount, each.close)
    made = adjust(trades(*rows), actions, kind="total", on="2041-01-01")
    assert made["price"][0] == round(123_456_789_012_345 * factor)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"actions": [Action("B", "split", "2020-02-03", numerator=2)]}, "actions of B, and the rows are of A"),
        ({"kind": "both"}, "kind must be 'split' or 'total'"),
        ({"on": "soon"}, "on: 'soon' is no day"),
        ({"tz": "Mars"}, "tz='Mars' is no zone"),
        ({"actions": [Action("A", "split", "2020-02-03", numerator=0)]}, "both numbers must be above 0"),
        (
            {"actions": [Action("A", "dividend", "2020-02-03", amount=5, close=5)], "kind": "total"},
            "is not from 0 to less than the close",
        ),
        ({"actions": [Action("A", "split", "2020-02-03", denominator=2**29)]}, "does not fit 63 bits adjusted"),
        ({"actions": [Action("A", "split", "2020-02-03", denominator=2**40)]}, "does not fit 63 bits adjusted"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    table = trades(("2020-01-02T15:00", 800 * 10**12, 100))
    named: dict[str, Any] = {"actions": [Action("A", "split", "2020-02-03", numerator=2)], "on": "2020-03-02"} | change
    with pytest.raises(tv.InvalidInputError, match=told):
        adjust(table, named.pop("actions"), **named)


def test_adjusting_twice_is_refused() -> None:
    table = trades(("2020-01-02T15:00", 8 * ONE, 100))
    made = adjust(table, [], on="2020-03-02")
    for again in (made, made.slice(0, 1)):
        with pytest.raises(tv.InvalidInputError, match=r"it is adjusted already \(split, on 2020-03-02\)"):
            adjust(again, [], on="2020-03-02")


def test_an_unknown_venue_asks_for_the_zone() -> None:
    table = trades(("2020-01-02T15:00", 8 * ONE, 100), venue="HOUSE")
    split = [Action("A", "split", "2020-02-03", numerator=2)]
    with pytest.raises(tv.InvalidInputError, match="the calendar of venue 'HOUSE' is not known"):
        adjust(table, split, on="2020-03-02")
    assert adjust(table, split, on="2020-03-02", tz="America/New_York")["price"][0] == 4 * ONE


def test_definitions_are_not_adjusted() -> None:
    table = Table.of(Columns(schema_of("statistics"), {"ts_event": np.zeros(1, np.int64)}), "XNAS", "A")
    with pytest.raises(tv.InvalidInputError, match="statistics has no prices of shares"):
        adjust(table, [], on="2020-03-02")
