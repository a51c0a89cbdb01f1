"""The shapes that nearly all of Binance's messages have, read without a JSON library.

The scanner takes one object with plain keys and values, in any order of keys, bare or in the envelope of a combined
stream. Whatever else it meets (white space, an escape, a key twice, a value of another type) it leaves to
`feeds.binance_messages.read`, line by line.

Invariants: what is read here is valid JSON and means the same there; lines that are left have type 0 and no levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.feeds.binance.messages import PRICE_DIGITS, SIZE_DIGITS, TIME_END, Messages

# Types of a value.
_INTEGER, _TEXT, _BOOL, _LEVELS = 1, 2, 3, 4
# Where `pu`, the one key of two letters, is kept among those of one letter.
_PU = 1
_LETTERS = 128
_LIMIT = (2**63 - 2) // 10
_END = TIME_END
_PRICE, _SIZE = PRICE_DIGITS, SIZE_DIGITS


@njit(nogil=True, cache=True)
def _integer(data: Any, place: Any, end: Any) -> Any:
    """Return (value, place behind it) of at most 18 digits; place -1 where there is none."""
    begin = place
    value = np.int64(0)
    while place < end and 48 <= data[place] <= 57:
        value = value * 10 + np.int64(data[place] - 48)
        place += 1
        if place - begin > 18:
            return value, -1
    if place == begin or (data[begin] == 48 and place - begin > 1):
        return value, -1
    return value, place


@njit(nogil=True, cache=True)
def _decimal(data: Any, place: Any, end: Any, digits: Any) -> Any:
    """Return (value, place behind it) of digits, a point, digits, in units of 10**-digits; place -1 if not exactly."""
    begin = place
    value = np.int64(0)
    while place < end and 48 <= data[place] <= 57:
        if value > _LIMIT - 1:
            return value, -1
        value = value * 10 + np.int64(data[place] - 48)
        place += 1
    if place == begin:
        return value, -1
    missing = digits
    if place < end and data[place] == 46:
        place += 1
        begin = place
        while place < end and 48 <= data[place] <= 57:
            if missing > 0:
                if value > _LIMIT - 1:
                    return value, -1
                value = value * 10 + np.int64(data[place] - 48)
                missing -= 1
            elif data[place] != 48:
                return value, -1
            place += 1
        if place == begin:
            return value, -1
    for _ in range(missing):
        if value > _LIMIT:
            return value, -1
        value *= 10
    return value, place


@njit(nogil=True, cache=True)
def _text(data: Any, place: Any, end: Any) -> Any:
    """Return the place of a text's closing quote, from behind its opening one; -1 if it has more than plain letters."""
    while place < end:
        letter = data[place]
        if letter == 34:
            return place
        if letter < 32 or letter > 126 or letter == 92:
            return -1
        place += 1
    return -1


@njit(nogil=True, cache=True)
def _is(data: Any, start: Any, end: Any, word: Any) -> Any:
    if end - start != len(word):
        return False
    for step in range(len(word)):  # noqa: SIM110 - numba compiles no generator
        if data[start + step] != word[step]:
            return False
    return True


@njit(nogil=True, cache=True)
def _levels(data: Any, place: Any, end: Any, prices: Any, sizes: Any, count: Any) -> Any:
    """Return (place behind the list, count) of ``["price","size"],…]``, from behind its opening bracket."""
    if place < end and data[place] == 93:
        return place + 1, count
    while True:
        if place + 2 > end or data[place] != 91 or data[place + 1] != 34:
            return -1, count
        price, place = _decimal(data, place + 2, end, _PRICE)
        if place < 0 or place + 3 > end or data[place] != 34 or data[place + 1] != 44 or data[place + 2] != 34:
            return -1, count
        size, place = _decimal(data, place + 3, end, _SIZE)
        if place < 0 or place + 3 > end or data[place] != 34 or data[place + 1] != 93:
            return -1, count
        prices[count] = price
        sizes[count] = size
        count += 1
        place += 3
        if data[place - 1] == 93:
            return place, count
        if data[place - 1] != 44:
            return -1, count


@njit(nogil=True, cache=True)
def _object(
    data: Any, place: Any, end: Any, types: Any, values: Any, ends: Any, prices: Any, sizes: Any, count: Any
) -> Any:
    """Read an object from behind its brace into the tables by key; return (place behind it, count)."""
    while True:
        if place >= end or data[place] != 34:
            return -1, count
        start = place + 1
        stop = _text(data, start, end)
        if stop < 0 or stop + 2 >= end or data[stop + 1] != 58:
            return -1, count
        place = stop + 2
        key = np.int64(-1)
        if stop - start == 1:
            key = np.int64(data[start])
        elif stop - start == 2:
            key = np.int64(_PU if data[start] == 112 and data[start + 1] == 117 else 0)
        if key < 0 or (key and types[key]):
            return -1, count
        letter = data[place]
        if letter == 34:
            stop = _text(data, place + 1, end)
            if stop < 0:
                return -1, count
            types[key], values[key], ends[key] = _TEXT, place + 1, stop
            place = stop + 1
        elif 48 <= letter <= 57:
            types[key] = _INTEGER
            values[key], place = _integer(data, place, end)
            if place < 0:
                return -1, count
        elif _is(data, place, min(place + 4, end), b"true"):
            types[key], values[key] = _BOOL, 1
            place += 4
        elif _is(data, place, min(place + 5, end), b"false"):
            types[key], values[key] = _BOOL, 0
            place += 5
        elif letter == 91 and key in (97, 98):
            # Bids are kept before asks: the other way round is left.
            if key == 98 and types[97]:
                return -1, count
            first = count
            place, count = _levels(data, place + 1, end, prices, sizes, count)
            if place < 0:
                return -1, count
            types[key], values[key], ends[key] = _LEVELS, first, count
        else:
            return -1, count
        if place >= end:
            return -1, count
        if data[place] == 125:
            return place + 1, count
        if data[place] != 44:
            return -1, count
        place += 1


@njit(nogil=True, cache=True)
def _quoted(data: Any, types: Any, values: Any, ends: Any, key: Any, digits: Any) -> Any:
    """Return the decimal that a key's text is, -1 if it is none."""
    if types[key] != _TEXT:
        return np.int64(-1)
    value, place = _decimal(data, values[key], ends[key], digits)
    return value if place == ends[key] else np.int64(-1)


@njit(nogil=True, cache=True)
def _partial(data: Any, start: Any, end: Any) -> Any:
    """Return whether a stream's name has ``@depth`` and a digit in it."""
    for place in range(start, end - 6):
        if data[place] == 64 and _is(data, place + 1, place + 6, b"depth") and 48 <= data[place + 6] <= 57:
            return True
    return False


@njit(nogil=True, cache=True)
def _scan(
    data: Any,
    line_starts: Any,
    line_ends: Any,
    kinds: Any,
    local: Any,
    happened: Any,
    first_id: Any,
    last_id: Any,
    previous_id: Any,
    maker: Any,
    level: Any,
    bids: Any,
    asks: Any,
    starts: Any,
    ends_of: Any,
    prices: Any,
    sizes: Any,
) -> Any:
    types = np.zeros(_LETTERS, np.int64)
    values = np.zeros(_LETTERS, np.int64)
    ends = np.zeros(_LETTERS, np.int64)
    count = 0
    for row in range(len(kinds)):
        begin, end = line_starts[row], line_ends[row]
        kinds[row] = 0
        starts[row, :] = 0
        ends_of[row, :] = 0
        level[row] = count
        if end - begin < 24 or data[begin + 19] != 32 or data[begin + 20] != 123:
            continue
        # Nineteen digits fit where the first is not 9.
        time = np.int64(0)
        right = data[begin] < 57
        for place in range(begin, begin + 19):
            right = right and 48 <= data[place] <= 57
            time = time * 10 + np.int64(data[place] - 48)
        if not right:
            continue
        types[:] = 0
        place = begin + 21
        enveloped = end - place > 10 and _is(data, place, place + 10, b'"stream":"')
        stream, stream_end = 0, 0
        if enveloped:
            stream = place + 10
            stream_end = _text(data, stream, end)
            if stream_end < 0 or end - stream_end < 12 or not _is(data, stream_end, stream_end + 10, b'","data":{'):
                continue
            place = stream_end + 10
        first = count
        place, after = _object(data, place, end, types, values, ends, prices, sizes, count)
        if place < 0 or (enveloped and (place >= end or data[place] != 125)) or place + enveloped != end:
            continue
        if types[84] not in (0, _INTEGER) or types[69] not in (0, _INTEGER):
            continue
        if values[84] * (types[84] > 0) >= _END or values[69] * (types[69] > 0) >= _END:
            continue
        if types[115] != _TEXT or values[115] == ends[115]:
            continue
        kind = 0
        event, event_end = values[101], ends[101]
        if types[101] == _TEXT and _is(data, event, event_end, b"depthUpdate"):
            if types[85] != _INTEGER or types[117] != _INTEGER or types[98] != _LEVELS or types[97] != _LEVELS:
                continue
            if types[_PU] not in (0, _INTEGER) or _partial(data, stream, stream_end):
                continue
            first_id[row], last_id[row] = values[85], values[117]
            previous_id[row] = values[_PU] if types[_PU] else -1
            bids[row], asks[row] = ends[98] - values[98], ends[97] - values[97]
            count = after
            kind = 1
        elif after != first:
            continue
        elif types[101] == _TEXT and (
            _is(data, event, event_end, b"trade") or _is(data, event, event_end, b"aggTrade")
        ):
            single = event_end - event == 5
            price = _quoted(data, types, values, ends, 112, _PRICE)
            size = _quoted(data, types, values, ends, 113, _SIZE)
            if types[109] != _BOOL or price < 0 or size < 0 or types[116 if single else 97] != _INTEGER:
                continue
            if single:
                if types[88] not in (0, _TEXT):
                    continue
                first_id[row], last_id[row], previous_id[row] = values[116], -1, -1
                if types[88]:
                    starts[row, 1], ends_of[row, 1] = values[88], ends[88]
            else:
                if types[102] != _INTEGER or types[108] != _INTEGER:
                    continue
                first_id[row], last_id[row], previous_id[row] = values[97], values[102], values[108]
            maker[row] = values[109]
            prices[count], sizes[count] = price, size
            bids[row], asks[row] = 1, 0
            count += 1
            kind = 4 if single else 5
        elif types[101] == 0 or (types[101] == _TEXT and _is(data, event, event_end, b"bookTicker")):
            bid = _quoted(data, types, values, ends, 98, _PRICE)
            bid_size = _quoted(data, types, values, ends, 66, _SIZE)
            ask = _quoted(data, types, values, ends, 97, _PRICE)
            ask_size = _quoted(data, types, values, ends, 65, _SIZE)
            if types[117] != _INTEGER or bid < 0 or bid_size < 0 or ask < 0 or ask_size < 0:
                continue
            first_id[row], last_id[row], previous_id[row] = -1, values[117], -1
            prices[count], sizes[count] = bid, bid_size
            prices[count + 1], sizes[count + 1] = ask, ask_size
            bids[row], asks[row] = 1, 1
            count += 2
            kind = 6
        else:
            continue
        local[row] = time
        happened[row] = values[84] if types[84] else (values[69] if types[69] else -1)
        starts[row, 0], ends_of[row, 0] = values[115], ends[115]
        kinds[row] = kind
    return count


def scan(
    data: Array, line_starts: Array, line_ends: Array, messages: Messages, starts: Array, ends: Array
) -> tuple[Array, Array]:
    """Read a block's lines into `messages`; return (prices, sizes) of their levels.

    Parameters
    ----------
    starts, ends : ndarray of int32, shape (n_lines, 2)
        Take where the symbol stands in `data`, and the kind of order that the trade was of (futures' X).
    """
    # A level takes nine letters at least, and a line that is a trade or a quote has two at most.
    room = len(data) // 9 + 2 * len(line_starts) + 16
    prices, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
    count = _scan(data, line_starts, line_ends, *messages, starts, ends, prices, sizes)
    return prices[:count], sizes[:count]
