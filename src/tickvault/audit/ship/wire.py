"""A TCP or TLS connection to a receiver, on which no call waits past its deadline.

Invariants: every wait (connect, handshake, send, receive) ends at the deadline of the whole exchange, however slowly
the other side drips its bytes, or when `Interrupt.set` is called from another thread; what goes wrong is an `OSError`.
Only the look-up of a name by the system's resolver can be neither bounded nor cut short.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import threading
import time
from typing import Any

from tickvault.audit.ship.sink import SinkUnavailable

_DRAIN_POLL_S_MAX = 0.02


class Interrupt:
    """Lets one thread end the waits of another, for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = threading.Event()
        self._socket: socket.socket | None = None

    def set(self) -> None:
        """End the waits: that on the socket in use and that in `wait`, and all later ones."""
        with self._lock:
            self._is_set.set()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own method, which forgets the TLS state that the other thread is using.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def watch(self, connection: socket.socket | None) -> None:
        """Name the socket in use; None: there is none any more."""
        with self._lock:
            self._socket = connection
        if connection is not None:
            self.check()

    def check(self) -> None:
        """Raise `SinkUnavailable` if it is set."""
        if self._is_set.is_set():
            raise SinkUnavailable("the shipping is being stopped; the rest is sent at the next start")

    def wait(self, seconds: float) -> None:
        """Wait; raise `SinkUnavailable` as soon as it is set."""
        self._is_set.wait(max(0.0, seconds))
        self.check()


class Wire:
    """An open connection."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, interrupt: Interrupt, timeout_s: float
    ) -> None:
        self._interrupt = interrupt
        self._socket: socket.socket | None = None
        self.deadline = time.monotonic() + timeout_s
        try:
            self._connect(host, port)
            if tls is not None:
                self._start_tls(tls, host)
        except BaseException:
            self.close()
            raise

    def _connect(self, host: str, port: int) -> None:
        last: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            self._socket = socket.socket(family, kind, protocol)
            self._interrupt.watch(self._socket)
            try:
                self._socket.settimeout(self._left_s())
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.connect(address)
            except OSError as error:
                last = error
                self.close()
                self._interrupt.check()
            else:
                return
        raise last or OSError(f"{host} has no address")

    def _start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        assert self._socket is not None
        wrapped = tls.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = wrapped
        self._interrupt.watch(wrapped)
        wrapped.settimeout(self._left_s())
        wrapped.do_handshake()

    def sendall(self, data: Any) -> None:
        """Send all bytes; the name and the argument are those of a socket, for ``http.client``."""
        rest = memoryview(data)
        connection = self._open()
        while rest:
            connection.settimeout(self._left_s())
            rest = rest[connection.send(rest[: 256 << 10]) :]

    def receive_into(self, buffer: Any) -> int:
        """Receive some bytes; 0 at the end."""
        connection = self._open()
        connection.settimeout(self._left_s())
        return connection.recv_into(buffer)

    def is_quiet(self) -> bool:
        """Return whether the connection is open and the other side has said nothing: no end, no alert, no byte."""
        connection = self._open()
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(0.0)
            try:
                # TLS says things of its own (session tickets), which are read and are no bytes of the other side.
                connection.recv(1)
            except ssl.SSLWantReadError:
                return True
            except OSError:
                pass
            return False
        poll = select.poll()  # select() fails on descriptors above 1023
        poll.register(connection, select.POLLIN)
        return not poll.poll(0)

    def drain(self) -> None:
        """Wait until the other side's kernel has acknowledged every byte that was sent.

        Raises
        ------
        TimeoutError
            It had not at the deadline.
        """
        connection, pause = self._open(), 0.0005
        while unacknowledged := struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))[0]:
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or self._left_s() < pause:
                raise TimeoutError(f"{unacknowledged} bytes were not acknowledged by the other side's TCP")
            self._interrupt.wait(pause)
            pause = min(pause * 2, _DRAIN_POLL_S_MAX)

    def end(self, timeout_s: float) -> None:
        """Say goodbye (TLS ``close_notify``, TCP's FIN) without waiting long, and close."""
        connection = self._socket
        with contextlib.suppress(OSError, ValueError):
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(timeout_s)
                connection.unwrap()
            elif connection is not None:
                connection.shutdown(socket.SHUT_WR)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._interrupt.watch(None)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise OSError("the connection is closed")
        return self._socket

    def _left_s(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left
