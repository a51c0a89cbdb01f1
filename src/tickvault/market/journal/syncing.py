"""Relaxed journals reach the disk a moment after the append, on a thread of their own.

Invariants: a frame of a relaxed journal is synced within about `PERIOD_S` of its append, while its process lives; a
sync that fails poisons the vault.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from tickvault.errors import TickVaultError

if TYPE_CHECKING:
    from tickvault.market.journal.appender import SeriesJournal

PERIOD_S = 0.1


class Syncer:
    """Syncs the journals that it is told of."""

    def __init__(self) -> None:
        self._dirty: set[SeriesJournal] = set()
        self._work = threading.Event()
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def after_fork(self) -> None:
        """Begin anew in a forked child, which has none of its parent's threads."""
        self._mutex = threading.Lock()
        self._dirty = set()
        self._thread = None

    def note(self, journal: SeriesJournal) -> None:
        """Sync a journal soon; called once for all appends until then."""
        with self._mutex:
            self._dirty.add(journal)
            if self._thread is None or self._pid != os.getpid():
                # A forked child has none of its parent's threads.
                self._pid = os.getpid()
                self._work, self._stop = threading.Event(), threading.Event()
                self._thread = threading.Thread(target=self._run, name="tickvault-journal-sync", daemon=True)
                self._thread.start()
        self._work.set()

    def _run(self) -> None:
        work, stop = self._work, self._stop
        while not stop.is_set():
            work.wait()
            stop.wait(PERIOD_S)
            work.clear()
            self.sync()

    def sync(self) -> None:
        """Sync what was noted."""
        with self._mutex:
            dirty, self._dirty = self._dirty, set()
        for journal in dirty:
            try:
                journal.sync()
            except TickVaultError:
                # The vault is poisoned: the next append tells.
                continue

    def close(self) -> None:
        """Sync what is left, and end."""
        thread = self._thread if self._pid == os.getpid() else None
        self._stop.set()
        self._work.set()
        if thread is not None:
            thread.join()
        self._thread = None
        self.sync()
