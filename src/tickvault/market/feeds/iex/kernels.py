"""IEX DEEP 1.0 and TOPS 1.5 and 1.6 messages into rows: the kernel that walks them.

Numbers are little-endian; in a segment each message stands behind the two bytes of its length and begins with its type
(1 byte), a byte of flags or detail, the time (8, ns since the epoch) and, but for system events, the symbol (8).

Invariants: a message shorter than the specification says makes no row and is noted; a longer one is read as far as the
specification goes, for IEX lengthens messages without notice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.feeds.loads import address, byte_at, little16, little32, little64

#: The least bytes of each message, without the two of its length prefix.
SIZES = {
    "S": 10,
    "D": 31,
    "H": 22,
    "I": 18,
    "O": 18,
    "P": 19,
    "E": 18,
    "8": 30,
    "5": 30,
    "Q": 42,
    "T": 38,
    "X": 26,
    "B": 38,
    "A": 80,
}
SIZE_OF_TYPE = np.zeros(256, np.int64)
for _letter, _size in SIZES.items():
    SIZE_OF_TYPE[ord(_letter)] = _size

# What is noted of a message: an event to be decoded apart, or why it made no row.
EVENT, WRONG_SIZE, CUT_OFF, OUT_OF_RANGE = range(4)
NOTE_WORDS = 9
"""(offset, bytes there, sequence, input row, ordinal or -1, what, time of receipt, doubtful, key of the symbol)."""

# Places in the state.
LEVELS, QUOTES, TRADES, NOTES, NEXT_ORDINAL, SYMBOLS, INPUT_ROWS, DOUBTFUL, UNKNOWN = range(9)
STATE_COUNT = 9
#: Prices are stored in units of 1e-9, and IEX's are in units of 1e-4.
_PRICE_MAX = (2**63 - 2) // 100_000


@njit(nogil=True, cache=True)
def _key(name: Any, names: Any, slots: Any, state: Any) -> Any:
    """Return the number of a symbol, given in the order in which they come; -1 if there are too many."""
    mask = len(slots) - 1
    slot = (name ^ (name >> 29) ^ (name >> 43)) * 0x2545F491 & mask
    while slots[slot] >= 0:
        if names[slots[slot]] == name:
            return slots[slot]
        slot = (slot + 1) & mask
    number = state[5]
    if number >= len(names):
        return -1
    names[number] = name
    slots[slot] = number
    state[5] = number + 1
    return number


@njit(nogil=True, cache=True, inline="always")
def _put(
    rows: Any, at: Any, ts: Any, number: Any, price: Any, size: Any, marks: Any, sequence: Any, ordinal: Any, extra: Any
) -> None:
    rows[at, 0] = ts
    rows[at, 1] = number
    rows[at, 2] = price
    rows[at, 3] = size
    rows[at, 4] = marks
    rows[at, 5] = sequence
    rows[at, 6] = ordinal
    rows[at, 7] = extra


@njit(nogil=True, cache=True)
def _note(
    notes: Any, state: Any, at: Any, size: Any, sequence: Any, what: Any, received: Any, doubtful: Any, key: Any
) -> None:
    place = state[3]
    ordinal = -1
    if what == 0:
        ordinal = state[4]
        state[4] += 1
    notes[place, 0] = at
    notes[place, 1] = size
    notes[place, 2] = sequence
    notes[place, 3] = state[6]
    notes[place, 4] = ordinal
    notes[place, 5] = what
    notes[place, 6] = received
    notes[place, 7] = doubtful
    notes[place, 8] = key
    state[3] = place + 1


@njit(nogil=True, cache=True)
def decode(
    data: Any,
    segments: Any,
    sizes: Any,
    names: Any,
    slots: Any,
    levels: Any,
    level_keys: Any,
    level_counts: Any,
    quotes: Any,
    quote_keys: Any,
    quote_counts: Any,
    trades: Any,
    trade_keys: Any,
    trade_counts: Any,
    notes: Any,
    types: Any,
    state: Any,
) -> None:
    """Walk the messages of segments, int64 of shape (n, 7).

    (begin, end, messages, how many of the first to skip, number of the first, time of receipt, doubtful).
    """
    null = np.iinfo(np.int64).max
    base = address(data)
    for segment in range(len(segments)):
        place, end = segments[segment, 0], segments[segment, 1]
        messages, skip = segments[segment, 2], segments[segment, 3]
        sequence, received, doubtful = segments[segment, 4], segments[segment, 5], segments[segment, 6] | state[7]
        more = np.int64(4) if doubtful else np.int64(0)
        for done in range(messages):
            size = np.int64(0)
            if place + 2 <= end:
                size = little16(base + place)
            if place + 2 > end or place + 2 + size > end:
                _note(notes, state, place, end - place, sequence, 2, received, doubtful, -1)
                state[6] += messages - max(done, skip)
                state[7] = 1
                break
            at = place + 2
            place = at + size
            if done < skip:
                sequence += 1
                continue
            if size == 0:
                sequence += 1
                state[6] += 1
                continue
            kind = byte_at(base + at)
            types[kind] += 1
            if sizes[kind] == 0 or size < sizes[kind]:
                if sizes[kind] == 0:
                    state[8] += 1
                else:
                    _note(notes, state, at, size, sequence, 1, received, doubtful, -1)
                sequence += 1
                state[6] += 1
                continue
            ts = little64(base + at + 2)
            ordinal = state[4]
            if kind in (56, 53, 81, 84, 66):  # 8, 5, Q, T, B
                price = little64(base + at + 22)
                other = little64(base + at + 30) if kind == 81 else np.int64(0)
                key = np.int64(-1)
                if 0 <= price <= _PRICE_MAX and 0 <= other <= _PRICE_MAX:
                    key = _key(little64(base + at + 10), names, slots, state)
                if key < 0:
                    _note(notes, state, at, size, sequence, 3, received, doubtful, -1)
                elif kind in (56, 53):  # a price level
                    row = state[0]
                    flags = more | (128 if byte_at(base + at + 1) & 1 else 0)
                    side = 66 if kind == 56 else 65
                    _put(
                        levels, row, ts, sequence, price * 100_000, little32(base + at + 18),
                        flags | side << 16, sequence, ordinal, 0,
                    )  # fmt: skip
                    levels[row, 8] = received
                    level_keys[row] = key
                    level_counts[key] += 1
                    state[0] = row + 1
                    state[4] += 1
                elif kind == 81:  # a quote; a side that is absent has size and price 0
                    row = state[1]
                    bid_size, ask_size = little32(base + at + 18), little32(base + at + 38)
                    bid = price * 100_000 if bid_size else null
                    ask = other * 100_000 if ask_size else null
                    marks = more | 128 | byte_at(base + at + 1) << 24
                    _put(
                        quotes, row, ts, bid, ask, bid_size if bid_size else null, marks,
                        sequence, ordinal, ask_size if ask_size else null,
                    )  # fmt: skip
                    quotes[row, 8] = received
                    quote_keys[row] = key
                    quote_counts[key] += 1
                    state[1] = row + 1
                    state[4] += 1
                else:  # a trade, or that one was broken
                    row = state[2]
                    action = 84 if kind == 84 else 67
                    marks = more | 128 | action << 8 | 78 << 16 | byte_at(base + at + 1) << 24
                    _put(
                        trades, row, ts, little64(base + at + 30), price * 100_000, little32(base + at + 18), marks,
                        sequence, ordinal, 0,
                    )  # fmt: skip
                    trades[row, 8] = received
                    trade_keys[row] = key
                    trade_counts[key] += 1
                    state[2] = row + 1
                    state[4] += 1
            elif kind not in (65, 73):  # all but A, I, which are counted
                key = np.int64(-1)
                if kind != 83:
                    key = _key(little64(base + at + 10), names, slots, state)
                if kind != 83 and key < 0:
                    _note(notes, state, at, size, sequence, 3, received, doubtful, -1)
                else:
                    _note(notes, state, at, size, sequence, 0, received, doubtful, key)
            sequence += 1
            state[6] += 1
