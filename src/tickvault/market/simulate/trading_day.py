"""A trading day of one instrument: its exchange is set up, and run in batches.

Invariants: what happens depends on the seed, the day, its hours, the instrument and its number of rows; not on the size
of the batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import BID
from tickvault.market.simulate.arrivals import CAUSED, RATE_BITS
from tickvault.market.simulate.book import empty_book
from tickvault.market.simulate.draws import stream
from tickvault.market.simulate.exchange import run
from tickvault.market.simulate.orders import EVENT_ROWS_MAX
from tickvault.market.simulate.path import LEVELS, MARGIN, STEP_NS, fill_path, step_count
from tickvault.market.simulate.rows import NARROW, TOPS, WIDE
from tickvault.market.simulate.state import STATE

if TYPE_CHECKING:
    from tickvault.market.simulate.market import Market

_LATENCY_NS = 12_000
_LN2 = 726_817  # in 2**-20
_ORDER_NUMBER_BITS = 40
#: A quiet book is a thin one: it could not follow its value otherwise.
_ORDERS_MIN, _ROWS_PER_ORDER = 40, 200


class Batch(NamedTuple):
    """What `exchange.run` filled; see there."""

    wide: Array
    narrow: Array
    tops: Array


class TradingDay:
    """The exchange of one instrument, from the open to the close.

    Parameters
    ----------
    market : Market
    place : int
        Of the instrument, in the market.
    rows : int
        Of `mbo`, over the day.
    common : tuple of ndarray
        The common factor's moves and heats.
    """

    def __init__(self, market: Market, place: int, rows: int, common: tuple[Array, Array]) -> None:
        instrument = market.instruments[place]
        names = (market.seed, market.date, instrument.symbol)
        length = market.closes_ns - market.opens_ns
        # So high that the day's lowest price is above 0.
        opening = instrument.price // instrument.tick
        lowest = opening - LEVELS // 2
        floor = max(1, 1 - lowest)
        self._weights = np.empty(step_count(length), np.int64)
        self._values = np.empty_like(self._weights)
        state = np.zeros(1, STATE)
        state["random"] = stream("path", *names)
        loading = int(instrument.correlation * 1024)
        deviation = int(instrument.deviation_ticks * 65_536) // isqrt(len(self._weights))
        least = min(floor + MARGIN, LEVELS // 2)
        fill_path(
            state[0], *common, loading, isqrt((1 << 20) - loading**2), deviation, least, self._weights, self._values
        )
        half_life_bits = max(10, min((4 * length // rows).bit_length(), 45))
        start: dict[str, Any] = {
            "random": stream("flow", *names),
            "time": market.opens_ns,
            "close": market.closes_ns,
            "step_end": min(market.opens_ns + STEP_NS, market.closes_ns),
            "weight_left": int(self._weights.sum()) * STEP_NS,
            "half_life_bits": half_life_bits,
            "jump": (CAUSED * _LN2 << (RATE_BITS - 30)) >> half_life_bits,
            "rows_left": rows,
            "number": (place + 1) << _ORDER_NUMBER_BITS,
            "aggressor": BID,
            "tick": instrument.tick,
            "lowest_tick": lowest,
            "lot": instrument.lot,
            "floor": floor,
            "half_spread": int(instrument.half_spread * 65_536),
            "orders": min(instrument.orders, max(_ORDERS_MIN, rows // _ROWS_PER_ORDER)),
            "latency": _LATENCY_NS,
        }
        for name, value in start.items():
            state[name] = value
        self._state = state
        self._book = empty_book()

    def batches(self, rows: int, *, tops: bool) -> Iterator[Batch]:
        """Iterate over the day: at least `rows` rows at a time, in whole events."""
        opening = int(self._state["orders"][0]) + 1
        while left := int(self._state["rows_left"][0]):
            room = min(rows, left) + EVENT_ROWS_MAX + opening
            wide, narrow = np.empty((WIDE, room), np.int64), np.empty((NARROW, room), np.uint8)
            changes = np.empty((TOPS, room if tops else 0), np.int64)
            count, changed = run(self._state[0], self._book, self._weights, self._values, wide, narrow, changes, rows)
            yield Batch(wide[:, :count], narrow[:, :count], changes[:, :changed])
            opening = 0
