"""Kernels of the rules.

Invariants: one pass over the rows, in their order; the same rows give the same flags.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def crossed(groups: Any, group_count: Any, bids: Any, asks: Any, carried: Any, null: Any, out: Any) -> None:
    """Flag rows whose group's bid is at or above its ask: 1 above, 2 equal.

    With `carried` a side that is null is the one that the group had before; without, it is absent.
    """
    last_bids = np.full(group_count, null, np.int64)
    last_asks = np.full(group_count, null, np.int64)
    for row in range(len(groups)):
        group = groups[row]
        bid, ask = bids[row], asks[row]
        if carried:
            if bid == null:
                bid = last_bids[group]
            if ask == null:
                ask = last_asks[group]
            last_bids[group], last_asks[group] = bid, ask
        out[row] = 0
        if bid != null and ask != null and bid >= ask:  # noqa: PLR1714 - numba is quickest so
            out[row] = 1 if bid > ask else 2


@njit(nogil=True, cache=True)
def previous(groups: Any, group_count: Any, chosen: Any, out: Any) -> None:
    """Write the position of the row before in the group, of the chosen rows; -1 where there is none."""
    last = np.full(group_count, -1, np.int64)
    for row in range(len(groups)):
        out[row] = -1
        if chosen[row]:
            group = groups[row]
            out[row] = last[group]
            last[group] = row


@njit(nogil=True, cache=True)
def _median(window: Any, count: Any) -> Any:
    # Insertion sort: a window has a few dozen values, and its neighbours are nearly sorted.
    for at in range(1, count):
        value = window[at]
        place = at - 1
        while place >= 0 and window[place] > value:
            window[place + 1] = window[place]
            place -= 1
        window[place + 1] = value
    return window[count // 2]


@njit(nogil=True, cache=True)
def outliers(values: Any, half: Any, deviations: Any, share: Any, out: Any) -> None:
    """Flag values far from the median of those around them.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    half : int
        Values on each side; fewer at the ends.
    deviations : float
        A value is flagged beyond so many median absolute deviations, times 1.4826 (a normal distribution's sigma) …
    share : float
        … and beyond this part of the median.
    out : ndarray of bool, shape (n,)
    """
    size = len(values)
    window = np.empty(2 * half + 1, np.float64)
    apart = np.empty(2 * half + 1, np.float64)
    for row in range(size):
        out[row] = False
        begin, end = max(row - half, 0), min(row + half + 1, size)
        count = end - begin
        if count < 5:
            continue
        # Most values are near their neighbours: nothing need be sorted for them.
        if (
            row > 0
            and row + 1 < size
            and not out[row - 1]
            and abs(values[row] - values[row - 1]) <= share * abs(values[row]) * 0.25
            and abs(values[row] - values[row + 1]) <= share * abs(values[row]) * 0.25
        ):
            continue
        window[:count] = values[begin:end]
        middle = _median(window, count)
        distance = abs(values[row] - middle)
        if distance <= share * abs(middle):
            continue
        for at in range(count):
            apart[at] = abs(values[begin + at] - middle)
        spread = _median(apart, count)
        if distance > deviations * 1.4826 * spread:
            out[row] = True


@njit(nogil=True, cache=True)
def mix(hashes: Any, values: Any) -> None:
    """Fold a column into the rows' hashes."""
    for row in range(len(hashes)):
        # splitmix64's finaliser: https://prng.di.unimi.it/splitmix64.c
        z = (hashes[row] ^ np.uint64(values[row])) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes[row] = z ^ (z >> np.uint64(31))
