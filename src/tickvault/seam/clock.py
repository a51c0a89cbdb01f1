"""Time, as a value that tests can replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and a monotonic time, both in nanoseconds."""

    def now_ns(self) -> int:
        """Return the wall time, int64 nanoseconds since the epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, for waits."""


class SystemClock:
    """The clock of this machine."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
