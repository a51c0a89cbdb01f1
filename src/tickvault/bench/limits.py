"""Raw limits: what the machine itself allows, measured beside the thing that is held against it.

Invariants: every limit does the least work that the promise needs, with no code of ours in between, on the
vault's own file system; data is random, larger than the CPU's caches, and touched in random order; a limit's
file is written once before it is measured, so that no figure contains the making of extents.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from array import array
from types import TracebackType

from crc32c import crc32c

from tickvault.bench.child import Worker
from tickvault.bench.dataset import shuffled
from tickvault.bench.rounds import NO_LATENCIES, Sample, Timing, timing_of, together

OBJECT_SIZE = 4096
_FILL_SIZE = 1 << 20
_QUESTION_SIZE = 64


class RawFile:
    """A file of random 4 KiB objects, written and synced beforehand.

    Parameters
    ----------
    path : str
        Made anew; removed by `close`.
    object_count : int
    """

    def __init__(self, path: str, object_count: int) -> None:
        self._path = path
        self._object_count = object_count
        self._size = size = object_count * OBJECT_SIZE
        self._next = self._position = 0
        self._order = shuffled(object_count, object_count)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.posix_fallocate(self._fd, 0, size)
        written = 0
        while written < size:
            written += os.pwrite(self._fd, os.urandom(min(_FILL_SIZE, size - written)), written)
        os.fsync(self._fd)
        self._map = mmap.mmap(self._fd, size, prot=mmap.PROT_READ)

    def close(self) -> None:
        """Remove the file."""
        self._map.close()
        os.close(self._fd)
        os.unlink(self._path)

    def __enter__(self) -> RawFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, count: int) -> list[int]:
        start = self._next
        self._next = (start + count) % self._object_count
        return [self._order[(start + n) % self._object_count] * OBJECT_SIZE for n in range(count)]

    def read_verified(self, count: int) -> Timing:
        """Slice the map and compute CRC-32C, one object after the other."""
        positions, latencies, clock = self._take(count), array("q"), time.perf_counter_ns
        with memoryview(self._map) as view:
            first = clock()
            for position in positions:
                start = clock()
                crc32c(view[position : position + OBJECT_SIZE])
                latencies.append(clock() - start)
            return timing_of(latencies, clock() - first)

    def read_verified_rate(self, seconds: float) -> Timing:
        """Do the same for some seconds, without a clock around each object."""
        clock = time.perf_counter_ns
        done = 0
        with memoryview(self._map) as view:
            first = now = clock()
            end = first + int(seconds * 1e9)
            while now < end:
                for position in self._take(1000):
                    crc32c(view[position : position + OBJECT_SIZE])
                now = clock()
                done += 1000
            return Timing(NO_LATENCIES, now - first, done)

    def write(self, seconds: float, *, batch_count: int = 1, sync: bool = True) -> Timing:
        """Write 4 KiB objects, `batch_count` at a time, one fdatasync each time; the rate counts objects."""
        size = batch_count * OBJECT_SIZE
        assert size <= self._size
        data, latencies, clock = os.urandom(size), array("q"), time.perf_counter_ns
        first = now = clock()
        end = first + int(seconds * 1e9)
        while now < end:
            if self._position + size > self._size:
                self._position = 0
            start = clock()
            os.pwrite(self._fd, data, self._position)
            if sync:
                os.fdatasync(self._fd)
            now = clock()
            latencies.append(now - start)
            self._position += size
        return timing_of(latencies, now - first, count=len(latencies) * batch_count)


class RawProcesses:
    """Several processes that each work on a raw file of their own, at the same time.

    Parameters
    ----------
    folder : str
        On the file system to be measured.
    process_count : int
    object_count : int
        Size of each file, in 4 KiB objects.
    """

    def __init__(self, folder: str, process_count: int, *, object_count: int = 4096) -> None:
        self._workers = [Worker("tickvault.bench.limit_worker") for _ in range(process_count)]
        for number, worker in enumerate(self._workers):
            path = os.path.join(folder, f"limit-process-{number}")
            worker.call("open_raw_file", path=path, object_count=object_count)

    def write_synced(self, seconds: float) -> Sample:
        """Let all write and sync for some seconds; percentiles are over the writes of all."""
        return self._run("write_raw_file", seconds)

    def read_verified_rate(self, seconds: float) -> Sample:
        """Let all read and verify for some seconds; the rate is that of all together."""
        return self._run("read_raw_file", seconds)

    def _run(self, command: str, seconds: float) -> Sample:
        for worker in self._workers:
            worker.send(command, seconds=seconds)
        return together([Timing.from_message(worker.receive()) for worker in self._workers])

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> RawProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LoopbackEcho:
    """A bare second process that answers 64 bytes with 4 KiB, over TCP loopback or a Unix socket.

    Parameters
    ----------
    family : socket.AddressFamily
        ``AF_INET`` or ``AF_UNIX``.
    folder : str
        Where the Unix socket is made.
    """

    def __init__(self, family: socket.AddressFamily, folder: str) -> None:
        self._worker = Worker("tickvault.bench.limit_worker")
        path = os.path.join(folder, "limit-echo") if family == socket.AF_UNIX else ""
        address = self._worker.call("listen", path=path)["address"]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.connect(tuple(address) if family == socket.AF_INET else address)
        if family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def pid(self) -> int:
        """Process id of the answering side."""
        return self._worker.pid

    def run(self, count: int) -> Timing:
        """Ask one question after the other."""
        buffer, latencies, clock = bytearray(OBJECT_SIZE), array("q"), time.perf_counter_ns
        view, question, sock = memoryview(buffer), bytes(_QUESTION_SIZE), self._socket
        first = clock()
        for _ in range(count):
            start = clock()
            sock.sendall(question)
            filled = 0
            while filled < OBJECT_SIZE:
                received = sock.recv_into(view[filled:])
                if not received:
                    raise ConnectionError("the echo ended early")
                filled += received
            latencies.append(clock() - start)
        return timing_of(latencies, clock() - first)

    def close(self) -> None:
        """End the second process."""
        self._socket.close()
        self._worker.close()

    def __enter__(self) -> LoopbackEcho:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
