"""What stands before the records of Databento Binary Encoding: the dataset, and which symbol an instrument has when.

::

    0   "DBN", u1 version          8   dataset, 16 bytes          26  u8 start, u8 end, u8 limit (version 1: u8 count)
    4   u4 length of what follows  24  u2 schema                  …   u1 stype_in, u1 stype_out, u1 ts_out
    …   from version 2: u2 length of a symbol; padding, to 108
    108 u4 length of a layout and it, then symbols, partial and not found (u4 count, texts), then the mappings

Invariants: nothing is read beyond the length that it tells; an instrument that no mapping knows on a day has no symbol.
"""

from __future__ import annotations

import struct
from datetime import date
from typing import NamedTuple

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array

PRELUDE_SIZE = 8
_FIXED_SIZE = 100
_SYMBOL_SIZE_1 = 22
_SIZE_MAX = 256 * 1024 * 1024
_VERSIONS = (1, 2, 3)
_INSTRUMENT_ID = 0
_EPOCH = date(1970, 1, 1).toordinal()


class Intervals(NamedTuple):
    """Which symbol instruments had on which days; in the order of `instruments`, then of the file."""

    instruments: Array
    """int64, ascending."""
    starts: Array
    """int64: days since the epoch."""
    ends: Array
    """int64: first day that it does not hold on."""
    symbols: Array
    """int64 into `names`."""
    names: list[str]

    def symbol(self, instrument_id: int, day: int) -> str | None:
        """Return the symbol of an instrument on a day, None if none is told; of several, the last."""
        low, high = np.searchsorted(self.instruments, (instrument_id, instrument_id + 1)).tolist()
        for place in range(high - 1, low - 1, -1):
            if self.starts[place] <= day < self.ends[place]:
                return self.names[int(self.symbols[place])]
        return None


class Metadata(NamedTuple):
    """The head of a stream."""

    version: int
    dataset: str
    schema_number: int
    """Databento's; 65535: mixed."""
    ts_out: bool
    """Each record has eight bytes more: when the gateway sent it."""
    intervals: Intervals


def metadata_size(data: bytes, where: str) -> int:
    """Return how many bytes the metadata takes whose first eight are given.

    Raises
    ------
    InvalidInputError
        It is none, or of a version that is not known.
    IntegrityError
        The length cannot be.
    """
    if data[:3] != b"DBN":
        raise InvalidInputError(f"{where}: a DBN stream begins with the letters DBN, and this one with {data[:4]!r}")
    if data[3] not in _VERSIONS:
        raise InvalidInputError(f"{where}: DBN of version {data[3]}; versions 1, 2 and 3 can be read")
    (length,) = struct.unpack_from("<I", data, 4)
    if not _FIXED_SIZE <= length <= _SIZE_MAX:
        raise IntegrityError(
            f"{where}: DBN metadata tells a length of {length} bytes; it must be {_FIXED_SIZE} to {_SIZE_MAX}"
        )
    return PRELUDE_SIZE + int(length)


def read_metadata(data: bytes, where: str) -> Metadata:
    """Read metadata, given whole.

    Raises
    ------
    InvalidInputError, IntegrityError
        It is none, or does not hold what it tells.
    """
    try:
        return _read(data)
    except (struct.error, ValueError, OverflowError) as error:
        raise IntegrityError(f"{where}: DBN metadata of {len(data)} bytes is damaged ({error})") from error


def _read(data: bytes) -> Metadata:
    version = data[3]
    dataset, schema_number = struct.unpack_from("<16sH", data, PRELUDE_SIZE)
    place = PRELUDE_SIZE + 42 + (8 if version == 1 else 0)
    stype_in, stype_out, ts_out = struct.unpack_from("<BBB", data, place)
    width = _SYMBOL_SIZE_1
    if version > 1:
        (width,) = struct.unpack_from("<H", data, place + 3)
    if not width:
        raise ValueError("symbols of no length")
    place = PRELUDE_SIZE + _FIXED_SIZE
    (layout_size,) = struct.unpack_from("<I", data, place)
    place += 4 + layout_size
    for _ in range(3):
        (count,) = struct.unpack_from("<I", data, place)
        place += 4 + count * width
    if _INSTRUMENT_ID in {stype_in, stype_out}:
        intervals = _intervals(data, place, width, inverse=stype_out != _INSTRUMENT_ID)
    else:
        # Mappings between other kinds of symbols tell nothing of instruments.
        none = np.empty(0, np.int64)
        intervals = Intervals(none, none, none, none, [])
    return Metadata(version, text(dataset), schema_number, bool(ts_out), intervals)


def _intervals(data: bytes, place: int, width: int, *, inverse: bool) -> Intervals:
    dtype = np.dtype([("start", "<u4"), ("end", "<u4"), ("symbol", f"S{width}")])
    (count,) = struct.unpack_from("<I", data, place)
    place += 4
    given: list[bytes] = []
    lengths: list[int] = []
    tables = [np.empty(0, dtype)]
    for _ in range(count):
        raw, length = struct.unpack_from(f"<{width}sI", data, place)
        place += width + 4
        tables.append(np.frombuffer(data, dtype, length, place))
        place += length * dtype.itemsize
        given.append(raw.partition(b"\0")[0])
        lengths.append(length)
    table = np.concatenate(tables)
    owners = np.repeat(np.arange(count), lengths)
    if inverse:
        # Each mapping is of an instrument, and its intervals tell the symbols.
        identifiers = np.array(given, "S")[owners] if count else np.empty(0, "S1")
        words, symbols = np.unique(table["symbol"], return_inverse=True)
        names = [text(word) for word in words.tolist()]
    else:
        identifiers, symbols, names = table["symbol"], owners, [text(raw) for raw in given]
    told = (identifiers != b"") & (np.array([bool(name) for name in names], np.bool_)[symbols] if names else True)
    instruments = identifiers[told].astype(np.int64)
    order = np.argsort(instruments, kind="stable")
    starts, ends = _days(table["start"][told]), _days(table["end"][told])
    return Intervals(instruments[order], starts[order], ends[order], symbols[told][order].astype(np.int64), names)


def _days(numbers: Array) -> Array:
    """Return days since the epoch of dates that are written as numbers: 20231225."""
    different, places = np.unique(numbers, return_inverse=True)
    days = [
        date(number // 10_000, number // 100 % 100, number % 100).toordinal() - _EPOCH for number in different.tolist()
    ]
    return np.array(days, np.int64)[places]


def text(raw: bytes) -> str:
    """Return a text of fixed length, which ends at its first zero."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


_MAPPINGS = {80: (16, 22, 38, 22), 176: (17, 71, 89, 71)}


def mapped_symbol(record: bytes, *, ts_out: bool) -> str | None:
    """Return the symbol that a mapping in the stream gives its instrument; None if the record is of no known length."""
    found = _MAPPINGS.get(len(record) - (8 if ts_out else 0))
    if found is None:
        return None
    at_in, size_in, at_out, size_out = found
    asked, given = text(record[at_in : at_in + size_in]), text(record[at_out : at_out + size_out])
    (instrument,) = struct.unpack_from("<I", record, 4)
    # A stream that was asked for instruments' numbers tells their symbols on the other side.
    return given if given and given != str(instrument) else asked or str(instrument)
