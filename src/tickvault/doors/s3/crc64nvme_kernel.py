"""The compiled half of `crc64nvme`: importing it compiles, or loads what was compiled before.

Invariants: the kernel advances the inner CRC, which is not inverted; it touches no Python object, so that it runs with
or without the interpreter lock; a machine without a carry-less multiplication gets the same values from the table
alone.

Sources: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), in
its bit-reflected form; M. Kounavis and F. Berry, "A Systematic Approach to Building High Performance Software-Based CRC
Generators" (2005), for the tables.
"""

# mypy: ignore-errors
# numba compiles from values, not from annotations, and its own functions have none.

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from tickvault.doors.s3.crc64nvme import POLYNOMIAL

_SLICE_COUNT = 16
_U64 = np.uint64
_CAN_MULTIPLY = bool(get_host_cpu_features().get("pclmul"))


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
        table[row] = (previous >> _U64(8)) ^ table[0][(previous & _U64(0xFF)).astype(np.intp)]
    return table


def _power_of_x(exponent: int) -> Any:
    """Return x^exponent modulo the polynomial, reflected: bit 63 is x^0."""
    value = 1 << 63
    for _ in range(exponent):
        value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
    return _U64(value)


_TABLE = _slicing_table()
# Moving 128 bits of state forward by n bits multiplies its halves by x^(n + 64) and x^n. The product of two reflected
# numbers stands one bit too low, hence the exponents less one.
_LOW_BY_64, _HIGH_BY_64 = _power_of_x(512 + 63), _power_of_x(512 - 1)
_LOW_BY_16, _HIGH_BY_16 = _power_of_x(128 + 63), _power_of_x(128 - 1)


@intrinsic
def _fold_pclmul(typing_context, low, high, low_factor, high_factor):
    """Return ``low * low_factor ^ high * high_factor``, carry-less, as its two halves."""
    pair = ir.VectorType(ir.IntType(64), 2)

    def generate(context, builder, signature, arguments):
        def packed(first, second):
            vector = builder.insert_element(ir.Constant(pair, ir.Undefined), first, ir.Constant(ir.IntType(32), 0))
            return builder.insert_element(vector, second, ir.Constant(ir.IntType(32), 1))

        kind = ir.FunctionType(pair, [pair, pair, ir.IntType(8)])
        multiply = builder.module.globals.get("llvm.x86.pclmulqdq")
        if multiply is None:
            multiply = ir.Function(builder.module, kind, "llvm.x86.pclmulqdq")
        state, factors = packed(*arguments[:2]), packed(*arguments[2:])
        products = [builder.call(multiply, [state, factors, ir.Constant(ir.IntType(8), half)]) for half in (0x00, 0x11)]
        folded = builder.xor(*products)
        halves = [builder.extract_element(folded, ir.Constant(ir.IntType(32), half)) for half in (0, 1)]
        return context.make_tuple(builder, signature.return_type, halves)

    u64 = types.uint64
    return types.UniTuple(u64, 2)(u64, u64, u64, u64), generate


@njit
def _fold_never(low, high, low_factor, high_factor):
    """Stand in where there is no such instruction; it is compiled and never called."""
    return low, high


_fold = _fold_pclmul if _CAN_MULTIPLY else _fold_never


@njit(inline="always")
def _word(data, position):
    # Built byte by byte so that no alignment is needed; LLVM turns it into one load.
    word = _U64(0)
    for index in range(8):
        word |= _U64(data[position + index]) << _U64(8 * index)
    return word


@njit(inline="always")
def _sixteen(low, high):
    """Return the CRC of sixteen bytes, the CRC of what came before already in `low`."""
    mask = _U64(0xFF)
    crc = _U64(0)
    for index in range(8):
        shift = _U64(8 * index)
        crc ^= _TABLE[15 - index, (low >> shift) & mask] ^ _TABLE[7 - index, (high >> shift) & mask]
    return crc


def _crc64(pointer, size, crc):
    """Advance the inner CRC: 64 bytes at a time where the machine can multiply, then sixteen, then one."""
    data = carray(pointer, (size,))
    position = 0
    if _CAN_MULTIPLY and size >= 128:
        # Four lanes, since a multiplication takes longer than the next one has to wait for it.
        a, a_high = _word(data, 0) ^ crc, _word(data, 8)
        b, b_high = _word(data, 16), _word(data, 24)
        c, c_high = _word(data, 32), _word(data, 40)
        d, d_high = _word(data, 48), _word(data, 56)
        position = 64
        while position + 64 <= size:
            a, a_high = _fold(a, a_high, _LOW_BY_64, _HIGH_BY_64)
            b, b_high = _fold(b, b_high, _LOW_BY_64, _HIGH_BY_64)
            c, c_high = _fold(c, c_high, _LOW_BY_64, _HIGH_BY_64)
            d, d_high = _fold(d, d_high, _LOW_BY_64, _HIGH_BY_64)
            a ^= _word(data, position)
            a_high ^= _word(data, position + 8)
            b ^= _word(data, position + 16)
            b_high ^= _word(data, position + 24)
            c ^= _word(data, position + 32)
            c_high ^= _word(data, position + 40)
            d ^= _word(data, position + 48)
            d_high ^= _word(data, position + 56)
            position += 64
        a, a_high = _fold(a, a_high, _LOW_BY_16, _HIGH_BY_16)
        a, a_high = _fold(a ^ b, a_high ^ b_high, _LOW_BY_16, _HIGH_BY_16)
        a, a_high = _fold(a ^ c, a_high ^ c_high, _LOW_BY_16, _HIGH_BY_16)
        crc = _sixteen(a ^ d, a_high ^ d_high)
    while position + 16 <= size:
        crc = _sixteen(_word(data, position) ^ crc, _word(data, position + 8))
        position += 16
    while position < size:
        crc = _TABLE[0, (crc ^ _U64(data[position])) & _U64(0xFF)] ^ (crc >> _U64(8))
        position += 1
    return crc


#: Called with the address of the bytes, their count, and the inner CRC of what came before.
kernel_address: int = cfunc(types.uint64(types.CPointer(types.uint8), types.intp, types.uint64), cache=True)(
    _crc64
).address
