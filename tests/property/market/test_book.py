"""The order book against a book of plain Python, over any flow of rows: levels, queues, positions and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.market.book import OrderBook, book_at, book_levels, memory
from tickvault.market.columns import Columns
from tickvault.market.schema import (
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    F_TOB,
    PRICE_NULL,
    SIZE_NULL,
    schema_of,
)
from tickvault.market.table import Table

I64 = np.iinfo(np.int64)


class Row(NamedTuple):
    action: str
    side: str
    order: int
    price: int
    size: int
    flags: int
    ts: int


class PlainBook:
    """What `market.book.orderbook` says of rows, as plainly as it can be written; queues are lists."""

    def __init__(self) -> None:
        self.queues: dict[str, dict[int, list[list[int]]]] = {"B": {}, "A": {}}
        # Of a top of book: no order stands behind it.
        self.bare: dict[str, dict[int, int]] = {"B": {}, "A": {}}
        self.faults: Counter[str] = Counter()
        self.snapshot: tuple[int, bool] | None = None

    def find(self, order: int) -> tuple[str, int, int] | None:
        for side, queues in self.queues.items():
            for price, queue in queues.items():
                for place, (other, _) in enumerate(queue):
                    if other == order:
                        return side, price, place
        return None

    def put(self, side: str, price: int, order: int, size: int) -> None:
        self.queues[side].setdefault(price, []).append([order, size])

    def take(self, side: str, price: int, place: int) -> None:
        queue = self.queues[side][price]
        del queue[place]
        if not queue:
            del self.queues[side][price]
            self.bare[side].pop(price, None)

    def clear(self, sides: str = "BA") -> None:
        for side in sides:
            self.queues[side].clear()
            self.bare[side].clear()

    def is_empty(self) -> bool:
        return not any(self.queues.values()) and not any(self.bare.values())

    def apply(self, row: Row) -> None:
        if row.flags & F_SNAPSHOT:
            if self.snapshot is None or (not self.snapshot[1] and self.snapshot[0] != row.ts):
                self.snapshot = row.ts, row.action == "R"
                if row.action != "R" and not self.is_empty():
                    self.clear()
                    self.faults["implied_clear"] += 1
        else:
            self.snapshot = None
        if row.action in "AMC":
            self.change(row)
        elif row.action == "R":
            self.clear()
        if row.flags & F_MAYBE_BAD_BOOK:
            self.faults["maybe_bad"] += 1
        if row.flags & F_LAST:
            bids, asks = self.levels("B"), self.levels("A")
            if bids and asks and bids[0][0] >= asks[0][0]:
                self.faults["crossed" if bids[0][0] > asks[0][0] else "locked"] += 1

    def change(self, row: Row) -> None:
        sized = 0 <= row.size < SIZE_NULL
        if row.flags & F_TOB:
            if row.action == "C" or row.side == "N":
                self.faults["unusable"] += 1
                return
            self.clear(row.side)
            if row.price != PRICE_NULL and sized and row.size:
                self.bare[row.side][row.price] = row.size
            return
        if row.action == "C":
            if not sized:
                self.faults["unusable"] += 1
            else:
                self.cancel(row)
            return
        if not sized or row.side == "N" or row.price == PRICE_NULL or (row.size == 0 and row.action == "A"):
            self.faults["unusable"] += 1
            return
        found = self.find(row.order)
        if row.action == "A":
            if found is not None:
                self.faults["duplicate_add"] += 1
                self.take(*found)
            self.put(row.side, row.price, row.order, row.size)
        else:
            self.modify(row, found)

    def modify(self, row: Row, found: tuple[str, int, int] | None) -> None:
        if found is None:
            self.faults["unknown_modify"] += 1
        else:
            side, price, place = found
            if side != row.side:
                self.faults["side_changed"] += 1
            entry = self.queues[side][price][place]
            if (side, price) == (row.side, row.price) and 0 < row.size <= entry[1]:
                entry[1] = row.size
                return
            self.take(*found)
        if row.size:
            self.put(row.side, row.price, row.order, row.size)

    def cancel(self, row: Row) -> None:
        found = self.find(row.order)
        if found is None:
            self.faults["unknown_cancel"] += 1
            return
        side, price, place = found
        if row.price not in (price, PRICE_NULL):
            self.faults["other_price"] += 1
        entry = self.queues[side][price][place]
        if row.size > entry[1]:
            self.faults["cancel_beyond"] += 1
        entry[1] -= min(row.size, entry[1])
        if not entry[1]:
            self.take(*found)

    def levels(self, side: str) -> list[tuple[int, int, int]]:
        """Return (price, size, orders), best first."""
        found = {price: (sum(size for _, size in queue), len(queue)) for price, queue in self.queues[side].items()}
        for price, size in self.bare[side].items():
            total, count = found.get(price, (0, 0))
            found[price] = total + size, count
        return [(price, *found[price]) for price in sorted(found, reverse=side == "B")]


PRICES = st.one_of(
    st.integers(99, 104),
    st.sampled_from([0, -1, -5, I64.min, I64.max - 1, PRICE_NULL, 250_000_000, 1 << 40]),
    st.integers(I64.min, I64.max),
)
SIZES = st.one_of(st.integers(1, 5), st.sampled_from([0, -1, SIZE_NULL, 1 << 50]))
FLAGS = st.sampled_from(
    [0, F_LAST, F_LAST, F_LAST, F_LAST | F_MAYBE_BAD_BOOK, F_SNAPSHOT, F_SNAPSHOT | F_LAST, F_TOB, F_TOB | F_LAST]
)
ORDERS = st.one_of(st.integers(0, 12), st.sampled_from([2**64 - 1, 2**63, 2**32, 1 << 60]))
STEPS = st.sampled_from([0, 0, 0, 1])
ROWS = st.builds(
    Row, st.sampled_from("AAAAAACCCMMMRTFN"), st.sampled_from("BBBAAAN"), ORDERS, PRICES, SIZES, FLAGS, STEPS
)
FLOWS = st.lists(ROWS, max_size=80)


def with_times(rows: Sequence[Row]) -> list[Row]:
    ts, made = 1_000, []
    for row in rows:
        ts += row.ts
        made.append(row._replace(ts=ts))
    return made


def table_of(rows: Sequence[Row]) -> Table:
    columns = {
        "ts_event": np.array([row.ts for row in rows], np.int64),
        "action": np.array([ord(row.action) for row in rows], np.uint8),
        "side": np.array([ord(row.side) for row in rows], np.uint8),
        "order_id": np.array([row.order for row in rows], np.uint64),
        "price": np.array([row.price for row in rows], np.int64),
        "size": np.array([row.size for row in rows], np.int64),
        "flags": np.array([row.flags for row in rows], np.uint8),
    }
    return Table.of(Columns(schema_of("mbo"), columns), "X", "Y")


def shown(book: OrderBook) -> dict[str, list[tuple[int, int, int]]]:
    depth = book.depth(10_000)
    return {
        side: list(zip(*(array.tolist() for array in levels.arrays), strict=True))
        for side, levels in (("B", depth.bids), ("A", depth.asks))
    }


def differences(book: OrderBook, plain: PlainBook) -> Iterator[tuple[Any, Any]]:
    """Yield (what the book says, what it should) of everything that can be asked."""
    yield dict(book.faults), dict(plain.faults)
    count = 0
    for side in "BA":
        levels = plain.levels(side)
        yield shown(book)[side], levels
        for price, _, _ in levels:
            queue = plain.queues[side].get(price, [])
            yield [tuple(order) for order in book.orders(side, price)], [tuple(entry) for entry in queue]
            ahead = 0
            for place, (order, size) in enumerate(queue):
                yield tuple(book.position(order)), (side, price, size, place, ahead)
                ahead += size
            count += len(queue)
    yield book.order_count, count
    yield book.level_counts, tuple(len(plain.levels(side)) for side in "BA")
    bids, asks = plain.levels("B"), plain.levels("A")
    none = (PRICE_NULL, SIZE_NULL, 0)
    yield tuple(book.best()), (*(bids or [none])[0][:2], *(asks or [none])[0][:2])


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with hardly any room, so that every flow makes the arrays larger."""
    monkeypatch.setattr(memory, "_SLOTS_FIRST", 4)
    monkeypatch.setattr(memory, "_LEVELS_FIRST", 1)
    monkeypatch.setattr(memory, "_BLOCKS_FIRST", 1)


@settings(max_examples=300, deadline=None)
@given(FLOWS, st.lists(st.integers(0, 80), max_size=4))
def test_the_book_is_the_plain_one_however_the_rows_are_cut(rows: list[Row], cuts: list[int]) -> None:
    rows = with_times(rows)
    table, book, plain = table_of(rows), OrderBook(), PlainBook()
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for begin, end in zip(bounds, [*bounds[1:], len(rows)], strict=True):
        book.apply(table.slice(begin, end))
        for row in rows[begin:end]:
            plain.apply(row)
        for found, expected in differences(book, plain):
            assert found == expected
    assert book.rows == len(rows)
    assert book.events == sum(1 for row in rows if row.flags & F_LAST)


def ends_of(rows: Sequence[Row]) -> list[int]:
    """Return after how many rows each event is over."""
    found = []
    for place, row in enumerate(rows):
        goes_on = place + 1 == len(rows) or rows[place + 1].flags & F_SNAPSHOT
        snapshot_over = row.flags & F_SNAPSHOT and not goes_on
        if row.flags & F_LAST or snapshot_over:
            found.append(place + 1)
    return found


def levels_in(table: Table, at: int, depth: int) -> dict[str, list[tuple[int, int, int]]]:
    made: dict[str, list[tuple[int, int, int]]] = {"B": [], "A": []}
    for side, word in (("B", "bid"), ("A", "ask")):
        for level in range(depth):
            price, size, count = (int(table[f"{word}_{what}_{level:02d}"][at]) for what in ("px", "sz", "ct"))
            if price != PRICE_NULL:
                made[side].append((price, size, count))
            else:
                assert (size, count) == (SIZE_NULL, 2**32 - 1)
    return made


@settings(max_examples=150, deadline=None)
@given(FLOWS, st.integers(1, 4), st.lists(st.integers(990, 1_020), max_size=5))
def test_levels_over_time_are_those_of_the_plain_book(rows: list[Row], depth: int, moments: list[int]) -> None:
    rows = with_times(rows)
    table, plain = table_of(rows), PlainBook()
    ends, states = [0, *ends_of(rows)], []
    for place in range(len(rows) + 1):
        states.append({side: plain.levels(side)[:depth] for side in "BA"})
        if place < len(rows):
            plain.apply(rows[place])
    levels = book_levels(table, depth)
    assert levels["ts_event"].tolist() == [rows[end - 1].ts for end in ends[1:]]
    assert levels["flags"].tolist() == [rows[end - 1].flags for end in ends[1:]]
    assert [levels_in(levels, at, depth) for at in range(len(levels))] == [states[end] for end in ends[1:]]
    sampled = book_levels(table, depth, at=moments)
    assert sampled["ts_recv"].tolist() == moments
    for at, moment in enumerate(moments):
        known = [end for end in ends if not end or rows[end - 1].ts <= moment][-1]
        assert levels_in(sampled, at, depth) == states[known]
        found = book_at(table, moment, depth)
        assert found.is_whole
        assert [level[:2] for level in states[known]["B"]] == list(
            zip(found.bids.price.tolist(), found.bids.size.tolist(), strict=True)
        )


CHANGES = st.lists(
    st.tuples(st.sampled_from("BBBAAAN"), PRICES, SIZES, st.sampled_from([0, F_LAST, F_SNAPSHOT])), max_size=80
)


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.integers(0, 80))
def test_level_changes_are_those_of_plain_dicts(changes: list[tuple[str, int, int, int]], cut: int) -> None:
    columns = {
        "ts_event": np.full(len(changes), 1_000, np.int64),
        "side": np.array([ord(change[0]) for change in changes], np.uint8),
        "price": np.array([change[1] for change in changes], np.int64),
        "size": np.array([change[2] for change in changes], np.int64),
        "flags": np.array([change[3] for change in changes], np.uint8),
    }
    table = Table.of(Columns(schema_of("mbp-delta"), columns), "X", "Y")
    sides: dict[str, dict[int, int]] = {"B": {}, "A": {}}
    faults: Counter[str] = Counter()
    snapshot_goes_on = False
    for side, price, size, flags in changes:
        clears = (side, price, size) == ("N", PRICE_NULL, 0)
        if flags & F_SNAPSHOT and not snapshot_goes_on and not clears and any(sides.values()):
            faults["implied_clear"] += 1
            clears_first = True
        else:
            clears_first = clears
        if clears_first:
            sides["B"].clear()
            sides["A"].clear()
        snapshot_goes_on = bool(flags & F_SNAPSHOT)
        if side != "N":
            if price == PRICE_NULL or not 0 <= size < SIZE_NULL:
                faults["unusable"] += 1
            elif size:
                sides[side][price] = size
            elif sides[side].pop(price, None) is None:
                faults["unknown_level"] += 1
        if flags & F_LAST and sides["B"] and sides["A"]:
            bid, ask = max(sides["B"]), min(sides["A"])
            if bid >= ask:
                faults["crossed" if bid > ask else "locked"] += 1
    book = OrderBook()
    for part in (table.slice(0, cut), table.slice(cut, len(table))):
        book.apply(part)
    assert dict(book.faults) == dict(faults)
    for side, levels in shown(book).items():
        prices = sorted(sides[side], reverse=side == "B")
        assert levels == [(price, sides[side][price], 2**32 - 1) for price in prices]


class PlainLevels:
    """Levels of two sides as dicts."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[int, int]] = {"B": {}, "A": {}}

    def apply(self, rows: Sequence[tuple[str, int, int]]) -> None:
        for side, price, size in rows:
            if size:
                self.sides[side][price] = size
            else:
                self.sides[side].pop(price, None)

    def shown(self, side: str) -> list[tuple[int, int, int]]:
        levels = self.sides[side]
        return [(price, levels[price], 2**32 - 1) for price in sorted(levels, reverse=side == "B")]


def changes_of(rows: Sequence[tuple[str, int, int]]) -> Table:
    columns = {
        "ts_event": np.zeros(len(rows), np.int64),
        "side": np.array([ord(row[0]) for row in rows], np.uint8),
        "price": np.array([row[1] for row in rows], np.int64),
        "size": np.array([row[2] for row in rows], np.int64),
    }
    return Table.of(Columns(schema_of("mbp-delta"), columns), "X", "Y")


@pytest.mark.parametrize("spread", [400, 20_000, 2**40])
@pytest.mark.parametrize("trend", [-40, 0, 40])
def test_thousands_of_levels_stay_in_order(spread: int, trend: int) -> None:
    """Enough for the ladder to be cut into many blocks, which fill and empty as prices wander and stretches go."""
    random = np.random.default_rng(spread + trend)
    count, step = 12_000, 1_500
    prices = (random.integers(0, spread, count) // 2 * 2 + np.arange(count) * trend).tolist()
    sizes = np.where(random.random(count) < 0.4, 0, random.integers(1, 9, count)).tolist()
    rows = list(zip(random.choice(["B", "A"], count).tolist(), prices, sizes, strict=True))
    book, plain = OrderBook(), PlainLevels()

    def both(changes: Sequence[tuple[str, int, int]]) -> None:
        book.apply(changes_of(changes))
        plain.apply(changes)
        assert shown(book) == {side: plain.shown(side) for side in "BA"}
        assert book.level_counts == (len(plain.sides["B"]), len(plain.sides["A"]))
        ends = [(plain.shown(side) or [(PRICE_NULL, SIZE_NULL, 0)])[0][:2] for side in "BA"]
        assert tuple(book.best()) == (*ends[0], *ends[1])

    for begin in range(0, count, step):
        both(rows[begin : begin + step])
        both([(side, price, 0) for side in "BA" for price, _, _ in plain.shown(side)[:150]])
        both([(side, price, 0) for side in "BA" for price, _, _ in plain.shown(side)[100:600]])
    assert len(book._arrays.spine) > 2, "the ladder grew beyond its first block"
    both(rows)
    book.apply(changes_of([("N", PRICE_NULL, 0)]))
    assert book.level_counts == (0, 0)


def seeded_flow(seed: int, count: int, ids: int = 200, prices: int = 20, sizes: int = 8) -> list[Row]:
    """Return a flow that is mostly sound."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        action = "AACMT"[random.integers(5)]
        rows.append(
            Row(
                action,
                "BA"[random.integers(2)],
                int(random.integers(ids)),
                int(random.integers(100, 100 + prices)),
                int(random.integers(1, sizes + 1)),
                F_LAST,
                1,
            )
        )
    return with_times(rows)


def test_few_prices_and_sizes_give_every_case_of_a_queue() -> None:
    rows = seeded_flow(3, 4_000, ids=25, prices=3, sizes=3)
    table, book, plain = table_of(rows), OrderBook(), PlainBook()
    for begin in range(0, len(rows), 20):
        book.apply(table.slice(begin, begin + 20))
        for row in rows[begin : begin + 20]:
            plain.apply(row)
        for found, expected in differences(book, plain):
            assert found == expected


class KeepsPriority(PlainBook):
    """Planted: an order that grows keeps its place."""

    def modify(self, row: Row, found: tuple[str, int, int] | None) -> None:
        if found is not None and found[:2] == (row.side, row.price) and row.size:
            self.queues[found[0]][found[1]][found[2]][1] = row.size
        else:
            super().modify(row, found)


class CancelsWhole(PlainBook):
    """Planted: a cancel takes the whole order."""

    def cancel(self, row: Row) -> None:
        found = self.find(row.order)
        if found is not None:
            left = self.queues[found[0]][found[1]][found[2]][1]
            row = row._replace(size=max(row.size, left))
        super().cancel(row)


class TradesChange(PlainBook):
    """Planted: a trade changes the book."""

    def apply(self, row: Row) -> None:
        super().apply(row._replace(action="C") if row.action == "T" else row)


@pytest.mark.parametrize("kind", [PlainBook, KeepsPriority, CancelsWhole, TradesChange])
def test_the_comparison_sees_a_planted_fault(kind: type[PlainBook]) -> None:
    rows = seeded_flow(7, 3_000)
    book, plain = OrderBook().apply(table_of(rows)), kind()
    for row in rows:
        plain.apply(row)
    same = all(found == expected for found, expected in differences(book, plain))
    assert same is (kind is PlainBook)
