"""CRC-64/NVME, compiled.

Invariants: reflected polynomial 0x9A6C9329AC4BC9B5, initial value and final XOR all ones; the check value of
``b"123456789"`` is 0xAE8B14860A799888; the kernel releases the GIL; it is compiled once and cached on disk.

Source: NVM Express NVM Command Set Specification 1.0, "64b CRC"; the slicing method is that of M. Kounavis
and F. Berry, "A Systematic Approach to Building High Performance Software-Based CRC Generators" (2005).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

POLYNOMIAL = 0x9A6C9329AC4BC9B5
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_SLICE_COUNT = 16

_kernel: Callable[[Any, Any, Any], Any] | None = None
_table: Any = None
_compile_lock = threading.Lock()


def _slicing_table() -> Any:
    """Return the table, uint64 of shape (16, 256): row k is the CRC of a byte followed by k zero bytes."""
    table = np.zeros((_SLICE_COUNT, 256), dtype=np.uint64)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table[0, byte] = crc
    for row in range(1, _SLICE_COUNT):
        previous = table[row - 1]
        table[row] = (previous >> np.uint64(8)) ^ table[0][(previous & np.uint64(0xFF)).astype(np.intp)]
    return table


def _crc64(table, data, crc):  # type: ignore[no-untyped-def]
    """Advance the inner (not inverted) CRC over the bytes, sixteen at a time."""
    size = data.size
    position = 0
    mask = np.uint64(0xFF)
    while position + 16 <= size:
        # Built byte by byte so that no alignment is needed; LLVM turns it into one load.
        word = crc
        for index in range(8):
            word ^= np.uint64(data[position + index]) << np.uint64(8 * index)
        high = np.uint64(0)
        for index in range(8):
            high |= np.uint64(data[position + 8 + index]) << np.uint64(8 * index)
        crc = (
            table[15, word & mask]
            ^ table[14, (word >> np.uint64(8)) & mask]
            ^ table[13, (word >> np.uint64(16)) & mask]
            ^ table[12, (word >> np.uint64(24)) & mask]
            ^ table[11, (word >> np.uint64(32)) & mask]
            ^ table[10, (word >> np.uint64(40)) & mask]
            ^ table[9, (word >> np.uint64(48)) & mask]
            ^ table[8, word >> np.uint64(56)]
            ^ table[7, high & mask]
            ^ table[6, (high >> np.uint64(8)) & mask]
            ^ table[5, (high >> np.uint64(16)) & mask]
            ^ table[4, (high >> np.uint64(24)) & mask]
            ^ table[3, (high >> np.uint64(32)) & mask]
            ^ table[2, (high >> np.uint64(40)) & mask]
            ^ table[1, (high >> np.uint64(48)) & mask]
            ^ table[0, high >> np.uint64(56)]
        )
        position += 16
    while position < size:
        crc = table[0, (crc ^ np.uint64(data[position])) & mask] ^ (crc >> np.uint64(8))
        position += 1
    return crc


def warm() -> None:
    """Compile the kernel, or load it from numba's cache; about a second the first time on a machine."""
    global _kernel, _table
    with _compile_lock:
        if _kernel is not None:
            return
        from numba import njit, types

        readonly_bytes = types.Array(types.uint8, 1, "C", readonly=True)
        signature = types.uint64(types.Array(types.uint64, 2, "C"), readonly_bytes, types.uint64)
        _table = _slicing_table()
        _kernel = njit(signature, nogil=True, cache=True, boundscheck=False)(_crc64)


def crc64nvme(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Return the CRC-64/NVME of `data`, continuing from `value`, the CRC of what came before."""
    if _kernel is None:
        warm()
        assert _kernel is not None
    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    return int(_kernel(_table, array, np.uint64(value ^ _MASK))) ^ _MASK
