"""Lifecycle rules applied, and space freed, from time to time, while a server runs.

Invariants: of all processes with the vault open at most one runs them, held by a lock on a file that the kernel drops
with the process; a run that fails is reported and the next one is made all the same; stopping waits for the run in
progress.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from tickvault.engine.compaction import CompactionReport, compact
from tickvault.errors import TickVaultError
from tickvault.objects.lifecycle import LifecycleReport, run_lifecycle
from tickvault.seam.disk import FileLock

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

LOCK_FILE = "lifecycle.lock"
INTERVAL_S = 3600.0


class LifecycleRunner:
    """A thread that applies the lifecycle rules and compacts, at once and then every `interval_s` seconds.

    Any number of processes may start one on the same vault; the first has the work until it ends, then another.

    Parameters
    ----------
    store : ObjectStore
        Kept open by the caller until `stop` returned.
    interval_s : float
        Seconds between the end of one run and the beginning of the next.
    """

    def __init__(self, store: ObjectStore, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.run_count = 0
        """Runs that this process made."""
        self.last_report: LifecycleReport | None = None
        """Of the last run in this process; None before its end, and where another process runs them."""
        self.last_error: TickVaultError | None = None
        """What ended the last run early; None if it came to its end."""
        self.last_compaction: CompactionReport | None = None
        """What the last run freed."""

    def __enter__(self) -> Self:
        """Start, and return the runner."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start the thread; once is enough."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._serve, name="tickvault-lifecycle", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread after the run in progress, and leave the work to other processes."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        lock = FileLock(os.path.join(self._store.path, LOCK_FILE))
        try:
            holds = False
            while not self._stop.is_set():
                holds = holds or lock.acquire(wait=False)
                if holds:
                    self._run()
                if self._stop.wait(self._interval_s):
                    return
        finally:
            lock.close()

    def _run(self) -> None:
        try:
            self.last_report = run_lifecycle(self._store)
            self.last_error = None
        except TickVaultError as error:
            # Listing the buckets failed: the vault is busy, or its disk is in trouble. Later it may not be.
            self.last_error = error
        try:
            self.last_compaction = compact(self._store.engine)
        except TickVaultError as error:
            # Another process compacts, verifies or takes a backup, or there is damage that `verify` will name.
            self.last_error = self.last_error or error
        self.run_count += 1
