"""The order book: a rule each."""

from __future__ import annotations

import numpy as np
import pytest
from book_rows import SECOND, orders, px, table

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.book import OrderBook, Position
from tickvault.market.columns import Columns
from tickvault.market.schema import CODE_NULL, PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table

BOTH = ("A B 1 100 5", "A B 2 100 3", "A B 3 99 4", "A A 4 101 7")


def queue(book: OrderBook, side: str, price: float) -> list[tuple[int, int]]:
    return [tuple(order) for order in book.orders(side, px(price))]


def bids(book: OrderBook) -> list[tuple[float, int, int]]:
    levels = book.depth(99).bids
    prices = [price / px(1) for price in levels.price.tolist()]
    return list(zip(prices, levels.size.tolist(), levels.count.tolist(), strict=True))


def test_orders_queue_up_at_their_price() -> None:
    book = OrderBook().apply(orders(*BOTH))
    assert bids(book) == [(100, 8, 2), (99, 4, 1)]
    assert queue(book, "B", 100) == [(1, 5), (2, 3)]
    assert book.best() == (px(100), 8, px(101), 7)
    assert book.position(2) == Position("B", px(100), 3, 1, 5)
    assert (book.order_count, book.level_counts, book.rows, book.events) == (4, (2, 1), 4, 4)
    assert (book.ts, book.is_whole) == (4 * SECOND, True)
    assert not book.faults
    assert str(book.faults) == "nothing that did not fit"


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ("C B 1 100 2", [(1, 3), (2, 3)]),
        ("C B 1 100 5", [(2, 3)]),
        ("C B 1 - 5", [(2, 3)]),
        ("C N 1 100 5", [(2, 3)]),
        ("C B 1 100 0", [(1, 5), (2, 3)]),
        ("M B 1 100 4", [(1, 4), (2, 3)]),
        ("M B 1 100 5", [(1, 5), (2, 3)]),
        ("M B 1 100 6", [(2, 3), (1, 6)]),
        ("M B 1 98 1", [(2, 3)]),
        ("M B 3 100 4", [(1, 5), (2, 3), (3, 4)]),
        ("M B 1 100 0", [(2, 3)]),
        ("T A 1 100 5", [(1, 5), (2, 3)]),
        ("F B 1 100 5", [(1, 5), (2, 3)]),
        ("N N 0 - -", [(1, 5), (2, 3)]),
        ("R N 0 - 0", []),
    ],
)
def test_what_a_row_does(row: str, left: list[tuple[int, int]]) -> None:
    book = OrderBook(strict=True).apply(orders(*BOTH, row))
    assert queue(book, "B", 100) == left
    assert not book.faults


@pytest.mark.parametrize(
    ("row", "name", "left"),
    [
        ("C B 9 100 1", "unknown_cancel", [(1, 5), (2, 3)]),
        ("M B 9 100 1", "unknown_modify", [(1, 5), (2, 3), (9, 1)]),
        ("A B 1 100 6", "duplicate_add", [(2, 3), (1, 6)]),
        ("C B 1 100 6", "cancel_beyond", [(2, 3)]),
        ("C B 1 99 1", "other_price", [(1, 4), (2, 3)]),
        ("M B 4 100 7", "side_changed", [(1, 5), (2, 3), (4, 7)]),
        ("A B 9 - 1", "unusable", [(1, 5), (2, 3)]),
        ("A B 9 100 -", "unusable", [(1, 5), (2, 3)]),
        ("A B 9 100 -1", "unusable", [(1, 5), (2, 3)]),
        ("A B 9 100 0", "unusable", [(1, 5), (2, 3)]),
        ("A N 9 100 1", "unusable", [(1, 5), (2, 3)]),
        ("C B 1 100 -", "unusable", [(1, 5), (2, 3)]),
        ("A B 9 102 1", "crossed", [(1, 5), (2, 3)]),
        ("A B 9 101 1", "locked", [(1, 5), (2, 3)]),
    ],
)
def test_what_does_not_fit_is_counted_and_a_strict_book_raises(
    row: str, name: str, left: list[tuple[int, int]]
) -> None:
    book = OrderBook().apply(orders(*BOTH, row, "A B 10 97 1"))
    assert queue(book, "B", 100) == left
    assert book.faults[name] >= 1
    example = book.faults.examples(name)[0]
    assert (example.row, example.ts) == (4, 5 * SECOND)
    strict = OrderBook(strict=True)
    with pytest.raises(InvalidInputError, match=r"apply ES: .*: row 4 at 1970-01-01T00:00:05Z .*; a book that is not"):
        strict.apply(orders(*BOTH, row, "A B 10 97 1"))
    assert strict.rows == 5, "the row that did not fit is the last one applied"
    assert queue(strict, "B", 97) == []


def test_a_strict_book_goes_on_behind_the_row_and_tells_each_newest_fault() -> None:
    table_ = orders(*BOTH, *(f"C B {order} 100 1" for order in range(20, 29)), "A B 30 102 1")
    book = OrderBook(strict=True)
    for order in range(20, 29):
        with pytest.raises(InvalidInputError, match=f"order {order} price 100.0"):
            book.apply(table_.slice(book.rows, len(table_)))
    with pytest.raises(InvalidInputError, match=r"best bid was above the best ask .*: row 13 .* bid 102.0 ask 101.0"):
        book.apply(table_.slice(book.rows, len(table_)))
    assert dict(book.faults) == {"unknown_cancel": 9, "crossed": 1}


def test_faults_are_told_in_words_with_few_examples() -> None:
    book = OrderBook().apply(orders(*(f"C B {order} 100 1" for order in range(1, 9)), "A B 1 102 1", "A A 2 101 1"))
    assert dict(book.faults) == {"unknown_cancel": 8, "crossed": 1}
    assert [example.order_id for example in book.faults.examples("unknown_cancel")] == [1, 2, 3, 4, 5]
    assert book.faults["duplicate_add"] == 0
    with pytest.raises(KeyError):
        _ = book.faults["nonsense"]
    lines = str(book.faults).splitlines()
    assert lines[0].strip() == (
        "8  an order that is not in the book was cancelled; nothing was done; first: row 0 at 1970-01-01T00:00:01Z "
        "order 1 price 100.0 size 1"
    )
    assert lines[1].endswith("first: row 9 at 1970-01-01T00:00:10Z bid 102.0 ask 101.0")
    assert repr(book.faults) == "<Faults unknown_cancel=8, crossed=1>"


def test_in_the_middle_of_an_event_a_crossed_book_is_no_fault() -> None:
    book = OrderBook().apply(orders(*BOTH, "A B 9 102 1 0"))
    assert not book.is_whole
    assert "in the middle of an event" in repr(book.depth())
    book.apply(orders("C B 9 102 1"))
    assert book.is_whole
    assert not book.faults


def test_a_top_of_book_record_is_a_side_and_no_order() -> None:
    book = OrderBook().apply(orders(*BOTH, "A B 50 100.5 9 192"))
    assert bids(book) == [(100.5, 9, 0)]
    assert queue(book, "B", 100.5) == []
    assert book.order_count == 1
    with pytest.raises(NotFoundError, match="position: order 50 is not in the book of ES"):
        book.position(50)
    book.apply(orders("A B 51 - - 192"))
    assert bids(book) == []
    assert book.best() == (PRICE_NULL, SIZE_NULL, px(101), 7)


def test_a_snapshot_is_the_whole_book() -> None:
    """A snapshot without R clears at its first row, and so does one at another time that follows it at once."""
    first = [f"A B {order} 100 1 32 50" for order in (7, 8)]
    book = OrderBook().apply(orders(*BOTH, *first))
    assert queue(book, "B", 100) == [(7, 1), (8, 1)]
    assert dict(book.faults) == {"implied_clear": 1}
    book.apply(orders("A B 9 100 1 32 50"))
    assert queue(book, "B", 100) == [(7, 1), (8, 1), (9, 1)], "the same snapshot, in another table"
    book.apply(orders("A B 1 100 1 32 60"))
    assert queue(book, "B", 100) == [(1, 1)]
    with_clear = OrderBook().apply(orders(*BOTH, "R N 0 - 0 32 50", "A B 7 100 1 32 50", "A B 8 100 1 160 51"))
    assert queue(with_clear, "B", 100) == [(7, 1), (8, 1)], "one that begins with R goes on whatever its rows' times"
    assert not with_clear.faults


def test_rows_of_a_gap_are_counted_and_do_not_raise() -> None:
    book = OrderBook(strict=True).apply(orders(*BOTH, "A B 9 98 1 132"))
    assert dict(book.faults) == {"maybe_bad": 1}


def test_any_price_and_any_order_id() -> None:
    """No tick, no range of prices and no order of ids is assumed."""
    ids = [0, 2**64 - 1, 2**63, 1 << 40, 2 << 40, 3 << 40]
    prices = [np.iinfo(np.int64).min, -1, 0, 1, 10**18, PRICE_NULL - 1]
    rows = [(ord("A"), ord("B"), order, price, 1, 0, 1) for order, price in zip(ids, prices, strict=True)]
    rows += [(ord("A"), ord("A"), order + 1, price, 1, 0, 1) for order, price in zip(ids[2:], prices[2:], strict=True)]
    names = ("action", "side", "order_id", "price", "size", "flags", "ts_event")
    book = OrderBook().apply(table("mbo", rows, names))
    depth = book.depth(99)
    assert depth.bids.price.tolist() == prices[::-1]
    assert depth.asks.price.tolist() == prices[2:]
    assert book.position(2**64 - 1).price == -1
    assert not book.faults


def test_a_sum_beyond_63_bits_is_told() -> None:
    huge = SIZE_NULL - 1
    book = OrderBook().apply(orders(f"A B 1 100 {huge}", f"A B 2 100 {huge}"))
    assert dict(book.faults) == {"unusable": 1}
    book.apply(orders(f"C B 1 100 {huge}"))
    assert book.best()[:2] == (px(100), huge)


def test_memory_is_that_of_what_was_live_at_once() -> None:
    """A million orders that come and go in turn need the room of a few."""
    count = 500_000
    order = np.repeat(np.arange(count, dtype=np.uint64), 2)
    arrays = {
        "ts_event": np.arange(2 * count, dtype=np.int64),
        "order_id": order,
        "action": np.tile(np.frombuffer(b"AC", np.uint8), count),
        "side": np.full(2 * count, ord("B"), np.uint8),
        "price": (order % 5_000).astype(np.int64) * px(1),
        "size": np.ones(2 * count, np.int64),
    }
    book = OrderBook().apply(Table.of(Columns(schema_of("mbo"), arrays), "X", "ES"))
    assert (book.order_count, book.level_counts, len(book.faults)) == (0, (0, 0), 0)
    assert sum(array.nbytes for array in book._arrays) < 200_000


def test_copies_are_apart_and_a_cleared_book_is_new() -> None:
    book = OrderBook().apply(orders(*BOTH))
    other = book.copy()
    book.apply(orders("C B 1 100 5"))
    assert queue(other, "B", 100) == [(1, 5), (2, 3)]
    other.clear()
    assert (other.rows, other.order_count, other.ts) == (0, 0, TIME_NULL)
    assert repr(other.depth()) == "<Depth before its first row, 0 bids, 0 asks>"
    other.apply(orders("A B 1 5 1", symbol="NQ"))
    assert other.symbol == "NQ"


def test_tables_of_finer_sizes_bring_the_book_to_theirs() -> None:
    book = OrderBook().apply(orders("A B 1 100 5"))
    book.apply(orders("A B 2 100 25", size_scale=10))
    assert (book.size_scale, queue(book, "B", 100)) == (10, [(1, 50), (2, 25)])
    assert "7.5    100" in repr(book.depth())
    book.apply(orders("A B 3 100 1", "C B 1 100 2"))
    assert queue(book, "B", 100) == [(1, 30), (2, 25), (3, 10)]
    with pytest.raises(InvalidInputError, match="the sizes do not fit a scale 10 times as fine"):
        book.apply(orders(f"A B 4 100 {1 << 60}"))
    huge = OrderBook().apply(orders(f"A B 1 100 {1 << 60}"))
    with pytest.raises(InvalidInputError, match="do not fit a scale 100 times as fine"):
        huge.apply(orders("A B 2 100 1", size_scale=100))


# -- levels


def changes(*rows: tuple[str, float | None, int | None, int], **named: int) -> Table:
    found = [
        (ord(side), PRICE_NULL if price is None else px(price), SIZE_NULL if size is None else size, flags, at + 1)
        for at, (side, price, size, flags) in enumerate(rows)
    ]
    return table("mbp-delta", found, ("side", "price", "size", "flags", "ts_event"), **named)


def test_level_changes_say_what_stands_at_a_price() -> None:
    book = OrderBook().apply(changes(("B", 100, 5, 0), ("A", 101, 2, 128), ("B", 100, 3, 128), ("N", None, None, 128)))
    assert book.best() == (px(100), 3, px(101), 2)
    assert book.depth().bids.count.tolist() == [2**32 - 1]
    assert book.orders("B", px(100)) == []
    book.apply(changes(("B", 100, 0, 128), ("B", 99, 0, 128)))
    assert book.level_counts == (0, 1)
    assert dict(book.faults) == {"unknown_level": 1}


def test_a_snapshot_of_levels_clears() -> None:
    book = OrderBook().apply(changes(("B", 100, 5, 128), ("N", None, 0, 32), ("B", 90, 1, 32), ("A", 91, 1, 160)))
    assert book.best() == (px(90), 1, px(91), 1)
    assert not book.faults


TOP = ("bid_px_00", "bid_sz_00", "bid_ct_00", "ask_px_00", "ask_sz_00", "ask_ct_00", "flags", "ts_event")


def test_rows_that_state_the_book_make_it() -> None:
    rows = [(px(100), 5, 2, px(101), 7, 3, 128, 1), (px(99), 4, 1, PRICE_NULL, SIZE_NULL, 2**32 - 1, 0, 2)]
    book = OrderBook().apply(table("mbp-1", rows, TOP))
    assert book.best() == (px(99), 4, PRICE_NULL, SIZE_NULL)
    assert (book.rows, book.is_whole, book.ts) == (2, False, 2 * SECOND)
    book.apply(table("mbp-1", rows[:1], TOP))
    assert book.depth().asks.count.tolist() == [3]
    book.apply(table("mbp-1", [], TOP))
    assert (book.rows, book.best().ask_px) == (3, px(101))


# -- what is refused


def test_what_is_no_book_is_refused() -> None:
    trades = Table.of(Columns(schema_of("trades"), {"ts_event": np.array([1])}), "X", "ES")
    with pytest.raises(InvalidInputError, match=r"apply ES: a book is made of mbo, .*; rows of trades tell none"):
        OrderBook().apply(trades)
    bare = Table.of(Columns(schema_of("mbo"), {"ts_event": np.array([1])}), "X", "ES")
    with pytest.raises(InvalidInputError, match="rows of mbo need action, side, order_id, price, size"):
        OrderBook().apply(bare)


def test_several_series_are_no_book() -> None:
    symbol = Column("symbol", Kind.CODE)
    arrays = dict(orders(*BOTH).to_columns().arrays)
    arrays["symbol"] = np.array([0, 1, 0, CODE_NULL], np.int32)
    several = Columns(schema_of("mbo"), arrays, {"symbol": ["ES", "NQ"]}, [symbol])
    with pytest.raises(InvalidInputError, match="apply: the rows are of ES, NQ, and a book is of one symbol"):
        OrderBook().apply(Table.of(several))
    arrays["symbol"] = np.zeros(4, np.int32)
    one = Columns(schema_of("mbo"), arrays, {"symbol": ["ES", "NQ"]}, [symbol])
    assert OrderBook().apply(Table.of(one)).order_count == 4
    quotes = {"ts_event": np.array([1, 2]), "exchange": np.array([0, 1], np.int32)}
    with pytest.raises(InvalidInputError, match="several exchanges, and each is a book of its own; nbbo makes one"):
        OrderBook().apply(Table.of(Columns(schema_of("bbo"), quotes, {"exchange": ["P", "Q"]}), "X", "AIG"))


def test_a_book_goes_on_with_its_own_kind() -> None:
    book = OrderBook().apply(orders(*BOTH))
    with pytest.raises(
        InvalidInputError, match="the book holds orders, and rows of mbp-delta are not applied to those"
    ):
        book.apply(changes(("B", 100, 5, 128)))
    with pytest.raises(InvalidInputError, match="apply NQ: the book is of ES; clear it first, or take another book"):
        book.apply(orders("A B 1 100 1", symbol="NQ"))


def test_questions_that_make_no_sense_are_refused() -> None:
    book = OrderBook().apply(orders(*BOTH))
    for levels in (0, -1, 1.5, True):
        with pytest.raises(InvalidInputError, match="levels must be a number from 1"):
            book.depth(levels)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="side must be 'B'"):
        book.orders("N", px(100))
    with pytest.raises(InvalidInputError, match=r"price must be an int64 \(prices in units of 1e-9\), was 100.0"):
        book.orders("B", 100.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="order_id must be an uint64"):
        book.position(-1)


# -- how it looks


def test_a_depth_looks_like_a_ladder() -> None:
    book = OrderBook().apply(orders(*BOTH, "A A 5 101.25 1200"))
    assert repr(book.depth()).splitlines() == [
        "<Depth ES at 1970-01-01T00:00:05Z, 2 bids, 2 asks>",
        "orders  bid size   price  ask size  orders",
        "                  101.25     1,200       1",
        "                  101.00         7       1",
        "     2         8  100.00",
        "     1         4   99.00",
    ]
    assert repr(book).startswith("<OrderBook ES: 5 rows, 5 orders, 2 bid and 2 ask levels, 0 faults>\n<Depth ES at")


def test_a_depth_is_a_frame_and_never_changes() -> None:
    depth = OrderBook().apply(orders(*BOTH)).depth()
    frame = depth.to_polars()
    assert frame.columns == ["level", "bid_ct", "bid_sz", "bid_px", "ask_px", "ask_sz", "ask_ct"]
    assert frame.rows() == [(0, 2, 8.0, 100.0, 101.0, 7.0, 1), (1, 1, 4.0, 99.0, None, None, None)]
    assert depth.to_polars(prices="int")["bid_px"].to_list() == [px(100), px(99)]
    assert (depth.mid, depth.spread) == (100.5, 1.0)
    with pytest.raises(AttributeError, match="a Depth cannot be changed: ts"):
        depth.ts = 1
    with pytest.raises(ValueError, match="read-only"):
        depth.bids.price[0] = 1
    assert depth == OrderBook().apply(orders(*BOTH)).depth()
    assert depth != OrderBook().apply(orders(*BOTH)).depth(1)
    empty = OrderBook().depth()
    assert np.isnan([empty.mid, empty.spread]).all()
    assert empty.to_polars().height == 0
