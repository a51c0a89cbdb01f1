from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.errors import S3Error


def body(length: int | None = None, *, sha256_hex: str | None = None, **limits: int) -> RequestBody:
    sizes = {"buffer_max": 100, "size_max": 1000, **limits}
    return RequestBody(length, None, sha256_hex, None, **sizes)


def read(taken: RequestBody, limit: int = 1000) -> bytes:
    return asyncio.run(taken.read(limit))


def refusal(taken: RequestBody, limit: int = 1000) -> str:
    with pytest.raises(S3Error) as caught:
        read(taken, limit)
    return caught.value.code


def arrived(*pieces: bytes, **options: Any) -> RequestBody:
    taken = body(**options)
    for piece in pieces:
        taken.feed(piece)
    taken.end()
    return taken


def test_pieces_become_the_whole() -> None:
    assert read(arrived(b"one", b"two", length=6)) == b"onetwo"
    assert read(arrived(length=0)) == b""
    assert read(arrived(b"x")) == b"x"


def test_reading_what_is_there_does_not_wait() -> None:
    reading = arrived(b"one", b"two").read(10)
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    assert done.value.value == b"onetwo"


def test_a_body_is_as_long_as_announced() -> None:
    assert refusal(arrived(b"short", length=6)) == "IncompleteBody"
    assert refusal(arrived(b"longer", length=5)) == "IncompleteBody"


def test_limits() -> None:
    assert refusal(arrived(b"x" * 11), 10) == "EntityTooLarge"
    assert refusal(body(11), 10) == "EntityTooLarge"  # without waiting for it
    assert refusal(arrived(b"x" * 11, size_max=10)) == "EntityTooLarge"


def test_an_error_stays_one() -> None:
    taken = arrived(b"hello", sha256_hex=hashlib.sha256(b"other").hexdigest())
    assert refusal(taken) == "XAmzContentSHA256Mismatch"
    assert refusal(taken) == "XAmzContentSHA256Mismatch"


def test_what_fails_later_reaches_a_reader_that_waits() -> None:
    async def main() -> None:
        taken = body(10)
        reader = asyncio.create_task(taken.read(100))
        await asyncio.sleep(0)
        taken.feed(b"half")
        await asyncio.sleep(0)
        assert not reader.done()
        taken.fail(S3Error("RequestTimeout"))
        with pytest.raises(S3Error, match="RequestTimeout"):
            await reader

    asyncio.run(main())


def test_a_body_that_has_arrived_cannot_fail_any_more() -> None:
    taken = arrived(b"hello")
    taken.fail(S3Error("IncompleteBody"))
    assert read(taken) == b"hello"


def test_pause_and_resume() -> None:
    resumed = []

    async def main() -> None:
        taken = body(buffer_max=100)
        taken.stream(lambda: resumed.append(True))
        assert not taken.feed(bytes(100))
        assert taken.feed(bytes(1))
        assert taken.feed(bytes(50))
        await anext(taken)
        assert not resumed  # 51 bytes are left, more than half
        await anext(taken)
        assert resumed == [True]

    asyncio.run(main())


def test_a_body_that_is_collected_whole_does_not_pause_its_client() -> None:
    assert not body(buffer_max=10).feed(bytes(1000))


@given(
    pieces=st.lists(st.binary(max_size=20), max_size=6),
    length=st.one_of(st.none(), st.integers(0, 60)),
    limit=st.integers(0, 120),
    right_hash=st.booleans(),
)
def test_a_body_that_is_there_reads_as_one_that_arrives(
    pieces: list[bytes], length: int | None, limit: int, right_hash: bool
) -> None:
    sha256_hex = hashlib.sha256(b"".join(pieces) if right_hash else b"?").hexdigest()

    async def outcome(late: bool) -> bytes | str:
        taken = body(length, sha256_hex=sha256_hex, buffer_max=1000)
        reading = asyncio.ensure_future(taken.read(limit)) if late else None
        for piece in pieces:
            taken.feed(piece)
            await asyncio.sleep(0)
        taken.end()
        try:
            return await reading if reading is not None else taken.read_arrived(limit)
        except S3Error as refused:
            return refused.code

    assert asyncio.run(outcome(late=True)) == asyncio.run(outcome(late=False))
