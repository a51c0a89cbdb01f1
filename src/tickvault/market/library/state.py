"""What the verbs of a library stand on: its catalog, files, journals, and how names and times are meant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

import msgpack
import numpy as np

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.appending import Appending
from tickvault.market.catalog import Catalog, SeriesKey
from tickvault.market.frames import Scales, check_text, tells_scales
from tickvault.market.journal.journals import Journals
from tickvault.market.journal.place import Place
from tickvault.market.journal.tail import Unread
from tickvault.market.parts import PartFiles
from tickvault.market.reading import Reader
from tickvault.market.resolving import Leg, Resolver
from tickvault.market.schema import schema_of
from tickvault.market.table import Table
from tickvault.market.times import text_of, to_ns
from tickvault.market.view import HiddenRows, View
from tickvault.market.writing import SeriesWriter
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

if TYPE_CHECKING:
    from tickvault.market.library.library import Library
    from tickvault.market.reference import Reference

#: An `as_of` below this is a commit number, from it on a time in nanoseconds (it is the eleventh of September 2001).
_COMMIT_MAX = 10**18
#: The venue of a series that was appended to without saying one.
VENUE_UNSAID = "LOCAL"


class LibraryState:
    """A library without its verbs."""

    def __init__(self, store: Store, name: str, place: Place | None = None) -> None:
        self.name = name
        self._store = store
        self._catalog = Catalog(store, None if place is None else place.clock)
        self._files = PartFiles(store)
        self._catalog.on_drop = self._files.forget
        self._hidden = HiddenRows(store)
        self._reader = Reader(self._catalog, self._files, self._hidden)
        self._journals = None if place is None else Journals(place, store, self._catalog)
        self._resolver = Resolver(cast("Library", self), self._catalog, self._series)
        self._appending = Appending(store, self._catalog, self._files, self._journals)
        self._writing = SeriesWriter(store, self._catalog, self._files, self._hidden, self._journals)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Library {self.name}>"

    @cached_property
    def reference(self) -> Reference:
        """The library's reference data: symbols, instruments, corporate actions, universes, calendars."""
        from tickvault.market.reference import Reference

        return Reference(self._store)

    def _now(self) -> int:
        return self._catalog.clock.now_ns()

    def _range(self, symbol: str, start: Any, end: Any, what: str) -> tuple[int | None, int | None]:
        first = None if start is None else to_ns(start, "start")
        last = None if end is None else to_ns(end, "end")
        if first is not None and last is not None and last < first:
            raise InvalidInputError(f"{what} {symbol}: end {text_of(last)} is before start {text_of(first)}")
        return first, last

    def _scales_for(
        self, key: SeriesKey, data: Any, size_scale: int | None = None, turnover_scale: int | None = None
    ) -> Scales | None:
        """Return the units that integers of a caller are in; None: as the frame itself says."""
        if size_scale is None and turnover_scale is None and tells_scales(data):
            return None
        known = self._appending.scales(key)
        return Scales(
            known.size if size_scale is None else size_scale,
            known.turnover if turnover_scale is None else turnover_scale,
        )

    def _series_for(self, symbol: str, schema: str, venue: str | None, data: Any, what: str) -> SeriesKey:
        """Return the series to add to, whether it is there or not."""
        schema_of(schema)
        for name, word in (("symbol", symbol), ("venue", "unsaid" if venue is None else venue)):
            if not isinstance(word, str) or not word:
                raise InvalidInputError(f"{what}: the {name} must be text that is not empty, was {word!r}")
            check_text(word, f"{what}: {name}")
        if venue is None and isinstance(data, Table) and data.venue:
            venue = data.venue
        if venue is not None:
            return SeriesKey(venue, symbol, schema)
        found = self._catalog.series(symbol, schema, None)
        if len(found) > 1:
            venues = ", ".join(key.venue for key in found)
            raise InvalidInputError(f"{what} {symbol} {schema}: it is traded at {venues}; say which with venue=")
        return found[0] if found else SeriesKey(VENUE_UNSAID, symbol, schema)

    def _series(self, symbol: str, schema: str, venue: str | None) -> SeriesKey:
        if not isinstance(symbol, str):
            raise InvalidInputError(f"read: the symbol must be text, was {symbol!r}")
        check_text(symbol, "read: symbol")
        found = self._catalog.series(symbol, schema, venue)
        if len(found) == 1:
            return found[0]
        if found:
            venues = ", ".join(key.venue for key in found)
            raise InvalidInputError(f"read {symbol} {schema}: it is traded at {venues}; say which with venue=")
        others = sorted({key.schema for key in self._catalog.series(symbol, None, venue)})
        hint = f"; of {symbol} there is {', '.join(others)}" if others else f"; {self.name} has no {symbol}"
        raise NotFoundError(f"read {symbol} {schema}: there is no such series in library {self.name}{hint}")

    def _is_work(self, legs: Sequence[Leg]) -> bool:
        """Whether reading is more than handing out maps: something is decompressed, or was never opened."""
        known = [self._catalog.last_known(leg.key) for leg in legs]
        return any(state is None or any(part.cold for part in state.parts) for state in known)

    def _unread(self, key: SeriesKey) -> list[Unread]:
        return [] if self._journals is None else self._journals.unread(key)

    def _view(self, key: SeriesKey, as_of: Any, snapshot: str | None, known_at: Any) -> View:
        if as_of is not None and snapshot is not None:
            raise InvalidInputError("read: as_of and snapshot both say as of when; give one of them")
        known_ns = None if known_at is None else to_ns(known_at, "known_at")
        if snapshot is not None:
            return View(self._snapshot(snapshot)["stamps"].get(key.path, 0), known_ns)
        if as_of is None:
            return View(None, known_ns)
        if isinstance(as_of, int | np.integer) and not isinstance(as_of, bool) and as_of < _COMMIT_MAX:
            return View(self._catalog.stamp_of(key, int(as_of)), known_ns)
        return View(to_ns(as_of, "as_of"), known_ns)

    def snapshots(self) -> list[str]:
        """Return the names of the snapshots, in order."""
        infos = self._store.list("snapshot/")
        return [unquote(info.key.partition("/")[2]) for info in infos if isinstance(info, ObjectInfo)]

    def _snapshot(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = msgpack.unpackb(bytes(self._store.get(f"snapshot/{quote(name, safe='')}")))
        except NotFoundError:
            names = ", ".join(self.snapshots()) or "none"
            raise NotFoundError(
                f"there is no snapshot {name!r} in library {self.name}; the snapshots are: {names}"
            ) from None
        return found
