"""When the events of an exchange happen, and when they are captured.

Times are a self-exciting process (Hawkes 1971): each event makes others more likely for a while, on top of a base rate
that follows the day's weights and that is steered so that the day has the rows that were asked for.

Invariants: no event is before the one before it, and none at the close or later; what is captured is captured in order,
after it happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.simulate.draws import decayed, draw, exponential
from tickvault.market.simulate.path import STEP_NS

#: Rates are in events per 2**50 ns, weights times ns in units of 2**30.
RATE_BITS, _WEIGHT_BITS = 50, 30
_RATE_MAX = 1 << 44
#: Of the events, so many in 1024 are caused by others.
CAUSED = 614


@njit(nogil=True, cache=True)
def steer(state: Any, weights: Any) -> None:
    """Set the base rate of this step so that the rows left fit into the weighted time left."""
    # Rows are more than events, and of the events only some are not caused by others.
    uncaused = (state.events + 64) * (1024 - CAUSED) // (state.rows + 72)
    per_weight = ((state.rows_left * uncaused) << 16) // ((state.weight_left >> _WEIGHT_BITS) + 1)
    state.base = min(max((per_weight * weights[state.step]) >> 6, 1), _RATE_MAX)


@njit(nogil=True, cache=True)
def wait(state: Any, weights: Any) -> None:
    """Move the time to the next event's (Ogata 1981: draws at the rate now, thinned by the rate then)."""
    while True:
        bits = draw(state)
        waited = exponential(bits)
        if state.step == len(weights) - 1:
            # Whatever is left fits before the close: each gap is a share of what remains.
            left = state.close - state.time
            state.time += left * waited // ((state.rows_left << 20) + waited)
            return
        rate = min(state.base + state.heat, _RATE_MAX)
        gap = (waited << (RATE_BITS - 20)) // rate
        if state.time + gap >= state.step_end:
            state.heat = decayed(state.heat, state.step_end - state.time, state.half_life_bits)
            state.time = state.step_end
            state.weight_left -= weights[state.step] * STEP_NS
            state.step += 1
            state.step_end = min(state.step_end + STEP_NS, state.close)
            steer(state, weights)
            continue
        state.time += gap
        state.heat = decayed(state.heat, gap, state.half_life_bits)
        now = min(state.base + state.heat, _RATE_MAX)
        if np.int64(bits & np.uint64(0x3FFFF)) * rate < (now << 18):
            state.heat = min(state.heat + state.jump, _RATE_MAX)
            return


@njit(nogil=True, cache=True)
def receive(state: Any) -> None:
    """Set when the event is captured: late by a skewed amount, and never before the one before it."""
    bits = draw(state)
    late = state.latency + ((exponential(bits) * state.latency) >> 21)
    if bits & np.uint64(127) == np.uint64(0):
        late *= 12
    # The venue needs three eighths of it to send; the rest is spent in flight.
    sent = state.time + 1 + late * 3 // 8
    state.received = max(state.received, state.time + 1 + late)
    state.in_flight = min(state.received - sent, 2_000_000_000)
