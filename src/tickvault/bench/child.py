"""Child processes that do the measured or the measuring work, spoken to in msgpack frames.

The load generator must not share the interpreter lock with what it measures, and writers and readers of one
vault must be real processes: each is a `Worker` here, a fresh interpreter that runs ``python -m MODULE`` and
answers commands.

Invariants: one reply for one message, in order; a child ends when its parent closes the pipe or dies; an
exception in the child arrives in the parent as a `WorkerError` with the child's traceback.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, BinaryIO

import msgpack

_LENGTH = struct.Struct("<Q")
_CLOSE_SECONDS_MAX = 10.0

Message = dict[str, Any]
Handler = Callable[[Message], Message]


class WorkerError(RuntimeError):
    """A child process failed; the message holds its traceback."""


def _write_frame(stream: BinaryIO, message: Message) -> None:
    body = msgpack.packb(message)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def _read_frame(stream: BinaryIO) -> Message | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    message: Message = msgpack.unpackb(body)
    return message


class Worker:
    """A child process that answers commands.

    Parameters
    ----------
    module : str
        Module to run; its ``__main__`` part calls `answer_commands`.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self._process = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._from: BinaryIO = self._process.stdout  # type: ignore[assignment]

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def send(self, command: str, /, **arguments: Any) -> None:
        """Send a command without waiting for its reply, so that several workers run at once."""
        try:
            _write_frame(self._to, {"command": command, **arguments})
        except BrokenPipeError as error:
            raise WorkerError(f"{self.module} ended with status {self._process.wait()}") from error

    def receive(self) -> Message:
        """Return the reply to the oldest command that has none yet."""
        reply = _read_frame(self._from)
        if reply is None:
            raise WorkerError(f"{self.module} ended with status {self._process.wait()}")
        if "error" in reply:
            raise WorkerError(f"{self.module} failed:\n{reply['error']}")
        return reply

    def call(self, command: str, /, **arguments: Any) -> Message:
        """Send a command and return its reply."""
        self.send(command, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the child: it leaves at the end of its input, and is killed if it does not."""
        try:
            self._to.close()
        except BrokenPipeError:
            pass
        # A child in the middle of a long reply ends at once when nobody reads it.
        self._from.close()
        try:
            self._process.wait(_CLOSE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answer_commands(handlers: Mapping[str, Handler]) -> None:
    """Run the child's side: read commands from stdin and answer them until the pipe is closed."""
    # Ctrl-C is the parent's to handle: it closes the pipes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Replies get a descriptor of their own, so that a stray print cannot break a frame.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (message := _read_frame(sys.stdin.buffer)) is not None:
        try:
            reply = handlers[message.pop("command")](message)
        except Exception:
            reply = {"error": traceback.format_exc()}
        try:
            _write_frame(replies, reply)
        except BrokenPipeError:
            return
