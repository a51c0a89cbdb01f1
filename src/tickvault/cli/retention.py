"""Retentions as a command line writes and reads them: ends, periods, presets.

Invariants: a time without a time zone is refused, so that no retention ends hours early; a date alone is the end of
that day, UTC, so that none ends before the day that was named is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import click

from tickvault.cli import terminal
from tickvault.errors import InvalidInputError
from tickvault.objects.lock.retention import (
    MODES,
    PRESETS,
    UNTIL_NS_MAX,
    BucketLock,
    bucket_lock,
    time_text,
    until_ns_of,
)

F = TypeVar("F", bound=Callable[..., Any])

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LATE = re.compile(r"(?:22(?:6[3-9]|[7-9]\d)|2[3-9]\d\d|[3-9]\d{3})-\d\d-\d\d")
_PERIOD = re.compile(r"(\w+):(\d{1,9})")


def mode_option(name: str, *, required: bool = False, help_text: str) -> Callable[[F], F]:
    """Add an option that takes a retention mode."""
    return click.option(
        name, type=click.Choice(MODES, case_sensitive=False), required=required, default=None, help=help_text
    )


def parse_until(text: str, option: str) -> int:
    """Return the end of a retention, nanoseconds since 1970.

    >>> parse_until("2031-01-01T00:00:00Z", "--until")
    1924992000000000000
    >>> parse_until("2030-12-31", "--until")
    1924992000000000000

    Raises
    ------
    InvalidInputError
        The text is no date and no time with a time zone, or lies beyond 2262.
    """
    if _LATE.match(text):
        raise InvalidInputError(f"{option} {text!r} lies beyond {time_text(UNTIL_NS_MAX)}, where int64 nanoseconds end")
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            return until_ns_of(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{option} {text!r} is neither a date nor a time; write 2031-01-01T00:00:00Z, or a date for the end of "
            "that day, UTC"
        ) from None
    if moment.tzinfo is None:
        raise InvalidInputError(f"{option} {text!r} has no time zone; end it with Z for UTC: {text}Z")
    return until_ns_of(moment)


def parse_retention(text: str) -> BucketLock:
    """Return the default retention that ``--retention PRESET|MODE:DAYS`` names.

    >>> parse_retention("GOVERNANCE:30")
    BucketLock(mode='GOVERNANCE', days=30, years=0, preset='')
    >>> parse_retention("mifid-ii").years
    5

    Raises
    ------
    InvalidInputError
        There is no such preset, mode or period.
    """
    if text in PRESETS:
        return PRESETS[text].lock
    period = _PERIOD.fullmatch(text)
    if period is None:
        raise InvalidInputError(
            f"--retention {text!r} is none of {', '.join(PRESETS)}, and not MODE:DAYS, such as COMPLIANCE:365"
        )
    return bucket_lock((period[1].upper(), int(period[2])))


def described_default(lock: BucketLock) -> str:
    """Return in words what new versions of a bucket get.

    >>> described_default(BucketLock("COMPLIANCE", years=6, preset="sec-17a-4"))
    'COMPLIANCE for 6 years (preset sec-17a-4)'
    >>> described_default(BucketLock())
    'none, unless the writer names one'
    """
    if lock.mode is None:
        return "none, unless the writer names one"
    period = terminal.count(lock.years, "year") if lock.years else terminal.count(lock.days, "day")
    return f"{lock.mode} for {period}" + (f" (preset {lock.preset})" if lock.preset else "")


def default_record(lock: BucketLock | None) -> dict[str, Any] | None:
    """Return a bucket's default retention as JSON; None where there is none."""
    if lock is None or lock.mode is None:
        return None
    period = {"years": lock.years} if lock.years else {"days": lock.days}
    return {"mode": lock.mode, **period, "preset": lock.preset or None}
