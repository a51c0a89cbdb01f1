"""The reading half of a connection: bytes in, requests out.

Invariants: a head, a chunk extension and a trailer are bounded before they are whole; a request whose length
could be read in two ways is refused; after a refusal nothing more is read. Each refusal is an `S3Error` that
`feed` raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import httptools

from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Request

log = logging.getLogger("tickvault.s3")

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")}
#: A second one of these would give two readings of one request.
_SINGLE_HEADERS = frozenset(
    {
        "authorization",
        "content-length",
        "expect",
        "host",
        "transfer-encoding",
        "x-amz-content-sha256",
        "x-amz-date",
    }
)
_HEADER_NAME_COUNT_MAX = 512
_HEADER_OVERHEAD_SIZE = 32

BETWEEN, HEAD, BODY = 0, 1, 2

_header_names: dict[bytes, str] = {}


class Exchange:
    """A request and its answer, from the end of the head to the end of the answer."""

    __slots__ = (
        "arrived",
        "audited",
        "body",
        "discarded",
        "dispatched",
        "early",
        "expects_continue",
        "has_body",
        "headers",
        "keep_alive",
        "method",
        "refusal",
        "request",
        "target",
        "wire_length",
        "wire_received",
    )

    def __init__(self, method: str, target: bytes, headers: dict[str, str], *, keep_alive: bool) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.has_body = False
        self.arrived = True
        """The whole request is here."""
        self.discarded = False
        """Answered already; what still arrives of the body is dropped."""
        self.audited = False
        """The audit trail was told how it ended."""
        self.dispatched = False
        """The operation was started."""
        self.expects_continue = False
        self.wire_length: int | None = 0
        self.wire_received = 0
        self.refusal: S3Error | None = None
        self.request: Request | None = None
        self.body: RequestBody | None = None
        self.early: list[bytes] | None = None
        """Pieces of the body from before its turn came."""

    def take(self, data: bytes) -> bool:
        """Take a piece of the body; return True when the client must pause."""
        self.wire_received += len(data)
        if self.discarded:
            return False
        if self.body is not None:
            return self.body.feed(data)
        if self.early is None:
            self.early = []
        self.early.append(data)
        return False


class RequestReader:
    """Parses the bytes of one connection.

    Parameters
    ----------
    limits : Limits
        Sizes of heads.
    begins : callable
        Called with an `Exchange` when its head is complete and a body follows, or when a request without a
        body is.
    completes : callable
        Called with an `Exchange` when its body has arrived.
    pause : callable
        Called when a body arrives faster than it is read.
    """

    __slots__ = (
        "_begins",
        "_completes",
        "_fed",
        "_header_size",
        "_headers",
        "_limits",
        "_parser",
        "_pause",
        "_progressed",
        "_refusal",
        "_url",
        "incoming",
        "phase",
    )

    def __init__(
        self,
        limits: Limits,
        begins: Callable[[Exchange], None],
        completes: Callable[[Exchange], None],
        pause: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._begins = begins
        self._completes = completes
        self._pause = pause
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_size = 0
        self._fed = 0
        """Bytes since the parser last came to the end of something."""
        self._progressed = False
        self._refusal: S3Error | None = None
        self.phase = BETWEEN
        self.incoming: Exchange | None = None

    def close(self) -> None:
        """Break the circles through the parser and the connection; nothing may be fed after it."""
        self._parser = None
        self._begins = self._completes = _ignore
        self._pause = _ignore_pause

    def feed(self, data: bytes) -> None:
        """Parse the next bytes.

        Raises
        ------
        S3Error
            The refusal to answer; nothing may be fed after it.
        """
        if self.phase == BETWEEN:
            self.phase = HEAD
        self._progressed = False
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An offer of another protocol (h2c) is passed over; such a request has no body here, and what
                # follows it is the next request.
                data = data[upgrade.args[0] :]
                if data:
                    continue
            except httptools.HttpParserError as error:
                raise self._refused(error) from None
            break
        if self._progressed:
            self._fed = 0
        elif self.phase == HEAD or (self.phase == BODY and self.incoming and self.incoming.wire_length is None):
            # The parser itself collects a header, an extension or a trailer until it is whole, however long.
            self._fed += len(data)
            if self._fed > self._limits.header_size_max + self._limits.url_size_max:
                raise S3Error("RequestHeaderSectionTooLarge")

    # Called by the parser.

    def on_url(self, url: bytes) -> None:
        """Take the request target, or a piece of it."""
        self._url += url
        if len(self._url) > self._limits.url_size_max:
            self._refuse(S3Error("InvalidURI", "The request target is too long.", status=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer of the chunked transfer encoding, which means nothing here."""
        self._header_size += len(name) + len(value) + _HEADER_OVERHEAD_SIZE
        if self._header_size > self._limits.header_size_max:
            self._refuse(S3Error("RequestHeaderSectionTooLarge"))
        if self.phase == BODY:
            return
        key = _header_names.get(name) or _header_name(name)
        text = value.decode("latin-1")
        if key in self._headers:
            if key in _SINGLE_HEADERS:
                self._refuse(S3Error("InvalidRequest", f"The header {key} must not repeat."))
            text = f"{self._headers[key]},{text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Take the end of a head; a request with a body begins here."""
        self.phase = BODY
        self._progressed = True
        headers = self._headers
        parser = self._parser
        method = _METHODS.get(parser.get_method())
        if method is None:
            self._refuse(S3Error("MethodNotAllowed"))
        if len(headers) > self._limits.header_count_max:
            self._refuse(S3Error("RequestHeaderSectionTooLarge"))
        exchange = Exchange(method, self._url, headers, keep_alive=parser.should_keep_alive())
        if "transfer-encoding" in headers or "content-length" in headers:
            exchange.wire_length = self._wire_length(headers)
            exchange.has_body = exchange.wire_length != 0
        if "host" not in headers and parser.get_http_version() != "1.0":
            self._refuse(S3Error("InvalidRequest", "The Host header is missing."))
        if "expect" in headers and (exchange.has_body or exchange.method in ("PUT", "POST")):
            if headers["expect"].lower() != "100-continue":
                self._refuse(S3Error("InvalidRequest", "Expect must be 100-continue.", status=417))
            # Also where the body is empty: botocore waits for the invitation even then, and is confused by the next
            # answer of a connection on which it got a final one in its place.
            exchange.expects_continue = True
        if exchange.has_body:
            if "upgrade" in headers and parser.should_upgrade():
                self._refuse(S3Error("InvalidRequest", "A request with a body cannot change the protocol."))
            exchange.arrived = False
        self.incoming = exchange
        if exchange.has_body:
            self._begins(exchange)

    def on_body(self, data: bytes) -> None:
        """Take a piece of a body."""
        self._progressed = True
        if self.incoming is not None and self.incoming.take(data):
            self._pause()

    def on_message_complete(self) -> None:
        """Take the end of a request; one without a body begins here."""
        exchange = self.incoming
        assert exchange is not None
        self.incoming = None
        self.phase = BETWEEN
        self._url = b""
        self._headers = {}
        self._header_size = 0
        if exchange.has_body:
            exchange.arrived = True
            self._completes(exchange)
        else:
            self._begins(exchange)

    def _wire_length(self, headers: dict[str, str]) -> int | None:
        """Return the length of the body as HTTP frames it, None for the chunked transfer encoding."""
        text = headers.get("content-length")
        encoding = headers.get("transfer-encoding")
        if encoding is not None:
            if text is not None:
                self._refuse(S3Error("InvalidRequest", "Content-Length and Transfer-Encoding exclude each other."))
            if encoding.lower() != "chunked":
                self._refuse(S3Error("NotImplemented", "The only Transfer-Encoding is chunked."))
            return None
        if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
            self._refuse(S3Error("InvalidRequest", "Content-Length must be a number."))
        return int(text)

    def _refuse(self, error: S3Error) -> NoReturn:
        self._refusal = error
        raise error  # stops the parser, which replaces it by an error of its own

    def _refused(self, error: Exception) -> S3Error:
        if self._refusal is not None:
            return self._refusal
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            log.error("unexpected error in an S3 connection", exc_info=cause)
            return S3Error("InternalError")
        return S3Error("BadRequest", f"The request is not valid HTTP/1.1: {error}")


def _ignore(exchange: Exchange) -> None:
    pass


def _ignore_pause() -> None:
    pass


def _header_name(name: bytes) -> str:
    """Return a header name in lower case, one string for all connections while there is room."""
    text = name.decode("latin-1").lower()
    if len(_header_names) < _HEADER_NAME_COUNT_MAX and len(name) <= 64:
        _header_names[name] = text
    return text
