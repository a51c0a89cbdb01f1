"""Times as users write them, into int64 nanoseconds UTC."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError

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
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    nanoseconds = getattr(value, "value", None)
    if isinstance(nanoseconds, int) and hasattr(value, "as_unit"):  # a pandas.Timestamp, to its last digit
        return int(value.as_unit("ns").value)
    try:
        if isinstance(value, np.datetime64):
            return int(value.astype("datetime64[ns]").astype(np.int64))
        if isinstance(value, str):
            return _from_text(value.strip())
        if isinstance(value, datetime.datetime):
            return _of(value)
        if isinstance(value, datetime.date):
            return _of(datetime.datetime(value.year, value.month, value.day))
    except (ValueError, OverflowError):
        pass
    raise InvalidInputError(
        f"{name}: {value!r} is no time; give nanoseconds since 1970 (int), ISO text such as 2023-12-26T14:30:00Z, or a "
        "datetime"
    )


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
