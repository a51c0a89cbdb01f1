"""Kernels that walk the frames of a journal and gather its rows; ten thousand small appends are one call."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from numba import njit

from tickvault.market.feeds.loads import little32, little64
from tickvault.market.journal.format import FRAME_MAGIC, FRAME_SIZE

#: Words of a frame that `walk` found: offset of its payload, kind, layout id, rows, length, sequence, commit time, end.
FRAME_WORDS = 8
_ONES = np.uint64(0xFFFFFFFF)
_MASK32 = np.int64(0xFFFFFFFF)

#: Whether `walk` can be used here: its checksum is the processor's own instruction.
HAS_WALK = platform.machine() == "x86_64"
_crc_to_end: Any = None
if HAS_WALK:
    from tickvault.engine.kernels.crc32c import finish

    _crc_to_end = finish


@njit(nogil=True, cache=True)
def walk(base: Any, start: Any, end: Any, seed: Any, sequence: Any, rows_kind: Any, frames: Any) -> Any:
    """Check frames one after the other, until one does not hold.

    Parameters
    ----------
    base : int64
        Address of the file in memory, readable up to `end`.
    start, end : int64
        Offsets of the first frame and of the end of what is valid.
    seed, sequence : int64
        What the checksums begin with, and the number that the first frame must have.
    rows_kind : int64
        The kind whose frames advance the sequence, and any above it.
    frames : ndarray of int64, shape (n, FRAME_WORDS)
        Filled with what is found.

    Returns
    -------
    (count, offset, sequence)
        How many, and where the next one begins.
    """
    count = 0
    at = start
    while count < len(frames) and at + FRAME_SIZE <= end:
        place = base + at
        if (little32(place + 32) & _MASK32) != FRAME_MAGIC or little64(place + 16) != sequence:
            break
        length = little32(place + 12) & _MASK32
        stop = at + FRAME_SIZE + length + ((-length) & 7)
        if stop > end:
            break
        crc = _crc_to_end(np.uint64(seed) ^ _ONES, place + 4, base + stop)
        if np.int64(crc) != (little32(place) & _MASK32):
            break
        head = little32(place + 4)
        row_count = little32(place + 8) & _MASK32
        kind = (head >> 16) & 0xFF
        frames[count, 0] = at + FRAME_SIZE
        frames[count, 1] = kind
        frames[count, 2] = head & 0xFFFF
        frames[count, 3] = row_count
        frames[count, 4] = length
        frames[count, 5] = sequence
        frames[count, 6] = little64(place + 24)
        frames[count, 7] = stop
        count += 1
        at = stop
        if kind >= rows_kind:
            sequence += row_count
    return count, at, sequence


@njit(nogil=True, cache=True)
def gather(data: Any, frames: Any, prefix: Any, width: Any, out: Any) -> None:
    """Copy one column of frames of rows to where it is wanted.

    Parameters
    ----------
    data : ndarray of uint8
        The file.
    frames : ndarray of int64, shape (n, FRAME_WORDS)
    prefix, width : int64
        Bytes of the columns before it in a row, and its own.
    out : ndarray of uint8
        The column's bytes.
    """
    at = 0
    for number in range(len(frames)):
        row_count = frames[number, 3]
        start = frames[number, 0] + row_count * prefix
        size = row_count * width
        for place in range(size):
            out[at + place] = data[start + place]
        at += size


@njit(nogil=True, cache=True)
def spread(frames: Any, out: Any) -> None:
    """Write each frame's commit time once for each of its rows."""
    at = 0
    for number in range(len(frames)):
        for _ in range(frames[number, 3]):
            out[at] = frames[number, 6]
            at += 1
