"""Retention and legal hold, as plain values: modes, until when, bucket defaults, presets.

Invariants: times are int64 nanoseconds since the epoch, UTC; a period in years ends on the same day of the calendar,
and where there is no such day, on the next one, never before.

Sources: Amazon S3 User Guide, "Locking objects with Object Lock"; the regulations that each preset names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from tickvault.errors import InvalidInputError

RetentionMode = Literal["GOVERNANCE", "COMPLIANCE"]
MODES: tuple[RetentionMode, ...] = ("GOVERNANCE", "COMPLIANCE")
#: S3's limits of a bucket's default period.
DAYS_MAX = 36_500
YEARS_MAX = 100
#: The last second that int64 nanoseconds can tell.
UNTIL_NS_MAX = (2**63 - 1) // 10**9 * 10**9
DAY_NS = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ObjectLock(NamedTuple):
    """What keeps one version: a retention, a legal hold, or both."""

    retention_mode: RetentionMode | None = None
    retain_until_ns: int = 0
    """0 without a retention."""
    legal_hold: bool = False
    damaged: bool = False
    """Its record does not match its checksum: the version is kept until a backup tells for how long."""

    def data(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {"m": self.retention_mode, "u": self.retain_until_ns, "h": self.legal_hold}

    @staticmethod
    def of(data: Mapping[str, Any]) -> ObjectLock:
        """Return what was stored."""
        if "u" not in data:
            return ObjectLock(damaged=True)
        return ObjectLock(data["m"], data["u"], data["h"])


UNLOCKED = ObjectLock()


@dataclass(frozen=True, slots=True)
class BucketLock:
    """The lock configuration of a bucket: whether new versions get a retention, and which."""

    mode: RetentionMode | None = None
    """None: a version is only locked when whoever writes it says so."""
    days: int = 0
    years: int = 0
    preset: str = ""
    """Name of the preset it was made from."""

    def until_ns(self, from_ns: int) -> int:
        """Return when the retention of a version made at `from_ns` ends."""
        return add_period(from_ns, self.days, self.years)

    def document(self) -> dict[str, Any]:
        """Return it as it is stored with the bucket's settings."""
        return {"mode": self.mode, "days": self.days, "years": self.years, "preset": self.preset}

    @staticmethod
    def of(document: Mapping[str, Any]) -> BucketLock:
        """Return what a bucket's settings say; raises `InvalidInputError` for what cannot be such a setting."""
        mode, days, years = document.get("mode"), document.get("days", 0), document.get("years", 0)
        if mode is None and not days and not years:
            return BucketLock()
        return BucketLock(
            check_mode(mode), *check_period(days, years), str(document.get("preset", "")) if document else ""
        )


class Preset(NamedTuple):
    """A retention that a regulation asks for."""

    name: str
    lock: BucketLock
    rule: str
    """The article, and what it asks."""
    years_max: int
    """What an authority may extend it to; the same where it may not."""


def _preset(name: str, years: int, rule: str, years_max: int = 0) -> Preset:
    return Preset(name, BucketLock("COMPLIANCE", years=years, preset=name), rule, years_max or years)


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _preset("sec-17a-4", 6, "17 CFR § 240.17a-4(a): six years; the periods of (c) to (e) may begin later"),
        _preset("cftc-1.31", 5, "17 CFR § 1.31(b)(3): five years; of swaps, (b)(1), five years from their end"),
        _preset(
            "mifid-ii",
            5,
            "Directive 2014/65/EU, art. 16(7), and Regulation (EU) No 600/2014, art. 25(1): five years, up to seven on "
            "request",
            7,
        ),
        _preset("cn-securities", 20, "Securities Law of the PRC (2019), art. 137 and 153: not less than 20 years"),
    )
}


def check_mode(mode: object) -> RetentionMode:
    """Return a retention mode, or raise `InvalidInputError`."""
    if mode not in MODES:
        raise InvalidInputError(f"a retention mode is 'GOVERNANCE' or 'COMPLIANCE', not {mode!r}")
    return mode


def check_period(days: object, years: object) -> tuple[int, int]:
    """Return (days, years) of a default retention of which exactly one is given."""
    for value in (days, years):
        if type(value) is not int or value < 0:
            raise InvalidInputError(f"a retention period is a whole number of days or years, not {value!r}")
    assert isinstance(days, int)
    assert isinstance(years, int)
    if bool(days) == bool(years):
        raise InvalidInputError("a default retention has a period in days or in years: one of them, at least 1")
    if days > DAYS_MAX or years > YEARS_MAX:
        raise InvalidInputError(
            f"a default retention is at most {DAYS_MAX} days or {YEARS_MAX} years, not "
            + (f"{days} days" if days else f"{years} years")
        )
    return days, years


def bucket_lock(retention: str | tuple[str, int] | BucketLock | None) -> BucketLock:
    """Return the lock configuration that `create_bucket(retention=…)` asks for.

    Parameters
    ----------
    retention : str, (str, int), BucketLock or None
        The name of a preset, (mode, days), or None for no default.
    """
    if retention is None:
        return BucketLock()
    if isinstance(retention, BucketLock):
        return BucketLock.of(retention.document())
    if isinstance(retention, str):
        preset = PRESETS.get(retention)
        if preset is None:
            raise InvalidInputError(f"retention preset {retention!r} is none of {', '.join(PRESETS)}")
        return preset.lock
    try:
        mode, days = retention
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"a retention is the name of a preset ({', '.join(PRESETS)}) or (mode, days), not {retention!r}"
        ) from None
    return BucketLock(check_mode(mode), *check_period(days, 0))


def requested_lock(
    retention_mode: str | None, retain_until: datetime | int | None, legal_hold: bool
) -> ObjectLock | None:
    """Return the lock that a write asks for, None if it asks for none."""
    if retention_mode is None and retain_until is None:
        return ObjectLock(legal_hold=True) if legal_hold else None
    if retention_mode is None or retain_until is None:
        missing = "retain_until" if retain_until is None else "retention_mode"
        raise InvalidInputError(f"a retention has a mode and an end; {missing} is missing")
    return ObjectLock(check_mode(retention_mode), until_ns_of(retain_until), bool(legal_hold))


def until_ns_of(until: datetime | int) -> int:
    """Return the end of a retention as nanoseconds.

    Raises
    ------
    InvalidInputError
        It has no time zone, is no time, or lies beyond 2262, where int64 nanoseconds end.
    """
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise InvalidInputError(
                f"retain_until {until} has no time zone; give one: datetime(…, tzinfo=timezone.utc)"
            )
        delta = until - _EPOCH
        found = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    elif isinstance(until, int) and not isinstance(until, bool):
        found = until
    else:
        raise InvalidInputError(
            f"retain_until is a datetime with a time zone or int nanoseconds since 1970, not {type(until).__name__}"
        )
    if not 0 < found <= UNTIL_NS_MAX:
        raise InvalidInputError(f"retain_until {until} is not between 1970 and {time_text(UNTIL_NS_MAX)}")
    return found


def add_period(from_ns: int, days: int, years: int) -> int:
    """Return `from_ns` plus whole days or years of the calendar; at most `UNTIL_NS_MAX`."""
    if not years:
        return min(from_ns + days * DAY_NS, UNTIL_NS_MAX)
    start = _EPOCH + timedelta(seconds=from_ns // 10**9)
    try:
        end = start.replace(year=start.year + years)
    except ValueError:  # 29 February
        end = start.replace(year=start.year + years, month=3, day=1)
    return min(int((end - _EPOCH) / timedelta(seconds=1)) * 10**9 + from_ns % 10**9, UNTIL_NS_MAX)


def exact_time_text(time_ns: int) -> str:
    """Return a time to the nanosecond, ISO 8601, UTC; texts of it compare as the times do."""
    return f"{(_EPOCH + timedelta(seconds=time_ns // 10**9)):%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09d}Z"


def time_text(time_ns: int) -> str:
    """Return a time as people read it: ISO 8601, UTC, to the second."""
    return (_EPOCH + timedelta(seconds=time_ns // 10**9)).strftime("%Y-%m-%dT%H:%M:%SZ")
