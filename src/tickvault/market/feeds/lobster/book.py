"""LOBSTER's books as rows of `bbo` or `mbp-10`.

Invariants: a row has the time of the message in the same line; a level that is not there is null, as are the levels
beyond those of the file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.lobster.lines import FIELD_COUNT, PRICE_FACTOR, body, prices, sizes, times
from tickvault.market.feeds.source import Member
from tickvault.market.feeds.text import Fields, local_to_utc, split
from tickvault.market.schema import F_LAST, PRICE_NULL, SIZE_NULL, schema_of

LEVELS_MAX = 10
#: What stands for the price of a level that is not there, with either sign.
DUMMY = 9_999_999_999


class Times:
    """The times of a message file, taken row by row."""

    def __init__(self, member: Member) -> None:
        self._blocks = body(member)
        self._clock: Array = np.empty(0, np.int64)
        self._good: Array = np.empty(0, np.bool_)

    def take(self, count: int) -> tuple[Array, Array]:
        """Return (the next so many times, ns after midnight, which of them are good)."""
        while len(self._clock) < count:
            clock, good = times(split(next(self._blocks), FIELD_COUNT))
            self._clock, self._good = np.concatenate([self._clock, clock]), np.concatenate([self._good, good])
        taken = self._clock[:count], self._good[:count]
        self._clock, self._good = self._clock[count:], self._good[count:]
        return taken


class Book(NamedTuple):
    """A block of books, decoded."""

    columns: Columns
    row_count: int
    wrong: dict[int, str]
    """Why a row cannot be decoded, by row."""
    fields: Fields


def decode_book(block: bytes, level_count: int, clock: Times, date: str, zone: str) -> Book:
    """Decode whole lines of an orderbook file of a day."""
    fields = split(block, 4 * level_count)
    since, since_good = clock.take(len(fields.sound))
    wrong: dict[int, str] = {}
    good = fields.sound & since_good
    for row in np.flatnonzero(~fields.sound).tolist():
        wrong[row] = f"a book of {level_count} levels has {4 * level_count} fields"
    arrays: dict[str, Array] = {}
    for level in range(level_count):
        for place, side in enumerate(("ask", "bid")):
            column = 4 * level + 2 * place
            price, price_good = prices(fields, column)
            size, size_good = sizes(fields, column + 1)
            absent = abs(price) == DUMMY
            for row in np.flatnonzero(~(price_good & (size_good | absent))).tolist():
                wrong.setdefault(row, f"{side} price and size of level {level + 1} must be numbers, size not negative")
            good &= price_good & (size_good | absent)
            arrays[f"{side}_px_{level:02d}"] = np.where(absent, PRICE_NULL, price * PRICE_FACTOR)
            arrays[f"{side}_sz_{level:02d}"] = np.where(absent, SIZE_NULL, size)
    for row in np.flatnonzero(~since_good).tolist():
        wrong.setdefault(row, "the message in this line, which it has its time from, cannot be read")
    arrays["ts_event"] = local_to_utc(date, since, zone)
    arrays["flags"] = np.full(len(since), F_LAST, np.uint8)
    schema = schema_of("bbo" if level_count == 1 else "mbp-10")
    kept = arrays if good.all() else {name: values[good] for name, values in arrays.items()}
    return Book(Columns(schema, kept), len(since), wrong, fields)
