"""The rows that an exchange writes: where each column of `mbo` and of the tops of the book goes.

Columns are rows of two arrays, so that a kernel takes few arrays and each column is contiguous.

Invariants: nothing of a row is left unwritten; a top is written only if it differs from the one before it.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from tickvault.market.simulate.book import COUNT, SHOWN

# Rows of what `exchange.run` fills, each a column of `mbo`: of int64, and of uint8.
TS_EVENT, TS_RECV, ORDER_ID, PRICE, ROW_SIZE, SEQUENCE, IN_FLIGHT = range(7)
FLAGS, ACTION, ROW_SIDE = range(3)
WIDE, NARROW = 7, 3
# Rows of the tops of the book, int64: the row of the batch that ended the event which changed it, and what it is then.
TOP_ROW, TOP_BID, TOP_BID_SIZE, TOP_BID_COUNT, TOP_ASK, TOP_ASK_SIZE, TOP_ASK_COUNT = range(7)
TOPS = 7


@njit(nogil=True, cache=True)
def put(
    state: Any, wide: Any, narrow: Any, at: Any, action: Any, side: Any, number: Any, level: Any, size: Any
) -> None:
    """Write a row of `mbo`; its flags are none yet."""
    wide[TS_EVENT, at] = state.time
    wide[TS_RECV, at] = state.received
    wide[ORDER_ID, at] = number
    wide[PRICE, at] = (state.lowest_tick + level) * state.tick
    wide[ROW_SIZE, at] = size
    narrow[FLAGS, at] = 0
    narrow[ACTION, at] = action
    narrow[ROW_SIDE, at] = side
    wide[IN_FLIGHT, at] = state.in_flight
    wide[SEQUENCE, at] = state.sequence


@njit(nogil=True, cache=True)
def note_top(state: Any, book: Any, at: Any, tops: Any, count: Any) -> Any:
    """Write the top of the book if it changed; return how many there are."""
    bid, ask = state.bid, state.ask
    if (
        state.top_bid == bid
        and state.top_ask == ask
        and state.top_bid_size == book[bid, SHOWN]
        and state.top_ask_size == book[ask, SHOWN]
        and state.top_bid_count == book[bid, COUNT]
        and state.top_ask_count == book[ask, COUNT]
    ):
        return count
    state.top_bid, state.top_bid_size, state.top_bid_count = bid, book[bid, SHOWN], book[bid, COUNT]
    state.top_ask, state.top_ask_size, state.top_ask_count = ask, book[ask, SHOWN], book[ask, COUNT]
    tops[TOP_ROW, count] = at
    tops[TOP_BID, count] = (state.lowest_tick + bid) * state.tick
    tops[TOP_BID_SIZE, count], tops[TOP_BID_COUNT, count] = state.top_bid_size, state.top_bid_count
    tops[TOP_ASK, count] = (state.lowest_tick + ask) * state.tick
    tops[TOP_ASK_SIZE, count], tops[TOP_ASK_COUNT, count] = state.top_ask_size, state.top_ask_count
    return count + 1
