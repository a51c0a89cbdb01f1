"""The HTTP client: a deadline over everything, an answer or an error in words, a connection kept but never trusted."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from receivers import HttpReceiver, Reply, Request, pair, server_tls

from tickvault.audit.ship import http_client
from tickvault.audit.ship.endpoint import parse_endpoint, tls_context
from tickvault.audit.ship.http_client import Answer, HttpClient, unavailable
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.wire import Interrupt
from tickvault.errors import InvalidInputError

PORTS = {"https": 443, "http": 80}


def client(url: str, ca_file: str | None = None, timeout_s: float = 5.0) -> HttpClient:
    endpoint = parse_endpoint(url, PORTS, insecure=True)
    tls = tls_context(ca_file, None, None) if endpoint.is_secure else None
    return HttpClient(endpoint, tls, Interrupt(), timeout_s=timeout_s)


def echo(request: Request) -> Reply:
    return Reply(200, {"got": request.body.decode(), "path": request.path})


def test_one_connection_is_kept_and_opened_again_when_the_receiver_closed_it() -> None:
    does = "answer"
    with HttpReceiver(lambda _: Reply(200, {}, does=does)) as receiver:
        http = client(receiver.url)
        for _ in range(3):
            assert http.post("/a?b=c", b"x", {}).status == 200
        assert receiver.connection_count == 1
        does = "close"
        assert http.post("/", b"x", {}).status == 200
        does = "answer"
        assert http.post("/", b"x", {}).status == 200
        assert receiver.connection_count == 2
        http.close()
        request = receiver.requests[0]
        assert request.path == "/a?b=c"
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert request.headers["user-agent"].startswith("tickvault/")
        assert request.headers["content-length"] == "1"


def test_a_connection_that_ended_while_it_was_idle_is_noticed_before_it_is_used() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    served = []

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            served.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            time.sleep(0.05)
            connection.close()  # keep-alive was promised

    threading.Thread(target=serve, daemon=True).start()
    http = client(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert http.post("/", b"one", {}).body == b"ok"
    time.sleep(0.15)
    assert http.post("/", b"two", {}).body == b"ok"
    assert len(served) == 2
    listener.close()


@pytest.mark.parametrize(("does", "said"), [("cut", "cut the connection"), ("cut in the middle", "cut the connection")])
def test_a_cut_is_said_in_words(does: str, said: str) -> None:
    with HttpReceiver(lambda _: Reply(200, {"a": "b" * 1000}, does=does)) as receiver:
        with pytest.raises(SinkUnavailable, match=said):
            client(receiver.url).post("/", b"x", {})


def test_a_receiver_that_hangs_is_left_at_the_deadline() -> None:
    with HttpReceiver(lambda _: Reply(does="hang")) as receiver:
        begun = time.monotonic()
        with pytest.raises(SinkUnavailable, match=r"within 0\.3 s"):
            client(receiver.url, timeout_s=0.3).post("/", b"x", {})
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("where", ["headers", "body", "reading"])
def test_a_receiver_that_drips_or_does_not_read_is_left_at_the_deadline_too(where: str) -> None:
    """A timeout of each call alone would be begun anew by every byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        try:
            if where == "body":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            elif where == "headers":
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.02):
                if where != "reading":
                    connection.sendall(b"y")
        except OSError:
            pass
        finally:
            connection.close()

    threading.Thread(target=drip, daemon=True).start()
    http = client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.4)
    begun = time.monotonic()
    with pytest.raises(SinkUnavailable, match="no whole answer within"):
        http.post("/", b"z" * (32 << 20 if where == "reading" else 1), {})
    assert time.monotonic() - begun < 3
    ended.set()
    listener.close()


def test_an_answer_that_is_no_http_or_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def babble() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"220 mail.example.com ESMTP\r\n")
        connection.close()

    threading.Thread(target=babble, daemon=True).start()
    with pytest.raises(SinkUnavailable, match="did not answer in HTTP"):
        client(f"http://127.0.0.1:{listener.getsockname()[1]}").post("/", b"x", {})
    listener.close()
    monkeypatch.setattr(http_client, "ANSWER_BYTES_MAX", 1000)
    with HttpReceiver(lambda _: Reply(200, text=b"x" * 1001)) as receiver:
        with pytest.raises(SinkUnavailable, match="longer than"):
            client(receiver.url).post("/", b"x", {})


def test_a_refused_connection_and_an_unknown_host_are_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SinkUnavailable, match="refuses the connection"):
        client(f"http://127.0.0.1:{port}").post("/", b"x", {})
    with pytest.raises(SinkUnavailable, match="cannot be reached"):
        client("http://no-such-host.invalid").post("/", b"x", {})


def test_tls_is_checked_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    with HttpReceiver(echo, server_tls(certificate, key)) as receiver:
        assert client(receiver.url, certificate).post("/", b"x", {}).status == 200
        with pytest.raises(SinkUnavailable, match=r"not trusted.*ca_file"):
            client(receiver.url).post("/", b"x", {})
    with HttpReceiver(echo) as receiver:
        with pytest.raises(SinkUnavailable, match="TLS failed"):
            client(receiver.url.replace("http:", "https:"), certificate).post("/", b"x", {})


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    with HttpReceiver(echo, server_tls(certificate, key)) as receiver:
        with pytest.raises(SinkUnavailable, match="not trusted"):
            client(f"https://localhost:{receiver.port}", certificate).post("/", b"x", {})


def test_an_interrupt_cuts_a_request_under_way_and_every_later_one() -> None:
    with HttpReceiver(lambda _: Reply(does="hang")) as receiver:
        interrupt = Interrupt()
        endpoint = parse_endpoint(receiver.url, PORTS, insecure=True)
        http = HttpClient(endpoint, None, interrupt, timeout_s=20)
        threading.Timer(0.1, interrupt.set).start()
        begun = time.monotonic()
        with pytest.raises(SinkUnavailable, match="being stopped"):
            http.post("/", b"x", {})
        assert time.monotonic() - begun < 3
        with pytest.raises(SinkUnavailable, match="being stopped"):
            http.post("/", b"x", {})
        assert len(receiver.requests) == 1


def test_an_interrupt_cuts_a_connect_under_way() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):  # a full backlog: the next connect is not answered
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    interrupt = Interrupt()
    endpoint = parse_endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", PORTS, insecure=True)
    threading.Timer(0.1, interrupt.set).start()
    begun = time.monotonic()
    with pytest.raises(SinkUnavailable, match="being stopped"):
        HttpClient(endpoint, None, interrupt, timeout_s=20).post("/", b"x", {})
    assert time.monotonic() - begun < 3
    for filler in [*fillers, listener]:
        filler.close()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("٣", None),
    ],
)
def test_retry_after_in_both_its_forms(value: str, seconds: float | None) -> None:
    assert Answer(503, {"retry-after": value}, b"").retry_after_s(784111740.0) == seconds


def test_an_answer_is_told_with_its_status_its_words_and_what_to_do() -> None:
    endpoint = parse_endpoint("https://siem.example.com/secret/path", PORTS, insecure=False)
    told = str(unavailable(endpoint, Answer(403, {}, b'{"text": "no\x00\nway"}')))
    assert told.startswith('https://siem.example.com:443 answered 403: {"text": "no\ufffd way"} (it does not accept')
    assert "secret/path" not in told
    assert "redirects are not followed" in str(unavailable(endpoint, Answer(302, {}, b"")))
    assert unavailable(endpoint, Answer(503, {"retry-after": "7"}, b"")).retry_after_s == 7
    assert len(str(unavailable(endpoint, Answer(500, {}, b"x" * 100_000)))) < 600


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://siem.example.com", "in the clear"),
        ("ftp://siem.example.com", "must begin with one of https://, http://"),
        ("https://", "must name a host"),
        ("https://user:pw@siem.example.com", "must not hold a user"),
        ("https://siem.example.com/#x", "must not hold a user, a password or a fragment"),
        ("https://siem.example.com:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://siem.example.com/a b", "printable"),
        ("https://siem.example.com/\r\nX: y", "printable"),
        ("https://siem.example.com/" + "a" * 3000, "at most 2048"),
        ("siem.example.com", "must begin with"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        parse_endpoint(url, PORTS, insecure=False)


def test_an_address_of_ipv6_is_shown_with_its_brackets() -> None:
    endpoint = parse_endpoint("https://[2001:db8::1]/x?y=z", PORTS, insecure=False)
    assert (endpoint.host, endpoint.port, endpoint.target) == ("2001:db8::1", 443, "/x?y=z")
    assert endpoint.shown == "https://[2001:db8::1]:443"


def test_files_of_tls_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    assert tls_context(certificate, certificate, key)
    with pytest.raises(InvalidInputError, match="set together"):
        tls_context(None, certificate, None)
    with pytest.raises(InvalidInputError, match="no-such-file: No such file"):
        tls_context(str(tmp_path / "no-such-file"), None, None)
    with pytest.raises(InvalidInputError, match=r"ca_file .* cannot be used"):
        tls_context(key, None, None)
    with pytest.raises(InvalidInputError, match="must be a regular file"):
        tls_context(str(tmp_path), None, None)
    with pytest.raises(InvalidInputError, match="belong together"):
        tls_context(None, key, certificate)
