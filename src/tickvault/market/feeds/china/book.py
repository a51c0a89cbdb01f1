"""Orders and trades of Shanghai and Shenzhen into rows of `mbo`, which is Databento's.

At both exchanges executions change the book; in `mbo` only A, C, M and R do. So a trade becomes T (the aggressor's
side), then for each order that rested F and C. Which side rests is said by the aggressor's side; where that is unknown,
as in the auctions, both do.

The exchanges differ in the aggressor. Shanghai posts only what remains of it, after its trades, so that it is not in
the book when it trades. Shenzhen posts each order whole, before its trades, so that both sides of a trade leave the
book: the aggressor's C stands last. And Shenzhen's orders need not have a price:

- a market order is N when it arrives, and its trades take nothing of it out of the book; what neither trades nor is
  cancelled before the next message of the security rests at the price of its last trade, and is added there;
- an order at the best price of its own side is added at the best price of those orders, of this source, that rest; N if
  there is none;
- a cancel of an order that is not in the book is N.

Flag 128 (`F_LAST`) stands on the last row of an event: an aggressor's trades with what remains of it, an auction's
trades, or a single order or cancel. Before it the book may be crossed.

Invariants: C carries the amount removed, and the price at which the order rests where this source has told it; rows of
one line have consecutive ordinals, its row of `trades` last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.feeds.china.rows import CANCELLED, DELETED, LIMIT, MARKET, ORDER, TRADED
from tickvault.market.schema import (
    ADD,
    ASK,
    BID,
    CANCEL,
    F_LAST,
    FILL,
    NO_SIDE,
    NONE,
    PRICE_NULL,
    TRADE,
)

#: Most rows of `mbo` that one line can become: T, F, C, F, C, and A of what remains of a market order.
_ROWS_MAX = 6
#: How an order stands in the book.
_BOOKED, _APART = 1, 2


class Book(NamedTuple):
    """The orders seen, in a hash table by their numbers; a stream is one day of one channel."""

    keys: Array
    state: Array
    side: Array
    price: Array
    left: Array


def empty_book(order_count: int) -> Book:
    """Return a book with room for so many orders."""
    size = 1 << max(int(order_count * 2 + 16).bit_length(), 4)
    return Book(
        np.zeros(size, np.int64),
        np.zeros(size, np.uint8),
        np.zeros(size, np.uint8),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
    )


@njit(nogil=True, cache=True)
def _slot(keys: Any, key: Any) -> Any:
    """Return where an order is, or the free place where it would be."""
    mask = len(keys) - 1
    at = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(nogil=True, cache=True)
def _own_best(book: Any, side: Any) -> Any:
    best = np.int64(PRICE_NULL)
    for at in range(len(book.keys)):
        if book.state[at] == _BOOKED and book.side[at] == side and book.left[at] > 0:
            price = book.price[at]
            if price != PRICE_NULL and (
                best == PRICE_NULL or (side == 1 and price > best) or (side == 2 and price < best)
            ):
                best = price
    return best


@njit(nogil=True, cache=True)
def _aggressor(rows: Any, at: Any) -> Any:
    """Return the order that a line is about: an order itself, of a trade its aggressor, 0 if unknown."""
    if rows.kind[at] == TRADED:
        if rows.side[at] == 1:
            return rows.buy[at]
        return rows.sell[at] if rows.side[at] == 2 else 0
    return rows.buy[at] if rows.side[at] == 1 else rows.sell[at]


@njit(nogil=True, cache=True)
def _names(rows: Any, at: Any, order: Any) -> Any:
    return order != 0 and (rows.buy[at] == order or rows.sell[at] == order)


@njit(nogil=True, cache=True)
def _continues(rows: Any, at: Any) -> Any:
    """Return whether the next line is of the same event."""
    after = at + 1
    if after >= len(rows.kind) or not rows.joined[at]:
        return False
    kind, next_kind = rows.kind[at], rows.kind[after]
    order = _aggressor(rows, at)
    same_time = rows.ts_event[at] == rows.ts_event[after]
    if kind == TRADED and next_kind == TRADED:
        if rows.side[at] == 0 and rows.side[after] == 0:
            return same_time and rows.price[at] == rows.price[after]
        return order != 0 and order == _aggressor(rows, after)
    if kind == TRADED and next_kind == ORDER:
        return order != 0 and order == _aggressor(rows, after)
    if kind == ORDER and next_kind == TRADED:
        if rows.side[after] == 0:
            return same_time and _names(rows, after, order)
        return order == _aggressor(rows, after)
    if next_kind == CANCELLED and (kind == TRADED or (kind == ORDER and rows.pricing[at] == MARKET)):
        return same_time and order != 0 and order == _aggressor(rows, after)
    return False


class Rows(NamedTuple):
    """Columns of `rows.ROW` as the kernel takes them."""

    kind: Array
    side: Array
    pricing: Array
    ts_event: Array
    price: Array
    size: Array
    buy: Array
    sell: Array
    joined: Array
    """bool: the next line is of the same day and channel."""


class Made(NamedTuple):
    """Rows of `mbo`."""

    source: Array
    """int64: the line that each is of."""
    ordinal: Array
    action: Array
    side: Array
    flags: Array
    price: Array
    size: Array
    order_id: Array


@njit(nogil=True, cache=True)
def _put(made: Any, at: Any, source: Any, action: Any, side: Any, price: Any, size: Any, order: Any) -> Any:
    made.source[at] = source
    made.action[at] = action
    made.side[at] = BID if side == 1 else (ASK if side == 2 else NO_SIDE)
    made.flags[at] = 0
    made.price[at] = price
    made.size[at] = size
    made.order_id[at] = order
    return at + 1


@njit(nogil=True, cache=True)
def _order(rows: Any, at: Any, book: Any, made: Any, out: Any) -> Any:
    order, side = _aggressor(rows, at), rows.side[at]
    price = rows.price[at]
    if rows.pricing[at] != LIMIT:
        price = np.int64(PRICE_NULL) if rows.pricing[at] == MARKET else _own_best(book, side)
    booked = price != PRICE_NULL
    slot = _slot(book.keys, order)
    book.keys[slot] = order
    book.state[slot] = _BOOKED if booked else _APART
    book.side[slot], book.price[slot], book.left[slot] = side, price, rows.size[at]
    return _put(made, out, at, ADD if booked else NONE, side, price, rows.size[at], order)


@njit(nogil=True, cache=True)
def _cancel(rows: Any, at: Any, book: Any, made: Any, out: Any) -> Any:
    order, side = _aggressor(rows, at), rows.side[at]
    price, action = rows.price[at], CANCEL
    slot = _slot(book.keys, order)
    if order != 0 and book.keys[slot] == order:
        book.left[slot] -= rows.size[at]
        action = CANCEL if book.state[slot] == _BOOKED else NONE
        if price == PRICE_NULL:
            price = book.price[slot]
    return _put(made, out, at, action, side, price, rows.size[at], order)


@njit(nogil=True, cache=True)
def _trade(rows: Any, at: Any, book: Any, made: Any, out: Any) -> Any:
    flagged, price, size = rows.side[at], rows.price[at], rows.size[at]
    out = _put(made, out, at, TRADE, flagged, price, size, _aggressor(rows, at))
    # The side that rests first: what is left of the book's event is the aggressor's own.
    first = 2 if flagged == 1 else 1
    for side in (first, 3 - first):
        order = rows.buy[at] if side == 1 else rows.sell[at]
        slot = _slot(book.keys, order)
        known = order != 0 and book.keys[slot] == order
        rests = side != flagged
        resting_price = price
        if known:
            book.left[slot] -= size
            if book.state[slot] == _APART:
                book.price[slot] = price
                continue
            resting_price = book.price[slot]
        if rests:
            out = _put(made, out, at, FILL, side, price, size, order)
        if known or rests:
            out = _put(made, out, at, CANCEL, side, resting_price, size, order)
    return out


@njit(nogil=True, cache=True)
def _post_remainders(rows: Any, at: Any, book: Any, made: Any, out: Any) -> Any:
    """Add what is left of a market order at the price of its last trade, once its event is over."""
    after = at + 1
    goes_on = after < len(rows.kind) and rows.joined[at]
    for order in (rows.buy[at], rows.sell[at]):
        slot = _slot(book.keys, order)
        if order == 0 or book.keys[slot] != order or book.state[slot] != _APART or book.left[slot] <= 0:
            continue
        if goes_on and rows.kind[after] != ORDER and _names(rows, after, order):
            continue
        book.state[slot] = _BOOKED
        out = _put(made, out, at, ADD, book.side[slot], book.price[slot], book.left[slot], order)
    return out


@njit(nogil=True, cache=True)
def _expand(rows: Any, begin: Any, end: Any, executed: Any, book: Any, ordinal: Any, made: Any, trades: Any) -> Any:
    out = 0
    for at in range(begin, end):
        if at > 0 and not rows.joined[at - 1]:
            book.keys[:] = 0
        before = out
        kind = rows.kind[at]
        if kind == ORDER:
            out = _order(rows, at, book, made, out)
        elif kind in {DELETED, CANCELLED}:
            out = _cancel(rows, at, book, made, out)
        elif executed:
            out = _trade(rows, at, book, made, out)
            out = _post_remainders(rows, at, book, made, out)
        if out > before and not _continues(rows, at):
            made.flags[out - 1] = F_LAST
        for row in range(before, out):
            made.ordinal[row] = ordinal
            ordinal += 1
        if kind == TRADED:
            trades[at - begin] = ordinal
            ordinal += 1
    return out, ordinal


def expand(rows: Rows, begin: int, end: int, executed: bool, book: Book, ordinal: int) -> tuple[Made, Array, int]:
    """Make the rows of `mbo` of some lines of one security.

    Parameters
    ----------
    rows : Rows
        All lines of the security, in the order of day, channel and sequence.
    begin, end : int
        Those to expand, on from where the call before ended.
    executed : bool
        Whether trades change the book: not where the source holds no orders.
    book : Book
        As the call before left it.
    ordinal : int
        Number of the next stored row.

    Returns
    -------
    made : Made
    trades : ndarray of int64, shape (end - begin,)
        Ordinal of each line's row of `trades`, where it is a trade.
    ordinal : int
        The next one.
    """
    room = (end - begin) * _ROWS_MAX
    made = Made(
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.uint8),
        np.empty(room, np.uint8),
        np.empty(room, np.uint8),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
    )
    trades = np.empty(end - begin, np.int64)
    count, ordinal = _expand(rows, begin, end, executed, book, ordinal, made, trades)
    return Made(*(column[:count].copy() for column in made)), trades, int(ordinal)
