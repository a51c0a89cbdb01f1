"""Faults for tests of what comes after: late and repeated rows, gaps, clocks that jump, crossed quotes.

What happens to a row depends on the seed and on its number in the series (for a gap on its sequence), so that the
series is the same whatever its batches.

Invariants: without faults rows pass untouched; each row that something happened to is counted, once for each kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.simulate.draws import stream

_MILLION = 1_000_000
#: A late row comes up to so many rows after its place; a clock is wrong for so many rows, and by up to so much.
LATE_ROWS_MAX = 1000
STRETCH_ROWS = 256
JUMP_NS_MAX = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, each in rows out of a million.

    Attributes
    ----------
    late : int
        Rows that come up to `LATE_ROWS_MAX` rows after their place, with the times they have.
    repeated : int
        Rows that come twice.
    gaps : int
        Rows that are lost, with all others of their sequence.
    clock_jumps : int
        Rows whose `ts_recv` is wrong by up to `JUMP_NS_MAX`, in stretches of `STRETCH_ROWS`.
    crossed : int
        Rows of `bbo` whose bid is above the ask.
    """

    late: int = 0
    repeated: int = 0
    gaps: int = 0
    clock_jumps: int = 0
    crossed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for one in fields(self):
            value = getattr(self, one.name)
            if not 0 <= value <= _MILLION:
                raise InvalidInputError(f"faults: {one.name} is in rows of a million, [0, 1000000], was {value}")

    def __bool__(self) -> bool:
        """Whether anything goes wrong."""
        return any(getattr(self, one.name) for one in fields(self))


class FaultyLine:
    """The way of one series to who listens; rows that are late wait in it."""

    def __init__(self, faults: Faults, seed: int, symbol: str, schema: str, counted: Counter[str]) -> None:
        self._faults = faults
        self._names = (seed, symbol)
        self._schema = schema
        self._counted = counted
        self._rows = 0
        self._late: Columns | None = None
        self._due = np.empty(0, np.int64)

    def carry(self, columns: Columns) -> Columns:
        """Return what arrives of these rows, and of those that were late."""
        if not self._faults:
            return columns
        numbers = np.arange(self._rows, self._rows + len(columns))
        self._rows += len(columns)
        if self._faults.gaps:
            # Of all schemas of a symbol the same messages are lost.
            lost = self._happens("gaps", columns["sequence"].astype(np.int64), self._faults.gaps, shared=True)
            columns, numbers = columns.take(~lost), numbers[~lost]
        arrays = dict(columns.arrays)
        if self._faults.crossed and self._schema == "bbo":
            crossed = self._happens("crossed", numbers, self._faults.crossed)
            bid, ask = arrays["bid_px_00"], arrays["ask_px_00"]
            arrays["bid_px_00"], arrays["ask_px_00"] = np.where(crossed, ask, bid), np.where(crossed, bid, ask)
        if self._faults.clock_jumps:
            stretch = numbers // STRETCH_ROWS
            wrong = self._happens("clock_jumps", stretch, self._faults.clock_jumps)
            by = (self._hash("by", stretch) % np.uint64(2 * JUMP_NS_MAX)).astype(np.int64) - JUMP_NS_MAX
            arrays["ts_recv"] = np.where(wrong, arrays["ts_recv"] + by, arrays["ts_recv"])
        columns = columns.take(slice(None))
        columns.arrays = arrays
        if self._faults.repeated:
            again = self._happens("repeated", numbers, self._faults.repeated)
            twice = np.repeat(np.arange(len(columns)), 1 + again)
            columns, numbers = columns.take(twice), numbers[twice]
        return self._delayed(columns, numbers) if self._faults.late else columns

    def end(self) -> list[Columns]:
        """Return what still waits."""
        return [] if self._late is None else [self._late]

    def _delayed(self, columns: Columns, numbers: Array) -> Columns:
        late = self._happens("late", numbers, self._faults.late)
        delay = (self._hash("delay", numbers) % np.uint64(LATE_ROWS_MAX)).astype(np.int64) + 1
        due = np.where(late, numbers + delay, numbers)
        if self._late is not None:
            columns, due = join_columns([self._late, columns]), np.concatenate((self._due, due))
        order = np.argsort(due, kind="stable")
        columns, due = columns.take(order), due[order]
        arrived = int(np.searchsorted(due, self._rows))
        self._late, self._due = columns.take(slice(arrived, None)), due[arrived:]
        return columns.take(slice(0, arrived))

    def _happens(self, kind: str, numbers: Array, rate: int, *, shared: bool = False) -> Array:
        found: Array = self._hash(kind, numbers, shared=shared) % np.uint64(_MILLION) < np.uint64(rate)
        self._counted[kind] += int(found.sum())
        return found

    def _hash(self, kind: str, numbers: Array, *, shared: bool = False) -> Array:
        """Return 64 bits for each number, by SplitMix64."""
        start = np.uint64(stream("fault", kind, *self._names, "" if shared else self._schema))
        bits: Array = start + numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
        return bits
