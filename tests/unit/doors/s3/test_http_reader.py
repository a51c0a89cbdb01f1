from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.reader import Exchange, RequestReader


class Heard:
    """What a reader makes of some bytes."""

    def __init__(self) -> None:
        self.begun: list[Exchange] = []
        self.done: list[tuple[str, bytes, dict[str, str], bytes]] = []
        self.reader = RequestReader(Limits(), self.begins, self.completes, lambda: None)

    def begins(self, exchange: Exchange) -> None:
        self.begun.append(exchange)
        if exchange.arrived:
            self.completes(exchange)

    def completes(self, exchange: Exchange) -> None:
        body = b"".join(exchange.early or ())
        self.done.append((exchange.method, exchange.target, exchange.headers, body))


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"]),
        st.from_regex(r"/[a-z0-9%]{0,20}(\?[a-z=&]{0,10})?", fullmatch=True),
        st.dictionaries(st.from_regex(r"x-[a-z]{1,8}", fullmatch=True), st.from_regex(r"[!-~]{1,20}", fullmatch=True)),
        st.none() | st.binary(max_size=100),
        st.booleans(),
    ),
    max_size=5,
)


def wire(method: str, target: str, headers: dict[str, str], body: bytes | None, chunked: bool) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *(f"{name.title()}: {value}" for name, value in headers.items())]
    if body is None:
        return "\r\n".join([*lines, "", ""]).encode()
    if not chunked:
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
    pieces = [body[start : start + 30] for start in range(0, len(body), 30)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_however_the_network_cuts_them_the_requests_are_the_same(requests: list[Any], cuts: list[int]) -> None:
    data = b"".join(wire(*request) for request in requests)
    heard = Heard()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            heard.reader.feed(data[start:end])
    for (method, target, headers, body, _), got in zip(requests, heard.done, strict=True):
        assert got[0] == method
        assert got[1] == target.encode()
        assert {name: value for name, value in got[2].items() if name.startswith("x-")} == headers
        assert got[3] == (body or b"")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    heard = Heard()
    try:
        heard.reader.feed(data)
    except S3Error as refusal:
        assert refusal.code != "InternalError"


@given(data=st.binary(max_size=60), position=st.integers(0, 120))
def test_a_damaged_request_never_becomes_an_internal_error(data: bytes, position: int) -> None:
    good = wire("PUT", "/b/k?x=1", {"x-a": "b"}, b"hello", True) + wire("GET", "/", {}, None, False)
    heard = Heard()
    try:
        heard.reader.feed(good[:position] + data + good[position:])
    except S3Error as refusal:
        assert refusal.code != "InternalError"


def test_an_error_of_ours_in_a_callback_is_not_blamed_on_the_client(caplog: pytest.LogCaptureFixture) -> None:
    def broken(exchange: Exchange) -> None:
        raise RuntimeError("a bug")

    reader = RequestReader(Limits(), broken, broken, lambda: None)
    with pytest.raises(S3Error) as caught:
        reader.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert caught.value.code == "InternalError"
    assert "a bug" in caplog.text
