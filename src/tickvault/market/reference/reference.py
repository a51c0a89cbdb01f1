"""Reference data of a library: who was called what, what a contract is, what was paid and split, who was a member.

It lies in the library's own store (`Reference(store)`), beside the series. Everything is point in time: a fact holds
for days, says when it was published where its source does, and is never edited; what is loaded later and is of the same
thing supersedes it, and `at` tells what was there before.

Invariants: a question is about a day, and the answer is that of the day; with `known_at` it is what was known then; an
answer that is not unique is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.reference.calendars import Calendar, calendar_named, calendar_of
from tickvault.market.reference.contracts import Contract, contracts_of
from tickvault.market.reference.days import ALWAYS, FOREVER, day_of, end_of
from tickvault.market.reference.fact_log import LoadReport
from tickvault.market.reference.facts import (
    KINDS,
    Action,
    CalendarChoice,
    Instrument,
    Membership,
    Sector,
    SymbolInterval,
)
from tickvault.market.reference.loads import Loads
from tickvault.market.reference.sessions import Hours, session_range
from tickvault.market.times import to_ns

Fact = TypeVar("Fact", SymbolInterval, Instrument, Sector)


class Reference(Loads):
    """The reference data in a store.

    Parameters
    ----------
    store : Store
        A library's.
    as_of : int or time, optional
        Only what had been loaded by this commit, or by this time; nothing can be loaded then.
    """

    def __repr__(self) -> str:
        """Show how much there is."""
        counts = ", ".join(f"{len(self._known(kind)):,} {kind}" for kind in KINDS if self._known(kind))
        return f"<Reference: {counts or 'nothing loaded'}>"

    def at(self, as_of: Any) -> Reference:
        """Return the reference data as it had been loaded by a commit (int) or a time."""
        return Reference(self._store, as_of=as_of)

    # -- symbols

    def resolve(
        self, symbol: str, date: Any, *, venue: str | None = None, scheme: str | None = None, known_at: Any = None
    ) -> SymbolInterval:
        """Return whose symbol it was on a day.

        Raises
        ------
        NotFoundError
            Nobody's; the message tells when it was somebody's.
        InvalidInputError
            Several instruments'; say `venue` or `scheme`.
        """
        day = day_of(date)
        called: list[SymbolInterval] = [
            each
            for each in self._known("symbols", known_at)
            if each.symbol == symbol and _fits(each.venue, venue) and scheme in (None, each.scheme)
        ]
        found = [each for each in called if each.start <= day < each.end]
        if not found:
            raise NotFoundError(f"symbol {symbol} on {day}: it was nobody's{_spans(called)}")
        return _one(found, f"symbol {symbol} on {day}", lambda each: (each.scheme, each.identifier))

    def symbol_of(self, identifier: str, date: Any, *, scheme: str | None = None, known_at: Any = None) -> str:
        """Return the symbol that an instrument had on a day; raises as `resolve` does."""
        day = day_of(date)
        called: list[SymbolInterval] = [
            each
            for each in self._known("symbols", known_at)
            if each.identifier == identifier and scheme in (None, each.scheme)
        ]
        found = [each for each in called if each.start <= day < each.end]
        if not found:
            raise NotFoundError(f"instrument {identifier} on {day}: it had no symbol{_spans(called)}")
        return _one(found, f"instrument {identifier} on {day}", lambda each: each.symbol).symbol

    def history(self, symbol: str, date: Any, **named: Any) -> list[SymbolInterval]:
        """Return all symbols, in order, of the instrument that had this one on a day; see `resolve`."""
        whose = self.resolve(symbol, date, **named)
        mine = [
            each
            for each in self._known("symbols", named.get("known_at"))
            if (each.scheme, each.identifier) == (whose.scheme, whose.identifier) and _fits(each.venue, whose.venue)
        ]
        return sorted(mine, key=lambda each: each.start)

    # -- instruments

    def instrument(self, symbol: str, date: Any, *, venue: str | None = None, known_at: Any = None) -> Instrument:
        """Return what a symbol is on a day; raises as `resolve` does."""
        day = day_of(date)
        called: list[Instrument] = [
            each for each in self._known("instruments", known_at) if each.symbol == symbol and _fits(each.venue, venue)
        ]
        found = [each for each in called if each.start <= day < each.end]
        if not found:
            raise NotFoundError(f"instrument {symbol} on {day}: it is not known{_spans(called)}")
        # Of one venue the one that began last says what it is now.
        latest = {each.venue: each for each in sorted(found, key=lambda each: each.start)}
        return _one(list(latest.values()), f"instrument {symbol} on {day}", lambda each: each.venue)

    def instruments(self, *, venue: str | None = None, known_at: Any = None) -> list[Instrument]:
        """Return all instruments, of all days."""
        return [each for each in self._known("instruments", known_at) if _fits(each.venue, venue)]

    def contracts(
        self, root: str, near: Any, *, symbols: Iterable[str] = (), venue: str | None = None, known_at: Any = None
    ) -> list[Contract]:
        """Return the futures of a product by expiry, for `resolve_continuous`.

        Parameters
        ----------
        near : time
            Near which they trade.
        symbols : iterable of str
            Of series in the library: contracts without a definition, whose expiry their product's rule tells.
        """
        mine = self.instruments(venue=venue, known_at=known_at)
        return contracts_of(root, symbols, mine, near_ns=to_ns(near))

    # -- corporate actions

    def actions(
        self,
        symbol: str,
        start: Any = None,
        end: Any = None,
        *,
        kind: str | None = None,
        venue: str | None = None,
        known_at: Any = None,
    ) -> list[Action]:
        """Return splits and dividends with an ex-date in [start, end), in order.

        Those under older symbols of the same instrument are among them, where the symbols are known; all are told as
        of `symbol`, so that they fit a table of it.

        Parameters
        ----------
        symbol : str
            As it is on the last day before `end`, else now.
        kind : {"split", "dividend"}, optional
        known_at : time, optional
            Only what had been published; what does not say when counts from its ex-date on.
        """
        first = ALWAYS if start is None else day_of(start, "start")
        last = FOREVER if end is None else end_of(end, included=False)
        chain = self._chain(symbol, last, venue, known_at)
        found: list[Action] = [
            each._replace(symbol=symbol)
            for each in self._known("actions", known_at)
            if first <= each.ex_day < last
            and kind in (None, each.kind)
            and _fits(each.venue, venue)
            and _concerns(each, symbol, chain)
        ]
        return sorted(found, key=lambda each: (each.ex_day, each.kind, each.event))

    def _chain(self, symbol: str, last: str, venue: str | None, known_at: Any) -> list[SymbolInterval]:
        """Return all symbols of the instrument that has this one on the last day; none where nobody knows."""
        mine = [
            each
            for each in self._known("symbols", known_at)
            if each.symbol == symbol and each.start < last and _fits(each.venue, venue)
        ]
        if not mine:
            return []
        latest = max(mine, key=lambda each: each.start)
        return self.history(symbol, latest.start, scheme=latest.scheme, venue=venue, known_at=known_at)

    # -- universes and sectors

    def symbols_on(self, date: Any, universe: str, *, known_at: Any = None) -> list[str]:
        """Return the members of a universe on a day, in order.

        Raises
        ------
        NotFoundError
            There is no such universe, or none on that day.
        """
        day = day_of(date)
        members = self.members(universe, known_at=known_at)
        found = sorted({each.symbol for each in members if each.start <= day < each.end})
        if not found:
            raise NotFoundError(f"universe {universe} on {day}: it has no members{_spans(members)}")
        return found

    def members(self, universe: str, *, known_at: Any = None) -> list[Membership]:
        """Return who was a member of a universe from when to when.

        Raises
        ------
        NotFoundError
            There is no such universe; the message lists those that are.
        """
        everyone = self._known("members", known_at)
        found = [each for each in everyone if each.universe == universe]
        if not found:
            names = sorted({each.universe for each in everyone})
            raise NotFoundError(f"there is no universe {universe!r}; there is {', '.join(names) or 'none'}")
        return sorted(found, key=lambda each: (each.symbol, each.start))

    def sector(self, symbol: str, date: Any, *, scheme: str | None = None, known_at: Any = None) -> Sector:
        """Return a symbol's sector on a day; raises as `resolve` does."""
        day = day_of(date)
        mine: list[Sector] = [
            each for each in self._known("sectors", known_at) if each.symbol == symbol and scheme in (None, each.scheme)
        ]
        found = [each for each in mine if each.start <= day < each.end]
        if not found:
            raise NotFoundError(f"sector of {symbol} on {day}: it is not known{_spans(mine)}")
        latest = {each.scheme: each for each in sorted(found, key=lambda each: each.start)}
        return _one(list(latest.values()), f"sector of {symbol} on {day}", lambda each: each.scheme)

    # -- calendars

    def choose_calendar(self, venue: str, calendar: str, *, symbol: str = "", start: Any = ALWAYS) -> LoadReport:
        """Say that a venue, or one symbol at it, keeps a calendar other than the built-in one, from a day on."""
        calendar_named(calendar)
        return self.add([CalendarChoice(venue, calendar, symbol, day_of(start))], f"calendar of {venue} {symbol}")

    def calendar(self, venue: str, date: Any, *, symbol: str = "", known_at: Any = None) -> Calendar:
        """Return the calendar of a venue, or of a symbol at it, on a day.

        What was chosen for the symbol counts first, then the instrument's own, then what was chosen for the venue, then
        the built-in one.
        """
        day = day_of(date)
        chosen = {
            each.symbol: each.calendar
            for each in sorted(self._known("calendars", known_at), key=lambda each: each.start)
            if each.venue == venue and each.start <= day < each.end
        }
        if symbol and symbol in chosen:
            return calendar_named(chosen[symbol])
        if symbol:
            try:
                own = self.instrument(symbol, day, venue=venue, known_at=known_at).calendar
            except NotFoundError:
                own = ""
            if own:
                return calendar_named(own)
        return calendar_named(chosen[""]) if "" in chosen else calendar_of(venue)

    def session_range(
        self, venue: str, date: Any, *, symbol: str = "", hours: Hours = "regular", schema: str = ""
    ) -> tuple[int, int]:
        """Return the range [start, end) of a trading day, int64 ns UTC, by `calendar`; see `sessions.session_range`."""
        calendar = self.calendar(venue, date, symbol=symbol)
        return session_range(venue, date, calendar=calendar, hours=hours, schema=schema)


def _fits(theirs: str, wanted: str | None) -> bool:
    return not wanted or not theirs or theirs == wanted


def _concerns(action: Action, symbol: str, chain: Sequence[SymbolInterval]) -> bool:
    """Whether an action is of the instrument whose symbols these are."""
    if not chain:
        return action.symbol == symbol
    if action.identifier and action.scheme == chain[0].scheme:
        return action.identifier == chain[0].identifier
    return any(each.symbol == action.symbol and each.start <= action.ex_day < each.end for each in chain)


def _spans(facts: Sequence[Any]) -> str:
    """Return for an error when it would have been otherwise."""
    if not facts:
        return "; nothing of it is loaded"
    shown = sorted(facts, key=lambda each: each.start)
    told = ", ".join(f"from {each.start}" + (f" to {each.end}" if each.end < FOREVER else " on") for each in shown[:4])
    return f"; it was {told}" + (", …" if len(shown) > 4 else "")


def _one(found: Sequence[Fact], what: str, of: Callable[[Fact], Any]) -> Fact:
    different = {of(each): each for each in found}
    if len(different) > 1:
        names = ", ".join(" ".join(key) if isinstance(key, tuple) else str(key) for key in sorted(different))
        raise InvalidInputError(f"{what}: there are several: {names}; say which with venue= or scheme=")
    return found[-1]
