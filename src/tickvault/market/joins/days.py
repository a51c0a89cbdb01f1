"""Where the days of a zone begin, in UTC.

Invariants: the begins ascend, and each day ends where the next begins; a day has 23 to 25 hours where the zone's clock
changes, as its wall clock says.
"""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array

DAY_NS = 86_400 * 1_000_000_000
_SECOND = 1_000_000_000
_EPOCH = datetime.datetime(1970, 1, 1)


def zone_of(tz: str) -> ZoneInfo:
    """Return a zone by its IANA name; raises `InvalidInputError` for none."""
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise InvalidInputError(f"tz={tz!r} is no zone; take one as America/New_York") from None


def day_begins(first_ns: int, last_ns: int, tz: str | None, offset_ns: int = 0, step: int = 1) -> Array:
    """Return the begins of all days that hold a time from first_ns to last_ns, and the begin of the day after.

    Parameters
    ----------
    first_ns, last_ns : int
        int64 ns UTC.
    tz : str, optional
        Zone whose wall clock says when a day begins; UTC by default.
    offset_ns : int
        What a day begins after (or before) midnight, by the wall clock.
    step : int
        Days in one; counted from the first of January 1970.

    Returns
    -------
    ndarray of int64, shape (n_days + 1,)
        ns UTC; where midnight does not exist, the moment that the clock jumps over it.

    Raises
    ------
    InvalidInputError
        There is no such zone, or a time lies at the very ends of int64.
    """
    reach = (4 + 2 * step) * DAY_NS + abs(offset_ns)
    if first_ns < -(2**63) + reach or last_ns > 2**63 - reach:
        raise InvalidInputError(
            f"days of {first_ns} to {last_ns}: a time so near the ends of int64 nanoseconds is of no clock; leave such "
            "rows out first"
        )
    # A zone is at most 26 hours from UTC with daylight saving; a day more on each side, and what is beyond is cut.
    first = ((first_ns - offset_ns) // DAY_NS - 2) // step
    last = ((last_ns - offset_ns) // DAY_NS + 2) // step + 1
    days = np.arange(first, last + 1, dtype=np.int64) * step
    zone = None if tz is None else zone_of(tz)
    begins = _ascending(days * DAY_NS + offset_ns if zone is None else _wall_to_utc(days, offset_ns, zone))
    low = int(np.searchsorted(begins, first_ns, side="right")) - 1
    high = int(np.searchsorted(begins, last_ns, side="right"))
    return begins[low : high + 1]


def _wall_to_utc(days: Array, offset_ns: int, zone: ZoneInfo) -> Array:
    # Python's clocks hold no nanoseconds, and zones change at whole seconds.
    seconds, beyond = divmod(offset_ns, _SECOND)
    begins = np.empty(len(days), np.int64)
    for at, day in enumerate(days.tolist()):
        wall = (_EPOCH + datetime.timedelta(days=day, seconds=seconds)).replace(tzinfo=zone)
        shift = wall.utcoffset()
        assert shift is not None, "a zone knows its offset"
        begins[at] = (day * 86_400 + seconds - shift.days * 86_400 - shift.seconds) * _SECOND + beyond
    return begins


def _ascending(begins: Array) -> Array:
    """Drop days that a zone leapt over (Samoa had no 30 December 2011)."""
    kept: Array = begins[np.concatenate(([True], begins[1:] > begins[:-1]))]
    return kept
