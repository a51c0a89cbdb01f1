"""Trading sessions: from when to when a venue's trading day goes.

A session has the date that its venue gives it, which need not be the day that it begins on: the session 2023-12-26 of
CME Globex begins at 17:00 in Chicago on the 25th.

Invariants: a range is [start, end) in int64 ns UTC, and the ranges of a calendar do not overlap; a lunch break is
inside the range; a day without a session is an error that names the sessions next to it.
"""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.reference.calendars import Calendar, calendar_named, calendar_of, exchange_calendars
from tickvault.market.reference.days import day_number, day_of, text_of_day
from tickvault.market.schema import known_schema
from tickvault.market.times import to_ns

Hours = Literal["regular", "extended"]
_FIRST_DAY = "1992-01-01"
_FIRST = day_number(_FIRST_DAY)
_LAST = day_number("2200-01-01")
_DAY_NS = 86_400 * 1_000_000_000


class Sessions(NamedTuple):
    """All sessions of a calendar that are known, in order; arrays of shape (n_sessions,)."""

    days: Array
    """int64: days since 1970-01-01."""
    starts: Array
    """int64 ns UTC."""
    ends: Array
    """int64 ns UTC."""
    break_starts: Array
    """int64 ns UTC; the end of the session where it has no break."""
    break_ends: Array
    """int64 ns UTC; the end of the session where it has no break."""

    def between(self, start_ns: int, end_ns: int) -> Sessions:
        """Return those that overlap [start, end)."""
        low = int(np.searchsorted(self.ends, start_ns, "right"))
        high = int(np.searchsorted(self.starts, end_ns, "left"))
        return Sessions(*(array[low:high] for array in self))


def calendar_for(calendar: Calendar | str | None, venue: str) -> Calendar:
    """Return a calendar itself, by its name, or else the venue's."""
    if calendar is None:
        return calendar_of(venue)
    return calendar_named(calendar) if isinstance(calendar, str) else calendar


def session_range(
    venue: str,
    date: Any,
    *,
    calendar: Calendar | str | None = None,
    hours: Hours = "regular",
    schema: str = "",
) -> tuple[int, int]:
    """Return the range [start, end) of a trading day, int64 ns UTC.

    Parameters
    ----------
    venue : str
        As the library names it, or its MIC.
    date : day
        That the venue gives the session; see `day_of`.
    calendar : Calendar or str, optional
        In place of the venue's.
    hours : {"regular", "extended"}
        Extended are those before and after too, where the venue has them: 04:00 to 20:00 of equities in the United
        States, from the opening call on in China. Elsewhere both are the same.
    schema : str
        Bars are found by their end (`ts_recv`), so that of a schema of bars the range is moved by one nanosecond: the
        bar that ends with the session is in, and the one that ends with the session before is not.

    Raises
    ------
    InvalidInputError
        The venue has no session of that date; the message names those next to it.
    """
    found, at = _session(calendar_for(calendar, venue), venue, date, hours)
    told = known_schema(schema)
    move = 1 if told is not None and told.interval_ns else 0
    return int(found.starts[at]) + move, int(found.ends[at]) + move


def breaks(venue: str, date: Any, *, calendar: Calendar | str | None = None) -> list[tuple[int, int]]:
    """Return the breaks [start, end) within a session, int64 ns UTC: lunch, in some of Asia's markets; else none."""
    found, at = _session(calendar_for(calendar, venue), venue, date, "regular")
    start, end = int(found.break_starts[at]), int(found.break_ends[at])
    return [(start, end)] if start < end else []


def session_of(venue: str, time: Any, *, calendar: Calendar | str | None = None, hours: Hours = "regular") -> str:
    """Return the date of the session that a time lies in, or of the next one where it lies in none."""
    known = calendar_for(calendar, venue)
    moment = to_ns(time)
    found = sessions(known, hours)
    at = int(np.searchsorted(found.ends, moment, "right"))
    if at == len(found.days):
        raise InvalidInputError(f"session of {venue}: its calendar {known.name} ends on {_last(found)}")
    return text_of_day(int(found.days[at]))


def _session(calendar: Calendar, venue: str, date: Any, hours: Hours) -> tuple[Sessions, int]:
    day = day_of(date, "session")
    number = day_number(day)
    found = sessions(calendar, hours)
    at = int(np.searchsorted(found.days, number))
    if at < len(found.days) and found.days[at] == number:
        return found, at
    what = f"session {day} of {venue}"
    if not at or at == len(found.days):
        first = text_of_day(int(found.days[0]))
        raise InvalidInputError(f"{what}: its calendar {calendar.name} goes from {first} to {_last(found)}")
    before, after = text_of_day(int(found.days[at - 1])), text_of_day(int(found.days[at]))
    raise InvalidInputError(
        f"{what}: that is no trading day of its calendar {calendar.name}; the sessions next to it are {before} and "
        f"{after}"
    )


def _last(found: Sessions) -> str:
    return text_of_day(int(found.days[-1]))


@lru_cache(maxsize=64)
def sessions(calendar: Calendar, hours: Hours = "regular") -> Sessions:
    """Return all sessions of a calendar: of exchanges from 1992 on, as far as their holidays are known."""
    if hours not in ("regular", "extended"):
        raise InvalidInputError(f"hours must be 'regular' or 'extended', was {hours!r}")
    found = _of_exchange(calendar) if calendar.exchange else _of_clock(calendar)
    if hours == "extended" and calendar.extended is not None:
        begin, end = (clock_on(found.days, clock, calendar.tz) for clock in calendar.extended)
        return found._replace(starts=np.minimum(begin, found.starts), ends=np.maximum(end, found.ends))
    return found


def _of_exchange(calendar: Calendar) -> Sessions:
    schedule = _schedule(calendar.exchange)
    days = schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    starts, ends, break_starts, break_ends = (
        np.array(schedule[name].dt.tz_convert(None).to_numpy("datetime64[ns]").view(np.int64))
        for name in ("open", "close", "break_start", "break_end")
    )
    whole = _usual(ends, days, calendar.tz)
    if calendar.open:
        starts = clock_on(days, calendar.open, calendar.tz)
    if calendar.close:
        until = 0
        closes = [*calendar.close_before, ("", calendar.close)]
        for before, clock in closes:
            end = int(np.searchsorted(days, day_number(before))) if before else len(days)
            usual = clock_on(days[until:end], clock, calendar.tz)
            ends[until:end] = np.where(whole[until:end], usual, ends[until:end])
            until = end
    absent = break_starts == np.iinfo(np.int64).min  # pandas' NaT
    return Sessions(days, starts, ends, np.where(absent, ends, break_starts), np.where(absent, ends, break_ends))


def _schedule(name: str) -> Any:
    library = exchange_calendars()
    try:
        return library.get_calendar(name, start=_FIRST_DAY).schedule
    except ValueError:  # its holidays are not told so far back
        known = library.get_calendar(name)
        return library.get_calendar(name, start=known.bound_min() or known.first_session).schedule


def _usual(ends: Array, days: Array, tz: str) -> Array:
    """Return which sessions do not close early: the calendar closes them at its latest clock time."""
    midnights = clock_on(days, "00:00", tz)
    since = ends - midnights
    found: Array = since >= np.median(since) - 60_000_000_000
    return found


def _of_clock(calendar: Calendar) -> Sessions:
    days = np.arange(_FIRST, _LAST, dtype=np.int64)
    if calendar.days == "weekdays":
        days = days[(days + 3) % 7 < 5]  # 1970-01-01 was a Thursday
    elif calendar.days != "daily":
        raise InvalidInputError(f"calendar {calendar.name}: days must be 'daily' or 'weekdays', was {calendar.days!r}")
    starts, ends = clock_on(days, calendar.open, calendar.tz), clock_on(days, calendar.close, calendar.tz)
    return Sessions(days, starts, ends, ends, ends)


def clock_on(days: Array, clock: str, tz: str) -> Array:
    """Return a clock time of a zone on each day, int64 ns UTC."""
    early = clock.startswith("-")
    try:
        hour, minute = (int(part) for part in clock.removeprefix("-").split(":"))
    except ValueError:
        raise InvalidInputError(
            f"a calendar's time {clock!r} should be as 09:30, or -17:00 of the day before"
        ) from None
    wall = (days - early) * _DAY_NS + (hour * 60 + minute) * 60_000_000_000
    if tz == "UTC":
        return wall
    zone = ZoneInfo(tz)
    # The zone is asked once for each day; all at once would need a table of its changes.
    found = np.empty(len(wall), np.int64)
    for at, time in enumerate(wall.tolist()):
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time // 1_000_000_000)
        offset: Any = moment.replace(tzinfo=zone).utcoffset()
        found[at] = time - (offset.days * 86_400 + offset.seconds) * 1_000_000_000
    return found
