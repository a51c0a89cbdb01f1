"""The verbs that change what a library holds; each is a commit, and what was there is still read as of before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.catalog import SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.frames import columns_of
from tickvault.market.library.state import LibraryState
from tickvault.market.schema import schema_of
from tickvault.market.times import to_ns
from tickvault.market.writing import Changed


class Changing(LibraryState):
    """Rows replaced, deleted, corrected."""

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
        key = self._series_for(symbol, schema, venue, data, "write")
        columns = columns_of(data, schema_of(schema), extensions, f"write {key}", self._scales_for(key, data))
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
        first, last = self._range(symbol, start, end, "update")
        key = self._series(symbol, schema, venue)
        columns = columns_of(data, schema_of(schema), extensions, f"update {key}", self._scales_for(key, data))
        self._appending.check(key, columns)
        return self._writing.replace(key, columns, first, last, "update")

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
        series = self._series(symbol, schema, venue)
        columns = self._keyed(rows, series, names, extensions, f"correct {series}")
        moment = self._published(published)
        self._appending.check(series, columns)
        return self._writing.correct(series, columns, columns, names, moment)

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
        series = self._series(symbol, schema, venue)
        columns = self._keyed(values, series, list(values), None, what)
        moment = self._published(published)
        return self._writing.correct(series, None, columns, list(values), moment)

    def restore(self, symbol: str, schema: str, version: int, *, venue: str | None = None) -> Changed:
        """Make a series what it was after a version; `versions` lists them. It is a commit of its own."""
        return self._writing.restore(self._series(symbol, schema, venue), version)

    def _published(self, moment: Any) -> int:
        # 0 stands for rows that were published at their own time.
        return self._now() if moment is None else to_ns(moment, "published") or 1

    def _keyed(
        self, rows: Any, series: SeriesKey, names: Sequence[str], extensions: Mapping[str, str] | None, what: str
    ) -> Columns:
        known, scales = schema_of(series.schema), self._scales_for(series, rows)
        if isinstance(rows, Mapping) and not {"ts_event", "ts_recv"} & set(rows):
            # The times are those of the rows that are superseded.
            count = max((len(values) for values in rows.values()), default=0)
            columns = columns_of({**rows, "ts_event": np.zeros(count, np.int64)}, known, extensions, what, scales)
            del columns.arrays["ts_event"]
        else:
            columns = columns_of(rows, known, extensions, what, scales)
        for name in names:
            if name in columns.arrays and (columns[name] == columns.column(name).null).any():
                raise InvalidInputError(f"{what}: a key has no {name}; rows are named by values, not by nulls")
        missing = [name for name in names if name not in columns.arrays]
        if missing or not names:
            raise InvalidInputError(f"{what}: the rows have no column {', '.join(missing) or 'for the key'}")
        return columns


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple | np.ndarray) else [value]
