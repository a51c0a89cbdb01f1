"""Chunks of cold files: how one column's values of one block are stored.

A value is ``base + factor * stored + term``, modulo 2**64, where the term is made of other columns of the block; where
a mask is set it is ``fill`` instead, and nothing is stored.

Invariants: the columns a term or mask is made of do not depend on the column themselves; a chunk is decoded only after
its checksum matched.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.codec.layout import damaged
from tickvault.market.columns import Array
from tickvault.market.schema import F_LAST

BLOCK = struct.Struct("<Qqq")
"""Rows, earliest and latest ts_index."""
CHUNK = struct.Struct("<QIIBBBBHHQQQIBxHQ")
NO_COLUMN = 0xFFFF


class Codec(IntEnum):
    """How a chunk's numbers, or its mask, are stored."""

    NOTHING = 0
    """No bytes: all numbers are 0."""
    PCODEC = 1
    ZSTD = 2
    BITS = 3
    """Of a mask: zstd of one bit a row, the first row in the highest bit."""


class Term(IntEnum):
    """What is added to a chunk's numbers."""

    NONE = 0
    OTHER = 1
    """Another column's value."""
    GREATER = 2
    """The greater of two columns' values."""
    LESSER = 3
    BEFORE = 4
    """Another column's value in the row before; in the block's first row, in the same row."""
    PRODUCT = 5
    """The product of two columns, divided by `extra`, rounded down."""
    MIRROR = 6
    """``extra`` + the number on the ask side, ``extra`` - the number on the bid side."""
    HELD = 7
    """No sum: numbers are stored of rows that begin an event, the others have the value of the row before. The first
    row of a block begins one, and so does each row behind one whose flags (the first column) have the bit F_LAST."""


class Mask(IntEnum):
    """Which rows have the value `fill`."""

    NONE = 0
    OWN = 1
    """Stored before the numbers."""
    SAME = 2
    """Those of another column."""
    COMPLEMENT = 3
    """Those that are not another column's."""


class Chunk(NamedTuple):
    """An entry of the index."""

    offset: int
    length: int
    crc: int
    codec: int
    width: int
    """Bytes of a stored number: 1, 2, 4 or 8."""
    term: int = Term.NONE
    mask: int = Mask.NONE
    first: int = NO_COLUMN
    """Columns of the term, by place in the footer."""
    second: int = NO_COLUMN
    base: int = 0
    factor: int = 1
    fill: int = 0
    mask_length: int = 0
    mask_codec: int = Codec.NOTHING
    mask_column: int = NO_COLUMN
    extra: int = 0


class Libraries(NamedTuple):
    """What cold files need beside numpy."""

    pcodec: Any
    zstandard: Any
    kernels: Any


_libraries: Libraries | None = None


def libraries() -> Libraries:
    """Return the libraries of the extra ``market``, imported at first use."""
    global _libraries
    if _libraries is None:
        try:
            import pcodec
            import pcodec.standalone
            import zstandard

            from tickvault.market.codec import kernels
        except ImportError as error:
            raise InvalidInputError(
                f"cold files need pcodec, zstandard and numba ({error}): pip install 'tickvault[market]'"
            ) from error
        _libraries = Libraries(pcodec, zstandard, kernels)
    return _libraries


def begins_of(flags: Array) -> Array:
    """Return which rows of a block begin an event, bool; see `Term.HELD`."""
    begins = np.empty(len(flags), np.bool_)
    begins[:1] = True
    begins[1:] = (flags[:-1] & F_LAST) != 0
    return begins


def unsigned(array: Array) -> Array:
    """Return an array's bits as unsigned numbers of the same width."""
    return array.view(f"u{array.dtype.itemsize}")


def widened(array: Array) -> Array:
    """Return values as uint64, negative ones modulo 2**64; a view where they have eight bytes."""
    wide = np.int64 if array.dtype.kind == "i" else np.uint64
    return array.astype(wide, copy=False).view(np.uint64)


def term_of(term: int, first: Array, second: Array | None, extra: int) -> Array:
    """Return the term of a chunk, uint64; of `Term.MIRROR` there is none."""
    if term in (Term.GREATER, Term.LESSER):
        assert second is not None, "two columns"
        return widened(np.maximum(first, second) if term == Term.GREATER else np.minimum(first, second))
    if term == Term.BEFORE:
        values = widened(first)
        return np.concatenate((values[:1], values[:-1]))
    if term == Term.PRODUCT:
        assert second is not None, "two columns"
        product = first.astype(np.int64, copy=False) * second.astype(np.int64, copy=False)
        product //= np.int64(extra)
        return product.view(np.uint64)
    return widened(first)


def decode_numbers(codec: int, data: memoryview, out: Array) -> None:
    """Decode stored numbers into an array of their width.

    Raises
    ------
    IntegrityError
        They are others than the index says.
    """
    if codec == Codec.NOTHING:
        out[:] = 0
        return
    found = libraries()
    if codec == Codec.PCODEC:
        try:
            progress = found.pcodec.standalone.simple_decompress_into(bytes(data), out)
        except (RuntimeError, TypeError) as error:
            raise damaged(f"a chunk does not decode ({error})") from error
        if progress.n_processed != len(out) or not progress.finished:
            raise damaged(f"a chunk holds {progress.n_processed} numbers, not {len(out)}")
        return
    if codec != Codec.ZSTD:
        raise damaged(f"a chunk is of the unknown codec {codec}")
    unsigned(out)[:] = np.frombuffer(_unzstd(data, out.nbytes), f"<u{out.dtype.itemsize}")


def _unzstd(data: memoryview, size_bytes: int) -> bytes:
    zstandard = libraries().zstandard
    try:
        if zstandard.get_frame_parameters(data).content_size != size_bytes:
            raise damaged(f"a chunk does not hold {size_bytes} bytes")
        plain: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=size_bytes)
    except zstandard.ZstdError as error:
        raise damaged(f"a chunk does not decompress ({error})") from error
    return plain


def decode_mask(codec: int, data: memoryview, row_count: int) -> Array:
    """Return a mask as uint8, 1 where the value is `fill`."""
    if codec == Codec.BITS:
        packed = np.frombuffer(_unzstd(data, -(-row_count // 8)), np.uint8)
        return np.unpackbits(packed, count=row_count)
    made = np.empty(row_count, np.uint8)
    decode_numbers(codec, data, made)
    return made
