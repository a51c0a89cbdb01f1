"""Time, as a value that tests can replace."""

from __future__ import annotations

import functools
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and a monotonic time, both in nanoseconds."""

    def now_ns(self) -> int:
        """Return the wall time, int64 nanoseconds since the epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, for waits."""

    def boottime_ns(self) -> int:
        """Return the time since the machine was started, which nobody can set, with the time it slept."""


class SystemClock:
    """The clock of this machine."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME less the offset of this process's time namespace, which root may choose freely."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _namespace_offset_ns()


@functools.cache
def _namespace_offset_ns() -> int:
    """Return by how much this time namespace's CLOCK_BOOTTIME is off, from ``/proc/self/timens_offsets``.

    A process cannot leave its time namespace after it has started a thread or run a program, so it is asked once.
    """
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as file:
            for line in file:
                clock, seconds, nanoseconds = line.split()
                if clock in ("boottime", "7"):
                    return int(seconds) * 1_000_000_000 + int(nanoseconds)
    except (OSError, ValueError):
        pass  # a kernel without time namespaces
    return 0
