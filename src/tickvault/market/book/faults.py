"""What did not fit while a book was built: counted, with the first examples of each kind.

Invariants: nothing is dropped in silence: a row that was not applied as it stands is in one of the counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from tickvault.market.columns import Array
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, TIME_NULL
from tickvault.market.times import text_of

#: Kept of each kind.
EXAMPLES_MAX = 5


class Fault(IntEnum):
    """A kind of fault; its number is its place in the counts."""

    UNKNOWN_CANCEL = 0
    UNKNOWN_MODIFY = 1
    DUPLICATE_ADD = 2
    CANCEL_BEYOND = 3
    OTHER_PRICE = 4
    SIDE_CHANGED = 5
    UNUSABLE = 6
    CROSSED = 7
    LOCKED = 8
    UNKNOWN_LEVEL = 9
    IMPLIED_CLEAR = 10
    MAYBE_BAD = 11

    @property
    def label(self) -> str:
        """The name as `Faults` has it."""
        return self.name.lower()

    @property
    def about(self) -> str:
        """What happened, and what was done."""
        return _ABOUT[self]

    @property
    def is_strict(self) -> bool:
        """Whether a strict book raises: not for what the source itself says, or what sound sources do."""
        return self not in {Fault.UNKNOWN_LEVEL, Fault.IMPLIED_CLEAR, Fault.MAYBE_BAD}


_ABOUT = {
    Fault.UNKNOWN_CANCEL: "an order that is not in the book was cancelled; nothing was done",
    Fault.UNKNOWN_MODIFY: "an order that is not in the book was modified; it was added",
    Fault.DUPLICATE_ADD: "an order was added that is in the book already; the new one took its place",
    Fault.CANCEL_BEYOND: "more was cancelled than the order had left; it was taken out",
    Fault.OTHER_PRICE: "a cancel told another price than its order rests at; it was applied by the order's number",
    Fault.SIDE_CHANGED: "a modification told another side; the order was moved there",
    Fault.UNUSABLE: "a row lacks side, price or size, has a negative one, or a sum beyond 63 bits; it was left out",
    Fault.CROSSED: "the best bid was above the best ask when an event was over",
    Fault.LOCKED: "the best bid was the best ask when an event was over",
    Fault.UNKNOWN_LEVEL: "a level was removed that is not in the book, as venues do that send a part of it only",
    Fault.IMPLIED_CLEAR: "a snapshot began without a row that clears the book; it was cleared",
    Fault.MAYBE_BAD: "a row says that the book may be wrong, as after a gap",
}


class Example(NamedTuple):
    """A row that did not fit."""

    row: int
    """Its number among those applied, from 0."""
    ts: int
    """Its `ts_index`, int64 ns UTC."""
    order_id: int
    """0 where the fault is of no order."""
    price: int
    """Units of 1e-9; the best bid where the book is crossed or locked; null where none is told."""
    size: int
    """Stored units; the best ask, a price, where the book is crossed or locked; null where none is told."""


class Faults(Mapping[str, int]):
    """Counts by the names of `Fault`, of those that occurred; ``str`` tells them in words."""

    def __init__(self, tally: Array, examples: Array) -> None:
        self._counts = {fault.label: int(tally[fault]) for fault in Fault if tally[fault]}
        self._examples = {
            fault.label: tuple(_example(row) for row in examples[fault, : min(int(tally[fault]), EXAMPLES_MAX)])
            for fault in Fault
            if tally[fault]
        }

    def __getitem__(self, name: str) -> int:
        """Return how many there were of a kind; 0 if none."""
        if name not in self._counts and name not in _LABELS:
            raise KeyError(name)
        return self._counts.get(name, 0)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the kinds that occurred."""
        return iter(self._counts)

    def __len__(self) -> int:
        """Return how many kinds occurred."""
        return len(self._counts)

    def examples(self, name: str) -> tuple[Example, ...]:
        """Return the first rows of a kind."""
        return self._examples.get(name, ())

    def __repr__(self) -> str:
        """Show the counts."""
        return f"<Faults {', '.join(f'{name}={count:,}' for name, count in self._counts.items()) or 'none'}>"

    def __str__(self) -> str:
        """Return a line for each kind, with its first example."""
        lines = []
        for fault in Fault:
            found = self._examples.get(fault.label)
            if found:
                lines.append(f"{self._counts[fault.label]:>10,}  {fault.about}; first: {told(fault, found[0])}")
        return "\n".join(lines) or "nothing that did not fit"


_LABELS = {fault.label: fault for fault in Fault}


def _example(row: Array) -> Example:
    number, order, price, size, ts = (int(value) for value in row)
    return Example(number, ts, order % 2**64, price, size)


def told(fault: Fault, example: Example) -> str:
    """Return an example in words."""
    words = [f"row {example.row:,}"]
    if example.ts != TIME_NULL:
        words.append(f"at {text_of(example.ts)}")
    if fault in {Fault.CROSSED, Fault.LOCKED}:
        return " ".join([*words, f"bid {example.price / PRICE_SCALE} ask {example.size / PRICE_SCALE}"])
    if example.order_id:
        words.append(f"order {example.order_id}")
    if example.price != PRICE_NULL:
        words.append(f"price {example.price / PRICE_SCALE}")
    if example.size != SIZE_NULL:
        words.append(f"size {example.size}")
    return " ".join(words)
