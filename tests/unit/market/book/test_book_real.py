"""Books of real files: orders at the CME, Nasdaq and Shanghai, levels at Binance, against what else is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.book import OrderBook, book_at, book_levels
from tickvault.market.book.rows import event_ends
from tickvault.market.feeds.protocol import IngestOptions, Piece
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.schema import ADD, BID, F_LAST, F_SNAPSHOT, PRICE_NULL
from tickvault.market.table import Table
from tickvault.market.times import to_ns

Tables = Callable[[str], dict[tuple[str, str], Table]]
OPEN = to_ns("2023-12-25T23:00:00")


@pytest.fixture(scope="session")
def tables(market_data: Path) -> Tables:
    """Return a file's tables by (symbol, schema); each file is decoded once."""
    made: dict[str, dict[tuple[str, str], Table]] = {}

    def decoded(name: str) -> dict[tuple[str, str], Table]:
        if name not in made:
            source, pieces = Source(market_data / name), defaultdict(list)
            for found in feed_of(source, None).decode(source, IngestOptions()):
                if isinstance(found, Piece):
                    pieces[found.venue, found.symbol, found.columns.schema.name].append(found.columns)
            made[name] = {
                (symbol, schema): Table(columns[0].schema, columns, venue, symbol)
                for (venue, symbol, schema), columns in pieces.items()
            }
        return made[name]

    return decoded


@pytest.fixture(scope="session")
def es(tables: Tables) -> Table:
    return tables("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst")["ESH4", "mbo"]


class DictBook:
    """An independent book: of each price a dict of its orders, which keeps them in the order they came."""

    def __init__(self) -> None:
        self.where: dict[int, tuple[str, int]] = {}
        self.levels: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)

    def remove(self, order: int) -> None:
        level = self.levels[self.where.pop(order)]
        del level[order]

    def apply(self, action: str, side: str, order: int, price: int, size: int) -> None:
        """Apply a row; a KeyError or an assertion is an order that is not there, or a size below nothing."""
        if action == "A":
            assert order not in self.where
            self.where[order] = side, price
            self.levels[side, price][order] = size
        elif action == "C":
            level = self.levels[self.where[order]]
            level[order] -= size
            assert level[order] >= 0
            if not level[order]:
                self.remove(order)
        elif action == "M":
            level = self.levels[self.where[order]]
            if self.where[order] == (side, price) and size <= level[order]:
                level[order] = size
            else:
                self.remove(order)
                self.where[order] = side, price
                self.levels[side, price][order] = size
        elif action == "R":
            self.where.clear()
            self.levels.clear()

    def side(self, side: str) -> list[tuple[int, int, int]]:
        found = [
            (price, sum(orders.values()), len(orders))
            for (of, price), orders in self.levels.items()
            if of == side and orders
        ]
        return sorted(found, reverse=side == "B")


def rows_of(table: Table) -> list[tuple[str, str, int, int, int]]:
    letters = [[chr(code) for code in table[name].tolist()] for name in ("action", "side")]
    return list(zip(*letters, *(table[name].tolist() for name in ("order_id", "price", "size")), strict=True))


def sides(book: OrderBook) -> list[list[tuple[int, int, int]]]:
    depth = book.depth(100_000)
    return [list(zip(*(array.tolist() for array in side.arrays), strict=True)) for side in (depth.bids, depth.asks)]


def test_es_is_the_dict_book_at_a_thousand_moments(es: Table) -> None:
    ends = np.flatnonzero(es["flags"] & F_LAST) + 1
    chosen = np.sort(np.random.default_rng(20231225).choice(ends, 1_000, replace=False)).tolist()
    book, plain, at, rows = OrderBook(strict=False), DictBook(), 0, rows_of(es)
    queues_of = set(chosen[::20])
    for end in chosen:
        book.apply(es.slice(at, end))
        for row in rows[at:end]:
            plain.apply(*row)
        at = end
        assert sides(book) == [plain.side("B"), plain.side("A")]
        if end in queues_of:
            for (side, price), orders in plain.levels.items():
                assert dict(book.orders(side, price)) == orders
                assert [order for order, _ in book.orders(side, price)] == list(orders)
    book.apply(es.slice(at, len(es)))
    assert (book.rows, book.events) == (68_792, 47_022)


def test_es_has_no_fault_but_the_crossed_book_before_the_opening(es: Table) -> None:
    """Until 17:00 Chicago orders come and do not trade: from 16:39:55 on some bid is above some ask. The opening's
    trades, in one event at 17:00:00.000, end that; after it the book is never crossed nor locked.
    """
    book = OrderBook().apply(es)
    assert dict(book.faults) == {"crossed": 891}
    levels = book_levels(es, 1)
    crossed = levels["bid_px_00"] >= levels["ask_px_00"]
    times = levels["ts_event"][crossed]
    assert len(times) == 891
    assert (times.min(), times.max()) == (
        to_ns("2023-12-25T22:39:55.216798489"),
        to_ns("2023-12-25T22:59:59.999703903"),
    )
    after = levels["ts_event"] >= OPEN
    assert after.sum() == 46_097
    assert not crossed[after].any()
    assert (levels["bid_px_00"][after] != PRICE_NULL).all()
    assert (levels["ask_px_00"][after] != PRICE_NULL).all()


def test_es_begins_with_a_snapshot_that_neither_clears_nor_ends(es: Table) -> None:
    """Databento's files of 2023: its 8,725 rows have no R and no F_LAST. Its book is shown once the next row comes."""
    assert not (es["flags"][:8_725] & F_LAST).any()
    midnight = to_ns("2023-12-25")
    depth = book_at(es, midnight)
    assert (depth.ts, depth.is_whole) == (midnight, True)
    assert depth.best == (4_799_000_000_000, 16, 4_799_500_000_000, 23)
    assert len(book_at(es, midnight - 1).bids) == 0
    assert len(book_at(es.slice(0, 8_000), midnight).bids) == 0


def test_the_snapshot_of_the_next_file_takes_the_place_of_the_one_before(tables: Tables, es: Table) -> None:
    """Read as one series the two files have 8,725 orders twice, in two snapshots without an R."""
    before = tables("databento/esh4-glbx-mdp3-20231224.mbo.dbn.zst")["ESH4", "mbo"]
    book = OrderBook().apply(before)
    assert (book.order_count, book.is_whole) == (8_725, True)
    book.apply(es)
    assert dict(book.faults) == {"implied_clear": 1, "crossed": 891}
    assert sides(book) == sides(OrderBook().apply(es))


def test_a_series_of_both_files_read_from_a_library_is_the_same_book(
    market_data: Path, tmp_path: Path, es: Table
) -> None:
    with tv.open(tmp_path / "data") as vault:
        ticks = vault.library("cme")
        for day in ("24", "25"):
            ticks.ingest(market_data / f"databento/esh4-glbx-mdp3-202312{day}.mbo.dbn.zst")
        series = ticks.read("ESH4", "mbo")
        assert len(series) == 8_725 + 68_792
        assert sides(OrderBook().apply(series)) == sides(OrderBook().apply(es))
        late = OrderBook().apply(ticks.read("ESH4", "mbo", start="2023-12-25T23:00"))
        assert {"unknown_cancel", "unknown_modify"} <= set(late.faults), "a range without its beginning is told"


def test_esm4_begins_with_a_clear(tables: Tables) -> None:
    table = tables("databento/orderbooks_mbo_2024-05-08.dbn.zst")["ESM4", "mbo"]
    book, plain = OrderBook(strict=True).apply(table), DictBook()
    for row in rows_of(table):
        plain.apply(*row)
    assert sides(book) == [plain.side("B"), plain.side("A")]
    assert not book.faults


def test_levels_over_time_are_the_book_at_those_times(es: Table) -> None:
    levels = book_levels(es, 5)
    ends = event_ends(es)
    assert len(levels) == len(ends) == 47_023
    for at in np.random.default_rng(1).integers(0, len(ends), 25).tolist():
        depth = OrderBook().apply(es.slice(0, int(ends[at]))).depth(5)
        for word, side in (("bid", depth.bids), ("ask", depth.asks)):
            for what, array in zip(("px", "sz", "ct"), side.arrays, strict=True):
                assert [levels[f"{word}_{what}_{level:02d}"][at] for level in range(5)] == array.tolist()


def test_top_of_book_records_are_taken_as_they_are(tables: Tables) -> None:
    table = tables("databento/futures_mbp-1_2024-07-01.dbn.zst")["ESU4", "mbp-1"]
    last = tuple(int(table[name][-1]) for name in ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00"))
    book = OrderBook().apply(table)
    assert book.best() == last
    assert book.depth().bids.count.tolist() == [table["bid_ct_00"][-1]]
    assert book.rows == len(table)
    levels, ends = book_levels(table), event_ends(table)
    for name in ("bid_px_00", "ask_sz_00", "bid_ct_00", "sequence", "ts_recv"):
        assert levels[name].tolist() == table[name][ends - 1].tolist()


@pytest.mark.parametrize(("market", "messages"), [("spot", 3_449), ("usdm", 6_545)])
def test_binance_agrees_with_its_own_best_prices(tables: Tables, market: str, messages: int) -> None:
    """After each depth message the best of the book is the newest bookTicker of an update id not beyond the message's.

    All of them agree, prices and sizes: both streams number the same updates. Messages before the snapshot, of which
    the book is a part only, and after the last bookTicker do not count.
    """
    found = tables(f"binance/{market}_btcusdt_20240808.gz")
    changes, quotes = found["BTCUSDT", "mbp-delta"], found["BTCUSDT", "bbo"]
    levels = book_levels(changes, 1)
    ids, quoted = levels["sequence"], quotes["sequence"]
    since = np.flatnonzero(levels["flags"] & F_SNAPSHOT)[0]
    newest = np.searchsorted(quoted, ids, "right") - 1
    counted = (np.arange(len(ids)) >= since) & (newest >= 0) & (ids <= quoted[-1])
    assert counted.sum() == messages
    for name in ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00"):
        assert (levels[name][counted] == quotes[name][newest[counted]]).all()
    book = OrderBook().apply(changes)
    assert set(book.faults) == {"unknown_level"}, "removals beyond the snapshot's depth, and before it"


def test_lobster_shows_a_level_rightly_from_its_first_order_on(tables: Tables) -> None:
    """Messages of level 1 do not make the book: an order that is cancelled while it is not at the best is never heard
    of again, and stays. But of a price that an order makes the best, where nothing was left over, they tell all until
    another is the best: there the size is that of the stored book, each time.
    """
    messages = tables("lobster/AMZN_2012-06-21_34200000_57600000_message_1.csv")["AMZN", "mbo"]
    stored = tables("lobster/AMZN_2012-06-21_34200000_57600000_orderbook_1.csv")["AMZN", "bbo"]
    assert OrderBook().apply(messages).faults["crossed"] == 57_354, "of 57,515 events: orders that were left over"
    stated = {
        ord(letter): (stored[f"{word}_px_00"].tolist(), stored[f"{word}_sz_00"].tolist())
        for letter, word in (("B", "bid"), ("A", "ask"))
    }
    action, side, price, size = (messages[name].tolist() for name in ("action", "side", "price", "size"))
    book, at, compared = OrderBook(), 0, 0
    told: dict[int, int | None] = dict.fromkeys(stated)

    def total(letter: int, at_price: int) -> int:
        return sum(order.size for order in book.orders(letter, at_price))

    for event, end in enumerate(event_ends(messages)[:12_000].tolist()):
        book.apply(messages.slice(at, end))
        at, row = end, end - 1
        letter = side[row]
        if event and action[row] == ADD:
            before = stated[letter][0][event - 1]
            if price[row] > before if letter == BID else price[row] < before:
                told[letter] = price[row] if total(letter, price[row]) == size[row] else None
        for letter, (prices, sizes) in stated.items():
            if told[letter] != prices[event]:
                told[letter] = None
            else:
                assert total(letter, prices[event]) == sizes[event]
                compared += 1
    assert compared > 2_000


def test_shanghai_is_sane_while_it_trades_continuously(tables: Tables) -> None:
    """Two stocks of the merged file are whole; it is cut off within the trades of a third, before those of the others.

    Crossed they are in the auctions only: 09:15 to 09:25, and 14:57 to 15:00, Shanghai.
    """
    found = tables("sse/SHorderTrans.zip")
    day = to_ns("2023-07-11")
    hours = {name: day + round(hour * 3600) * 10**9 for name, hour in (("open", 1.5), ("close", 6.95))}
    for symbol, crossed in (("605580", 1_434), ("600536", 1_849)):
        table = found[symbol, "mbo"]
        book = OrderBook().apply(table)
        assert set(book.faults) <= {"crossed", "locked"}
        assert book.faults["crossed"] == crossed
        levels = book_levels(table, 1)
        two_sided = (levels["bid_px_00"] != PRICE_NULL) & (levels["ask_px_00"] != PRICE_NULL)
        times = levels["ts_event"]
        continuous = two_sided & (times >= hours["open"]) & (times < hours["close"])
        assert continuous.sum() > 30_000
        assert (levels["bid_px_00"] < levels["ask_px_00"])[continuous].all()
    without_trades = OrderBook().apply(found["600761", "mbo"])
    assert without_trades.faults["crossed"] > 31_000, "orders that traded stay, and the book tells it"
