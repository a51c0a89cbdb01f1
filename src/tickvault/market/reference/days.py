"""Days as reference data has them: ISO text, whose order is the order of the days.

Invariants: a day is ten letters, ``YYYY-MM-DD``; an interval of days is [start, end); what has no end ends at
`FOREVER`, and what has no begin began at `ALWAYS`.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

from tickvault.errors import InvalidInputError

ALWAYS = "0001-01-01"
FOREVER = "9999-12-31"
#: LEAN's and other vendors' words for a day that has not come.
_NEVER = frozenset({"20501231", "2050-12-31", "99991231", "9999-12-31"})
_COMPACT = re.compile(r"\d{8}")
_ONE = datetime.timedelta(days=1)


def day_of(value: Any, name: str = "date") -> str:
    """Return a day as ISO text.

    Parameters
    ----------
    value : str, date, datetime or numpy.datetime64
        Text is ``2023-12-26``, ``20231226``, or a time that begins so. Of a datetime it is the day that it shows.

    >>> day_of("20231226"), day_of(datetime.date(2023, 12, 26)), day_of("2023-12-26T14:30:00Z")
    ('2023-12-26', '2023-12-26', '2023-12-26')

    Raises
    ------
    InvalidInputError
        It is no day.
    """
    text = str(value).strip()
    if _COMPACT.fullmatch(text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        found = datetime.date.fromisoformat(text[:10])
    except ValueError:
        raise InvalidInputError(f"{name}: {value!r} is no day; give it as 2023-12-26, or as a date") from None
    if len(text) > 10 and text[10] not in "T ":
        raise InvalidInputError(f"{name}: {value!r} is no day; give it as 2023-12-26, or as a date")
    return found.isoformat()


def end_of(value: Any, *, included: bool, name: str = "end") -> str:
    """Return the first day after an interval whose end is told; nothing, or a day far ahead, is no end."""
    if value is None or str(value).strip() in {"", *_NEVER}:
        return FOREVER
    day = day_of(value, name)
    return next_day(day) if included else day


def next_day(day: str) -> str:
    """Return the day after.

    >>> next_day("2024-02-28")
    '2024-02-29'
    """
    return day if day == FOREVER else (datetime.date.fromisoformat(day) + _ONE).isoformat()


def day_before(day: str) -> str:
    """Return the day before."""
    return (datetime.date.fromisoformat(day) - _ONE).isoformat()


def day_number(day: str) -> int:
    """Return days since 1970-01-01."""
    return datetime.date.fromisoformat(day).toordinal() - 719_163


def text_of_day(number: int) -> str:
    """Return ISO text of days since 1970-01-01."""
    return datetime.date.fromordinal(number + 719_163).isoformat()
