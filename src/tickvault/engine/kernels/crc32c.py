"""CRC-32C and key of many records at once, by the processor's own instruction (x86-64).

Three records are read side by side: the instruction has a latency of three cycles, and the memory can fetch three pages
at once where one record after the other would wait for each.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


@intrinsic
def _crc_of_word(_context: Any, crc: Any, word: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64, _I64])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse42.crc32.64.64")
        return builder.call(instruction, arguments)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def _crc_of_byte(_context: Any, crc: Any, byte: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I32, [_I32, _I8])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse42.crc32.32.8")
        crc, byte = arguments
        return builder.zext(builder.call(instruction, [builder.trunc(crc, _I32), byte]), _I64)

    return types.uint64(types.uint64, types.uint8), generate


def _load_of(size: Any, numba_type: Any) -> Any:
    @intrinsic
    def load(_context: Any, address: Any) -> Any:
        def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], size.as_pointer()), align=1)

        return numba_type(types.int64), generate

    return load


_word_at = _load_of(_I64, types.uint64)
_byte_at = _load_of(_I8, types.uint8)
_KEY_OFFSET = 64
_ONES = np.uint64(0xFFFFFFFF)


@njit(nogil=True)
def finish(crc: Any, address: Any, end: Any) -> Any:
    """Continue a checksum to the end of a record, word by word and then byte by byte."""
    while address + 8 <= end:
        crc = _crc_of_word(crc, _word_at(address))
        address += 8
    while address < end:
        crc = _crc_of_byte(crc, _byte_at(address))
        address += 1
    return crc ^ _ONES


def _records_intact(addresses: Any, lengths: Any, crcs: Any, keys: Any, key_ends: Any, intact: Any) -> None:
    """Tell which records match their checksum and their key.

    Parameters
    ----------
    addresses, lengths : ndarray of int64, shape (n,)
        Where each record begins in memory, and its length up to the end of the body, which must be readable.
    crcs : ndarray of uint32, shape (n,)
        The checksum that its bytes from the fifth on must have.
    keys : ndarray of uint8
        The keys that must stand in the records, one after the other.
    key_ends : ndarray of int64, shape (n,)
        Where each key ends in `keys`.
    intact : ndarray of bool, shape (n,)
        Set to the outcome.
    """
    count = len(addresses)
    first = 0
    while first < count:
        many = min(3, count - first)
        words = 0
        x = y = z = _ONES
        if many == 3:
            a, b, c = addresses[first] + 4, addresses[first + 1] + 4, addresses[first + 2] + 4
            words = (min(lengths[first], lengths[first + 1], lengths[first + 2]) - 4) // 8
            for word in range(words):
                x = _crc_of_word(x, _word_at(a + 8 * word))
                y = _crc_of_word(y, _word_at(b + 8 * word))
                z = _crc_of_word(z, _word_at(c + 8 * word))
        begun = (x, y, z)
        for number in range(many):
            at = first + number
            address = addresses[at]
            crc = finish(begun[number], address + 4 + 8 * words, address + lengths[at])
            key_start = key_ends[at - 1] if at else 0
            same = crc == crcs[at]
            for place in range(key_start, key_ends[at]):
                if keys[place] != _byte_at(address + _KEY_OFFSET + place - key_start):
                    same = False
                    break
            intact[at] = same
        first += many


def records_intact() -> Callable[..., None]:
    """Compile the kernel, or load it from numba's cache.

    Raises
    ------
    ImportError
        The processor is another one than the kernel is written for.
    """
    if platform.machine() != "x86_64":
        raise ImportError(f"the checksum kernel is for x86_64, not {platform.machine()}")
    bytes_read = types.Array(types.uint8, 1, "C", readonly=True)
    whole = types.Array(types.int64, 1, "C")
    signature = types.void(
        whole, whole, types.Array(types.uint32, 1, "C"), bytes_read, whole, types.Array(types.boolean, 1, "C")
    )
    compiled: Callable[..., None] = njit(signature, nogil=True, cache=True, boundscheck=False)(_records_intact)
    return compiled
