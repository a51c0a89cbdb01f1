"""What a read gives back: rows of one or more series, by column.

Invariants: columns are joined when they are asked for, once; a table of one piece hands its columns out without a copy,
read-only; numbers are those stored, until a frame is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import extensions_of, join_column, largest_scale
from tickvault.market.schema import CHAR_NULL, CODE_NULL, PRICE_SCALE, Column, Kind, Schema
from tickvault.market.times import text_of

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Numbers = Literal["float", "int"]
_REPR_WIDTH = 160


class Table:
    """Rows of one schema.

    ``t["price"]`` is the column's numbers as they are stored (see `market.schema` for units and nulls), ``len(t)`` the
    rows, ``t.slice(a, b)`` rows without a copy.  `to_arrow`, `to_polars` and `to_pandas` give frames.

    Attributes
    ----------
    schema : Schema
    venue, symbol : str
        Of the series; empty where the rows are of several, which then have a column ``symbol``.
    size_scale, turnover_scale : int
        Stored units in one.
    adjustment : str
        ``"raw"`` as traded, ``"split"`` or ``"total"`` after `reference.adjust`.
    sequence : int or None
        Of a subscription's batch, the number of its first row; the others follow.
    adjusted_on : str
        The day whose shares the adjusted numbers are of, ``YYYY-MM-DD``; empty of raw ones.
    """

    def __init__(
        self,
        schema: Schema,
        pieces: Sequence[Columns],
        venue: str = "",
        symbol: str = "",
        wanted: Sequence[str] = (),
        order: Array | None = None,
    ) -> None:
        self.schema = schema
        self.venue = venue
        self.symbol = symbol
        self.size_scale = largest_scale(pieces, "size_scale")
        self.turnover_scale = largest_scale(pieces, "turnover_scale")
        self.adjustment = "raw"
        self.adjusted_on = ""
        self.sequence: int | None = None
        self._pieces = list(pieces)
        self._extensions = extensions_of(pieces)
        self._wanted = tuple(wanted)
        self._joined: dict[str, Array] = {}
        self._words: dict[str, list[str]] = {}
        self._order = order

    @classmethod
    def of(cls, columns: Columns, venue: str = "", symbol: str = "") -> Table:
        """Return rows in memory as a table; nothing is copied."""
        return cls(columns.schema, [columns], venue, symbol)

    # -- what it holds

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(map(len, self._pieces))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that hold anything, in the schema's order."""
        if self._wanted:
            return self._wanted
        present = {name for piece in self._pieces for name in piece.arrays}
        ordered = [column.name for column in self.schema.columns if column.name in present]
        return (*ordered, *(name for name in self._extensions if name in present))

    def __contains__(self, name: object) -> bool:
        """Whether a column holds anything."""
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the columns."""
        return iter(self.columns)

    def column(self, name: str) -> Column:
        """Return a column's kind, type and null; raises `InvalidInputError` for one that the schema has not."""
        found = self.schema.column(name) or self._extensions.get(name)
        if found is None:
            known = ", ".join([column.name for column in self.schema.columns] + list(self._extensions))
            raise InvalidInputError(f"{self.schema.name} has no column {name!r}; it has {known}")
        return found

    def __getitem__(self, name: str) -> Array:
        """Return a column's numbers, read-only.

        ``ts_index`` is `ts_recv`, else `ts_event`. Of a column of codes these are the codes, of one of letters the
        bytes; `texts` gives a text for each row.
        """
        found = self._joined.get(name)
        if found is None:
            found = self._joined[name] = self._join(name)
            found.flags.writeable = False
        return found

    def strings(self, name: str) -> list[str]:
        """Return the texts that a column's codes stand for, by code: a dictionary, not a text a row (see `texts`)."""
        if self.column(name).kind is not Kind.CODE:
            raise InvalidInputError(f"column {name} of {self.schema.name} holds numbers, no texts")
        _ = self[name]
        return self._words.get(name, [])

    def texts(self, name: str) -> Array:
        """Return a text for each row of a column of codes or letters.

        Returns
        -------
        ndarray of object, shape (n_rows,)
            str, and None where the column is null.

        Raises
        ------
        InvalidInputError
            The column holds numbers.
        """
        kind, numbers = self.column(name).kind, self[name]
        words: list[str | None]
        if kind is Kind.CODE:
            # The null is -1, which finds the last.
            words = [*self.strings(name), None]
        elif kind is Kind.CHAR:
            words = [None if code == CHAR_NULL else chr(code) for code in range(256)]
        else:
            raise InvalidInputError(f"column {name} of {self.schema.name} holds numbers, no texts")
        found: Array = np.array(words, object)[numbers]
        return found

    def to_columns(self) -> Columns:
        """Return all rows as `Columns`, in the table's order; of a table of one piece nothing is copied."""
        if len(self._pieces) == 1 and self._order is None and not self._wanted:
            return self._pieces[0]
        return self._rows(0, len(self))

    def slice(self, start: int, end: int) -> Table:
        """Return the rows [start, end), as Python slices them, without a copy."""
        start, end, _ = slice(start, end).indices(len(self))
        made = Table(self.schema, [], self.venue, self.symbol, self._wanted)
        made._extensions, made.size_scale, made.turnover_scale = self._extensions, self.size_scale, self.turnover_scale
        made.adjustment, made.adjusted_on = self.adjustment, self.adjusted_on
        if self._order is not None:
            rows = self._rows(start, end)
            made._pieces = [rows]
            return made
        at = 0
        for piece in self._pieces:
            low, high = max(start - at, 0), min(end - at, len(piece))
            if low < high:
                made._pieces.append(piece.take(slice(low, high)))
            at += len(piece)
        if not made._pieces:
            # No rows, and the same columns.
            made._pieces = [piece.take(slice(0, 0)) for piece in self._pieces]
        return made

    def _rows(self, start: int, end: int) -> Columns:
        present = {name for piece in self._pieces for name in piece.arrays}
        times = [name for name in ("ts_event", "ts_recv") if name in present and name not in self.columns]
        arrays = {name: self[name][start:end] for name in (*times, *self.columns)}
        return Columns(
            self.schema,
            arrays,
            {name: self.strings(name) for name in self.columns if self.column(name).kind is Kind.CODE},
            tuple(self._extensions.values()),
            size_scale=self.size_scale,
            turnover_scale=self.turnover_scale,
        )

    def _join(self, name: str) -> Array:
        pieces = self._pieces
        if name == "ts_index":
            arrays = [piece.ts_index for piece in pieces]
            dtype = np.dtype("<i8")
        else:
            column = self.column(name)
            dtype = column.dtype
            arrays, self._words[name] = join_column(
                pieces, column, size_scale=self.size_scale, turnover_scale=self.turnover_scale
            )
        if len(arrays) == 1 and self._order is None:
            return arrays[0].view()
        joined = np.concatenate(arrays) if arrays else np.empty(0, dtype)
        return joined if self._order is None else joined[self._order]

    # -- frames

    def to_arrow(self, *, prices: Numbers = "int", nulls: bool = True) -> pyarrow.Table:
        """Return an Arrow table.

        Parameters
        ----------
        prices : {"int", "float"}
            Prices, sizes and turnover as stored, or as floats.
        nulls : bool
            Mark nulls as Arrow does; otherwise they stay the numbers that stand for them, and numbers are not copied.
        """
        import pyarrow as pa

        made = {}
        for name in self.columns:
            column, array = self.column(name), self[name]
            mask = (array == column.null) if nulls and column.kind is not Kind.FLAGS else None
            if mask is not None and not mask.any():
                mask = None
            if column.kind is Kind.TIME:
                made[name] = pa.array(array, pa.int64(), mask=mask).cast(pa.timestamp("ns", "UTC"))
            elif column.kind is Kind.CODE:
                codes = pa.array(array, pa.int32(), mask=array == CODE_NULL)
                made[name] = pa.DictionaryArray.from_arrays(codes, pa.array(self.strings(name), pa.string()))
            elif column.kind is Kind.CHAR:
                letters = pa.array(["" if code == CHAR_NULL else chr(code) for code in range(256)], pa.string())
                codes = pa.array(array.astype(np.int32), mask=array == CHAR_NULL)
                made[name] = pa.DictionaryArray.from_arrays(codes, letters)
            elif prices == "float" and (divisor := self._divisor(column)) is not None:
                made[name] = pa.array(array / divisor, pa.float64(), mask=mask)
            else:
                made[name] = pa.array(array, mask=mask)
        told = {"schema": self.schema.name, "venue": self.venue, "symbol": self.symbol}
        if prices == "int":
            # What integers are in, so that they are taken back as what they are.
            told |= {"size_scale": str(self.size_scale), "turnover_scale": str(self.turnover_scale)}
        return pa.table(made, metadata=told)

    def _divisor(self, column: Column) -> int | None:
        divisors = {Kind.PRICE: PRICE_SCALE, Kind.SIZE: self.size_scale, Kind.TURNOVER: self.turnover_scale}
        return divisors.get(column.kind)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Offer the rows to whatever speaks Arrow's C stream."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_polars(self, *, prices: Numbers = "float") -> polars.DataFrame:
        """Return a polars frame: times as UTC timestamps, prices and sizes as floats unless ``prices="int"``."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow(prices=prices))
        assert isinstance(frame, pl.DataFrame), "a table gives a frame"
        return frame

    def to_pandas(self, *, prices: Numbers = "float", tz: str | None = None) -> pandas.DataFrame:
        """Return a pandas frame.

        Parameters
        ----------
        prices : {"float", "int"}
        tz : str, optional
            Zone that times are shown in; UTC by default.
        """
        table = self.to_arrow(prices=prices)
        frame: pandas.DataFrame = table.to_pandas()
        for name, column in zip(table.column_names, table.columns, strict=True):
            if column.null_count and column.type in _nullable():
                # Beside a null pandas makes floats of integers, which have no room for their last digits.
                frame[name] = column.to_pandas(types_mapper=_nullable().get)
        if tz is not None:
            for name in self.columns:
                if self.column(name).kind is Kind.TIME:
                    frame[name] = frame[name].dt.tz_convert(tz)
        return frame

    def __repr__(self) -> str:
        """Show what it is, and the first and last rows."""
        name = f"{self.venue}/{self.symbol}/{self.schema.name}" if self.symbol else self.schema.name
        head = f"<Table {name}: {len(self):,} rows, {len(self.columns)} columns: {', '.join(self.columns)}>"
        return head if not len(self) else f"{head}\n{self._shown()}"

    def _shown(self, count: int = 3) -> str:
        try:
            import polars as pl
        except ImportError:
            return ""
        ends = [self] if len(self) <= 2 * count else [self.slice(0, count), self.slice(len(self) - count, len(self))]
        frame = pl.concat([end.to_polars() for end in ends], how="diagonal_relaxed")
        fitting = columns_that_fit(frame, _REPR_WIDTH)
        lines = lines_of(frame.select(fitting))
        if len(ends) == 2:
            lines.insert(1 + count, "…")
        if len(fitting) < frame.width:
            lines.append(f"and {frame.width - len(fitting)} columns more; read with columns=[…] to choose")
        return "\n".join(lines)


def columns_that_fit(frame: polars.DataFrame, width: int) -> list[str]:
    """Return the first columns whose lines are no longer than `width` letters; one at the least."""
    size = 0
    for place, name in enumerate(frame.columns):
        size += len(lines_of(frame.select(name), pad=True)[0]) + (2 if place else 0)
        if size > width and place:
            return frame.columns[:place]
    return frame.columns


@lru_cache(maxsize=1)
def _nullable() -> dict[Any, Any]:
    """Return pandas' types of integers that may be null, by Arrow's."""
    import pandas as pd
    import pyarrow as pa

    names = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    return {getattr(pa, name)(): pd.api.types.pandas_dtype(name.replace("i", "I").replace("u", "U")) for name in names}


def lines_of(frame: polars.DataFrame, *, pad: bool = False) -> list[str]:
    """Return a header and a line for each row, none of them broken; with `pad` all of one length."""
    import polars as pl

    columns = []
    for series in frame.iter_columns():
        if isinstance(series.dtype, pl.Datetime):
            texts = ["-" if ns is None else text_of(ns) for ns in series.to_physical().to_list()]
        else:
            texts = ["-" if value is None else str(value) for value in series.to_list()]
        width = max([len(series.name), *map(len, texts)])
        align = ">" if series.dtype.is_numeric() else "<"
        columns.append([f"{text:{align}{width}}" for text in (series.name, *texts)])
    lines = ["  ".join(line) for line in zip(*columns, strict=True)]
    return lines if pad else [line.rstrip() for line in lines]
