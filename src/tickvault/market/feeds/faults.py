"""What is wrong with the rows of a block, kept while it is decoded column by column.

Invariant: of each row the first thing found is told, and only that.
"""

from __future__ import annotations

import numpy as np

from tickvault.market.columns import Array


class Faults:
    """What is wrong with which row of a block: the first thing found of each."""

    def __init__(self, sound: Array, reason: str = "it has not the fields of the header") -> None:
        self.good = sound.copy()
        """Which rows nothing is wrong with."""
        self._found: list[tuple[Array, str]] = [(np.flatnonzero(~sound), reason)]

    def unless(self, good: Array, reason: str) -> None:
        """Tell rows that are not good, unless something else is wrong with them already."""
        bad = self.good & ~good
        if bad.any():
            self._found.append((np.flatnonzero(bad), reason))
            self.good &= good

    def reasons(self) -> list[tuple[int, str]]:
        """Return (row, reason) in the order of the rows."""
        return sorted((row, reason) for rows, reason in self._found for row in rows.tolist())
