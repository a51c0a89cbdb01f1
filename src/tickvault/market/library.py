"""The library: market data of one vault by series, in and out.

Invariants: a read sees each series as of one moment; rows come in the order of time, and those of one source in that
source's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote
from weakref import WeakSet

import msgpack
import numpy as np

from tickvault.errors import AlreadyExistsError, InvalidInputError, NotFoundError, PreconditionFailedError
from tickvault.market.appending import Appending
from tickvault.market.catalog import Catalog, SeriesKey, Version
from tickvault.market.codec.reading import in_threads, threads_for
from tickvault.market.columns import Columns
from tickvault.market.compaction import Compaction, CompactReport, Tier
from tickvault.market.feeds.protocol import IngestOptions
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.frames import columns_of
from tickvault.market.ingest import Ingest, IngestReport, Progress
from tickvault.market.journal.appender import Appended
from tickvault.market.journal.journals import Journals
from tickvault.market.journal.place import Place
from tickvault.market.journal.subscription import Subscription, live_rows
from tickvault.market.journal.tail import Unread
from tickvault.market.journal.writer import Writer
from tickvault.market.parts import PartFiles
from tickvault.market.reading import Reader, Sorted, Wanted, in_order, together, unread, with_column
from tickvault.market.resolving import Leg, Resolver
from tickvault.market.schema import Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.times import text_of, to_ns
from tickvault.market.view import HiddenRows, View
from tickvault.market.writing import Changed, SeriesWriter
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

if TYPE_CHECKING:
    from tickvault.market.reference import Reference

_FORMAT = 1
#: An `as_of` below this is a commit number, from it on a time in nanoseconds (it is the eleventh of September 2001).
_COMMIT_MAX = 10**18
_SYMBOL = Column("symbol", Kind.CODE, "of the series that the row is from")
#: The venue of a series that was appended to without saying one.
VENUE_UNSAID = "LOCAL"
_libraries: WeakSet[Library] = WeakSet()


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


class Library:
    """Market data by series. Get it with ``vault.library(name)``."""

    def __init__(self, store: Store, name: str, place: Place | None = None) -> None:
        self.name = name
        self._store = store
        self._catalog = Catalog(store, None if place is None else place.clock)
        self._files = PartFiles(store)
        self._catalog.on_drop = self._files.forget
        self._hidden = HiddenRows(store)
        self._reader = Reader(self._catalog, self._files, self._hidden)
        self._journals = None if place is None else Journals(place, store, self._catalog)
        self._resolver = Resolver(self, self._catalog, self._series)
        self._appending = Appending(store, self._catalog, self._journals)
        self._writing = SeriesWriter(store, self._catalog, self._files, self._hidden, self._journals)
        _libraries.add(self)

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Library {self.name}>"

    @classmethod
    def open(cls, store: Store, name: str, place: Place | None = None) -> Library:
        """Open the library in a store, making it if there is none.

        Parameters
        ----------
        place : Place, optional
            Where its journals lie; without one there are no live rows.

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
        return cls(store, name, place)

    @cached_property
    def reference(self) -> Reference:
        """The library's reference data: symbols, instruments, corporate actions, universes, calendars."""
        from tickvault.market.reference import Reference

        return Reference(self._store)

    def _after_fork(self) -> None:
        self._files.after_fork()
        if self._journals is not None:
            self._journals.after_fork()

    def close(self) -> None:
        """Finish what is on its way into files of columns; closing the vault does it too."""
        if self._journals is not None:
            self._journals.close()

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

    def append(
        self,
        symbol: str,
        schema: str,
        data: Any,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> Appended:
        """Add rows to a series, which is made if it is missing.

        Few rows go to the journal, which takes no version and no file; many at once become files of columns. Either way
        they are read and subscribed to at once, and durable when this returns if the library's bucket is strict.

        Parameters
        ----------
        data : Table, pandas or polars frame, pyarrow.Table, or mapping of str to array
            Integers are taken as they are stored (ns, prices in 1e-9, sizes in units of the scale), floats as the
            numbers that they are.
        venue : str, optional
            By default the table's, else that of the series, else ``LOCAL``.
        extensions : mapping of str to str, optional
            Columns beyond the schema's, by name, with their kind: ``{"spread": "price"}``.

        Returns
        -------
        Appended
            The sequence of the first row, how many there are, and their commit time.

        Raises
        ------
        InvalidInputError
            A column is unknown, or holds what its kind cannot.
        """
        columns = columns_of(data, schema_of(schema), extensions, f"append {symbol} {schema}")
        return self._appending.append(self._series_for(symbol, schema, venue, data, "append"), columns)

    def writer(
        self,
        symbol: str,
        schema: str,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
        size_scale: int = 1,
        turnover_scale: int = 1,
    ) -> Writer:
        """Return a writer for appends of single rows at the lowest latency.

        Parameters
        ----------
        size_scale, turnover_scale : int
            Stored units in one: 10**8 where a size of 0.00000001 occurs.
        """
        if self._journals is None:
            raise InvalidInputError(f"library {self.name} lies in a store that keeps no journal; use append")
        key = self._series_for(symbol, schema, venue, None, "writer")
        return Writer(
            self._journals.appender(key),
            schema_of(schema),
            lambda columns: self._appending.append(key, columns),
            extensions,
            size_scale,
            turnover_scale,
        )

    def subscribe(
        self, symbol: str, schema: str, *, from_sequence: int | None = None, venue: str | None = None
    ) -> Subscription:
        """Return the rows of a series as they are appended, by any process.

        Parameters
        ----------
        from_sequence : int, optional
            Begin with this row; by default with the next one that is appended. ``table.sequence + len(table)`` of the
            last batch goes on where a subscription stopped.

        Returns
        -------
        Subscription
            Iterate over it, or ask with ``get(timeout=)``; each batch is a Table.
        """
        if self._journals is None:
            raise InvalidInputError(f"library {self.name} lies in a store that keeps no journal: nothing comes live")
        journals = self._journals
        key = self._series_for(symbol, schema, venue, None, "subscribe")
        return Subscription(
            journals,
            self._files,
            key,
            from_sequence,
            lambda series, sequence: live_rows(self._files, journals, series, sequence),
        )

    # -- changed

    def write(
        self,
        symbol: str,
        schema: str,
        data: Any,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> Changed:
        """Put rows in the place of all rows of a series, which is made if it is missing; see `append` for `data`.

        What was there is still read `as_of` before, until `prune`.
        """
        columns = columns_of(data, schema_of(schema), extensions, f"write {symbol} {schema}")
        key = self._series_for(symbol, schema, venue, data, "write")
        return self._writing.replace(key, columns, None, None, "write")

    def update(
        self,
        symbol: str,
        schema: str,
        data: Any,
        start: Any,
        end: Any,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> Changed:
        """Put rows in the place of those with `ts_index` in [start, end); see `append` for `data`.

        Raises
        ------
        InvalidInputError
            A row lies outside of the range.
        """
        columns = columns_of(data, schema_of(schema), extensions, f"update {symbol} {schema}")
        first, last = self._range(symbol, start, end, "update")
        return self._writing.replace(self._series(symbol, schema, venue), columns, first, last, "update")

    def delete(
        self, symbol: str, schema: str, start: Any = None, end: Any = None, *, venue: str | None = None
    ) -> Changed:
        """Delete the rows with `ts_index` in [start, end), or all.

        They are still read `as_of` before, until `prune`. After all were deleted, files may be ingested again.
        """
        first, last = self._range(symbol, start, end, "delete")
        return self._writing.replace(self._series(symbol, schema, venue), None, first, last, "delete")

    def correct(
        self,
        symbol: str,
        schema: str,
        rows: Any,
        key: str | Sequence[str],
        *,
        published: Any = None,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> Changed:
        """Supersede rows by corrected ones.

        Parameters
        ----------
        rows : as in `append`
            A row for each key. Columns that they lack are taken from the row that they supersede.
        key : str or sequence of str
            The columns whose values name a row: ``"trade_id"``. All rows that have the values are superseded.
        published : time, optional
            When the correction was published, for `known_at`; now by default.

        Raises
        ------
        NotFoundError
            A key is that of no row; nothing is changed.
        """
        names = [key] if isinstance(key, str) else list(key)
        columns = self._keyed(rows, schema, names, extensions, f"correct {symbol} {schema}")
        moment = self._now() if published is None else to_ns(published, "published")
        return self._writing.correct(self._series(symbol, schema, venue), columns, columns, names, moment)

    def bust(
        self,
        symbol: str,
        schema: str,
        key: Mapping[str, Any],
        *,
        published: Any = None,
        venue: str | None = None,
    ) -> Changed:
        """Supersede rows by nothing: a trade that was cancelled.

        Parameters
        ----------
        key : mapping of str to value or sequence
            The values that name the rows, by column: ``{"trade_id": [17, 18]}``.
        published : time, optional
            When it was published, for `known_at`; now by default.

        Raises
        ------
        NotFoundError
            A key is that of no row; nothing is changed.
        """
        what = f"bust {symbol} {schema}"
        if not isinstance(key, Mapping):
            raise InvalidInputError(f'{what}: key is a mapping of columns to values, {{"trade_id": [17]}}')
        values = {name: _listed(value) for name, value in key.items()}
        columns = self._keyed(values, schema, list(values), None, what)
        moment = self._now() if published is None else to_ns(published, "published")
        return self._writing.correct(self._series(symbol, schema, venue), None, columns, list(values), moment)

    def restore(self, symbol: str, schema: str, version: int, *, venue: str | None = None) -> Changed:
        """Make a series what it was after a version; `versions` lists them. It is a commit of its own."""
        return self._writing.restore(self._series(symbol, schema, venue), version)

    def _keyed(
        self, rows: Any, schema: str, names: Sequence[str], extensions: Mapping[str, str] | None, what: str
    ) -> Columns:
        known = schema_of(schema)
        if isinstance(rows, Mapping) and not {"ts_event", "ts_recv"} & set(rows):
            # The times are those of the rows that are superseded.
            count = max((len(values) for values in rows.values()), default=0)
            columns = columns_of({**rows, "ts_event": np.zeros(count, np.int64)}, known, extensions, what)
            del columns.arrays["ts_event"]
        else:
            columns = columns_of(rows, known, extensions, what)
        missing = [name for name in names if name not in columns.arrays]
        if missing or not names:
            raise InvalidInputError(f"{what}: the rows have no column {', '.join(missing) or 'for the key'}")
        return columns

    def _now(self) -> int:
        return self._catalog.clock.now_ns()

    def _range(self, symbol: str, start: Any, end: Any, what: str) -> tuple[int | None, int | None]:
        first = None if start is None else to_ns(start, "start")
        last = None if end is None else to_ns(end, "end")
        if first is not None and last is not None and last < first:
            raise InvalidInputError(f"{what} {symbol}: end {text_of(last)} is before start {text_of(first)}")
        return first, last

    def _series_for(self, symbol: str, schema: str, venue: str | None, data: Any, what: str) -> SeriesKey:
        """Return the series to add to, whether it is there or not."""
        schema_of(schema)
        if not symbol:
            raise InvalidInputError(f"{what}: the symbol is empty")
        if venue is None and isinstance(data, Table) and data.venue:
            venue = data.venue
        if venue is not None:
            return SeriesKey(venue, symbol, schema)
        found = self._catalog.series(symbol, schema, None)
        if len(found) > 1:
            venues = ", ".join(key.venue for key in found)
            raise InvalidInputError(f"{what} {symbol} {schema}: it is traded at {venues}; say which with venue=")
        return found[0] if found else SeriesKey(VENUE_UNSAID, symbol, schema)

    # -- out

    def read(
        self,
        symbol: str | Sequence[str],
        schema: str,
        start: Any = None,
        end: Any = None,
        *,
        session: Any = None,
        columns: Sequence[str] | None = None,
        as_of: Any = None,
        snapshot: str | None = None,
        known_at: Any = None,
        venue: str | None = None,
        strict_zero_copy: bool = False,
    ) -> Table:
        """Return the rows of a series, or of several of one schema.

        Parameters
        ----------
        symbol : str or sequence of str
            Several symbols give one table with a column ``symbol``, in the order of time. So does a continuous future
            (``GC.c.0``: by expiry, ``GC.v.0``: by volume, ``GC.n.0``: by open interest), whose `symbol` is the contract
            that it means at the time.
        start, end : time, optional
            The range [start, end) on `ts_index` (`ts_recv`, else `ts_event`); see `to_ns` for what is a time.
        session : date, optional
            Instead: the trading day of that date by the venue's calendar, which may begin on the evening before.
        columns : sequence of str, optional
            Only these; ``ts_commit``, when the vault knew a row, is given only if it is asked for.
        as_of : int or time, optional
            The series as it was after this commit (`versions` tells the numbers), or at this time.
        snapshot : str, optional
            The series as it was when that snapshot was taken.
        known_at : time, optional
            Only what was published by then: rows by their `ts_index`, corrections by when they were published, however
            late the vault was told.
        venue : str, optional
            Needed where a symbol is traded at several.
        strict_zero_copy : bool
            Raise instead of copying: the columns are then views of mapped files.

        Raises
        ------
        NotFoundError
            There is no such series or snapshot.
        InvalidInputError
            The symbol is ambiguous, or a column, schema or time is none; or it would have to copy, with
            `strict_zero_copy`.
        """
        known = schema_of(schema)
        first, last = self._range(str(symbol), start, end, "read")
        several = not isinstance(symbol, str)
        legs: list[Leg] = []
        for each in [symbol] if isinstance(symbol, str) else symbol:
            found, is_continuous = self._resolver.legs(each, schema, venue, first, last, session)
            legs += found
            several = several or is_continuous
        wanted = None if columns is None else tuple(name for name in columns if name != "symbol")

        def read(leg: Leg) -> list[Sorted]:
            view = self._view(leg.key, as_of, snapshot, known_at)
            rows = self._reader.read(leg.key, self._unread(leg.key), Wanted(leg.start, leg.end, wanted, view))
            return [_with_symbol(together(rows), leg.key.symbol)] if several and rows else rows

        threads = threads_for(None) if len(legs) > 1 and self._is_work(legs) else 1
        pieces = [piece for rows in in_threads(read, legs, threads) for piece in rows]
        ranked, order = _merged(pieces) if several else in_order(pieces)
        table = Table(
            known,
            [piece.columns for piece in ranked],
            "" if several else legs[0].key.venue,
            "" if several else legs[0].key.symbol,
            tuple(columns or ()),
            order,
        )
        for name in columns or ():
            table.column(name)
        if strict_zero_copy:
            _refuse_copies(str(symbol), schema, ranked, order)
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
        snapshot: str | None = None,
        known_at: Any = None,
        venue: str | None = None,
    ) -> Iterator[Table]:
        """Iterate over the rows of a series, `rows` at a time, a partition in memory at once; see `read`."""
        if rows < 1:
            raise InvalidInputError(f"batches: rows must be at least 1, was {rows}")
        key = self._series(symbol, schema, venue)
        first, last = self._range(symbol, start, end, "batches")
        wanted = Wanted(first, last, None if columns is None else tuple(columns), View())
        wanted = wanted._replace(view=self._view(key, as_of, snapshot, known_at))
        for low, high in self._stretches(key, wanted):
            pieces = self._reader.read(key, self._unread(key), wanted._replace(start=low, end=high))
            ranked, order = in_order(pieces)
            found = [piece.columns for piece in ranked]
            table = Table(schema_of(schema), found, key.venue, key.symbol, tuple(columns or ()), order)
            for at in range(0, len(table), rows):
                yield table.slice(at, at + rows)

    def _stretches(self, key: SeriesKey, wanted: Wanted) -> Iterator[tuple[int | None, int | None]]:
        """Yield ranges of time that hold a partition each, and together all that is wanted."""
        parts = [part for part in self._catalog.manifest(key).parts if wanted.view.sees(part)]
        starts: dict[str, int] = {}
        for part in parts:
            starts[part.partition] = min(part.first_ns, starts.get(part.partition, part.first_ns))
        cuts = sorted(starts.values())[1:]
        low = wanted.start
        for cut in cuts:
            if (low is None or cut > low) and (wanted.end is None or cut < wanted.end):
                yield low, cut
                low = cut
        yield low, wanted.end

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
        if isinstance(as_of, int | np.integer) and as_of < _COMMIT_MAX:
            return View(self._catalog.stamp_of(key, int(as_of)), known_ns)
        return View(to_ns(as_of, "as_of"), known_ns)

    # -- snapshots

    def snapshot(self, name: str) -> None:
        """Name all series as they are now, for ``read(…, snapshot=name)``.

        Raises
        ------
        AlreadyExistsError
            The name is taken.
        """
        if not name:
            raise InvalidInputError("snapshot: the name is empty")
        stamps = {}
        for key in self._catalog.series():
            live = self._unread(key)
            stamps[key.path] = max([self._catalog.manifest(key).stamp, *(file.stamp for file in live)])
        body = msgpack.packb({"stamps": stamps, "taken_ns": self._now()})
        try:
            self._store.put(f"snapshot/{quote(name, safe='')}", body, if_none_match="*")
        except PreconditionFailedError:
            raise AlreadyExistsError(f"snapshot {name!r} is there already; delete_snapshot removes it") from None

    def snapshots(self) -> list[str]:
        """Return the names of the snapshots, in order."""
        infos = self._store.list("snapshot/")
        return [unquote(info.key.partition("/")[2]) for info in infos if isinstance(info, ObjectInfo)]

    def delete_snapshot(self, name: str) -> None:
        """Forget a snapshot; the rows are not touched."""
        self._snapshot(name)
        self._store.delete(f"snapshot/{quote(name, safe='')}")

    def _snapshot(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = msgpack.unpackb(bytes(self._store.get(f"snapshot/{quote(name, safe='')}")))
        except NotFoundError:
            names = ", ".join(self.snapshots()) or "none"
            raise NotFoundError(
                f"there is no snapshot {name!r} in library {self.name}; the snapshots are: {names}"
            ) from None
        return found

    # -- upkeep

    def compact(
        self,
        symbol: str | None = None,
        schema: str | None = None,
        *,
        venue: str | None = None,
        tier: Tier = "cold",
        older_than: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompactReport:
        """Make one file of each partition's rows, live ones included; all series by default.

        Reads give the same rows in the same order, also `as_of` before. Cold files are compressed: several times as
        small, and slower to read.

        Parameters
        ----------
        tier : {"cold", "warm"}
            Compressed, or mapped as they lie.
        older_than : time, optional
            Only partitions that end before this day.
        progress : callable, optional
            Told (series done, series in all).
        """
        if tier not in ("cold", "warm"):
            raise InvalidInputError(f"compact: tier is 'cold' or 'warm', not {tier!r}")
        keys = self._catalog.series(symbol, schema, venue)
        if self._journals is not None:
            for key in keys:
                self._journals.flush(key)
        before = None if older_than is None else text_of(to_ns(older_than, "older_than"))[:10]
        return Compaction(self._store, self._catalog, self._files, tier).run(keys, before, progress)

    def prune(
        self, symbol: str | None = None, schema: str | None = None, *, before: Any = None, venue: str | None = None
    ) -> tuple[int, int]:
        """Delete what was replaced or deleted before a time, and is in no snapshot; return (parts, bytes) freed.

        `as_of` then reads from that time on. ``tickvault compact`` gives the space back to the disk.

        Parameters
        ----------
        before : time, optional
            Now by default.
        """
        stamp = self._now() if before is None else to_ns(before, "before")
        kept = [self._snapshot(name)["stamps"] for name in self.snapshots()]
        parts = size_bytes = 0
        for key in self._catalog.series(symbol, schema, venue):
            found = self._writing.prune(key, stamp, [stamps[key.path] for stamps in kept if key.path in stamps])
            parts, size_bytes = parts + found[0], size_bytes + found[1]
        return parts, size_bytes

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
        if as_of is not None:
            return self._stat_as_of(key, self._view(key, as_of, None, None))
        journal = self._unread(key)
        state = self._catalog.manifest(key)
        live = [rows for file in unread(journal, state) for rows in file.rows if len(rows.stamps)]
        times = [rows.columns.ts_index for rows in live]
        parts = state.live_parts
        live_count = sum(map(len, times))
        return SeriesStat(
            *key,
            rows=state.rows + live_count,
            size_bytes=sum(part.size_bytes for part in parts),
            first_ns=min([*(part.first_ns for part in parts), *(int(each.min()) for each in times)], default=0),
            last_ns=max([*(part.last_ns for part in parts), *(int(each.max()) for each in times)], default=0),
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


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple | np.ndarray) else [value]


def _with_symbol(piece: Sorted, symbol: str) -> Sorted:
    codes = np.zeros(len(piece.keys), np.int32)
    columns = with_column(piece.columns, _SYMBOL, codes, [symbol])
    columns.arrays = {"symbol": columns.arrays["symbol"], **columns.arrays}
    return piece._replace(columns=columns)


def _merged(pieces: Sequence[Sorted]) -> tuple[Sequence[Sorted], np.ndarray[Any, np.dtype[Any]] | None]:
    """Return one piece a symbol, and the order of their rows by time; equal times stand in the order of the symbols."""
    if len(pieces) < 2:
        return pieces, None
    return pieces, np.argsort(np.concatenate([piece.keys for piece in pieces]), kind="stable")


def _refuse_copies(symbol: str, schema: str, pieces: Sequence[Sorted], order: Any) -> None:
    """Raise if columns are not views of mapped files."""
    told = f"read {symbol} {schema}: strict_zero_copy"
    if len(pieces) > 1 or order is not None:
        raise InvalidInputError(
            f"{told}: the rows lie in {len(pieces)} files or stretches; read a range that one file holds (a UTC day, a "
            'month of bars), or make one of them with compact(tier="warm")'
        )
    if any(len(piece.keys) and not piece.is_mapped for piece in pieces):
        raise InvalidInputError(
            f"{told}: the rows would be decompressed or gathered; live rows are mapped after "
            'compact(tier="warm"), cold files and corrected ones never are'
        )


def _after_fork_in_child() -> None:
    for library in list(_libraries):
        library._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
