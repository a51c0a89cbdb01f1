"""Dates and date-times in text into integers, without a Python loop over rows.

Read are ``2023-07-11``, ``2023.07.11``, ``2023/07/11`` and ``20230711``; then, after ``T`` or a space, ``09:30``,
``09:30:00`` or ``09:30:00.123456789``; then, after it, ``Z``, ``+08``, ``+0800`` or ``+08:00``; and seventeen digits
``20230711093000123``.

Invariant: a stamp is told to be with or without its offset from UTC; without one it is the clock on the wall.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.feeds.text import Fields
from tickvault.market.schema import TIME_NULL

_NS = 1_000_000_000
_QUARTER_NS = 900 * _NS


@njit(nogil=True, cache=True)
def _number(data: Any, place: Any, count: Any, end: Any) -> Any:
    if place + count > end:
        return -1
    value = 0
    for step in range(count):
        letter = data[place + step]
        if letter < 48 or letter > 57:
            return -1
        value = value * 10 + (letter - 48)
    return value


@njit(nogil=True, cache=True)
def _day_number(year: Any, month: Any, day: Any) -> Any:
    """Days since 1970-01-01 of a date of the Gregorian calendar, or -1_000_000 where there is no such date."""
    if year < 1677 or year > 2262 or month < 1 or month > 12 or day < 1:
        return -1_000_000
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 31
    if month in {4, 6, 9, 11}:
        longest = 30
    elif month == 2:
        longest = 29 if leap else 28
    if day > longest:
        return -1_000_000
    # Years that begin in March put the leap day last.
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@njit(nogil=True, cache=True)
def _date_at(data: Any, place: Any, end: Any) -> Any:
    """Return (days since the epoch or -1_000_000, where the date ends)."""
    year = _number(data, place, 4, end)
    if year < 0 or place + 8 > end:
        return -1_000_000, place
    mark = data[place + 4]
    if mark in {45, 46, 47}:
        if place + 10 > end or data[place + 7] != mark:
            return -1_000_000, place
        return _day_number(year, _number(data, place + 5, 2, end), _number(data, place + 8, 2, end)), place + 10
    return _day_number(year, _number(data, place + 4, 2, end), _number(data, place + 6, 2, end)), place + 8


@njit(nogil=True, cache=True)
def _dates(data: Any, starts: Any, ends: Any, out: Any, good: Any) -> Any:
    for row in range(len(starts)):
        days, place = _date_at(data, starts[row], ends[row])
        good[row] = days != -1_000_000 and place == ends[row]
        out[row] = days if good[row] else 0


def dates(fields: Fields, column: int) -> tuple[Array, Array]:
    """Return (int64 days since 1970-01-01, which rows are good); an empty field is not."""
    out, good = np.empty(len(fields.starts), np.int64), np.empty(len(fields.starts), np.bool_)
    _dates(fields.data, fields.starts[:, column], fields.ends[:, column], out, good)
    return out, good


@njit(nogil=True, cache=True)
def _time_at(data: Any, place: Any, end: Any) -> Any:
    """Return (ns since midnight or -1, where the time ends)."""
    hours, minutes = _number(data, place, 2, end), _number(data, place + 3, 2, end)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59 or data[place + 2] != 58:
        return -1, place
    place += 5
    seconds = 0
    fraction = 0
    if place < end and data[place] == 58:
        seconds = _number(data, place + 1, 2, end)
        if seconds < 0 or seconds > 60:
            return -1, place
        place += 3
        if place < end and data[place] in {44, 46}:
            place += 1
            digits = 0
            while place < end and 48 <= data[place] <= 57:
                if digits == 9:
                    return -1, place
                fraction = fraction * 10 + (data[place] - 48)
                digits += 1
                place += 1
            if digits == 0:
                return -1, place
            for _ in range(9 - digits):
                fraction *= 10
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction, place


@njit(nogil=True, cache=True)
def _offset_at(data: Any, place: Any, end: Any) -> Any:
    """Return the seconds that a zone is ahead of UTC by ``Z``, ``+08``, ``+0800``, ``+08:00``; -1_000_000 if none."""
    if place < end and data[place] == 32:
        place += 1
    if place >= end:
        return -1_000_000
    if data[place] in {90, 122}:
        return 0 if place + 1 == end else -1_000_000
    sign = 1 if data[place] == 43 else -1
    if data[place] not in {43, 45}:
        return -1_000_000
    hours = _number(data, place + 1, 2, end)
    minutes = 0
    left = end - place - 3
    if left == 3 and data[place + 3] == 58:
        minutes = _number(data, place + 4, 2, end)
    elif left == 2:
        minutes = _number(data, place + 3, 2, end)
    elif left != 0:
        return -1_000_000
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return -1_000_000
    return sign * (hours * 3600 + minutes * 60)


@njit(nogil=True, cache=True)
def _stamps(data: Any, starts: Any, ends: Any, out: Any, told: Any, good: Any) -> Any:
    for row in range(len(starts)):
        place, end = starts[row], ends[row]
        out[row] = np.iinfo(np.int64).min
        told[row] = False
        good[row] = place >= end
        if place >= end:
            told[row] = True
            continue
        days, after = _date_at(data, place, end)
        if days == -1_000_000:
            continue
        since = np.int64(0)
        if after < end:
            if data[after] in {84, 32}:
                since, after = _time_at(data, after + 1, end)
            elif after == place + 8 and end - place == 17:
                hours, minutes = _number(data, after, 2, end), _number(data, after + 2, 2, end)
                seconds, milli = _number(data, after + 4, 2, end), _number(data, after + 6, 3, end)
                if 0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61 and milli >= 0:
                    since = ((hours * 60 + minutes) * 60 + seconds) * np.int64(1_000_000_000) + milli * 1_000_000
                    after = end
                else:
                    since = np.int64(-1)
            else:
                since = np.int64(-1)
        if since < 0 or days < -106_750 or days > 106_750:
            continue
        shift = 0
        if after < end:
            shift = _offset_at(data, after, end)
            if shift == -1_000_000:
                continue
            told[row] = True
        out[row] = days * np.int64(86_400_000_000_000) + since - shift * np.int64(1_000_000_000)
        good[row] = True


def stamps(fields: Fields, column: int) -> tuple[Array, Array, Array]:
    """Read date-times.

    Returns
    -------
    times : ndarray of int64
        Nanoseconds since the epoch: UTC where the offset is told, else by the clock on the wall; null where empty.
    told : ndarray of bool
        The offset is told, or there is nothing that would need one.
    good : ndarray of bool
    """
    rows = len(fields.starts)
    out, told, good = np.empty(rows, np.int64), np.empty(rows, np.bool_), np.empty(rows, np.bool_)
    _stamps(fields.data, fields.starts[:, column], fields.ends[:, column], out, told, good)
    return out, told, good


@njit(nogil=True, cache=True)
def _digit_clocks(data: Any, starts: Any, ends: Any, out: Any, good: Any) -> Any:
    for row in range(len(starts)):
        place, end = starts[row], ends[row]
        size = end - place
        good[row] = False
        out[row] = 0
        if size not in {8, 9}:
            continue
        value = _number(data, place, size, end)
        if value < 0:
            continue
        milli, value = value % 1000, value // 1000
        seconds, minutes, hours = value % 100, value // 100 % 100, value // 10_000
        if hours < 24 and minutes < 60 and seconds < 61:
            out[row] = ((hours * 60 + minutes) * 60 + seconds) * np.int64(1_000_000_000) + milli * 1_000_000
            good[row] = True


def digit_clocks(fields: Fields, column: int) -> tuple[Array, Array]:
    """Return (int64 ns since midnight of numbers like ``91500280``, hours to milliseconds; which rows are good)."""
    out, good = np.empty(len(fields.starts), np.int64), np.empty(len(fields.starts), np.bool_)
    _digit_clocks(fields.data, fields.starts[:, column], fields.ends[:, column], out, good)
    return out, good


def wall_to_utc(times: Array, tz: str) -> Array:
    """Return UTC of wall-clock nanoseconds since the epoch; nulls stay null.

    A wall time that comes twice is the first of the two, as in `text.local_to_utc`.

    Raises
    ------
    ValueError, KeyError, OSError
        The zone is none.
    """
    zone = ZoneInfo(tz)
    present = times != TIME_NULL
    # Zones change on quarters of an hour at the finest, of those alive since 1972.
    quarters, inverse = np.unique(times[present] // _QUARTER_NS, return_inverse=True)
    begin = datetime(1970, 1, 1)
    shifts = np.empty(len(quarters), np.int64)
    for at, quarter in enumerate(quarters.tolist()):
        offset = (begin + timedelta(minutes=15 * quarter)).replace(tzinfo=zone).utcoffset()
        assert offset is not None, "a zone tells its offset"
        shifts[at] = (offset.days * 86_400 + offset.seconds) * _NS
    out = times.copy()
    out[present] -= shifts[inverse.reshape(-1)]
    return out
