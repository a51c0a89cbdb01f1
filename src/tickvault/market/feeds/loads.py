"""Numbers at any place in bytes, in one instruction each; for kernels, which check the bounds.

Invariants: a place is an address, that of an array's first byte (`address`) and an offset; what is read is int64, of
which only eight bytes fill the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_function_of: Any = cgutils.get_or_insert_function
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _loaded(builder: Any, address: Any, kind: Any, swapped: bool) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)
    if swapped:
        swap = _function_of(builder.module, ir.FunctionType(kind, [kind]), f"llvm.bswap.i{kind.width}")
        value = builder.call(swap, [value])
    return value if kind is _I64 else builder.zext(value, _I64)


def _signature(kind: Any, swapped: bool) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _loaded(builder, arguments[0], kind, swapped)

    return types.int64(types.int64), generate


@intrinsic
def _byte_at(_context: Any, address: Any) -> Any:
    """Return the byte at an address."""
    return _signature(_I8, False)


@intrinsic
def _big16(_context: Any, address: Any) -> Any:
    """Return the two bytes at an address, big-endian."""
    return _signature(_I16, True)


@intrinsic
def _big32(_context: Any, address: Any) -> Any:
    """Return the four bytes at an address, big-endian."""
    return _signature(_I32, True)


@intrinsic
def _big64(_context: Any, address: Any) -> Any:
    """Return the eight bytes at an address, big-endian."""
    return _signature(_I64, True)


@intrinsic
def _little16(_context: Any, address: Any) -> Any:
    """Return the two bytes at an address, little-endian."""
    return _signature(_I16, False)


@intrinsic
def _little32(_context: Any, address: Any) -> Any:
    """Return the four bytes at an address, little-endian."""
    return _signature(_I32, False)


@intrinsic
def _little64(_context: Any, address: Any) -> Any:
    """Return the eight bytes at an address, little-endian."""
    return _signature(_I64, False)


@intrinsic
def _prefetch(_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address, that will be read soon."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, flag = _I8.as_pointer(), _I32
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        function = _function_of(builder.module, kind, "llvm.prefetch.p0i8")
        # Read; not to be kept; data.
        settings = [ir.Constant(flag, number) for number in (0, 0, 1)]
        builder.call(function, [builder.inttoptr(arguments[0], pointer), *settings])
        return ir.Constant(_I64, 0)

    return types.int64(types.int64), generate


# What numba compiles, numba types.
byte_at: Any = _byte_at
big16: Any = _big16
big32: Any = _big32
big64: Any = _big64
little16: Any = _little16
little32: Any = _little32
little64: Any = _little64
prefetch: Any = _prefetch


@njit(nogil=True, cache=True)
def address(data: Any) -> Any:
    """Return where an array's first byte lies; the caller keeps the array."""
    return np.int64(data.ctypes.data)
