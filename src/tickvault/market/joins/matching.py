"""Which right row belongs to each left row, and its values.

Invariants: the result is the same whether or not the times are in order, and for any number of threads; of rows of one
time, the order that they stand in decides.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.joins import kernels
from tickvault.market.joins.gathering import Gathering
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.keys import Groups
from tickvault.market.joins.spread import by_span

Direction = Literal["backward", "forward", "nearest"]


class Matching(NamedTuple):
    """The times of two tables, and what is asked of them."""

    left: Array
    right: Array
    """int64 ns, frozen."""
    groups: Groups
    direction: Direction
    strict: bool
    """Rows of the very same time do not match."""
    tolerance: int | None

    def fill(self, gathering: Gathering) -> None:
        """Fill the left rows with the values of the right rows that they match."""
        plain = self.direction == "backward" and self.groups.is_one and bool(kernels.ascends(self.left))
        if not (plain and self._fill_in_order(gathering)):
            rows = self.rows()
            by_span(len(rows), len(rows) * len(gathering.made), lambda begin, end: gathering.fill(rows, begin, end))

    def _fill_in_order(self, gathering: Gathering) -> bool:
        """Fill span by span, left times being in order; return False if right times are not, and nothing is filled."""
        rows = np.empty(len(self.left), np.int64)

        def fill(begin: int, end: int) -> bool:
            # One right row more, which may be the last at or before the first of the span.
            low, high = max(self._edge(begin) - 1, 0), self._edge(end)
            found = rows[begin:end]
            if not kernels.last_at(self.left[begin:end], self.right[low:high], self.strict, low, found):
                return False
            if self.tolerance is not None:
                kernels.within(self.left[begin:end], self.right, self.tolerance, found)
            gathering.fill(rows, begin, end)
            return True

        return not len(rows) or all(by_span(len(rows), len(self.left) + len(self.right), fill))

    def _edge(self, place: int) -> int:
        """Return where right rows are cut for spans that begin and end at a left row."""
        if place in (0, len(self.left)):
            return 0 if place == 0 else len(self.right)
        return int(np.searchsorted(self.right, self.left[place], side="left" if self.strict else "right"))

    def rows(self) -> Array:
        """Return the right row of each left row, int64; -1 for none."""
        left_order, right_order = order_of(self.left), order_of(self.right)
        mine = _sorted_by(self.left, left_order)
        walk = _Walk(
            mine,
            _sorted_by(self.right, right_order),
            _sorted_by(self.groups.left, left_order, np.int32),
            _sorted_by(self.groups.right, right_order, np.int32),
            self.groups.group_count,
            self.strict,
        )
        rows = walk.rows(self.direction)
        if right_order is not None:
            rows = np.where(rows < 0, -1, right_order[rows])
        if self.tolerance is not None:
            kernels.within(mine, self.right, self.tolerance, rows)
        if left_order is None:
            return rows
        made = np.empty(len(rows), np.int64)
        made[left_order] = rows
        return made


class _Walk(NamedTuple):
    """Two tables' times in order, and their groups: empty if all rows are of one."""

    left: Array
    right: Array
    left_groups: Array
    right_groups: Array
    group_count: int
    strict: bool

    def rows(self, direction: Direction) -> Array:
        """Return the right row of each left row, both as they stand here."""
        found = np.empty(len(self.left), np.int64)
        if direction == "nearest":
            kernels.nearer(self.left, self.right, self.rows("backward"), self.rows("forward"), found)
        elif len(self.left_groups) or len(self.right_groups):
            walk: Any = kernels.last_at_of_group if direction == "backward" else kernels.first_at_of_group
            walk(*self, found)
        elif direction == "backward":
            kernels.last_at(self.left, self.right, self.strict, 0, found)
        else:
            kernels.first_at(self.left, self.right, self.strict, found)
        return found


def order_of(times: Array) -> Array | None:
    """Return the rows in the order of time, those of one time as they stand; None if they are in order."""
    return None if kernels.ascends(times) else np.argsort(times, kind="stable")


def _sorted_by(values: Array, order: Array | None, dtype: Any = np.int64) -> Array:
    """Return values in an order, frozen for kernels; what is empty stays so."""
    return frozen(values if order is None or not len(values) else values[order], dtype)
