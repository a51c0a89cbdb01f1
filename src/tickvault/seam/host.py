"""What identifies the machine and process that hold a vault open.

Invariants: `boot_id` changes at every boot, so that state kept only in the page cache is never believed after one;
`pid_namespace` differs between containers, whose process ids mean nothing to each other.
"""

from __future__ import annotations

import os
import uuid
from typing import Protocol


class Host(Protocol):
    """Identity of the running kernel and of this process's view of it."""

    def boot_id(self) -> bytes:
        """Return 16 bytes that change at every boot."""

    def pid_namespace(self) -> int:
        """Return the inode of this process's PID namespace."""

    def random_u64(self) -> int:
        """Return an unpredictable integer in [1, 2**64)."""


class LinuxHost:
    """The kernel under this process."""

    def boot_id(self) -> bytes:
        """Return the kernel's random boot id."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            return uuid.UUID(file.read().strip()).bytes

    def pid_namespace(self) -> int:
        """Return the inode behind ``/proc/self/ns/pid``."""
        return os.stat("/proc/self/ns/pid").st_ino

    def random_u64(self) -> int:
        """Return eight bytes of the kernel's randomness, never zero."""
        return int.from_bytes(os.urandom(8), "little") or 1
