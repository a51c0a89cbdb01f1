"""Writing: whole or not at all, and of the moment it was called."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket
from tickvault.objects.put import INLINE_SIZE_MAX, PUT_MANY_SIZE_MAX


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000, 9_000_000])
@pytest.mark.parametrize("hinted", [False, True])
def test_a_writer_streams_any_size(bucket: Bucket, size: int, hinted: bool) -> None:
    body = bytes(np.random.default_rng(1).integers(0, 256, size, np.uint8))
    with bucket.open_writer("k", size if hinted else None, metadata={"n": "1"}) as writer:
        for start in range(0, size, 123_457):
            writer.write(body[start : start + 123_457])
        assert writer.size == size
        info = writer.commit()
    assert (info.size, info.etag) == (size, writer.md5_hex())
    assert bucket.get("k") == body
    assert bucket.head("k").metadata == {"n": "1"}


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_writer_given_up_leaves_nothing(bucket: Bucket, size: int) -> None:
    bucket.put("k", b"before")
    before = bucket.store.engine.tail()
    writer = bucket.open_writer("k")
    writer.write(b"x" * size)
    writer.abort()
    with bucket.open_writer("other") as left:
        left.write(b"x" * size)
    with pytest.raises(RuntimeError), bucket.open_writer("third") as failed:
        failed.write(b"x" * size)
        raise RuntimeError
    assert bucket.store.engine.tail() == before
    assert [item.key for item in bucket.list()] == ["k"]  # type: ignore[union-attr]
    assert bucket.get("k") == b"before"
    for ended in (writer, left, failed):
        with pytest.raises(tv.InvalidInputError, match="committed or aborted"):
            ended.write(b"more")
        with pytest.raises(tv.InvalidInputError, match="committed or aborted"):
            ended.commit()


def test_a_writer_is_committed_once(bucket: Bucket) -> None:
    writer = bucket.open_writer("k")
    writer.write(b"1")
    writer.commit()
    with pytest.raises(tv.InvalidInputError, match="committed or aborted"):
        writer.commit()
    writer.abort()
    assert bucket.get("k") == b"1"


def test_nothing_is_visible_before_the_commit(bucket: Bucket) -> None:
    with bucket.open_writer("k") as writer:
        writer.write(b"x" * 3_000_000)
        operation = writer.commit_operation()
        with pytest.raises(tv.NotFoundError):
            bucket.head("k")
        bucket.store.commit(operation)
    assert bucket.head("k").size == 3_000_000


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("size", [1000, 400_000, 3_000_000])
def test_the_caller_may_use_its_buffer_again(bucket: Bucket, size: int, read_only: bool) -> None:
    """A read-only view of a bytearray was once kept as it was, and made an object that could not be read."""
    buffer = bytearray(b"a" * size)
    view = memoryview(buffer).toreadonly() if read_only else memoryview(buffer)
    with bucket.open_writer("k") as writer:
        writer.write(view)
        buffer[:] = b"b" * size
        writer.write(view)
        buffer[:] = b"c" * size
        writer.commit()
    assert bytes(bucket.get("k")) == b"a" * size + b"b" * size
    array = np.full(size, 7, np.uint8)
    fixed = array.view()
    fixed.flags.writeable = False
    operation = bucket.put_operation("k2", fixed[:1000])
    array[:] = 8
    bucket.store.commit(operation)
    assert bytes(bucket.get("k2")) == b"\x07" * 1000


class Dribble(io.RawIOBase):
    """A file that gives less than it was asked for, as pipes and sockets do."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    def read(self, size: int = -1) -> bytes:
        piece, self._rest = self._rest[: min(size, 1000)], self._rest[min(size, 1000) :]
        return piece


@pytest.mark.parametrize("size", [0, 1, 3000, INLINE_SIZE_MAX, INLINE_SIZE_MAX + 1, 1_000_000])
def test_a_file_is_read_to_its_end(bucket: Bucket, tmp_path: Path, size: int) -> None:
    """A file that reads short was once cut off at its first piece."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    assert bucket.put("dribbled", Dribble(body)).size == size
    assert bucket.get("dribbled") == body
    path = tmp_path / "file"
    path.write_bytes(body)
    with path.open("rb") as file:
        bucket.put("file", file)
    assert bucket.get("file") == body
    with pytest.raises(tv.InvalidInputError, match="not str"), path.open(encoding="latin-1") as text:
        bucket.put("text", text) if size else bucket.put("text", "")


def test_a_pipe_is_read_to_its_end(bucket: Bucket) -> None:
    reading, writing = os.pipe()

    def fill() -> None:
        with os.fdopen(writing, "wb", buffering=0) as file:
            for _ in range(100):
                file.write(b"x" * 5000)

    thread = threading.Thread(target=fill)
    thread.start()
    with os.fdopen(reading, "rb", buffering=0) as file:
        assert bucket.put("k", file).size == 500_000
    thread.join()


def test_a_file_that_fails_leaves_nothing(bucket: Bucket) -> None:
    class Broken(io.RawIOBase):
        def __init__(self) -> None:
            self.reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            if self.reads == 3:
                raise ConnectionResetError
            return b"x" * size

    with pytest.raises(ConnectionResetError):
        bucket.put("k", Broken())
    assert list(bucket.list()) == []


# -- put_many


def test_put_many_is_one_commit(bucket: Bucket) -> None:
    infos = bucket.put_many((f"k{number}", b"%d" % number) for number in range(5000))
    sequences = [info.sequence for info in infos]
    assert sequences == list(range(sequences[0], sequences[0] + 5000))
    assert len({info.modified_ns for info in infos}) == 1
    assert bucket.get("k4999") == b"4999"
    assert bucket.put_many([]) == []


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (("", b""), "1 to 1024 bytes"),
        (("bad", "text"), "not str"),
        (("bad", bytes(INLINE_SIZE_MAX + 1)), "262145 bytes; bodies above 262144"),
    ],
)
def test_put_many_refuses_all_for_one(bucket: Bucket, bad: tuple[str, bytes], error: str) -> None:
    with pytest.raises(tv.InvalidInputError, match=error):
        bucket.put_many([("good", b"1"), bad, ("good too", b"2")])
    assert list(bucket.list()) == []


def test_put_many_states_its_limit(bucket: Bucket) -> None:
    body = bytes(INLINE_SIZE_MAX)
    count = PUT_MANY_SIZE_MAX // INLINE_SIZE_MAX
    with pytest.raises(tv.InvalidInputError, match="atomic up to 67108864 bytes"):
        bucket.put_many((f"k{number}", body) for number in range(count))
    assert list(bucket.list()) == []
    assert len(bucket.put_many((f"k{number}", body) for number in range(count - 1))) == count - 1
    assert len(list(bucket.list())) == count - 1


def test_put_many_with_a_key_twice_keeps_both_versions_in_order(bucket: Bucket, versioned: Bucket) -> None:
    for target, count in ((bucket, 1), (versioned, 2)):
        target.put_many([("k", b"first"), ("k", b"second")])
        assert target.get("k") == b"second"
        assert len(list(target.versions("k"))) == count


def test_put_many_that_a_guard_stops_leaves_nothing(bucket: Bucket) -> None:
    def guard(txn: object, change: object) -> None:
        if change.key == b"k3":  # type: ignore[attr-defined]
            raise tv.LockedError("k3 is locked")

    bucket.store.engine.guards.append(guard)
    with pytest.raises(tv.LockedError):
        bucket.put_many([(f"k{number}", b"") for number in range(6)])
    bucket.store.engine.guards.clear()
    assert list(bucket.list()) == []


def test_put_many_is_seen_whole_or_not_at_all(bucket: Bucket) -> None:
    keys = [f"k{number}" for number in range(50)]
    bucket.put_many([(key, b"0") for key in keys])
    stop = threading.Event()
    torn = []

    def read() -> None:
        while not stop.is_set():
            seen = {bytes(blob) for blob in bucket.get_many(keys)}
            if len(seen) != 1:
                torn.append(seen)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 60):
        bucket.put_many([(key, b"%d" % number) for key in keys])
        if number % 20 == 0:
            bucket.store.engine.checkpoint()
    stop.set()
    thread.join()
    assert torn == []
