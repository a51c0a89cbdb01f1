"""What an event does to the book: an order is added, cancelled, changed, or crosses.

Invariants: no order is posted through the other side, and none leaves the levels; of equal prices the order that stood
there first is met first; each function writes the rows of what it did, and nothing else changes the book.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.schema import ADD, ASK, BID, CANCEL, FILL, MODIFY, TRADE
from tickvault.market.simulate.book import (
    AFTER,
    COUNT,
    FIRST,
    LAST,
    LEVEL,
    LIVE,
    NOBODY,
    NUMBER,
    ORDERS_MAX,
    SIDE,
    SIZE,
    insert,
    remove,
    resize,
)
from tickvault.market.simulate.draws import below, distance, draw, lots
from tickvault.market.simulate.path import LEVELS
from tickvault.market.simulate.rows import ROW_SIZE, put

#: Orders that one aggressor meets at most, and rows of an event at most.
FILLS_MAX = 48
EVENT_ROWS_MAX = 3 * FILLS_MAX + 1
#: Orders that a side keeps whatever happens.
SIDE_MIN = 8
#: Slots that are kept free for what an event may need.
SLOTS_SPARE = 64


@njit(nogil=True, cache=True)
def add(state: Any, book: Any, wide: Any, narrow: Any, at: Any, side: Any, value: Any) -> None:
    """Post a limit order."""
    bits = draw(state)
    away = distance(bits)
    size = lots(bits >> np.uint64(10)) * state.lot
    if side == BID:
        reference = (value - state.half_spread) >> 16
        level = max(min(reference, state.ask - 1) - away, state.floor)
    else:
        reference = (value + state.half_spread + 65535) >> 16
        level = min(max(reference, state.bid + 1) + away, LEVELS - 2)
    state.number += 1
    insert(state, book, side, level, size, state.number)
    put(state, wide, narrow, at, ADD, side, state.number, level, size)


@njit(nogil=True, cache=True)
def _some_order(state: Any, book: Any, bits: Any) -> Any:
    """Return a slot; in one half of the cases a young order is more likely."""
    alive = state.bids + state.asks
    place = below(bits, alive)
    if bits & np.uint64(1):
        place = max(place, below(bits << np.uint64(31), alive))
    return book[LEVELS + place, LIVE]


@njit(nogil=True, cache=True)
def cancel(state: Any, book: Any, wide: Any, narrow: Any, at: Any, value: Any) -> None:
    """Take an order out, or a part of it; add one where the side would become too thin."""
    bits = draw(state)
    slot = _some_order(state, book, bits)
    # Who quotes fades before the value, from the end of the queue.
    if bits & np.uint64(6):
        if state.bid > (value - state.half_spread) >> 16:
            slot = book[state.bid, LAST]
        elif state.ask < (value + state.half_spread + 65535) >> 16:
            slot = book[state.ask, LAST]
    side = book[slot, SIDE]
    if (state.bids if side == BID else state.asks) <= SIDE_MIN:
        add(state, book, wide, narrow, at, side, value)
        return
    size, gone = book[slot, SIZE], book[slot, SIZE]
    if bits & np.uint64(0x78) == np.uint64(0) and size > state.lot:
        gone = state.lot * (1 + below(bits, size // state.lot - 1))
    put(state, wide, narrow, at, CANCEL, side, book[slot, NUMBER], book[slot, LEVEL], gone)
    if gone == size:
        remove(state, book, slot)
    else:
        resize(book, slot, size - gone)


@njit(nogil=True, cache=True)
def modify(state: Any, book: Any, wide: Any, narrow: Any, at: Any) -> None:
    """Change an order's size, or its price by a tick; only less at the same price keeps its place."""
    bits = draw(state)
    slot = _some_order(state, book, bits)
    side, number, level = book[slot, SIDE], book[slot, NUMBER], book[slot, LEVEL]
    size = book[slot, SIZE]
    kind = bits & np.uint64(6)
    if kind == np.uint64(0) and size > state.lot:
        size = state.lot * (1 + below(bits, size // state.lot - 1))
        resize(book, slot, size)
    else:
        if kind == np.uint64(2):
            size += state.lot * (1 + below(bits, 5))
        else:
            moved = level + (1 if bits & np.uint64(8) else -1)
            crosses = moved >= state.ask if side == BID else moved <= state.bid
            if crosses or moved < state.floor or moved > LEVELS - 2:
                size += state.lot
            else:
                level = moved
        remove(state, book, slot)
        insert(state, book, side, level, size, number)
    put(state, wide, narrow, at, MODIFY, side, number, level, size)


@njit(nogil=True, cache=True)
def trade(state: Any, book: Any, wide: Any, narrow: Any, at: Any, side: Any, limit: Any, size: Any, taken: Any) -> Any:
    """Let an order of this side take what stands up to its limit; return the row after its last.

    `taken` is for the slots that it meets and what each loses; there is room for FILLS_MAX.
    """
    buys = side == BID
    resting = ASK if buys else BID
    toward = 1 if buys else -1
    level = state.ask if buys else state.bid
    spare = min((state.asks if buys else state.bids) - SIDE_MIN, FILLS_MAX)
    state.number += 1
    number = state.number
    met = np.int64(0)
    while size > 0 and met < spare and (limit - level) * toward >= 0:
        trade_row, traded = at, np.int64(0)
        put(state, wide, narrow, at, TRADE, side, number, level, 0)
        at += 1
        slot = book[level, FIRST]
        while slot != NOBODY and size > 0 and met < spare:
            amount = min(size, book[slot, SIZE])
            put(state, wide, narrow, at, FILL, resting, book[slot, NUMBER], level, amount)
            at += 1
            taken[met, 0], taken[met, 1] = slot, amount
            met += 1
            traded += amount
            size -= amount
            slot = book[slot, AFTER]
        wide[ROW_SIZE, trade_row] = traded
        if size > 0 and met < spare:
            level += toward
            while book[level, COUNT] == 0:
                level += toward
    for each in range(met):
        slot, amount = taken[each, 0], taken[each, 1]
        put(state, wide, narrow, at, CANCEL, resting, book[slot, NUMBER], book[slot, LEVEL], amount)
        at += 1
        if amount == book[slot, SIZE]:
            remove(state, book, slot)
        else:
            resize(book, slot, book[slot, SIZE] - amount)
    crosses = limit >= state.ask if buys else limit <= state.bid
    if size > 0 and not crosses and state.bids + state.asks < ORDERS_MAX - SLOTS_SPARE and number & 1:
        insert(state, book, side, limit, size, number)
        put(state, wide, narrow, at, ADD, side, number, limit, size)
        at += 1
    return at
