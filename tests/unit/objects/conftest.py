"""A vault with a clock that stands still until it is told, and a bucket in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket

DAY_NS = 86_400 * 10**9
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2


class StandingClock:
    """Wall time at noon of some day, moved by hand."""

    def __init__(self) -> None:
        self.time_ns = NOON_NS
        self.counted_ns = 10**15
        """Since the machine was started; goes on with the days that pass, not with a clock that is set."""

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        return self.counted_ns

    def error_ns(self) -> int:
        return 1_000_000

    def pass_days(self, days: float) -> None:
        self.time_ns += int(days * DAY_NS)
        self.counted_ns += int(days * DAY_NS)

    def set_forward_days(self, days: float) -> None:
        """Set the wall clock, as an administrator can; negative days set it back."""
        self.time_ns += int(days * DAY_NS)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def vault(tmp_path: Path, clock: StandingClock) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data", clock=clock) as opened:
        yield opened


@pytest.fixture
def bucket(vault: tv.Vault) -> Bucket:
    """A bucket without versions."""
    return vault.create_bucket("raw")


@pytest.fixture
def versioned(vault: tv.Vault) -> Bucket:
    """A bucket that keeps versions."""
    return vault.create_bucket("kept", versioning=True)
