"""Times as users write them, into int64 nanoseconds UTC."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.schema import TIME_NULL

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def to_ns(value: Any, name: str = "time") -> int:
    """Return a time as int64 ns UTC.

    Parameters
    ----------
    value : int, str, datetime, date, numpy.datetime64 or pandas.Timestamp
        An int is nanoseconds already. Text is ISO 8601 (``2023-12-26``, ``2023-12-26T14:30:00.5``, with ``Z`` or an
        offset). What names no zone means UTC.

    Raises
    ------
    InvalidInputError
        It is no time.
    """
    try:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return _in_range(int(value))
        nanoseconds = getattr(value, "value", None)
        if isinstance(nanoseconds, int) and hasattr(value, "as_unit"):  # a pandas.Timestamp, to its last digit
            return _in_range(int(value.as_unit("ns").value))
        if isinstance(value, np.datetime64):
            return _in_range(int(nanoseconds_of(value.reshape(1), name)[0]))
        if isinstance(value, str):
            return _in_range(_from_text(value.strip()))
        if isinstance(value, datetime.datetime) and value == value:  # noqa: PLR0124 - pandas' NaT differs from itself
            return _in_range(_of(value))
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return _in_range(_of(datetime.datetime(value.year, value.month, value.day)))
    except (ValueError, OverflowError, ArithmeticError):
        pass
    raise InvalidInputError(
        f"{name}: {value!r} is no time from 1677 to 2262; give nanoseconds since 1970 (int), ISO text such as "
        "2023-12-26T14:30:00Z, or a datetime"
    )


def nanoseconds_of(array: Array, name: str) -> Array:
    """Return int64 ns UTC of datetime64 of any unit; NaT is `TIME_NULL`.

    Raises
    ------
    InvalidInputError
        A time does not fit int64 nanoseconds, 1677 to 2262; numpy would wrap it.
    """
    unit = np.datetime_data(array.dtype)[0]
    if unit in ("generic", "Y", "M"):
        array = array.astype("datetime64[s]")
    elif unit in ("ps", "fs", "as"):
        array = array.astype("datetime64[ns]")
    unit, count = np.datetime_data(array.dtype)
    factor = _UNIT_NS[unit] * count
    numbers = array.astype(np.int64)
    absent = np.isnat(array)
    outside = ~absent & (np.abs(numbers) > np.iinfo(np.int64).max // factor)
    if outside.any():
        example = array[np.flatnonzero(outside)[0]]
        raise InvalidInputError(f"{name} holds {example}, which is no time from 1677 to 2262")
    return np.where(absent, TIME_NULL, np.where(absent, 0, numbers) * factor)


_UNIT_NS = {
    "W": 7 * 86_400 * 10**9,
    "D": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}


def _in_range(ns: int) -> int:
    if not TIME_NULL < ns <= np.iinfo(np.int64).max:
        raise OverflowError(ns)
    return ns


def _of(moment: datetime.datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    past = aware - _EPOCH
    return ((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) * 1_000


def _from_text(text: str) -> int:
    # Python reads six digits of a fraction; the last three are read here.
    point = text.find(".")
    if point < 0:
        return _of(datetime.datetime.fromisoformat(text))
    end = point + 1
    while end < len(text) and text[end].isdigit():
        end += 1
    digits = text[point + 1 : end]
    if not 1 <= len(digits) <= 9:
        raise ValueError(text)
    return _of(datetime.datetime.fromisoformat(text[:point] + text[end:])) + int(digits.ljust(9, "0"))


def text_of(ns: int) -> str:
    """Return ISO text, to the nanosecond where it needs it: ``2023-12-26T14:30:00.5Z``."""
    text = str(np.datetime64(ns, "ns")).rstrip("0").rstrip(".")
    return (text if "T" in text and len(text) >= 19 else str(np.datetime64(ns, "s"))) + "Z"
