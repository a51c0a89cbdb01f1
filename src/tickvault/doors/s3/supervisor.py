"""The parent of the S3 door's workers.

Invariants: the parent never opens the store, and forks before anything else of it does; it holds the port
with a socket that does not listen, so that every connection belongs to a worker and a worker that dies is
replaced without anyone else taking the port; workers stop when the parent tells them to and also when it is
gone; a worker that keeps dying is restarted at most every `RESTART_DELAY_MAX_S`.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import selectors
import signal
import socket
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from tickvault import errors
from tickvault.doors.s3.door import Door
from tickvault.doors.s3.listening import bind_like
from tickvault.doors.s3.worker import DoorOptions, run_worker, tune_interpreter
from tickvault.errors import StorageError, TickVaultError
from tickvault.objects.lifecycle_runner import LifecycleRunner
from tickvault.objects.store import ObjectStore

log = logging.getLogger("tickvault.s3")

RESTART_DELAY_S = 0.1
RESTART_DELAY_MAX_S = 10.0
#: A worker that lived this long is restarted at once when it dies.
STABLE_AFTER_S = 60.0
_STOP_MARGIN_S = 5.0
_COUNTER_COUNT = 8


class Counters(NamedTuple):
    """What all workers have done so far."""

    requests: int
    objects_read: int
    objects_written: int
    bytes_in: int
    bytes_out: int
    client_errors: int
    """Answers with a status of 400 to 499."""
    server_errors: int
    connections: int
    """Open now; the others only grow."""


class _Worker:
    __slots__ = ("delay_s", "index", "pid", "ready", "report", "report_fd", "restart_at", "started_at")

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.ready = False
        self.report = b""
        self.report_fd = -1
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.delay_s = RESTART_DELAY_S


class Supervisor:
    """Starts, watches and stops the workers."""

    def __init__(
        self,
        store_path: str,
        open_store: Callable[[str], Any],
        options: DoorOptions,
        placeholder: socket.socket,
        count: int,
    ) -> None:
        self._store_path = store_path
        self._open_store = open_store
        self._options = options
        self._placeholder = placeholder
        self._workers = [_Worker(index) for index in range(count)]
        self._counters = mmap.mmap(-1, count * _COUNTER_COUNT * 8)
        self._selector = selectors.DefaultSelector()
        self._alive_read, self._alive_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._failure: TickVaultError | None = None
        self._kill_at: float | None = None
        self._announced = False

    def run(self, on_ready: Callable[[], None], on_tick: Callable[[Counters], None] | None) -> None:
        """Start the workers and keep them running until told to stop; raises what their start raised."""
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        handlers = {number: signal.signal(number, lambda *_: None) for number in signals}
        wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        try:
            for worker in self._workers:
                self._start(worker)
            next_tick = time.monotonic() + 1.0
            while any(worker.pid or (worker.restart_at and not self._stopping) for worker in self._workers):
                self._wait(next_tick)
                self._reap()
                now = time.monotonic()
                for worker in self._workers:
                    if worker.restart_at is not None and worker.restart_at <= now and not self._stopping:
                        self._start(worker)
                if self._kill_at is not None and now >= self._kill_at:
                    self._signal_all(signal.SIGKILL)
                    self._kill_at = now + 1.0
                if not self._announced and all(worker.ready for worker in self._workers):
                    self._announced = True
                    on_ready()
                if now >= next_tick:
                    next_tick = now + 1.0
                    if on_tick is not None and self._announced:
                        on_tick(self._stats())
            if on_tick is not None and self._announced:
                on_tick(self._stats())  # what the workers counted while they stopped
        finally:
            self._signal_all(signal.SIGKILL)
            self._reap(wait=True)
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            for fd in (self._alive_read, self._alive_write, self._wake_read, self._wake_write):
                os.close(fd)
        if self._failure is not None:
            raise self._failure

    @property
    def _stopping(self) -> bool:
        return self._kill_at is not None

    def _wait(self, next_tick: float) -> None:
        """Wait for a signal, a worker's report, or the next thing due."""
        due = [next_tick, *(worker.restart_at for worker in self._workers if worker.restart_at is not None)]
        if self._kill_at is not None:
            due.append(self._kill_at)
        for key, _ in self._selector.select(max(0.0, min(due) - time.monotonic())):
            if key.data is not None:
                self._take_report(key.data)
                continue
            for number in os.read(self._wake_read, 512):
                if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    # The second time of asking means now.
                    self._stop(signal.SIGKILL if self._stopping else signal.SIGTERM)

    def _stop(self, number: signal.Signals) -> None:
        self._kill_at = time.monotonic() + self._options.grace_s + _STOP_MARGIN_S
        self._signal_all(number)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                try:
                    os.kill(worker.pid, number)
                except ProcessLookupError:
                    pass

    def _start(self, worker: _Worker) -> None:
        report_read, report_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_worker(worker, report_write)
        os.close(report_write)
        worker.pid = pid
        worker.ready = False
        worker.report = b""
        worker.report_fd = report_read
        worker.started_at = time.monotonic()
        worker.restart_at = None
        self._selector.register(report_read, selectors.EVENT_READ, worker)

    def _take_report(self, worker: _Worker) -> None:
        data = os.read(worker.report_fd, 4096)
        worker.report += data
        if data:
            return
        self._selector.unregister(worker.report_fd)
        os.close(worker.report_fd)
        worker.report_fd = -1
        if worker.report == b"ready":
            worker.ready = True
        elif worker.report and not self._announced and self._failure is None:
            # The very first start fails as a call would; later ones are tried again.
            self._failure = _revive(worker.report)
            self._stop(signal.SIGTERM)
        elif worker.report:
            log.error("S3 worker %d could not start: %s", worker.index, _revive(worker.report))

    def _reap(self, *, wait: bool = False) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, 0 if wait else os.WNOHANG)
            if not pid:
                continue
            if worker.report_fd >= 0:
                while worker.report_fd >= 0:
                    self._take_report(worker)
            worker.pid = 0
            code = os.waitstatus_to_exitcode(status)
            if wait or self._stopping:
                continue
            if not self._announced:
                if self._failure is None:
                    self._failure = StorageError(f"an S3 worker died while it started, with {_said(code)}")
                self._stop(signal.SIGTERM)
                continue
            now = time.monotonic()
            if now - worker.started_at > STABLE_AFTER_S:
                worker.delay_s = RESTART_DELAY_S
            worker.restart_at = now + worker.delay_s
            log.error(
                "S3 worker %d died with %s; the next one starts in %g s",
                worker.index,
                _said(code),
                worker.delay_s,
            )
            worker.delay_s = min(worker.delay_s * 2, RESTART_DELAY_MAX_S)

    def _stats(self) -> Counters:
        values = memoryview(self._counters).cast("Q")
        rows = [values[i * _COUNTER_COUNT : (i + 1) * _COUNTER_COUNT] for i in range(len(self._workers))]
        return Counters(*(sum(row[column] for row in rows) for column in range(_COUNTER_COUNT)))

    def _be_worker(self, worker: _Worker, report_fd: int) -> NoReturn:
        """Run as the worker that was just forked, to the end of the process."""
        code = 1
        report = _Report(report_fd)
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            # Told to stop before it can: it stops.
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._selector.close()
            for fd in (self._alive_write, self._wake_read, self._wake_write):
                os.close(fd)
            for other in self._workers:
                if other.report_fd >= 0:
                    os.close(other.report_fd)
            listener = bind_like(self._placeholder)
            self._placeholder.close()
            store = self._open_store(self._store_path)
            upkeep = LifecycleRunner(store) if isinstance(store, ObjectStore) else None
            if upkeep is not None:
                upkeep.start()
                _warn_of_keys(worker, store)
            try:
                self._work(worker, store, listener, report)
            finally:
                if upkeep is not None:
                    upkeep.stop()
                store.close()
            code = 0
        except Exception as error:
            if report.written:
                log.exception("S3 worker %d ends", worker.index)
            else:
                report.write(_frozen(error))  # the parent raises it
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _work(self, worker: _Worker, store: Any, listener: socket.socket, report: _Report) -> None:
        tune_interpreter()
        row = memoryview(self._counters).cast("Q")[worker.index * _COUNTER_COUNT :][:_COUNTER_COUNT]
        base = list(row[: _COUNTER_COUNT - 1])  # the one before it counted this far

        def on_sweep(door: Door) -> None:
            for column, count in enumerate(door.counts()):
                row[column] = base[column] + count
            row[_COUNTER_COUNT - 1] = len(door.connections)

        def install_stop(loop: AbstractEventLoop, stop: Callable[[], None]) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)

            def parent_gone() -> None:
                loop.remove_reader(self._alive_read)
                stop()

            loop.add_reader(self._alive_read, parent_gone)

        run_worker(
            store,
            self._options,
            listener,
            install_stop=install_stop,
            on_ready=lambda: report.write(b"ready"),
            on_sweep=on_sweep,
        )


class _Report:
    """The one message that a child sends to its parent: that it is ready, or why it is not."""

    __slots__ = ("_fd", "written")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.written = False

    def write(self, message: bytes) -> None:
        self.written = True
        os.write(self._fd, message)
        os.close(self._fd)


def _warn_of_keys(worker: _Worker, store: ObjectStore) -> None:
    """Say once, when the server starts, that nothing encrypted will be answered."""
    problem = store.keys.check() if worker.index == 0 else ""
    if problem:
        log.warning(
            "the vault's keys cannot be opened, and requests for what is encrypted are answered 503: %s", problem
        )


def _frozen(error: Exception) -> bytes:
    """Return an error as bytes that fit into a pipe at once."""
    return json.dumps([type(error).__name__, str(error)[:2000]]).encode()


def _revive(report: bytes) -> TickVaultError:
    """Return the error that a child reported, as the same class where it is one of TickVault's."""
    name, message = json.loads(report)
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TickVaultError):
        return kind(message)
    return StorageError(f"{name}: {message}")


def _said(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def run_in_child(function: Callable[[], None]) -> None:
    """Run a function in a forked child and raise what it raises."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_fd)
            function()
        except Exception as error:
            os.write(write_fd, _frozen(error))
        finally:
            os._exit(0)
    os.close(write_fd)
    report = b""
    while data := os.read(read_fd, 4096):
        report += data
    os.close(read_fd)
    _, status = os.waitpid(pid, 0)
    if report:
        raise _revive(report)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise StorageError(f"the process that opens the vault first died with {_said(code)}")
