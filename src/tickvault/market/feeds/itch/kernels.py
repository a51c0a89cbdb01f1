"""Nasdaq TotalView-ITCH 5.0 messages into rows: the kernel that walks them.

Numbers are big-endian; every message begins with its type (1 byte), stock locate (2), tracking number (2) and
nanoseconds since midnight (6).  Offsets below are from the type.

Invariants: an order lives in the table from its add until nothing of it remains; a message that is not as long as the
specification says, or that names an order that is not there, makes no row and is noted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.feeds.itch.orders import find, home_of, remove
from tickvault.market.feeds.loads import address, big16, big32, big64, byte_at, prefetch

#: Bytes of each message, without the two of its length prefix.
SIZES = {
    "S": 12,
    "R": 39,
    "H": 25,
    "Y": 20,
    "L": 26,
    "V": 35,
    "W": 12,
    "K": 28,
    "J": 35,
    "h": 21,
    "A": 36,
    "F": 40,
    "E": 31,
    "C": 36,
    "X": 23,
    "D": 19,
    "U": 35,
    "P": 44,
    "Q": 40,
    "B": 19,
    "I": 50,
    "N": 20,
    "O": 48,
}
SIZE_OF_TYPE = np.zeros(256, np.int64)
for _letter, _size in SIZES.items():
    SIZE_OF_TYPE[ord(_letter)] = _size

# What is noted of a message: an event to be decoded apart, or why it made no row.
EVENT, WRONG_SIZE, CUT_OFF, ORDER_UNKNOWN, OUT_OF_RANGE, LOCATE_UNKNOWN = range(6)
NOTE_WORDS = 8
"""(offset, bytes there, sequence, input row, ordinal or -1, what, time of receipt, doubtful)."""

# Places in the state.
ROWS, TRADES, NOTES, NEXT_ORDINAL, LIVE, CONSUMED, INPUT_ROWS, DOUBTFUL, UNKNOWN = range(9)
STATE_COUNT = 9

# Codes of a trade's conditions.
NONE, CROSS_OPEN, CROSS_CLOSE, CROSS_HALT, CROSS_INTRADAY, CROSS_OTHER, HIDDEN, OWN_PRICE = range(8)
CONDITIONS = ("cross O", "cross C", "cross H", "cross I", "cross", "hidden", "own price")

_QUARTER_NS = 900_000_000_000
_LEAD = 6
"""Messages that the table of orders is asked ahead for."""


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
def _note(notes: Any, state: Any, at: Any, size: Any, sequence: Any, what: Any, received: Any, doubtful: Any) -> None:
    place = state[2]
    ordinal = -1
    if what == 0:
        ordinal = state[3]
        state[3] += 1
    notes[place, 0] = at
    notes[place, 1] = size
    notes[place, 2] = sequence
    notes[place, 3] = state[6]
    notes[place, 4] = ordinal
    notes[place, 5] = what
    notes[place, 6] = received
    notes[place, 7] = doubtful
    state[2] = place + 1


@njit(nogil=True, cache=True)
def decode(
    data: Any,
    segments: Any,
    framed: Any,
    sizes: Any,
    zone: Any,
    slots: Any,
    names: Any,
    rows: Any,
    keys: Any,
    counts: Any,
    trades: Any,
    trade_keys: Any,
    trade_counts: Any,
    notes: Any,
    types: Any,
    state: Any,
) -> None:
    """Walk messages, each behind the two bytes of its length.

    Parameters
    ----------
    segments : ndarray of int64, shape (n, 7)
        (begin, end, messages, how many of the first to skip, number of the first, time of receipt, doubtful).
    framed : bool
        The segments are whole datagrams: what is missing at a segment's end was cut off.  Else there is one segment,
        of a file, and the next call begins where this one stops.
    zone : ndarray of int64
        By quarter of an hour of the day: what to add to nanoseconds since midnight for UTC.
    names : ndarray of int64, shape (65536,)
        By stock locate: the eight letters of the symbol, 0 where not yet known.
    """
    received_too = rows.shape[1] > 8
    null = np.iinfo(np.int64).max
    base, orders, mask = address(data), address(slots), len(slots) - 1
    for segment in range(len(segments)):
        place, end = segments[segment, 0], segments[segment, 1]
        messages, skip = segments[segment, 2], segments[segment, 3]
        sequence, received, doubtful = segments[segment, 4], segments[segment, 5], segments[segment, 6] | state[7]
        last = np.int64(132) if doubtful else np.int64(128)
        done = 0
        ahead, asked = place, 0
        while done < messages:
            while asked < done + _LEAD and asked < messages and ahead + 21 <= end:
                # An order that was added long ago is far away in memory: ask for where it should be.
                prefetch(orders + home_of(big64(base + ahead + 13), mask) * 16)
                ahead += 2 + big16(base + ahead)
                asked += 1
            if place + 2 > end or place + 2 + big16(base + place) > end:
                if framed:
                    # The rest of the datagram is lost, and with it what it says of the book.
                    _note(notes, state, place, end - place, sequence, 2, received, doubtful)
                    state[6] += messages - max(done, skip)
                    state[7] = 1
                break
            size = big16(base + place)
            at = place + 2
            place = at + size
            done += 1
            if done <= skip:
                sequence += 1
                continue
            if size == 0:
                # In a file, the mark of its end; in a datagram, a message without anything in it.
                if framed:
                    sequence += 1
                    state[6] += 1
                continue
            kind = byte_at(base + at)
            types[kind] += 1
            if sizes[kind] != size:
                if sizes[kind] == 0:
                    state[8] += 1
                else:
                    _note(notes, state, at, size, sequence, 1, received, doubtful)
                sequence += 1
                state[6] += 1
                continue
            locate = big16(base + at + 1)
            since = big64(base + at + 3) & 0xFFFFFFFFFFFF
            ts = since + zone[since // _QUARTER_NS]
            row, ordinal = state[0], state[3]
            made = 0
            if kind in (65, 70):  # A, F: add
                order, shares, price = big64(base + at + 11), big32(base + at + 20), big32(base + at + 32)
                buy = byte_at(base + at + 19) == 66
                if price >= 1 << 31 or not (buy or byte_at(base + at + 19) == 83):
                    _note(notes, state, at, size, sequence, 4, received, doubtful)
                else:
                    packed = (shares << 32) | (np.int64(buy) << 31) | price
                    if packed:
                        slot = find(slots, order)
                        if slots[slot, 1] == 0:
                            state[4] += 1
                        slots[slot, 0] = order
                        slots[slot, 1] = packed
                    side = 66 if buy else 65
                    _put(
                        rows,
                        row,
                        ts,
                        order,
                        price * 100_000,
                        shares,
                        last | 65 << 8 | side << 16,
                        sequence,
                        ordinal,
                        -1,
                    )
                    made = 1
                    if names[locate] == 0:
                        names[locate] = big64(base + at + 24)
            elif kind in (69, 67, 88, 68, 85):  # E, C, X, D, U
                order = big64(base + at + 11)
                slot = find(slots, order)
                packed = slots[slot, 1]
                if packed == 0 or (kind == 85 and big32(base + at + 31) >= 1 << 31):
                    _note(notes, state, at, size, sequence, 3 if packed == 0 else 4, received, doubtful)
                else:
                    remaining = (packed >> 32) & 0xFFFFFFFF
                    price = (packed & 0x7FFFFFFF) * 100_000
                    buy = (packed >> 31) & 1
                    side = 66 if buy else 65
                    removed = remaining
                    if kind not in (68, 85):
                        removed = big32(base + at + 19)
                    ends = last
                    if removed > remaining:
                        # More than was there: the book is not what the venue's is.
                        ends = np.int64(132)
                    taken = min(removed, remaining)
                    if kind in (69, 67):
                        match = big64(base + at + 23)
                        at_price = price
                        printable = np.int64(89)
                        if kind == 67:
                            printable = np.int64(byte_at(base + at + 31))
                            at_price = big32(base + at + 32) * 100_000
                        aggressor = 65 if buy else 66
                        flags = ends & 127
                        _put(
                            rows, row, ts, 0, at_price, removed,
                            flags | 84 << 8 | aggressor << 16 | printable << 24, sequence, ordinal, match,
                        )  # fmt: skip
                        _put(
                            rows, row + 1, ts, order, at_price, removed,
                            flags | 70 << 8 | side << 16 | printable << 24, sequence, ordinal + 1, match,
                        )  # fmt: skip
                        made = 2
                        if printable != 78:
                            trade = state[1]
                            _put(
                                trades, trade, ts, match, at_price, removed,
                                (ends | 128) | 84 << 8 | aggressor << 16 | (7 if kind == 67 else 0) << 24,
                                sequence, ordinal + 3, order,
                            )  # fmt: skip
                            if received_too:
                                trades[trade, 8] = received
                            trade_keys[trade] = locate
                            trade_counts[locate] += 1
                            state[1] = trade + 1
                            state[3] += 1
                    if kind == 85:
                        ends &= 127
                    _put(
                        rows,
                        row + made,
                        ts,
                        order,
                        price,
                        taken,
                        ends | 67 << 8 | side << 16,
                        sequence,
                        ordinal + made,
                        -1,
                    )
                    made += 1
                    if taken == remaining:
                        remove(slots, slot)
                        state[4] -= 1
                    else:
                        slots[slot, 1] = packed - (taken << 32)
                    if kind == 85:
                        order, shares, price = big64(base + at + 19), big32(base + at + 27), big32(base + at + 31)
                        packed = (shares << 32) | (np.int64(buy) << 31) | price
                        if packed:
                            slot = find(slots, order)
                            if slots[slot, 1] == 0:
                                state[4] += 1
                            slots[slot, 0] = order
                            slots[slot, 1] = packed
                        _put(
                            rows, row + 1, ts, order, price * 100_000, shares,
                            last | 65 << 8 | side << 16, sequence, ordinal + 1, -1,
                        )  # fmt: skip
                        made = 2
            elif kind == 81 and not 0 <= big64(base + at + 11) < np.int64(1) << 62:
                _note(notes, state, at, size, sequence, 4, received, doubtful)
            elif kind in (80, 81):  # P, Q: hidden order, cross
                code = np.int64(6)
                order = np.int64(0)
                if kind == 80:
                    order, shares, price = big64(base + at + 11), big32(base + at + 20), big32(base + at + 32) * 100_000
                    match = big64(base + at + 36)
                    symbol = at + 24
                else:
                    shares, price, match = big64(base + at + 11), big32(base + at + 27) * 100_000, big64(base + at + 31)
                    symbol = at + 19
                    letter = byte_at(base + at + 39)
                    code = np.int64(
                        1 if letter == 79 else 2 if letter == 67 else 3 if letter == 72 else 4 if letter == 73 else 5
                    )
                if names[locate] == 0:
                    names[locate] = big64(base + symbol)
                if shares == 0:
                    # A cross in which nothing was matched: no trade, and its price is none.
                    _put(
                        rows,
                        row,
                        ts,
                        order,
                        price if price else null,
                        0,
                        last | 78 << 8 | 78 << 16,
                        sequence,
                        ordinal,
                        match,
                    )
                else:
                    marks = last | 84 << 8 | 78 << 16
                    _put(rows, row, ts, order, price, shares, marks | 89 << 24, sequence, ordinal, match)
                    trade = state[1]
                    _put(trades, trade, ts, match, price, shares, marks | code << 24, sequence, ordinal + 1, -1)
                    if received_too:
                        trades[trade, 8] = received
                    trade_keys[trade] = locate
                    trade_counts[locate] += 1
                    state[1] = trade + 1
                    state[3] += 1
                made = 1
            elif kind == 66 and names[locate] == 0:
                _note(notes, state, at, size, sequence, 5, received, doubtful)
            elif kind == 66:  # B: broken trade
                trade = state[1]
                _put(
                    trades,
                    trade,
                    ts,
                    big64(base + at + 11),
                    null,
                    null,
                    last | 67 << 8 | 78 << 16,
                    sequence,
                    ordinal,
                    -1,
                )
                if received_too:
                    trades[trade, 8] = received
                trade_keys[trade] = locate
                trade_counts[locate] += 1
                state[1] = trade + 1
                state[3] += 1
            elif kind in (83, 82, 72, 89, 104):  # S, R, H, Y, h
                if kind == 82 or (kind != 83 and names[locate] == 0):
                    names[locate] = big64(base + at + 11)
                _note(notes, state, at, size, sequence, 0, received, doubtful)
            for _ in range(made):
                if received_too:
                    rows[row, 8] = received
                keys[row] = locate
                row += 1
            state[0] = row
            counts[locate] += made
            state[3] += made
            sequence += 1
            state[6] += 1
        state[5] = place
        if not framed:
            segments[segment, 4] = sequence
