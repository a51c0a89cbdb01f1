"""Columns as callers hand them over, before anything is known of what they mean: values, and which are null.

Invariants: an integer stays an integer, also beside nulls; nothing is guessed from a column that could mean two things.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.times import nanoseconds_of

_NUMBERS: tuple[tuple[type, ...], ...] = ((int, np.integer), (float, np.floating))


class Given(NamedTuple):
    """A column."""

    values: Array
    """Of any kind; where it is null, anything."""
    nulls: Array | None = None
    """Bools; None: none is."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    @property
    def kind(self) -> str:
        """numpy's letter: i, u, f, M, O, U, b."""
        return self.values.dtype.kind

    def absent(self) -> Array:
        """Return which values are null."""
        return np.zeros(len(self.values), np.bool_) if self.nulls is None else self.nulls


def given_by_name(data: Any, what: str) -> tuple[dict[str, Given], Mapping[str, str]]:
    """Return (columns by name, what the frame says of itself).

    Raises
    ------
    InvalidInputError
        It is no table, or two columns have one name.
    """
    if isinstance(data, Mapping):
        return {str(name): _given(values, f"{what}: column {name}") for name, values in data.items()}, {}
    if not (hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_arrow") or hasattr(data, "iterrows")):
        raise InvalidInputError(
            f"{what}: rows are a Table, a pandas or polars frame, a pyarrow.Table, or arrays by name, not "
            f"{type(data).__name__}"
        )
    import pyarrow as pa

    try:
        if hasattr(data, "iterrows"):
            _refuse_repeated(list(map(str, data.columns)), what)
            table = pa.Table.from_pandas(data, preserve_index=False)
        else:
            table = pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{what}: the rows are no table: {error}") from error
    _refuse_repeated(table.column_names, what)
    said = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items() if key != b"pandas"}
    return {name: _from_arrow(table.column(name), f"{what}: column {name}") for name in table.column_names}, said


def _refuse_repeated(names: list[str], what: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidInputError(f"{what}: two columns are named {repeated[0]!r}; give each a name of its own")


def _from_arrow(chunks: Any, told: str) -> Given:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunks.type
    nulls = np.asarray(pc.is_null(chunks)) if chunks.null_count else None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
        whole = pc.cast(pc.cast(chunks, pa.int32()) if unit == "D" else chunks, pa.int64())
        numbers = np.asarray(pc.fill_null(whole, 0)).view(f"datetime64[{unit}]")
        return Given(nanoseconds_of(numbers, told).view("datetime64[ns]"), nulls)
    if pa.types.is_integer(kind):
        return Given(np.asarray(pc.fill_null(chunks, 0)), nulls)
    if pa.types.is_floating(kind):
        return Given(_doubles(np.asarray(pc.fill_null(chunks, pa.scalar(float("nan"), kind)))), nulls)
    if pa.types.is_boolean(kind):
        return Given(np.asarray(pc.fill_null(chunks, False)), nulls)
    if pa.types.is_nested(kind):
        raise InvalidInputError(f"{told} is of {kind}; a column holds one value a row")
    return _from_objects(chunks.to_pylist(), told)


def _given(values: Any, told: str) -> Given:
    if isinstance(values, np.ma.MaskedArray):
        plain = _given(np.asarray(values.data), told)
        return Given(plain.values, plain.absent() | np.ma.getmaskarray(values))
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "to_arrow"):
        import pyarrow as pa

        return _from_arrow(pa.chunked_array(values), told)
    if isinstance(values, np.ndarray):
        array = values
    elif isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise InvalidInputError(f"{told}: {values!r} is one value; give a sequence, one for each row")
    else:
        listed = list(values)
        kinds = set(map(type, listed))
        if not any(all(issubclass(each, numbers) for each in kinds) for numbers in _NUMBERS) or bool in kinds:
            return _from_objects(listed, told)
        array = np.asarray(listed)
        if array.dtype.kind == "O":
            raise InvalidInputError(f"{told} holds a number beyond 64 bits")
    if array.ndim != 1:
        raise InvalidInputError(f"{told} has {array.ndim} dimensions, and must have one")
    if array.dtype.kind == "M":
        return Given(nanoseconds_of(array, told).view("datetime64[ns]"))
    if array.dtype.kind == "f":
        return Given(_doubles(array))
    return _from_objects(array.tolist(), told) if array.dtype.kind in "OUS" else Given(array)


def _doubles(array: Array) -> Array:
    """Return float64: of narrower ones the shortest decimal that is that float, so that 16.59 stays 16.59."""
    if array.dtype.itemsize >= 8:
        return array.astype(np.float64, copy=False)
    return array.astype(str).astype(np.float64)


def _from_objects(values: list[Any], told: str) -> Given:
    """Return objects as numbers where all are of one kind of number, else as they are."""
    nulls = np.fromiter((_is_absent(value) for value in values), np.bool_, len(values))
    present = [value for value, absent in zip(values, nulls, strict=True) if not absent]
    kinds = {type(value) for value in present}
    filled: Any = None
    if kinds and kinds <= {int}:
        filled = [0 if absent else value for value, absent in zip(values, nulls, strict=True)]
        try:
            return Given(np.array(filled, np.int64 if min(present) < 0 else np.uint64), nulls)
        except OverflowError as error:
            raise InvalidInputError(f"{told} holds a number beyond 64 bits") from error
    if kinds == {int, float}:
        raise InvalidInputError(
            f"{told} mixes integers, which are taken as they are stored, and floats, which are taken as the numbers "
            "that they are; write all of them one way"
        )
    if kinds == {bool}:
        return Given(np.array([bool(value) for value in values]), nulls)
    if kinds == {float}:
        return Given(np.array([np.nan if a else float(v) for v, a in zip(values, nulls, strict=True)]), nulls)
    if any(isinstance(value, Decimal) and not value.is_finite() for value in present):
        raise InvalidInputError(f"{told} holds a number that is not finite")
    if any(isinstance(value, list | tuple | np.ndarray) for value in present):
        raise InvalidInputError(f"{told} has 2 dimensions, and must have one")
    array = np.empty(len(values), object)
    array[:] = values
    return Given(array, nulls)


def _is_absent(value: Any) -> bool:
    """Whether a value is None, no text, NaN or pandas' NaT."""
    if value is None or (isinstance(value, str) and not value):
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - NaN alone differs from itself
    except (TypeError, ValueError):
        return False
