from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.crc64nvme import POLYNOMIAL, crc64nvme


def by_the_definition(data: bytes) -> int:
    crc = 0xFFFF_FFFF_FFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF_FFFF_FFFF


def test_the_published_check_value() -> None:
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888


def test_nothing_has_crc_zero() -> None:
    assert crc64nvme(b"") == 0


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_every_length_and_every_cut_agrees_with_the_definition(data: bytes, cut: int) -> None:
    assert crc64nvme(data) == by_the_definition(data)
    assert crc64nvme(data[cut:], crc64nvme(data[:cut])) == by_the_definition(data)


def test_takes_any_buffer_and_leaves_it_writable() -> None:
    data = bytearray(b"123456789")
    assert crc64nvme(data) == crc64nvme(memoryview(data)) == crc64nvme(memoryview(bytes(data)))
    data[0] = 0  # a view that was made read-only must not reach the caller's buffer
    assert crc64nvme(data) != crc64nvme(b"123456789")


def test_runs_without_the_interpreter_lock() -> None:
    data = bytes(64 << 20)
    crc64nvme(data[:16])
    ticks: list[float] = []
    running = threading.Event()

    def compute() -> None:
        running.set()
        crc64nvme(data)
        ticks.append(-1.0)

    thread = threading.Thread(target=compute)
    thread.start()
    running.wait()
    while thread.is_alive() and len(ticks) < 3:
        ticks.append(time.monotonic())
        time.sleep(0.001)
    thread.join()
    # With the lock held throughout, this thread would have moved at most once before the end.
    assert ticks.index(-1.0) >= 2


@given(seed=st.binary(min_size=1, max_size=50), size=st.integers(0, 2000), start=st.integers(0, 2**64 - 1))
def test_folding_agrees_with_the_tables(seed: bytes, size: int, start: int) -> None:
    # Long pieces are multiplied, pieces below 128 bytes never are.
    data = (seed * (size // len(seed) + 1))[:size]
    value = start
    for position in range(0, size, 100):
        value = crc64nvme(data[position : position + 100], value)
    assert crc64nvme(data, start) == value
    assert crc64nvme(memoryview(b"-" + data)[1:], start) == value
    assert size > 300 or crc64nvme(data) == by_the_definition(data)
