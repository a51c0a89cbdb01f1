"""The parts that warm and cold files share: header, footer, trailer; see ``docs/formats/column-file.md``.

Invariants: a footer that `read_footer` returns has matched its checksum, and every offset and length in it lies within
the file; nothing is taken from a file before it was compared with the file's size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import crc32c
import msgpack
import numpy as np

from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.market.schema import Column, Kind, Schema, known_schema

Buffer = bytes | bytearray | memoryview
Run = tuple[int, int, int]
"""Rows that follow each other in their source: (source id, first ordinal, count)."""

VERSION = 1
WARM, COLD = 1, 2
ALIGNMENT = 64
HEADER = struct.Struct("<8sII48x")
_MAGIC = b"TVCOLMN1"
_HEAD = struct.Struct("<8sIIQqqIIQQQIIIIIII28x")
_HEAD_MAGIC = b"TVCFOOT1"
_COLUMN = struct.Struct("<IHBB4sIIIQQQQQQQII8x")
_RUN = struct.Struct("<qqq")
_TRAILER = struct.Struct("<QIIII8s")
_TRAILER_MAGIC = b"TVCOLEND"
_MASK64 = (1 << 64) - 1

# Numbers of the kinds on disk; only ever appended to.
_KIND_CODES = {kind: code for code, kind in enumerate(Kind, 1)}
_KINDS = {code: kind for kind, code in _KIND_CODES.items()}
# Lowest and highest value of the types that a column may have.
_LIMITS = {
    width: (int(np.iinfo(width).min), int(np.iinfo(width).max))
    for width in ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8")
}

# Names of hidden columns; `codec.identity` says what they hold. The first two come together.
_BOTH = {"_source", "_ordinal"}
_HIDDEN_NAMES = _BOTH | {"_ts_commit", "_ts_known"}

# Bits of a column's flags.
_SORTED, _CONSTANT, _VALUED, _EXTENSION, _HIDDEN = 1, 2, 4, 8, 16


class ColumnInfo(NamedTuple):
    """What a footer says of a column."""

    column: Column
    offset: int = 0
    length: int = 0
    """Bytes in a warm file; 0 of a constant column, and in a cold file."""
    null_count: int = 0
    lowest: int | None = None
    """Of the values that are not null; None if there are none."""
    highest: int | None = None
    is_sorted: bool = False
    """No value is smaller than the one before, nulls taken as numbers."""
    constant: int | None = None
    """The value of all rows, where they have the same."""
    words: tuple[str, ...] = ()
    """The dictionary of a column of codes."""
    is_extension: bool = False
    is_hidden: bool = False
    """Part of the rows' identity, not of their content."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself."""

    form: int
    schema: Schema
    row_count: int
    ts_first: int
    """The earliest and the latest `ts_index`, null as the number it is; 0 without rows."""
    ts_last: int
    is_sorted: bool
    """By `ts_index`."""
    size_scale: int
    turnover_scale: int
    data_end: int
    columns: tuple[ColumnInfo, ...]
    runs: tuple[Run, ...]
    index: bytes
    """Warm: a CRC-32C (u32) per page. Cold: blocks and chunks."""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def extensions(self) -> tuple[Column, ...]:
        """The columns that are not the schema's."""
        known = self.schema.column
        return tuple(info.column for info in self.columns if not info.is_hidden and known(info.column.name) is None)


def header(form: int) -> bytes:
    """Return a file's first 64 bytes."""
    return HEADER.pack(_MAGIC, VERSION, form)


def trailer_and_footer(footer: Footer) -> list[bytes]:
    """Return what follows the data: the footer, compressed in a cold file, and the trailer."""
    plain = _pack(footer)
    stored = plain
    if footer.form == COLD:
        stored = _zstandard().ZstdCompressor(level=19).compress(plain)
    front = struct.pack("<QIII", footer.data_end, len(stored), len(plain), crc32c.crc32c(stored))
    return [stored, front + struct.pack("<I8s", crc32c.crc32c(front), _TRAILER_MAGIC)]


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidInputError("cold files need zstandard and pcodec: pip install 'tickvault[market]'") from error
    return zstandard


def _signed(value: int, signed: bool) -> int:
    return value - (1 << 64) if signed and value >> 63 else value


def _pack(footer: Footer) -> bytes:
    strings = bytearray(footer.schema.name.encode())
    words = bytearray()
    columns = bytearray()
    for info in footer.columns:
        column = info.column
        name, about = column.name.encode(), column.about.encode() if info.is_extension else b""
        flags = (
            _SORTED * info.is_sorted
            | _CONSTANT * (info.constant is not None)
            | _VALUED * (info.lowest is not None)
            | _EXTENSION * info.is_extension
            | _HIDDEN * info.is_hidden
        )
        try:
            texts = [word.encode() for word in info.words]
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"column {column.name}: a string of its dictionary is no text: {error}") from error
        numbers = (info.lowest or 0, info.highest or 0, info.constant or 0, column.null)
        columns += _COLUMN.pack(
            len(strings), len(name), _KIND_CODES[column.kind], flags, column.dtype.str.encode(),
            len(strings) + len(name), len(about), len(texts), info.offset, info.length, info.null_count,
            *(number & _MASK64 for number in numbers), len(words), sum(4 + len(text) for text in texts),
        )  # fmt: skip
        strings += name + about
        for text in texts:
            words += len(text).to_bytes(4, "little") + text
    runs = b"".join(_RUN.pack(*run) for run in footer.runs)
    about = msgpack.packb(dict(footer.about)) if footer.about else b""
    head = _HEAD.pack(
        _HEAD_MAGIC, VERSION, footer.form, footer.row_count, footer.ts_first, footer.ts_last, int(footer.is_sorted),
        len(footer.columns), footer.size_scale, footer.turnover_scale, footer.data_end, len(footer.runs),
        len(footer.index), len(strings), len(words), len(about), len(footer.schema.name.encode()), 0,
    )  # fmt: skip
    return b"".join((head, columns, runs, footer.index, strings, words, about))


def damaged(what: str) -> IntegrityError:
    """Return the error for a file that does not hold together."""
    return IntegrityError(f"column file: {what}; it is cut off or damaged: restore it from a replica or a backup")


def read_footer(view: memoryview, form: int) -> Footer:
    """Check a file's ends and return its footer.

    Raises
    ------
    IntegrityError
        A checksum does not match, or something would lie outside the file.
    FormatError
        It is of another version.
    """
    if len(view) < HEADER.size + _TRAILER.size:
        raise damaged(f"it has {len(view)} bytes, fewer than header and trailer take")
    magic, version, found = HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise damaged(f"it begins with {magic!r}, not {_MAGIC!r}")
    if version != VERSION:
        raise FormatError(f"column file: version {version}; this release reads version {VERSION}")
    if found != form or bytes(view[: HEADER.size]) != header(form):
        wanted = {WARM: "warm", COLD: "cold"}
        raise damaged(f"the header is of form {wanted.get(found, found)}, expected {wanted[form]}")
    offset, stored, plain, crc, front_crc, magic = _TRAILER.unpack_from(view, len(view) - _TRAILER.size)
    if magic != _TRAILER_MAGIC or crc32c.crc32c(view[len(view) - _TRAILER.size : len(view) - 12]) != front_crc:
        raise damaged("the trailer does not match its checksum")
    if offset < HEADER.size or offset + stored + _TRAILER.size != len(view):
        raise damaged(f"the trailer says {offset + stored + _TRAILER.size} bytes, the file has {len(view)}")
    data = view[offset : offset + stored]
    if crc32c.crc32c(data) != crc:
        raise damaged("the footer does not match its checksum")
    if form == COLD:
        zstandard = _zstandard()
        try:
            if zstandard.get_frame_parameters(data).content_size != plain:
                raise damaged("the footer's length is wrong")
            data = memoryview(zstandard.ZstdDecompressor().decompress(data, max_output_size=plain))
        except zstandard.ZstdError as error:
            raise damaged(f"the footer does not decompress ({error})") from error
    try:
        footer = _unpack(data, form)
    except (struct.error, ValueError, KeyError, IndexError, msgpack.UnpackException) as error:
        if isinstance(error, IntegrityError | InvalidInputError):
            raise
        raise damaged(f"the footer does not parse ({error})") from error
    if footer.data_end != offset:
        raise damaged("the data does not end where the footer begins")
    return footer


def _unpack(data: memoryview, form: int) -> Footer:
    (magic, version, found, rows, first, last, flags, column_count, size_scale, turnover_scale, data_end, run_count,
     index_size, strings_size, words_size, about_size, schema_size, _zero) = _HEAD.unpack_from(data)  # fmt: skip
    if (magic, version, found) != (_HEAD_MAGIC, VERSION, form):
        raise damaged("the footer is of another kind")
    at = _HEAD.size
    ends = []
    for size in (column_count * _COLUMN.size, run_count * _RUN.size, index_size, strings_size, words_size, about_size):
        ends.append((at, at + size))
        at += size
    if at != len(data):
        raise damaged(f"the footer's parts take {at} bytes, it has {len(data)}")
    columns_part, runs_part, index_part, strings_part, words_part, about_part = (data[a:b] for a, b in ends)
    name = _text(strings_part, 0, schema_size)
    # A schema that this release does not know is read by what the file says of its columns.
    schema = known_schema(name) or Schema(name, ())
    columns = tuple(
        _unpack_column(entry, strings_part, words_part, rows) for entry in _COLUMN.iter_unpack(columns_part)
    )
    if len({info.column.name for info in columns}) != len(columns):
        raise damaged("two columns have one name")
    for info in columns:
        known = None if info.is_hidden else schema.column(info.column.name)
        if known is not None and (known.kind, known.dtype) != (info.column.kind, info.column.dtype):
            raise FormatError(
                f"column file: {name} has a column {known.name} of {info.column.kind} {info.column.dtype}; "
                f"this release reads it as {known.kind} {known.dtype}"
            )
    if not {"ts_event", "ts_recv"} & {info.column.name for info in columns}:
        raise damaged("it has no time column")
    hidden = {info.column.name for info in columns if info.is_hidden}
    if not hidden <= _HIDDEN_NAMES or len(hidden & _BOTH) == 1:
        raise damaged("the rows' identity is missing or not known")
    runs = tuple(_RUN.iter_unpack(runs_part))
    if run_count and (sum(run[2] for run in runs) != rows or any(run[2] <= 0 for run in runs)):
        raise damaged("the runs of rows do not add up to the rows")
    about = msgpack.unpackb(about_part) if about_size else {}
    return Footer(
        form, schema, rows, first, last, bool(flags & 1), size_scale, turnover_scale, data_end, columns, runs,
        bytes(index_part), about,
    )  # fmt: skip


def _text(part: memoryview, start: int, size: int) -> str:
    if start + size > len(part):
        raise damaged("a name lies outside the footer")
    return bytes(part[start : start + size]).decode()


def _unpack_column(entry: tuple[Any, ...], strings: memoryview, words: memoryview, rows: int) -> ColumnInfo:
    (name_at, name_size, kind_code, flags, dtype, about_at, about_size, word_count, offset, length, null_count,
     lowest, highest, constant, _null, words_at, words_size) = entry  # fmt: skip
    name = _text(strings, name_at, name_size)
    width = dtype.rstrip(b"\0").decode("ascii", "replace")
    if kind_code not in _KINDS or width not in _LIMITS or null_count > rows:
        raise damaged(f"column {name} is of an unknown kind or type")
    column = Column(name, _KINDS[kind_code], _text(strings, about_at, about_size), width)
    least, most = _LIMITS[width]
    values = [_signed(value, least < 0) for value in (lowest, highest, constant)]
    if not (least <= min(values) and max(values) <= most):
        raise damaged(f"column {name} has a value beyond its type")
    texts = _words(words, words_at, words_size, word_count, name)
    if column.kind is Kind.CODE and flags & _VALUED and not 0 <= values[0] <= values[1] < len(texts):
        raise damaged(f"column {name} has codes beyond its {len(texts)} strings")
    return ColumnInfo(
        column, offset, length, null_count,
        values[0] if flags & _VALUED else None, values[1] if flags & _VALUED else None,
        bool(flags & _SORTED), values[2] if flags & _CONSTANT else None, texts,
        bool(flags & _EXTENSION), bool(flags & _HIDDEN),
    )  # fmt: skip


def _words(part: memoryview, start: int, size: int, count: int, name: str) -> tuple[str, ...]:
    if start + size > len(part) or count * 4 > size:
        raise damaged(f"the dictionary of column {name} lies outside the footer")
    end, texts = start + size, []
    for _ in range(count):
        length = int.from_bytes(part[start : start + 4], "little")
        start += 4
        if start + length > end:
            raise damaged(f"the dictionary of column {name} is longer than its place")
        texts.append(str(part[start : start + length], "utf-8"))
        start += length
    return tuple(texts)


def joined(buffers: Iterable[Any] | Sequence[Any]) -> bytes:
    """Return a file in one piece, for a caller that wants it so."""
    return b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
