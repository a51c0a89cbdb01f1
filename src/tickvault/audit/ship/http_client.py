"""A small HTTP/1.1 client for one receiver: one connection, kept alive, one request at a time.

Invariants: one deadline bounds a whole request, from the connect to the last byte of the answer; an answer has a size
limit; no redirect is followed, because it would carry the secret elsewhere; a connection that the receiver has closed
is noticed before it is used again, and a request is never repeated here. Proxies are not supported.

It is ``http.client`` with a socket that keeps the deadline and can be cut from another thread; a larger library offers
neither, and nothing else that is needed here.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

from tickvault._version import __version__
from tickvault.audit.ship.endpoint import Endpoint
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.wire import Interrupt, Wire

ANSWER_BYTES_MAX = 16 << 20
_SAID_MAX = 300
_USER_AGENT = f"tickvault/{__version__}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def said(self) -> str:
        """The beginning of the body as one line of text, for a message."""
        text = " ".join(self.body[: 4 * _SAID_MAX].decode("utf-8", "replace").split())
        shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
        return shown if len(shown) <= _SAID_MAX else shown[:_SAID_MAX] + "…"

    def retry_after_s(self, now_s: float | None = None) -> float | None:
        """Return the wait that ``Retry-After`` asks for, seconds (RFC 9110, 10.2.3); None without a usable one."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return float(value)
        try:
            at = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
        return max(0.0, at - (time.time() if now_s is None else now_s))


class _Stream(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)


class _Socket:
    """What ``http.client`` wants of a socket; closing is the owner's business."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.sendall = wire.sendall

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self._wire), 64 << 10)

    def close(self) -> None:
        pass


class HttpClient:
    """Requests to one receiver."""

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext | None, interrupt: Interrupt, *, timeout_s: float = 30.0
    ) -> None:
        self.endpoint = endpoint
        self._tls = tls
        self._interrupt = interrupt
        self._timeout_s = timeout_s
        self._wire: Wire | None = None

    def post(self, target: str, body: bytes, headers: Mapping[str, str], *, compress: bool = False) -> Answer:
        """Send a POST and return the answer, whatever its status.

        Parameters
        ----------
        target : str
            Path and query.
        body : bytes
            What is sent.
        headers : mapping of str to str
            Beside ``Host``, ``User-Agent`` and ``Content-Length``.
        compress : bool
            Send the body as gzip.

        Raises
        ------
        SinkUnavailable
            There was no whole answer.
        """
        self._interrupt.check()
        headers = {"User-Agent": _USER_AGENT, **headers}
        if compress:
            body = gzip.compress(body, 5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            return self._exchange(target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._interrupt.check()
            raise SinkUnavailable(f"{self.endpoint.shown}: {in_words(error, self._timeout_s)}") from error
        except BaseException:
            self.close()
            raise

    def _exchange(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        wire = self._ready()
        connection = http.client.HTTPConnection(self.endpoint.host, self.endpoint.port)
        connection.default_port = 443 if self.endpoint.is_secure else 80  # decides whether `Host` names the port
        connection.sock = cast(Any, _Socket(wire))
        connection.request("POST", target, body, dict(headers))
        response = connection.getresponse()
        received = response.read(ANSWER_BYTES_MAX + 1)
        if len(received) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        if response.length:  # read() with a limit says nothing of an end that came too early
            raise http.client.IncompleteRead(received, response.length)
        if response.will_close:
            self.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, received)

    def _ready(self) -> Wire:
        if self._wire is not None:
            if self._wire.is_quiet():
                self._wire.deadline = time.monotonic() + self._timeout_s
                return self._wire
            self.close()
        self._wire = Wire(self.endpoint.host, self.endpoint.port, self._tls, self._interrupt, self._timeout_s)
        return self._wire

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        wire, self._wire = self._wire, None
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.close()


def in_words(error: Exception, timeout_s: float) -> str:
    """Say what went wrong with a connection and what to do."""
    match error:
        case TimeoutError():
            return f"no whole answer within {timeout_s:g} s; see whether it is reachable and not overloaded"
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted: {error.verify_message}; set ca_file to the certificate of the "
                "authority that signed it, and see that the url names the host as the certificate does"
            )
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}; see that the port speaks TLS and which certificates it wants"
        case ConnectionRefusedError():
            return "refuses the connection; see that it is running and that the port is right"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionError():
            return "cut the connection before its whole answer"
        case http.client.HTTPException():
            return f"did not answer in HTTP: {error or type(error).__name__}"
        case _:
            return f"cannot be reached: {error}"


def unavailable(endpoint: Endpoint, answer: Answer, advice: str = "") -> SinkUnavailable:
    """Return the error for an answer that says nothing against the events: try later.

    Parameters
    ----------
    endpoint : Endpoint
        Who answered.
    answer : Answer
        The answer.
    advice : str
        What to do about a status that has no general advice.
    """
    if not advice:
        match answer.status:
            case 401 | 403:
                advice = "it does not accept the credentials: mend the secret file or the rights; the file is read anew"
            case 404 | 405 | 410:
                advice = "there is no such receiver at this address: mend the url"
            case 429 | 503:
                advice = "it is busy"
            case status if 300 <= status < 400:
                advice = "redirects are not followed, they would carry the secret elsewhere: mend the url"
            case _:
                advice = "see its log"
    said = f": {answer.said}" if answer.said else ""
    return SinkUnavailable(
        f"{endpoint.shown} answered {answer.status}{said} ({advice}; tried again)", answer.retry_after_s()
    )
