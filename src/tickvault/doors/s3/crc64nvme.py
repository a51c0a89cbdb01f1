"""CRC-64/NVME, compiled.

Invariants: reflected polynomial 0x9A6C9329AC4BC9B5, initial value and final XOR all ones; the check value of
``b"123456789"`` is 0xAE8B14860A799888; what takes long is computed without the interpreter lock; the kernel is compiled
once and cached on disk.

Source: NVM Express NVM Command Set Specification 1.0, "64b CRC".
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

POLYNOMIAL = 0x9A6C9329AC4BC9B5
_MASK = 0xFFFF_FFFF_FFFF_FFFF
#: Up to here the kernel takes a few microseconds: less than giving the interpreter away and getting it back.
_LOCKED_SIZE_MAX = 32 * 1024

_locked: Callable[[Any, int, int], int] | None = None
_unlocked: Callable[[Any, int, int], int]
_compile_lock = threading.Lock()


def warm() -> None:
    """Compile the kernel, or load it from numba's cache; a few seconds the first time on a machine."""
    global _locked, _unlocked
    with _compile_lock:
        if _locked is not None:
            return
        # Not before it is needed: numba takes half a second to import, and most of a process's memory.
        from tickvault.doors.s3.crc64nvme_kernel import kernel_address

        signature = (ctypes.c_uint64, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_uint64)
        _unlocked = ctypes.CFUNCTYPE(*signature)(kernel_address)
        _locked = ctypes.PYFUNCTYPE(*signature)(kernel_address)


def crc64nvme(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Return the CRC-64/NVME of `data`, continuing from `value`, the CRC of what came before."""
    if _locked is None:
        warm()
        assert _locked is not None
    if type(data) is bytes:
        pointer: Any = data
        size = len(data)
    else:
        # Holds the buffer, so that it can neither move nor shrink meanwhile.
        array = np.frombuffer(data, dtype=np.uint8)
        pointer, size = array.ctypes.data, array.size
    kernel = _locked if size <= _LOCKED_SIZE_MAX else _unlocked
    return kernel(pointer, size, value ^ _MASK) ^ _MASK
