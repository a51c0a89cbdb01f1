"""Waiting for a number in shared memory to change, across processes, without polling (Linux futex).

Invariants: a waiter returns when it was woken, when the number is no longer what it expected, when a signal came, or
when its time is up; nobody is told which, and everybody looks again.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Any

_SYSCALL_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
_WAIT, _WAKE = 0, 1
_EVERYBODY = 2**31 - 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


# Waiting gives up the interpreter's lock; waking takes less time than giving it up would.
_waiting: Any = ctypes.CDLL(None, use_errno=True).syscall
_waking: Any = ctypes.PyDLL(None).syscall


class SharedWord:
    """An unsigned 32-bit number in a shared mapping.

    Parameters
    ----------
    mapping : mmap
        Writable and shared; cannot be closed before `close`.
    offset : int
        Of the number, a multiple of 4.
    """

    def __init__(self, mapping: mmap.mmap, offset: int) -> None:
        number = _SYSCALL_NUMBERS.get(platform.machine())
        if number is None:
            raise OSError(f"waiting on shared memory is not known on {platform.machine()}")
        self._number = ctypes.c_long(number)
        self._word = ctypes.c_uint32.from_buffer(mapping, offset)
        self._address = ctypes.c_void_p(ctypes.addressof(self._word))

    @property
    def value(self) -> int:
        """The number as it is now."""
        return self._word.value

    def bump(self) -> None:
        """Change the number; the caller sees to it that nobody else does at the same time."""
        self._word.value = (self._word.value + 1) & 0xFFFFFFFF

    def wake(self) -> None:
        """Wake all that wait."""
        _waking(self._number, self._address, _WAKE, _EVERYBODY, None, None, 0)

    def wait(self, expected: int, timeout_s: float) -> None:
        """Wait while the number is as expected, at most so long."""
        seconds = int(timeout_s)
        limit = _Timespec(seconds, int((timeout_s - seconds) * 1e9))
        _waiting(self._number, self._address, _WAIT, ctypes.c_uint32(expected), ctypes.byref(limit), None, 0)

    def close(self) -> None:
        """Let go of the mapping."""
        self._address = ctypes.c_void_p(0)
        del self._word
