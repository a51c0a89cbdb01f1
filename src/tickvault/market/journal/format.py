"""The bytes of a journal file; drawn in ``docs/formats/journal.md``.

A file begins with a page that says whose rows it holds, and goes on with frames. A frame is rows, or what is needed to
read them: a layout (which columns, of which types) or words (strings that codes stand for).

Invariants: a frame's checksum continues that of the file's header, so that no frame of another file is taken for one of
this; each frame says the sequence of its first row, and sequences leave no gap, so that no frame is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
import numpy as np
from crc32c import crc32c

from tickvault.errors import FormatError, IntegrityError
from tickvault.market.catalog import SeriesKey
from tickvault.market.schema import Column, Kind, Schema

HEADER_SIZE = 4096
VERSION = 1
_HEADER = struct.Struct("<8sIII")
_MAGIC = b"TVJRNL01"
FRAME = struct.Struct("<IHBBIIQqII")
FRAME_SIZE = FRAME.size
FRAME_MAGIC = 0x4D524654
_ROW_COUNT_MAX = 2**31
PAYLOAD_MAX = 256 * 1024 * 1024


class FrameKind(IntEnum):
    """What a frame holds."""

    LAYOUT = 1
    """msgpack: the columns of the rows that name it."""
    WORDS = 2
    """msgpack: strings added to the dictionaries of columns."""
    ROWS = 3
    """Columns one after the other."""
    PARTS = 4
    """msgpack: keys of the parts that hold the rows, which were too many for a journal."""


class FileHeader(NamedTuple):
    """What a file says of itself."""

    journal_id: str
    """Of the series' journal, the same in all its files."""
    base: int
    """Sequence of its first row."""
    key: SeriesKey
    stamp: int
    """Last commit time before it, int64 ns."""
    previous_base: int
    """Of the file before; -1 of the first."""
    previous_end: int
    """Where the valid bytes of the file before end."""

    def pack(self) -> bytes:
        """Return its bytes, a whole page."""
        body = msgpack.packb([*self[:2], list(self.key), *self[3:]])
        head = _HEADER.pack(_MAGIC, VERSION, len(body), crc32c(body))
        page: bytes = (head + body).ljust(HEADER_SIZE, b"\0")
        return page

    @property
    def seed(self) -> int:
        """What the checksums of its frames begin with."""
        seed: int = crc32c(self.pack())
        return seed

    @classmethod
    def unpack(cls, data: Any, path: str) -> FileHeader:
        """Return the header of a file.

        Raises
        ------
        IntegrityError
            It is damaged.
        FormatError
            A newer release wrote it.
        """
        if len(data) < HEADER_SIZE:
            raise IntegrityError(f"journal {path}: it has {len(data)} bytes, fewer than its header takes")
        magic, version, length, crc = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise IntegrityError(f"journal {path}: it begins with {magic!r}, not {_MAGIC!r}")
        if version != VERSION:
            raise FormatError(f"journal {path}: version {version}; this release reads version {VERSION}")
        body = bytes(data[_HEADER.size : _HEADER.size + length])
        if len(body) != length or crc32c(body) != crc:
            raise IntegrityError(f"journal {path}: its header does not match its checksum")
        journal_id, base, key, *rest = msgpack.unpackb(body)
        return cls(journal_id, base, SeriesKey(*key), *rest)


class Layout(NamedTuple):
    """Which columns rows have."""

    columns: tuple[Column, ...]
    size_scale: int
    turnover_scale: int

    @property
    def row_size(self) -> int:
        """Bytes of a row."""
        return sum(column.dtype.itemsize for column in self.columns)

    def pack(self) -> bytes:
        """Return the payload of its frame."""
        columns = [(column.name, column.kind.value, column.dtype.str, column.about) for column in self.columns]
        packed: bytes = msgpack.packb([columns, self.size_scale, self.turnover_scale])
        return packed

    @classmethod
    def unpack(cls, payload: Any, schema: Schema) -> Layout:
        """Return a layout; columns that the schema has are the schema's own."""
        columns, size_scale, turnover_scale = msgpack.unpackb(bytes(payload))
        made = []
        for name, kind, width, about in columns:
            known = schema.column(name)
            column = Column(name, Kind(kind), about, width)
            if known is not None and (known.kind, known.dtype) != (column.kind, column.dtype):
                raise FormatError(
                    f"journal: {schema.name} has a column {name} of {kind} {width}; this release reads it as "
                    f"{known.kind} {known.dtype}"
                )
            made.append(known or column)
        return cls(tuple(made), size_scale, turnover_scale)

    def extensions(self, schema: Schema) -> tuple[Column, ...]:
        """Return the columns that are not the schema's."""
        return tuple(column for column in self.columns if schema.column(column.name) is None)


def frame(
    kind: FrameKind,
    layout_id: int,
    row_count: int,
    sequence: int,
    stamp: int,
    payload: Any,
    seed: int,
    *,
    strict: bool = False,
) -> bytes:
    """Return a frame with its payload, padded to a multiple of 8 bytes.

    Parameters
    ----------
    sequence : int
        Of its first row, or of the next one where it has none.
    stamp : int
        Commit time, int64 ns.
    seed : int
        See `FileHeader.seed`.
    strict : bool
        Whether it is synced, with all before it, before it is acknowledged: where it is found, all before it was there.
    """
    length = len(payload)
    rest = FRAME.pack(0, layout_id, kind, strict, row_count, length, sequence, stamp, FRAME_MAGIC, 0)[4:]
    body = b"".join((rest, payload, bytes(-length % 8)))
    checksum: int = crc32c(body, seed)
    return checksum.to_bytes(4, "little") + body


class Frame(NamedTuple):
    """A frame that was checked."""

    offset: int
    """Of its payload in the file."""
    kind: int
    layout_id: int
    row_count: int
    length: int
    sequence: int
    stamp: int
    end: int
    """Of the frame in the file."""


def frame_at(view: memoryview, at: int, end: int, seed: int, sequence: int) -> Frame | None:
    """Return the frame at an offset; None if there is no sound one that continues the sequence."""
    if at + FRAME_SIZE > end:
        return None
    crc, layout_id, kind, _strict, row_count, length, first, stamp, magic, _zero = FRAME.unpack_from(view, at)
    stop = at + FRAME_SIZE + length + -length % 8
    if magic != FRAME_MAGIC or first != sequence or stop > end:
        return None
    if crc32c(view[at + 4 : stop], seed) != crc:
        return None
    return Frame(at + FRAME_SIZE, kind, layout_id, row_count, length, first, stamp, stop)


class Stray(NamedTuple):
    """A sound frame behind one that is not."""

    sequence: int
    next_sequence: int
    stamp: int
    strict: bool


def strays(view: memoryview, start: int, seed: int) -> Iterator[Stray]:
    """Yield the sound frames at or behind an offset, whatever their sequence."""
    words = np.frombuffer(view, "<u4", len(view) // 4)
    place = FRAME_SIZE - 8
    found = np.flatnonzero(words[(start + place) // 4 :: 2] == FRAME_MAGIC) * 8 + start
    for at in found.tolist():
        crc, _, kind, strict, row_count, length, first, stamp, _, _ = FRAME.unpack_from(view, at)
        stop = at + FRAME_SIZE + length + -length % 8
        if stop <= len(view) and crc32c(view[at + 4 : stop], seed) == crc:
            following = first + row_count if kind >= FrameKind.ROWS else first
            yield Stray(first, following, stamp, bool(strict))


def column_bytes(columns: Any, layout: Layout) -> list[bytes]:
    """Return the payload of a frame of rows: each column's bytes."""
    return [np.ascontiguousarray(columns[column.name]).tobytes() for column in layout.columns]
