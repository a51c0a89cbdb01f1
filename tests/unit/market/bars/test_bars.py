"""Bars: which rows make which bar, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.bars import bars
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, SCHEMAS, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import text_of, to_ns

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = to_ns("2024-03-08T14:30")
SYMBOL = Column("symbol", Kind.CODE)
FOUR = ("open", "high", "low", "close")


def trades(*rows: tuple[float, int], symbols: Sequence[int] | None = None, **more: Any) -> Table:
    """Return trades of (seconds after the start, price)."""
    times = [TIME_NULL if second is None else START + round(second * SECOND) for second, _ in rows]
    arrays: dict[str, Any] = {
        "ts_event": np.array(times, np.int64),
        "price": np.array([price for _, price in rows], np.int64),
    }
    scales = {name: more.pop(name) for name in ("size_scale", "turnover_scale") if name in more}
    for name, values in more.items():
        column = schema_of("trades").column(name)
        assert column is not None
        arrays[name] = np.array([ord(value) if isinstance(value, str) else value for value in values], column.dtype)
    words = {}
    if symbols is not None:
        arrays["symbol"], words["symbol"] = np.array(symbols, np.int32), ["B", "A"]
    return Table.of(Columns(schema_of("trades"), arrays, words, [SYMBOL] if words else [], **scales), "X", "ES")


def shown(made: Table, *names: str) -> list[tuple[int, ...]]:
    """Return (begin, end, ...) by bar, times in seconds after the start."""
    times = [((made[name] - START) // SECOND).tolist() for name in ("ts_event", "ts_recv")]
    return list(zip(*times, *(made[name].tolist() for name in names), strict=True))


def test_a_bar_holds_its_begin_and_not_its_end() -> None:
    made = bars(trades((0, 5), (59.999, 7), (60, 4), (119, 6), (240, 1)))
    assert shown(made, *FOUR, "trade_count") == [
        (0, 60, 5, 7, 5, 7, 2),
        (60, 120, 4, 6, 4, 6, 2),
        (240, 300, 1, 1, 1, 1, 1),
    ]
    assert (made.schema, made.venue, made.symbol) == (SCHEMAS["ohlcv-1m"], "X", "ES")
    assert made.columns == ("ts_event", "ts_recv", *FOUR, "trade_count"), "what the trades do not tell is not there"
    assert np.array_equal(made["ts_index"], made["ts_recv"]), "a bar is known at its end"


def test_open_and_close_are_decided_by_time() -> None:
    """Rows out of order: among equal times, the order of the rows."""
    made = bars(trades((30, 1), (10, 2), (50, 3), (10, 4), (50, 5), (61, 6), (20, 9)))
    assert shown(made, *FOUR) == [(0, 60, 2, 9, 1, 5), (60, 120, 6, 6, 6, 6)]


def test_what_is_no_trade_makes_no_bar() -> None:
    rows = ((0, 5), (1, PRICE_NULL), (None, 9), (2, 6), (3, 99), (4, 77), (65, 1))
    made = bars(trades(*rows, action=["T", "T", "T", "T", "F", "C", "F"]))  # type: ignore[arg-type]
    assert shown(made, *FOUR, "trade_count") == [(0, 60, 5, 6, 5, 6, 2)]
    assert len(bars(trades((0, PRICE_NULL)))) == 0
    assert len(bars(trades())) == 0
    assert len(bars(trades(), fill=True)) == 0
    assert bars(trades()).schema.name == "ohlcv-1m"


def test_volume_and_turnover_are_exact() -> None:
    made = bars(
        trades((0, 5), (1, 6), (60, 7), (120, 8), (121, 8), size=[3, 4, 0, 5, SIZE_NULL], turnover=[15, 24, 0, 40, 1]),
        "1m",
    )
    assert made["volume"].tolist() == [7, 0, SIZE_NULL], "a sum of which a part is not known is not known"
    assert made["turnover"].tolist() == [39, 0, 41]
    scaled = bars(trades((0, 5), size=[3], turnover=[15], size_scale=10, turnover_scale=100), multiplier=7)
    assert (scaled.size_scale, scaled.turnover_scale, scaled["turnover"].tolist()) == (10, 100, [15])
    with pytest.raises(tv.InvalidInputError, match="the sum of size of bar 0 does not fit int64"):
        bars(trades((0, 5), (1, 5), size=[2**62, 2**62]))


def test_turnover_by_a_multiplier() -> None:
    prices = [1_300_100_000_000, 1_300_200_000_000, 333_333_333]
    rows = list(zip((0, 1, 60), prices, strict=True))
    made = bars(trades(*rows, size=[2, 1, 1]), multiplier=100)
    assert made.turnover_scale == 10_000
    assert made["turnover"].tolist() == [390_040 * 10_000, 333_333]
    assert bars(trades(*rows, size=[20, 10, 10], size_scale=10), multiplier=100)["turnover"].tolist() == [
        390_040 * 10_000,
        333_333,
    ]
    assert "turnover" not in bars(trades(*rows, size=[2, 1, 1])), "what a unit is worth is not guessed"
    assert bars(trades(*rows), multiplier=1)["turnover"].tolist() == [SIZE_NULL] * 2
    for wrong in (0, 1.5, True):
        with pytest.raises(tv.InvalidInputError, match="multiplier must be a whole number"):
            bars(trades((0, 1)), multiplier=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval", "name", "begins"),
    [
        ("1s", "ohlcv-1s", [START, START + 7_199 * SECOND]),
        ("5m", "ohlcv-5m", [START, START + 115 * MINUTE]),
        ("300s", "ohlcv-5m", [START, START + 115 * MINUTE]),
        ("1h", "ohlcv-1h", [to_ns("2024-03-08T14:00"), to_ns("2024-03-08T16:00")]),
        ("7h", "ohlcv-7h", [to_ns("2024-03-08T14:00")]),
        ("9h", "ohlcv-9h", [to_ns("2024-03-08T09:00")]),
        ("1d", "ohlcv-1d", [to_ns("2024-03-08")]),
        ("24h", "ohlcv-1d", [to_ns("2024-03-08")]),
        ("7d", "ohlcv-7d", [to_ns("2024-03-07")]),
        (MINUTE, "ohlcv-1m", [START, START + 119 * MINUTE]),
    ],
)
def test_intervals(interval: Any, name: str, begins: list[int]) -> None:
    made = bars(trades((0, 1), (7_199, 2)), interval)
    assert made.schema.name == name
    assert made["ts_event"].tolist() == begins
    assert made.schema.columns == SCHEMAS["ohlcv-1m"].columns
    assert made.columns == ("ts_event", "ts_recv", *FOUR, "trade_count")
    assert made.to_polars().columns == list(made.columns)


def test_the_last_interval_ends_with_its_day() -> None:
    late = trades((9 * 3_600, 1), (9.5 * 3_600, 2), (10 * 3_600, 3))  # 23:30 and after
    made = bars(late, "7h", fill=True)
    assert [text_of(at) for at in made["ts_event"].tolist()] == ["2024-03-08T21:00:00Z", "2024-03-09T00:00:00Z"]
    assert made["ts_recv"].tolist() == [to_ns("2024-03-09"), to_ns("2024-03-09T07:00")]


def test_days_of_a_zone() -> None:
    """New York's clocks went forward on 2024-03-10, and back on 2024-11-03."""
    for day, hours in (("2024-03-10", 23), ("2024-03-11", 24), ("2024-11-03", 25)):
        begin = to_ns(f"{day}T05:00" if day != "2024-03-11" else f"{day}T04:00") - (HOUR if "-11-" in day else 0)
        seconds = [(begin - START) // SECOND + at for at in (-1, 0, hours * 3_600 - 1, hours * 3_600)]
        made = bars(trades(*((second, place) for place, second in enumerate(seconds))), "1d", tz="America/New_York")
        assert made["open"].tolist() == [0, 1, 3]
        assert made["ts_event"][1] == begin
        assert made["ts_recv"][1] == begin + hours * HOUR
    hourly = bars(
        trades(*((second, 1) for second in range((begin - START) // SECOND, (begin - START) // SECOND + 90_000, 600))),
        "1h",
        tz="America/New_York",
    )
    assert len(hourly) == 25


def test_a_trading_day_that_begins_the_evening_before() -> None:
    """17:00 at Chicago: 23:00 UTC in winter, 22:00 in summer; the clocks went forward on 2024-03-10."""
    moments = ["2024-03-08T22:59:59", "2024-03-08T23:00", "2024-03-10T21:59:59", "2024-03-10T22:00"]
    rows = [((to_ns(moment) - START) // SECOND, place) for place, moment in enumerate(moments)]
    made = bars(trades(*rows), "1d", tz="America/Chicago", offset="-7h")
    assert made["open"].tolist() == [0, 1, 2, 3]
    assert [text_of(at) for at in made["ts_recv"].tolist()] == [
        "2024-03-08T23:00:00Z",
        "2024-03-09T23:00:00Z",
        "2024-03-10T22:00:00Z",
        "2024-03-11T22:00:00Z",
    ]
    half = bars(trades((0, 1), (1_800, 2)), "1h", offset="30m")
    assert shown(half, "open") == [(0, 3_600, 1)]


def test_each_symbol_has_bars() -> None:
    made = bars(trades((5, 1), (6, 20), (7, 2), (65, 21), (8, 99), symbols=[0, 1, 0, 1, -1]))
    assert shown(made, *FOUR) == [(0, 60, 1, 2, 1, 2), (0, 60, 20, 20, 20, 20), (60, 120, 21, 21, 21, 21)]
    assert [made.strings("symbol")[code] for code in made["symbol"]] == ["B", "A", "A"]


def test_empty_intervals_carry_the_close() -> None:
    given = trades((5, 1), (6, 4), (7, 2), (190, 9), size=[1, 1, 1, 5], instrument_id=[3, 3, 3, 4])
    made = bars(given, fill=True, multiplier=1)
    assert shown(made, *FOUR, "volume", "trade_count", "instrument_id") == [
        (0, 60, 1, 4, 1, 2, 3, 3, 3),
        (60, 120, 2, 2, 2, 2, 0, 0, 3),
        (120, 180, 2, 2, 2, 2, 0, 0, 3),
        (180, 240, 9, 9, 9, 9, 5, 1, 4),
    ]
    assert made["turnover"].tolist()[1:3] == [0, 0]
    several = bars(trades((5, 1), (130, 2), (6, 3), (70, 4), symbols=[0, 0, 1, 1]), fill=True)
    assert several["symbol"].tolist() == [0, 1, 0, 1, 0]
    assert several["close"].tolist() == [1, 3, 1, 4, 2]


def test_a_clock_that_is_years_off_is_not_filled() -> None:
    with pytest.raises(tv.InvalidInputError, match=r"more than 50,000,000 bars; take a shorter range"):
        bars(trades((0, 1), (10**9, 2)), "1s", fill=True)
    assert len(bars(trades((0, 1), (10**9, 2)), "1s")) == 2


def test_the_time_of_receipt_decides() -> None:
    """What was received after the minute was not known at its end."""
    arrays = {
        "ts_event": np.array([START + 59 * SECOND, START], np.int64),
        "ts_recv": np.array([START + 61 * SECOND, TIME_NULL], np.int64),
        "price": np.array([1, 2], np.int64),
    }
    given = Table.of(Columns(schema_of("trades"), arrays))
    assert shown(bars(given), "open") == [(0, 60, 2), (60, 120, 1)]
    assert shown(bars(given, on="ts_event"), "open", "close") == [(0, 60, 2, 1)]


def quotes(schema: str, *rows: tuple[Any, ...]) -> Table:
    """Return quotes of (second, bid, size, ask, size)."""
    arrays = {"ts_event": np.array([START + row[0] * SECOND for row in rows], np.int64)}
    for at, (name, null) in enumerate(
        zip(("bid_px", "bid_sz", "ask_px", "ask_sz"), [PRICE_NULL, SIZE_NULL] * 2, strict=True)
    ):
        arrays[f"{name}_00"] = np.array([null if row[at + 1] is None else row[at + 1] for row in rows], np.int64)
    return Table.of(Columns(schema_of(schema), arrays, size_scale=10))


@pytest.mark.parametrize("schema", ["bbo", "mbp-1", "mbp-10"])
def test_bars_of_quotes(schema: str) -> None:
    given = quotes(
        schema,
        (0, 10, 1, None, None),
        (5, 12, 2, None, None),
        (59, 9, 3, 20, 4),
        (58, 8, 9, None, None),
        (60, None, None, None, None),
        (200, None, None, 21, 5),
    )
    made = bars(given)
    assert made.schema == SCHEMAS["ohlcq-1m"]
    assert made.size_scale == 10
    sides = [f"{side}_{name}" for side in ("bid", "ask") for name in (*FOUR, "size")]
    assert shown(made, *sides) == [
        (0, 60, 10, 12, 8, 9, 3, 20, 20, 20, 20, 4),
        (180, 240, *[PRICE_NULL] * 4, SIZE_NULL, 21, 21, 21, 21, 5),
    ]
    filled = bars(given, fill=True)
    assert shown(filled, *sides)[1] == (60, 120, 9, 9, 9, 9, 3, 20, 20, 20, 20, 4)
    assert bars(given, "5m").schema.name == "ohlcq-5m"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"interval": "500ms"}, "whole seconds up to a day, or of whole days"),
        ({"interval": "1500ms"}, "whole seconds"),
        ({"interval": "25h"}, "whole seconds up to a day, or of whole days"),
        ({"interval": 0}, "whole seconds"),
        ({"interval": "-1m"}, "whole seconds"),
        ({"interval": "1x"}, "interval: '1x' is no length of time"),
        ({"offset": "24h"}, "must be shorter than a day"),
        ({"tz": "Mars/Base"}, "tz='Mars/Base' is no zone"),
        ({"on": "ts_recv"}, "no column 'ts_recv'"),
        ({"on": "price"}, "must be a column of times"),
    ],
)
def test_what_is_refused(named: dict[str, Any], told: str) -> None:
    with pytest.raises(tv.InvalidInputError, match=told):
        bars(trades((0, 1)), **named)


def test_bars_are_made_of_ticks() -> None:
    with pytest.raises(
        tv.InvalidInputError, match="bars: they are made of trades, mbo, bbo, mbp-1, mbp-10; these rows are"
    ):
        bars(bars(trades((0, 1))))


def test_what_is_adjusted_stays_so() -> None:
    given = trades((0, 1))
    given.adjustment, given.adjusted_on = "split", "2024-01-02"
    made = bars(given)
    assert (made.adjustment, made.adjusted_on) == ("split", "2024-01-02")
