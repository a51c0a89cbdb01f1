"""Goals of market data: exact numbers, and the rival's name where one is measured beside us.

Invariants: words and verdict come from the same number.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickvault.bench.report import Condition, Figure


@dataclass(frozen=True, slots=True)
class Goal(Condition):
    """A condition that names what its ratio is to."""

    beside: str = "limit"

    def words(self, unit: str) -> str:
        """Say the goal in words, for a row of that unit."""
        sign, bound = ("≥", self.minimum) if self.minimum is not None else ("≤", self.maximum)
        assert bound is not None, "a goal has one bound"
        number = f"{bound:,.0f}" if bound >= 100 else f"{bound:g}"
        if self.figure == "ratio":
            return f"{sign} {number} × {self.beside}"
        if self.figure == "rate":
            return f"{sign} {number}{'/s' if unit == 'us' else ' ' + unit}"
        return f"{self.figure} {sign} {number} µs"


def at_most(figure: Figure, maximum: float, beside: str = "limit") -> Goal:
    """Return the goal that a figure is at most a value."""
    return Goal(figure, maximum=maximum, beside=beside)


def at_least(figure: Figure, minimum: float, beside: str = "limit") -> Goal:
    """Return the goal that a figure is at least a value."""
    return Goal(figure, minimum=minimum, beside=beside)
