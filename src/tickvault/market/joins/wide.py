"""Sums in 128 bits: prices times sizes do not fit 64.

A wide number is two arrays, the upper half int64 and the lower half uint64, in two's complement.

Invariants: what is returned is exact, or rounded once, half to even; what does not fit int64 is told, never wrapped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_TOP = np.uint64(63)
_FITS = np.uint64(2**63 - 1)  # one more is null already


@njit(nogil=True, cache=True)
def _product(one: Any, other: Any) -> Any:
    """Return two uint64 multiplied, (upper, lower) uint64."""
    one_high, one_low = one >> _HALF, one & _LOW
    other_high, other_low = other >> _HALF, other & _LOW
    low = one_low * other_low
    middle = one_high * other_low + (low >> _HALF)
    carried = one_low * other_high + (middle & _LOW)
    high = one_high * other_high + (middle >> _HALF) + (carried >> _HALF)
    return high, (carried << _HALF) | (low & _LOW)


@njit(nogil=True, cache=True)
def _negated(high: Any, low: Any) -> Any:
    low = ~low + _ONE
    return ~high + (_ONE if low == np.uint64(0) else np.uint64(0)), low


@njit(nogil=True, cache=True)
def _magnitude(value: Any) -> Any:
    return np.uint64(value) if value >= 0 else ~np.uint64(value) + _ONE


@njit(nogil=True, cache=True)
def cumulate(values: Any, weights: Any, highs: Any, lows: Any) -> None:
    """Write the sums of all values (times weights, unless that is empty) above each place, and behind the last."""
    weighed = len(weights) > 0
    high = low = np.uint64(0)
    highs[0] = high
    lows[0] = low
    for place in range(len(values)):
        value = values[place]
        if weighed:
            more_high, more_low = _product(_magnitude(value), _magnitude(weights[place]))
            if (value < 0) != (weights[place] < 0):
                more_high, more_low = _negated(more_high, more_low)
        else:
            more_high, more_low = np.uint64(value >> np.int64(63)), np.uint64(value)
        low = low + more_low
        high = high + more_high + (_ONE if low < more_low else np.uint64(0))
        highs[place + 1] = high
        lows[place + 1] = low


@njit(nogil=True, cache=True)
def _divided(high: Any, low: Any, divisor: Any) -> Any:
    """Return (quotient rounded half to even, whether it is below the null of int64) of unsigned numbers."""
    if high >= divisor:
        return np.uint64(0), False
    if high == np.uint64(0):
        quotient, rest = low // divisor, low % divisor
    else:
        quotient, rest = np.uint64(0), high
        for bit in range(63, -1, -1):
            carried = rest >> _TOP
            rest = (rest << _ONE) | ((low >> np.uint64(bit)) & _ONE)
            quotient = quotient << _ONE
            if carried or rest >= divisor:
                rest = rest - divisor
                quotient = quotient | _ONE
    if rest > divisor - rest or (rest == divisor - rest and quotient & _ONE):
        quotient = quotient + _ONE
    return quotient, quotient < _FITS


@njit(nogil=True, cache=True)
def quotients(highs: Any, lows: Any, begins: Any, ends: Any, factor: Any, divisors: Any, null: Any, out: Any) -> Any:
    """Write the sum of the places [begin, end), times a factor, divided; null where the divisor is not positive.

    `highs` and `lows` are those of `cumulate`. Returns the first row whose number does not fit int64, else -1.
    """
    for row in range(len(begins)):
        if divisors[row] <= 0:
            out[row] = null
            continue
        begin, end = begins[row], ends[row]
        low = lows[end] - lows[begin]
        high = highs[end] - highs[begin] - (_ONE if lows[end] < lows[begin] else np.uint64(0))
        negative = high >> _TOP == _ONE
        if negative:
            high, low = _negated(high, low)
        over, high_part = _product(high, np.uint64(factor))
        carried, low = _product(low, np.uint64(factor))
        high = high_part + carried
        if over or high < carried:
            return row
        quotient, fits = _divided(high, low, np.uint64(divisors[row]))
        if not fits:
            return row
        out[row] = -np.int64(quotient) if negative else np.int64(quotient)
    return -1
