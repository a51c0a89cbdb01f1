"""Kernels of adjustment.

Invariants: what does not fit 63 bits is told, never wrapped; a null stays one; a number is rounded once, half to even.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_MAX = 2**63 - 1


@njit(nogil=True, cache=True)
def scale_by(values: Any, segments: Any, numerators: Any, denominators: Any, null: Any, out: Any) -> Any:
    """Write values times their segment's ratio.

    Parameters
    ----------
    values : ndarray of int64, shape (n_rows,)
    segments : ndarray of int64, shape (n_rows,)
        Into the ratios.
    numerators, denominators : ndarray of int64
        Above 0, and a numerator times a denominator below 2**62.
    null : int64
    out : ndarray of int64, shape (n_rows,)

    Returns
    -------
    int
        The first row that does not fit, -1 if all do.
    """
    for row in range(len(values)):
        value = values[row]
        if value == null:
            out[row] = null
            continue
        numerator, denominator = numerators[segments[row]], denominators[segments[row]]
        if numerator == denominator:
            out[row] = value
            continue
        whole = value // denominator
        rest = value - whole * denominator
        # One is kept for the rounding.
        if abs(whole) > (_MAX - 1) // numerator - 1:
            return row
        product = rest * numerator
        part = product // denominator
        left = product - part * denominator
        made = whole * numerator + part
        if 2 * left > denominator or (2 * left == denominator and made % 2 != 0):
            made += 1
        if made == null:
            return row
        out[row] = made
    return np.int64(-1)
