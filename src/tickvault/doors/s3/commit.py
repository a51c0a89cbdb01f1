"""Waiting for a durable commit on the event loop, without a thread for each.

Invariants: the committer thread wakes the loop once a burst, not once a commit; a wait ends: an operation
that has not begun when its time is up is withdrawn and raises `BusyError`, nothing was done; one that has
begun gets the same time again to end; at most `COMMITS_QUEUED_MAX` wait in a process, the next one raises
`BusyError` at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.message import Outcome, resolve
from tickvault.errors import BusyError

log = logging.getLogger("tickvault.s3")

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

COMMIT_TIMEOUT_S = Limits().commit_timeout_s
COMMITS_QUEUED_MAX = Limits().commits_queued_max


class PendingOperation(Protocol[Result_co]):
    """What this module needs of the engine's operations."""

    def cancel(self) -> bool:
        """Withdraw the operation unless it has been begun; return whether it was withdrawn."""

    def outcome(self) -> Result_co:
        """Return the result, or raise the error."""


class SubmittingStore(Protocol):
    """What this module needs of a store."""

    def submit(self, operation: Any, on_done: Callable[[Any], None]) -> None:
        """Queue an operation; `on_done` is called in the committer thread once it has an outcome."""


class _Wait:
    __slots__ = ("deadline", "operation", "then", "withdrawn")

    def __init__(self, operation: PendingOperation[Any], then: Callable[[Outcome], None], deadline: float) -> None:
        self.operation = operation
        self.then: Callable[[Outcome], None] | None = then
        """None once it was told."""
        self.deadline = deadline
        self.withdrawn = False

    def tell(self, outcome: Outcome) -> None:
        """Tell how it ended, the first time."""
        then, self.then = self.then, None
        if then is not None:
            try:
                then(outcome)
            except Exception:  # of the waiter, and no reason for the others to wait
                log.exception("a waiter failed to take the outcome of its commit")


class CommitBridge:
    """Brings the outcomes of one committer thread to one event loop.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop that waits.
    timeout_s : float
        See the module's invariants.
    queued_max : int
        Waits at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        timeout_s: float = COMMIT_TIMEOUT_S,
        queued_max: int = COMMITS_QUEUED_MAX,
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._queued_max = queued_max
        self._waits: dict[int, _Wait] = {}
        self._outcomes: deque[PendingOperation[Any]] = deque()
        self._awake = False
        self._timer: asyncio.TimerHandle | None = None
        # Not `call_soon_threadsafe`: it wakes the loop while the committer holds the interpreter, so that the loop
        # falls asleep again at once and has to be woken twice. Writing to a descriptor lets go of it.
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self._bell, self._collect)

    def __del__(self) -> None:
        # No sooner: whatever is still being committed refers to the bridge, and would ring a descriptor that may be
        # somebody else's by then.
        os.close(self._bell)

    def submit(self, store: SubmittingStore, operation: PendingOperation[Result]) -> asyncio.Future[Result]:
        """Queue an operation and return the future of its result; see `submit_then`."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self.submit_then(store, operation, partial(resolve, future))
        return future

    def submit_then(
        self, store: SubmittingStore, operation: PendingOperation[Any], then: Callable[[Outcome], None]
    ) -> None:
        """Queue an operation; `then` is called on the loop, once, with what returns its result or raises its error.

        Raises
        ------
        BusyError
            Too many are waiting already.
        """
        if len(self._waits) >= self._queued_max:
            raise BusyError(f"{self._queued_max} commits are waiting already; try again in a moment")
        self._waits[id(operation)] = _Wait(operation, then, self._loop.time() + self._timeout_s)
        try:
            store.submit(operation, self._on_done)
        except BaseException:
            del self._waits[id(operation)]
            raise
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s / 4, self._sweep)

    def _on_done(self, operation: PendingOperation[Any]) -> None:
        """Note an outcome; runs in the committer thread."""
        # Append before the look at the flag: `_collect` clears the flag before it empties the queue, so
        # either it still finds this outcome or the flag is found cleared and the loop is woken again.
        self._outcomes.append(operation)
        if not self._awake:
            self._awake = True
            os.eventfd_write(self._bell, 1)

    def _collect(self) -> None:
        os.eventfd_read(self._bell)
        self._awake = False
        outcomes = self._outcomes
        while outcomes:
            operation = outcomes.popleft()
            wait = self._waits.pop(id(operation), None)
            if wait is not None:
                wait.tell(operation.outcome)

    def _sweep(self) -> None:
        """Withdraw what has waited too long, and give up on what does not end; one timer serves all waits."""
        now = self._loop.time()
        for wait in list(self._waits.values()):
            if wait.deadline > now:
                continue
            if not wait.withdrawn:
                wait.withdrawn = True
                wait.deadline = now + self._timeout_s
                if wait.operation.cancel() is True:
                    # It was not begun and never will be: nothing is left to wait for.
                    message = "the wait for the commit ran out, and the change was withdrawn; try again in a moment"
                    wait.tell(partial(_busy, message))
                continue
            # The entry stays until the committer speaks of it, so that its operation is not forgotten
            # half-way and a committer that hangs fills the queue, which turns further writes away at once.
            wait.tell(partial(_busy, "the commit did not end in time; try again in a moment"))
        self._timer = self._loop.call_later(self._timeout_s / 4, self._sweep) if self._waits else None


def _busy(message: str) -> NoReturn:
    raise BusyError(message)


_local = threading.local()


def bridge() -> CommitBridge:
    """Return the bridge of the running event loop, made at first use."""
    loop = asyncio.get_running_loop()
    current: CommitBridge | None = getattr(_local, "bridge", None)
    if current is None or _local.loop is not loop:
        current = CommitBridge(loop)
        _local.bridge = current
        _local.loop = loop
    return current


async def async_commit(store: SubmittingStore, operation: PendingOperation[Result]) -> Result:
    """Submit an operation and wait until it is durable.

    Parameters
    ----------
    store : ObjectStore
        The store that made the operation.
    operation : Operation
        Not submitted yet.

    Returns
    -------
    Result
        What the operation's own `outcome` returns; its errors are raised.

    Raises
    ------
    BusyError
        The wait ran out.
    """
    return await bridge().submit(store, operation)
