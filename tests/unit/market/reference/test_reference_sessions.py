"""Trading sessions: hours that venues publish, in UTC."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.reference import CALENDARS, breaks, calendar_of, session_of, session_range, sessions
from tickvault.market.times import text_of, to_ns


def told(*arguments: str, **named: str) -> tuple[str, str]:
    start, end = session_range(*arguments, **named)  # type: ignore[arg-type]
    return text_of(start), text_of(end)


@pytest.mark.parametrize(
    ("venue", "date", "start", "end"),
    [
        ("XNAS", "2023-12-26", "2023-12-26T14:30:00Z", "2023-12-26T21:00:00Z"),
        ("USA", "2013-10-07", "2013-10-07T13:30:00Z", "2013-10-07T20:00:00Z"),
        ("NYSE ARCA", "2023-11-24", "2023-11-24T14:30:00Z", "2023-11-24T18:00:00Z"),  # the day after Thanksgiving
        ("GLBX", "2023-12-26", "2023-12-25T23:00:00Z", "2023-12-26T22:00:00Z"),  # begins the evening before
        ("COMEX", "2013-10-07", "2013-10-06T22:00:00Z", "2013-10-07T21:15:00Z"),  # until 2015 to a quarter past four
        ("CME", "2015-09-18", "2015-09-17T22:00:00Z", "2015-09-18T21:15:00Z"),
        ("CME", "2015-09-21", "2015-09-20T22:00:00Z", "2015-09-21T21:00:00Z"),
        ("GLBX", "2024-01-15", "2024-01-14T23:00:00Z", "2024-01-15T18:00:00Z"),  # Martin Luther King: closes at noon
        ("GLBX", "2024-03-11", "2024-03-10T22:00:00Z", "2024-03-11T21:00:00Z"),  # clocks went forward that morning
        ("XSHG", "2023-07-11", "2023-07-11T01:30:00Z", "2023-07-11T07:00:00Z"),
        ("XHKG", "2024-02-09", "2024-02-09T01:30:00Z", "2024-02-09T04:00:00Z"),  # New Year's Eve: the morning only
        ("XTKS", "2024-11-05", "2024-11-05T00:00:00Z", "2024-11-05T06:30:00Z"),  # half an hour longer from that day
        ("BINANCE", "2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("FXCM", "2014-05-12", "2014-05-11T21:00:00Z", "2014-05-12T21:00:00Z"),
        ("FXCM", "2014-01-13", "2014-01-12T22:00:00Z", "2014-01-13T22:00:00Z"),
    ],
)
def test_hours_are_those_that_venues_publish(venue: str, date: str, start: str, end: str) -> None:
    assert told(venue, date) == (start, end)


def test_a_day_without_trading_names_those_next_to_it() -> None:
    with pytest.raises(tv.InvalidInputError, match=r"session 2023-12-25 of GLBX: .* are 2023-12-22 and 2023-12-26"):
        session_range("GLBX", "2023-12-25")
    with pytest.raises(tv.InvalidInputError, match="are 2014-05-09 and 2014-05-12"):
        session_range("FXCM", "2014-05-10")
    with pytest.raises(tv.InvalidInputError, match="its calendar us_equities goes from 1992-01-02 to"):
        session_range("XNYS", "1960-01-04")
    with pytest.raises(tv.InvalidInputError, match="the calendar of venue 'NOPE' is not known; name one: ours are"):
        session_range("NOPE", "2020-01-02")
    with pytest.raises(tv.InvalidInputError, match="session: 'today' is no day"):
        session_range("XNYS", "today")
    with pytest.raises(tv.InvalidInputError, match="hours must be 'regular' or 'extended'"):
        session_range("XNYS", "2020-01-02", hours="long")  # type: ignore[arg-type]


def test_lunch_is_inside_the_session() -> None:
    assert breaks("XSHE", "2023-07-11") == [(to_ns("2023-07-11T03:30"), to_ns("2023-07-11T05:00"))]
    assert breaks("XHKG", "2024-02-09") == [], "none on a half day"
    assert breaks("XNYS", "2024-02-09") == []


def test_extended_hours_are_asked_for() -> None:
    assert told("XNAS", "2013-10-07", hours="extended") == ("2013-10-07T08:00:00Z", "2013-10-08T00:00:00Z")
    assert told("XSHG", "2023-07-11", hours="extended") == ("2023-07-11T01:15:00Z", "2023-07-11T07:30:00Z")
    assert told("GLBX", "2023-12-26", hours="extended") == told("GLBX", "2023-12-26")


def test_the_bar_that_ends_with_the_session_is_in_it() -> None:
    ticks, bars = session_range("XNAS", "2013-10-07"), session_range("XNAS", "2013-10-07", schema="ohlcv-1d")
    end = to_ns("2013-10-07T20:00")
    assert not ticks[0] <= end < ticks[1]
    assert bars[0] <= end < bars[1]
    assert not bars[0] <= to_ns("2013-10-07T13:30") < bars[1], "the bar that ends as the session begins"


def test_a_time_belongs_to_a_session() -> None:
    assert session_of("GLBX", "2023-12-25T23:30") == "2023-12-26"
    assert session_of("GLBX", "2023-12-25T12:00") == "2023-12-26", "in none: the next one"
    assert session_of("XNAS", "2023-12-26T21:00") == "2023-12-27", "its end is not in it"


@pytest.mark.parametrize("name", CALENDARS)
def test_sessions_do_not_overlap(name: str) -> None:
    found = sessions(CALENDARS[name])
    assert (found.starts < found.ends).all()
    assert (found.ends[:-1] <= found.starts[1:]).all()
    assert (np.diff(found.days) > 0).all()
    assert ((found.break_starts <= found.break_ends) & (found.break_ends <= found.ends)).all()


@pytest.mark.parametrize(
    "venue", ["GLBX", "OPRA", "XNAS", "XBOS", "XPSX", "IEXG", "BINANCE", "BINANCEUSDM", "USA", "COMEX", "CME", "FXCM"]
)
def test_venues_of_our_feeds_have_calendars(venue: str) -> None:
    assert calendar_of(venue).tz


def test_nothing_heavy_is_loaded_before_it_is_used() -> None:
    script = (
        "import sys, tickvault.market.reference, tickvault.market.validate; "
        "print([name for name in ('exchange_calendars', 'pandas', 'polars', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
