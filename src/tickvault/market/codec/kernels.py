"""Kernels of cold files: numbers narrowed for storing, and widened again.

All arithmetic is modulo 2**64 on unsigned views, so that what `narrowed` takes apart, `widen` puts together exactly,
also at the ends of the type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def greatest_divisor(values: Any, base: Any) -> Any:
    """Return the greatest common divisor of the distances from `base`; 0 if there is none but 0."""
    divisor = np.uint64(0)
    for place in range(len(values)):
        left, right = values[place] - base, divisor
        if right == _ONE:
            break
        if right and left % right == 0:
            continue
        while right:
            left, right = right, left % right
        divisor = left
    return divisor


@njit(nogil=True, cache=True)
def widen(stored: Any, base: Any, factor: Any, out: Any) -> None:
    """out = base + factor * stored."""
    if factor == _ONE:
        for place in range(len(out)):
            out[place] = base + np.uint64(stored[place])
    else:
        for place in range(len(out)):
            out[place] = base + factor * np.uint64(stored[place])


@njit(nogil=True, cache=True)
def widen_between(stored: Any, mask: Any, fill: Any, base: Any, factor: Any, out: Any) -> Any:
    """As `widen`, where mask is 0; elsewhere `fill`. Return how many of `stored` were wanted, at most one too many."""
    at = 0
    for place in range(len(out)):
        if mask[place]:
            out[place] = fill
        else:
            if at >= len(stored):
                return at + 1
            out[place] = base + factor * np.uint64(stored[at])
            at += 1
    return at


@njit(nogil=True, cache=True)
def add(term: Any, mask: Any, out: Any) -> None:
    """Add a term where mask is 0; an empty mask is 0 throughout."""
    if len(mask):
        for place in range(len(out)):
            if not mask[place]:
                out[place] += term[place]
    else:
        for place in range(len(out)):
            out[place] += term[place]


@njit(nogil=True, cache=True)
def mirror(sides: Any, bid: Any, centre: Any, mask: Any, out: Any) -> None:
    """out = centre - out where the side is the bid's, and centre + out elsewhere; nothing where mask is set."""
    masked = len(mask) > 0
    for place in range(len(out)):
        if masked and mask[place]:
            continue
        if sides[place] == bid:
            out[place] = centre - out[place]
        else:
            out[place] = centre + out[place]
