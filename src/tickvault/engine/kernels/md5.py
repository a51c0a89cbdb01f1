"""MD5 of many bodies at once, sixteen side by side in the lanes of vector registers.

MD5 (RFC 1321) is one long chain of dependent steps, so a processor hashing one body is idle most of the time; sixteen
bodies cost little more than one. It is the entity tag that S3 clients expect, and protects nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
#: RFC 1321, 3.4: the table T, and the shifts of each round.
_SINES = [int(abs(math.sin(step + 1)) * 2**32) & 0xFFFFFFFF for step in range(64)]
_SHIFTS = [7, 12, 17, 22] * 4 + [5, 9, 14, 20] * 4 + [4, 11, 16, 23] * 4 + [6, 10, 15, 21] * 4
_BEGIN = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476], np.uint32)

_I64 = ir.IntType(64)
_LANE = ir.VectorType(ir.IntType(32), LANES)


def _all_lanes(value: int) -> Any:
    return ir.Constant(_LANE, [value] * LANES)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn sixteen vectors of one body's words into sixteen vectors of one word of every body."""
    step = 1
    while step < LANES:
        turned = list(rows)
        for row in range(LANES):
            if row & step:
                continue
            upper = [LANES + (lane ^ step) if lane & step else lane for lane in range(LANES)]
            lower = [LANES + lane if lane & step else lane | step for lane in range(LANES)]
            for target, mask in ((row, upper), (row | step, lower)):
                turned[target] = builder.shuffle_vector(rows[row], rows[row | step], ir.Constant(_LANE, mask))
        rows = turned
        step *= 2
    return rows


def _rounds(builder: Any, state: list[Any], words: list[Any]) -> list[Any]:
    """The 64 steps of RFC 1321 on one block of every lane."""
    a, b, c, d = state
    for step in range(64):
        if step < 16:
            mixed, word = builder.xor(d, builder.and_(b, builder.xor(c, d))), step
        elif step < 32:
            mixed, word = builder.xor(c, builder.and_(d, builder.xor(b, c))), (5 * step + 1) % 16
        elif step < 48:
            mixed, word = builder.xor(builder.xor(b, c), d), (3 * step + 5) % 16
        else:
            mixed = builder.xor(c, builder.or_(b, builder.xor(d, _all_lanes(0xFFFFFFFF))))
            word = 7 * step % 16
        total = builder.add(builder.add(builder.add(a, words[word]), _all_lanes(_SINES[step])), mixed)
        shift = _SHIFTS[step]
        turned = builder.or_(
            builder.shl(total, _all_lanes(shift)),
            builder.lshr(total, _all_lanes(32 - shift)),
        )
        a, d, c, b = d, c, b, builder.add(b, turned)
    return [builder.add(old, new) for old, new in zip(state, (a, b, c, d), strict=True)]


@intrinsic
def _hash_blocks(_context: Any, state: Any, addresses: Any, block_count: Any) -> Any:
    """Hash `block_count` blocks of 64 bytes in every lane: state uint32[4, LANES], addresses int64[LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        state_array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address_array = context.make_array(signature.args[1])(context, builder, arguments[1])
        places = builder.bitcast(state_array.data, _LANE.as_pointer())
        registers = [builder.gep(places, [ir.Constant(_I64, number)]) for number in range(4)]
        lanes = [builder.load(builder.gep(address_array.data, [ir.Constant(_I64, lane)])) for lane in range(LANES)]
        with cgutils.for_range(builder, arguments[2]) as loop:
            offset = builder.mul(loop.index, ir.Constant(_I64, 64))
            rows = [
                builder.load(builder.inttoptr(builder.add(lane, offset), _LANE.as_pointer()), align=1) for lane in lanes
            ]
            before = [builder.load(register, align=4) for register in registers]
            after = _rounds(builder, before, _transposed(builder, rows))
            for register, value in zip(registers, after, strict=True):
                builder.store(value, register, align=4)
        return context.get_dummy_value()

    return types.void(state, addresses, types.int64), generate


@njit(nogil=True, cache=True)
def _advance(state: Any, addresses: Any, block_count: Any) -> None:
    """`_hash_blocks`, compiled once for its three callers."""
    _hash_blocks(state, addresses, block_count)


def _md5_many(bodies: Any, body_start: Any, starts: Any, lengths: Any, order: Any, digests: Any) -> None:
    """Hash bodies that lie in one buffer.

    Parameters
    ----------
    bodies : ndarray of uint8
        The buffer.
    body_start : int
        Its address.
    starts, lengths : ndarray of int64, shape (n,)
        Where each body begins in the buffer, and its length in bytes.
    order : ndarray of int64, shape (n,)
        The bodies from the shortest to the longest.
    digests : ndarray of uint32, shape (n, 4)
        Set to the digests.
    """
    state = np.empty((4, LANES), np.uint32)
    kept = np.empty((4, LANES), np.uint32)
    addresses = np.empty(LANES, np.int64)
    lane_of_end = np.empty((LANES, 128), np.uint8)
    end_address = np.int64(lane_of_end.ctypes.data)
    count = len(starts)
    first = 0
    while first < count:
        many = min(LANES, count - first)
        for lane in range(LANES):
            for number in range(4):
                state[number, lane] = _BEGIN[number]
        done = np.int64(0)
        # Shortest first: each stage runs to the end of one more body, and a body that is done hashes something
        # readable on, which nobody looks at.
        for stage in range(many):
            whole = lengths[order[first + stage]] // 64
            if whole > done:
                for lane in range(LANES):
                    body = order[first + min(max(lane, stage), many - 1)]
                    addresses[lane] = body_start + starts[body] + 64 * done
                # The lanes before this stage are finished; keep what they came to.
                for lane in range(stage):
                    for number in range(4):
                        kept[number, lane] = state[number, lane]
                _advance(state, addresses, whole - done)
                for lane in range(stage):
                    for number in range(4):
                        state[number, lane] = kept[number, lane]
                done = whole
        for lane in range(many):
            body = order[first + lane]
            length = lengths[body]
            rest = length % 64
            begin = starts[body] + length - rest
            for place in range(128):
                lane_of_end[lane, place] = bodies[begin + place] if place < rest else 0
            lane_of_end[lane, rest] = 0x80
            bits_at = 56 if rest < 56 else 120
            for place in range(8):
                lane_of_end[lane, bits_at + place] = ((8 * length) >> (8 * place)) & 0xFF
        for lane in range(LANES):
            addresses[lane] = end_address + 128 * min(lane, many - 1)
        _advance(state, addresses, 1)
        for lane in range(many):
            if lengths[order[first + lane]] % 64 < 56:
                for number in range(4):
                    digests[order[first + lane], number] = state[number, lane]
        for lane in range(LANES):
            addresses[lane] += 64
        _advance(state, addresses, 1)
        for lane in range(many):
            if lengths[order[first + lane]] % 64 >= 56:
                for number in range(4):
                    digests[order[first + lane], number] = state[number, lane]
        first += many


def md5_many() -> Callable[[bytes, np.ndarray[Any, Any]], list[bytes]]:
    """Compile the kernel, or load it from numba's cache; return it as (bodies one after the other, lengths)."""
    whole = types.Array(types.int64, 1, "C")
    signature = types.void(
        types.Array(types.uint8, 1, "C", readonly=True),
        types.int64,
        whole,
        whole,
        whole,
        types.Array(types.uint32, 2, "C"),
    )
    compiled = njit(signature, nogil=True, cache=True, boundscheck=False)(_md5_many)

    def digests_of(bodies: bytes, lengths: np.ndarray[Any, Any]) -> list[bytes]:
        buffer = np.frombuffer(bodies, np.uint8)
        starts = np.cumsum(lengths) - lengths
        digests = np.empty((len(lengths), 4), np.uint32)
        compiled(
            buffer, buffer.__array_interface__["data"][0], starts, lengths, np.argsort(lengths, kind="stable"), digests
        )
        found = digests.tobytes()
        return [found[start : start + 16] for start in range(0, len(found), 16)]

    return digests_of
