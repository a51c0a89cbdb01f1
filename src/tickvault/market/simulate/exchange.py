"""The simulated exchange: what happens next, and the rows of `mbo` that tell it.

Each event is one of four:

=========== ==========================================================================================================
an addition a limit order, at a distance from the touch that is now and then large; never through the other side
a cancel    of an order, whole or in part; young orders, and those that the value has moved past, go first
a change    of an order's size (less keeps its place in the queue, more loses it) or price
a trade     an order that crosses: it takes the best levels in order of price, then time, and what is left of it is
            posted or goes away; towards the value, when that lies beyond the touch
=========== ==========================================================================================================

A trade's rows are, for each level, a T of the aggressor with what was traded there and an F for each order that it met,
and after these a C for each of those orders with the amount that it lost; then an A if a rest is posted.  An event's
rows share their times and sequence, and its last has F_LAST.

Invariants: after an event neither side is empty and the book is not crossed; the state depends on the rows so far and
not on how they were cut into batches; a day has exactly as many rows as were asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.schema import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, NO_SIDE, PRICE_NULL
from tickvault.market.simulate.arrivals import receive, steer, wait
from tickvault.market.simulate.book import ORDERS_MAX
from tickvault.market.simulate.draws import below, draw, lots
from tickvault.market.simulate.orders import (
    EVENT_ROWS_MAX,
    FILLS_MAX,
    SIDE_MIN,
    SLOTS_SPARE,
    add,
    cancel,
    modify,
    trade,
)
from tickvault.market.simulate.path import LEVELS
from tickvault.market.simulate.rows import FLAGS, PRICE, note_top, put

_OPENING_LEVELS = 24


@njit(nogil=True, cache=True)
def _happen(state: Any, book: Any, wide: Any, narrow: Any, at: Any, value: Any, taken: Any) -> Any:
    """Let one event happen; return the row after its last."""
    bits = draw(state)
    chance = np.int64(bits & np.uint64(1023))
    cheap = (state.ask << 16) < value
    dear = (state.bid << 16) > value
    trades = 120 if cheap or dear else 24
    spare = min(state.bids, state.asks) - SIDE_MIN
    if chance < trades and spare > 2 and state.rows_left > EVENT_ROWS_MAX:
        # Orders are split: the side of the last trade is likely that of the next.
        if cheap or dear:
            buys = cheap
        elif bits & np.uint64(0xC00):
            buys = state.aggressor == BID
        else:
            buys = (((state.bid + state.ask) << 15) - value) < (below(bits, 1 << 17) - (1 << 16))
        hurry = np.int64((bits >> np.uint64(12)) & np.uint64(15))
        reach = 2 if hurry == 0 else (1 if hurry < 3 else 0)
        size = lots(bits >> np.uint64(16)) * state.lot
        if buys:
            limit = max(state.ask + reach, (value >> 16) if cheap else 0)
        else:
            limit = min(state.bid - reach, ((value >> 16) + 1) if dear else LEVELS)
        side = BID if buys else ASK
        state.aggressor = side
        return trade(state, book, wide, narrow, at, side, min(max(limit, state.floor), LEVELS - 2), size, taken)
    alive = state.bids + state.asks
    # Orders are cancelled as often as there are many of them.
    cancels = 1024 - min(440 * alive // state.orders, 800)
    if alive > ORDERS_MAX - SLOTS_SPARE or chance >= cancels:
        cancel(state, book, wide, narrow, at, value)
    elif chance < trades + 90:
        modify(state, book, wide, narrow, at)
    else:
        thin = below(bits, alive) < state.asks
        add(state, book, wide, narrow, at, BID if thin else ASK, value)
    return at + 1


@njit(nogil=True, cache=True)
def _open(state: Any, book: Any, wide: Any, narrow: Any, value: Any) -> Any:
    """Write the opening book: R, then an A for each order; return the row after the last."""
    state.sequence += 1
    receive(state)
    put(state, wide, narrow, 0, CLEAR, NO_SIDE, 0, 0, 0)
    wide[PRICE, 0] = PRICE_NULL
    narrow[FLAGS, 0] = F_SNAPSHOT
    state.bid = (value >> 16) - 1
    state.ask = state.bid + 1
    for at in range(1, state.orders + 1):
        # Not all at the touch: who quotes before the open does it at several levels.
        away = below(draw(state), _OPENING_LEVELS) << 16
        if at & 1:
            add(state, book, wide, narrow, at, BID, value - away)
        else:
            add(state, book, wide, narrow, at, ASK, value + away)
        narrow[FLAGS, at] = F_SNAPSHOT
    narrow[FLAGS, state.orders] |= F_LAST
    return state.orders + 1


@njit(nogil=True, cache=True)
def run(state: Any, book: Any, weights: Any, values: Any, wide: Any, narrow: Any, tops: Any, wanted: Any) -> Any:
    """Let events happen until there are `wanted` rows or the day ends.

    Returns (rows, rows of `tops`); `tops` of no length is not written.  There is room for wanted + EVENT_ROWS_MAX rows,
    and for the opening book.
    """
    taken = np.empty((FILLS_MAX, 2), np.int64)
    tops_too = tops.shape[1] > 0
    count = noted = np.int64(0)
    while count < wanted and state.rows_left > 0:
        if state.events == 0:
            steer(state, weights)
            after = _open(state, book, wide, narrow, values[0])
        else:
            wait(state, weights)
            receive(state)
            state.sequence += 1
            after = _happen(state, book, wide, narrow, count, values[state.step], taken)
            narrow[FLAGS, after - 1] |= F_LAST
        state.events += 1
        state.rows += after - count
        state.rows_left -= after - count
        if tops_too:
            noted = note_top(state, book, after - 1, tops, noted)
        count = after
    return count, noted
