"""The load generator's own process: keep-alive connections over raw sockets, one request in flight on each.

The loop is as bare as the language allows, because at 64 connections it must stay cheaper than the servers it
drives: requests are bytes made beforehand, an answer is one `recv_into` and three searches.

Invariants: the next request of a connection is sent only after its last answer was complete; of every answer
the status, the length, and where known the first bytes or the number of keys are checked; a wrong answer is
counted by its reason and never as a latency; a connection that broke is opened again, one that is silent for
`SILENCE_SECONDS_MAX` ends the run as an error.
"""

from __future__ import annotations

import resource
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tickvault.bench.child import Message, answer_commands

SILENCE_SECONDS_MAX = 10.0
HEAD_SIZE_MAX = 16 << 10
LISTING_SIZE_MAX = 4 << 20
#: Connections of one source address; well below the number of ephemeral ports.
CONNECTIONS_PER_ADDRESS = 8_000

_END = b"\r\n\r\n"
_LENGTH_MARKS = (b"content-length: ", b"Content-Length: ")


@dataclass(slots=True)
class Batch:
    """Requests of one kind, and what their answers must look like."""

    requests: list[bytes]
    status_line: bytes
    length: int | None
    """Bytes of every body; None where they differ."""
    beginnings: list[bytes] | None
    """First bytes of each body."""
    key_count: int | None
    """Keys in each listing."""
    has_body: bool
    """False for HEAD, whose length announces a body that does not follow."""
    cursor: int = 0
    _mark: bytes = _LENGTH_MARKS[0]

    @property
    def buffer_size(self) -> int:
        """Bytes that hold any answer."""
        return HEAD_SIZE_MAX + (LISTING_SIZE_MAX if self.length is None else self.length)

    def answer_size(self, buffer: bytearray, filled: int) -> int:
        """Return the bytes of the whole answer, 0 while its head is incomplete, -1 when it has no length."""
        end = buffer.find(_END, 0, filled)
        if end < 0:
            return 0
        at = buffer.find(self._mark, 0, end)
        if at < 0:
            self._mark = _LENGTH_MARKS[self._mark == _LENGTH_MARKS[0]]
            at = buffer.find(self._mark, 0, end)
            if at < 0:
                return -1
        if not self.has_body:
            return end + 4
        start = at + 16
        return end + 4 + int(buffer[start : buffer.find(b"\r", start)])

    def fault(self, buffer: bytearray, size: int, index: int) -> str | None:
        """Return what is wrong with a complete answer of `size` bytes to request `index`; None if nothing."""
        if not buffer.startswith(self.status_line):
            return f"status {bytes(buffer[9:12]).decode('ascii', 'replace')}"
        body = buffer.find(_END, 0, size) + 4
        if self.length is not None and self.has_body and size - body != self.length:
            return f"body of {size - body} bytes instead of {self.length}"
        if self.beginnings is not None and not buffer.startswith(self.beginnings[index], body):
            return "other bytes than those of the object"
        if self.key_count is not None:
            found = buffer.count(b"<Key>", body, size)
            if found != self.key_count:
                return f"{found} keys listed instead of {self.key_count}"
        return None


@dataclass(slots=True)
class Connection:
    """One keep-alive connection and the answer that is coming in on it."""

    sock: socket.socket
    buffer: bytearray
    view: memoryview
    filled: int = 0
    size: int = 0
    index: int = 0
    started_ns: int = 0


@dataclass(slots=True)
class Tally:
    """What a run found."""

    latencies: array[int] = field(default_factory=lambda: array("q"))
    byte_count: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Generator:
    """All batches and connections of one process."""

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.address = ("127.0.0.1", 0)
        self.idle: list[socket.socket] = []

    def connect(self, number: int = 0) -> socket.socket:
        """Open a connection; its source address changes with its number, so that ports never run short."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if self.address[0].startswith("127.") and number >= CONNECTIONS_PER_ADDRESS:
            sock.bind((f"127.0.0.{2 + number // CONNECTIONS_PER_ADDRESS}", 0))
        sock.connect(self.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def add_batch(self, message: Message) -> Message:
        """Take the requests of one kind."""
        self.batches[message["name"]] = Batch(
            requests=message["requests"],
            status_line=f"HTTP/1.1 {message['status']}".encode(),
            length=message["length"],
            beginnings=message["beginnings"],
            key_count=message["key_count"],
            has_body=message["has_body"],
        )
        return {}

    def set_target(self, message: Message) -> Message:
        """Take the address of the server that the next runs go to."""
        self.address = (message["host"], message["port"])
        return {}

    def run(self, message: Message) -> Message:
        """Run one batch over some connections for some seconds, or for a number of requests."""
        batch = self.batches[message["name"]]
        tally = Tally()
        sockets = [self.connect(n) for n in range(message["connection_count"])]
        seconds, count = message["seconds"], message["count"]
        drive = _run_one if len(sockets) == 1 else _run_many
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        end = start + int(seconds * 1e9)
        drive(sockets, batch, tally, end_ns=end, count=count, reconnect=self.connect)
        wall, cpu = time.perf_counter_ns() - start, time.process_time_ns() - cpu
        for sock in sockets:
            sock.close()
        return _told(tally, wall, cpu)

    def open_idle(self, message: Message) -> Message:
        """Open many connections and keep them; tells how many could be opened."""
        wanted: int = message["connection_count"]
        _allow_files(wanted + 256)
        try:
            while len(self.idle) < wanted:
                self.idle.append(self.connect(len(self.idle)))
        except OSError as error:
            return {"open_count": len(self.idle), "error_text": str(error)}
        return {"open_count": len(self.idle), "error_text": ""}

    def answer_idle(self, message: Message) -> Message:
        """Send one request over each idle connection, some at a time, and count the answers."""
        batch = self.batches[message["name"]]
        tally = Tally()
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        group: int = message["in_flight"]
        for first in range(0, len(self.idle), group):
            sockets = self.idle[first : first + group]
            # A connection that broke is an error here, so it is not opened again.
            _run_many(sockets, batch, tally, end_ns=start + int(600e9), count=len(sockets), reconnect=None)
        return _told(tally, time.perf_counter_ns() - start, time.process_time_ns() - cpu)

    def close_idle(self, message: Message) -> Message:
        """Close the idle connections."""
        for sock in self.idle:
            sock.close()
        self.idle.clear()
        return {}


Reconnect = Callable[[], socket.socket] | None


def _told(tally: Tally, wall_ns: int, cpu_ns: int) -> Message:
    return {
        "latencies": tally.latencies.tobytes(),
        "byte_count": tally.byte_count,
        "errors": dict(tally.errors),
        "wall_ns": wall_ns,
        "cpu_ns": cpu_ns,
    }


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run_one(
    sockets: list[socket.socket],
    batch: Batch,
    tally: Tally,
    *,
    end_ns: int,
    count: int | None,
    reconnect: Reconnect,
) -> None:
    """Drive one connection with blocking calls: no poll stands between the answer and the clock."""
    sock = sockets[0]
    sock.settimeout(None)
    # A receive timeout in the kernel, unlike Python's, costs no extra poll a call.
    whole = int(SILENCE_SECONDS_MAX)
    timeout = whole.to_bytes(8, "little") + bytes(8)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    buffer = bytearray(batch.buffer_size)
    view = memoryview(buffer)
    clock, requests, latencies = time.perf_counter_ns, batch.requests, tally.latencies
    done = 0
    while count is None or done < count:
        index = batch.cursor
        batch.cursor = index + 1 if index + 1 < len(requests) else 0
        done += 1
        started = clock()
        try:
            sock.sendall(requests[index])
            filled = sock.recv_into(buffer)
            received = filled
            size = batch.answer_size(buffer, filled)
            while received and (size == 0 or filled < size) and size >= 0 and filled < len(buffer):
                received = sock.recv_into(view[filled:])
                filled += received
                if size == 0:
                    size = batch.answer_size(buffer, filled)
            fault = None if received else "connection closed"
        except BlockingIOError:
            tally.errors["no answer"] += 1
            return
        except OSError as error:
            fault, size, filled = f"connection: {error.strerror}", 0, 0
        ended = clock()
        fault = fault or _fault(batch, buffer, filled, size, index)
        if fault is None:
            latencies.append(ended - started)
            tally.byte_count += size
        else:
            tally.errors[fault] += 1
            sock.close()
            if reconnect is None:
                return
            sock = sockets[0] = reconnect()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        if ended >= end_ns:
            return


def _fault(batch: Batch, buffer: bytearray, filled: int, size: int, index: int) -> str | None:
    if size < 0:
        return "answer without a length"
    if size == 0 or filled < size:
        return "answer larger than any that is expected"
    if filled > size:
        return "bytes after the answer"
    return batch.fault(buffer, size, index)


def _run_many(
    sockets: list[socket.socket],
    batch: Batch,
    tally: Tally,
    *,
    end_ns: int,
    count: int | None,
    reconnect: Reconnect,
) -> None:
    """Drive many connections with epoll, one request in flight on each, until time or count is used up."""
    poller = select.epoll()
    clock, requests, latencies = time.perf_counter_ns, batch.requests, tally.latencies
    request_count = len(requests)
    left = count if count is not None else 1 << 62
    live: dict[int, Connection] = {}

    def launch(connection: Connection) -> None:
        nonlocal left
        left -= 1
        connection.filled = connection.size = 0
        connection.index = index = batch.cursor
        batch.cursor = index + 1 if index + 1 < request_count else 0
        connection.started_ns = clock()
        _send_all(connection.sock, requests[index])

    def enlist(sock: socket.socket) -> None:
        sock.setblocking(False)
        buffer = bytearray(batch.buffer_size)
        connection = Connection(sock, buffer, memoryview(buffer))
        live[sock.fileno()] = connection
        poller.register(sock.fileno(), select.EPOLLIN)
        launch(connection)

    def drop(number: int, fault: str) -> None:
        tally.errors[fault] += 1
        connection = live.pop(number)
        poller.unregister(number)
        connection.sock.close()
        if reconnect is not None and left > 0 and clock() < end_ns:
            sock = reconnect()
            sockets[sockets.index(connection.sock)] = sock
            enlist(sock)

    for sock in sockets[: min(len(sockets), left)]:
        try:
            enlist(sock)
        except OSError as error:
            drop(sock.fileno(), f"connection: {error.strerror}")
    while live:
        events = poller.poll(SILENCE_SECONDS_MAX)
        if not events:
            tally.errors["no answer"] += len(live)
            return
        for number, _ in events:
            connection = live[number]
            buffer, filled = connection.buffer, connection.filled
            try:
                if filled:
                    received = connection.sock.recv_into(connection.view[filled:])
                else:
                    received = connection.sock.recv_into(buffer)
            except OSError as error:
                drop(number, f"connection: {error.strerror}")
                continue
            if received == 0:
                drop(
                    number,
                    "connection closed" if filled < len(buffer) else "answer larger than any that is expected",
                )
                continue
            connection.filled = filled = filled + received
            size = connection.size or batch.answer_size(buffer, filled)
            if (size == 0 or filled < size) and size >= 0:
                connection.size = size
                continue
            now = clock()
            fault = _fault(batch, buffer, filled, size, connection.index)
            if fault is not None:
                drop(number, fault)
                continue
            latencies.append(now - connection.started_ns)
            tally.byte_count += size
            if left > 0 and now < end_ns:
                try:
                    launch(connection)
                except OSError as error:
                    drop(number, f"connection: {error.strerror}")
            else:
                del live[number]
                poller.unregister(number)


def _send_all(sock: socket.socket, request: bytes) -> None:
    sent = sock.send(request)
    if sent < len(request):
        # Larger than the socket's buffer: rare, and only while filling, so a blocking send is good enough.
        sock.settimeout(SILENCE_SECONDS_MAX)
        sock.sendall(memoryview(request)[sent:])
        sock.setblocking(False)


def main() -> None:
    """Answer the parent's commands."""
    generator = Generator()
    answer_commands(
        {
            "add_batch": generator.add_batch,
            "set_target": generator.set_target,
            "run": generator.run,
            "open_idle": generator.open_idle,
            "answer_idle": generator.answer_idle,
            "close_idle": generator.close_idle,
        }
    )


if __name__ == "__main__":
    main()
