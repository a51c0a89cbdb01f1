"""Lengths of time, and where days begin."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import tickvault as tv
from tickvault.market.joins.days import day_begins
from tickvault.market.joins.durations import duration_text, to_duration_ns
from tickvault.market.times import to_ns

HOUR = 3_600 * 10**9


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (7, 7),
        (np.int64(-7), -7),
        ("5s", 5 * 10**9),
        (" 250ms ", 250 * 10**6),
        ("1h30m", 5_400 * 10**9),
        ("-7h", -7 * HOUR),
        ("+1d", 24 * HOUR),
        ("3us4ns", 3_004),
        (datetime.timedelta(days=-1, microseconds=1), -24 * HOUR + 1_000),
        (np.timedelta64(3, "m"), 180 * 10**9),
        (np.timedelta64(1, "W"), 7 * 24 * HOUR),
        (pd.Timedelta(1_234_567_891, "ns"), 1_234_567_891),
    ],
)
def test_a_length_of_time(value: Any, ns: int) -> None:
    assert to_duration_ns(value) == ns


@pytest.mark.parametrize(
    "value", ["", "5", "s", "5 s", "1.5s", "5s!", "5S", None, 1.5, True, 2**63, "300000d", np.timedelta64("NaT"), []]
)
def test_no_length_of_time(value: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match=r"tolerance: .* is no length of time"):
        to_duration_ns(value, "tolerance")


def test_a_length_as_text() -> None:
    assert [duration_text(ns) for ns in (90 * 10**9, 3_600 * 10**9, 1_500, 86_400 * 10**9)] == [
        "90s",
        "1h",
        "1500ns",
        "1d",
    ]


@pytest.mark.parametrize("tz", ["America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("hours", [0, 17, -7])
def test_days_of_a_year(tz: str, hours: int) -> None:
    first, last = to_ns("2024-01-01"), to_ns("2025-01-01")
    begins = day_begins(first, last, tz, hours * HOUR)
    assert begins[0] <= first < begins[1]
    assert begins[-2] <= last < begins[-1]
    clocks = {datetime.datetime.fromtimestamp(at // 10**9, ZoneInfo(tz)).strftime("%H:%M") for at in begins.tolist()}
    assert clocks == {f"{hours % 24:02}:00"}
    steps = np.unique(np.diff(begins))
    assert len(steps) == {"America/New_York": 3, "Europe/London": 3, "Australia/Lord_Howe": 3}.get(tz, 1)


def test_a_midnight_that_does_not_exist() -> None:
    """São Paulo's clocks leapt from midnight to one o'clock on 2018-11-04."""
    begins = day_begins(to_ns("2018-11-03T12:00"), to_ns("2018-11-05T12:00"), "America/Sao_Paulo")
    assert np.diff(begins).tolist() == [24 * HOUR, 23 * HOUR, 24 * HOUR]
    assert begins[1] == to_ns("2018-11-04T03:00")


def test_a_day_that_does_not_exist() -> None:
    """Samoa had no 30 December 2011."""
    begins = day_begins(to_ns("2011-12-29T12:00"), to_ns("2012-01-01T12:00"), "Pacific/Apia")
    assert np.diff(begins).tolist() == [24 * HOUR] * 4
    assert begins.tolist() == [to_ns(f"2011-12-{day}T10:00") for day in (29, 30, 31)] + [
        to_ns("2012-01-01T10:00"),
        to_ns("2012-01-02T10:00"),
    ]


def test_several_days_in_one() -> None:
    begins = day_begins(to_ns("1970-01-09"), to_ns("1970-01-16T01:00"), None, step=7)
    assert begins.tolist() == [7 * 24 * HOUR, 14 * 24 * HOUR, 21 * 24 * HOUR]


def test_times_at_the_ends_of_the_type() -> None:
    for first, last in ((-(2**63) + 1, 0), (0, 2**63 - 1)):
        with pytest.raises(tv.InvalidInputError, match="is of no clock"):
            day_begins(first, last, None)
