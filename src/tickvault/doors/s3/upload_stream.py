"""A body of any size on its way into the vault, in constant memory.

Invariants: at most two batches of `BATCH_SIZE` are held, one filling while the other is written; no two threads ever
touch one writer at a time; a writer is closed exactly when nothing can refer to its bytes any more without the index
saying so: given up before its commit was submitted, or after that commit has an outcome. A wait that runs out, or a
client that goes away, is neither: the commit may still come, and compaction must not take its bytes before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.commit import async_commit
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Chunk
from tickvault.engine.commit import Operation
from tickvault.objects.store import ObjectStore

BATCH_SIZE = 1 << 20

Result = TypeVar("Result")


class Writer(Protocol[Result]):
    """The part of an `ObjectWriter` that a stream needs."""

    def write(self, data: Any, /) -> object:
        """Take the next bytes; may block on the disk."""

    def set(self, *, checksums: Mapping[str, str] | None = None, checksum_type: str | None = None) -> None:
        """Set what is known only after the body."""

    def commit_operation(self) -> Operation[Result]:
        """Sync the body and return what makes it an object."""

    def close(self) -> None:
        """End the writer."""


class Sink(Generic[Result]):
    """A writer with the checksums of what went into it.

    Parameters
    ----------
    writer : Writer
        Owned by the sink from here on.
    algorithms : sequence of str
        Checksums to compute on the way.
    """

    def __init__(self, writer: Writer[Result], algorithms: Sequence[str]) -> None:
        self._writer = writer
        self._hashers = {name: checksums.new(name) for name in algorithms}
        self._lock = threading.Lock()
        self._closed = False
        self.submitted = False
        """The commit was handed over; its outcome closes the sink."""

    def consume(self, batch: bytearray | memoryview) -> None:
        """Write one batch; blocks. After `close` it does nothing."""
        with self._lock:
            if self._closed:
                return
            # Nobody changes a batch any more; said so, the writer need not copy it.
            self._writer.write(memoryview(batch).toreadonly())
            for hasher in self._hashers.values():
                hasher.update(batch)

    def checksums(self) -> dict[str, str]:
        """Return the checksums of all bytes so far, in base64."""
        return {name: checksums.encode(hasher.digest()) for name, hasher in self._hashers.items()}

    def seal(self, values: Mapping[str, str], checksum_type: str = "FULL_OBJECT") -> Operation[Result]:
        """Sync the body and return what makes it an object with these checksums; blocks."""
        with self._lock:
            self._writer.set(checksums=values, checksum_type=checksum_type)
            return self._writer.commit_operation()

    def close(self) -> None:
        """End the writer; waits for a batch that is being written."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.close()


class _ClosingStore:
    """A store that closes a sink when its operation has an outcome."""

    def __init__(self, store: ObjectStore, sink: Sink[Any]) -> None:
        self._store = store
        self._sink = sink

    def submit(self, operation: Operation[Any], on_done: Callable[[Operation[Any]], None]) -> None:
        """Queue the operation; see `ObjectStore.submit`."""

        def done(finished: Operation[Any]) -> None:
            self._sink.close()
            on_done(finished)

        self._sink.submitted = True
        try:
            self._store.submit(operation, done)
        except BaseException:
            self._sink.submitted = False
            raise


async def pour(context: Context, pieces: AsyncIterable[Chunk], sink: Sink[Any], size_max: int) -> int:
    """Move a body into a sink and return its size in bytes; ``EntityTooLarge`` beyond `size_max`.

    Receiving and writing overlap: the next batch fills while a thread writes the last one.
    """
    size = 0
    batch = bytearray()
    in_flight: asyncio.Future[None] | None = None
    try:
        async for piece in pieces:
            size += len(piece)
            if size > size_max:
                raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=size_max)
            batch += piece
            if len(batch) >= BATCH_SIZE:
                if in_flight is not None:
                    await in_flight
                in_flight = asyncio.ensure_future(context.in_thread(sink.consume, batch))
                batch = bytearray()
        if in_flight is not None:
            await in_flight
    except BaseException:
        if in_flight is not None:
            in_flight.add_done_callback(_forget)
        raise
    if batch:
        await context.in_thread(sink.consume, batch)
    return size


async def commit(context: Context, sink: Sink[Result], values: Mapping[str, str]) -> Result:
    """Make what was poured an object or a part with these checksums; durable when this returns."""
    operation = await context.in_thread(sink.seal, values)
    return await async_commit(_ClosingStore(context.store, sink), operation)


def discard(context: Context, sink: Sink[Any]) -> None:
    """Give a sink up unless its commit is on its way; does not wait, the caller may be a task that is cancelled."""
    if not sink.submitted:
        asyncio.ensure_future(context.in_thread(sink.close)).add_done_callback(_forget)


def _forget(future: asyncio.Future[None]) -> None:
    # What could not be closed is found by garbage collection once this process ends.
    if not future.cancelled():
        future.exception()
