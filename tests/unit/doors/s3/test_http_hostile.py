"""What a connection does with clients that are broken, slow or hostile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from raw_client import RawClient, echo, get, open_door, put

from tickvault.doors.s3.errors import S3Error, error_response
from tickvault.doors.s3.http import Connection
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Request, Response

HEAD = "PUT /b/k HTTP/1.1\r\nHost: h\r\n"
#: Sweeps often, so that tests of timeouts are short.
QUICK = Limits(
    sweep_interval_s=0.02,
    idle_timeout_s=0.3,
    header_timeout_s=0.3,
    progress_timeout_s=0.3,
    linger_timeout_s=0.3,
)


@pytest.mark.parametrize(
    "request_text",
    [
        "\x16\x03\x01\x02\x00\x01\x00",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET\r\n\r\n",
        "GET /b/k\r\n\r\n",
        "GET /b/k HTTP/3.0\r\nHost: h\r\n\r\n",
        "GET /b/k HTTP/1.1\r\n\r\n",
        "BREW /b/k HTTP/1.1\r\nHost: h\r\n\r\n",
        "PATCH /b/k HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\nHost: h2\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        "GET /b/k HTTP/1.1\nHost: h\n\n",
        "GET /b/k HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        "GET /b/k HTTP/1.1\r\nHost: h\r\nNoColon\r\n\r\n",
        HEAD + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + "Content-Length: 5, 5\r\n\r\nhello",
        HEAD + "Content-Length: +5\r\n\r\nhello",
        HEAD + "Content-Length: -5\r\n\r\nhello",
        HEAD + "Content-Length: 0x5\r\n\r\nhello",
        HEAD + "Content-Length: \r\n\r\nhello",
        HEAD + "Content-Length: 99999999999999999999\r\n\r\nhello",
        HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        HEAD + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        HEAD + "Content-Length: 5\r\nExpect: the unexpected\r\n\r\nhello",
        HEAD + "Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nhello",
    ],
)
def test_what_is_not_plain_http_is_refused_and_nothing_after_it_is_read(request_text: str) -> None:
    keys = []

    async def route(context: Any, request: Request) -> Response:
        keys.append(request.key)
        try:
            await request.body.read(1 << 20)
        except Exception as error:
            return error_response(error, request.request_id)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(request_text + get("/b/smuggled"))
        answer = client.answer()
        assert answer.status in (400, 405, 417, 501)
        assert answer.code
        assert answer.headers["connection"] == "close"
        assert client.ended()
    assert "smuggled" not in keys


def test_a_refusal_waits_for_the_answers_before_it() -> None:
    async def route(context: Any, request: Request) -> Response:
        await asyncio.sleep(0.1)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(get("/b/1") + get("/b/2") + "garbage\r\n\r\n" + get("/b/3"))
        assert client.answer().body == b"GET b|1"
        assert client.answer().body == b"GET b|2"
        assert client.answer().status == 400
        assert client.ended()


@pytest.mark.parametrize(
    "pieces",
    [
        ["GET /" + "k" * 1000] + ["k" * 60_000] * 20,
        ["GET / HTTP/1.1\r\nHost: h\r\nX-Long: "] + ["v" * 60_000] * 20,
        ["GET / HTTP/1.1\r\nHost: h\r\n" + "n" * 60_000] * 20,
        ["GET / HTTP/1.1\r\nHost: h\r\n"] + ["X-Many: 1\r\n" * 1000] * 100,
        ["GET / HTTP/1.1\r\nHost: h\r\n" + "".join(f"X-{n}: 1\r\n" for n in range(200)) + "\r\n"],
        [f"GET /{'k' * 20_000} HTTP/1.1\r\nHost: h\r\n\r\n"],
        [HEAD + "Transfer-Encoding: chunked\r\n\r\n5;"] + ["extension" * 8000] * 20,
        [HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: "] + ["v" * 60_000] * 20,
        [HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"] + ["T: v\r\n" * 1000] * 100,
    ],
    ids=["url", "value", "name", "repeated", "many", "long url", "extension", "trailer", "trailers"],
)
def test_what_has_no_end_is_refused(pieces: list[str]) -> None:
    async def route(context: Any, request: Request) -> Response:
        try:
            return Response(200, {}, await request.body.read(1 << 20))
        except Exception as error:
            return error_response(error, request.request_id)

    with open_door(route) as door, RawClient(door.port) as client:

        def send() -> None:
            try:
                for piece in pieces:
                    client.send(piece)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        answer = client.answer()
        assert answer.status in (400, 414)
        assert client.ended()
        sender.join()


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b""),
        (b"GET /b/k HT", b""),
        (b"GET /b/k HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"v"),
        (b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n", b""),
        (b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["silent", "half a line", "slow header", "no body", "slow body", "slow chunks"],
)
def test_a_client_that_does_not_get_on_is_let_go(start: bytes, drip: bytes) -> None:
    seen: list[str] = []

    async def route(context: Any, request: Request) -> Response:
        try:
            await request.body.read(1 << 30)
        except S3Error as error:
            seen.append(error.code)
            return error_response(error, request.request_id)
        return echo(context, request)

    with open_door(route, limits=QUICK) as door, RawClient(door.port) as client:
        started = time.monotonic()
        client.send(start)
        client.socket.settimeout(0.05)
        received = b""
        while time.monotonic() - started < 5:
            try:
                data = client.socket.recv(65536)
            except TimeoutError:
                if drip:
                    client.send(drip)
                continue
            except ConnectionResetError:
                break
            if not data:
                break
            received += data
        assert time.monotonic() - started < 2
        assert (b"RequestTimeout" in received) == bool(start)
        assert seen in ([], ["RequestTimeout"])


def test_a_client_that_sends_steadily_is_not_let_go() -> None:
    async def route(context: Any, request: Request) -> Response:
        return Response(200, {}, str(len(await request.body.read(1 << 30))).encode())

    with open_door(route, limits=QUICK) as door, RawClient(door.port) as client:
        client.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n")
        for _ in range(20):
            client.send(bytes(20_000))
            time.sleep(0.05)
        assert client.answer().body == b"400000"


def test_a_client_that_does_not_take_its_answer_is_let_go() -> None:
    limits = Limits(sweep_interval_s=0.02, progress_timeout_s=0.3, write_buffer_max=65536)
    closed = threading.Event()

    def pieces() -> Any:
        try:
            while True:
                yield memoryview(bytes(1_000_000))
        finally:
            closed.set()

    with open_door(lambda c, r: Response(200, {}, pieces(), 10**10), limits=limits) as door:
        with RawClient(door.port) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.send(get())
            assert closed.wait(3)


def test_a_slow_operation_is_not_the_clients_fault() -> None:
    async def route(context: Any, request: Request) -> Response:
        async for _ in request.body:
            await asyncio.sleep(0.6)
        return Response(200, {}, b"done")

    limits = Limits(
        sweep_interval_s=0.02,
        idle_timeout_s=0.3,
        progress_timeout_s=0.3,
        body_inline_max=10,
        body_buffer_max=1000,
    )
    with open_door(route, limits=limits) as door, RawClient(door.port) as client:
        sender = threading.Thread(target=client.send, args=(put(bytes(600_000)),))
        sender.start()
        client.socket.settimeout(10)
        assert client.answer().body == b"done"
        sender.join()


@pytest.mark.parametrize("sent", [0, 10, 100_000])
def test_a_client_that_goes_away_in_the_middle_of_a_body(sent: int) -> None:
    outcome: list[str] = []
    told = threading.Event()

    async def route(context: Any, request: Request) -> Response:
        try:
            await request.body.read(1 << 30)
            outcome.append("complete")
        except S3Error as error:
            outcome.append(error.code)
        told.set()
        return Response()

    with open_door(route, limits=Limits(body_inline_max=1000)) as door:
        with RawClient(door.port) as client:
            client.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + bytes(sent))
            time.sleep(0.05)
        assert told.wait(2)
        assert outcome == ["IncompleteBody"]
        with RawClient(door.port) as client:
            assert client.ask(get()).status == 200


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize(
    "request_text",
    [
        HEAD + "Content-Length: 100\r\n\r\n",
        HEAD + "Content-Length: 100\r\n\r\nhalf",
        HEAD + "Content-Length: 100\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
        "x-amz-decoded-content-length: 50\r\n\r\n32\r\nhalf",
    ],
)
def test_a_small_body_that_ends_early_is_answered_and_starts_nothing(request_text: str, before: int) -> None:
    """The story: an upload whose sending side was closed after 10 of 100 bytes got no answer at all, and one of 100,000
    bytes the 400 that it should."""
    begun = []

    async def route(context: Any, request: Request) -> Response:
        begun.append(request.key)
        await asyncio.sleep(0.02)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(get("/b/before") * before + request_text)
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(before):
            assert client.answer().body == b"GET b|before"
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        assert answer.headers["connection"] == "close"
        assert client.ended()
    assert begun == ["before"] * before


@pytest.mark.parametrize(
    "request_text",
    [
        HEAD + "Content-Length: 300000\r\n\r\nhalf",
        HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        HEAD + "Transfer-Encoding: chunked\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
        "x-amz-decoded-content-length: 50\r\n\r\n8\r\n32\r\nhalf\r\n",
    ],
)
def test_a_streamed_body_that_ends_early_is_answered(request_text: str) -> None:
    async def route(context: Any, request: Request) -> Response:
        try:
            await request.body.read(1 << 20)
        except S3Error as error:
            return error_response(error, request.request_id)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(request_text)
        time.sleep(0.02)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        assert answer.headers["connection"] == "close"
        assert client.ended()


def test_a_client_that_is_invited_and_then_ends_is_answered() -> None:
    with open_door() as door, RawClient(door.port) as client:
        client.send(HEAD + "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().code == "IncompleteBody"
        assert client.ended()


def test_more_connections_than_the_limit() -> None:
    with open_door(limits=Limits(connections_max=2)) as door:
        with RawClient(door.port) as one, RawClient(door.port) as two:
            assert one.ask(get()).status == two.ask(get()).status == 200
            with RawClient(door.port) as three:
                assert three.answer().code == "SlowDown"
                assert three.ended()
            assert one.ask(get()).status == 200


@pytest.mark.parametrize("path", ["/b/../../etc/passwd", "/b/%2e%2e/%2e%2e/x", "//b/k", "/b/a%00b", "/b//", "/b/./."])
def test_tricks_with_paths_are_just_keys(path: str) -> None:
    with open_door() as door, RawClient(door.port) as client:
        answer = client.ask(get(path))
        assert answer.status == 200
        bucket, _, key = path[1:].partition("/")
        expected = key.replace("%2e", ".").replace("%00", "\0")
        assert answer.body == f"GET {bucket}|{expected}".encode()


@pytest.mark.parametrize("size", [6 * 1024**3, 10**17])
def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(size: int) -> None:
    with open_door() as door, RawClient(door.port) as client:
        answer = client.ask(f"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n")
        assert answer.code == "EntityTooLarge"
        assert client.ended()


def test_a_refused_client_that_never_stops_sending_is_not_read_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    data_received = Connection.data_received

    def count(connection: Connection, data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", count)
    piece = bytes(1 << 20)
    with open_door(allow_anonymous=False) as door, RawClient(door.port) as client:
        client.send(HEAD + "Content-Length: 5000000000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() - began < 10:
                client.socket.send(piece)
        assert time.monotonic() - began < 4
        answer = client.answer()  # it came before the reset
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert taken < 64 << 20
