"""The body of a request: filled by the connection, read by the operation.

Invariants: no more than `Limits.body_buffer_max` bytes and one read of the socket wait in memory; the end is
only reached when framing, length, content hash, signatures and checksums were all found right; what goes
wrong is raised to the reader, once and for good.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from tickvault.doors.s3.checksums import BodyChecks
from tickvault.doors.s3.chunked import ChunkedDecoder
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Chunk

_NOTHING: dict[str, str] = {}


class EmptyBody:
    """The body of a request that has none; one instance serves all."""

    __slots__ = ()

    length = 0
    complete = True
    trailers: Mapping[str, str] = _NOTHING
    checksums: Mapping[str, str] = _NOTHING

    async def read(self, limit: int) -> bytes:
        """Return nothing."""
        return b""

    def read_arrived(self, limit: int) -> bytes:
        """Return nothing."""
        return b""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        raise StopAsyncIteration


EMPTY_BODY = EmptyBody()


class RequestBody:
    """A body that arrives.

    Parameters
    ----------
    length : int or None
        Decoded length, None when the client did not say, also where nothing follows its head.
    decoder : ChunkedDecoder or None
        For aws-chunked bodies.
    sha256_hex : str or None
        The signed hash of the body.
    checks : BodyChecks or None
        The checksums that the client announced.
    buffer_max : int
        Bytes to hold before `pause` is called.
    size_max : int
        Decoded bytes to accept.
    """

    __slots__ = (
        "_buffer_max",
        "_buffered",
        "_checks",
        "_chunks",
        "_decoder",
        "_ended",
        "_error",
        "_finished",
        "_hash",
        "_pieces",
        "_received",
        "_resume",
        "_sha256_hex",
        "_size_max",
        "_waiter",
        "length",
        "paused",
    )

    def __init__(
        self,
        length: int | None,
        decoder: ChunkedDecoder | None,
        sha256_hex: str | None,
        checks: BodyChecks | None,
        *,
        buffer_max: int,
        size_max: int,
    ) -> None:
        self.length = length
        self.paused = False
        self._decoder = decoder
        self._sha256_hex = sha256_hex
        self._hash = hashlib.sha256() if sha256_hex is not None else None
        self._checks = checks
        self._buffer_max = buffer_max
        self._size_max = size_max
        self._chunks: deque[bytes] = deque()
        self._pieces: deque[Chunk] = deque()
        self._buffered = 0
        self._received = 0
        self._ended = False
        self._finished = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._resume: Callable[[], None] | None = None

    # The connection's side.

    def feed(self, data: bytes) -> bool:
        """Take bytes of the wire; return True when the client must be paused until `resume` is called."""
        self._chunks.append(data)
        self._buffered += len(data)
        self._wake()
        if self._buffered > self._buffer_max and self._resume is not None:
            self.paused = True
        return self.paused

    def stream(self, resume: Callable[[], None]) -> None:
        """Say that an operation reads while the body arrives; `resume` asks for more after a pause."""
        self._resume = resume

    def end(self) -> None:
        """Say that the whole body has arrived."""
        self._ended = True
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Say that the rest will not arrive."""
        if not self._ended and self._error is None:
            self._error = error
            self._wake()

    @property
    def complete(self) -> bool:
        """All of the body has arrived."""
        return self._ended

    # The operation's side.

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailing headers, complete once the body has been read to its end."""
        return self._decoder.trailers if self._decoder is not None else _NOTHING

    @property
    def checksums(self) -> Mapping[str, str]:
        """The client's checksums that were found right, complete once the body has been read to its end."""
        return self._checks.values if self._checks is not None else _NOTHING

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises `S3Error` ``EntityTooLarge`` beyond `limit` bytes."""
        if self._ended:
            return self.read_arrived(limit)
        if self.length is not None and self.length > limit:
            raise _too_large(limit)
        pieces: list[Chunk] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
        return _joined(pieces)

    def read_arrived(self, limit: int) -> bytes:
        """Return the whole of a body that is `complete`, as `read` does."""
        assert self._ended
        if self.length is not None and self.length > limit:
            raise _too_large(limit)
        while self._chunks:
            self._take(self._chunks.popleft())
            if self._received > limit:
                raise _too_large(limit)
        if self._error is not None:
            raise self._error
        self._finish()
        pieces = list(self._pieces)
        self._pieces.clear()
        return _joined(pieces)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            if self._pieces:
                return self._pieces.popleft()
            if self._chunks:
                self._take(self._chunks.popleft())
                continue
            if self._error is not None:
                raise self._error
            if self._ended:
                self._finish()
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _take(self, data: bytes) -> None:
        self._buffered -= len(data)
        if self.paused and self._buffered <= self._buffer_max // 2:
            self.paused = False
            if self._resume is not None:
                self._resume()
        try:
            pieces: list[memoryview] | list[bytes] = [data] if self._decoder is None else self._decoder.feed(data)
            for piece in pieces:
                self._received += len(piece)
                if self._received > self._size_max:
                    raise _too_large(self._size_max)
                if self._hash is not None:
                    self._hash.update(piece)
                if self._checks is not None:
                    self._checks.update(piece)
            self._pieces.extend(pieces)
        except S3Error as error:
            self._error = error
            self._chunks.clear()
            raise

    def _finish(self) -> None:
        if self._finished:
            return
        try:
            if self._decoder is not None:
                self._decoder.finish()
            elif self.length is not None and self._received != self.length:
                raise S3Error("IncompleteBody")
            if self._hash is not None and not hmac.compare_digest(self._hash.hexdigest(), self._sha256_hex or ""):
                raise S3Error(
                    "XAmzContentSHA256Mismatch",
                    None,
                    ClientComputedContentSHA256=self._sha256_hex,
                    S3ComputedContentSHA256=self._hash.hexdigest(),
                )
            if self._checks is not None:
                self._checks.finish(self.trailers)
        except S3Error as error:
            self._error = error
            raise
        self._finished = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _joined(pieces: list[Chunk]) -> bytes:
    if len(pieces) == 1 and type(pieces[0]) is bytes:
        return pieces[0]
    return b"".join(pieces)


def _too_large(limit: int) -> S3Error:
    return S3Error("EntityTooLarge", None, MaxSizeAllowed=limit)
