"""What a well-behaved client sees of a connection."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from raw_client import ACCESS_KEY, RawClient, echo, get, open_door, put

from tickvault.doors.s3.authorization.signer import Signers
from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.door import Door
from tickvault.doors.s3.errors import error_response
from tickvault.doors.s3.http import Connection
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.sigv4 import Authenticator
from tickvault.errors import IntegrityError


async def read_all(context: Any, request: Request) -> Response:
    """Answer with the body, or with what is wrong with it."""
    try:
        return Response(200, {"X-Complete": str(request.body.complete)}, await request.body.read(1 << 30))
    except Exception as error:
        return error_response(error, request.request_id)


def test_one_request_after_the_other_on_one_connection() -> None:
    with open_door() as door, RawClient(door.port) as client:
        for number in range(3):
            answer = client.ask(get(f"/bucket/key%20{number}"))
            assert answer.body == f"GET bucket|key {number}".encode()
            assert answer.headers["content-length"] == str(len(answer.body))
            assert len(answer.headers["x-amz-request-id"]) == 16


def test_a_request_that_comes_byte_by_byte() -> None:
    with open_door(read_all) as door, RawClient(door.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in put(b"hello", "x-amz-meta-a: b"):
            client.send(bytes([byte]))
        assert client.answer().body == b"hello"


def test_pipelined_answers_keep_their_order() -> None:
    def route(context: Any, request: Request) -> Response | Awaitable[Response]:
        async def slowly() -> Response:
            await asyncio.sleep(0.1)
            return echo(context, request)

        return slowly() if request.key.endswith("slow") else echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(get("/b/1-slow") + get("/b/2") + get("/b/3-slow") + get("/b/4"))
        client.send(put(b"x" * 1000, target="/b/5") + get("/b/6").encode())
        keys = [client.answer().body.partition(b"|")[2] for _ in range(6)]
        assert keys == [b"1-slow", b"2", b"3-slow", b"4", b"5", b"6"]


def test_a_thousand_pipelined_requests() -> None:
    with open_door() as door, RawClient(door.port) as client:
        client.send("".join(get(f"/b/{number}") for number in range(1000)))
        for number in range(1000):
            assert client.answer().body == f"GET b|{number}".encode()


def test_a_pipelining_client_that_does_not_read_is_not_read_either() -> None:
    begun = []

    def route(context: Any, request: Request) -> Response:
        begun.append(request.key)
        return Response(200, {}, bytes(64 * 1024))

    limits = Limits(write_buffer_max=256 * 1024)
    with open_door(route, limits=limits) as door, RawClient(door.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send("".join(get(f"/b/{number}") for number in range(1000)))
        time.sleep(0.3)
        waiting = len(begun)
        assert waiting < 500
        for _ in range(1000):
            assert len(client.answer().body) == 64 * 1024
        assert begun == [str(number) for number in range(1000)]


def test_what_waits_behind_a_slow_operation_pauses_the_client() -> None:
    class Transport:
        def __init__(self) -> None:
            self.reading = True
            self.sent = b""

        def pause_reading(self) -> None:
            self.reading = False

        def resume_reading(self) -> None:
            self.reading = True

        def write(self, data: bytes) -> None:
            self.sent += data

        def get_extra_info(self, name: str) -> None:
            return None

        def set_write_buffer_limits(self, high: int) -> None:
            pass

    async def main() -> None:
        go_on = asyncio.Event()

        async def route(context: Any, request: Request) -> Response:
            await go_on.wait()
            return echo(context, request)

        door = Door(None, route, Authenticator(Signers(lambda access_key: None).find, allow_anonymous=True))
        connection, transport = Connection(door), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.data_received(get("/b/1").encode())
        assert transport.reading
        connection.data_received(get("/b/2").encode())
        assert not transport.reading
        go_on.set()
        while transport.sent.count(b"GET b|") < 2:
            await asyncio.sleep(0)
        assert transport.reading
        door.close()

    asyncio.run(main())


def test_head_has_the_length_and_no_body() -> None:
    def route(context: Any, request: Request) -> Response:
        return Response(200, {"ETag": '"x"'}, b"", 123456)

    with open_door(route) as door, RawClient(door.port) as client:
        for _ in range(2):
            client.send("HEAD /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = client.answer(head_only=True)
            assert answer.headers["content-length"] == "123456"
        client.send(get("/b/k").replace("GET", "HEAD").replace("/b/k", "/b/%zz"))
        assert client.answer(head_only=True).status == 400
        assert client.ask(get()).status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    with open_door(lambda context, request: Response(status, {}, b"ignored")) as door, RawClient(door.port) as client:
        client.send(get() + get())
        for _ in range(2):
            answer = client.answer()
            assert answer.status == status
            assert "content-length" not in answer.headers


def test_expect_continue_is_answered_at_once() -> None:
    with open_door(read_all) as door, RawClient(door.port) as client:
        head, body = put(b"x" * 100, "Expect: 100-continue").split(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert client.answer().status == 100
        client.send(body)
        assert client.answer().body == b"x" * 100
        # A body that is already on its way needs no invitation.
        client.send(head + b"\r\n\r\n" + body)
        assert client.answer().status in (100, 200)


def test_a_refused_upload_is_refused_before_its_body_is_asked_for() -> None:
    with open_door(allow_anonymous=False) as door, RawClient(door.port) as client:
        client.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert answer.headers["connection"] == "close"
        assert client.ended()


def test_what_the_head_tells_is_told_before_the_body_is_asked_for() -> None:
    """The story: a client that asked before it sent a large body was told to send it, and only then that its bucket did
    not exist."""
    asked = []

    def refuse_early(context: Any, request: Request) -> Response | None:
        asked.append(request.key)
        return None if request.key == "good" else Response(404, {}, b"no such bucket")

    with open_door(read_all, refuse_early=refuse_early) as door:
        for size in (0, 100, 1_000_000):
            head, body = put(b"x" * size, "Expect: 100-continue", target="/b/bad").split(b"\r\n\r\n")
            with RawClient(door.port) as client:
                client.send(head + b"\r\n\r\n")
                answer = client.answer()
                assert (answer.status, answer.headers["connection"]) == (404, "close")
                assert client.ended()
            with RawClient(door.port) as client:
                client.send(head.replace(b"bad", b"good") + b"\r\n\r\n")
                assert client.answer().status == 100
                client.send(body)
                assert len(client.answer().body) == size
                # Who sends without asking is not asked about.
                assert len(client.ask(put(body)).body) == size
    assert asked == ["bad", "good"] * 3


def test_a_small_body_is_whole_when_its_operation_starts_and_a_large_one_streams() -> None:
    with open_door(read_all, limits=Limits(body_inline_max=1000)) as door, RawClient(door.port) as client:
        for size, complete in ((0, "True"), (1000, "True"), (3_000_000, "False")):
            head, _, body = put(b"x" * size).partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            time.sleep(0.02)
            client.send(body)
            answer = client.answer()
            assert len(answer.body) == size
            assert answer.headers["x-complete"] == complete


def test_a_chunked_body_of_unknown_length() -> None:
    with open_door(read_all) as door, RawClient(door.port) as client:
        client.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        client.send("6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n" + get())
        assert client.answer().body == b"hello world"
        assert client.answer().status == 200


@pytest.mark.parametrize("chunk_size", [100, 1000, 1_000_000])
def test_a_large_chunked_body(chunk_size: int) -> None:
    # It was once refused as a head without an end, since every read of it was counted as one.
    chunk = b"%x\r\n%s\r\n" % (chunk_size, bytes(chunk_size))
    count = 3_000_000 // chunk_size
    with open_door(read_all) as door, RawClient(door.port) as client:
        head = "PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head.encode() + chunk * count + b"0\r\n\r\n" + get().encode() * 2000 + head.encode())
        assert len(client.answer().body) == 3_000_000
        for _ in range(2000):
            assert client.answer().status == 200
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.answer().body == b"hello"


def test_aws_chunked_inside_http_chunked_as_botocore_sends_it() -> None:
    seen: dict[str, Any] = {}

    async def route(context: Any, request: Request) -> Response:
        seen.update(request.headers)
        seen["length"] = request.body.length
        response = await read_all(context, request)
        seen["checksums"] = dict(request.body.checksums)
        return response

    inner = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    head = (
        "PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip,aws-chunked\r\n"
        "X-Amz-Trailer: x-amz-checksum-crc32\r\nX-Amz-Decoded-Content-Length: 5\r\n"
        "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n"
    )
    with open_door(route) as door, RawClient(door.port) as client:
        client.send(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner))
        assert client.answer().body == b"hello"
        assert seen["content-encoding"] == "gzip"
        assert seen["length"] == 5
        assert seen["checksums"] == {"crc32": "NhCmhg=="}
        broken = inner.replace(b"hello", b"hellO")
        client.send(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(broken), broken))
        assert client.answer().code == "BadDigest"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (hashlib.sha256(b"hello").hexdigest(), ""),
        (hashlib.sha256(b"hellO").hexdigest(), "XAmzContentSHA256Mismatch"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "InvalidRequest"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "MissingContentLength"),
    ],
)
def test_what_an_unsigned_client_says_of_its_body_is_kept(payload: str, code: str) -> None:
    with open_door(read_all) as door, RawClient(door.port) as client:
        assert client.ask(put(b"hello", f"x-amz-content-sha256: {payload}")).code == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Content-MD5: XUFAKrxLKna5cZ2REBfFkg==", ""),
        ("Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("Content-MD5: AAAA", "InvalidDigest"),
        ("x-amz-checksum-crc32c: mnG7TA==", ""),
        ("x-amz-checksum-crc32c: AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32c: AAAA", "InvalidRequest"),
    ],
)
def test_digests_are_checked_where_the_body_ends(header: str, code: str) -> None:
    with open_door(read_all) as door, RawClient(door.port) as client:
        answer = client.ask(put(b"hello", header))
        assert answer.code == code
        assert client.ask(get()).status == 200


def test_a_slow_operation_pauses_the_client() -> None:
    peak = 0

    async def route(context: Any, request: Request) -> Response:
        nonlocal peak
        size = 0
        assert isinstance(request.body, RequestBody)
        async for piece in request.body:
            peak = max(peak, request.body._buffered)
            size += len(piece)
            await asyncio.sleep(0.002)
        return Response(200, {}, str(size).encode())

    size = 20_000_000
    with open_door(route, limits=Limits(body_buffer_max=300_000)) as door, RawClient(door.port, 20) as client:
        sender = threading.Thread(target=client.send, args=(put(bytes(size)),))
        sender.start()
        assert client.answer().body == str(size).encode()
        sender.join()
    assert 0 < peak <= 300_000 + 2 * 262_144


def test_a_body_that_nobody_reads_does_not_become_the_next_request() -> None:
    with open_door(lambda context, request: Response(200, {}, b"no thanks")) as door:
        with RawClient(door.port) as client:
            client.send(put(get("/b/smuggled").encode() * 300) + get("/b/next").encode())
            assert client.answer().body == b"no thanks"
            assert client.answer().body == b"no thanks"
            client.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.answer()


def test_too_much_unread_body_ends_the_connection_and_the_answer_still_arrives() -> None:
    limits = Limits(body_inline_max=10, linger_timeout_s=2)
    with open_door(lambda context, request: Response(200, {}, b"no"), limits=limits) as door:
        with RawClient(door.port) as client:
            client.send(put(bytes(30_000_000)))  # is not reset, although nobody wants it
            answer = client.answer()
            assert answer.body == b"no"
            assert answer.headers["connection"] == "close"
            assert client.ended()


def test_connection_close_and_http_1_0() -> None:
    with open_door() as door:
        for request in (get("/b/k", "Connection: close"), "GET /b/k HTTP/1.0\r\n\r\n"):
            with RawClient(door.port) as client:
                answer = client.ask(request + get())
                assert answer.headers["connection"] == "close"
                assert client.ended()
        with RawClient(door.port) as client:
            request = "GET /b/k HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
            for _ in range(2):
                assert client.ask(request).headers["connection"] == "keep-alive"


def test_an_offer_to_upgrade_is_passed_over() -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    with open_door() as door, RawClient(door.port) as client:
        client.send(get("/b/1", *upgrade) + get("/b/2") + get("/b/3", *upgrade))
        assert [client.answer().body for _ in range(3)] == [b"GET b|1", b"GET b|2", b"GET b|3"]


def test_a_client_that_has_finished_sending_still_gets_its_answers() -> None:
    async def route(context: Any, request: Request) -> Response:
        await asyncio.sleep(0.05)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as client:
        client.send(get("/b/1") + get("/b/2"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().body == b"GET b|1"
        assert client.answer().body == b"GET b|2"
        assert client.ended()


def test_an_operation_that_fails_is_an_answer() -> None:
    def route(context: Any, request: Request) -> Response | Awaitable[Response]:
        async def later() -> Response:
            raise RuntimeError("secret words")

        if request.key == "now":
            raise RuntimeError("secret words")
        return later()

    with open_door(route) as door, RawClient(door.port) as client:
        for key in ("now", "later"):
            answer = client.ask(get(f"/b/{key}"))
            assert (answer.status, answer.code) == (500, "InternalError")
            assert b"secret" not in answer.body


def test_a_header_value_cannot_become_a_second_header() -> None:
    def route(context: Any, request: Request) -> Response:
        return Response(200, {"Content-Type": request.query["type"]}, b"body")

    with open_door(route) as door, RawClient(door.port) as client:
        for value in ("a%0d%0aX-Evil:%201", "a%0aX-Evil:1", "a%0d", "%00"):
            answer = client.ask(get(f"/b/k?type={value}"))
            assert answer.status == 400
            assert "x-evil" not in answer.headers
        assert client.ask(get("/b/k?type=text/plain")).headers["content-type"] == "text/plain"


def test_headers_reach_the_operation_in_lower_case_and_joined() -> None:
    def route(context: Any, request: Request) -> Response:
        return Response(200, {}, repr(request.headers.get("x-amz-meta-a")).encode())

    with open_door(route) as door, RawClient(door.port) as client:
        assert client.ask(get("/b/k", "X-AMZ-Meta-A: 1", "x-amz-meta-a:  2 ")).body.replace(b" '", b"'") == b"'1,2'"


class Source:
    """A body in pieces that tells what was taken of it."""

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = iter(pieces)
        self.taken = 0
        self.closed = threading.Event()
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        self.threads.add(threading.get_ident())
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        self.taken += 1
        return memoryview(piece)

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("blocking", [False, True])
def test_a_streamed_answer(blocking: bool) -> None:
    pieces = [bytes([number]) * 1_000_000 for number in range(10)]
    source = Source(pieces)
    with (
        open_door(lambda c, r: Response(200, {}, source, 10_000_000, blocking)) as door,
        RawClient(door.port) as client,
    ):
        answer = client.ask(get())
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(b"".join(pieces)).digest()
        assert source.closed.wait(1)
        assert (threading.get_ident() not in source.threads) and len(source.threads) >= 1


def test_a_streamed_answer_waits_for_its_reader() -> None:
    source = Source([bytes(1_000_000)] * 50)
    with open_door(lambda c, r: Response(200, {}, source, 50_000_000)) as door, RawClient(door.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send(get())
        time.sleep(0.3)
        assert source.taken < 20
        assert len(client.answer().body) == 50_000_000


@pytest.mark.parametrize("blocking", [False, True])
def test_a_reader_that_goes_away_closes_the_source(blocking: bool) -> None:
    source = Source([bytes(1_000_000)] * 1000)
    with open_door(lambda c, r: Response(200, {}, source, 10**9, blocking)) as door:
        with RawClient(door.port) as client:
            client.send(get())
            client.socket.recv(1000)
        assert source.closed.wait(2)
        assert source.taken < 1000


def test_damage_in_the_first_piece_is_an_error_and_later_damage_cuts_the_answer() -> None:
    sources = {
        "first": Source([ValueError("damaged")]),
        "later": Source([bytes(1_000_000), ValueError("damaged")]),
        "short": Source([bytes(1_000_000)]),
        "long": Source([bytes(1_000_000), bytes(1_000_001)]),
        "none": Source([]),
    }
    with open_door(lambda c, r: Response(200, {}, sources[r.key], 2_000_000)) as door:
        for key in ("first", "none"):
            with RawClient(door.port) as client:
                assert client.ask(get(f"/b/{key}")).code == "InternalError"
                assert client.ask(get(f"/b/{key}")).status == 500
        for key in ("later", "short", "long"):
            with RawClient(door.port) as client, pytest.raises((EOFError, ConnectionResetError)):
                client.ask(get(f"/b/{key}"))


def test_stopping_lets_the_request_in_flight_finish_and_closes_the_idle() -> None:
    begun = threading.Event()

    async def route(context: Any, request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0.3)
        return echo(context, request)

    with open_door(route) as door, RawClient(door.port) as idle, RawClient(door.port) as busy:
        busy.send(get("/b/busy"))
        assert begun.wait(2)
        stopper = threading.Thread(target=door.stop)
        stopper.start()
        assert idle.ended()
        answer = busy.answer()
        assert answer.body == b"GET b|busy"
        assert answer.headers["connection"] == "close"
        stopper.join(2)
        assert not stopper.is_alive()
        with pytest.raises(ConnectionRefusedError):
            RawClient(door.port)


def test_a_streamed_answer_that_began_before_the_stop_is_finished_and_the_last() -> None:
    source = Source([bytes(1_000_000)] * 30)
    route = lambda context, request: Response(200, {}, source, 30_000_000)  # noqa: E731
    with open_door(route, grace_s=20) as door, RawClient(door.port, 2) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send(get())
        time.sleep(0.1)
        stopper = threading.Thread(target=door.stop)
        stopper.start()
        time.sleep(0.1)
        assert len(client.answer().body) == 30_000_000
        assert client.ended()
        stopper.join(2)
        assert not stopper.is_alive()


def test_stopping_does_not_wait_for_ever() -> None:
    async def route(context: Any, request: Request) -> Response:
        await asyncio.sleep(60)
        return echo(context, request)

    with open_door(route, grace_s=0.2) as door, RawClient(door.port) as client:
        client.send(get())
        time.sleep(0.1)
        started = time.monotonic()
        door.stop()
        assert time.monotonic() - started < 2
        assert client.ended()


def test_signed_and_unsigned_requests() -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from raw_client import SECRET_KEY

    with open_door(lambda c, r: Response(200, {}, r.access_key.encode()), allow_anonymous=False) as door:
        request = AWSRequest(method="PUT", url=f"{door.endpoint}/b/k%C3%BC?x-id=PutObject", data=b"hello")
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
        lines = [f"{name}: {value}" for name, value in request.prepare().headers.items()]
        lines = [line for line in lines if not line.lower().startswith("content-length")]
        signed = put(b"hello", *lines, target="/b/k%C3%BC?x-id=PutObject").replace(
            b"Host: door", f"Host: 127.0.0.1:{door.port}".encode()
        )
        with RawClient(door.port) as client:
            assert client.ask(signed).body == ACCESS_KEY.encode()
            assert client.ask(signed.replace(b"k%C3", b"x%C3")).code == "SignatureDoesNotMatch"
            assert client.ask(get()).code == "AccessDenied"
            # What a browser cannot sign reaches its operations, as nobody.
            assert client.ask("OPTIONS /b/k HTTP/1.1\r\nHost: h\r\n\r\n").body == b""
            form = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data\r\nContent-Length: 0\r\n\r\n"
            assert client.ask(form).status == 200
            assert client.ask(form.replace(b"/b ", b"/b/k ")).code == "AccessDenied"
            assert client.ask(form.replace(b"/b ", b"/b?delete ")).code == "AccessDenied"


def test_damage_found_in_the_middle_of_an_answer_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def damaged() -> Iterator[memoryview]:
        yield memoryview(bytes(1000))
        raise IntegrityError("segment 7 is damaged")

    with (
        caplog.at_level(logging.ERROR, "tickvault.s3"),
        open_door(lambda c, r: Response(200, {}, damaged(), 2000)) as door,
        RawClient(door.port) as client,
    ):
        client.send(get("/b/large"))
        with pytest.raises((EOFError, ConnectionResetError)):
            client.answer()
    (record,) = caplog.records
    line = logging.Formatter().format(record)
    assert "\n" not in line
    assert "'b/large'" in line and "IntegrityError: segment 7 is damaged" in line
