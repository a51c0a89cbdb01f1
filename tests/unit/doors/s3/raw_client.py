"""A door without a vault, and a client that says exactly what a test wants said."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tickvault.doors.s3.door import RefuseEarly, Route, refuse_nothing
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.worker import DoorOptions, DoorThread

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 code of an error."""
        match = re.search(rb"<Code>(\w+)</Code>", self.body)
        return match[1].decode() if match else ""


class RawClient:
    def __init__(self, port: int, timeout_s: float = 5.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._unread = b""

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        return data

    def answer(self, *, head_only: bool = False) -> Answer:
        """Read one answer; a `100 Continue` is one too."""
        while b"\r\n\r\n" not in self._unread:
            self._unread += self._more()
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} repeats"
            headers[name.lower()] = value
        status = int(status_line.split()[1])
        length = 0 if head_only or status in (100, 204, 304) else int(headers["content-length"])
        rest = bytearray(rest)
        while len(rest) < length:
            rest += self._more()
        self._unread = bytes(rest[length:])
        return Answer(status, headers, bytes(rest[:length]))

    def ask(self, data: bytes | str) -> Answer:
        self.send(data)
        return self.answer()

    def ended(self) -> bool:
        """Wait for the end of the connection; False when something else comes."""
        try:
            return self._unread == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()


def get(target: str = "/bucket/key", *headers: str) -> str:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: door", *headers, "", ""])


def put(body: bytes, *headers: str, target: str = "/bucket/key") -> bytes:
    head = [f"PUT {target} HTTP/1.1", "Host: door", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def echo(context: Any, request: Request) -> Response:
    """Say what was asked."""
    return Response(200, {}, f"{request.method} {request.bucket}|{request.key}".encode())


@contextmanager
def open_door(
    route: Route = echo,
    *,
    allow_anonymous: bool = True,
    limits: Limits | None = None,
    domains: tuple[str, ...] = (),
    grace_s: float = 5.0,
    refuse_early: RefuseEarly = refuse_nothing,
) -> Iterator[DoorThread]:
    options = DoorOptions(
        secret_for={ACCESS_KEY: SECRET_KEY}.get,
        allow_anonymous=allow_anonymous,
        limits=limits or Limits(),
        domains=domains,
        route=route,
        grace_s=grace_s,
        refuse_early=refuse_early,
    )
    with DoorThread(None, options) as door:
        yield door
