"""The simulated exchange keeps the rules of one: price, then time, and each row means what Databento says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.columns import Columns
from tickvault.market.schema import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_LAST,
    F_SNAPSHOT,
    FILL,
    MODIFY,
    PRICE_NULL,
    TRADE,
)
from tickvault.market.simulate import Instrument, Market

Day = dict[tuple[str, str], Columns]
NAMES = ("action", "side", "order_id", "price", "size", "flags")


class PlainBook:
    """Dicts in the order in which orders came: only A, C, M and R change them."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[int, int]] = {}
        self.levels: dict[int, dict[int, dict[int, int]]] = {ASK: {}, BID: {}}
        self.traded: Counter[int] = Counter()
        self.filled: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()

    def apply(self, action: int, side: int, number: int, price: int, size: int, flags: int) -> None:
        if action == CLEAR:
            assert (price, size, number) == (PRICE_NULL, 0, 0)
            self.orders.clear()
            self.levels = {ASK: {}, BID: {}}
        elif action == ADD:
            assert number not in self.orders
            self._post(side, number, price, size)
        elif action == CANCEL:
            self._lose(side, number, price, size)
        elif action == MODIFY:
            self._modify(side, number, price, size)
        elif action == TRADE:
            assert number not in self.orders, "an aggressor does not rest"
            assert price == self._best(BID if side == ASK else ASK), "the best price first"
            self.traded[price] += size
        elif action == FILL:
            # Those before it in the queue are filled wholly.
            queue = self.levels[side][price]
            for other in list(queue)[: list(queue).index(number)]:
                assert self.filled[other] == queue[other], "time decides"
            assert size <= queue[number] - self.filled[number]
            self.filled[number] += size
        if flags & F_LAST:
            self._end()

    def _best(self, side: int) -> int:
        """The best price at which something is left that is not filled yet."""
        left = (
            price
            for price, queue in self.levels[side].items()
            if any(size > self.filled[number] for number, size in queue.items())
        )
        return max(left) if side == BID else min(left)

    def _post(self, side: int, number: int, price: int, size: int) -> None:
        assert size > 0
        self.orders[number] = (side, price)
        self.levels[side].setdefault(price, {})[number] = size

    def _take(self, number: int) -> int:
        side, price = self.orders.pop(number)
        queue = self.levels[side][price]
        size = queue.pop(number)
        if not queue:
            del self.levels[side][price]
        return size

    def _lose(self, side: int, number: int, price: int, size: int) -> None:
        assert self.orders[number] == (side, price)
        queue = self.levels[side][price]
        assert 0 < size <= queue[number]
        self.lost[number] += size
        queue[number] -= size
        if queue[number] == 0:
            self._take(number)

    def _modify(self, side: int, number: int, price: int, size: int) -> None:
        assert self.orders[number][0] == side
        if self.orders[number][1] == price and size <= self.levels[side][price][number]:
            self.levels[side][price][number] = size
        else:
            self._take(number)
            self._post(side, number, price, size)

    def _end(self) -> None:
        if self.filled:
            assert self.traded.total() == self.filled.total()
            assert self.filled == self.lost
        self.traded.clear()
        self.filled.clear()
        self.lost.clear()
        bid, _, _, ask, _, _ = self.top()
        assert bid < ask, "crossed"

    def top(self) -> tuple[int, ...]:
        found: list[int] = []
        for side, best in ((BID, max), (ASK, min)):
            price = best(self.levels[side])
            queue = self.levels[side][price]
            found += [price, sum(queue.values()), len(queue)]
        return tuple(found)


def rows_of(columns: Columns, count: int | None = None) -> list[tuple[int, ...]]:
    return list(zip(*(columns[name][:count].tolist() for name in NAMES), strict=True))


@pytest.mark.parametrize("place", range(3))
def test_an_independent_book_agrees(market: Market, day: Day, place: int) -> None:
    symbol = market.instruments[place].symbol
    mbo, quotes = day[symbol, "mbo"], day[symbol, "bbo"]
    sequence = mbo["sequence"]
    tops = {}
    book = PlainBook()
    last = None
    for number, row in zip(sequence.tolist(), rows_of(mbo), strict=True):
        book.apply(*row)
        if row[-1] & F_LAST:
            top = book.top()
            if top != last:
                tops[number] = last = top
    names = [f"{side}_{what}_00" for side in ("bid", "ask") for what in ("px", "sz", "ct")]
    told = zip(*(quotes[name].tolist() for name in names), strict=True)
    assert dict(zip(quotes["sequence"].tolist(), told, strict=True)) == tops


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**64 - 1),
    st.integers(400, 6000),
    st.sampled_from([1, 7, 10_000_000, 250_000_000, 1 << 45]),
    st.integers(16, 20_000),
    st.sampled_from([1, 10, 100, 999_983]),
    st.floats(0.1, 500),
    st.floats(0, 50),
    st.floats(0, 1),
    st.integers(40, 2048),
    st.sampled_from(["14:30:00.000001", "14:30:00.9", "14:31", "21:00", "23:59:59"]),
)
def test_any_market_keeps_the_rules(
    seed: int,
    events: int,
    tick: int,
    price_ticks: int,
    lot: int,
    deviation_ticks: float,
    half_spread: float,
    correlation: float,
    orders: int,
    closes: str,
) -> None:
    one = Instrument(
        "ANY",
        tick,
        price_ticks * tick,
        lot,
        volatility=min(deviation_ticks / price_ticks, 0.99),
        half_spread=half_spread,
        correlation=correlation,
        orders=orders,
    )
    market = Market([one], seed=seed, events=events, closes=closes)
    (mbo,) = [table.to_columns() for table in market.flow(["mbo"])]
    book = PlainBook()
    for row in rows_of(mbo):
        book.apply(*row)
    assert len(mbo) == events
    assert (mbo["price"] > 0).all()
    assert (np.diff(mbo["ts_event"]) >= 0).all()
    assert mbo["ts_event"][-1] < market.closes_ns
    assert (np.diff(mbo["ts_recv"]) >= 0).all()
    assert (mbo["ts_recv"] > mbo["ts_event"]).all()
    assert (mbo["ts_in_delta"] > 0).all()


def spoilt(rows: list[tuple[int, ...]], action: int, change: dict[int, Any], nth: int = 0) -> list[tuple[int, ...]]:
    places = [place for place, row in enumerate(rows) if row[0] == action and place > 2000]
    row = list(rows[places[nth]])
    for field, value in change.items():
        row[field] = value(row[field])
    return [*rows[: places[nth]], tuple(row), *rows[places[nth] + 1 :]]


@pytest.mark.parametrize(
    ("action", "change"),
    [
        (CANCEL, {4: lambda size: size * 1000}),
        (CANCEL, {2: lambda number: number + 10**9}),
        (FILL, {4: lambda size: size + 1}),
        (TRADE, {4: lambda size: size + 1}),
        (TRADE, {3: lambda price: price + 10**12}),
        (ADD, {3: lambda price: 10**15, 1: lambda side: BID}),
        (ADD, {2: lambda number: (1 << 40) + 1}),
        (MODIFY, {1: lambda side: ASK + BID - side}),
    ],
)
def test_the_independent_book_sees_what_is_planted(day: Day, action: int, change: dict[int, Any]) -> None:
    rows = spoilt(rows_of(day["ALDER", "mbo"], 30_000), action, change)
    book = PlainBook()
    with pytest.raises((AssertionError, KeyError, ValueError)):
        for row in rows:
            book.apply(*row)


def test_a_queue_out_of_order_is_seen(day: Day) -> None:
    """Two fills of one level change places: what is wrong then is only who was first."""
    rows = rows_of(day["ALDER", "mbo"], 60_000)
    for place in range(2000, len(rows)):
        one, other = rows[place], rows[place + 1]
        if one[0] == other[0] == FILL and one[3] == other[3]:
            break
    rows[place], rows[place + 1] = other, one
    book = PlainBook()
    with pytest.raises(AssertionError, match="time decides"):
        for row in rows:
            book.apply(*row)


def test_events_are_whole_and_in_order(market: Market, day: Day) -> None:
    for (_, schema), columns in day.items():
        if schema != "mbo":
            continue
        happened, received, sequence = columns["ts_event"], columns["ts_recv"], columns["sequence"].astype(np.int64)
        last = (columns["flags"] & F_LAST) != 0
        assert (np.diff(happened) >= 0).all()
        assert (np.diff(received) >= 0).all()
        assert (received > happened).all()
        assert happened[0] == market.opens_ns
        assert happened[-1] < market.closes_ns
        assert (columns["ts_in_delta"] > 0).all()
        assert (columns["ts_in_delta"] < received - happened).all()
        # A message is an event: its rows share sequence and times, and its last row alone says so.
        assert sequence[0] == 1
        assert np.array_equal(np.diff(sequence), last[:-1].astype(int))
        assert last[-1]
        new = np.diff(sequence) > 0
        assert (np.diff(happened)[~new] == 0).all()
        assert (np.diff(received)[~new] == 0).all()


def test_order_ids_rise_and_are_nobody_elses(day: Day) -> None:
    seen: set[int] = set()
    for (_, schema), columns in day.items():
        if schema == "mbo":
            added = columns["order_id"][columns["action"] == ADD]
            assert (np.diff(added.astype(np.int64)) > 0).all()
            assert not seen & set(added.tolist())
            seen |= set(added.tolist())


def test_a_day_begins_with_its_book_and_has_the_rows_asked_for(market: Market, day: Day) -> None:
    for one, share in zip(market.instruments, market.shares(), strict=True):
        mbo = day[one.symbol, "mbo"]
        assert len(mbo) == share
        action, flags = mbo["action"], mbo["flags"]
        opening = int(np.flatnonzero(flags & F_LAST)[0]) + 1
        assert 40 <= opening < 1500
        assert action[0] == CLEAR
        assert (action[1:opening] == ADD).all()
        assert (flags[:opening] & F_SNAPSHOT).all()
        assert not (flags[opening:] & F_SNAPSHOT).any()
        assert (action == CLEAR).sum() == 1
        assert (mbo["price"][1:] % one.tick == 0).all()
        assert (mbo["size"][1:] % one.lot == 0).all()
    assert sum(market.shares()) == market.events


def test_trades_are_the_t_rows(day: Day) -> None:
    for (symbol, schema), trades in day.items():
        if schema != "trades":
            continue
        mbo = day[symbol, "mbo"]
        rows = mbo["action"] == TRADE
        for name in ("ts_event", "ts_recv", "price", "size", "side", "sequence"):
            assert np.array_equal(trades[name], mbo[name][rows])
        assert np.array_equal(trades["trade_id"], np.arange(1, rows.sum() + 1))
        buys = trades["side"] == BID
        assert np.array_equal(trades["buy_order_id"][buys], mbo["order_id"][rows][buys])
        assert np.array_equal(trades["sell_order_id"][~buys], mbo["order_id"][rows][~buys])
