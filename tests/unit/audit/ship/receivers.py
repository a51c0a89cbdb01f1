"""Receivers that listen on a real socket, check what they get, and misbehave on demand."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    """As it was before `Content-Encoding`."""
    raw: bytes = b""


@dataclass
class Reply:
    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    does: str = "answer"
    """``answer``, ``cut`` (close without a word), ``cut in the middle``, ``hang``, ``close`` (after the answer)."""
    text: bytes | None = None


class HttpReceiver:
    """An HTTP server in threads; `handle` decides, and what it raises is kept and fails the test at the end."""

    def __init__(self, handle: Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.problems: list[BaseException] = []
        self.connection_count = 0
        self.handle = handle
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connection_count += 1
                super().setup()

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                is_gzip = self.headers.get("Content-Encoding") == "gzip"
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request("POST", self.path, headers, gzip.decompress(raw) if is_gzip else raw, raw)
                receiver.requests.append(request)
                try:
                    reply = receiver.handle(request)
                except BaseException as error:
                    receiver.problems.append(error)
                    reply = Reply(500, text=b"the fake was not pleased: " + repr(error).encode())
                self.reply(reply)

            def reply(self, reply: Reply) -> None:
                if reply.does == "cut":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if reply.does == "hang":
                    receiver.released.wait(30)
                    self.close_connection = True
                    return
                body = reply.text if reply.text is not None else json.dumps(reply.document).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if reply.does == "close":
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                if reply.does == "cut in the middle":
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that is cut off on purpose

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.scheme = "http" if tls is None else "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> HttpReceiver:
        return self

    def __exit__(self, *args: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        if self.problems:
            raise AssertionError(f"the receiver saw something wrong: {self.problems[0]!r}") from self.problems[0]


class TcpReceiver:
    """Takes bytes on a socket; a list of bytes for each connection."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.tls = tls
        self.received: list[bytearray] = []
        self.ended_politely: list[bool] = []
        self.connections: list[socket.socket] = []
        self.is_reading = threading.Event()
        self.is_reading.set()
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            mine = bytearray()
            self.received.append(mine)
            self.connections.append(connection)
            while True:
                self.is_reading.wait(30)
                data = connection.recv(65536)
                if not data:
                    self.ended_politely.append(True)
                    break
                mine += data
            if self.tls is not None:
                connection.unwrap()
        except OSError:
            self.ended_politely.append(False)
        finally:
            connection.close()

    def cut(self) -> None:
        """Close every connection at once, without a word."""
        for connection in self.connections:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.is_reading.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # ends the accept; a close alone would not
        self.listener.close()
        self.cut()

    def __enter__(self) -> TcpReceiver:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def pair(folder: Path) -> tuple[str, str]:
    """Return a certificate for 127.0.0.1 that is its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED: openssl is not installed")
    certificate, key = str(folder / "server.crt"), str(folder / "server.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
