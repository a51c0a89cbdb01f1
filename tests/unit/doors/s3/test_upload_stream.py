"""A streamed body: constant memory, and a writer that is closed when, and only when, nothing can still need it."""

import asyncio
import threading

import pytest

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.upload_stream import BATCH_SIZE, Sink, commit, discard, pour


class FakeWriter:
    def __init__(self):
        self.written = bytearray()
        self.batches = []
        self.closed = 0
        self.busy = threading.Lock()
        self.values = None

    def write(self, data):
        assert self.busy.acquire(blocking=False), "two threads in one writer"
        self.batches.append(len(data))
        self.written += data
        self.busy.release()

    def set(self, *, checksums=None, checksum_type=None):
        self.values = (checksums, checksum_type)

    def commit_operation(self):
        return FakeOperation()

    def close(self):
        assert self.busy.acquire(blocking=False), "closed under a write"
        self.closed += 1
        self.busy.release()


class FakeOperation:
    cancelled = False

    def cancel(self):
        self.cancelled = True

    def outcome(self):
        return "done"


class FakeStore:
    def __init__(self):
        self.pending = []

    def submit(self, operation, on_done):
        self.pending.append((operation, on_done))


async def pieces_of(*pieces):
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def settle():
    for _ in range(20):
        await asyncio.sleep(0.005)


def make():
    writer = FakeWriter()
    return Context(FakeStore(), lambda key: None), writer, Sink(writer, ["crc32"])


def test_batches_are_bounded_and_bytes_arrive_in_order():
    context, writer, sink = make()
    piece = bytes(range(256)) * 257
    body = [piece] * 80
    size = asyncio.run(pour(context, pieces_of(*body), sink, 1 << 40))
    assert bytes(writer.written) == b"".join(body)
    assert size == len(writer.written)
    assert max(writer.batches) < BATCH_SIZE + len(piece)


def test_a_body_beyond_its_limit_is_refused_while_it_arrives():
    context, _, sink = make()
    with pytest.raises(S3Error) as caught:
        asyncio.run(pour(context, pieces_of(b"x" * 10, b"y" * 10), sink, 15))
    assert caught.value.code == "EntityTooLarge"


def test_what_is_given_up_before_its_commit_is_closed():
    context, writer, sink = make()

    async def run():
        with pytest.raises(RuntimeError):
            await pour(context, broken(), sink, 1 << 40)
        discard(context, sink)
        await settle()

    async def broken():
        yield bytes(BATCH_SIZE)
        yield bytes(10)
        raise RuntimeError("the client went away")

    asyncio.run(run())
    assert writer.closed == 1
    sink.consume(bytearray(b"late"))
    assert b"late" not in writer.written


def test_a_cancelled_wait_leaves_the_writer_open_until_the_commit_has_an_outcome():
    """Closing it earlier would let compaction take the bytes of an object that the commit then makes."""
    context, writer, sink = make()

    async def run():
        task = asyncio.ensure_future(commit(context, sink, {"crc32": "AAAAAA=="}))
        while not context.store.pending:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        discard(context, sink)
        await settle()
        assert writer.closed == 0
        operation, on_done = context.store.pending[0]
        on_done(operation)
        assert writer.closed == 1
        await settle()

    asyncio.run(run())
    assert writer.values == ({"crc32": "AAAAAA=="}, "FULL_OBJECT")


def test_a_commit_that_succeeds_closes_the_writer():
    context, writer, sink = make()

    async def run():
        task = asyncio.ensure_future(commit(context, sink, {}))
        while not context.store.pending:
            await asyncio.sleep(0.001)
        operation, on_done = context.store.pending[0]
        on_done(operation)
        return await task

    assert asyncio.run(run()) == "done"
    assert writer.closed == 1


def test_a_store_that_refuses_leaves_the_closing_to_the_caller():
    context, writer, sink = make()

    class Full(FakeStore):
        def submit(self, operation, on_done):
            raise RuntimeError("full")

    context.store = Full()

    async def run():
        with pytest.raises(RuntimeError, match="full"):
            await commit(context, sink, {})
        discard(context, sink)
        await settle()

    asyncio.run(run())
    assert writer.closed == 1
