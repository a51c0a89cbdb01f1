"""Rules: what is doubted of rows, and how it is found.

A rule says which rows it flags; nothing is ever removed or changed.  The built-in ones stand in the modules beside this
one; `register` adds others, which then run by default on the schemas that they name.

Invariants: a rule flags by position, and the same rows the same way each time; a rule that lacks what it needs (a
calendar, a tick size) says so and is not counted as passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tickvault.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from tickvault.market.columns import Array
from tickvault.market.reference.calendars import Calendar
from tickvault.market.schema import F_LAST, F_SNAPSHOT, SCHEMAS, Schema
from tickvault.market.table import Table

#: Up to so many values are numbered without sorting the rows.
_DENSE_MAX = 1 << 20


class Severity(StrEnum):
    """What a flag means."""

    ERROR = "error"
    """The value cannot be right."""
    WARNING = "warning"
    """It may be right, and whoever uses it should know."""
    INFO = "info"
    """Told for information; usual in good data."""


class NotChecked(Exception):  # noqa: N818
    """Raised by a rule that lacks what it needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What rules compare with.

    Parameters
    ----------
    tick_size : int, optional
        In units of 1e-9; without it prices are not checked against it.
    low_price, high_price : int, optional
        In units of 1e-9; what lies outside is flagged.
    negative_prices : bool
        Whether prices of 0 and below are usual, as of spreads and of power.
    clock_tolerance_ns : int
        By which a receive clock may run behind the venue's.
    clock_offset_ns : int
        A delay that never falls below this is taken for a clock that is ahead.
    outlier_window : int
        Prices on each side that make the median.
    outlier_deviations : float
        Scaled median absolute deviations from it.
    outlier_share : float
        Of the median, below which nothing is an outlier.
    stale_after_ns : int
        Longest time that a quote may stand within a session.
    auctions : tuple of (int, int)
        Ranges [start, end), int64 ns UTC, in which quotes may cross.
    examples : int
        Rows shown of each rule.
    """

    tick_size: int | None = None
    low_price: int | None = None
    high_price: int | None = None
    negative_prices: bool = False
    clock_tolerance_ns: int = 1_000_000
    clock_offset_ns: int = 1_000_000_000
    outlier_window: int = 10
    outlier_deviations: float = 12.0
    outlier_share: float = 0.01
    stale_after_ns: int = 300_000_000_000
    auctions: tuple[tuple[int, int], ...] = ()
    examples: int = 5


class Found(NamedTuple):
    """What a rule found."""

    rows: Array
    """Positions (int64), or a mask (bool) of shape (n_rows,)."""
    note: str = ""
    """What a reader of the count should know."""


class Rows:
    """Rows to check, with what several rules ask of them."""

    def __init__(self, table: Table, limits: Limits, calendar: Calendar | None, no_calendar: str = "") -> None:
        self.table = table
        self.limits = limits
        self.calendar = calendar
        self._no_calendar = no_calendar

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def __getitem__(self, name: str) -> Array:
        """Return a column's numbers, as `Table` gives them."""
        return self.table[name]

    def present(self, names: Iterable[str]) -> list[str]:
        """Return which of these columns hold anything."""
        return [name for name in names if name in self.table]

    def needed(self, *names: str) -> None:
        """Raise `NotChecked` where a column holds nothing."""
        missing = [name for name in names if name not in self.table]
        if missing:
            raise NotChecked(f"the rows have no {', '.join(missing)}")

    @cached_property
    def nothing(self) -> Array:
        """A mask of no row."""
        return np.zeros(len(self), np.bool_)

    @cached_property
    def happened(self) -> Array:
        """When each row happened, int64 ns: `ts_event`, of a bar its begin; else `ts_index`."""
        if "ts_event" not in self.table:
            return self.table["ts_index"]
        column = self.table.column("ts_event")
        events = self.table["ts_event"]
        return np.where(events == column.null, self.table["ts_index"], events)

    @cached_property
    def live(self) -> Array:
        """A mask of the rows that are not from a snapshot."""
        if "flags" not in self.table:
            return np.ones(len(self), np.bool_)
        found: Array = (self.table["flags"] & F_SNAPSHOT) == 0
        return found

    @cached_property
    def whole(self) -> Array:
        """A mask of the rows after which the book is whole: all, where the source marks no row so."""
        if "flags" not in self.table:
            return np.ones(len(self), np.bool_)
        last: Array = (self.table["flags"] & F_LAST) != 0
        return last if last.any() else ~last

    @cached_property
    def groups(self) -> Array:
        """A number for each row's symbol, publisher, channel and exchange, int64: numbers of one group are one book."""
        found, count = np.zeros(len(self), np.int64), 1
        for name in self.present(("symbol", "publisher_id", "channel_id", "exchange")):
            values = self.table[name]
            low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
            if low == high:
                continue
            combined = found * (high - low + 1) + (values.astype(np.int64) - low)
            found, count = _numbered(combined, count * (high - low + 1))
        return found

    @cached_property
    def in_session(self) -> Array:
        """A mask of the rows in a session and in no break of it; raises `NotChecked` without a calendar."""
        return self.within("regular")

    def within(self, hours: str) -> Array:
        """Return a mask of the rows within a session; raises `NotChecked` without a calendar."""
        if self.calendar is None:
            raise NotChecked(self._no_calendar or "no calendar is given")
        from tickvault.market.validate.hours import within

        return within(self.happened, self.calendar, hours)


def _numbered(values: Array, size: int) -> tuple[Array, int]:
    """Return numbers without gaps in place of values in [0, size), and how many there are."""
    if size > _DENSE_MAX:
        different, found = np.unique(values, return_inverse=True)
        return found.reshape(-1).astype(np.int64), len(different)
    used = np.zeros(size, np.bool_)
    used[values] = True
    numbers = np.cumsum(used) - 1
    return numbers[values], int(used.sum())


@dataclass(frozen=True)
class Rule:
    """What is doubted of rows.

    Parameters
    ----------
    name : str
        Lower case, words with ``_``.
    about : str
        What a flag means, in a sentence or two.
    severity : Severity
    find : callable
        Given `Rows`, returns a mask of bools, positions, or `Found`; raises `NotChecked` where it lacks something.
    schemas : frozenset of str
        That it is for; empty: all.
    columns : tuple of str
        Shown of an example, beside its position and times.
    """

    name: str
    about: str
    severity: Severity
    find: Callable[[Rows], Array | Found]
    schemas: frozenset[str] = frozenset()
    columns: tuple[str, ...] = field(default=())

    def applies(self, schema: Schema) -> bool:
        """Whether it is for a schema."""
        return not self.schemas or schema.name in self.schemas


_RULES: dict[str, Rule] = {}
#: The rules by name.
RULES: Mapping[str, Rule] = MappingProxyType(_RULES)


def register(rule: Rule) -> Rule:
    """Add a rule to those that run by default, and return it.

    Raises
    ------
    AlreadyExistsError
        Another rule has the name.
    InvalidInputError
        The name or a schema is none.
    """
    if rule.name in _RULES:
        raise AlreadyExistsError(f"rule {rule.name}: there is one of that name; choose another, or unregister it first")
    if not rule.name.replace("_", "a").isalnum() or rule.name != rule.name.lower():
        raise InvalidInputError(f"rule {rule.name!r}: a name has lower-case letters, digits and _")
    if strange := sorted(rule.schemas - set(SCHEMAS)):
        raise InvalidInputError(f"rule {rule.name}: there is no schema {', '.join(strange)}")
    _RULES[rule.name] = rule
    return rule


def unregister(name: str) -> None:
    """Take a rule away; raises `NotFoundError` where there is none of the name."""
    if _RULES.pop(name, None) is None:
        raise NotFoundError(f"there is no rule {name!r}; the rules are {', '.join(_RULES)}")


def rules_of(schema: Schema, wanted: Iterable[str | Rule] | None = None) -> list[Rule]:
    """Return the rules to run on a schema: those wanted, else all that are for it.

    Raises
    ------
    NotFoundError
        A name is none.
    InvalidInputError
        A rule that was asked for is not for the schema.
    """
    if wanted is None:
        return [rule for rule in _RULES.values() if rule.applies(schema)]
    found = []
    for each in wanted:
        rule = each if isinstance(each, Rule) else _RULES.get(each)
        if rule is None:
            raise NotFoundError(f"there is no rule {each!r}; the rules are {', '.join(_RULES)}")
        if not rule.applies(schema):
            raise InvalidInputError(
                f"rule {rule.name} is not for {schema.name}; it is for {', '.join(sorted(rule.schemas))}"
            )
        found.append(rule)
    return found
