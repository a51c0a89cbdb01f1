"""The order book of the simulator: price levels in a row, the orders of each in a queue.

A level is a tick; levels count from the lowest price that the day may reach. An order is a slot. The slots in use stand
at the front of `live`, in any order, and the free ones behind them, so that picking one at random, taking a new one and
giving one back are each one step.

Invariants: a queue holds its orders by time; a level is of one side; the best bid is below the best ask; of each side
there is always an order, or the best level of it is not asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.schema import ASK, BID
from tickvault.market.simulate.path import LEVELS

ORDERS_MAX = 4096
NOBODY = 0
# Columns of a level's row: the order that is served first, or NOBODY; the last one; how many; what they all come to.
FIRST, LAST, COUNT, SHOWN = range(4)
# Columns of an order's row: the order behind it in its queue, or NOBODY; the one before it; and what it is. PLACE is
# the row in which its slot stands in column LIVE, which is the list of slots and has nothing else to do with its row.
AFTER, BEFORE, LEVEL, SIZE, NUMBER, SIDE, PLACE, LIVE = range(8)


def empty_book() -> Array:
    """Return a book without orders, int64 of shape (LEVELS + ORDERS_MAX, 8): a row for each level, then for each slot.

    It is one array, because each one more that a kernel takes costs it time; a row is a line of the processor's cache.
    """
    book = np.zeros((LEVELS + ORDERS_MAX, 8), np.int64)
    book[:LEVELS, [FIRST, LAST]] = NOBODY
    book[LEVELS:, PLACE] = book[LEVELS:, LIVE] = np.arange(LEVELS, LEVELS + ORDERS_MAX)
    return book


@njit(nogil=True, cache=True)
def insert(state: Any, book: Any, side: Any, level: Any, size: Any, number: Any) -> None:
    """Put an order at the end of its level's queue."""
    slot = book[LEVELS + state.bids + state.asks, LIVE]
    book[slot, LEVEL] = level
    book[slot, SIZE] = size
    book[slot, NUMBER] = number
    book[slot, SIDE] = side
    last = book[level, LAST]
    book[slot, BEFORE] = last
    book[slot, AFTER] = NOBODY
    if last == NOBODY:
        book[level, FIRST] = slot
    else:
        book[last, AFTER] = slot
    book[level, LAST] = slot
    book[level, COUNT] += 1
    book[level, SHOWN] += size
    if side == BID:
        if state.bids == 0 or level > state.bid:
            state.bid = level
        state.bids += 1
    else:
        if state.asks == 0 or level < state.ask:
            state.ask = level
        state.asks += 1


@njit(nogil=True, cache=True)
def remove(state: Any, book: Any, slot: Any) -> None:
    """Take an order out of the book."""
    level = book[slot, LEVEL]
    before, after = book[slot, BEFORE], book[slot, AFTER]
    if before == NOBODY:
        book[level, FIRST] = after
    else:
        book[before, AFTER] = after
    if after == NOBODY:
        book[level, LAST] = before
    else:
        book[after, BEFORE] = before
    book[level, COUNT] -= 1
    book[level, SHOWN] -= book[slot, SIZE]
    # The last of the live ones takes its place, and it is the first of the free ones.
    place, final = book[slot, PLACE], LEVELS + state.bids + state.asks - 1
    moved = book[final, LIVE]
    book[place, LIVE], book[final, LIVE] = moved, slot
    book[moved, PLACE], book[slot, PLACE] = place, final
    if book[slot, SIDE] == BID:
        state.bids -= 1
        if state.bids and level == state.bid:
            while book[state.bid, COUNT] == 0:
                state.bid -= 1
    else:
        state.asks -= 1
        if state.asks and level == state.ask:
            while book[state.ask, COUNT] == 0:
                state.ask += 1


@njit(nogil=True, cache=True)
def resize(book: Any, slot: Any, size: Any) -> None:
    """Change an order's size where it stands."""
    book[book[slot, LEVEL], SHOWN] += size - book[slot, SIZE]
    book[slot, SIZE] = size


assert ASK != BID
