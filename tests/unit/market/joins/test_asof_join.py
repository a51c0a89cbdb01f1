"""The as-of join: which right row each left row gets, and what the result is made of."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from joins_made import listed, made

import tickvault as tv
from tickvault.market.joins import asof_join
from tickvault.market.schema import PRICE_NULL, Column, Kind
from tickvault.market.table import Table


def left(times: list[Any], **more: Any) -> Table:
    return made("trades", ts_event=times, price=list(range(100, 100 + len(times))), **more)


def right(times: list[Any], values: list[Any] | None = None, **more: Any) -> Table:
    return made("bbo", ts_event=times, bid_px_00=values or list(range(len(times))), **more)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({}, [None, 1, 2, 2, 3]),
        ({"allow_exact": False}, [None, None, 1, 2, 2]),
        ({"direction": "forward"}, [0, 0, 2, 3, 3]),
        ({"direction": "forward", "allow_exact": False}, [0, 2, 3, 3, None]),
        ({"direction": "nearest"}, [0, 1, 2, 3, 3]),
        ({"direction": "nearest", "allow_exact": False}, [0, 2, 1, 3, 2]),
        ({"tolerance": 1}, [None, 1, 2, None, 3]),
        ({"tolerance": 2}, [None, 1, 2, 2, 3]),
        ({"direction": "forward", "tolerance": 5}, [0, 0, 2, 3, 3]),
        ({"direction": "forward", "tolerance": 4}, [None, 0, 2, 3, 3]),
    ],
)
def test_each_direction(named: dict[str, Any], found: list[int | None]) -> None:
    """Right rows 0 and 1 have one time: backward takes the last of them, forward the first."""
    joined = asof_join(left([5, 10, 13, 15, 16]), right([10, 10, 13, 16]), **named)
    assert listed(joined, "bid_px_00") == found


def test_nearest_takes_the_one_before_where_both_are_as_near() -> None:
    assert listed(asof_join(left([15]), right([10, 20]), direction="nearest"), "bid_px_00") == [0]


def test_the_left_rows_stay_as_they_are() -> None:
    given = made("trades", symbol="ES", ts_event=[7, 5], price=[1, None], conditions=["a", None], size_scale=100)
    joined = asof_join(given, right([6]))
    assert joined.columns == ("ts_event", "price", "conditions", "ts_event_right", "bid_px_00")
    assert (joined.schema.name, joined.venue, joined.symbol) == ("trades", "X", "ES")
    assert listed(joined, "ts_event") == [7, 5]
    assert listed(joined, "price") == [1, None]
    assert listed(joined, "conditions") == ["a", None]
    assert listed(joined, "ts_event_right") == [6, None]
    assert listed(joined, "bid_px_00") == [0, None]
    assert joined.column("bid_px_00").kind is Kind.PRICE


def test_rows_out_of_order_are_joined_by_their_times() -> None:
    """Right rows are sorted for the walk; of equal times the last in the table's order still wins."""
    joined = asof_join(left([16, 5, 13, 10]), right([13, 10, 16, 10], [0, 1, 2, 3]))
    assert listed(joined, "bid_px_00") == [2, None, 0, 3]
    assert listed(joined, "ts_event") == [16, 5, 13, 10]


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_null_times_match_nothing(direction: Any) -> None:
    joined = asof_join(left([None, 10, None]), right([None, 11, None, 9], [0, 1, 2, 3]), direction=direction)
    want = {"backward": 3, "forward": 1, "nearest": 3}[direction]
    assert listed(joined, "bid_px_00") == [None, want, None]


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
@pytest.mark.parametrize("by", [None, "exchange"])
def test_no_rows(direction: Any, by: str | None) -> None:
    some = left([1, 2], exchange=["Q", "P"])
    none = right([], exchange=[])
    assert listed(asof_join(some, none, by=by, direction=direction), "bid_px_00") == [None, None]
    joined = asof_join(none, some, by=by, direction=direction)
    assert len(joined) == 0
    assert "price" not in none
    assert joined["price_right"].tolist() == []
    assert listed(
        asof_join(some, right([None, None], exchange=["Q", "P"]), by=by, direction=direction), "bid_px_00"
    ) == [
        None,
        None,
    ]


def test_times_at_the_ends_of_the_type() -> None:
    low, high = -(2**63) + 1, 2**63 - 1
    joined = asof_join(left([low, high]), right([low, high]), allow_exact=False)
    assert listed(joined, "bid_px_00") == [None, 0]
    joined = asof_join(left([low, high]), right([low, high]), allow_exact=False, direction="forward")
    assert listed(joined, "bid_px_00") == [1, None]
    far = asof_join(left([high]), right([low]), tolerance=2**62)
    assert listed(far, "bid_px_00") == [None], "what lies between them does not fit 63 bits"


def test_strings_are_joined_by_their_texts() -> None:
    one = left([10, 10, 10, 10, 10], exchange=["Q", "P", "Z", None, "N"])
    other = right([1, 2, 3, 4], exchange=["P", "N", "Q", None])
    joined = asof_join(one, other, by="exchange")
    assert one["exchange"].tolist() != other["exchange"].tolist()
    assert listed(joined, "bid_px_00") == [2, 0, None, None, 1]
    assert "exchange_right" not in joined, "what is equal is there once"


def test_a_text_that_stands_twice_in_a_dictionary_is_one() -> None:
    other = right([1, 2], exchange=["P", "Q"])
    other.to_columns().dictionaries["exchange"][:] = ["Q", "Q"]
    joined = asof_join(left([10], exchange=["Q"]), other, by="exchange")
    assert listed(joined, "bid_px_00") == [1]


@pytest.mark.parametrize(
    ("kinds", "values"),
    [
        (("<u4", "<u8"), [3, 7, None]),
        (("<u4", "<i8"), [3, 7, None]),
        (("<u8", "<u8"), [2**64 - 2, 2**63, None]),
        (("<i8", "<i8"), [-(2**63), 2**62, None]),
        (("|u1", "<i4"), [0, 254, None]),
    ],
)
def test_integers_are_joined_by_value(kinds: tuple[str, str], values: list[int | None]) -> None:
    one, other = (Column("key", Kind.INT if "i" in kind else Kind.ID, width=kind) for kind in kinds)
    mine = left([10] * 3, extensions=[one], key=values)
    joined = asof_join(mine, right([1, 2, 3], extensions=[other], key=values[::-1]), by="key")
    assert listed(joined, "bid_px_00") == [2, 1, None], "a null is equal to nothing, not even to a null"


def test_a_huge_number_is_no_negative_one() -> None:
    one, other = Column("key", Kind.ID), Column("key", Kind.INT)
    joined = asof_join(
        left([10], extensions=[one], key=[2**64 - 2]), right([1], extensions=[other], key=[-2]), by="key"
    )
    assert listed(joined, "bid_px_00") == [None]


def test_several_columns_together() -> None:
    one = left([10] * 4, exchange=["Q", "Q", "P", "P"], sequence=[1, 2, 1, 3])
    other = right([1, 2, 3], exchange=["P", "Q", "Q"], sequence=[1, 2, 1])
    joined = asof_join(one, other, by=("exchange", "sequence"))
    assert listed(joined, "bid_px_00") == [2, 1, 0, None]


def test_many_values_of_several_columns() -> None:
    """The product of both counts is beyond any table; groups are numbered anew."""
    ids = [10**6 * value for value in range(300)]
    one = left([10] * 300, sequence=ids, trade_id=ids[::-1])
    other = right([1] * 300, sequence=ids, extensions=[Column("trade_id", Kind.ID)], trade_id=ids[::-1])
    assert listed(asof_join(one, other, by=("sequence", "trade_id")), "bid_px_00") == list(range(300))
    assert listed(asof_join(one, other, by=("trade_id", "sequence")), "bid_px_00") == list(range(300))


def test_series_are_joined_by_their_symbols() -> None:
    assert listed(asof_join(left([5], symbol="ES"), right([1], symbol="ES")), "bid_px_00") == [0]
    with pytest.raises(tv.InvalidInputError, match=r"of ES and the right one of NQ; .* by=None"):
        asof_join(left([5], symbol="ES"), right([1], symbol="NQ"))
    assert listed(asof_join(left([5], symbol="ES"), right([1], symbol="NQ"), by=None), "bid_px_00") == [0]
    assert listed(asof_join(left([5]), right([1], symbol="NQ")), "bid_px_00") == [0], "rows of no name are of any"


def test_a_table_of_several_symbols_and_one_of_one() -> None:
    many = left([5, 6, 7], symbols=["ES", "NQ", "ES"])
    quotes = right([1, 2, 6], symbols=["NQ", "ES", "ES"])
    assert listed(asof_join(many, quotes), "bid_px_00") == [1, 0, 2]
    assert listed(asof_join(many, right([1, 6], symbol="ES")), "bid_px_00") == [0, None, 1]
    assert listed(asof_join(left([5, 6], symbol="NQ"), quotes), "bid_px_00") == [0, 0]
    with pytest.raises(tv.InvalidInputError, match=r"name it with Table\.of"):
        asof_join(many, right([1]))


def test_names_that_the_left_schema_has_get_the_suffix() -> None:
    """`flags` of the quotes must not be taken for flags of the trades, though those have none."""
    joined = asof_join(left([5]), right([1], flags=[8], size=[7]), suffix="_q")
    assert joined.columns[-4:] == ("ts_event_q", "size_q", "flags_q", "bid_px_00")
    again = asof_join(joined, right([2], [9]), suffix="_2")
    assert again.columns[-2:] == ("ts_event_2", "bid_px_00_2")
    assert (listed(again, "bid_px_00"), listed(again, "bid_px_00_2")) == ([0], [9])
    with pytest.raises(tv.InvalidInputError, match="'ts_event_q', which there is already"):
        asof_join(joined, right([2]), suffix="_q")
    with pytest.raises(tv.InvalidInputError, match="'ts_event', which there is already"):
        asof_join(left([5]), right([1]), suffix="")


def test_only_the_columns_asked_for() -> None:
    other = right([1], bid_sz_00=[3], exchange=["Q"])
    joined = asof_join(left([5]), other, columns=["exchange", "bid_sz_00"])
    assert joined.columns == ("ts_event", "price", "exchange_right", "bid_sz_00")
    assert listed(joined, "exchange_right") == ["Q"]
    assert asof_join(left([5]), other, columns=["ask_px_00"])["ask_px_00"].tolist() == [PRICE_NULL]
    with pytest.raises(tv.InvalidInputError, match="no column 'nope'"):
        asof_join(left([5]), other, columns=["nope"])
    with pytest.raises(tv.InvalidInputError, match="list of names"):
        asof_join(left([5]), other, columns="exchange")


def test_sizes_come_in_the_finer_scale() -> None:
    one = made("trades", ts_event=[5, 4], size=[3, None], size_scale=10)
    other = made("bbo", ts_event=[4], bid_sz_00=[7], size_scale=1000)
    joined = asof_join(one, other)
    assert joined.size_scale == 1000
    assert (listed(joined, "size"), listed(joined, "bid_sz_00")) == ([300, None], [7, 7])
    back = asof_join(other, one)
    assert (listed(back, "bid_sz_00"), listed(back, "size_right")) == ([7], [None])
    assert listed(asof_join(other, one, direction="forward"), "size_right") == [None]
    assert asof_join(one, other, columns=[]).size_scale == 10, "nothing came that would need it"
    with pytest.raises(tv.InvalidInputError, match="does not fit a scale 100 times as fine"):
        asof_join(made("trades", ts_event=[5], size=[2**60], size_scale=10), other)


def test_flags_without_a_match_are_zero() -> None:
    joined = asof_join(left([5]), right([9], flags=[255]))
    assert joined["flags_right"].tolist() == [0]
    other = right([1, 9], flags=[255, 7], side=["A", "B"], sequence=[4, 5])
    joined = asof_join(left([0, 2]), other)
    assert joined["flags_right"].tolist() == [0, 255]
    assert (listed(joined, "side_right"), listed(joined, "sequence_right")) == ([None, 65], [None, 4])


def test_another_time_column() -> None:
    one = made("trades", ts_event=[10, 20], ts_recv=[30, 25])
    other = made("bbo", ts_event=[5, 15], ts_recv=[26, 16], bid_px_00=[0, 1])
    assert listed(asof_join(one, other, on="ts_event"), "bid_px_00") == [0, 1]
    assert listed(asof_join(one, other), "bid_px_00") == [0, 1], "received at 30: the quote of 26; at 25: that of 16"
    with pytest.raises(tv.InvalidInputError, match="right table has no column 'ts_recv'"):
        asof_join(one, right([1]), on="ts_recv")
    with pytest.raises(tv.InvalidInputError, match="must be a column of times, and is id"):
        asof_join(made("trades", ts_event=[1], sequence=[1]), right([1]), on="sequence")


def test_what_is_adjusted_differently_is_not_put_together() -> None:
    one, other = left([5]), right([1])
    other.adjustment, other.adjusted_on = "split", "2024-01-02"
    with pytest.raises(tv.InvalidInputError, match="'raw' and the right one 'split as of 2024-01-02'"):
        asof_join(one, other)
    assert len(asof_join(one, other, columns=["ts_event"])) == 1
    one.adjustment, one.adjusted_on = "split", "2024-01-02"
    joined = asof_join(one, other)
    assert (joined.adjustment, joined.adjusted_on) == ("split", "2024-01-02")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"direction": "sideways"}, "backward, forward or nearest"),
        ({"tolerance": "soon"}, "is no length of time"),
        ({"tolerance": -1}, "must not be negative"),
        ({"tolerance": "-5s"}, "must not be negative"),
        ({"by": "exchange"}, "left table has no column 'exchange' to join by"),
        ({"by": "price"}, "right table has no column 'price' to join by"),
        ({"on": "ts_commit"}, "left table has no column 'ts_commit'"),
    ],
)
def test_what_is_refused(named: dict[str, Any], told: str) -> None:
    with pytest.raises(tv.InvalidInputError, match=told):
        asof_join(left([5]), made("bbo", ts_event=[1], bid_px_00=[1]), **named)


def test_strings_and_numbers_are_never_equal() -> None:
    one = left([5], exchange=["Q"])
    mixed = made("mbp-1", ts_event=[1], extensions=[Column("exchange", Kind.ID)], exchange=[1])
    with pytest.raises(tv.InvalidInputError, match="holds strings in the left table and numbers"):
        asof_join(one, mixed, by="exchange")


@pytest.mark.parametrize("tolerance", ["2us", 2_000, datetime.timedelta(microseconds=2), np.timedelta64(2, "us")])
def test_a_tolerance_is_written_in_many_ways(tolerance: Any) -> None:
    joined = asof_join(left([12_000, 12_001]), right([10_000]), tolerance=tolerance)
    assert listed(joined, "bid_px_00") == [0, None]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are cut at left rows; their right rows are found before it is known that those are in order."""
    from tickvault.market.joins import spread

    rng = np.random.default_rng(7)
    one = left(np.sort(rng.integers(0, 3_000, 500)).tolist())
    other = right(np.sort(rng.integers(0, 3_000, 4_000)).tolist())
    mixed = right(rng.permutation(other["ts_event"]).tolist())
    want = [listed(asof_join(one, each), "bid_px_00") for each in (other, mixed)]
    monkeypatch.setattr(spread, "_WORTH", 1)
    for threads in (2, 3, 8):
        monkeypatch.setattr(spread, "threads_for", {None: threads}.__getitem__)
        assert [listed(asof_join(one, each), "bid_px_00") for each in (other, mixed)] == want
    for place in range(0, 4_000, 97):
        times = other["ts_event"].copy()
        times[place] = 5_000
        one_wrong = right(times.tolist())
        found = asof_join(one, one_wrong)["ts_event_right"]
        assert (found[found > 0] <= one["ts_event"][found > 0]).all(), place
