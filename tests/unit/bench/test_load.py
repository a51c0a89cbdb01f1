"""The load generator must see each wrong answer: one that counts errors as speed flatters the server."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tickvault.bench.load import LoadGenerator

REQUESTS = [f"GET /{number} HTTP/1.1\r\nHost: here\r\n\r\n".encode() for number in range(10)]
BODIES = [str(number).encode() * 100 for number in range(10)]


def _answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


@contextmanager
def _server(answer: Callable[[int], bytes | None]) -> Iterator[int]:
    """Serve with a thread a connection; `answer` gets the number asked for, None closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The generator closes a connection on which it got a wrong answer.
        with sock, suppress(ConnectionError):
            pending = b""
            while data := sock.recv(65536):
                pending += data
                while b"\r\n\r\n" in pending:
                    request, _, pending = pending.partition(b"\r\n\r\n")
                    reply = answer(int(request.split(b" ")[1].strip(b"/")))
                    if reply is None:
                        return
                    # In two pieces, so that answers arrive in parts as from a real network.
                    sock.sendall(reply[:30])
                    sock.sendall(reply[30:])

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.fixture(scope="module")
def generator() -> Iterator[LoadGenerator]:
    with LoadGenerator() as made:
        made.add_batch("checked", REQUESTS, length=100, beginnings=[body[:1] for body in BODIES])
        made.add_batch("lengths", REQUESTS, length=100)
        made.add_batch("listing", REQUESTS, key_count=3)
        made.add_batch("head", REQUESTS, length=100, has_body=False)
        yield made


@pytest.mark.parametrize("connection_count", [1, 7])
def test_right_answers_are_counted_as_latencies(generator, connection_count):
    with _server(lambda number: _answer(BODIES[number])) as port:
        generator.set_target("127.0.0.1", port)
        result = generator.run("checked", connection_count=connection_count, count=50)
    assert result.errors == {}
    assert len(result.latencies) == 50
    assert (result.latencies > 0).all()
    assert result.byte_count == 50 * len(_answer(BODIES[0]))
    assert result.sample.p50 is not None
    assert result.cpu_us_per_request > 0


@pytest.mark.parametrize("connection_count", [1, 7])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda number: _answer(BODIES[number], "503 Slow Down"), "status 503"),
        (lambda number: _answer(BODIES[number][:99]), "body of 99 bytes instead of 100"),
        (lambda number: _answer(BODIES[(number + 1) % 10]), "other bytes than those of the object"),
        (lambda number: _answer(BODIES[number], length=99), "bytes after the answer"),
        (lambda number: b"HTTP/1.1 200 OK\r\nX-Nothing: at all\r\n\r\n", "answer without a length"),
        (lambda number: None, "connection closed"),
        (lambda number: _answer(b"x" * 50_000), "answer larger than any that is expected"),
    ],
    ids=["status", "short", "other bytes", "too many", "no length", "closed", "huge"],
)
def test_every_wrong_answer_is_an_error(generator, answer, fault, connection_count):
    with _server(lambda number: answer(number) if number == 3 else _answer(BODIES[number])) as port:
        generator.set_target("127.0.0.1", port)
        result = generator.run("checked", connection_count=connection_count, count=50)
    assert result.errors == {fault: 5}
    assert len(result.latencies) == 45


def test_listings_are_checked_by_their_number_of_keys(generator):
    def listing(number: int) -> bytes:
        return _answer(b"<Contents><Key>k</Key></Contents>" * (2 if number == 0 else 3))

    with _server(listing) as port:
        generator.set_target("127.0.0.1", port)
        result = generator.run("listing", connection_count=2, count=20)
    assert result.errors == {"2 keys listed instead of 3": 2}


def test_head_announces_a_body_that_does_not_come(generator):
    with _server(lambda number: _answer(b"", length=100)) as port:
        generator.set_target("127.0.0.1", port)
        result = generator.run("head", connection_count=2, count=20)
    assert result.errors == {}


def test_idle_connections_are_all_answered_or_counted(generator):
    with _server(lambda number: _answer(BODIES[number])) as port:
        generator.set_target("127.0.0.1", port)
        assert generator.open_idle(60) == (60, "")
        result = generator.answer_idle("checked", in_flight=16)
        assert len(result.latencies) == 60
        assert result.errors == {}
        again = generator.answer_idle("checked", in_flight=16)
        assert len(again.latencies) == 60
        generator.close_idle()


def test_nobody_listening_is_an_error_in_words(generator):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    generator.set_target("127.0.0.1", port)
    open_count, why = generator.open_idle(3)
    assert open_count == 0
    assert "refused" in why
