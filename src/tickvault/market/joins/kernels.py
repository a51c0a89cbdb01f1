"""Kernels of the joins: walks over times in order, group by group.

What they are given is frozen first (`frozen`): numba compiles a kernel once for arrays that may be written and once
more for those that may not.

Invariants: a row number of -1 is none; times that are null come first in order, and never match; a walk looks at each
row once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array

_NULL = np.iinfo(np.int64).min
_BLOCK = 512
_FIRST, _LAST = _NULL + 1, np.iinfo(np.int64).max


def frozen(array: Array, dtype: Any = np.int64) -> Array:
    """Return an array as kernels are compiled for: contiguous, aligned, of the type, read-only."""
    made = np.require(array, np.dtype(dtype), ["C", "A"]).view()
    made.flags.writeable = False
    return made


@njit(nogil=True, cache=True)
def ascends(times: Any) -> Any:
    """Return whether no time is before the one above it."""
    for begin in range(1, len(times), _BLOCK):
        end = min(begin + _BLOCK, len(times))
        now, then = times[begin:end], times[begin - 1 : end - 1]
        falls = False
        # Without a way out, and without a place that could be negative, the loop is done many at a time.
        for place in range(len(now)):
            falls |= now[place] < then[place]
        if falls:
            return False
    return True


@njit(nogil=True, cache=True)
def gather(values: Any, rows: Any, null: Any, out: Any) -> None:
    """Write the values of rows; null where a row is -1."""
    for place in range(len(rows)):
        row = rows[place]
        out[place] = values[np.uint64(row)] if row >= 0 else null


@njit(nogil=True, cache=True)
def _first_known(times: Any) -> Any:
    """Return the first place, of times in order, that is not null."""
    at = 0
    while at < len(times) and times[at] == _NULL:
        at += 1
    return at


@njit(nogil=True, cache=True)
def last_at(left: Any, right: Any, strict: Any, shift: Any, out: Any) -> Any:
    """Write of each left time the last right row at it or before (`strict`: before), plus a shift; `left` is in order.

    Returns whether `right` is in order too; if not, what was written is worth nothing. It is looked at in the same
    walk, block by block, while a block is in the nearest cache.
    """
    # Unsigned places need no look at whether they are negative.
    one, stride = np.uint64(1), np.uint64(8)
    count, place = np.uint64(len(left)), np.uint64(_first_known(left))
    out[:place] = -1
    known = _first_known(right)
    first = np.uint64(known)
    less = 1 if strict else 0
    for begin in range(known, len(right), _BLOCK):
        end = min(begin + _BLOCK, len(right))
        if not ascends(right[max(begin - 1, 0) : end]):
            return False
        last = right[end - 1]
        at, behind = np.uint64(begin), np.uint64(end)
        while place < count:
            limit = left[place] - less
            if limit >= last:
                break
            while at + stride < behind and right[at + stride] <= limit:
                at += stride
            while right[at] <= limit:
                at += one
            out[place] = np.int64(at) - 1 + shift if at > first else -1
            place += one
    out[place:] = len(right) - 1 + shift if len(right) > known else -1
    return True


@njit(nogil=True, cache=True)
def first_at(left: Any, right: Any, strict: Any, out: Any) -> None:
    """Write of each left time the first right row at it or after (`strict`: after); both sides in order."""
    one, stride = np.uint64(1), np.uint64(8)
    at = count = np.uint64(len(right))
    for place in range(len(left) - 1, -1, -1):
        time = left[place]
        if time == _NULL or (strict and time == _LAST):
            out[place] = -1
            continue
        limit = time + 1 if strict else time
        while at >= stride and right[at - stride] >= limit:
            at -= stride
        while at > 0 and right[at - one] >= limit:
            at -= one
        out[place] = np.int64(at) if at < count else -1


@njit(nogil=True, cache=True)
def last_at_of_group(
    left: Any, right: Any, left_groups: Any, right_groups: Any, group_count: Any, strict: Any, out: Any
) -> None:
    """As `last_at`, of right rows of the same group; group -1 has no rows."""
    latest = np.full(group_count + 1, np.int64(-1))
    count, one = np.uint64(len(right)), np.uint64(1)
    at = np.uint64(_first_known(right))
    for place in range(len(left)):
        time = left[place]
        group = left_groups[place]
        if time == _NULL or group < 0:
            out[place] = -1
            continue
        limit = time - 1 if strict else time
        while at < count and right[at] <= limit:
            # Rows of no group go to the first place, where nobody looks.
            latest[np.uint64(right_groups[at] + 1)] = at
            at += one
        out[place] = latest[group + 1]


@njit(nogil=True, cache=True)
def first_at_of_group(
    left: Any, right: Any, left_groups: Any, right_groups: Any, group_count: Any, strict: Any, out: Any
) -> None:
    """As `first_at`, of right rows of the same group; group -1 has no rows."""
    latest = np.full(group_count + 1, np.int64(-1))
    one = np.uint64(1)
    at = np.uint64(len(right))
    for place in range(len(left) - 1, -1, -1):
        time = left[place]
        group = left_groups[place]
        if time == _NULL or group < 0 or (strict and time == _LAST):
            out[place] = -1
            continue
        limit = time + 1 if strict else time
        while at > 0 and right[at - one] >= limit:
            at -= one
            latest[np.uint64(right_groups[at] + 1)] = at
        out[place] = latest[group + 1]


@njit(nogil=True, cache=True)
def distance(one: Any, other: Any) -> Any:
    """Return what lies between two times, without overflow."""
    if one < other:
        return np.uint64(other) - np.uint64(one)
    return np.uint64(one) - np.uint64(other)


@njit(nogil=True, cache=True)
def nearer(left: Any, right: Any, before: Any, after: Any, out: Any) -> None:
    """Write the nearer of two right rows; the one before if both are as near."""
    for place in range(len(left)):
        one, other = before[place], after[place]
        if one < 0 or other < 0:
            out[place] = max(one, other)
        elif distance(left[place], right[other]) < distance(left[place], right[one]):
            out[place] = other
        else:
            out[place] = one


@njit(nogil=True, cache=True)
def within(left: Any, right: Any, tolerance: Any, rows: Any) -> None:
    """Make -1 of the right rows that are farther away than the tolerance."""
    for place in range(len(left)):
        row = rows[place]
        if row >= 0 and distance(left[place], right[row]) > np.uint64(tolerance):
            rows[place] = -1


@njit(nogil=True, cache=True)
def by_group(order: Any, groups: Any, group_count: Any, starts: Any, out: Any) -> None:
    """Arrange rows by group, those of a group in the order given; rows of group -1 are left out.

    Writes where each group starts in `out` into `starts`, and behind the last one how many rows there are.
    """
    for group in range(group_count + 1):
        starts[group] = 0
    for place in range(len(order)):
        starts[groups[order[place]] + 1] += 1
    # What was counted in the first place is of no group.
    starts[0] = 0
    for group in range(group_count):
        starts[group + 1] += starts[group]
    free = starts.copy()
    for place in range(len(order)):
        row = order[place]
        group = groups[row]
        if group >= 0:
            out[free[group]] = row
            free[group] += 1


@njit(nogil=True, cache=True)
def _moved(time: Any, length: Any) -> Any:
    """Return a time moved on, or back, at most to the ends of the type."""
    # Asked before it is added: a sum that wrapped is no sum to a compiler.
    if length > 0 and time > _LAST - length:
        return np.int64(_LAST)
    if length < 0 and time < _FIRST - length:
        return np.int64(_FIRST)
    return time + length


@njit(nogil=True, cache=True)
def windows(
    left: Any,
    left_groups: Any,
    order: Any,
    right: Any,
    starts: Any,
    before: Any,
    after: Any,
    prevailing: Any,
    begins: Any,
    ends: Any,
) -> None:
    """Write the right rows [begin, end) with times in [t - before, t + after] of each left row.

    `right` is arranged by group and in order within each, `order` are the left rows arranged likewise; `left_groups` is
    empty where there is one group. With `prevailing`, the last row before the window is in it, unless a row stands at
    the very begin.
    """
    last_group = np.int64(-1)
    low = high = first = end = np.int64(0)
    for place in range(len(order)):
        row = order[place]
        group = np.int64(left_groups[row]) if len(left_groups) else np.int64(0)
        if group != last_group:
            low = high = first = starts[group]
            end = starts[group + 1]
            last_group = group
        time = left[row]
        start, stop = _moved(time, -before), _moved(time, after)
        while low < end and right[low] < start:
            low += 1
        while high < end and right[high] <= stop:
            high += 1
        begins[row] = low
        if prevailing and low > first and not (low < end and right[low] == start):
            begins[row] = low - 1
        ends[row] = high


@njit(nogil=True, cache=True)
def smallest(values: Any, order: Any, begins: Any, ends: Any, out: Any) -> None:
    """Write the place of the smallest value in [begin, end), the first of equal ones, -1 of none.

    `order` visits windows so that neither begins nor ends fall.
    """
    queue = np.empty(len(values), np.int64)
    head = tail = np.int64(0)
    at = np.int64(0)
    for place in range(len(order)):
        row = order[place]
        begin, end = begins[row], ends[row]
        at = max(at, begin)
        while at < end:
            # A value that is not the smallest any more, while a later one stays, never will be again.
            while tail > head and values[queue[tail - 1]] > values[at]:
                tail -= 1
            queue[tail] = at
            tail += 1
            at += 1
        while head < tail and queue[head] < begin:
            head += 1
        out[row] = queue[head] if head < tail and begin < end else -1
