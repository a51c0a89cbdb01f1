"""Time, as a value that tests can replace."""

from __future__ import annotations

import ctypes
import functools
import os
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

    def error_ns(self) -> int:
        """Return the largest error of the wall clock as the kernel knows it; -1 where it does not know."""


class SystemClock:
    """The clock of this machine."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME as the machine counts it, whatever this process's time namespace makes of it."""
        return _counted_ns()

    def error_ns(self) -> int:
        """Return the kernel's ``maxerror`` (adjtimex); -1 where the clock is not synchronised."""
        return _clock_error_ns()


class _Timex(ctypes.Structure):
    """``struct timex`` of <sys/timex.h>, as far as it is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_byte * 512),
    )


_STA_UNSYNC = 0x40
_TIME_ERROR = 5


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _clock_error_ns() -> int:
    found = _Timex()  # modes 0: only ask
    try:
        state = _libc().adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return -1
    if state in (-1, _TIME_ERROR) or found.status & _STA_UNSYNC:
        return -1
    return int(found.maxerror) * 1000


#: Inode of the time namespace that the kernel starts with (PROC_TIME_INIT_INO): its clocks have no offset.
_FIRST_NAMESPACE = 0xEFFFFFFA


def _counted_ns() -> int:
    """Return CLOCK_BOOTTIME less the offset of this process's time namespace; 0 where that cannot be known.

    ``/proc/self/timens_offsets`` tells of the namespace that children will be in, so it is believed only where that is
    the same. Asked each time: a fork, or a call to unshare, changes it.
    """
    counted = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    try:
        own = os.stat("/proc/self/ns/time").st_ino
    except FileNotFoundError:
        return counted  # a kernel without time namespaces
    if own == _FIRST_NAMESPACE:
        return counted
    if os.stat("/proc/self/ns/time_for_children").st_ino != own:
        return 0
    with open("/proc/self/timens_offsets", encoding="ascii") as file:
        for line in file:
            clock, seconds, nanoseconds = line.split()
            if clock in ("boottime", "7"):
                return counted - (int(seconds) * 1_000_000_000 + int(nanoseconds))
    return 0
