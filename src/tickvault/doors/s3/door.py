"""What the connections of one worker share: the way in, the limits, and one timer for all of them.

Invariants: there is one timer a worker, not one a connection; `now` is at most one sweep old and only used
for timeouts; after `stop` no request begins on an idle connection, and `stopped` is set once the last one is
gone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from tickvault.audit.auditor import Auditor
from tickvault.doors.s3.admission import Admission
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.sigv4 import Authenticator
from tickvault.doors.s3.wire import HeadRenderer

if TYPE_CHECKING:
    from tickvault.doors.s3.http import Connection

log = logging.getLogger("tickvault.s3")
_UNAUDITED_LOG_S = 10.0
Route = Callable[[Any, Request], Response | Awaitable[Response]]
RefuseEarly = Callable[[Any, Request], Response | None]


def refuse_nothing(context: Any, request: Request) -> Response | None:
    """Let every upload send its body."""
    return None


class Door:
    """The state that all connections of a worker share.

    Parameters
    ----------
    context : object
        Handed to `route` with every request.
    route : callable
        Runs one request: returns a `Response`, or an awaitable of one.
    authenticator : Authenticator
        Checks signatures.
    domains : tuple of str
        Domains whose subdomains are buckets.
    limits : Limits
        What clients may use up.
    executor : concurrent.futures.Executor or None
        Where blocking response bodies are read; None is the event loop's own.
    refuse_early : callable
        Given a request whose client waits to be invited to send its body: the answer that refuses it, or None.
    auditor : Auditor, optional
        Told of every request before it is answered.
    """

    def __init__(
        self,
        context: Any,
        route: Route,
        authenticator: Authenticator,
        *,
        domains: tuple[str, ...] = (),
        limits: Limits | None = None,
        executor: Executor | None = None,
        refuse_early: RefuseEarly = refuse_nothing,
        auditor: Auditor | None = None,
    ) -> None:
        self.auditor = auditor
        self._unaudited_logged_at = float("-inf")
        self.context = context
        self.route = route
        self.refuse_early = refuse_early
        self.limits = limits if limits is not None else Limits()
        self.admission = Admission(authenticator, domains, self.limits)
        self.executor = executor
        self.heads = HeadRenderer()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.stopped = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.request_count = 0
        self.read_count = 0
        self.written_count = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.client_error_count = 0
        self.server_error_count = 0
        self.on_sweep: Callable[[], None] | None = None
        self._request_prefix = os.urandom(4).hex().upper()
        self._request_numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._sweep()

    def next_request_id(self) -> str:
        """Return an id that no other request of any worker has, 16 hexadecimal digits."""
        return f"{self._request_prefix}{next(self._request_numbers) & 0xFFFFFFFF:08X}"

    def log_unaudited(self, request_id: str, error: Exception) -> None:
        """Log that a request could not be audited; at most every ten seconds, because then none can."""
        if self.now - self._unaudited_logged_at >= _UNAUDITED_LOG_S:
            self._unaudited_logged_at = self.now
            log.error("request %s, and those that follow, cannot be audited and are refused: %s", request_id, error)

    def count(self, method: str, status: int, *, on_object: bool) -> None:
        """Count an answer."""
        self.request_count += 1
        if status >= 500:
            self.server_error_count += 1
        elif status >= 400:
            self.client_error_count += 1
        elif on_object and status < 300:
            if method == "GET":
                self.read_count += 1
            elif method == "PUT":
                self.written_count += 1

    def counts(self) -> tuple[int, ...]:
        """Return what was counted, in the order of `supervisor.Counters`."""
        return (
            self.request_count,
            self.read_count,
            self.written_count,
            self.bytes_in,
            self.bytes_out,
            self.client_error_count,
            self.server_error_count,
        )

    def stop(self) -> None:
        """Close idle connections, and every other one after its last answer."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()
        self._check_stopped()

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self, connection: Connection) -> None:
        """Say that a connection is gone."""
        self.connections.discard(connection)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self.stopping and not self.connections:
            self.stopped.set()

    def _sweep(self) -> None:
        now = self.now = self.loop.time()
        self.heads.refresh()
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.timed_out(now)
        if self.on_sweep is not None:
            self.on_sweep()
        self._timer = self.loop.call_later(self.limits.sweep_interval_s, self._sweep)
