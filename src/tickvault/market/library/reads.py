"""The verbs that give rows back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.catalog import SeriesKey
from tickvault.market.codec.reading import in_threads, threads_for
from tickvault.market.library.state import LibraryState
from tickvault.market.reading import Sorted, Wanted, in_order, together, with_column
from tickvault.market.resolving import Leg
from tickvault.market.schema import Column, Kind, schema_of
from tickvault.market.table import Table
from tickvault.market.view import View

_SYMBOL = Column("symbol", Kind.CODE, "of the series that the row is from")


class Reads(LibraryState):
    """Rows out."""

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
        if several and (not isinstance(symbol, Sequence) or not symbol or len(set(symbol)) < len(symbol)):
            raise InvalidInputError(f"read: symbol is one, or a sequence of different ones, was {symbol!r}")
        if isinstance(columns, str):
            raise InvalidInputError(f"read {symbol}: columns is a sequence of names; write columns=[{columns!r}]")
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
        view = self._view(key, as_of, snapshot, known_at)
        if view.stamp is None:
            # What changes while the caller is between two batches does not change the batches.
            live = self._unread(key)
            view = view._replace(stamp=max([self._catalog.manifest(key).stamp, *(file.stamp for file in live)]))
        wanted = wanted._replace(view=view)
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
