"""The processes of the door, each test in a process tree of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient, get

from tickvault.doors.s3.server import serve
from tickvault.errors import InvalidInputError

PROGRAM = """
import json, os, signal, sys, time
from tickvault.doors.s3 import server
from tickvault.doors.s3.message import Response
from tickvault.errors import FormatError, TickVaultError
from tickvault.security.credentials import Credentials

options = json.loads(sys.argv[1])
openings = options.pop("openings")

class Store:
    def __init__(self, path):
        with open(openings, "a") as file:
            file.write(f"{os.getpid()} {os.getppid()}\\n")
        if options.get("refuses"):
            raise FormatError("made by another release")
        if options.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        with open(openings, "a") as file:
            file.write("closed\\n")

def route(store, request):
    if request.key == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.key == "slow":
        async def slowly():
            import asyncio
            await asyncio.sleep(0.5)
            return Response(200, {}, b"done")
        return slowly()
    return Response(200, {}, str(os.getpid()).encode())

def tell(kind, value):
    print(json.dumps([kind, value]), flush=True)

try:
    server.serve(
        "nowhere", port=options.get("port", 0), workers=options.get("workers", 2), open_store=Store, route=route,
        allow_anonymous=True, credentials=Credentials("access", "secret key"), grace_s=5.0,
        certificate=options.get("certificate"), private_key=options.get("private_key"),
        on_ready=lambda endpoint: tell("ready", endpoint._asdict()),
        on_tick=lambda counters: tell("tick", counters._asdict()),
    )
    tell("ended", None)
except TickVaultError as error:
    tell("error", [type(error).__name__, str(error)])
"""


class Server:
    def __init__(self, folder: Path, **options: Any) -> None:
        self.openings = folder / "openings"
        arguments = json.dumps({**options, "openings": str(self.openings)})
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), arguments], stdout=subprocess.PIPE, text=True
        )
        self.port = 0

    def told(self, kind: str) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said, value = json.loads(line)
            if said == kind:
                return value
        raise AssertionError(f"ended with {self.process.wait()} before it said {kind}")

    def ready(self) -> Server:
        self.port = self.told("ready")["port"]
        return self

    def ask(self, key: str = "k") -> bytes:
        with RawClient(self.port) as client:
            return client.ask(get(f"/b/{key}", "Connection: close")).body

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Server]:
    server = Server(folder, **options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def eventually(condition: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_workers_share_a_port_and_each_opens_the_store_itself(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ready()
        assert server.port > 0
        workers = server.workers()
        assert len(workers) == 2
        answered: set[int] = set()
        for _ in range(200):
            answered.add(int(server.ask()))
            if answered == workers:
                break
        assert answered == workers
        opened = {tuple(map(int, line.split())) for line in server.openings.read_text().splitlines()}
        assert opened == {(pid, server.process.pid) for pid in workers}


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, workers=1) as server:
        before = int(server.ready().ask())
        with pytest.raises((EOFError, ConnectionResetError)):
            server.ask("crash")
        eventually(lambda: server.workers() - {before})
        after: list[int] = []

        def answers() -> bool:
            with contextlib.suppress(OSError, EOFError):
                after.append(int(server.ask()))
            return bool(after)

        eventually(answers)
        assert after[0] != before


def test_told_to_stop_it_finishes_what_is_in_flight_and_closes_the_store(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as server:
        server.ready()
        workers = server.workers()
        with RawClient(server.port) as client:
            client.send(get("/b/slow"))
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            assert client.answer().body == b"done"
        assert server.told("ended") is None
        assert server.process.wait(5) == 0
        assert server.openings.read_text().count("closed") == 2
        assert not any(alive(pid) for pid in workers)


def test_asked_twice_it_stops_at_once(tmp_path: Path) -> None:
    with running(tmp_path, workers=1) as server:
        server.ready()
        with RawClient(server.port) as client:
            client.send(get("/b/slow"))
            time.sleep(0.1)
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGINT)
            assert client.ended()
        assert server.process.wait(5) == 0


def test_workers_stop_when_their_parent_is_gone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ready()
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(alive(pid) for pid in workers))


def test_a_store_that_cannot_be_opened_is_the_callers_error(tmp_path: Path) -> None:
    with running(tmp_path, refuses=True) as server:
        assert server.told("error") == ["FormatError", "made by another release"]
    with running(tmp_path, dies=True) as server:
        kind, message = server.told("error")
        assert kind == "StorageError"
        assert "SIGKILL" in message


def test_the_last_counters_are_complete(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as server:
        server.ready()
        for _ in range(10):
            server.ask()
        server.process.terminate()
        requests = 0
        assert server.process.stdout is not None
        for line in server.process.stdout:
            said, value = json.loads(line)
            if said == "tick":
                requests = value["requests"]
        assert requests == 10


def test_counters_of_all_workers(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as server:
        server.ready()
        for _ in range(10):
            server.ask()
        with RawClient(server.port) as client:
            assert client.ask(get("/%zz")).status == 400
            counters: dict[str, int] = {}

            def counted() -> bool:
                counters.update(server.told("tick"))
                return counters["requests"] == 11

            eventually(counted)
            assert counters["objects_read"] == 10
            assert counters["client_errors"] == 1
            assert counters["server_errors"] == counters["objects_written"] == 0
            assert counters["bytes_in"] > 0
            assert counters["bytes_out"] > 0
            assert counters["connections"] == 1


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match="choose another port"):
            serve("nowhere", port=port)
    with running(tmp_path) as server:
        with pytest.raises(InvalidInputError, match="choose another port"):
            serve("nowhere", port=server.ready().port)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers"),
        ({"port": 70000}, "port"),
        ({"host": "no.such.host.invalid"}, "host"),
        ({"certificate": "x"}, "key"),
        ({"certificate": "/missing", "private_key": "/missing"}, "certificate"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        serve("nowhere", **options)


def test_tls(tmp_path: Path) -> None:
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    with running(tmp_path, workers=1, certificate=str(certificate), private_key=str(key)) as server:
        server.ready()
        context = ssl.create_default_context(cafile=str(certificate))
        with RawClient(server.port) as client:
            client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
            pid = client.ask(get()).body
            assert int(pid) in server.workers()
            assert client.ask(get()).body == pid
            assert client.ask("garbage\r\n\r\n").status == 400
        with RawClient(server.port) as client:  # who speaks no TLS gets no HTTP
            client.send(get())
            with pytest.raises((EOFError, ConnectionResetError)):
                client.answer()
