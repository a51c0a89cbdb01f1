"""Books over time: which moments are shown, and what of them."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from book_rows import SECOND, orders, px, table

from tickvault.errors import InvalidInputError
from tickvault.market.book import OrderBook, book_at, book_levels
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, schema_of
from tickvault.market.table import Table

ROWS = orders(
    "A B 1 100 5 128 10",
    "A A 2 101 7 128 11",
    "T B 9 101 7 0 12",
    "C A 2 101 7 0 12",
    "A A 3 102 1 128 12",
    "A B 4 100 2 128 15",
)
ASKS = [PRICE_NULL, px(101), px(102), px(102)]


def test_a_row_for_each_event() -> None:
    levels = book_levels(ROWS, 2)
    assert (levels.schema.name, levels.symbol, len(levels)) == ("mbp-10", "ES", 4)
    assert levels["ts_event"].tolist() == [10 * SECOND, 11 * SECOND, 12 * SECOND, 15 * SECOND]
    assert levels["ask_px_00"].tolist() == ASKS
    assert levels["bid_sz_00"].tolist() == [5, 5, 5, 7]
    assert levels["bid_ct_00"].tolist() == [1, 1, 1, 2]
    assert levels["ask_sz_00"].tolist() == [SIZE_NULL, 7, 1, 1]
    assert levels["bid_px_01"].tolist() == [PRICE_NULL] * 4
    assert "bid_px_02" not in levels
    assert "ts_recv" not in levels
    frame = levels.to_polars()
    assert frame["ask_px_00"].to_list() == [None, 101.0, 102.0, 102.0]


def test_depths() -> None:
    assert book_levels(ROWS, 1).schema.name == "mbp-1"
    assert "ask_ct_09" in book_levels(ROWS)
    deep = book_levels(ROWS, 12)
    assert deep["bid_px_11"].tolist() == [PRICE_NULL] * 4
    for depth in (0, 1_001, True, "3"):
        with pytest.raises(InvalidInputError, match="depth must be 1 to 1000, as many levels as mbo can give"):
            book_levels(ROWS, depth)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("every", "times", "asks"),
    [
        ("1s", [10, 11, 12, 13, 14, 15], [*ASKS[:3], px(102), px(102), px(102)]),
        ("2s", [10, 12, 14, 16], [PRICE_NULL, *ASKS[2:], px(102)]),
        (datetime.timedelta(seconds=4), [12, 16], ASKS[2:]),
        ("1m", [60], ASKS[3:]),
    ],
)
def test_regular_moments(every: Any, times: list[int], asks: list[int]) -> None:
    levels = book_levels(ROWS, 1, every=every)
    assert levels["ts_recv"].tolist() == [time * SECOND for time in times]
    assert levels["ask_px_00"].tolist() == asks
    assert levels["ts_event"][-1] == 15 * SECOND


def test_every_few_events() -> None:
    assert book_levels(ROWS, 1, every=2)["ts_event"].tolist() == [11 * SECOND, 15 * SECOND]
    assert len(book_levels(ROWS, 1, every=5)) == 0


def test_given_moments_in_their_order() -> None:
    moments = ["1970-01-01T00:00:13", 9 * SECOND, 11 * SECOND]
    levels = book_levels(ROWS, 1, at=moments)
    assert levels["ts_recv"].tolist() == [13 * SECOND, 9 * SECOND, 11 * SECOND]
    assert levels["ask_px_00"].tolist() == [px(102), PRICE_NULL, px(101)]
    assert levels["ts_event"].tolist() == [12 * SECOND, TIME_NULL, 11 * SECOND]
    assert levels["flags"].tolist() == [128, 0, 128]
    stamps = np.array([11], "datetime64[s]")
    assert book_levels(ROWS, 1, at=stamps)["ask_px_00"].tolist() == [px(101)]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"every": "fast"}, "every must be a number of events, or a time such as '100ms'"),
        ({"every": "0s"}, "every must be"),
        ({"every": 0}, "every must be 1 event or more"),
        ({"every": True}, "every must be"),
        ({"every": "1ns"}, "5,000,000,001 rows, and 100,000,000 are the most"),
        ({"every": 1, "at": [1]}, "give every or at, not both"),
        ({"at": ["noon"]}, "at: 'noon' is no time"),
    ],
)
def test_moments_that_are_none(named: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        book_levels(ROWS, 1, **named)


def test_the_middle_of_an_event_is_never_shown() -> None:
    """At 12 s an order is cancelled, and another comes in the same event: never is there no ask."""
    cut = ROWS.slice(0, 4)
    assert book_at(cut, 12 * SECOND).best.ask_px == px(101)
    assert book_levels(cut, 1)["ask_px_00"].tolist() == ASKS[:2]
    assert OrderBook().apply(cut).best().ask_px == PRICE_NULL, "the book itself stands where it was applied to"


@pytest.mark.parametrize(
    ("moment", "ask", "ts"),
    [
        (10 * SECOND - 1, PRICE_NULL, TIME_NULL),
        ("1970-01-01T00:00:11Z", px(101), 11 * SECOND),
        (12 * SECOND - 1, px(101), 11 * SECOND),
        (12 * SECOND, px(102), 12 * SECOND),
        (99 * SECOND, px(102), 15 * SECOND),
    ],
)
def test_the_book_at_a_moment(moment: Any, ask: int, ts: int) -> None:
    depth = book_at(ROWS, moment, depth=1)
    assert (depth.best.ask_px, depth.ts, depth.is_whole) == (ask, ts, True)


def test_nothing_is_known_before_what_stands_in_front_of_it() -> None:
    """Where a clock goes back, the feed's order holds: the third row comes after the second, whatever it is stamped."""
    table_ = orders("A B 1 100 1 128 10", "A B 2 101 1 128 20", "A B 3 102 1 128 15", "A B 4 103 1 128 21")
    assert book_at(table_, 15 * SECOND).best.bid_px == px(100)
    assert book_at(table_, 20 * SECOND).best.bid_px == px(102)


def test_a_table_without_flags_is_of_events_of_one_row() -> None:
    arrays = {name: array for name, array in ROWS.to_columns().arrays.items() if name != "flags"}
    levels = book_levels(Table.of(Columns(schema_of("mbo"), arrays), "X", "ES"), 1)
    assert levels["ask_px_00"].tolist() == [PRICE_NULL, px(101), px(101), PRICE_NULL, px(102), px(102)]


def test_rows_that_state_the_book_are_sampled_as_they_are() -> None:
    names = ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00", "flags", "ts_event", "ts_recv", "sequence")
    rows = [
        (px(100), 5, px(101), 7, 128, 1, 2, 70),
        (px(100), 5, px(102), 7, 0, 3, 4, 71),
        (px(100), 4, PRICE_NULL, SIZE_NULL, 128, 5, 6, 72),
    ]
    quotes = table("bbo", rows, names, size_scale=100)
    levels = book_levels(quotes)
    assert (levels.schema.name, levels.size_scale) == ("mbp-1", 100)
    assert levels["ask_px_00"].tolist() == [px(101), PRICE_NULL]
    assert levels["bid_ct_00"].tolist() == [2**32 - 1] * 2
    sampled = book_levels(quotes, every="1s")
    assert sampled["ts_recv"].tolist() == [second * SECOND for second in (2, 3, 4, 5, 6)]
    assert sampled["sequence"].tolist() == [70, 70, 70, 70, 72]
    assert book_levels(quotes, at=[0])["bid_px_00"].tolist() == [PRICE_NULL]
    assert book_at(quotes, 4 * SECOND).best == (px(100), 5, px(101), 7)
    with pytest.raises(InvalidInputError, match="depth must be 1 to 1, as many levels as bbo can give"):
        book_levels(quotes, 2)


@pytest.mark.parametrize("schema", ["mbo", "mbp-delta", "mbp-10", "bbo"])
def test_no_rows(schema: str) -> None:
    empty = Table.of(Columns(schema_of(schema), {"ts_event": np.empty(0, np.int64)}), "X", "ES")
    assert len(book_levels(empty)) == 0
    assert len(book_levels(empty, every="1s")) == 0
    assert book_levels(empty, at=[5])["bid_px_00"].tolist() == [PRICE_NULL]
    assert len(book_at(empty, 5).bids) == 0
