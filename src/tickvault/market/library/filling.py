"""The verbs that bring rows into a library: files once, live rows as they come; and those that hand them on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tickvault.errors import InvalidInputError
from tickvault.market.feeds.protocol import IngestOptions
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.frames import columns_of
from tickvault.market.ingest import Ingest, IngestReport, Progress
from tickvault.market.journal.locked import Appended
from tickvault.market.journal.subscription import Subscription, live_rows
from tickvault.market.journal.writer import Writer
from tickvault.market.library.state import LibraryState
from tickvault.market.repeats import Repeats
from tickvault.market.schema import schema_of


class Filling(LibraryState):
    """Rows in."""

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
        unique: str | Sequence[str] = (),
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
        unique : str or sequence of str
            Columns by which the venue names a row, such as ``"trade_id"``: rows whose value the series has already are
            left out, and counted in `dropped`. By default no row is left out, however equal.
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
        names = (unique,) if isinstance(unique, str) else tuple(unique)
        options = IngestOptions(tz, scale, date, symbol, venue, schema, dict(columns or {}), names)
        repeats = Repeats(self._catalog, self._files, self._hidden, names) if names else None
        return Ingest(self._store, self._catalog, source, feed_of(source, format), options, repeats).run(progress)

    def append(
        self,
        symbol: str,
        schema: str,
        data: Any,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
        size_scale: int | None = None,
        turnover_scale: int | None = None,
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
        size_scale, turnover_scale : int, optional
            Units in one of sizes and turnovers that are integers; by default the series'.

        Returns
        -------
        Appended
            The sequence of the first row, how many there are, and their commit time.

        Raises
        ------
        InvalidInputError
            A column is unknown, or holds what its kind cannot.
        """
        known = schema_of(schema)
        key = self._series_for(symbol, schema, venue, data, "append")
        scales = self._scales_for(key, data, size_scale, turnover_scale)
        return self._appending.append(key, columns_of(data, known, extensions, f"append {key}", scales))

    def writer(
        self,
        symbol: str,
        schema: str,
        *,
        venue: str | None = None,
        extensions: Mapping[str, str] | None = None,
        size_scale: int | None = None,
        turnover_scale: int | None = None,
    ) -> Writer:
        """Return a writer for appends of single rows at the lowest latency.

        Parameters
        ----------
        size_scale, turnover_scale : int, optional
            Stored units in one: 10**8 where a size of 0.00000001 occurs; by default the series'.
        """
        if self._journals is None:
            raise InvalidInputError(f"library {self.name} lies in a store that keeps no journal; use append")
        key = self._series_for(symbol, schema, venue, None, "writer")
        scales = self._scales_for(key, {}, size_scale, turnover_scale)
        assert scales is not None, "a mapping says nothing of its scales"
        self._appending.check_scales(key, scales)
        return Writer(
            self._journals.appender(key),
            schema_of(schema),
            lambda columns: self._appending.append(key, columns),
            extensions,
            scales,
            lambda columns: self._appending.check(key, columns),
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
        if from_sequence is not None and from_sequence < 0:
            raise InvalidInputError(
                f"subscribe {symbol} {schema}: from_sequence must not be negative, was {from_sequence}"
            )
        key = self._series_for(symbol, schema, venue, None, "subscribe")
        return Subscription(
            journals,
            self._files,
            key,
            from_sequence,
            lambda series, sequence: live_rows(self._files, journals, series, sequence),
        )
