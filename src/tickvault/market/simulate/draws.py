"""Random numbers of the simulator: whole numbers from a generator of our own.

The generator is SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"); what turns its
bits into times, sizes and distances are tables, made with `decimal`, whose `ln` and powers are rounded the same way on
every machine.

Invariants: no draw passes through a float or through the machine's mathematics library, so that equal seeds give equal
numbers everywhere; a stream depends on its names only.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array

#: Fixed point: an exponential draw is in units of 2**-EXPONENTIAL_BITS.
EXPONENTIAL_BITS = 20
#: A draw of `gaussian`, and whatever is made with it, is in units of 2**-GAUSSIAN_BITS.
GAUSSIAN_BITS = 16
DISTANCE_MAX = 400

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S11, _S16, _S27, _S30, _S31, _S43, _S53 = (np.uint64(bits) for bits in (11, 16, 27, 30, 31, 43, 53))
_ONE, _TEN_BITS, _SIXTEEN_BITS = np.uint64(1), np.uint64(1023), np.uint64(65535)
_TOP = np.uint64(1 << 63)


def stream(*names: object) -> int:
    """Return where the stream of these names begins, in [0, 2**64)."""
    text = "\0".join(map(str, names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def _exponential_table() -> tuple[Array, int]:
    """Return ln 2 - ln(1 + i / 1024), and ln 2, in units of 2**-EXPONENTIAL_BITS."""
    with localcontext(prec=24):
        unit, two = Decimal(1 << EXPONENTIAL_BITS), Decimal(2).ln()
        values = [int((two - (1 + Decimal(i) / 1024).ln()) * unit) for i in range(1025)]
        return np.array(values, np.int64), int(two * unit)


def _decay_table() -> Array:
    """Return 2**(-i / 256) in units of 2**-16."""
    with localcontext(prec=24):
        return np.array([int(Decimal(2) ** (Decimal(-i) / 256) * 65536) for i in range(256)], np.int64)


def _tail_table(index: str, least: int, most: int) -> Array:
    """Return quantiles of a number whose tail falls as x**-index, beginning at `least`."""
    with localcontext(prec=24):
        power = -1 / Decimal(index)
        values = [int(((Decimal(i) + Decimal("0.5")) / 1024) ** power) - 1 + least for i in range(1024)]
        return np.minimum(np.array(values, np.int64), most)


_EXPONENTIAL, _LN2 = _exponential_table()
_DECAY = _decay_table()
#: Ticks from the touch (Bouchaud, Mezard, Potters 2002: the tail of placement is a power law).
_DISTANCES = _tail_table("1.1", 0, DISTANCE_MAX)
#: Lots of an order (Gopikrishnan et al. 2000: the tail of traded sizes has an index near 1.5).
_LOTS = _tail_table("1.45", 1, 10_000)


@njit(nogil=True, cache=True)
def draw(state: Any) -> Any:
    """Return 64 random bits, as uint64; the stream is the field `random` of a record."""
    state.random += _GAMMA
    bits = state.random
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


@njit(nogil=True, cache=True)
def below(bits: Any, limit: Any) -> Any:
    """Return a number in [0, limit) of the bits' upper half; limit is at most 2**31."""
    return (np.int64(bits >> np.uint64(33)) * limit) >> 31


@njit(nogil=True, cache=True)
def exponential(bits: Any) -> Any:
    """Return an exponential draw of mean 1 in units of 2**-EXPONENTIAL_BITS, int64, at most 2**26."""
    octave = np.int64(0)
    while bits & _TOP == np.uint64(0) and octave < 40:
        bits = bits << _ONE
        octave += 1
    place = np.int64((bits >> _S53) & _TEN_BITS)
    part = np.int64((bits >> _S43) & _TEN_BITS)
    high = _EXPONENTIAL[place]
    return octave * _LN2 + high - (((high - _EXPONENTIAL[place + 1]) * part) >> 10)


@njit(nogil=True, cache=True)
def gaussian(state: Any) -> Any:
    """Return a draw of mean 0 and variance 1, the sum of eight uniform ones, in units of 2**-GAUSSIAN_BITS, int64."""
    total = np.int64(0)
    for _ in range(2):
        bits = draw(state)
        for _part in range(4):
            total += np.int64(bits & _SIXTEEN_BITS)
            bits = bits >> _S16
    # Eight of mean 32767.5 and variance 2**32 / 12.
    return ((total - 262_140) * 80_266) >> 16


@njit(nogil=True, cache=True)
def decayed(value: Any, elapsed: Any, half_life_bits: Any) -> Any:
    """Return value * 2**(-elapsed / 2**half_life_bits), for value < 2**46."""
    past = elapsed >> (half_life_bits - 8)
    halvings = past >> 8
    if halvings > 46:
        return np.int64(0)
    return (value * _DECAY[past & 255]) >> (16 + halvings)


@njit(nogil=True, cache=True)
def distance(bits: Any) -> Any:
    """Return ticks from the touch, in [0, DISTANCE_MAX], of ten bits."""
    return _DISTANCES[np.int64(bits & _TEN_BITS)]


@njit(nogil=True, cache=True)
def lots(bits: Any) -> Any:
    """Return an order's size in lots, of fourteen bits: some are round, few are large."""
    found = _LOTS[np.int64(bits & _TEN_BITS)]
    roundness = np.int64((bits >> np.uint64(10)) & np.uint64(15))
    if roundness == 0:
        return found * 10
    if roundness < 3:
        return found * 5
    return found
