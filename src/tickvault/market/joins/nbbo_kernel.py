"""The kernel of the best quote over several exchanges.

Of each symbol, exchange and side it keeps a key and a size: the key is the price for asks and its complement for bids,
so that the best is the smallest of both.

Invariants: the best of a side is always that of the keys kept: its key is the smallest, its size and number of
exchanges are of all that stand there; only a withdrawal from the best looks at all exchanges again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ABSENT = np.iinfo(np.int64).max
_UNKNOWN = np.iinfo(np.int64).max  # a size that is null, at a price that is not
_NO_COUNT = np.iinfo(np.uint32).max
_TIME_NULL = np.iinfo(np.int64).min
#: Of a best: its key, the sum of the sizes known, the exchanges there, and how many of their sizes are not known.
_KEY, _TOTAL, _COUNT, _UNSAID = 0, 1, 2, 3


@njit(nogil=True, cache=True)
def _join(best: Any, size: Any) -> Any:
    best[_COUNT] += 1
    if size == _UNKNOWN:
        best[_UNSAID] += 1
        return True
    # Asked before it is added: a sum that wrapped is no sum to a compiler.
    if best[_TOTAL] >= _UNKNOWN - size:
        return False
    best[_TOTAL] += size
    return True


@njit(nogil=True, cache=True)
def _search(keys: Any, sizes: Any, best: Any) -> Any:
    """Find the best of all exchanges again; return whether the sum of sizes fits."""
    best[_KEY], best[_TOTAL], best[_COUNT], best[_UNSAID] = _ABSENT, 0, 0, 0
    fits = True
    for slot in range(len(keys)):
        key = keys[slot]
        if key == _ABSENT or key > best[_KEY]:
            continue
        if key < best[_KEY]:
            best[_KEY], best[_TOTAL], best[_COUNT], best[_UNSAID] = key, 0, 0, 0
            fits = True
        fits &= _join(best, sizes[slot])
    return fits


@njit(nogil=True, cache=True)
def _state(keys: Any, sizes: Any, best: Any, slot: Any, key: Any, size: Any) -> Any:
    """Take what an exchange says of a side; return whether the sum of sizes fits."""
    old_key, old_size = keys[slot], sizes[slot]
    if key == old_key and size == old_size:
        return True
    keys[slot], sizes[slot] = key, size
    if old_key != _ABSENT and old_key == best[_KEY]:
        best[_COUNT] -= 1
        if old_size == _UNKNOWN:
            best[_UNSAID] -= 1
        else:
            best[_TOTAL] -= old_size
        if best[_COUNT] == 0 and key > old_key:
            return _search(keys, sizes, best)
    if key == _ABSENT:
        return True
    if key < best[_KEY]:
        best[_KEY], best[_TOTAL], best[_COUNT], best[_UNSAID] = key, 0, 0, 0
    if key == best[_KEY]:
        return _join(best, size)
    return True


@njit(nogil=True, cache=True)
def _said(price: Any, size: Any, is_bid: Any) -> Any:
    """Return (key, size) of a side that a row states: absent without a price, or with a size of 0 or less."""
    if price == _ABSENT or size <= 0:
        return np.int64(_ABSENT), np.int64(0)
    return (~price if is_bid else price), size


@njit(nogil=True, cache=True)
def _size(best: Any) -> Any:
    """Return the total size of a best: null where there is none, or one is not known."""
    return _UNKNOWN if best[_COUNT] == 0 or best[_UNSAID] > 0 else best[_TOTAL]


@njit(nogil=True, cache=True)
def _show(best: Any, shown: Any) -> Any:
    """Note what is shown of a best, and return whether that is new."""
    size = _size(best)
    new = shown[0] != best[_KEY] or shown[1] != size or shown[2] != best[_COUNT]
    shown[0], shown[1], shown[2] = best[_KEY], size, best[_COUNT]
    return new


@njit(nogil=True, cache=True)
def best_quotes(
    times: Any,
    day_begins: Any,
    groups: Any,
    group_count: Any,
    venues: Any,
    venue_count: Any,
    bid_prices: Any,
    bid_sizes: Any,
    ask_prices: Any,
    ask_sizes: Any,
    one_sided: Any,
    changes_only: Any,
    rows: Any,
    prices: Any,
    sizes: Any,
    counts: Any,
) -> Any:
    """Write the best bid (place 0) and ask (place 1) after each row.

    Returns how many were written, or -1 - row where the sum of sizes does not fit.

    Parameters
    ----------
    day_begins : ndarray of int64
        Times at which all that was said of a group is forgotten; empty: never.
    groups, venues : ndarray of int32
        Of each row, from 0; empty where there is one.
    one_sided : bool
        A side with neither price nor size is not spoken of; otherwise it is withdrawn.
    rows : ndarray of int64
        Written with `changes_only`: the input row of each written one.
    """
    all_keys = np.full((2, group_count, venue_count), np.int64(_ABSENT))
    all_sizes = np.zeros((2, group_count, venue_count), np.int64)
    bests = np.zeros((2, group_count, 4), np.int64)
    bests[:, :, _KEY] = _ABSENT
    until = np.full(group_count, np.int64(day_begins[0] if len(day_begins) else _ABSENT))
    shown = np.zeros((2, group_count, 3), np.int64)
    shown[:, :, :2] = _ABSENT
    written, one = np.uint64(0), np.uint64(1)  # unsigned: no place is looked at for being negative
    for row in range(len(bid_prices)):
        group = np.uint64(groups[row]) if len(groups) else np.uint64(0)
        venue = np.uint64(venues[row]) if len(venues) else np.uint64(0)
        if len(day_begins) and times[row] != _TIME_NULL and times[row] >= until[group]:
            all_keys[:, group, :] = _ABSENT
            bests[:, group, :] = 0
            bests[:, group, _KEY] = _ABSENT
            after = np.searchsorted(day_begins, times[row], side="right")
            until[group] = day_begins[after] if after < len(day_begins) else _ABSENT
        bid, ask = bests[0, group], bests[1, group]
        fits = True
        if not (one_sided and bid_prices[row] == _ABSENT and bid_sizes[row] == _UNKNOWN):
            key, size = _said(bid_prices[row], bid_sizes[row], True)
            fits = _state(all_keys[0, group], all_sizes[0, group], bid, venue, key, size)
        if not (one_sided and ask_prices[row] == _ABSENT and ask_sizes[row] == _UNKNOWN):
            key, size = _said(ask_prices[row], ask_sizes[row], False)
            fits &= _state(all_keys[1, group], all_sizes[1, group], ask, venue, key, size)
        if not fits:
            return -1 - row
        if changes_only:
            if not (_show(bid, shown[0, group]) | _show(ask, shown[1, group])):
                continue
            rows[written] = row
        prices[0, written] = _ABSENT if bid[_COUNT] == 0 else ~bid[_KEY]
        prices[1, written] = ask[_KEY]
        sizes[0, written], sizes[1, written] = _size(bid), _size(ask)
        counts[0, written] = _NO_COUNT if bid[_COUNT] == 0 else bid[_COUNT]
        counts[1, written] = _NO_COUNT if ask[_COUNT] == 0 else ask[_COUNT]
        written += one
    return np.int64(written)
