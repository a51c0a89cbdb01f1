"""What a read asks for, into series and ranges of time: sessions by the calendar, continuous futures by contract.

Invariants: a range is that of one series; those of a continuous name follow each other without a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.catalog import Catalog, SeriesKey
from tickvault.market.times import text_of

if TYPE_CHECKING:
    from tickvault.market.library import Library


class Leg(NamedTuple):
    """A series, and the range [start, end) of it that is meant; None: without an end there."""

    key: SeriesKey
    start: int | None
    end: int | None


class Resolver:
    """Resolves names of one library."""

    def __init__(self, library: Library, catalog: Catalog, series: Callable[[str, str, str | None], SeriesKey]) -> None:
        self._library = library
        self._catalog = catalog
        self._series = series

    def legs(
        self, symbol: str, schema: str, venue: str | None, start: int | None, end: int | None, session: Any
    ) -> tuple[list[Leg], bool]:
        """Return the legs of a name, and whether it is that of a continuous future."""
        if session is not None and (start is not None or end is not None):
            raise InvalidInputError(f"read {symbol}: session and start or end both say a range; give one of them")
        if "." in symbol:
            from tickvault.market.reference import continuous_name

            if continuous_name(symbol) is not None and not self._catalog.series(symbol, schema, venue):
                return self._continuous(symbol, schema, venue, start, end, session), True
        key = self._series(symbol, schema, venue)
        if session is not None:
            start, end = self._session(key.venue, key.symbol, schema, session)
        return [Leg(key, start, end)], False

    def _session(self, venue: str, symbol: str, schema: str, session: Any) -> tuple[int, int]:
        return self._library.reference.session_range(venue, session, symbol=symbol, schema=schema)

    def _continuous(
        self, name: str, schema: str, venue: str | None, start: int | None, end: int | None, session: Any
    ) -> list[Leg]:
        from tickvault.market.reference import published_open_interest, resolve_continuous, sessions, traded_volume

        keys = self._contracts(name, schema, venue)
        venues = sorted({key.venue for key in keys.values()})
        if len(venues) > 1:
            raise InvalidInputError(
                f"read {name} {schema}: its contracts are traded at {', '.join(venues)}; say venue="
            )
        if session is not None:
            start, end = self._session(venues[0], name.partition(".")[0], schema, session)
        root, rule, _ = name.split(".")
        reference = self._library.reference
        stats = [self._library.stat(key.symbol, schema, venue=key.venue) for key in keys.values()]
        begin = min(stat.first_ns for stat in stats)
        calendar = reference.calendar(venues[0], text_of(begin if start is None else start)[:10], symbol=root)
        if start is None:
            start = begin
            if rule != "c":
                # It is chosen by the session before, which the first one has not.
                starts = sessions(calendar).starts
                start = int(starts[starts.searchsorted(begin, "right")])
        if end is None:
            end = max(max(stat.last_ns for stat in stats) + 1, start + 1)
        contracts = reference.contracts(root, start, symbols=list(keys), venue=venues[0])
        intervals = resolve_continuous(
            name,
            start,
            end,
            contracts,
            venue=venues[0],
            calendar=calendar,
            volume=traded_volume(self._library, venues[0]),
            open_interest=published_open_interest(self._library, venues[0]),
        )
        legs = [Leg(keys[each.raw_symbol], each.start_ns, each.end_ns) for each in intervals if each.raw_symbol in keys]
        if not legs:
            wanted = ", ".join(dict.fromkeys(each.raw_symbol for each in intervals))
            raise NotFoundError(f"read {name} {schema}: it means {wanted}, of which the library has no {schema}")
        return legs

    def _contracts(self, name: str, schema: str, venue: str | None) -> dict[str, SeriesKey]:
        """Return the series of a product's contracts, by symbol."""
        from tickvault.market.reference.contracts import month_of

        root = name.partition(".")[0]
        found: dict[str, SeriesKey] = {}
        for key in self._catalog.series(None, schema, venue):
            # Any year does: the root and the month are what is asked.
            told = month_of(key.symbol, 2000)
            if told is not None and told.root == root:
                found[key.symbol] = key
        if not found:
            raise NotFoundError(f"read {name} {schema}: the library has no {schema} of contracts of {root}")
        return found
