"""Upkeep in the background: syncing relaxed writes, checkpoints, forgetting retired segments.

Invariants: nothing acknowledged waits for it except a relaxed write for its sync; an error here is met again, and told,
by whoever commits next; it never holds a lock while it waits.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tickvault.errors import TickVaultError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

#: Seconds between rounds when nothing asks for one.
_ROUND_S = 1.0


class Upkeep:
    """The background thread of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if it is wanted and not running."""
        if self._thread is not None or not self._engine.options.background or self._stop.is_set():
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._rounds, name="tickvault-upkeep", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Ask for a round now."""
        self.start()
        self._wake.set()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _rounds(self) -> None:
        engine = self._engine
        generation = engine.control.generation
        while not self._stop.is_set():
            self._wake.wait(_ROUND_S)
            self._wake.clear()
            if engine.unsynced and self._stop.wait(engine.options.relaxed_sync_ms / 1000):
                return
            if self._stop.is_set():
                return
            try:
                if engine.unsynced:
                    engine.sync()
                if engine.checkpoint_due:
                    engine.index.check_readers()
                    engine.checkpoint()
                for call in engine.rounds:
                    call()
                engine.segments.keep_reserve()
                if engine.control.generation != generation:
                    generation = engine.control.generation
                    engine.segments.forget_retired()
            except TickVaultError:
                # Poisoned, full or busy: the next commit tells its caller.
                continue
