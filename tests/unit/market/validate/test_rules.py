"""Each rule flags what it says, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tickvault.market.columns import Array, Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns
from tickvault.market.validate import RULES, Limits, validate

ONE = 10**9
NOON = to_ns("2024-01-10T17:00")
EVENT, NULL = "ts_event", PRICE_NULL


def made(schema: str, venue: str = "XNAS", words: dict[str, list[str]] | None = None, **values: list[int]) -> Table:
    known = schema_of(schema)
    rows = len(next(iter(values.values())))
    values = {EVENT: [NOON + row * ONE for row in range(rows)], **values}
    arrays: dict[str, Array] = {}
    for name, numbers in values.items():
        column = known.column(name)
        assert column is not None, name
        arrays[name] = np.array(numbers, column.dtype)
    return Table.of(Columns(known, arrays, words or {}), venue, "X")


def rows(table: Table, rule: str, **named: Any) -> list[int]:
    return validate(table, [rule], **named)[rule].rows.tolist()


def quotes(bids: list[int], asks: list[int], **values: list[int]) -> Table:
    return made("mbp-1", bid_px_00=bids, ask_px_00=asks, **values)


def test_crossed_quotes_are_flagged() -> None:
    table = quotes([10, 11, 12, NULL, 13], [11, 11, 11, 5, NULL])
    result = validate(table, ["crossed"])["crossed"]
    assert result.rows.tolist() == [1, 2]
    assert result.note.startswith("1 of them locked (bid = ask)")


def test_quotes_may_cross_in_auctions_and_outside_hours() -> None:
    early = to_ns("2024-01-10T13:00")
    table = quotes([12, 12, 12], [11, 11, 11], ts_event=[early, NOON, NOON + ONE])
    assert rows(table, "crossed") == [1, 2]
    assert rows(table, "crossed", limits=Limits(auctions=((NOON, NOON + 1),))) == [2]
    assert rows(table, "crossed", calendar=False) == [0, 1, 2]


def test_a_book_in_the_midst_of_an_event_may_cross() -> None:
    assert rows(quotes([12, 12], [11, 11], flags=[0, 128]), "crossed") == [1]
    assert rows(quotes([12, 12], [11, 11], flags=[0, 0]), "crossed") == [0, 1], "a source that marks no row"


def test_sides_of_one_exchange_are_carried_and_not_those_of_another() -> None:
    """Exchange N bids 12 when P asks 11: that is no fault of either. Then N asks 11 itself."""
    table = made(
        "bbo",
        words={"exchange": ["N", "P"]},
        exchange=[0, 1, 0, 0],
        bid_px_00=[12, NULL, NULL, 10],
        ask_px_00=[NULL, 11, 11, NULL],
    )
    assert rows(table, "crossed") == [2]


def test_a_quote_told_by_halves_is_looked_at_when_it_is_whole() -> None:
    """Bid and ask move up together, in two rows of one time: between them the bid is at the old ask."""
    table = made(
        "bbo",
        words={"exchange": ["N"]},
        ts_event=[NOON, NOON, NOON + ONE, NOON + ONE],
        exchange=[0, 0, 0, 0],
        bid_px_00=[10, NULL, 11, NULL],
        ask_px_00=[NULL, 11, NULL, 12],
    )
    assert rows(table, "crossed") == []


def test_prices() -> None:
    table = made("trades", price=[10, 0, -5, NULL, 7], size=[1, 1, 1, 1, 1])
    assert rows(table, "price_not_positive") == [1, 2]
    assert rows(table, "price_null") == [3]
    limits = Limits(tick_size=5, low_price=-2, high_price=8)
    assert rows(table, "price_off_tick", limits=limits) == [4]
    assert rows(table, "price_beyond_limits", limits=limits) == [0, 2]
    told = validate(
        table, ["price_off_tick", "price_beyond_limits", "price_not_positive"], limits=Limits(negative_prices=True)
    )
    assert [result.checked for result in told] == [False, False, False]
    assert told["price_off_tick"].note == "no tick_size is given"


def test_what_clears_a_book_needs_no_price() -> None:
    orders = made("mbo", action=[ord("R"), ord("A")], price=[NULL, NULL], size=[SIZE_NULL, SIZE_NULL])
    assert rows(orders, "price_null") == rows(orders, "size_null") == [1]
    changes = made("mbp-delta", side=[ord("N"), ord("B")], price=[NULL, NULL], size=[0, 0])
    assert rows(changes, "price_null") == [1]


def test_sizes() -> None:
    table = made("trades", price=[1, 1, 1, 1], size=[0, -1, SIZE_NULL, 5])
    assert rows(table, "size_zero") == [0]
    assert rows(table, "size_negative") == [1]
    assert rows(table, "size_null") == [2]
    book = made("mbp-10", bid_px_00=[5, 5], bid_sz_00=[1, 1], ask_px_09=[9, NULL], ask_sz_09=[0, 0])
    assert rows(book, "size_zero") == [0], "a side that is absent has no size"


def test_clocks() -> None:
    delays = [0, -500_000, -2_000_000, 5_000_000, -9_000_000, -9_000_000]
    events = [NOON + row * ONE for row in range(6)]
    table = made(
        "trades",
        ts_event=events,
        ts_recv=[event + delay for event, delay in zip(events, delays, strict=True)],
        flags=[0, 0, 0, 0, 8, 32],
    )
    assert rows(table, "clock_behind") == [2], "neither within the tolerance, nor marked bad, nor of a snapshot"
    assert rows(table, "clock_behind", limits=Limits(clock_tolerance_ns=100)) == [1, 2]


@pytest.mark.parametrize(
    ("offset", "words"), [(-1_270_000_000, "1.269500 s behind"), (5 * ONE, "5.000010 s ahead"), (20_000_000, "")]
)
def test_a_constant_offset_of_the_clock(offset: int, words: str) -> None:
    events = [NOON + row * ONE for row in range(100)]
    received = [event + offset + row * 10_000 for row, event in enumerate(events)]
    result = validate(made("trades", ts_event=events, ts_recv=received), ["clock_offset"])["clock_offset"]
    assert result.count == (100 if words else 0)
    assert words in result.note


def test_times() -> None:
    table = made("trades", ts_event=[NOON, NOON - 5, NOON, TIME_NULL])
    assert rows(table, "clock_back") == [1]
    assert rows(table, "time_absent") == [3]


def test_gaps_are_told_where_the_series_has_its_channel() -> None:
    numbers = [*range(1, 200), 205, 205, 206]
    alone = made("mbo", sequence=numbers)
    assert rows(alone, "sequence_gap") == [199]
    assert validate(alone, ["sequence_gap"])["sequence_gap"].note == "5 numbers are missing"
    shared = validate(made("mbo", sequence=[1, 5, 6, 9, 9, 15]), ["sequence_gap"])["sequence_gap"]
    assert not shared.checked
    assert "the channel carries other instruments too" in shared.note


def test_numbers_that_repeat_are_no_fault_and_those_that_go_back_are() -> None:
    table = made("mbo", sequence=[5, 5, 6, 4, 7], channel_id=[0, 0, 0, 0, 0])
    assert rows(table, "sequence_reversal") == [3]
    assert rows(made("mbo", sequence=[5, 9, 6, 10], channel_id=[0, 1, 0, 1]), "sequence_reversal") == []
    assert rows(made("mbo", sequence=[9, 4, 5, 6], flags=[32, 32, 0, 0]), "sequence_reversal") == [], "snapshots"


def test_messages_that_do_not_follow() -> None:
    def changes(first: list[int], last: list[int], before: list[int] | None = None) -> Table:
        named = {} if before is None else {"previous_update_id": before}
        return made("mbp-delta", price=[1] * len(first), first_update_id=first, last_update_id=last, **named)

    assert rows(changes([1, 1, 4, 9], [3, 3, 6, 9]), "update_gap") == [3], "a spot message begins one after the last"
    assert rows(changes([1, 6, 8], [5, 7, 9], [0, 5, 6]), "update_gap") == [2], "a futures message names the last"


def test_bars() -> None:
    table = made(
        "ohlcv-1d",
        open=[5, 0, 12, 5, NULL],
        high=[10, 10, 10, 3, 10],
        low=[1, 1, 1, 4, 1],
        close=[5, 5, 5, 3, 11],
    )
    assert rows(table, "zero_open") == [1]
    assert rows(table, "open_outside") == [2, 3]
    assert rows(table, "close_outside") == [3, 4]
    assert rows(table, "high_below_low") == [3]
    assert rows(table, "price_not_positive") == [], "an open of 0 is counted once"
    sides = made(
        "ohlcq-1m", bid_high=[1, 3], bid_low=[2, 2], ask_high=[5, 5], ask_low=[4, 4], bid_close=[9, 1], ask_close=[8, 2]
    )
    assert rows(sides, "high_below_low") == [0]
    assert rows(sides, "crossed") == [0]


def test_outliers() -> None:
    walk = (100 * ONE + np.cumsum(np.random.default_rng(1).integers(-5, 6, 400)) * 10**6).tolist()
    walk[200] = 90 * ONE
    walk[390] = 101 * ONE * 2
    assert rows(made("trades", price=walk), "outlier") == [200, 390]
    step = [100 * ONE] * 50 + [50 * ONE] * 50
    assert rows(made("trades", price=step), "outlier") == [], "a step is none"
    orders = made("mbo", price=walk, action=[ord("A")] * 200 + [ord("T")] * 200)
    assert rows(orders, "outlier") == [200, 390], "of orders, trades only"
    assert rows(made("mbo", price=walk, action=[ord("A")] * 400), "outlier") == []


def test_hours() -> None:
    times = [to_ns(f"2024-01-{text}") for text in ("10T08:59", "10T09:00", "11T00:59:59", "11T01:00", "13T15:00")]
    assert rows(made("trades", ts_event=times), "session_hours") == [0, 3, 4], "04:00 to 20:00 in New York, no Saturday"
    lunch = [to_ns(f"2024-01-10T{text}") for text in ("03:29", "03:30", "05:00", "08:00")]
    assert rows(made("trades", "XHKG", ts_event=lunch), "session_hours") == [3], "lunch is in the extended hours"
    assert rows(made("trades", "XHKG", ts_event=lunch), "session_hours", calendar="always") == []
    unknown = validate(made("trades", "HOUSE", price=[1]), ["session_hours"])["session_hours"]
    assert (unknown.checked, unknown.note[:35]) == (False, "the calendar of venue 'HOUSE' is no")


def test_stale_quotes() -> None:
    open_, close = to_ns("2024-01-10T14:30"), to_ns("2024-01-10T21:00")
    times = [open_, open_ + 600 * ONE, open_ + 601 * ONE, close - ONE, to_ns("2024-01-11T14:30:01")]
    table = quotes([1] * 5, [2] * 5, ts_event=times)
    assert rows(table, "stale_quote") == [1, 3], "a night is no fault"


def test_rows_that_repeat_are_told_for_information() -> None:
    table = made("trades", ts_event=[NOON, NOON, NOON, NOON + 1, NOON], price=[1, 1, 2, 1, 1])
    result = validate(table, ["repeated_row"])["repeated_row"]
    assert result.rows.tolist() == [1, 4]
    assert result.severity == "info"


def test_groups_tell_symbols_apart() -> None:
    arrays = {
        EVENT: np.full(4, NOON, np.int64),
        "sequence": np.array([9, 3, 10, 4], np.uint64),
        "symbol": np.array([0, 1, 0, 1], np.int32),
    }
    columns = Columns(schema_of("mbo"), arrays, {"symbol": ["A", "B"]}, (Column("symbol", Kind.CODE),))
    assert rows(Table.of(columns, "XNAS"), "sequence_reversal") == []


@pytest.mark.parametrize("name", RULES)
def test_every_rule_stands_rows_that_are_none(name: str) -> None:
    rule = RULES[name]
    schema = sorted(rule.schemas)[0] if rule.schemas else "trades"
    known = schema_of(schema)
    arrays = {column.name: np.empty(0, column.dtype) for column in known.columns if column.kind is not Kind.CODE}
    report = validate(Table.of(Columns(known, arrays), "XNAS", "X"), [name])
    assert report[name].count == 0
    assert rule.about.endswith(".")
