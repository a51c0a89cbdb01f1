"""The second process of a limit that needs one: a writer beside other writers, or the far end of a loopback.

Invariants: no vault is touched, and nothing of TickVault is on the measured path.
"""

from __future__ import annotations

import os
import socket
import threading

from tickvault.bench.child import Message, answer_commands
from tickvault.bench.limits import OBJECT_SIZE, RawFile


class LimitCommands:
    """The commands."""

    def __init__(self) -> None:
        self._file: RawFile | None = None

    def open_raw_file(self, message: Message) -> Message:
        """Make the file that `write_raw_file` writes to."""
        self._file = RawFile(message["path"], message["object_count"])
        return {}

    def write_raw_file(self, message: Message) -> Message:
        """Write and sync, one object at a time."""
        assert self._file is not None
        return self._file.write(message["seconds"]).as_message()

    def read_raw_file(self, message: Message) -> Message:
        """Read and verify in random order."""
        assert self._file is not None
        return self._file.read_verified_rate(message["seconds"]).as_message()

    def listen(self, message: Message) -> Message:
        """Answer 4 KiB to every 64 bytes on one connection; an empty path means TCP loopback."""
        path = message["path"]
        if path:
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.bind(path)
            server.listen()
        else:
            server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        return {"address": server.getsockname()}


def _echo(server: socket.socket) -> None:
    data = os.urandom(OBJECT_SIZE)
    sock, _ = server.accept()
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while sock.recv(64):
        sock.sendall(data)


def main() -> None:
    """Answer the parent's commands."""
    commands = LimitCommands()
    answer_commands({name: getattr(commands, name) for name in dir(commands) if not name.startswith("_")})


if __name__ == "__main__":
    main()
