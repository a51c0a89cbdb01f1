"""Which rows lie within trading hours.

Invariants: a row at the begin of a session is in, and one at its end is not.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.reference.calendars import Calendar
from tickvault.market.reference.sessions import Hours, sessions
from tickvault.market.validate.rule import Found, Rows, Rule, Severity, register


def within(times: Array, calendar: Calendar, hours: str) -> Array:
    """Return which times lie in a session and in no break of it.

    Parameters
    ----------
    times : ndarray of int64, shape (n_rows,)
    hours : {"regular", "extended"}
        Extended hours have no breaks.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    known = sessions(calendar, cast("Hours", hours))
    at = np.searchsorted(known.starts, times, "right") - 1
    before = at < 0
    at[before] = 0
    inside = (times < known.ends[at]) & ~before
    if hours == "regular":
        inside &= (times < known.break_starts[at]) | (times >= known.break_ends[at])
    found: Array = inside
    return found


def _outside(rows: Rows) -> Found:
    inside = rows.within("extended")
    assert rows.calendar is not None, "asked for by `within`"
    extended = rows.calendar.extended
    hours = f", with the hours before and after ({extended[0]} to {extended[1]})" if extended else ""
    return Found(~inside & rows.live, f"calendar {rows.calendar.name}{hours}")


SESSION_HOURS = register(
    Rule(
        "session_hours",
        "The row is outside the venue's trading hours: not in a session of its calendar, the hours before and after "
        "included where the venue has them. Rows of snapshots tell of orders that came earlier, and are left out.",
        Severity.WARNING,
        _outside,
        frozenset(
            {"mbo", "mbp-1", "mbp-10", "mbp-delta", "trades", "bbo", "ohlcv-1s", "ohlcv-1m", "ohlcv-1d", "ohlcq-1m"}
        ),
    )
)
