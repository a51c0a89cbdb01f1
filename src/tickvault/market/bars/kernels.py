"""Kernels of bars: rows in the order of time are cut where an interval ends, and each cut is put together.

Invariants: a walk looks at each row once; rows of one time keep their order, which says what opens and what closes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ABSENT = np.iinfo(np.int64).max
OPEN, HIGH, LOW, CLOSE = 0, 1, 2, 3


@njit(nogil=True, cache=True)
def _end(begin: Any, day_end: Any, length: Any) -> Any:
    return day_end if day_end - begin <= length else begin + length


@njit(nogil=True, cache=True)
def cut(
    times: Any, order: Any, starts: Any, days: Any, length: Any, firsts: Any, groups: Any, begins: Any, ends: Any
) -> Any:
    """Write of each bar its first place in `order`, its group and where it begins and ends; return how many.

    Parameters
    ----------
    order, starts : ndarray of int64
        Rows by group and time, and where each group starts among them.
    days : ndarray of int64
        Where days begin, and the last one ends; an interval lies in one of them.
    length : int
        Of an interval; at least a day's for one that is all of it.
    """
    count = 0
    for group in range(len(starts) - 1):
        day = 0
        end = np.int64(np.iinfo(np.int64).min)
        for place in range(starts[group], starts[group + 1]):
            time = times[np.uint64(order[np.uint64(place)])]
            if time < end:
                continue
            while days[day + 1] <= time:
                day += 1
            begin = days[day] + (time - days[day]) // length * length
            end = _end(begin, days[day + 1], length)
            firsts[count] = place
            groups[count] = group
            begins[count] = begin
            ends[count] = end
            count += 1
    return count


@njit(nogil=True, cache=True)
def four_prices(prices: Any, order: Any, firsts: Any, behinds: Any, out: Any) -> None:
    """Write open, high, low and close of each bar; null (the largest int64) is left out, and of no price."""
    for bar in range(len(firsts)):
        first = last = high = low = np.int64(_ABSENT)
        for row in order[firsts[bar] : behinds[bar]]:
            price = prices[np.uint64(row)]  # a place that could be negative is looked at twice
            if price == _ABSENT:
                continue
            if first == _ABSENT:
                first = high = low = price
            high = max(high, price)
            low = min(low, price)
            last = price
        out[OPEN, bar] = first
        out[HIGH, bar] = high
        out[LOW, bar] = low
        out[CLOSE, bar] = last


@njit(nogil=True, cache=True)
def last_stated(prices: Any, sizes: Any, order: Any, firsts: Any, behinds: Any, out: Any) -> None:
    """Write the size beside the last price of each bar, null where there is none."""
    for bar in range(len(firsts)):
        out[bar] = _ABSENT
        for place in range(behinds[bar] - 1, firsts[bar] - 1, -1):
            row = order[place]
            if prices[row] != _ABSENT:
                out[bar] = sizes[row]
                break


@njit(nogil=True, cache=True)
def fill_between(
    groups: Any, begins: Any, ends: Any, days: Any, length: Any, count_max: Any, sources: Any, spans: Any
) -> Any:
    """Write every interval from a group's first bar to its last; return how many, or one more than `count_max`.

    Parameters
    ----------
    sources : ndarray of int64
        Gets the bar that an interval is, or -1 less the last bar before it. Empty: nothing is written.
    spans : ndarray of int64, shape (3, n)
        Gets its group, begin and end.
    """
    count = 0
    day = 0
    for bar in range(len(begins)):
        same = bar > 0 and groups[bar] == groups[bar - 1]
        day = day if same else 0
        begin = ends[bar - 1] if same else begins[bar]
        while begin <= begins[bar]:
            while days[day + 1] <= begin:
                day += 1
            end = _end(begin, days[day + 1], length)
            if len(sources):
                sources[count] = bar if begin == begins[bar] else -bar
                spans[0, count], spans[1, count], spans[2, count] = groups[bar], begin, end
            count += 1
            if count > count_max:
                return count
            begin = end
    return count
