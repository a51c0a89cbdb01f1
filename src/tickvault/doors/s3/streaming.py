"""Response bodies that do not fit in one write.

Invariants: no more than one piece is read ahead of the client; the first piece is read before the head is
sent, so that damage found there is still answered as an error; exactly the announced length is sent, or the
connection is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from tickvault.doors.s3.message import Response

Pieces = tuple[bytes | memoryview, ...]


class ClientGoneError(Exception):
    """The client closed the connection while an answer was being sent."""


class TruncatedError(Exception):
    """A body ended, or failed, after its head was sent."""


async def send_stream(
    response: Response,
    head: Callable[[], bytes],
    write: Callable[[Pieces], None],
    drained: Callable[[], Awaitable[None] | None],
    executor: Executor | None,
) -> None:
    """Send a response whose body is an iterator.

    Parameters
    ----------
    response : Response
        With `length`.
    head : callable
        Renders the head.
    write : callable
        Hands pieces to the transport; raises `ClientGoneError` when the client is gone.
    drained : callable
        Returns what to wait for while the client is slower, None when it is not.
    executor : concurrent.futures.Executor or None
        Where a blocking body is read.

    Raises
    ------
    TruncatedError
        The head was sent, and the body cannot follow as announced: the connection must be cut.
    ClientGoneError
        There is nobody to send to.
    Exception
        Whatever reading the first piece raised; nothing was sent.
    """
    left = response.length
    assert left is not None, "a streamed body must come with its length"
    source = _Source(response, executor)
    try:
        piece = await source.next()
        if piece is None and left:
            raise RuntimeError(f"a body of {left} bytes was announced, none came")
        rendered = head()
        if piece is not None:
            left -= len(piece)
            write((rendered, piece))
        else:
            write((rendered,))
        while left > 0:
            waiting = drained()
            if waiting is not None:
                await waiting
            try:
                piece = await source.next()
            except ClientGoneError:
                raise
            except Exception as error:
                raise TruncatedError(f"{type(error).__name__}: {error}") from error
            if piece is None:
                break
            left -= len(piece)
            if left < 0:
                break
            write((piece,))
        if left:
            raise TruncatedError(f"the body is off by {-left} bytes")
    finally:
        source.close()


class _Source:
    """An iterator of pieces, advanced in a thread when it may block."""

    def __init__(self, response: Response, executor: Executor | None) -> None:
        assert not isinstance(response.body, (bytes, memoryview))
        self._pieces: Iterator[memoryview] = iter(response.body)
        self._blocking = response.blocking
        self._executor = executor
        self._running: asyncio.Future[Any] | None = None

    async def next(self) -> memoryview | None:
        if not self._blocking:
            return next(self._pieces, None)
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._executor, next, self._pieces, None)
        # Shielded: a cancelled wait must not hide that the thread still uses the iterator.
        piece: memoryview | None = await asyncio.shield(self._running)
        self._running = None
        return piece

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is None:
            return
        if self._running is not None and not self._running.done():
            self._running.add_done_callback(lambda _: close())
        else:
            close()
