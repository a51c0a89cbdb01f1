"""Appends of single rows, and the way of a row to a subscriber in another process.

Invariants: the limit writes as many bytes as a row's frame takes, at rising offsets of a file that was written before;
a row's way is timed by one clock that all processes share (CLOCK_MONOTONIC); rows are paced, so that the subscriber
sleeps each time.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from tickvault.bench.child import Worker
from tickvault.bench.market.goals import at_most
from tickvault.bench.market.stage import VAULT, Stage
from tickvault.bench.places import MIB
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import Sample, alternate, timing_of
from tickvault.market.journal.format import FrameKind, frame
from tickvault.market.journal.writer import Writer

SYMBOL, SCHEMA = "ES", "trades"
#: int64 ns and price, int64 size, a letter: what a trade is appended as.
_ROW_SIZE = 8 + 8 + 8 + 1
_FILE_SIZE = 16 * MIB
PACE_S = 0.002


def measure(stage: Stage) -> list[Row]:
    """Return appends of one row, strict and relaxed, and the way to a subscriber."""
    stage.setting.progress("live appends")
    seconds, rounds = stage.scale.seconds, stage.scale.rounds
    strict, relaxed = stage.new_library(), stage.new_library("relaxed")
    size = len(frame(FrameKind.ROWS, 1, 1, 0, 0, bytes(_ROW_SIZE), 0))
    with (
        _raw_file(os.path.join(stage.setting.folder, "raw-appends"), size) as raw,
        strict.library.writer(SYMBOL, SCHEMA) as slow,
        relaxed.library.writer(SYMBOL, SCHEMA) as fast,
    ):
        limit, synced, bare, kept = alternate(
            lambda: raw(seconds, True),
            lambda: _appends(slow, seconds),
            lambda: raw(seconds, False),
            lambda: _appends(fast, seconds),
            rounds=rounds,
        )
    rows = [
        row_of("live append of one row, strict", synced, at_most("ratio", 2), limit=limit.p50),
        row_of("live append of one row, relaxed", kept, at_most("p50", 20), limit=bare.p50),
    ]
    stage.setting.progress("live rows to a subscriber")
    return [*rows, *_ways(stage, relaxed.library.name, relaxed.library.writer(SYMBOL, SCHEMA))]


def _appends(writer: Writer, seconds: float) -> Sample:
    latencies, clock, append = array("q"), time.perf_counter_ns, writer.append
    first = now = clock()
    end = first + int(seconds * 1e9)
    while now < end:
        start = clock()
        append(ts_recv=start, price=4_750_250_000_000, size=3, side="B")
        now = clock()
        latencies.append(now - start)
    return timing_of(latencies, now - first).sample


@contextmanager
def _raw_file(path: str, size: int) -> Iterator[Callable[[float, bool], Sample]]:
    """Give what writes `size` bytes after each other for some seconds, synced or not."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    position = 0
    try:
        os.posix_fallocate(fd, 0, _FILE_SIZE)
        for start in range(0, _FILE_SIZE, MIB):
            os.pwrite(fd, os.urandom(MIB), start)
        os.fsync(fd)
        data = os.urandom(size)

        def write(seconds: float, sync: bool) -> Sample:
            nonlocal position
            latencies, clock = array("q"), time.perf_counter_ns
            first = now = clock()
            end = first + int(seconds * 1e9)
            while now < end:
                position = position + size if position + 2 * size <= _FILE_SIZE else 0
                start = clock()
                os.pwrite(fd, data, position)
                if sync:
                    os.fdatasync(fd)
                now = clock()
                latencies.append(now - start)
            return timing_of(latencies, now - first).sample

        yield write
    finally:
        os.close(fd)
        os.unlink(path)


def _ways(stage: Stage, library: str, writer: Writer) -> list[Row]:
    """Return the way of a row to a subscriber, beside that of a byte through a pipe to the same process."""
    count, folder = stage.scale.live_rows, stage.setting.folder
    pipe = os.path.join(folder, "pipe")
    os.mkfifo(pipe, 0o600)
    with Worker("tickvault.bench.market.subscriber") as worker, writer:
        worker.send("open_pipe", path=pipe)
        fd = os.open(pipe, os.O_WRONLY)
        worker.receive()
        worker.call("subscribe", vault=os.path.join(folder, VAULT), library=library, symbol=SYMBOL, schema=SCHEMA)

        def piped(wait: Callable[[], None], times: int) -> Sample:
            return _paced(worker, "take_bytes", times, lambda now: os.write(fd, b"x"), wait)

        def came(wait: Callable[[], None], times: int) -> Sample:
            return _paced(
                worker, "take_rows", times, lambda now: writer.append(ts_recv=now, price=1, size=1, side="A"), wait
            )

        first = came(_sleep, 1)
        came(_sleep, 20)
        stage.note(f"the first row that ever comes to a subscriber's process took {(first.p50 or 0) / 1e3:,.0f} ms")
        rows = []
        try:
            for words, wait in (("sleeping", _sleep), ("busy", _spin)):
                limit, subject = alternate(
                    lambda wait=wait: piped(wait, count),  # type: ignore[misc]
                    lambda wait=wait: came(wait, count),  # type: ignore[misc]
                    rounds=stage.scale.rounds,
                )
                name = f"to a subscriber in another process, relaxed, {words} between rows, beside a pipe"
                rows.append(row_of(name, subject, at_most("p50", 100), limit=limit.p50))
        finally:
            os.close(fd)
    return rows


def _sleep() -> None:
    """Let some time pass as a process does that waits for its own input: its core goes to sleep, its caches go cold."""
    time.sleep(PACE_S)


def _spin() -> None:
    """Let the same time pass as a process does that polls its input: it stays on its core."""
    end = time.monotonic_ns() + int(PACE_S * 1e9)
    while time.monotonic_ns() < end:
        pass


def _paced(worker: Worker, command: str, count: int, give: Callable[[int], object], wait: Callable[[], None]) -> Sample:
    """Give `count` things one by one, and return how long each took to arrive."""
    worker.send(command, count=count)
    sent = array("q")
    # The other side must wait before the first is given.
    time.sleep(0.02)
    first = time.monotonic_ns()
    for _ in range(count):
        wait()
        now = time.monotonic_ns()
        sent.append(now)
        give(now)
    arrived = np.frombuffer(worker.receive()["arrived"], np.int64)
    wall = time.monotonic_ns() - first
    latencies = arrived - np.frombuffer(sent, np.int64)
    return timing_of(array("q", latencies.tolist()), wall).sample
