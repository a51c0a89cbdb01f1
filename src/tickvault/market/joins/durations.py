"""Lengths of time as users write them, into nanoseconds.

Invariants: nothing is rounded; a day is 24 hours here (days of a calendar are `market.joins.days`).
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError

_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
_PART = re.compile(r"(\d+)(ns|us|ms|s|m|h|d)")
_TEXT = re.compile(rf"([+-]?)((?:{_PART.pattern})+)")
_LONGEST = 2**63 - 2


def to_duration_ns(value: Any, name: str = "duration") -> int:
    """Return a length of time in nanoseconds.

    Parameters
    ----------
    value : int, str, timedelta, numpy.timedelta64 or pandas.Timedelta
        An int is nanoseconds already. Text is numbers with units: ``5s``, ``250ms``, ``1h30m``, ``-7h``; the units are
        ns, us, ms, s, m (minutes), h and d.

    Raises
    ------
    InvalidInputError
        It is no length of time, or longer than 292 years.

    Examples
    --------
    >>> to_duration_ns("1m30s")
    90000000000
    """
    found = _nanoseconds(value)
    if found is None or abs(found) > _LONGEST:
        raise InvalidInputError(
            f"{name}: {value!r} is no length of time; give nanoseconds (int), text such as 250ms, 5s or 1h30m, or a "
            "timedelta, of less than 292 years"
        )
    return found


def _nanoseconds(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, np.timedelta64):
        return _numpy_ns(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, datetime.timedelta):
        beyond = getattr(value, "nanoseconds", 0)  # a pandas.Timedelta, to its last digit
        return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000 + int(beyond)
    if isinstance(value, str) and (found := _TEXT.fullmatch(value.strip())):
        length = sum(int(count) * _NS[unit] for count, unit in _PART.findall(found[2]))
        return -length if found[1] == "-" else length
    return None


def _numpy_ns(value: np.timedelta64) -> int | None:
    unit, step = np.datetime_data(value.dtype)
    names = {"ns": "ns", "us": "us", "ms": "ms", "s": "s", "m": "m", "h": "h", "D": "d", "W": "d"}
    if np.isnat(value) or unit not in names:
        return None
    return int(value.astype(np.int64)) * step * _NS[names[unit]] * (7 if unit == "W" else 1)


def duration_text(ns: int) -> str:
    """Return the shortest text in one unit: ``5m`` for 300 s.

    >>> duration_text(86_400 * 10**9)
    '1d'
    """
    unit = next(unit for unit in ("d", "h", "m", "s", "ms", "us", "ns") if ns % _NS[unit] == 0)
    return f"{ns // _NS[unit]}{unit}"
