"""Sends a trail to one receiver, in a thread of its own.

Invariants: every record is sent at least once, in order: the cursor moves only after the receiver acknowledged, or
after the record stands among the dead letters; a record is dead only if the receiver refused it alone or by name;
nothing here is ever waited for by a writer; whatever fails is told in `status` and tried again, for days if need be;
one process at a time ships for a sink (a lock on a file), the others stand by.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.backoff import Backoff
from tickvault.audit.ship.batching import Batch, BatchLimits, next_batch
from tickvault.audit.ship.cursor import Cursor
from tickvault.audit.ship.dead_letters import DeadLetters
from tickvault.audit.ship.sink import BatchRefused, Sink, SinkRejected, SinkUnavailable
from tickvault.audit.ship.source import Source
from tickvault.audit.ship.status import ShipStatus, State
from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import Disk, FileLock, OsDisk, storage_error
from tickvault.seam.host import Host, LinuxHost

#: Folder of the cursors, dead letters and locks, within the vault's.
FOLDER = os.path.join("audit", "ship")
_ERROR_MAX = 1000
#: What a send under way is given to end by itself when the shipper is stopped.
_GRACE_S = 0.25


@dataclass(frozen=True, slots=True)
class ShipOptions:
    """How one sink is served."""

    limits: BatchLimits = field(default_factory=BatchLimits)
    backoff: Backoff = field(default_factory=Backoff)
    categories: frozenset[Category] | None = None
    """What is sent; None: everything."""
    poll_interval_s: float = 1.0
    """How often the trail is asked for new records where nobody calls `Shipper.wake`."""
    linger_s: float = 0.1
    """Wait after a wake, so that what comes in together goes out together."""
    dead_letters_in_row_max: int = 100
    """After so many without one acknowledgement between them it is the settings that are wrong, not the records: the
    sink waits, and nothing more is buried."""


class Shipper:
    """One sink's thread.

    Parameters
    ----------
    name : str
        Name of the sink; its files are called so.
    source : Source
        The trail.
    sink : Sink
        The receiver.
    vault_path : str
        Folder of the vault; the files lie in ``audit/ship`` in it.
    options : ShipOptions, optional
        Batches, waits, what is sent.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        sink: Sink,
        vault_path: str,
        options: ShipOptions | None = None,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        host: Host | None = None,
    ) -> None:
        self.name = name
        self._source, self._sink = source, sink
        self._options = options or ShipOptions()
        self._disk, self._clock, self._host = disk or OsDisk(), clock or SystemClock(), host or LinuxHost()
        self._folder = os.path.join(vault_path, FOLDER)
        self._cursor_path = os.path.join(self._folder, f"{name}.json")
        self._dead_letters = DeadLetters(os.path.join(self._folder, f"{name}.dead.jsonl"), self._disk)
        self._lock: FileLock | None = None
        self._cursor: Cursor | None = None
        self._count_max = self._options.limits.count_max
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._state = State.NEW
        self._sent_count = self._failures_in_row = self._dead_in_row = 0
        self._last_error, self._last_error_ns, self._last_success_ns, self._next_attempt_ns = "", 0, 0, 0

    def start(self) -> None:
        """Begin to ship; returns at once."""
        if self._thread is not None:
            raise InvalidInputError(f"sink {self.name}: was started already; make a new shipper to start again")
        self._thread = threading.Thread(target=self._run, name=f"ship-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there are new records; costs next to nothing and never waits."""
        self._woken.set()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the shipping; return whether it ended in time.

        A send under way is cut off; what it carried is sent again at the next start. Only the look-up of a host name
        cannot be cut off, and then the thread is left to end by itself.
        """
        self._stopping.set()
        self._woken.set()
        if self._thread is None:
            self._state = State.STOPPED
            return True
        self._thread.join(min(_GRACE_S, timeout_s))
        self._sink.interrupt()
        self._thread.join(max(0.0, timeout_s - _GRACE_S))
        return not self._thread.is_alive()

    def status(self) -> ShipStatus:
        """Return where this sink stands."""
        cursor = self._cursor
        if cursor is None:  # the process that ships keeps it
            with contextlib.suppress(Exception):
                cursor = self._load()
        done = cursor.sequence if cursor is not None else 0
        try:
            lag = max(0, self._source.last_sequence - done)
        except Exception:  # the trail's own trouble; the status is still told
            lag = -1
        return ShipStatus(
            name=self.name,
            kind=self._sink.kind,
            state=self._state,
            acknowledged_sequence=done,
            lag_count=lag,
            sent_count=self._sent_count,
            dead_letter_count=cursor.dead_letter_count if cursor is not None else 0,
            failures_in_row=self._failures_in_row,
            last_error=self._last_error,
            last_error_ns=self._last_error_ns,
            last_success_ns=self._last_success_ns,
            next_attempt_ns=self._next_attempt_ns,
        )

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except SinkUnavailable as error:
                    self._failed(State.RETRYING, str(error), error.retry_after_s)
                except (InvalidInputError, IntegrityError, FormatError) as error:
                    self._cursor = None  # read again: a person may mend the file meanwhile
                    self._failed(State.HALTED, str(error))
                except Exception as error:  # the thread must not end, whatever is wrong
                    self._failed(State.RETRYING, f"{type(error).__name__}: {error}")
        finally:
            self._end()

    def _turn(self) -> None:
        """Do one thing: take the lock, send one batch, or wait for records."""
        if not self._take_lock():
            self._state = State.STANDBY
            self._stopping.wait(self._options.poll_interval_s)
            return
        cursor = self._cursor
        if cursor is None:
            cursor = self._load()
            cursor.rewind(self._sink.rewind_count)
            self._cursor = cursor
        cursor.check(self._source)
        cursor.save()
        self._woken.clear()
        if self._stopping.is_set():  # its wake may be what was cleared
            return
        limits = self._options.limits
        limits = BatchLimits(min(self._count_max, limits.count_max), limits.bytes_max, limits.event_bytes_max)
        batch = next_batch(self._source, self._sink, cursor.sequence, limits, self._options.categories)
        if batch.through > cursor.sequence:
            self._state = State.SENDING if not self._failures_in_row else self._state
            self._deliver(cursor, batch)
            return
        self._state = State.IDLE
        self._failures_in_row, self._next_attempt_ns = 0, 0
        if self._woken.wait(self._options.poll_interval_s):
            self._stopping.wait(self._options.linger_s)

    def _deliver(self, cursor: Cursor, batch: Batch) -> None:
        rejections: Mapping[int, str] = {}
        if batch.events:
            try:
                self._sink.send(self._source.trail_id, batch.events)
            except SinkRejected as error:
                rejections = error.rejections
            except BatchRefused as error:
                if len(batch.events) > 1:
                    self._narrow(len(batch.events), error)
                    return
                rejections = {batch.events[0].record.sequence: str(error)}
        rejected = [(e.record, rejections[e.record.sequence]) for e in batch.events if e.record.sequence in rejections]
        dead = [*batch.dead, *rejected]
        acknowledged = len(batch.events) - len(rejected)
        self._bury(dead, acknowledged)
        self._sent_count += acknowledged
        self._count_max = min(self._count_max * 2, self._options.limits.count_max)
        self._failures_in_row, self._next_attempt_ns = 0, 0
        if acknowledged:
            self._last_success_ns = self._clock.now_ns()
        cursor.advance(batch.through, len(dead))

    def _bury(self, dead: Sequence[tuple[AuditRecord, str]], acknowledged: int) -> None:
        if acknowledged:
            self._dead_in_row = 0
        if not dead:
            return
        reason = f"record {dead[0][0].sequence}: {dead[0][1]}"
        if self._dead_in_row + len(dead) > self._options.dead_letters_in_row_max and not acknowledged:
            raise SinkUnavailable(
                f"{self._dead_in_row + len(dead)} records in a row were rejected and none was taken, which looks like "
                f"wrong settings here or at the receiver, not like wrong records; the last reason: {reason}"
            )
        now_ns = self._clock.now_ns()
        self._dead_letters.add(self._source.trail_id, dead, now_ns)
        self._dead_in_row += len(dead)
        self._note(f"{len(dead)} records went to {self._dead_letters.path}; {reason}", now_ns)

    def _narrow(self, count: int, error: BatchRefused) -> None:
        """Send less next time, until the event that is to blame stands alone."""
        good = error.good_count if error.good_count else count // 2
        self._count_max = max(1, min(good, count - 1))
        self._note(f"a batch of {count} was refused and is sent in parts: {error}", self._clock.now_ns())

    def _load(self) -> Cursor:
        return Cursor.load(self._cursor_path, self.name, self._source, self._disk)

    def _take_lock(self) -> bool:
        if self._lock is None:
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
            except OSError as error:
                raise storage_error(error, "make folder", self._folder) from error
            lock = FileLock(os.path.join(self._folder, f"{self.name}.lock"))
            if not lock.acquire(wait=False):
                lock.close()
                return False
            self._lock = lock
        return True

    def _failed(self, state: State, message: str, retry_after_s: float | None = None) -> None:
        if self._stopping.is_set():
            return
        self._failures_in_row += 1
        now_ns = self._clock.now_ns()
        self._note(message, now_ns)
        wait_s = self._options.backoff.wait_s(self._failures_in_row, self._host, retry_after_s)
        self._next_attempt_ns = now_ns + int(wait_s * 1e9)
        self._state = state
        with contextlib.suppress(Exception):
            self._sink.close()
        self._stopping.wait(wait_s)

    def _note(self, message: str, now_ns: int) -> None:
        self._last_error, self._last_error_ns = message[:_ERROR_MAX], now_ns

    def _end(self) -> None:
        with contextlib.suppress(Exception):
            if self._cursor is not None:
                self._cursor.save()
        with contextlib.suppress(Exception):
            self._sink.close()
        if self._lock is not None:
            self._lock.close()
        self._state = State.STOPPED
