"""Continuous futures: which contract a name such as ``GC.c.0`` means, when.

A name is ``ROOT.RULE.RANK``, as Databento writes it (https://databento.com/docs/standards-and-conventions/symbology):
the rank counts from 0, and the rule is ``c`` (calendar: by expiry, the nearest first), ``v`` (by the volume of the
session before, the largest first) or ``n`` (by open interest, the largest first). The prices are those of the
contracts; nothing is spliced or adjusted.

A contract is a candidate until its trading ends. By ``c`` the next one follows at that moment; by ``v`` and ``n`` the
choice is made at the begin of each session and holds until the next one begins.

Invariants: the intervals join each other and cover the whole range, in order; nothing is used that was not known at the
begin of the session that it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.reference.calendars import Calendar
from tickvault.market.reference.contracts import Contract
from tickvault.market.reference.days import text_of_day
from tickvault.market.reference.sessions import Sessions, calendar_for, session_range, sessions
from tickvault.market.schema import SIZE_NULL
from tickvault.market.table import Table
from tickvault.market.times import text_of

#: Given a symbol and the date of a session, what it was by then; None where nobody knows.
Figures = Callable[[str, str], int | None]
_OPEN_INTEREST = 9
_LOOK_BACK_SESSIONS = 10


class ContinuousName(NamedTuple):
    """What a continuous name says."""

    root: str
    rule: str
    rank: int


class ContractInterval(NamedTuple):
    """The contract that a continuous name means for some time."""

    raw_symbol: str
    start_ns: int
    end_ns: int


def continuous_name(name: str) -> ContinuousName | None:
    """Return what a continuous name says; None if it is none.

    >>> continuous_name("GC.c.0"), continuous_name("BRK.B")
    (ContinuousName(root='GC', rule='c', rank=0), None)
    """
    root, dot, rest = name.partition(".")
    rule, second, rank = rest.partition(".")
    if not (root and dot and second and rule in {"c", "v", "n"} and rank.isdecimal()):
        return None
    return ContinuousName(root, rule, int(rank))


def resolve_continuous(
    name: str,
    start_ns: int,
    end_ns: int,
    contracts: Sequence[Contract],
    *,
    venue: str = "GLBX",
    calendar: Calendar | str | None = None,
    volume: Figures | None = None,
    open_interest: Figures | None = None,
) -> list[ContractInterval]:
    """Return which contract a continuous name means over [start_ns, end_ns).

    Parameters
    ----------
    name : str
    start_ns, end_ns : int
        int64 ns UTC.
    contracts : sequence of Contract
        Of the product; see `contracts_of`.
    venue, calendar
        Whose sessions are meant.
    volume, open_interest : callable, optional
        Needed by the rules ``v`` and ``n``. Asked for (symbol, date of a session that has ended): `volume` tells what
        was traded in it; `open_interest` what was last published before the session after it began. Missing figures
        count as 0; of a session without any, the one before it is asked, up to ten.

    Returns
    -------
    list of ContractInterval
        Neighbours differ.

    Raises
    ------
    InvalidInputError
        The name is none, its figures are not given, or the range is empty.
    NotFoundError
        There are fewer contracts than the rank needs, or no figures.
    """
    told = continuous_name(name)
    if told is None:
        raise InvalidInputError(
            f"{name!r} is no continuous name; write ROOT.RULE.RANK, such as GC.c.0, with the rule c (expiry), v "
            "(volume) or n (open interest)"
        )
    if start_ns >= end_ns:
        raise InvalidInputError(f"{name}: the end {text_of(end_ns)} is not after the start {text_of(start_ns)}")
    mine = sorted(
        (each for each in contracts if each.root == told.root), key=lambda each: (each.expiry_ns, each.symbol)
    )
    if told.rule == "c":
        return _by_expiry(name, told, mine, start_ns, end_ns)
    figures = volume if told.rule == "v" else open_interest
    if figures is None:
        needed = "volume" if told.rule == "v" else "open_interest"
        raise InvalidInputError(f"{name}: the rule {told.rule} needs {needed}=, a function of symbol and session")
    return _by_figures(name, told, mine, start_ns, end_ns, sessions(calendar_for(calendar, venue)), figures)


def _by_expiry(
    name: str, told: ContinuousName, contracts: Sequence[Contract], start_ns: int, end_ns: int
) -> list[ContractInterval]:
    found: list[ContractInterval] = []
    at = start_ns
    while at < end_ns:
        alive = [each for each in contracts if each.expiry_ns > at]
        if len(alive) <= told.rank:
            raise _too_few(name, told, len(alive), at)
        until = min(alive[0].expiry_ns, end_ns)
        found.append(ContractInterval(alive[told.rank].symbol, at, until))
        at = until
    return _merged(found)


def _by_figures(
    name: str,
    told: ContinuousName,
    contracts: Sequence[Contract],
    start_ns: int,
    end_ns: int,
    calendar: Sessions,
    figures: Figures,
) -> list[ContractInterval]:
    first = max(int(np.searchsorted(calendar.starts, start_ns, "right")) - 1, 0)
    found: list[ContractInterval] = []
    at, number = start_ns, first
    while at < end_ns:
        until = int(calendar.starts[number + 1]) if number + 1 < len(calendar.starts) else end_ns
        begin = min(int(calendar.starts[number]), at)
        alive = [each for each in contracts if each.expiry_ns > begin]
        if len(alive) <= told.rank:
            raise _too_few(name, told, len(alive), at)
        ranked = _ranked(name, alive, calendar, number, figures)
        found.append(ContractInterval(ranked[told.rank].symbol, at, min(until, end_ns)))
        at, number = until, number + 1
    return _merged(found)


def _ranked(name: str, alive: Sequence[Contract], calendar: Sessions, number: int, figures: Figures) -> list[Contract]:
    """Return the contracts by the figures of the last session before `number` that has any; equal ones by expiry."""
    for before in range(number - 1, max(number - 1 - _LOOK_BACK_SESSIONS, -1), -1):
        day = text_of_day(int(calendar.days[before]))
        values = [figures(each.symbol, day) for each in alive]
        if any(values):
            order = sorted(range(len(alive)), key=lambda place: -(values[place] or 0))
            return [alive[place] for place in order]
    day = text_of_day(int(calendar.days[number]))
    raise NotFoundError(
        f"{name}: there are no figures of the {_LOOK_BACK_SESSIONS} sessions before {day}; begin later, or "
        "use the rule c"
    )


def _too_few(name: str, told: ContinuousName, count: int, at: int) -> NotFoundError:
    return NotFoundError(
        f"{name}: at {text_of(at)} there are {count} contracts of {told.root} that have not expired, and the rank "
        f"{told.rank} needs {told.rank + 1}"
    )


def _merged(intervals: Sequence[ContractInterval]) -> list[ContractInterval]:
    found: list[ContractInterval] = []
    for interval in intervals:
        if found and found[-1].raw_symbol == interval.raw_symbol:
            found[-1] = found[-1]._replace(end_ns=interval.end_ns)
        else:
            found.append(interval)
    return found


class Reads(Protocol):
    """What figures are read from: a library."""

    def read(self, symbol: str, schema: str, start: Any = None, end: Any = None, *, venue: str | None = None) -> Table:
        """Return the rows of a series in [start, end)."""


def traded_volume(library: Reads, venue: str, *, calendar: Calendar | str | None = None) -> Figures:
    """Return the volumes of sessions by a library's `trades`; a contract without trades has none."""
    known: dict[tuple[str, str], int | None] = {}

    def of(symbol: str, day: str) -> int | None:
        if (symbol, day) not in known:
            start, end = session_range(venue, day, calendar=calendar)
            sizes = _read(library, symbol, "trades", start, end, venue, "size")
            known[symbol, day] = None if sizes is None else int(sizes[sizes != SIZE_NULL].sum())
        return known[symbol, day]

    return of


def published_open_interest(library: Reads, venue: str, *, calendar: Calendar | str | None = None) -> Figures:
    """Return open interest by a library's `statistics`: what was last published before the session after began."""
    all_sessions = sessions(calendar_for(calendar, venue))
    known: dict[tuple[str, str], int | None] = {}

    def of(symbol: str, day: str) -> int | None:
        if (symbol, day) not in known:
            start, _ = session_range(venue, day, calendar=calendar)
            after = int(np.searchsorted(all_sessions.starts, start, "right"))
            end = int(all_sessions.starts[after])
            known[symbol, day] = _last_open_interest(library, symbol, start, end, venue)
        return known[symbol, day]

    return of


def _last_open_interest(library: Reads, symbol: str, start: int, end: int, venue: str) -> int | None:
    try:
        table = library.read(symbol, "statistics", start, end, venue=venue)
    except NotFoundError:
        return None
    quantities = table["quantity"][(table["stat_type"] == _OPEN_INTEREST) & (table["quantity"] != SIZE_NULL)]
    return int(quantities[-1]) if len(quantities) else None


def _read(library: Reads, symbol: str, schema: str, start: int, end: int, venue: str, name: str) -> Any:
    try:
        return library.read(symbol, schema, start, end, venue=venue)[name]
    except NotFoundError:
        return None
