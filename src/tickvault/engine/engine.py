"""The engine: bytes made durable, and found again.

`Engine` is the handle of one open vault in one process.  It knows records, batches, segments and an ordered index; what
a record means is told by the `Interpreter` of the layer above.

Invariants: one engine per vault and process (``objects.store`` sees to it); a forked child reopens at first use and
never touches what it inherited; closing waits for the commits that were begun.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tickvault.engine import recovery
from tickvault.engine.attribution import Caller
from tickvault.engine.bodies import BodyWriter
from tickvault.engine.checkpoint import run_checkpoint
from tickvault.engine.commit import Change, Committer, Operation, Transaction, poisoned
from tickvault.engine.control import ControlPage
from tickvault.engine.format import FORMAT_VERSION, create_format, prepare_folder, read_format, upgrade_format
from tickvault.engine.index import Index, Snapshot, Tail, forget_open_environments
from tickvault.engine.interpreter import Interpreter
from tickvault.engine.manifest import SegmentKind
from tickvault.engine.record import Buffer, aligned
from tickvault.engine.segments import MIB, SEGMENT_HEADER_SIZE, Segments
from tickvault.engine.stand_ins import ClosedEnvironment, ForkedEnvironment
from tickvault.engine.upkeep import Upkeep
from tickvault.errors import BusyError, DiskFullError, LockedError, TickVaultError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import Disk, FileLock, OsDisk, SyncError
from tickvault.seam.host import Host, LinuxHost

Result = TypeVar("Result")
Progress = Callable[[int, int, str], None]
#: Times a process yields to others that wait before it takes the commit lock again: about 200 µs.
_YIELDS_MAX = 200
#: Size of a segment made from the reserve, bytes: the rest of the reserve is for the index.
_SMALL_SEGMENT = 256 * 1024
Guard = Callable[[Transaction, Change], None]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits of an engine; the defaults are for production, tests make them small."""

    segment_size_first: int = 4 * MIB
    segment_size_max: int = 1024 * MIB
    body_segment_size_max: int = 1024 * MIB
    checkpoint_entries: int = 100_000
    relaxed_sync_ms: int = 100
    """A relaxed write is on the disk at most about this long after it was acknowledged."""
    switch_interval_s: float = 0.0005
    """Upper bound set for Python's thread switch interval, so that a busy thread cannot hold the commit lock up."""
    background: bool = True


class Engine:
    """One open vault in one process. Make it with `Engine.open`."""

    def __init__(
        self,
        path: str,
        interpreter: Interpreter,
        options: EngineOptions,
        disk: Disk,
        clock: Clock,
        host: Host,
    ) -> None:
        self.path = path
        self.interpreter = interpreter
        self.apply = interpreter.apply
        self.options = options
        self.disk = disk
        self.clock = clock
        self.host = host
        self.guards: list[Guard] = []
        self.observers: list[Guard] = []
        self.on_refusal: Callable[[Caller, LockedError], None] | None = None
        """Given whose operation a guard refused, and why; called inside the commit, and must be short."""
        self.holds: list[Callable[[], int]] = []
        """Each returns the number of the first journal segment that compaction must leave alone."""
        self.rounds: list[Callable[[], None]] = []
        """Called about once a second by the upkeep, outside every lock."""
        self.report = recovery.RecoveryReport()
        self.closed = False
        self._pid = 0

    # -- opening and closing

    @classmethod
    def open(
        cls,
        path: str,
        interpreter: Interpreter,
        *,
        create: bool = True,
        rebuild: bool = False,
        options: EngineOptions | None = None,
        disk: Disk | None = None,
        clock: Clock | None = None,
        host: Host | None = None,
        progress: Progress | None = None,
    ) -> Engine:
        """Open the vault in folder `path`.

        Parameters
        ----------
        create : bool
            Make the vault if it is missing; otherwise raise `NotFoundError`.
        rebuild : bool
            Throw the index away and build it from the segments; needs to be the only opener (`BusyError`).

        Raises
        ------
        FormatError
            The folder is no vault, or was written by a newer release, or is open in another PID namespace.
        IntegrityError
            A segment or the manifest is missing or damaged beyond what recovery can walk around.
        """
        engine = cls(
            os.path.abspath(path),
            interpreter,
            options or EngineOptions(),
            disk or OsDisk(),
            clock or SystemClock(),
            host or LinuxHost(),
        )
        prepare_folder(engine.path, create=create)
        engine._open(rebuild, progress)
        if engine.options.switch_interval_s < sys.getswitchinterval():
            sys.setswitchinterval(engine.options.switch_interval_s)
        _engines.add(engine)
        return engine

    def _open(self, rebuild: bool, progress: Progress | None) -> None:
        self._pid = os.getpid()
        self._open_lock = FileLock(os.path.join(self.path, "open.lock"))
        self._use_lock = FileLock(os.path.join(self.path, "use.lock"))
        self._open_lock.acquire()
        try:
            found = read_format(self.path)
            if found is None:
                found = create_format(self.path)
                self.disk.sync_directory(self.path)
                self.disk.sync_directory(os.path.dirname(self.path))
            self.vault_id = found.vault_id
            self.created_ns = found.created_ns
            alone = self._use_lock.acquire(wait=False)
            if found.version < FORMAT_VERSION:
                if not alone:
                    raise BusyError(
                        f"{self.path} has vault format {found.version} and is open elsewhere; this release brings it "
                        f"to format {FORMAT_VERSION}, which needs it closed everywhere once"
                    )
                upgrade_format(self.path, found)
                self.disk.sync_directory(self.path)
            self.control = ControlPage(os.path.join(self.path, "control"))
            self.index = Index(self.path)
            self.segments = Segments(
                self.path,
                self.disk,
                self.clock,
                self.vault_id,
                self.options.segment_size_first,
                self.options.segment_size_max,
                self.control.poison,
            )
            self._checkpoint_lock = FileLock(os.path.join(self.path, "checkpoint.lock"))
            self._checkpoint_mutex = threading.Lock()
            self._maintenance_lock = threading.Lock()
            if alone:
                self.report = recovery.open_exclusive(self, rebuild=rebuild, progress=progress)
                self._use_lock.acquire(shared=True)
            elif rebuild:
                raise BusyError(f"{self.path} is open elsewhere; close it everywhere to rebuild its index")
            else:
                self._use_lock.acquire(shared=True)
                self.control.join(self.host.boot_id(), self.host.pid_namespace(), self.path)
                self.segments.manifest.load(exclusive=False)
                self.index.open()
            self.segments.keep_reserve()
            if not self.report.damage:
                self.report.damage = recovery.known_damage(self)
        except BaseException:
            self._abandon()
            raise
        finally:
            self._open_lock.release()
        self._generation = self.control.generation
        self._slot = self.control.wait_slot(self._pid)
        self._last_commit = b""
        self._bodies: BodyWriter | None = None
        self._committer = Committer(self)
        self.upkeep = Upkeep(self)
        # What a killed process left unsynced is ours to sync now.
        self.unsynced = self.control.unsynced
        self._entries = int(self.index.recent.stat()["entries"])
        self.closed = False
        if self.unsynced:
            self.upkeep.wake()

    def _abandon(self) -> None:
        """Close what a failed opening had opened."""
        if hasattr(self, "index"):
            self.index.close()
        if hasattr(self, "segments"):
            self.segments.close()
        if hasattr(self, "control"):
            self.control.close()
        self._use_lock.close()

    def close(self) -> None:
        """Finish commits, checkpoint if nobody else is left, and close the files."""
        if self.closed:
            return
        if os.getpid() != self._pid:
            self.closed = True
            return
        self._committer.close()
        self.upkeep.stop()
        self.closed = True
        if self._bodies is not None:
            self._bodies.close()
        try:
            if self.unsynced:
                self.sync()
            self._open_lock.acquire()
            alone = self._use_lock.acquire(wait=False)
            if alone and not self.control.poisoned:
                recovery.clear_uncommitted(self)
                self.checkpoint()
        except (SyncError, TickVaultError):
            # The next opener replays from the last checkpoint; nothing is lost by not making one now.
            pass
        finally:
            self.index.close()
            self.index.recent = self.index.index = ClosedEnvironment(self.path)
            self.segments.close()
            self.control.close()
            self._checkpoint_lock.close()
            self._use_lock.close()
            self._open_lock.close()
            _engines.discard(self)

    # -- changing

    def commit(self, operation: Operation[Result]) -> Result:
        """Run an operation in a commit and return its result once it is durable."""
        return self._committer.commit(operation)

    def submit(self, operation: Operation[Any], on_done: Callable[[Operation[Any]], None]) -> None:
        """Queue an operation; `on_done` is called from the committer thread."""
        self._committer.submit(operation, on_done)

    def check_writable(self) -> None:
        """Raise `PoisonedError` if a sync failed since the vault was opened."""
        if self.control.poisoned:
            raise poisoned("earlier, in this or another process")

    def write_batch(self, segment_id: int, offset: int, pieces: Sequence[Buffer], *, strict: bool) -> None:
        """Write a batch; a strict one is then on its way to the disk, and `sync_batch` follows. Inside a commit."""
        fd = self.segments.fd(segment_id)
        if strict:
            self.disk.write_on_its_way(fd, pieces, offset)
            return
        self.control.unsynced = True
        self.disk.pwritev(fd, pieces, offset)
        if not self.unsynced:
            self.unsynced = True
            self.upkeep.wake()

    def sync_batch(self, segment_id: int, end: int, batch_id: int) -> None:
        """Make durable what was written up to `end`: relaxed batches that lie before too. Inside a commit."""
        state = self.control.synced_state(segment_id, end, batch_id)
        try:
            self.disk.sync(self.segments.fd(segment_id))
        except SyncError:
            self.control.poison()
            raise
        self.control.unsynced = False
        self.control.set_synced_state(state)

    def take_turn(self) -> Any:
        """Begin the write transaction that is the commit lock, letting a process that waited longer go first."""
        control = self.control
        if control.commits == self._last_commit and control.somebody_waits():
            for _ in range(_YIELDS_MAX):
                os.sched_yield()
                if control.commits != self._last_commit:
                    break
            else:
                # Nobody came: the byte was left by a process that was killed while it waited.
                control.clear_waiting()
        control.set_waiting(self._slot, True)
        try:
            return self.index.recent.begin(write=True)
        finally:
            control.set_waiting(self._slot, False)

    def roll(self, tail: Tail, needed: int, *, frees: bool) -> Tail:
        """Start the next journal segment. Called inside a commit.

        The old segment is synced first, so that an unsynced tail never hides a strict record behind it. What `frees`
        space may use the reserve for it.
        """
        fd = self.segments.fd(tail.segment_id)
        try:
            self.disk.sync(fd)
        except SyncError:
            self.control.poison()
            raise
        self.control.unsynced = False
        self.control.set_synced(tail.segment_id, tail.offset, tail.batch_id)
        least = aligned(SEGMENT_HEADER_SIZE + needed)
        size = max(self.segments.next_size(tail.segment_end), least)
        try:
            entry = self.segments.create(SegmentKind.JOURNAL, size, tail.epoch, tail.sequence, tail.batch_id)
        except DiskFullError:
            # The last of the space goes to what fits.
            try:
                entry = self.segments.create(SegmentKind.JOURNAL, least, tail.epoch, tail.sequence, tail.batch_id)
            except DiskFullError:
                if not frees or not self.segments.give_up_reserve():
                    raise
                size = max(least, _SMALL_SEGMENT)
                entry = self.segments.create(SegmentKind.JOURNAL, size, tail.epoch, tail.sequence, tail.batch_id)
        self.segments.release_fd(tail.segment_id)
        return tail._replace(
            segment_id=entry.segment_id, offset=SEGMENT_HEADER_SIZE, segment_end=entry.size_bytes, written_end=0
        )

    def committing(self, record_count: int) -> None:
        """Note a commit about to be written, under the commit lock; wake the upkeep when there is work for it."""
        self._entries += record_count
        self.control.count_commit()
        self._last_commit = self.control.commits
        self.upkeep.start()
        if self.checkpoint_due:
            self.upkeep.wake()

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough has gathered in `recent` for a checkpoint."""
        return self._entries >= self.options.checkpoint_entries

    def bodies(self) -> BodyWriter:
        """Return this process's writer of body segments."""
        self.ready()
        if self._bodies is None:
            with self._maintenance_lock:
                if self._bodies is None:
                    self._bodies = BodyWriter(self)
        return self._bodies

    # -- reading

    def snapshot(self) -> Snapshot:
        """Open one point in time of the index; use ``with``, and not for long."""
        return self.index.snapshot()

    def tail(self) -> Tail:
        """Return where the journal ends now."""
        with self.snapshot() as snapshot:
            return snapshot.tail

    # -- upkeep

    def sync(self) -> None:
        """Make relaxed writes durable now."""
        self.ready()
        tail = self.tail()
        self.unsynced = False
        try:
            self.disk.sync(self.segments.fd(tail.segment_id))
        except SyncError as error:
            self.control.poison()
            raise poisoned(error) from error
        self.note_synced(tail)

    def note_synced(self, tail: Tail) -> None:
        """Note that everything up to `tail` is on the disk; a later failure of a sync cannot take it back."""
        txn = self.index.recent.begin(write=True)
        try:
            if not self.control.poisoned and self.control.synced()[:2] < (tail.segment_id, tail.offset):
                self.control.set_synced(tail.segment_id, tail.offset, tail.batch_id)
        finally:
            txn.abort()

    def checkpoint(self, *, wait: bool = False) -> int:
        """Move what `recent` holds into `index`, durably; return how many entries.

        If another process or thread is at it, return 0, or wait for it and run one more.
        """
        self.ready()
        with self._checkpoint_mutex:
            return self._checkpoint(wait)

    def _checkpoint(self, wait: bool) -> int:
        if not self._checkpoint_lock.acquire(wait=wait):
            return 0
        try:
            self._entries = 0
            return run_checkpoint(self)
        finally:
            self._checkpoint_lock.release()

    # -- fork

    def _after_fork(self) -> None:
        """In a forked child: let go of everything inherited, and reopen at first use."""
        for environment in (self.index.recent, self.index.index):
            if environment is not None and not isinstance(environment, ForkedEnvironment):
                # Its destructor would free the parent's reader slots: it must never run here.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(environment))
        # Closing a descriptor here leaves the parent's lock alone: it lives as long as the parent's descriptor.
        self._open_lock.close()
        self._use_lock.close()
        self._checkpoint_lock.close()
        self.segments.after_fork()
        if self.closed:
            return
        self.index = Index(self.path)
        self.index.recent = ForkedEnvironment(lambda: self._reopened().recent)
        self.index.index = ForkedEnvironment(lambda: self._reopened().index)
        self._committer = Committer(self)
        self._maintenance_lock = threading.Lock()
        self._checkpoint_mutex = threading.Lock()
        self.upkeep = Upkeep(self)
        self._bodies = None

    def ready(self) -> None:
        """In a forked child, reopen the vault; what uses more than the index calls this first."""
        if isinstance(self.index.recent, ForkedEnvironment):
            self._reopened()

    def _reopened(self) -> Index:
        with _reopen_lock:
            if isinstance(self.index.recent, ForkedEnvironment):
                self._open(False, None)
        return self.index


_reopen_lock = threading.Lock()
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    global _reopen_lock
    _reopen_lock = threading.Lock()
    if _engines:
        forget_open_environments()
    for engine in list(_engines):
        engine._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
