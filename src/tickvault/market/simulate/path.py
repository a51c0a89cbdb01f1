"""What the flow of a day follows: how busy the market is, and what an instrument is worth.

The day is cut into steps of 2**29 ns. Each has a weight, how busy it is, and a value, what informed traders hold the
instrument to be worth. Values of several instruments move together by a common factor; how much they move is itself
random and takes minutes to calm down, and busy times are those of large moves.

Invariants: whole numbers only; a value stays within the levels that the book has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.simulate.draws import gaussian
from tickvault.market.simulate.state import STATE

STEP_BITS = 29
STEP_NS = 1 << STEP_BITS
#: Levels of a book; a value keeps this far from both ends.
LEVELS = 1 << 13
MARGIN = 450
#: A value is in units of 2**-VALUE_BITS ticks.
VALUE_BITS = 16
_ONE = 1 << 16
_HEAT_MAX = 3 * _ONE


@njit(nogil=True, cache=True)
def _heat(state: Any, heat: Any) -> Any:
    """Return the next step of the logarithm (base 2, in 2**-16) of how much things move."""
    return heat - (heat >> 9) + (gaussian(state) * 28 >> 10)


@njit(nogil=True, cache=True)
def _power_of_two(exponent: Any) -> Any:
    """Return 2**exponent in units of 2**-16, straight between whole exponents; exponent is in 2**-16."""
    whole = exponent >> 16
    part = 65536 + (exponent & 65535)
    return part << whole if whole >= 0 else part >> -whole


@njit(nogil=True, cache=True)
def fill_common(state: Any, moves: Any, heats: Any) -> None:
    """Write the moves of the common factor (2**-16 of its deviation in a step) and its heat (base 2, 2**-16)."""
    heat = np.int64(0)
    for step in range(len(moves)):
        heat = _heat(state, heat)
        heats[step] = heat
        moves[step] = gaussian(state)


@njit(nogil=True, cache=True)
def fill_path(
    state: Any, moves: Any, heats: Any, loading: Any, own: Any, deviation: Any, floor: Any, weights: Any, values: Any
) -> None:
    """Write the weight and the value of each step.

    Parameters
    ----------
    loading, own : int64
        How much of a move is the common factor's and the instrument's own, in 2**-10; their squares add up to 2**20.
    deviation : int64
        Of a step's move, in 2**-VALUE_BITS ticks.
    floor : int64
        The least value, in ticks.
    """
    heat = np.int64(0)
    value = np.int64(LEVELS // 2) << VALUE_BITS
    low, high = floor << VALUE_BITS, np.int64(LEVELS - MARGIN) << VALUE_BITS
    count = len(moves)
    for step in range(count):
        heat = _heat(state, heat)
        both = min(max(heat + heats[step], -_HEAT_MAX), _HEAT_MAX)
        scale = _power_of_two(both)
        # From 1024 at the ends of the day to 0 in its middle.
        edge = abs((step << 11) // count - 1024)
        square = edge * edge >> 10
        # The market is busiest at its opening and its close.
        weights[step] = ((1024 + 4 * (square * square >> 10)) * scale >> 16) + 1
        move = (moves[step] * loading + gaussian(state) * own) >> 10
        move = (move * deviation >> 16) * scale >> 16
        value += move * (760 + square * 3 // 4) >> 10
        if value < low:
            value = 2 * low - value
        elif value > high:
            value = 2 * high - value
        value = min(max(value, low), high)
        values[step] = value


def step_count(length_ns: int) -> int:
    """Return how many steps a session of this length has."""
    return -(-length_ns // STEP_NS)


def common_path(start: int, length_ns: int) -> tuple[Array, Array]:
    """Return the moves and heats of the common factor; see `fill_common`."""
    state = np.zeros(1, STATE)
    state["random"] = start
    moves = np.empty(step_count(length_ns), np.int64)
    heats = np.empty_like(moves)
    fill_common(state[0], moves, heats)
    return moves, heats
