"""Rows of many symbols, as a kernel writes them one after another, into columns symbol by symbol.

A row is `WORD_COUNT` words of 64 bits, one cache line and a little; a counting sort by the number of the symbol finds
where each goes, and one pass turns rows into columns.

Invariants: within a symbol the order of the rows is kept; the words are (time of the event, id, price, size, marks,
sequence, ordinal, extra, time of receipt), where marks is flags + 256 action + 65536 side + 2**24 code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.loads import address, prefetch
from tickvault.market.feeds.protocol import Piece

WORD_COUNT = 9
#: Places of the words when they are sorted; the marks are taken apart.
TS_EVENT, ID, PRICE, SIZE, SEQUENCE, ORDINAL, EXTRA, TS_RECV = range(WORD_COUNT - 1)
KEY_COUNT = 65536


@njit(nogil=True, cache=True)
def _places(keys: Any, count: Any, starts: Any, places: Any) -> None:
    """Write which row goes to each place; `starts` becomes where each key's rows end."""
    for row in range(count):
        key = keys[row]
        places[starts[key]] = row
        starts[key] += 1


@njit(nogil=True, cache=True)
def _gathered(rows: Any, places: Any, words: Any, flags: Any, action: Any, side: Any, code: Any) -> None:
    received_too = rows.shape[1] > 8
    base, width, last = address(rows), rows.shape[1] * 8, len(places) - 1
    for place in range(len(places)):
        # Rows of a symbol lie apart; without asking ahead, each would be waited for.
        prefetch(base + np.int64(places[min(place + 24, last)]) * width)
        row = places[place]
        words[0, place] = rows[row, 0]
        words[1, place] = rows[row, 1]
        words[2, place] = rows[row, 2]
        words[3, place] = rows[row, 3]
        marks = rows[row, 4]
        flags[place] = marks & 255
        action[place] = (marks >> 8) & 255
        side[place] = (marks >> 16) & 255
        code[place] = (marks >> 24) & 255
        words[4, place] = rows[row, 5]
        words[5, place] = rows[row, 6]
        words[6, place] = rows[row, 7]
        if received_too:
            words[7, place] = rows[row, 8]


class Sorted(NamedTuple):
    """Rows in columns, grouped by key."""

    words: Array
    """int64, shape (WORD_COUNT - 1, n), or one less without times of receipt."""
    flags: Array
    action: Array
    side: Array
    code: Array
    keys: Array
    """Of the groups, rising."""
    starts: Array
    """Where each group begins; one more than there are groups, the last being n."""

    def unsigned(self, word: int) -> Array:
        """Return a word as uint64."""
        numbers: Array = self.words[word].view(np.uint64)
        return numbers

    @property
    def row_keys(self) -> Array:
        """Return each row's key, uint32."""
        return np.repeat(self.keys.astype(np.uint32), np.diff(self.starts))


def _aligned(limit: int, words: int) -> Array:
    """Return room for rows that begins at a cache line."""
    room = np.empty(limit * words + 8, np.int64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + limit * words].reshape(limit, words)


class Rows:
    """Rows as a kernel writes them; it counts them by key as it goes."""

    def __init__(self, limit: int, words: int = WORD_COUNT) -> None:
        self.rows = _aligned(limit, words)
        self.keys = np.empty(limit, np.uint16)
        self.counts = np.zeros(KEY_COUNT, np.int64)

    def sort(self, count: int) -> Sorted:
        """Return the first `count` rows grouped by key; they may be written over then."""
        starts = np.cumsum(self.counts) - self.counts
        keys = np.flatnonzero(self.counts)
        bounds = np.append(starts[keys], count)
        places = np.empty(count, np.int32)
        _places(self.keys, count, starts, places)
        self.counts[:] = 0
        words = np.empty((self.rows.shape[1] - 1, count), np.int64)
        flags, action, side, code = (np.empty(count, np.uint8) for _ in range(4))
        _gathered(self.rows, places, words, flags, action, side, code)
        return Sorted(words, flags, action, side, code, keys, bounds)


def pieces(found: Sorted, columns: Columns, venue: str, symbol: Callable[[int], str]) -> Iterator[Piece]:
    """Cut columns of sorted rows into a piece for each symbol, sharing their memory."""
    ordinals = found.words[ORDINAL]
    bounds = found.starts.tolist()
    for place, key in enumerate(found.keys.tolist()):
        cut = slice(bounds[place], bounds[place + 1])
        yield Piece(venue, symbol(key), columns.take(cut), ordinals[cut])
