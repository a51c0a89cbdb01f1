"""The library: market data of one vault by series, in and out.

Invariants: a read sees each series as of one commit; rows come in the order of time, and those of one source in that
source's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np

from tickvault.errors import InvalidInputError, NotFoundError, PreconditionFailedError
from tickvault.market.catalog import Catalog, Manifest, Part, SeriesKey, Version
from tickvault.market.columns import Columns
from tickvault.market.compaction import CompactReport, compact
from tickvault.market.feeds.protocol import IngestOptions
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.ingest import Ingest, IngestReport, Progress
from tickvault.market.parts import read_part
from tickvault.market.schema import CODE_NULL, Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import text_of, to_ns
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

_FORMAT = 1
#: An `as_of` below this is a commit number, from it on a time in nanoseconds (it is the eleventh of September 2001).
_COMMIT_MAX = 10**18
_SYMBOL = Column("symbol", Kind.CODE, "of the series that the row is from")


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


class QuarantinedRow(NamedTuple):
    """An input row that could not be decoded."""

    path: str
    row: int
    reason: str
    raw: bytes


class Library:
    """Market data by series. Get it with ``vault.library(name)``."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store
        self._catalog = Catalog(store)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Library {self.name}>"

    @classmethod
    def open(cls, store: Store, name: str) -> Library:
        """Open the library in a store, making it if there is none.

        Raises
        ------
        InvalidInputError
            A newer release made it.
        """
        try:
            store.put("library", msgpack.packb({"format": _FORMAT}), if_none_match="*")
        except PreconditionFailedError:
            found = msgpack.unpackb(bytes(store.get("library")))
            if found["format"] > _FORMAT:
                raise InvalidInputError(
                    f"library {name} was made by a newer release (format {found['format']}, and this one knows "
                    f"{_FORMAT}); upgrade TickVault"
                ) from None
        return cls(store, name)

    # -- in

    def ingest(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002
        tz: str | None = None,
        scale: int | None = None,
        date: str | None = None,
        symbol: str | None = None,
        venue: str | None = None,
        schema: str | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Take a file of a venue or vendor into the library, once.

        Parameters
        ----------
        path : path-like
        format : str, optional
            Name of the feed; by default the one that recognises the file.
        tz, scale, date, symbol, venue, schema, columns
            What the file does not say itself; an error asks for what is missing. See `IngestOptions`.
        progress : callable, optional
            Told (input rows, stored rows) as it goes.

        Returns
        -------
        IngestReport
            Ingesting the same file again does nothing, and says so in `again`.

        Raises
        ------
        InvalidInputError
            The format is unknown, or the file does not say something.
        IntegrityError
            The file is damaged or cut off; nothing of it is stored.
        AlreadyExistsError
            It was ingested before with other options.
        """
        source = Source(path)
        options = IngestOptions(tz, scale, date, symbol, venue, schema, dict(columns or {}))
        return Ingest(self._store, self._catalog, source, feed_of(source, format), options).run(progress)

    # -- out

    def read(
        self,
        symbol: str | Sequence[str],
        schema: str,
        start: Any = None,
        end: Any = None,
        *,
        columns: Sequence[str] | None = None,
        as_of: Any = None,
        venue: str | None = None,
    ) -> Table:
        """Return the rows of a series, or of several of one schema.

        Parameters
        ----------
        symbol : str or sequence of str
            Several symbols give one table with a column ``symbol``, in the order of time.
        start, end : time, optional
            The range [start, end) on `ts_index` (`ts_recv`, else `ts_event`); see `to_ns` for what is a time.
        columns : sequence of str, optional
            Only these.
        as_of : int or time, optional
            The series as it was after this commit (`versions` tells the numbers), or at this time.
        venue : str, optional
            Needed where a symbol is traded at several.

        Raises
        ------
        NotFoundError
            There is no such series.
        InvalidInputError
            The symbol is ambiguous, or a column, schema or time is none.
        """
        known = schema_of(schema)
        first = None if start is None else to_ns(start, "start")
        last = None if end is None else to_ns(end, "end")
        if first is not None and last is not None and last < first:
            raise InvalidInputError(f"read {symbol}: end {text_of(last)} is before start {text_of(first)}")
        several = not isinstance(symbol, str)
        keys = [self._series(each, schema, venue) for each in ([symbol] if isinstance(symbol, str) else symbol)]
        wanted = None if columns is None else [name for name in columns if name != "symbol"]
        pieces: list[Columns] = []
        in_order = True
        for key in keys:
            found, sorted_too = self._read_series(key, first, last, wanted, as_of)
            in_order = in_order and sorted_too
            pieces += [_with_symbol(piece, key.symbol) for piece in found] if several else found
        table = Table(
            known,
            pieces,
            keys[0].venue if len(keys) == 1 else "",
            keys[0].symbol if len(keys) == 1 else "",
            tuple(columns or ()),
        )
        if columns is not None:
            for name in columns:
                table.column(name)
        if in_order:
            table.merge_by_time()
        return table

    def batches(
        self,
        symbol: str,
        schema: str,
        rows: int = 1_000_000,
        start: Any = None,
        end: Any = None,
        *,
        columns: Sequence[str] | None = None,
        as_of: Any = None,
        venue: str | None = None,
    ) -> Iterator[Table]:
        """Iterate over the rows of a series, `rows` at a time, a partition in memory at once; see `read`."""
        if rows < 1:
            raise InvalidInputError(f"batches: rows must be at least 1, was {rows}")
        key = self._series(symbol, schema, venue)
        first = None if start is None else to_ns(start, "start")
        last = None if end is None else to_ns(end, "end")
        state = self._state(key, as_of)
        for partition in sorted({part.partition for part in state.parts}):
            parts = [part for part in state.parts if part.partition == partition]
            pieces, in_order = self._read_parts(parts, first, last, columns)
            table = Table(schema_of(schema), pieces, key.venue, key.symbol, tuple(columns or ()))
            if in_order:
                table.merge_by_time()
            for at in range(0, len(table), rows):
                yield table.slice(at, at + rows)

    def _series(self, symbol: str, schema: str, venue: str | None) -> SeriesKey:
        found = self._catalog.series(symbol, schema, venue)
        if len(found) == 1:
            return found[0]
        if found:
            venues = ", ".join(key.venue for key in found)
            raise InvalidInputError(f"read {symbol} {schema}: it is traded at {venues}; say which with venue=")
        others = sorted({key.schema for key in self._catalog.series(symbol, None, venue)})
        hint = f"; of {symbol} there is {', '.join(others)}" if others else f"; {self.name} has no {symbol}"
        raise NotFoundError(f"read {symbol} {schema}: there is no such series in library {self.name}{hint}")

    def _state(self, key: SeriesKey, as_of: Any) -> Manifest:
        return self._catalog.manifest(key, None if as_of is None else _until(as_of))

    def _read_series(
        self, key: SeriesKey, start: int | None, end: int | None, columns: Sequence[str] | None, as_of: Any
    ) -> tuple[list[Columns], bool]:
        return self._read_parts(self._state(key, as_of).parts, start, end, columns)

    def _read_parts(
        self, parts: Sequence[Part], start: int | None, end: int | None, columns: Sequence[str] | None
    ) -> tuple[list[Columns], bool]:
        touched = [
            part
            for part in sorted(parts, key=lambda each: each.partition)
            if (start is None or part.last_ns >= start) and (end is None or part.first_ns < end)
        ]
        pieces = []
        for part in touched:
            pieces.append(read_part(self._store, part, columns, start, end))
        if not pieces and parts:
            # No rows, and the same columns.
            pieces.append(read_part(self._store, parts[0], columns).take(slice(0, 0)))
        return pieces, all(part.in_order for part in touched)

    # -- upkeep

    def compact(
        self,
        symbol: str | None = None,
        schema: str | None = None,
        *,
        venue: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompactReport:
        """Compress the series that fit, all by default: each partition becomes one cold file.

        Reads give the same rows in the same order, and take longer; `as_of` before it reads the files as they were,
        which stay.

        Parameters
        ----------
        progress : callable, optional
            Told (series done, series in all).
        """
        return compact(self._store, self._catalog, self._catalog.series(symbol, schema, venue), progress)

    # -- what there is

    def symbols(self, schema: str | None = None, venue: str | None = None) -> list[str]:
        """Return the symbols, in order."""
        return sorted({key.symbol for key in self._catalog.series(None, schema, venue)})

    def series(self, symbol: str | None = None, schema: str | None = None, venue: str | None = None) -> list[SeriesKey]:
        """Return the series (venue, symbol, schema) that fit."""
        return self._catalog.series(symbol, schema, venue)

    def stat(self, symbol: str, schema: str, *, venue: str | None = None, as_of: Any = None) -> SeriesStat:
        """Return what is known of a series without reading its rows."""
        key = self._series(symbol, schema, venue)
        state = self._state(key, as_of)
        parts = state.parts
        return SeriesStat(
            *key,
            rows=state.rows,
            size_bytes=sum(part.size_bytes for part in parts),
            first_ns=min((part.first_ns for part in parts), default=0),
            last_ns=max((part.last_ns for part in parts), default=0),
            partitions=len({part.partition for part in parts}),
            parts=len(parts),
            versions=state.version,
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


def _until(as_of: Any) -> Callable[[ObjectInfo], bool]:
    if isinstance(as_of, int) and as_of < _COMMIT_MAX:
        return lambda info: info.sequence <= as_of
    moment = to_ns(as_of, "as_of")
    return lambda info: info.modified_ns <= moment


def _with_symbol(piece: Columns, symbol: str) -> Columns:
    return Columns(
        piece.schema,
        {"symbol": np.zeros(len(piece), np.int32), **piece.arrays},
        {**piece.dictionaries, "symbol": [symbol]},
        (*piece.extensions, _SYMBOL),
        size_scale=piece.size_scale,
        turnover_scale=piece.turnover_scale,
    )


assert _SYMBOL.null == CODE_NULL
