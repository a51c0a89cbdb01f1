"""Upkeep in the background: syncing relaxed writes, checkpoints, the next segment.

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
#: Part of the current segment that is used when making the next one becomes urgent.
_URGENT_FILL = 0.7


class Upkeep:
    """The two background threads of one engine: one for what is due soon, one for writing the next segment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._prepare = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, if they are wanted and not running."""
        if self._threads or not self._engine.options.background or self._stop.is_set():
            return
        with self._lock:
            if not self._threads:
                self._prepare.set()
                for name, target in (("tickvault-upkeep", self._rounds), ("tickvault-prepare", self._prepares)):
                    thread = threading.Thread(target=target, name=name, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def wake(self) -> None:
        """Ask for a round now."""
        self.start()
        self._wake.set()

    def prepare_next(self) -> None:
        """Ask for the next segment."""
        self.start()
        self._prepare.set()

    def stop(self) -> None:
        """Stop the threads and wait for them."""
        self._stop.set()
        self._wake.set()
        self._prepare.set()
        for thread in self._threads:
            thread.join()

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
                if engine.control.generation != generation:
                    generation = engine.control.generation
                    engine.segments.forget_retired()
            except TickVaultError:
                # Poisoned, full or busy: the next commit tells its caller.
                continue

    def _prepares(self) -> None:
        engine = self._engine
        while not self._stop.is_set():
            self._prepare.wait()
            self._prepare.clear()
            if self._stop.is_set():
                return
            try:
                size = engine.segments.next_size(engine.tail().segment_end)
                engine.segments.prepare(size, self._stop, self._urgent)
            except TickVaultError:
                continue

    def _urgent(self) -> bool:
        tail = self._engine.tail()
        return tail.offset > _URGENT_FILL * tail.segment_end
