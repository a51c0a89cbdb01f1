"""The kernels against the plain libraries, byte for byte."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from tickvault.engine import kernels

compiled = kernels.load()
assert compiled is not None, "numba belongs to the test tools"

#: MD5 pads to 64 bytes with nine of its own: 55 and 56, 119 and 120 take different ways.
EDGES = [0, 1, 54, 55, 56, 63, 64, 65, 118, 119, 120, 127, 128, 4096]


@given(st.lists(st.sampled_from(EDGES) | st.integers(0, 3000), min_size=1, max_size=70), st.integers(0, 255))
def test_md5_of_many_is_md5_of_each(lengths: list[int], salt: int) -> None:
    bodies = [bytes((salt + place) % 256 for place in range(length)) for length in lengths]
    digests = compiled.md5_many(b"".join(bodies), np.array(lengths, np.int64))
    assert digests == [hashlib.md5(body).digest() for body in bodies]


def test_md5_keeps_the_bodies_order_whatever_their_lengths() -> None:
    """The lanes take the shortest bodies first; a body that is done early waits for the others of its sixteen."""
    bodies = [os.urandom(length) for length in range(3000, 0, -61)]
    digests = compiled.md5_many(b"".join(bodies), np.array(list(map(len, bodies)), np.int64))
    assert digests == [hashlib.md5(body).digest() for body in bodies]


def intact(records: list[bytes], keys: list[bytes], crcs: list[int]) -> list[bool]:
    buffer = np.frombuffer(b"".join(records), np.uint8)
    lengths = np.array(list(map(len, records)), np.int64)
    found = np.zeros(len(records), np.bool_)
    compiled.records_intact(
        buffer.__array_interface__["data"][0] + np.cumsum(lengths) - lengths,
        lengths,
        np.array(crcs, np.uint32),
        np.frombuffer(b"".join(keys), np.uint8),
        np.cumsum(np.array(list(map(len, keys)), np.int64)),
        found,
    )
    answer: list[bool] = found.tolist()
    return answer


def record(key: bytes, length: int) -> tuple[bytes, int]:
    data = os.urandom(64) + key + os.urandom(length)
    return data, crc32c(data[4:])


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 700)), min_size=1, max_size=20), st.data())
def test_a_record_is_intact_only_with_its_checksum_and_its_key(shapes: list[tuple[bytes, int]], data: Any) -> None:
    keys = [key for key, _ in shapes]
    made = [record(key, length) for key, length in shapes]
    records, crcs = [bytearray(each) for each, _ in made], [crc for _, crc in made]
    assert all(intact(list(map(bytes, records)), keys, crcs))
    hurt = data.draw(st.integers(0, len(records) - 1))
    expected = [number != hurt for number in range(len(records))]
    at = data.draw(st.integers(4, len(records[hurt]) - 1))
    records[hurt][at] ^= 1 << data.draw(st.integers(0, 7))
    assert intact(list(map(bytes, records)), keys, crcs) == expected
    records[hurt][64] ^= 0xFF
    same_sum = list(crcs)
    same_sum[hurt] = crc32c(bytes(records[hurt][4:]))
    if bytes(records[hurt][64 : 64 + len(keys[hurt])]) != keys[hurt]:
        # The checksum holds, but it is another key's record.
        assert intact(list(map(bytes, records)), keys, same_sum) == expected


PLAIN = """
import sys
sys.modules["numba"] = None
import tickvault as tv
from tickvault.engine import kernels
kernels.OBJECTS_BEFORE_LOADING = 1
with tv.open(sys.argv[1]) as vault:
    raw = vault.create_bucket("raw")
    items = [(f"k/{number:03d}", b"%d" % number * number) for number in range(100)]
    infos = raw.put_many(items)
    assert kernels.load() is None
    assert [info.etag for info in infos] == [raw.head(key).etag for key, _ in items]
    assert [bytes(blob) for blob in raw.get_many([key for key, _ in items])] == [body for _, body in items]
"""


def test_without_numba_everything_works(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


SHORT = """
import os, sys
import tickvault as tv
from tickvault.engine import kernels
kernels.OBJECTS_BEFORE_LOADING = 1
with tv.open(sys.argv[1]) as vault:
    raw = vault.create_bucket("raw")
    raw.put_many([(f"k/{number}", b"x") for number in range(10)])
    assert kernels._thread is not None
    if not os.fork():
        import numba  # would wait for ever, had the fork taken a lock of the import along
        os._exit(0)
    assert os.wait()[1] == 0
"""


def test_a_fork_and_an_exit_while_they_load_do_no_harm(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_they_load_by_themselves_once_a_process_has_handled_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(kernels, "_loaded", None)
    monkeypatch.setattr(kernels, "_thread", None)
    monkeypatch.setattr(kernels, "_handled", 0)
    monkeypatch.setattr(kernels, "_load_beside", lambda: begun.append(True))
    assert kernels.kernels(kernels.OBJECTS_BEFORE_LOADING - 1) is None
    assert not begun
    assert kernels.kernels(1) is None
    assert begun
