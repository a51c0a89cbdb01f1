"""Rows of one series in memory, by column.

Invariants: all arrays are as long as each other and of their column's type; a column that is absent is null throughout;
codes lie within their dictionary; the rows stand in the feed's own order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.schema import CODE_NULL, TIME_NULL, Column, Kind, Schema

#: Stored units in one: powers of ten, so that of two scales one divides the other.
_SCALES = frozenset(10**digits for digits in range(13))

Array = np.ndarray[Any, np.dtype[Any]]


class Columns:
    """Rows of one schema.

    Parameters
    ----------
    schema : Schema
    arrays : mapping of str to ndarray
        One-dimensional; of the types that the schema, or `extensions`, says.
    dictionaries : mapping of str to sequence of str
        The strings of each column of kind ``code``.
    extensions : sequence of Column
        Columns beyond the schema's.
    size_scale, turnover_scale : int
        Stored units in one: 1 for whole shares, 10**8 where a size of 0.00000001 occurs.

    Raises
    ------
    InvalidInputError
        A column is unknown, of another type or length, or lacks its dictionary.
    """

    __slots__ = ("arrays", "dictionaries", "extensions", "schema", "size_scale", "turnover_scale")

    def __init__(
        self,
        schema: Schema,
        arrays: Mapping[str, Array],
        dictionaries: Mapping[str, Sequence[str]] | None = None,
        extensions: Sequence[Column] = (),
        *,
        size_scale: int = 1,
        turnover_scale: int = 1,
    ) -> None:
        self.schema = schema
        self.arrays = dict(arrays)
        self.dictionaries = {name: list(words) for name, words in (dictionaries or {}).items()}
        self.extensions = tuple(extensions)
        self.size_scale = size_scale
        self.turnover_scale = turnover_scale
        self._check()

    def _check(self) -> None:
        for name in ("size_scale", "turnover_scale"):
            if getattr(self, name) not in _SCALES:
                raise InvalidInputError(
                    f"{self.schema.name}: {name} must be a power of ten from 1 to 10**12, was {getattr(self, name)!r}"
                )
        lengths = {len(array) for array in self.arrays.values()}
        if len(lengths) > 1:
            told = ", ".join(f"{name} {len(array)}" for name, array in self.arrays.items())
            raise InvalidInputError(f"{self.schema.name}: columns of different lengths: {told}")
        for name, array in self.arrays.items():
            column = self.column(name)
            if array.dtype != column.dtype or array.ndim != 1:
                raise InvalidInputError(
                    f"{self.schema.name}: column {name} is {array.dtype} with {array.ndim} dimensions, and must be "
                    f"one-dimensional {column.dtype}"
                )
            if column.kind is Kind.CODE:
                words = self.dictionaries.get(name, [])
                if len(array) and not CODE_NULL <= int(array.min()) <= int(array.max()) < len(words):
                    raise InvalidInputError(
                        f"{self.schema.name}: column {name} has codes beyond its {len(words)} strings"
                    )
        if not {"ts_event", "ts_recv"} & set(self.arrays):
            raise InvalidInputError(f"{self.schema.name}: rows need ts_event or ts_recv")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.arrays.values())))

    def column(self, name: str) -> Column:
        """Return what is known of a column; raises `InvalidInputError` for one that the schema has not."""
        found = self.schema.column(name)
        if found is None:
            found = next((column for column in self.extensions if column.name == name), None)
        if found is None:
            known = ", ".join(column.name for column in (*self.schema.columns, *self.extensions))
            raise InvalidInputError(f"{self.schema.name} has no column {name!r}; it has {known}")
        return found

    def __getitem__(self, name: str) -> Array:
        """Return a column's numbers; nulls where it is absent."""
        found = self.arrays.get(name)
        if found is None:
            column = self.column(name)
            found = np.full(len(self), column.null, column.dtype)
        return found

    @property
    def ts_index(self) -> Array:
        """The time that rows are found by, int64 ns: `ts_recv`, else `ts_event`; null where both are."""
        received = self.arrays.get("ts_recv")
        happened = self.arrays.get("ts_event")
        if received is None:
            assert happened is not None, "checked when it was made"
            return happened
        if happened is None or not (received == TIME_NULL).any():
            return received
        return np.where(received == TIME_NULL, happened, received)

    def take(self, rows: slice | Array) -> Columns:
        """Return some of the rows: a slice (no copy), or an array of positions or of bools."""
        made = Columns.__new__(Columns)
        made.schema, made.dictionaries, made.extensions = self.schema, self.dictionaries, self.extensions
        made.size_scale, made.turnover_scale = self.size_scale, self.turnover_scale
        made.arrays = {name: array[rows] for name, array in self.arrays.items()}
        return made
