"""Orders that rest, by their numbers: an open-addressed table that kernels look up and change.

Invariants: never more than half of the slots are taken, so that a search ends; an order is found from its home slot
onward without an empty one between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.columns import Array

_SLOT_COUNT_MIN = 1 << 20


@njit(nogil=True, cache=True, inline="always")
def home_of(order: Any, mask: Any) -> Any:
    """Return the slot at which the search for an order begins."""
    # Nearby numbers, given at nearby times, stay together in memory; the higher bits are mixed in, whatever the stride.
    return (order + (order >> 16) * 0x5851F42D) & mask


@njit(nogil=True, cache=True, inline="always")
def find(slots: Any, order: Any) -> Any:
    """Return where an order is, or the empty slot where it would be."""
    mask = len(slots) - 1
    slot = home_of(order, mask)
    while slots[slot, 1] != 0 and slots[slot, 0] != order:
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True)
def remove(slots: Any, slot: Any) -> Any:
    """Empty a slot, and move up those behind it that had to make way."""
    mask = len(slots) - 1
    hole = slot
    following = (slot + 1) & mask
    while slots[following, 1] != 0:
        home = home_of(slots[following, 0], mask)
        if ((following - home) & mask) >= ((following - hole) & mask):
            slots[hole, 0] = slots[following, 0]
            slots[hole, 1] = slots[following, 1]
            hole = following
        following = (following + 1) & mask
    slots[hole, 1] = 0


@njit(nogil=True, cache=True)
def _moved(slots: Any, larger: Any) -> None:
    for slot in range(len(slots)):
        if slots[slot, 1] != 0:
            place = find(larger, slots[slot, 0])
            larger[place, 0] = slots[slot, 0]
            larger[place, 1] = slots[slot, 1]


def orders_table(slots: Array | None, live: int, adds_max: int) -> Array:
    """Return a table of orders with room for `adds_max` more, the same one where it has it.

    int64, shape (slots, 2): (order, remaining size << 32 | buy << 31 | price in 1e-4), the latter 0 in an empty slot.
    """
    wanted = _SLOT_COUNT_MIN if slots is None else len(slots)
    while (live + adds_max) * 2 > wanted:
        wanted *= 2
    if slots is not None and wanted == len(slots):
        return slots
    larger = np.zeros((wanted, 2), np.int64)
    if slots is not None:
        _moved(slots, larger)
    return larger
