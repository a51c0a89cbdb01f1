"""What a read hands out: verified, not copied, and true for as long as it is held."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket

SIZES = [0, 1, 63, 64, 4096, 65_535, 65_536, 65_537, 262_144, 262_145, 700_000]


def body_of(size: int) -> bytes:
    return bytes(np.random.default_rng(size).integers(0, 256, size, np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(bucket: Bucket, size: int) -> None:
    body = body_of(size)
    info = bucket.put("k", body)
    blob = bucket.get("k")
    assert bytes(blob) == body
    assert len(blob) == blob.nbytes == info.size == size
    assert bool(blob) == (size > 0)
    assert blob.info == bucket.head("k")
    assert bytes(bucket.get_many(["k"])[0]) == body


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("data_type", [bytes, bytearray, memoryview, np.ndarray])
def test_every_kind_of_buffer_is_taken(bucket: Bucket, size: int, data_type: type) -> None:
    body = body_of(size)
    data = np.frombuffer(body, np.uint8) if data_type is np.ndarray else data_type(body)
    bucket.put("k", data)
    assert bucket.get("k") == body


def test_columns_are_taken_as_their_bytes(bucket: Bucket) -> None:
    columns = np.arange(12, dtype="<i8").reshape(3, 4)
    assert bucket.put("k", columns).size == 96
    assert bucket.get("k") == columns.tobytes()
    with pytest.raises(tv.InvalidInputError, match="contiguous"):
        bucket.put("k", columns[:, ::2])


def test_it_is_a_view_of_the_map_and_read_only(bucket: Bucket) -> None:
    bucket.put("k", b"x" * 5000)
    first, second = bucket.get("k"), bucket.get("k")
    address = first.__array_interface__["data"][0]
    assert address == second.__array_interface__["data"][0]
    assert address == np.frombuffer(memoryview(first), np.uint8).__array_interface__["data"][0]
    assert bucket.get("k", start=10).__array_interface__["data"][0] == address + 10
    assert memoryview(first).readonly
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(first)[0] = 1
    with pytest.raises((TypeError, ValueError)):
        first[0] = 1


def test_a_body_starts_on_a_cache_line(bucket: Bucket) -> None:
    for size in (1, 100, 70_000, 300_000):
        bucket.put("k", b"x" * size)
        assert bucket.get("k").__array_interface__["data"][0] % 64 == 0


@pytest.mark.parametrize("size", [4096, 300_000])
def test_it_stays_true_after_overwrite_delete_and_close(vault: tv.Vault, bucket: Bucket, size: int) -> None:
    body = body_of(size)
    bucket.put("k", body)
    blob = bucket.get("k")
    held = memoryview(blob)[10:20]
    for number in range(5):
        bucket.put("k", b"%d" % number * size)
    bucket.delete("k")
    vault.store.engine.checkpoint()
    vault.close()
    del bucket, vault
    gc.collect()
    assert bytes(blob) == body
    assert bytes(held) == body[10:20]


def test_its_info_is_that_of_the_version_read(versioned: Bucket) -> None:
    info = versioned.put("k", b"first", metadata={"n": "1"})
    blob = versioned.get("k")
    versioned.put("k", b"second")
    assert blob.info.version_id == info.version_id
    assert blob.info.metadata == {"n": "1"}
    assert blob.info.etag == info.etag


def test_info_after_close_says_so(vault: tv.Vault, bucket: Bucket) -> None:
    bucket.put("k", b"1")
    asked, unasked = bucket.get("k"), bucket.get("k")
    known = asked.info
    vault.close()
    assert asked.info == known
    with pytest.raises(tv.TickVaultError, match="closed"):
        unasked.info  # noqa: B018


def test_it_compares_and_slices_as_bytes_do(bucket: Bucket) -> None:
    bucket.put("k", b"hello")
    blob = bucket.get("k")
    assert blob == b"hello"
    assert blob == b"hello"
    assert blob == bytearray(b"hello")
    assert blob == bucket.get("k")
    assert blob != b"hellO"
    assert blob != b"hell"
    assert blob != "hello"
    assert blob != 5
    assert hash(blob) == hash(b"hello")
    assert {b"hello": 1}[blob] == 1  # type: ignore[index]
    assert blob[0] == ord("h")
    assert blob[-1] == ord("o")
    assert bytes(blob[1:3]) == b"el"
    assert list(blob) == list(b"hello")
    assert b"".join([blob, blob]) == b"hellohello"
    assert blob.tobytes() == b"hello"
    assert "5 bytes" in repr(blob)
    assert "hello" in str(blob)
    with pytest.raises(IndexError):
        blob[5]


def test_it_is_pickled_and_deeply_copied_as_what_it_holds(bucket: Bucket) -> None:
    bucket.put("k", b"hello")
    blob = bucket.get("k")
    assert pickle.loads(pickle.dumps(blob)) == b"hello"
    assert bytes(copy.deepcopy(blob)) == b"hello"
    assert bytes(copy.copy(blob)) == b"hello"


def test_a_view_of_columns_is_a_plain_array(bucket: Bucket) -> None:
    """It used to be a Blob, whose ``==`` gave one bool and whose slices were memoryviews."""
    bucket.put("k", np.arange(4, dtype="<i8"))
    blob = bucket.get("k")
    column = blob.view("<i8")
    assert type(column) is np.ndarray
    assert list(column == 2) == [False, False, True, False]
    assert list(column[column > 1]) == [2, 3]
    assert column[1:].sum() == 6
    assert not column.flags.writeable
    assert column.__array_interface__["data"][0] == blob.__array_interface__["data"][0]
    assert type(np.frombuffer(blob, "<i8")) is np.ndarray
    assert not isinstance(blob + 1, tv.Blob)
    assert int(blob.sum()) == 6


# -- ranges


@pytest.mark.parametrize("size", [0, 10, 65_537, 300_000])
def test_ranges_are_clamped_at_the_end(bucket: Bucket, size: int) -> None:
    body = body_of(size)
    bucket.put("k", body)
    for start in {0, 1, size // 2, 65_536, size - 1, size}:
        for end in (None, 0, 1, size // 2, 65_536, size, size + 1, 1 << 70):
            stop = size if end is None else min(end, size)
            if not 0 <= start <= stop:
                with pytest.raises(tv.InvalidInputError, match="range"):
                    bucket.get("k", start=start, end=end)
            else:
                assert bucket.get("k", start=start, end=end) == body[start:stop]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (11, None), (11, 12), (5, 4), (0, -1)])
def test_ranges_outside_are_refused(bucket: Bucket, start: int, end: int | None) -> None:
    bucket.put("k", b"0123456789")
    with pytest.raises(tv.InvalidInputError, match="10 bytes"):
        bucket.get("k", start=start, end=end)
    with pytest.raises(tv.InvalidInputError, match="10 bytes"):
        bucket.get_ranges("k", [(0, 1), (start, end)])


def test_several_ranges_are_of_one_version(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from tickvault.objects.get import ObjectReader

    bucket.put("k", b"old" * 100_000)
    original = ObjectReader.blob

    def overwritten_between(self: ObjectReader, start: int = 0, end: int | None = None) -> tv.Blob:
        bucket.put("k", b"new" * 100_000)
        return original(self, start, end)

    monkeypatch.setattr(ObjectReader, "blob", overwritten_between)
    parts = bucket.get_ranges("k", [(0, 3), (299_997, None), (0, 3), (6, 6)])
    assert [bytes(part) for part in parts] == [b"old", b"old", b"old", b""]
    assert len({part.info.sequence for part in parts}) == 1


def test_ranges_of_a_version_and_of_nothing(versioned: Bucket) -> None:
    info = versioned.put("k", b"first")
    versioned.put("k", b"second")
    (part,) = versioned.get_ranges("k", [(0, 2)], version_id=info.version_id)
    assert part == b"fi"
    assert part.info.version_id == info.version_id
    assert versioned.get_ranges("k", []) == []
    with pytest.raises(tv.NotFoundError):
        versioned.get_ranges("none", [])


# -- the streaming reader


@pytest.mark.parametrize("size", [0, 10, 65_536, 300_000, 2_500_000])
@pytest.mark.parametrize("chunk_size", [1 << 16, 100_000, 1 << 20])
def test_chunks_add_up(bucket: Bucket, size: int, chunk_size: int) -> None:
    body = body_of(size)
    bucket.put("k", body)
    reader = bucket.read("k")
    assert b"".join(reader.chunks(chunk_size=chunk_size)) == body
    assert all(0 < len(chunk) <= max(chunk_size, 65_536) for chunk in reader.chunks(chunk_size=chunk_size))
    assert b"".join(reader.chunks(size // 3, size - size // 4, chunk_size)) == body[size // 3 : size - size // 4]
    assert reader.bytes(size // 2) == body[size // 2 :]
    assert reader.resident()


def test_a_reader_stays_with_its_version(bucket: Bucket) -> None:
    bucket.put("k", b"a" * 2_000_000)
    reader = bucket.read("k")
    chunks = reader.chunks()
    first = bytes(next(chunks))
    bucket.put("k", b"b" * 2_000_000)
    assert first + b"".join(chunks) == b"a" * 2_000_000
