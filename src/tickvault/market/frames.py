"""What a caller hands over, into columns: a table, a frame of pandas, polars or Arrow, or arrays by name.

Integers are taken as they are stored: nanoseconds, prices in 1e-9, sizes in units of the scale. Floats and decimals are
taken as the numbers that they are: the shortest decimal that is that float, so that 16.59 is 16.59. NaN and None are
null.

Invariants: sizes are never rounded, prices only beyond 1e-9; a column that the schema has not is refused unless it was
declared; what could mean two things is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.given import Given, given_by_name
from tickvault.market.schema import CODE_NULL, PRICE_SCALE, TIME_NULL, Column, Kind, Schema
from tickvault.market.table import Table
from tickvault.market.times import to_ns

_DIGITS_MAX = 8
"""Of sizes and turnovers that are floats; with one more, 10**10 of them would not fit beside each other."""
_PRICE_DIGITS = 9
_EXACT_MAX = float(2**53)
_POWERS = 10 ** np.arange(19, dtype=np.int64)
#: Columns that every table has, or that a read makes.
_RESERVED = frozenset({"ts_index", "ts_commit", "symbol"})


class Scales(NamedTuple):
    """Stored units in one."""

    size: int = 1
    turnover: int = 1


def columns_of(
    data: Any,
    schema: Schema,
    extensions: Mapping[str, str] | None = None,
    what: str = "append",
    scales: Scales | None = None,
) -> Columns:
    """Return rows of a schema.

    Parameters
    ----------
    data : Table, Columns, pandas or polars frame, pyarrow.Table, or mapping of str to array
    extensions : mapping of str to str, optional
        Columns beyond the schema's, by name, with their kind: ``{"spread": "price"}``.
    what : str
        What is being done, for messages.
    scales : Scales, optional
        Of sizes and turnovers that are integers; by default what the frame says of itself, else 1.

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
        if taken := sorted(_RESERVED & set(data.arrays)):
            raise InvalidInputError(
                f"{what}: the rows have a column {', '.join(taken)}, which a read of several series or of ts_commit "
                "adds; read one series at a time, without it"
            )
        return data
    arrays, said = given_by_name(data, what)
    declared = declared_columns(extensions, schema, what)
    known = {column.name: column for column in schema.columns} | declared
    unknown = [name for name in arrays if name not in known]
    if unknown:
        raise InvalidInputError(
            f"{what}: {schema.name} has no column {', '.join(map(repr, unknown))}; it has {', '.join(known)}; declare "
            f'another with extensions={{"{unknown[0]}": "price"}} (time, price, size, turnover, code, char, id or int)'
        )
    if scales is None:
        scales = Scales(int(said.get("size_scale", 1)), int(said.get("turnover_scale", 1)))
    return _converted(schema, {name: (known[name], values) for name, values in arrays.items()}, declared, what, scales)


def tells_scales(data: Any) -> bool:
    """Whether rows say themselves what units their integers are in: a table of ours, or an Arrow one made from it."""
    if isinstance(data, Table | Columns):
        return True
    metadata = getattr(getattr(data, "schema", None), "metadata", None)
    return isinstance(metadata, Mapping) and b"size_scale" in metadata


def declared_columns(extensions: Mapping[str, str] | None, schema: Schema, what: str) -> dict[str, Column]:
    """Return the columns that a caller declares beyond the schema's."""
    made = {}
    for name, kind in (extensions or {}).items():
        if name.startswith("_") or name in _RESERVED or schema.column(name) is not None or not name:
            raise InvalidInputError(
                f"{what}: an extension cannot be named {name!r}: names that begin with _, "
                f"{', '.join(sorted(_RESERVED))} and the columns of {schema.name} are taken"
            )
        if kind not in {each.value for each in Kind}:
            kinds = ", ".join(each.value for each in Kind)
            raise InvalidInputError(f"{what}: extension {name} is to be of kind {kind!r}; the kinds are {kinds}")
        made[name] = Column(name, Kind(kind))
    return made


def _converted(
    schema: Schema,
    given: Mapping[str, tuple[Column, Given]],
    declared: Mapping[str, Column],
    what: str,
    scales: Scales,
) -> Columns:
    arrays: dict[str, Array] = {}
    words: dict[str, list[str]] = {}
    units = {
        Kind.PRICE: _PRICE_DIGITS,
        Kind.SIZE: _digits_of(Kind.SIZE, given, what, scales.size),
        Kind.TURNOVER: _digits_of(Kind.TURNOVER, given, what, scales.turnover),
    }
    whole_units = {Kind.PRICE: PRICE_SCALE, Kind.SIZE: scales.size, Kind.TURNOVER: scales.turnover}
    for name, (column, values) in given.items():
        told = f"{what}: column {name}"
        if values.kind == "b":
            raise InvalidInputError(f"{told} holds truth values, which are no {column.kind.value}")
        if column.kind is Kind.CODE:
            arrays[name], words[name] = _codes(values, told)
        elif column.kind is Kind.CHAR:
            arrays[name] = _letters(values, told)
        elif column.kind is Kind.TIME:
            arrays[name] = _times(values, told)
        elif column.kind in units:
            finer = 10 ** units[column.kind] // whole_units[column.kind]
            arrays[name] = _decimals(values, units[column.kind], finer, column.null, told)
        else:
            arrays[name] = _whole(values, column, told)
    return Columns(
        schema,
        arrays,
        words,
        [column for name, column in declared.items() if name in given],
        size_scale=10 ** units[Kind.SIZE],
        turnover_scale=10 ** units[Kind.TURNOVER],
    )


def check_scale(scale: int, name: str, what: str) -> None:
    """Raise `InvalidInputError` unless a scale is a power of ten that sizes fit."""
    if scale not in {10**digits for digits in range(13)}:
        raise InvalidInputError(f"{what}: {name} must be a power of ten from 1 to 10**12, was {scale!r}")


def _digits_of(kind: Kind, given: Mapping[str, tuple[Column, Given]], what: str, scale: int) -> int:
    """Return how many digits after the point the columns of a kind keep, which makes their scale."""
    check_scale(scale, f"{kind.value}_scale", what)
    most = len(str(scale)) - 1
    for name, (column, values) in given.items():
        if column.kind is kind and values.kind in "fO":
            most = max(most, _digits(values, f"{what}: column {name}"))
    return most


def _floats(values: Given, told: str) -> Array:
    """Return float64; null is NaN."""
    if values.kind == "f":
        return np.where(values.absent(), np.nan, values.values)
    try:
        made = [np.nan if null else float(v) for v, null in zip(values.values, values.absent(), strict=True)]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{told} holds what is no number: {error}") from error
    return np.array(made, np.float64)


def _digits(values: Given, told: str) -> int:
    if values.kind == "O" and all(isinstance(v, Decimal) for v in values.values[~values.absent()]):
        exponents = [v.normalize().as_tuple().exponent for v in values.values[~values.absent()]]
        most = max((-exponent for exponent in exponents if isinstance(exponent, int)), default=0)
        if most > _DIGITS_MAX:
            raise InvalidInputError(f"{told} has {most} digits after the point, and {_DIGITS_MAX} are kept")
        return max(most, 0)
    numbers = _floats(values, told)
    numbers = numbers[np.isfinite(numbers)]
    for digits in range(_DIGITS_MAX + 1):
        if (np.rint(numbers * 10.0**digits) / 10.0**digits == numbers).all():
            return digits
    example = numbers[np.rint(numbers * 10.0**_DIGITS_MAX) / 10.0**_DIGITS_MAX != numbers][0]
    raise InvalidInputError(
        f"{told} has more than {_DIGITS_MAX} digits after the point ({example:.17g}); round it, or give integers and "
        "say their scale"
    )


def _decimals(values: Given, digits: int, finer: int, null: int, told: str) -> Array:
    """Return int64 in units of 10**-digits; integers are multiplied by `finer`."""
    if values.kind in "iu":
        return _scaled(values, finer, null, told)
    absent = values.absent()
    if values.kind == "O" and all(isinstance(v, Decimal) for v in values.values[~absent]):
        made = [
            null if a else int((v * 10**digits).to_integral_value()) for v, a in zip(values.values, absent, strict=True)
        ]
        if any(not -(2**63) <= each < 2**63 for each in made):
            raise InvalidInputError(f"{told} holds a number that does not fit")
        return np.array(made, np.int64)
    numbers = _floats(values, told)
    present = np.isfinite(numbers)
    if not (present | np.isnan(numbers)).all():
        raise InvalidInputError(f"{told} holds an infinite number")
    known = numbers[present]
    out = np.full(len(numbers), null, np.int64)
    if len(known):
        kept = _digits_kept(known, digits)
        scaled = np.rint(known * 10.0**kept)
        if np.abs(scaled).max() >= min(_EXACT_MAX * 1024, float(2**63) / 10.0 ** (digits - kept)):
            raise InvalidInputError(f"{told} holds {known[np.abs(known).argmax()]:g}, which does not fit")
        out[present] = scaled.astype(np.int64) * _POWERS[digits - kept]
    return out


def _scaled(values: Given, factor: int, null: int, told: str) -> Array:
    if values.nulls is None and factor == 1 and values.values.dtype == np.int64:
        return np.ascontiguousarray(values.values)
    absent = values.absent()
    numbers = values.values
    known = numbers[~absent]
    # A null that is written as its number stays one.
    values_only = known[known != null] if len(known) else known
    if len(values_only):
        low, high = int(values_only.min()), int(values_only.max())
        if low * factor < -(2**63) or high * factor >= 2**63:
            raise InvalidInputError(f"{told} holds {high if high * factor >= 2**63 else low}, which does not fit")
    fixed = np.where(absent, 0, numbers).astype(np.int64)
    return np.where(absent | (fixed == null), null, np.where(fixed == null, 0, fixed) * np.int64(factor))


def _digits_kept(numbers: Array, digits: int) -> int:
    """Return the fewest digits that are those numbers exactly, else all: each digit more could round."""
    for kept in range(digits):
        if (np.rint(numbers * 10.0**kept) / 10.0**kept == numbers).all():
            return kept
    return digits


def _times(values: Given, told: str) -> Array:
    if not len(values):
        return np.empty(0, np.int64)
    if values.kind in "iu":
        return _scaled(values, 1, TIME_NULL, told)
    absent = values.absent()
    if values.kind == "M":
        return np.where(absent, TIME_NULL, values.values.view(np.int64))
    if values.kind == "O":
        return np.array(
            [TIME_NULL if a else to_ns(v, told) for v, a in zip(values.values, absent, strict=True)], np.int64
        )
    raise InvalidInputError(f"{told} is of {values.values.dtype}; times are int64 nanoseconds UTC, or timestamps")


def _letters(values: Given, told: str) -> Array:
    if values.nulls is None and values.values.dtype == np.uint8:
        return np.ascontiguousarray(values.values)
    absent = values.absent()
    if values.kind in "iu":
        known = values.values[~absent]
        if len(known) and not 0 <= int(known.min()) <= int(known.max()) <= 255:
            raise InvalidInputError(f"{told} holds numbers that are no ASCII letters")
        return np.where(absent, 0, values.values).astype(np.uint8)
    made = np.zeros(len(values), np.uint8)
    for place in np.flatnonzero(~absent).tolist():
        value = values.values[place]
        letter = (
            value if isinstance(value, bytes) else value.encode("utf-8", "replace") if isinstance(value, str) else b""
        )
        if len(letter) != 1:
            raise InvalidInputError(f"{told}: {value!r} in row {place} is no single letter")
        made[place] = letter[0]
    return made


def _codes(values: Given, told: str) -> tuple[Array, list[str]]:
    if values.kind != "O" and len(values):
        raise InvalidInputError(f"{told} is of {values.values.dtype}, and must be text")
    numbers: dict[str, int] = {}
    made = np.full(len(values), CODE_NULL, np.int32)
    for place in np.flatnonzero(~values.absent()).tolist():
        value = values.values[place]
        if not isinstance(value, str):
            raise InvalidInputError(f"{told}: {value!r} in row {place} is no text")
        made[place] = numbers.setdefault(value, len(numbers))
    for word in numbers:
        check_text(word, told)
    return made, list(numbers)


def check_text(word: str, told: str) -> None:
    """Raise `InvalidInputError` if a string is no text that can be stored: it holds half of a surrogate pair."""
    if not word.isascii():
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"{told}: {word!r} is no text: {error.reason}") from error


def _whole(values: Given, column: Column, told: str) -> Array:
    if values.nulls is None and values.values.dtype == column.dtype:
        return np.ascontiguousarray(values.values)
    limits = np.iinfo(column.dtype)
    absent = values.absent()
    none = column.null if column.kind is not Kind.FLAGS else 0
    numbers = values.values
    if values.kind in "fO":
        floats = _floats(values, told)
        absent = absent | np.isnan(floats)
        if (np.rint(floats[~absent]) != floats[~absent]).any() or (np.abs(floats[~absent]) >= _EXACT_MAX).any():
            raise InvalidInputError(f"{told} holds a number that is not whole, or beyond 2**53 as a float")
        filled = np.where(absent, 0, floats)
        numbers = filled.astype(np.int64)
    known = numbers[~absent]
    if len(known):
        for value in (int(known.min()), int(known.max())):
            if not limits.min <= value <= limits.max:
                raise InvalidInputError(f"{told} holds {value}, which does not fit {column.dtype}")
    made = np.where(absent, 0, numbers).astype(column.dtype)
    return np.where(absent, np.array(none).astype(column.dtype), made)


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
        exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
        if exact.is_nan():
            return column.null
        if not exact.is_finite():
            raise InvalidInputError(f"column {column.name}: {value!r} is not finite")
        scaled = exact * scale
        if scaled != scaled.to_integral_value() and column.kind is not Kind.PRICE:
            raise InvalidInputError(
                f"column {column.name}: {value!r} has more digits than its scale {scale:,} keeps; give an integer in "
                "units of the scale, or say size_scale="
            )
        return int(scaled.to_integral_value())
    if isinstance(value, np.integer):
        return int(value)
    raise InvalidInputError(f"column {column.name}: {value!r} is no {column.kind.value}")
