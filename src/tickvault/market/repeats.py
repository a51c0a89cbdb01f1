"""Leaving rows out that a key of the venue's says are repeats; only where the caller asks for it.

Invariants: of the rows of one key the first stays; a row whose key is null in any of its columns is never left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.catalog import Catalog, SeriesKey
from tickvault.market.columns import Array, Columns
from tickvault.market.keyed import find_rows
from tickvault.market.parts import PartFiles
from tickvault.market.schema import Kind
from tickvault.market.view import HiddenRows


class Repeats:
    """Tells repeats in the rows of one ingest, among themselves and of what the library holds already.

    Parameters
    ----------
    names : sequence of str
        The columns that make the key.
    """

    def __init__(self, catalog: Catalog, files: PartFiles, hidden: HiddenRows, names: Sequence[str]) -> None:
        self._catalog = catalog
        self._files = files
        self._hidden = hidden
        self._names = tuple(names)
        self._seen: dict[SeriesKey, set[tuple[object, ...]]] = {}

    def fresh(self, key: SeriesKey, columns: Columns) -> Array:
        """Return which rows are no repeats, bool, shape (n_rows,).

        Raises
        ------
        InvalidInputError
            The rows lack a column of the key.
        """
        missing = [name for name in self._names if name not in columns.arrays]
        if missing:
            raise InvalidInputError(
                f"ingest: unique={','.join(self._names)}: the {columns.schema.name} of {key.symbol} have no column "
                f"{', '.join(missing)}; they have {', '.join(columns.arrays)}"
            )
        seen = self._seen.setdefault(key, set())
        known = np.ones(len(columns), np.bool_)
        for name in self._names:
            known &= columns[name] != columns.column(name).null
        made = np.ones(len(columns), np.bool_)
        rows = np.flatnonzero(known)
        for row, value in zip(rows.tolist(), self._keys(columns, rows), strict=True):
            if value in seen:
                made[row] = False
            seen.add(value)
        stored = find_rows(self._files, self._hidden, self._catalog.manifest(key), columns.take(rows), self._names)
        made[rows[stored.wanted]] = False
        return made

    def _keys(self, columns: Columns, rows: Array) -> zip[tuple[object, ...]]:
        values: list[list[object]] = []
        for name in self._names:
            found = columns[name][rows].tolist()
            if columns.column(name).kind is Kind.CODE:
                words = columns.dictionaries[name]
                found = [words[code] for code in found]
            values.append(found)
        return zip(*values, strict=True)
