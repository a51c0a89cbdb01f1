"""One HTTP/1.1 connection.

Invariants: answers leave in the order of their requests; at most one request runs at a time, those behind it
wait and the client is not read meanwhile; a request that does not wait for anything is answered inside
`data_received`, without a task; an answer that cannot be finished as announced ends the connection, so that a
client never takes a part for the whole; a body is asked for (100 Continue) only when its head alone is no reason to
refuse it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, cast

from tickvault.doors.s3.auditing import record_answer, record_unadmitted
from tickvault.doors.s3.errors import S3Error, error_response
from tickvault.doors.s3.flow import FOR_BODY, FOR_GOOD, FOR_QUEUE, FlowControl
from tickvault.doors.s3.message import Deferred, Outcome, Request, Response
from tickvault.doors.s3.reader import BETWEEN, BODY, HEAD, Exchange, RequestReader
from tickvault.doors.s3.streaming import ClientGoneError, TruncatedError, send_stream
from tickvault.doors.s3.wire import CONTINUE, has_body
from tickvault.errors import TickVaultError

if TYPE_CHECKING:
    from tickvault.doors.s3.door import Door

log = logging.getLogger("tickvault.s3")

#: Up to here one copy costs less than the second buffer of a gathered write.
_JOIN_SIZE_MAX = 16 * 1024


class Connection(FlowControl):
    """The protocol of one client connection.

    Parameters
    ----------
    door : Door
        What all connections of the worker share.
    """

    __slots__ = (
        "_advancing",
        "_current",
        "_dropped_size",
        "_eof",
        "_input_closed",
        "_lingering",
        "_queue",
        "_reader",
        "_remote",
        "_secure",
        "_task",
        "_tls_version",
    )

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._reader = RequestReader(door.limits, self._begins, self._completes, self._pause_for_body)
        self._current: Exchange | None = None
        self._queue: deque[Exchange] | None = None
        self._advancing = False
        self._task: asyncio.Task[None] | None = None
        self._input_closed = False
        self._dropped_size = 0
        """Bytes read since the input was closed."""
        self._lingering = False
        self._eof = False
        self._remote: str | None = None
        self._secure = False
        self._tls_version = ""

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        door = self._door
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=door.limits.write_buffer_max)
        self._secure = transport.get_extra_info("sslcontext") is not None
        if self._secure:
            found = transport.get_extra_info("ssl_object")
            self._tls_version = ((found and found.version()) or "").removeprefix("TLSv")
        self.deadline = door.now + door.limits.idle_timeout_s
        door.connections.add(self)
        if door.stopping or len(door.connections) > door.limits.connections_max:
            self._refuse(S3Error("SlowDown"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; an operation in flight runs to its end, its answer goes nowhere."""
        self._transport = None
        self._queue = None
        incoming = self._reader.incoming
        if incoming is not None and incoming.body is not None:
            incoming.body.fail(S3Error("IncompleteBody"))
        self._reader.close()
        self._release_writers()
        self._door.forget(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._input_closed:
            self._drop(len(data))
            return
        self._door.bytes_in += len(data)
        if self._reader.phase == BETWEEN:
            self.deadline = self._door.now + self._door.limits.header_timeout_s
        try:
            self._reader.feed(data)
        except S3Error as refusal:
            if not self._input_closed:  # else: bytes after the last request of this connection
                self._refuse(refusal)

    def _drop(self, size: int) -> None:
        """Drop bytes that nobody will read; a client that sends on and on is no longer read from."""
        self._dropped_size += size
        if self._dropped_size > self._door.limits.linger_size_max:
            self._pause(FOR_GOOD)

    def eof_received(self) -> bool:
        """Take the end of what the client sends; answers still owed are sent before the connection closes."""
        self._eof = self._input_closed = True
        incoming = self._reader.incoming
        if incoming is not None and not incoming.discarded:
            # The rest of this request will not come: its operation is told so, or it never starts.
            refusal = S3Error("IncompleteBody")
            incoming.keep_alive = False
            if incoming.body is not None:
                incoming.body.fail(refusal)
            if not incoming.dispatched:
                incoming.refusal = refusal  # answered in its turn
                if incoming is self._current:
                    incoming.dispatched = True
                    self._answer_error(incoming, refusal)
        return not self._secure and (self._current is not None or bool(self._queue))

    def resume_writing(self) -> None:
        """Take up what waited for the client."""
        super().resume_writing()
        if self._queue:
            self._advance()

    # The door's side.

    def stop(self) -> None:
        """Close now when idle; otherwise the answer in flight is the last."""
        if self._current is None and not self._queue and self._reader.phase == BETWEEN and self._transport:
            self._transport.close()
            if self._secure:
                # TLS waits for the client to agree to the end; one that keeps its connection for later never does.
                self._door.loop.call_later(self._door.limits.linger_timeout_s, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def timed_out(self, now: float) -> None:
        """Look what the connection waits for, now that its deadline has passed."""
        limits = self._door.limits
        transport = self._transport
        if transport is None:
            return
        incoming = self._reader.incoming
        if self._lingering:
            transport.abort()
        elif self._write_paused:
            size = transport.get_write_buffer_size()
            if size > self._progress_mark - limits.progress_size_min:
                transport.abort()
            else:
                self._progress_mark = size
                self.deadline = now + limits.progress_timeout_s
        elif self._reader.phase == BODY and incoming is not None and not self._pauses:
            if incoming.wire_received - self._progress_mark < limits.progress_size_min:
                self._refuse(S3Error("RequestTimeout"))
            else:
                self._progress_mark = incoming.wire_received
                self.deadline = now + limits.progress_timeout_s
        elif self._current is not None or self._queue:
            self.deadline = now + limits.idle_timeout_s
        elif self._reader.phase == HEAD:
            self._refuse(S3Error("RequestTimeout"))
        elif transport.get_write_buffer_size():
            transport.abort()  # a close would wait for a client that does not read
        else:
            transport.close()

    # The reader's side.

    def _begins(self, exchange: Exchange) -> None:
        """Begin a request, or let it wait for the one before it and for the client to take its answers."""
        if self._input_closed:
            return
        if not exchange.keep_alive and exchange.arrived:
            self._input_closed = True
        if not exchange.arrived:
            self._progress_mark = 0
            self.deadline = self._door.now + self._door.limits.progress_timeout_s
        if self._current is None and not self._queue and not self._write_paused:
            self._begin(exchange)
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(exchange)
        self._pause(FOR_QUEUE)

    def _completes(self, exchange: Exchange) -> None:
        """Go on with a request whose body has arrived."""
        if not exchange.keep_alive:
            self._input_closed = True
        self.deadline = self._door.now + self._door.limits.idle_timeout_s
        if exchange.body is not None and not exchange.discarded:
            exchange.body.end()
            if not exchange.dispatched and self._current is exchange:
                self._dispatch(exchange)

    def _refuse(self, refusal: S3Error) -> None:
        """Answer what could not be read, after everything before it, and end the connection."""
        exchange = self._reader.incoming
        if exchange is None or exchange.refusal is not None:
            # Refused within its head: all that is known of it is that it was a request.
            exchange = Exchange("GET", b"", {}, keep_alive=False)
            exchange.arrived = False
            exchange.refusal = refusal
            self._begins(exchange)
            self._input_closed = True
            return
        self._input_closed = True
        exchange.keep_alive = False
        exchange.refusal = refusal
        if exchange.discarded:
            self._end(unread=True)
        elif exchange is self._current:
            if not exchange.dispatched:
                exchange.dispatched = True
                self._answer_error(exchange, refusal)
            elif exchange.body is not None:
                exchange.body.fail(refusal)  # the operation ends with it, its answer is the last

    def _pause_for_body(self) -> None:
        self._pause(FOR_BODY)

    def _resume_for_body(self) -> None:
        incoming = self._reader.incoming
        if incoming is not None:
            # The pause was ours: the client's time starts again.
            self._progress_mark = incoming.wire_received
            self.deadline = self._door.now + self._door.limits.progress_timeout_s
        self._resume(FOR_BODY)

    # One request after the other.

    def _advance(self) -> None:
        """Begin waiting requests while none runs."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._queue and self._current is None and not self._write_paused and not self._lingering:
                self._begin(self._queue.popleft())
        finally:
            self._advancing = False
        if not self._queue:
            self._queue = None
            self._resume(FOR_QUEUE)

    def _begin(self, exchange: Exchange) -> None:
        """Authenticate a request, and run it once it has what it needs."""
        self._current = exchange
        if exchange.refusal is not None:
            self._answer_error(exchange, exchange.refusal)
            return
        if self._remote is None and self._transport is not None:
            peer = self._transport.get_extra_info("peername")
            self._remote = peer[0] if isinstance(peer, tuple) else ""
        door = self._door
        try:
            exchange.request, body = door.admission.admit(
                exchange.method,
                exchange.target,
                exchange.headers,
                door.next_request_id(),
                has_body=exchange.has_body,
                remote=self._remote or "",
                secure=self._secure,
                tls_version=self._tls_version,
            )
        except Exception as error:  # whatever it is, the client is owed an answer
            self._answer_error(exchange, error)
            return
        if body is not None:
            exchange.body = body
            for piece in exchange.early or ():
                body.feed(piece)
            exchange.early = None
            if exchange.expects_continue and not exchange.wire_received:
                # What the head alone tells is told now: a client need not send a body that nobody will take.
                refused = door.refuse_early(door.context, exchange.request)
                if refused is not None:
                    self._answer(exchange, refused)
                    return
                self._write(CONTINUE)
            exchange.expects_continue = False
            if exchange.arrived:
                body.end()
            else:
                if exchange.wire_length is not None and exchange.wire_length <= door.limits.body_inline_max:
                    return  # `_completes` goes on
                body.stream(self._resume_for_body)
        self._dispatch(exchange)

    def _dispatch(self, exchange: Exchange) -> None:
        exchange.dispatched = True
        door = self._door
        try:
            result = door.route(door.context, cast(Request, exchange.request))
        except Exception as error:
            self._answer_error(exchange, error)
            return
        if isinstance(result, Response):
            self._answer(exchange, result)
        elif type(result) is Deferred:
            result.then(partial(self._answer_outcome, exchange))
        else:
            self._task = door.loop.create_task(self._await_answer(exchange, result))

    async def _await_answer(self, exchange: Exchange, awaitable: Awaitable[Response]) -> None:
        try:
            response = await awaitable
        except Exception as error:
            self._answer_error(exchange, error)
        else:
            self._answer(exchange, response)

    def _answer_outcome(self, exchange: Exchange, outcome: Outcome) -> None:
        try:
            response: Response = outcome()
        except Exception as error:
            self._answer_error(exchange, error)
        else:
            self._answer(exchange, response)

    # Answers.

    def _answer_error(self, exchange: Exchange, error: BaseException) -> None:
        request = exchange.request
        if request is not None:
            request_id, path = request.request_id, request.path
        else:
            request_id = self._door.next_request_id()
            path = exchange.target.partition(b"?")[0].decode("latin-1")
        response = error_response(error, request_id, path, method=exchange.method)
        self._answer(exchange, response, request_id)

    def _answer(self, exchange: Exchange, response: Response, request_id: str | None = None) -> None:
        """Send an answer, or start to stream it."""
        body = response.body
        if self._transport is None:
            _close(body)
            self._audit_unheard(exchange, response)
            return
        if request_id is None:
            request_id = cast(Request, exchange.request).request_id
        request = exchange.request
        if self._door.auditor is not None and not exchange.audited:
            exchange.audited = True
            try:
                if request is None:
                    self._audit_unadmitted(exchange, response, request_id)
                else:
                    record_answer(self._door.auditor, request, response)
            except Exception as error:
                # Nobody is told what happened, but that it cannot be told: what cannot be audited is not answered.
                self._door.log_unaudited(request_id, error)
                _close(body)
                response = error_response(S3Error("SlowDown"), request_id, method=exchange.method)
                body = response.body
        on_object = request is not None and request.key != "" and not request.query
        self._door.count(exchange.method, response.status, on_object=on_object)
        sends_body = exchange.method != "HEAD" and has_body(response.status)
        if sends_body and not isinstance(body, (bytes, memoryview, bytearray)):
            self._task = self._door.loop.create_task(self._stream(exchange, response, request_id))
            return
        if sends_body:
            length = len(cast(bytes, body))
        else:
            length = response.length if response.length is not None else _length(body)
            _close(body)
            body = b""
        try:
            head = self._head(exchange, response, request_id, length)
        except S3Error as error:
            self._answer_error(exchange, error)
            return
        self._send(head, cast(bytes, body))
        self._done(exchange)

    def _audit_unheard(self, exchange: Exchange, response: Response) -> None:
        """Put a refusal that the client did not wait for into the audit trail: to be gone first hides nothing."""
        request, auditor = exchange.request, self._door.auditor
        if request is None or auditor is None or exchange.audited or response.status < 400:
            return
        exchange.audited = True
        try:
            record_answer(auditor, request, response)
        except Exception as error:
            self._door.log_unaudited(request.request_id, error)

    def _audit_unadmitted(self, exchange: Exchange, response: Response, request_id: str) -> None:
        """Put what nobody signed for, or could be made out, on its way into the audit trail, before it is answered."""
        auditor = self._door.auditor
        assert auditor is not None
        if self._remote is None and self._transport is not None:
            peer = self._transport.get_extra_info("peername")
            self._remote = peer[0] if isinstance(peer, tuple) else ""
        record_unadmitted(
            auditor, exchange.method, exchange.target, exchange.headers, self._remote or "", request_id, response
        )

    async def _stream(self, exchange: Exchange, response: Response, request_id: str) -> None:
        started = False

        def head() -> bytes:
            nonlocal started
            rendered = self._head(exchange, response, request_id, response.length or 0)
            started = True
            return rendered

        try:
            await send_stream(response, head, self._write_pieces, self._wait_drained, self._door.executor)
        except ClientGoneError:
            pass
        except Exception as error:
            if not started:
                self._answer_error(exchange, error)
            elif self._transport is not None:
                _log_cut(exchange, error, request_id)
                self._transport.abort()
        else:
            self._done(exchange)

    def _head(self, exchange: Exchange, response: Response, request_id: str, length: int) -> bytes:
        if exchange.keep_alive:
            exchange.keep_alive = self._can_go_on(exchange)
        connection = None
        if not exchange.keep_alive:
            connection = "close"
        elif "connection" in exchange.headers and exchange.headers["connection"].lower() == "keep-alive":
            connection = "keep-alive"  # what a client of HTTP/1.0 waits to be told
        return self._door.heads.render(response.status, response.headers, length, request_id, connection)

    def _can_go_on(self, exchange: Exchange) -> bool:
        """Tell whether another request may follow this one."""
        if self._door.stopping or (self._eof and not self._queue):
            return False
        if exchange.expects_continue:
            return False  # it was not invited: nobody knows whether a body will follow
        if exchange.arrived:
            return True
        if exchange.wire_length is None:
            return False
        return exchange.wire_length - exchange.wire_received <= self._door.limits.drain_size_max

    def _done(self, exchange: Exchange) -> None:
        """Go on after an answer."""
        self._current = None
        self._task = None
        if self._transport is None:
            return
        if not exchange.keep_alive or (self._eof and not self._queue):
            self._end(unread=not exchange.arrived)
            return
        if not exchange.arrived:
            exchange.discarded = True
            exchange.body = exchange.early = None
            self._resume(FOR_BODY)
        elif not self._write_paused:
            self.deadline = self._door.now + self._door.limits.idle_timeout_s
        if self._queue:
            self._advance()
        elif self._door.stopping:
            self.stop()

    def _end(self, *, unread: bool) -> None:
        """End the connection once everything is sent.

        With bytes of the client still `unread`, a close would make the kernel reset the connection and throw
        away an answer that the client has not read yet; so only the sending side is closed and the rest read
        and dropped, for `linger_timeout_s` and up to `linger_size_max` bytes.
        """
        transport = self._transport
        if transport is None:
            return
        self._input_closed = True
        if not unread or self._eof or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = True
        self.deadline = self._door.now + self._door.limits.linger_timeout_s
        transport.write_eof()
        self._resume(FOR_QUEUE | FOR_BODY)

    def _send(self, head: bytes, body: bytes | memoryview) -> None:
        if len(body) <= _JOIN_SIZE_MAX:
            self._write(b"".join((head, body)))
        else:
            self._write_pieces((head, body))


def _log_cut(exchange: Exchange, error: Exception, request_id: str) -> None:
    """Log an answer that could not be finished: damage in one line, a bug with its traceback."""
    request = exchange.request
    name = "" if request is None else f"{request.bucket}/{request.key}"
    expected = isinstance(error, TruncatedError) and isinstance(error.__cause__, TickVaultError | None)
    log.error(
        "request %s for %r was cut in the middle of its answer: %s",
        request_id,
        name,
        " ".join(str(error).split()),
        exc_info=None if expected else error,
    )


def _length(body: object) -> int:
    return len(body) if isinstance(body, (bytes, memoryview, bytearray)) else 0


def _close(body: object) -> None:
    """Close the source of a body that is not sent."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
