"""What a caller hands over, into columns: a table, a frame of pandas, polars or Arrow, or arrays by name.

Integers are taken as they are stored: nanoseconds, prices in 1e-9, sizes in units of the scale. Floats and decimals are
taken as the numbers that they are: the shortest decimal that is that float, so that 16.59 is 16.59. NaN and None are
null.

Invariants: nothing is rounded away in silence; a column that the schema has not is refused unless it was declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import (
    CHAR_NULL,
    CODE_NULL,
    PRICE_SCALE,
    TIME_NULL,
    Column,
    Kind,
    Schema,
)
from tickvault.market.table import Table
from tickvault.market.times import to_ns

_DIGITS_MAX = 9
_EXACT_MAX = float(2**53)
_POWERS = 10 ** np.arange(19, dtype=np.int64)


def columns_of(data: Any, schema: Schema, extensions: Mapping[str, str] | None = None, what: str = "append") -> Columns:
    """Return rows of a schema.

    Parameters
    ----------
    data : Table, Columns, pandas or polars frame, pyarrow.Table, or mapping of str to array
    extensions : mapping of str to str, optional
        Columns beyond the schema's, by name, with their kind: ``{"spread": "price"}``.
    what : str
        What is being done, for messages.

    Raises
    ------
    InvalidInputError
        A column is unknown, of another length, or holds what its kind cannot.
    """
    if isinstance(data, Table):
        data = data.to_columns()
    if isinstance(data, Columns):
        if data.schema.name != schema.name:
            raise InvalidInputError(
                f"{what}: the rows are of schema {data.schema.name}, and {schema.name} was asked for"
            )
        return data
    arrays = _by_name(data, what)
    declared = {name: Column(name, _kind(name, kind, what)) for name, kind in (extensions or {}).items()}
    known = {column.name: column for column in schema.columns} | declared
    unknown = [name for name in arrays if name not in known]
    if unknown:
        raise InvalidInputError(
            f"{what}: {schema.name} has no column {', '.join(map(repr, unknown))}; it has {', '.join(known)}; declare "
            f'another with extensions={{"{unknown[0]}": "price"}} (time, price, size, turnover, code, char, id or int)'
        )
    return _converted(schema, {name: (known[name], values) for name, values in arrays.items()}, declared, what)


def _kind(name: str, kind: str, what: str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        kinds = ", ".join(each.value for each in Kind)
        raise InvalidInputError(f"{what}: extension {name} is to be of kind {kind!r}; the kinds are {kinds}") from None


def _by_name(data: Any, what: str) -> dict[str, Any]:
    """Return arrays by name: numpy where the type says all, else sequences of objects."""
    if isinstance(data, Mapping):
        return dict(data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_arrow"):
        import pyarrow as pa

        return _from_arrow(pa.table(data))
    if hasattr(data, "iterrows"):  # a pandas frame of an older pandas
        import pyarrow as pa

        return _from_arrow(pa.Table.from_pandas(data, preserve_index=False))
    raise InvalidInputError(
        f"{what}: rows are a Table, a pandas or polars frame, a pyarrow.Table, or arrays by name, not "
        f"{type(data).__name__}"
    )


def _from_arrow(table: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in table.column_names:
        if not name.startswith("__index"):
            found[name] = _array_from_arrow(table.column(name))
    return found


def _array_from_arrow(chunks: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunks.type
    if pa.types.is_timestamp(kind):
        whole = pc.cast(chunks, pa.timestamp("ns", kind.tz)).cast(pa.int64())
        return np.asarray(whole.fill_null(TIME_NULL)).view("datetime64[ns]")
    if pa.types.is_date(kind):
        return np.asarray(pc.cast(chunks, pa.timestamp("ns")).cast(pa.int64()).fill_null(TIME_NULL)).view(
            "datetime64[ns]"
        )
    if pa.types.is_dictionary(kind):
        return chunks.combine_chunks().to_pylist()
    if pa.types.is_floating(kind):
        return np.asarray(pc.cast(chunks, pa.float64()).fill_null(float("nan")))
    if pa.types.is_integer(kind) and not chunks.null_count:
        return np.asarray(chunks)
    return chunks.to_pylist()


def _converted(
    schema: Schema, given: Mapping[str, tuple[Column, Any]], declared: Mapping[str, Column], what: str
) -> Columns:
    arrays: dict[str, Array] = {}
    words: dict[str, list[str]] = {}
    scales = {kind: _digits_of(kind, given, what) for kind in (Kind.SIZE, Kind.TURNOVER)}
    for name, (column, values) in given.items():
        told = f"{what}: column {name}"
        if column.kind is Kind.CODE:
            arrays[name], words[name] = _codes(values, told)
        elif column.kind is Kind.CHAR:
            arrays[name] = _letters(values, told)
        elif column.kind is Kind.TIME:
            arrays[name] = _times(values, told)
        elif column.kind is Kind.PRICE:
            arrays[name] = _decimals(values, 9, column.null, told)
        elif column.kind in scales:
            arrays[name] = _decimals(values, scales[column.kind], column.null, told)
        else:
            arrays[name] = _whole(values, column, told)
    return Columns(
        schema,
        arrays,
        words,
        [column for name, column in declared.items() if name in given],
        size_scale=10 ** scales[Kind.SIZE],
        turnover_scale=10 ** scales[Kind.TURNOVER],
    )


def _digits_of(kind: Kind, given: Mapping[str, tuple[Column, Any]], what: str) -> int:
    """Return how many digits after the point the columns of a kind have, which makes their scale."""
    most = 0
    for name, (column, values) in given.items():
        if column.kind is not kind:
            continue
        numbers = _numbers(values, f"{what}: column {name}")
        if numbers.dtype.kind == "f":
            most = max(most, _digits(numbers[np.isfinite(numbers)], f"{what}: column {name}"))
    return most


def _numbers(values: Any, told: str) -> Array:
    """Return int64 or float64; None is NaN."""
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.dtype.kind in "OU":
        try:
            array = np.array([np.nan if value is None else float(value) for value in values], np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{told} holds what is no number: {error}") from error
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    if array.dtype.kind not in "iub":
        raise InvalidInputError(f"{told} is of {array.dtype}, and must be numbers")
    return array


def _digits(numbers: Array, told: str) -> int:
    for digits in range(_DIGITS_MAX + 1):
        scaled = np.rint(numbers * 10.0**digits)
        if (scaled / 10.0**digits == numbers).all():
            return digits
    example = numbers[np.rint(numbers * 1e9) / 1e9 != numbers][0]
    raise InvalidInputError(
        f"{told} has more than {_DIGITS_MAX} digits after the point ({example!r}); round it, or give integers"
    )


def _decimals(values: Any, digits: int, null: int, told: str) -> Array:
    """Return int64 in units of 10**-digits."""
    if not isinstance(values, np.ndarray) and len(values) and isinstance(values[0], Decimal):
        return np.array([null if v is None else int((v * 10**digits).to_integral_value()) for v in values], np.int64)
    numbers = _numbers(values, told)
    if numbers.dtype.kind != "f":
        return _fits_int64(numbers, told)
    present = np.isfinite(numbers)
    if not (present | np.isnan(numbers)).all():
        raise InvalidInputError(f"{told} holds an infinite number")
    known = numbers[present]
    made = np.full(len(numbers), null, np.int64)
    if len(known):
        kept = _digits_kept(known, digits)
        scaled = np.rint(known * 10.0**kept)
        if np.abs(scaled).max() >= min(_EXACT_MAX * 1024, float(2**63) / 10.0 ** (digits - kept)):
            raise InvalidInputError(f"{told} holds {known[np.abs(known).argmax()]!r}, which does not fit")
        made[present] = scaled.astype(np.int64) * _POWERS[digits - kept]
    return made


def _digits_kept(numbers: Array, digits: int) -> int:
    """Return the fewest digits that are those numbers exactly, else all: each digit more could round."""
    for kept in range(digits):
        if (np.rint(numbers * 10.0**kept) / 10.0**kept == numbers).all():
            return kept
    return digits


def _fits_int64(numbers: Array, told: str) -> Array:
    if numbers.dtype.kind == "u" and len(numbers) and int(numbers.max()) > np.iinfo(np.int64).max:
        raise InvalidInputError(f"{told} holds {int(numbers.max())}, which does not fit int64")
    return np.ascontiguousarray(numbers, np.int64)


def _times(values: Any, told: str) -> Array:
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if not len(array):
        return np.empty(0, np.int64)
    if array.dtype.kind == "M":
        whole = array.astype("datetime64[ns]").astype(np.int64)
        return np.ascontiguousarray(whole)
    if array.dtype.kind in "iu":
        return _fits_int64(array, told)
    if array.dtype.kind in "OU":
        return np.array([TIME_NULL if _absent(v) else to_ns(v, told) for v in values], np.int64)
    raise InvalidInputError(f"{told} is of {array.dtype}; times are int64 nanoseconds UTC, or timestamps")


def _absent(value: Any) -> bool:
    """Whether a value is None, no text, NaN or pandas' NaT."""
    return value is None or value == "" or value != value  # noqa: PLR0124 - NaN alone differs from itself


def _letters(values: Any, told: str) -> Array:
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.dtype.kind in "iu":
        if len(array) and not 0 <= int(array.min()) <= int(array.max()) <= 255:
            raise InvalidInputError(f"{told} holds numbers that are no ASCII letters")
        return np.ascontiguousarray(array, np.uint8)
    made = np.zeros(len(array), np.uint8)
    for place, value in enumerate(array.tolist()):
        letter = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""
        if value is not None and len(letter) != 1 and letter != b"":
            raise InvalidInputError(f"{told}: {value!r} in row {place} is no single letter")
        made[place] = letter[0] if letter else CHAR_NULL
    return made


def _codes(values: Any, told: str) -> tuple[Array, list[str]]:
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS":
        raise InvalidInputError(f"{told} is of {values.dtype}, and must be text")
    numbers: dict[str, int] = {}
    made = np.empty(len(values), np.int32)
    for place, value in enumerate(values):
        if _absent(value):
            made[place] = CODE_NULL
        elif isinstance(value, str):
            made[place] = numbers.setdefault(value, len(numbers))
        else:
            raise InvalidInputError(f"{told}: {value!r} in row {place} is no text")
    return made, list(numbers)


def _whole(values: Any, column: Column, told: str) -> Array:
    limits = np.iinfo(column.dtype)
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.dtype.kind == "O":
        none = column.null if column.kind is not Kind.FLAGS else 0
        array = np.array([none if value is None else int(value) for value in values], object)
        wrong = [value for value in array if not limits.min <= value <= limits.max]
        if wrong:
            raise InvalidInputError(f"{told} holds {wrong[0]}, which does not fit {column.dtype}")
        return array.astype(column.dtype)
    numbers = _numbers(values, told)
    if numbers.dtype.kind == "f":
        absent = np.isnan(numbers)
        if (np.rint(numbers[~absent]) != numbers[~absent]).any():
            raise InvalidInputError(f"{told} holds a number that is not whole")
        filled = np.where(absent, 0, numbers)
        made = filled.astype(np.int64 if filled.min(initial=0) < 0 else np.uint64)
        _in_limits(made, limits, column, told)
        return np.where(absent, np.array(column.null).astype(column.dtype), made.astype(column.dtype))
    _in_limits(numbers, limits, column, told)
    return np.ascontiguousarray(numbers, column.dtype)


def _in_limits(numbers: Array, limits: Any, column: Column, told: str) -> None:
    if len(numbers) and not limits.min <= int(numbers.min()) <= int(numbers.max()) <= limits.max:
        raise InvalidInputError(
            f"{told} holds {int(numbers.min())} to {int(numbers.max())}, which does not fit {column.dtype}"
        )


def scalar(column: Column, value: Any, size_scale: int, turnover_scale: int) -> int:
    """Return one value as it is stored; of a column of codes, `value` is the code already.

    An int is taken as it is stored, a float as the number that it is.
    """
    if type(value) is int:
        return value
    if value is None:
        return column.null
    if column.kind is Kind.CHAR and isinstance(value, str):
        if len(value) != 1 or ord(value) > 127:
            raise InvalidInputError(f"column {column.name}: {value!r} is no ASCII letter")
        return ord(value)
    if column.kind is Kind.TIME:
        return to_ns(value, column.name)
    scales = {Kind.PRICE: PRICE_SCALE, Kind.SIZE: size_scale, Kind.TURNOVER: turnover_scale}
    scale = scales.get(column.kind)
    if scale is not None and isinstance(value, float | Decimal | np.floating):
        if _absent(value):
            return column.null
        exact = Decimal(repr(float(value))) if not isinstance(value, Decimal) else value
        scaled = exact * scale
        if scaled != scaled.to_integral_value():
            raise InvalidInputError(
                f"column {column.name}: {value!r} has more digits than its scale {scale:,} keeps; give an integer in "
                "units of the scale, or say size_scale="
            )
        return int(scaled)
    if isinstance(value, np.integer | int):
        return int(value)
    raise InvalidInputError(f"column {column.name}: {value!r} is no {column.kind.value}")
