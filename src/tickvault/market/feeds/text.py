"""Delimited text into integers, without a Python loop over rows.

A block of lines becomes two tables, where each field begins and where it ends; then each column is parsed by a kernel
that is exact: decimals never pass through a float.

Invariants: a value that does not parse is told by row, and its row's number is the null given; rounding is half away
from zero, and happens only where a source writes more digits than the scale holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.market.columns import Array

_NS = 1_000_000_000


class Fields(NamedTuple):
    """A block of lines, taken apart."""

    data: Array
    """uint8: the block."""
    starts: Array
    """int32, shape (n_rows, n_fields): where each field begins in `data`."""
    ends: Array
    """int32, shape (n_rows, n_fields)."""
    line_starts: Array
    """int64, shape (n_rows,): of all lines, in order, also of those that are not sound."""
    line_ends: Array
    sound: Array
    """bool, shape (n_rows,): the line has as many fields as it should; the other lines' fields are empty."""
    written: Array | None = None
    """uint8: the block as it came, where doubled quotes were made one in `data`."""

    def raw(self, row: int) -> bytes:
        """Return a line's bytes."""
        data = self.data if self.written is None else self.written
        return bytes(data[self.line_starts[row] : self.line_ends[row]])


@njit(nogil=True, cache=True)
def count_lines(data: Any) -> Any:
    """Return how many lines a block has, the last perhaps without its end."""
    count = 0
    size = len(data)
    for place in range(size):
        if data[place] == 10:
            count += 1
    if size and data[size - 1] != 10:
        count += 1
    return count


@njit(nogil=True, cache=True)
def _split(data: Any, delimiter: Any, starts: Any, ends: Any, line_starts: Any, line_ends: Any, sound: Any) -> Any:
    rows, wanted = starts.shape
    size = len(data)
    place = 0
    for row in range(rows):
        line_starts[row] = place
        begin = place
        field = 0
        while True:
            at_end = place >= size or data[place] == 10
            if at_end or data[place] == delimiter:
                if field < wanted:
                    starts[row, field] = begin
                    ends[row, field] = place
                field += 1
                begin = place + 1
                if at_end:
                    break
            place += 1
        end = place
        if end > line_starts[row] and data[end - 1] == 13:
            end -= 1
            if 0 < field <= wanted:
                ends[row, field - 1] = max(end, starts[row, field - 1])
        line_ends[row] = end
        sound[row] = field == wanted
        if field != wanted:
            for other in range(wanted):
                starts[row, other] = 0
                ends[row, other] = 0
        place += 1


def split(block: bytes, field_count: int, delimiter: str = ",") -> Fields:
    """Take a block of lines apart; quotes have no meaning here."""
    data = np.frombuffer(block, np.uint8)
    rows = count_lines(data)
    starts = np.empty((rows, field_count), np.int32)
    ends = np.empty((rows, field_count), np.int32)
    line_starts, line_ends = np.empty(rows, np.int64), np.empty(rows, np.int64)
    sound = np.empty(rows, np.bool_)
    _split(data, np.uint8(ord(delimiter)), starts, ends, line_starts, line_ends, sound)
    return Fields(data, starts, ends, line_starts, line_ends, sound)


_LIMIT = (2**63 - 1) // 10


@njit(nogil=True, cache=True)
def _decimals(
    data: Any, starts: Any, ends: Any, digits: Any, null: Any, empty_is_null: Any, out: Any, good: Any
) -> Any:
    for row in range(len(starts)):
        place, end = starts[row], ends[row]
        out[row] = null
        if place >= end:
            good[row] = empty_is_null
            continue
        negative = data[place] == 45
        if negative or data[place] == 43:
            place += 1
        value = np.int64(0)
        seen = 0
        fraction = -1
        exponent = 0
        round_up = False
        right = True
        while place < end:
            letter = data[place]
            if 48 <= letter <= 57:
                seen += 1
                if fraction < 0 or fraction < digits:
                    if value > _LIMIT:
                        right = False
                        break
                    value = value * 10 + np.int64(letter - 48)
                    if value < 0:
                        right = False
                        break
                    if fraction >= 0:
                        fraction += 1
                elif fraction == digits:
                    round_up = letter >= 53
                    fraction += 1
            elif letter == 46 and fraction < 0:
                fraction = 0
            elif letter | 32 == 101 and seen:
                # An exponent: only through the slow way, by the caller.
                exponent = 1
                break
            else:
                right = False
                break
            place += 1
        if not right or not seen or exponent:
            good[row] = False
            continue
        have = min(max(fraction, 0), digits)
        for _ in range(digits - have):
            if value > _LIMIT:
                right = False
                break
            value *= 10
        if round_up:
            value += 1
        if not right or value < 0:
            good[row] = False
            continue
        out[row] = -value if negative else value
        good[row] = True


def decimals(fields: Fields, column: int, digits: int, null: int, *, empty_is_null: bool = True) -> tuple[Array, Array]:
    """Return (int64 values in units of 10**-digits, which rows are good).

    ``15.929999999999999`` with 9 digits is 15_930_000_000. An exponent (``1e-05``) is read too.
    """
    return _parsed(fields, column, digits, null, empty_is_null)


def integers(fields: Fields, column: int, null: int, *, empty_is_null: bool = True) -> tuple[Array, Array]:
    """Return (int64 values, which rows are good); a fraction, as in ``100.0``, must be zero."""
    values, good = _parsed(fields, column, 3, null, empty_is_null)
    present = values != null
    # Of what fits a thousand times; what does not is parsed again without a fraction.
    whole = np.where(present & good, values // 1000, null)
    fraction = present & good & (values % 1000 != 0)
    good &= ~fraction
    large = ~good & ~fraction
    if large.any():
        again, again_good = _parsed(fields, column, 0, null, empty_is_null)
        whole = np.where(large, again, whole)
        good |= large & again_good & _without_point(fields, column)
    return np.where(good, whole, null), good


@njit(nogil=True, cache=True)
def _no_point(data: Any, starts: Any, ends: Any, out: Any) -> Any:
    for row in range(len(starts)):
        out[row] = True
        for place in range(starts[row], ends[row]):
            if data[place] == 46:
                out[row] = False
                break


def _without_point(fields: Fields, column: int) -> Array:
    out = np.empty(len(fields.starts), np.bool_)
    _no_point(fields.data, fields.starts[:, column], fields.ends[:, column], out)
    return out


def _parsed(fields: Fields, column: int, digits: int, null: int, empty_is_null: bool) -> tuple[Array, Array]:
    rows = len(fields.starts)
    out, good = np.empty(rows, np.int64), np.empty(rows, np.bool_)
    starts, ends = fields.starts[:, column], fields.ends[:, column]
    _decimals(fields.data, starts, ends, digits, null, empty_is_null, out, good)
    for row in np.flatnonzero(~good & fields.sound).tolist():
        # Exponents are rare, and Python's own decimals read them exactly.
        text = bytes(fields.data[starts[row] : ends[row]])
        if b"e" in text.lower():
            value = _with_exponent(text, digits)
            if value is not None:
                out[row], good[row] = value, True
    return out, good


def _with_exponent(text: bytes, digits: int) -> int | None:
    from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

    try:
        number = Decimal(text.decode("ascii"))
        if not number.is_finite() or number.adjusted() + digits > 18:
            return None
        value = int(number.scaleb(digits).to_integral_value(ROUND_HALF_UP))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    return value if abs(value) < 2**63 - 1 else None


@njit(nogil=True, cache=True)
def _digits_at(data: Any, place: Any, count: Any) -> Any:
    value = 0
    for step in range(count):
        letter = data[place + step]
        if letter < 48 or letter > 57:
            return -1
        value = value * 10 + (letter - 48)
    return value


@njit(nogil=True, cache=True)
def _clock_times(data: Any, starts: Any, ends: Any, out: Any, good: Any) -> Any:
    """``HH:MM:SS``, with up to nine digits of a fraction after a point, into nanoseconds since midnight."""
    for row in range(len(starts)):
        place, end = starts[row], ends[row]
        out[row] = np.iinfo(np.int64).min
        good[row] = False
        if end - place < 8 or data[place + 2] != 58 or data[place + 5] != 58:
            continue
        hours = _digits_at(data, place, 2)
        minutes = _digits_at(data, place + 3, 2)
        seconds = _digits_at(data, place + 6, 2)
        fraction = 0
        digits = 0
        right = True
        if end - place > 8:
            if data[place + 8] != 46 or end - place > 18 or end - place == 9:
                continue
            for at in range(place + 9, end):
                letter = data[at]
                if letter < 48 or letter > 57:
                    right = False
                    break
                fraction = fraction * 10 + (letter - 48)
                digits += 1
        if not right or not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):
            continue
        for _ in range(9 - digits):
            fraction *= 10
        out[row] = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction
        good[row] = True


def clock_times(fields: Fields, column: int) -> tuple[Array, Array]:
    """Return (int64 ns since midnight of fields like ``09:15:00.280``, which rows are good)."""
    rows = len(fields.starts)
    out, good = np.empty(rows, np.int64), np.empty(rows, np.bool_)
    _clock_times(fields.data, fields.starts[:, column], fields.ends[:, column], out, good)
    return out, good


@njit(nogil=True, cache=True)
def _codes(data: Any, starts: Any, ends: Any, slots: Any, firsts: Any, out: Any) -> Any:
    """Number the distinct texts in the order in which they come; return how many, or -1 if there are too many."""
    count = 0
    mask = len(slots) - 1
    for row in range(len(starts)):
        start, length = starts[row], ends[row] - starts[row]
        if length <= 0:
            out[row] = -1
            continue
        mixed = np.uint64(14695981039346656037)
        for place in range(start, start + length):
            mixed = (mixed ^ np.uint64(data[place])) * np.uint64(1099511628211)
        slot = np.int64(mixed & np.uint64(mask))
        while True:
            known = slots[slot]
            if known < 0:
                if count >= len(firsts):
                    return -1
                slots[slot] = count
                firsts[count] = row
                out[row] = count
                count += 1
                break
            other = firsts[known]
            same = ends[other] - starts[other] == length
            if same:
                for place in range(length):
                    if data[start + place] != data[starts[other] + place]:
                        same = False
                        break
            if same:
                out[row] = known
                break
            slot = (slot + 1) & mask
    return count


def codes(fields: Fields, column: int, encoding: str = "utf-8") -> tuple[Array, list[str]]:
    """Return (int32 codes, their strings in the order in which they come); an empty field is -1, no code."""
    starts, ends = np.ascontiguousarray(fields.starts[:, column]), np.ascontiguousarray(fields.ends[:, column])
    out = np.empty(len(starts), np.int32)
    size = 1024
    while True:
        firsts = np.empty(size // 2, np.int64)
        count = _codes(fields.data, starts, ends, np.full(size, -1, np.int64), firsts, out)
        if count >= 0:
            break
        size *= 8
    words = [bytes(fields.data[starts[row] : ends[row]]).decode(encoding, "replace") for row in firsts[:count].tolist()]
    return out, words


@njit(nogil=True, cache=True)
def _letters(data: Any, starts: Any, ends: Any, out: Any) -> Any:
    for row in range(len(starts)):
        out[row] = data[starts[row]] if ends[row] - starts[row] == 1 else 0


def letters(fields: Fields, column: int) -> Array:
    """Return the uint8 of fields that are one letter, else 0."""
    out = np.empty(len(fields.starts), np.uint8)
    _letters(fields.data, fields.starts[:, column], fields.ends[:, column], out)
    return out


@lru_cache(maxsize=4096)
def day_start_ns(date: str) -> int:
    """Return midnight UTC of ``2013-10-07``, ``20131007``, ``2013.10.07`` or ``2013/10/07``, int64 ns.

    Raises
    ------
    ValueError
        It is no date.
    """
    from datetime import date as day

    text = date.replace(".", "-").replace("/", "-")
    if len(text) == 8 and text.isdigit():
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return (day.fromisoformat(text).toordinal() - day(1970, 1, 1).toordinal()) * 86_400 * _NS


def local_to_utc(date: str, since_midnight_ns: Array, tz: str) -> Array:
    """Return UTC times of a zone's wall clock on one day.

    Parameters
    ----------
    since_midnight_ns : ndarray of int64
        What the clock on the wall shows, less midnight; 24 h and more is the next day.
    tz : str
        IANA name. A wall time that comes twice (the clock is set back) is the first of the two; one that never comes is
        taken as if the clock had not been set forward yet.

    Raises
    ------
    ValueError
        The date or the zone is none.
    """
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(tz)
    midnight = day_start_ns(date)
    begin = datetime.fromtimestamp(midnight // _NS, UTC).replace(tzinfo=None)
    # Zones change on quarters of an hour at the finest, of those alive since 1972.
    quarters = since_midnight_ns // (900 * _NS)
    out = since_midnight_ns + midnight
    for quarter in np.unique(quarters).tolist():
        offset = (begin + timedelta(minutes=15 * quarter)).replace(tzinfo=zone).utcoffset()
        assert offset is not None, "a zone tells its offset"
        shift = (offset.days * 86_400 + offset.seconds) * _NS
        if shift:
            out[quarters == quarter] -= shift
    return out


def joined_words(parts: Sequence[tuple[Array, list[str]]]) -> tuple[Array, list[str]]:
    """Return the codes of several blocks under one dictionary."""
    numbers: dict[str, int] = {}
    made = []
    for block_codes, words in parts:
        target = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)
        made.append(np.where(block_codes < 0, np.int32(-1), target[block_codes]) if words else block_codes)
    return (np.concatenate(made) if made else np.empty(0, np.int32)), list(numbers)
