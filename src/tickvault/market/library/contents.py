"""The verbs that tell what a library holds, without reading rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack

from tickvault.errors import NotFoundError
from tickvault.market.catalog import SeriesKey, Version
from tickvault.market.library.state import LibraryState
from tickvault.market.reading import Wanted, unread
from tickvault.market.view import View
from tickvault.objects.model import ObjectInfo


class SeriesStat(NamedTuple):
    """What is known of a series without reading its rows."""

    venue: str
    symbol: str
    schema: str
    rows: int
    size_bytes: int
    """Of its files."""
    first_ns: int
    last_ns: int
    partitions: int
    parts: int
    versions: int
    live_rows: int = 0
    """Of `rows`, those that lie in the journal."""


class QuarantinedRow(NamedTuple):
    """An input row that could not be decoded."""

    path: str
    row: int
    reason: str
    raw: bytes


class Contents(LibraryState):
    """What there is."""

    def symbols(self, schema: str | None = None, venue: str | None = None) -> list[str]:
        """Return the symbols, in order."""
        return sorted({key.symbol for key in self._catalog.series(None, schema, venue)})

    def series(self, symbol: str | None = None, schema: str | None = None, venue: str | None = None) -> list[SeriesKey]:
        """Return the series (venue, symbol, schema) that fit."""
        return self._catalog.series(symbol, schema, venue)

    def stat(self, symbol: str, schema: str, *, venue: str | None = None, as_of: Any = None) -> SeriesStat:
        """Return what is known of a series without reading its rows."""
        key = self._series(symbol, schema, venue)
        if as_of is not None:
            return self._stat_as_of(key, self._view(key, as_of, None, None))
        journal = self._unread(key)
        state = self._catalog.manifest(key)
        live = [rows for file in unread(journal, state) for rows in file.rows if len(rows.stamps)]
        parts = state.live_parts
        live_count = sum(len(rows.stamps) for rows in live)
        return SeriesStat(
            *key,
            rows=state.rows + live_count,
            size_bytes=sum(part.size_bytes for part in parts),
            first_ns=min([*(part.first_ns for part in parts), *(rows.first_ns for rows in live)], default=0),
            last_ns=max([*(part.last_ns for part in parts), *(rows.last_ns for rows in live)], default=0),
            partitions=len({part.partition for part in parts}),
            parts=len(parts),
            versions=state.version,
            live_rows=live_count,
        )

    def _stat_as_of(self, key: SeriesKey, view: View) -> SeriesStat:
        journal = self._unread(key)
        state = self._catalog.manifest(key)
        parts = [part for part in state.parts if view.sees(part)]
        pieces = self._reader.read_state(state, journal, Wanted(None, None, (), view))
        keys = [piece.keys for piece in pieces if len(piece.keys)]
        return SeriesStat(
            *key,
            rows=sum(map(len, keys)),
            size_bytes=sum(part.size_bytes for part in parts),
            first_ns=min((int(each.min()) for each in keys), default=0),
            last_ns=max((int(each.max()) for each in keys), default=0),
            partitions=len({part.partition for part in parts}),
            parts=len(parts),
            versions=len([each for each in self._catalog.versions(key) if each.committed_ns <= (view.stamp or 0)]),
        )

    def versions(self, symbol: str, schema: str, *, venue: str | None = None) -> list[Version]:
        """Return the commits to a series, the newest first."""
        return self._catalog.versions(self._series(symbol, schema, venue))

    def quarantine(self) -> Iterator[QuarantinedRow]:
        """Iterate over the input rows that could not be decoded, by file."""
        for info in self._store.list("quality/"):
            assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
            digest = info.key.rpartition("/")[2]
            try:
                path = msgpack.unpackb(bytes(self._store.get(f"source/{digest}")))["path"]
            except NotFoundError:
                path = digest
            for row, reason, raw in msgpack.unpackb(bytes(self._store.get(info.key))):
                yield QuarantinedRow(path, row, reason, raw)
