"""The page that all who use a series' journal share: how far it is valid, and who waits for more.

It lives in the page cache. After a boot, or when it is gone, whoever appends next makes it anew from the files; until
then readers walk the files themselves.

Invariants: what it says is written under the series' lock only; its checksum tells a reader that it saw half of a
change, who then looks again; it never runs ahead of what is durable in a strict journal.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import NamedTuple

from crc32c import crc32c

from tickvault.seam.disk import shared_page
from tickvault.seam.futex import SharedWord

_PAGE = 4096
_MAGIC = b"TVJSTAT1"
_BOOT = struct.Struct("<8s16s16s")
_STATE = struct.Struct("<qQQqII")
_AT, _CRC_AT = 64, 64 + _STATE.size - 4
_WORD = 128
_WAITING, _WAITING_SLOTS = 1024, 3072
_TRIES = 1000


class Extent(NamedTuple):
    """How far a journal is valid."""

    base: int
    """Of the file that is appended to; -1 if there is none."""
    end: int
    """Valid bytes of that file."""
    next_sequence: int
    stamp: int
    """Last commit time given, int64 ns."""
    flags: int = 0


PENDING = 1
"""A frame that names parts may follow `end`, and the commit of its parts may have happened."""
FAILED = 2
"""A write or sync failed: nothing is appended to this file any more."""
UNSYNCED = 4
"""Relaxed appends lie before `end` that no sync is known to have covered: a strict one syncs them too."""


class StatePage:
    """The page of one series."""

    def __init__(self, path: str) -> None:
        self._map = shared_page(path, _PAGE)
        self.word = SharedWord(self._map, _WORD)
        self._slot = _WAITING + os.getpid() % _WAITING_SLOTS
        self._waiting_here = 0
        self._mutex = threading.Lock()

    def close(self) -> None:
        """Unmap the page."""
        self.word.close()
        self._map.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child, which waits under its own id."""
        self._mutex = threading.Lock()
        self._slot = _WAITING + os.getpid() % _WAITING_SLOTS
        self._waiting_here = 0

    def journal_id(self, boot_id: bytes) -> str | None:
        """Return the journal's id; None if the page is of another boot and says nothing."""
        magic, boot, raw = _BOOT.unpack_from(self._map, 0)
        if magic != _MAGIC or boot != boot_id:
            return None
        return str(raw.rstrip(b"\0").decode("ascii", "replace"))

    def begin(self, boot_id: bytes, journal_id: str, extent: Extent) -> None:
        """Take the page over after a boot; under the series' lock."""
        self._map[_BOOT.size : 1024] = bytes(1024 - _BOOT.size)
        self.publish(extent)
        _BOOT.pack_into(self._map, 0, _MAGIC, boot_id, journal_id.encode())

    def read(self) -> Extent | None:
        """Return how far the journal is valid; None if the page is damaged."""
        for _ in range(_TRIES):
            raw = self._map[_AT : _AT + _STATE.size]
            base, end, sequence, stamp, flags, crc = _STATE.unpack(raw)
            if crc32c(raw[:-4]) == crc:
                return Extent(base, end, sequence, stamp, flags)
        return None

    def publish(self, extent: Extent) -> None:
        """Say how far the journal is valid; under the series' lock."""
        raw = _STATE.pack(*extent, 0)[:-4]
        self._map[_AT : _AT + _STATE.size] = raw + crc32c(raw).to_bytes(4, "little")
        self.word.bump()

    # -- who waits

    def wake(self) -> None:
        """Wake those who wait, if anybody does; after the lock was given back."""
        if self._map.find(b"\x01", _WAITING, _WAITING + _WAITING_SLOTS) >= 0:
            self.word.wake()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Wait until `word` is no longer what was seen; a caller that was woken looks again."""
        with self._mutex:
            self._waiting_here += 1
            self._map[self._slot] = 1
        try:
            self.word.wait(seen, timeout_s)
        finally:
            with self._mutex:
                self._waiting_here -= 1
                if not self._waiting_here:
                    # Another process of the same slot would be woken late, by its own timeout.
                    self._map[self._slot] = 0
