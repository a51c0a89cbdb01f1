"""Tables in CSV, Parquet or Arrow IPC, a block at a time, by column, as exact integers.

A block tells each column's values and which rows' are good; the CSV block reads text, the Arrow block reads what the
types say.  A float has passed through someone else's hands already: what is taken is the shortest decimal that is that
float, so that 16.59 is 16.59.

Invariants: values are exact, or told as not good; an empty field, a null and a NaN are null; quotes are those of
RFC 4180; no two columns have one name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.feeds.quoting import split_quoted
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.stamps import dates, stamps
from tickvault.market.feeds.text import Fields, codes, decimals, integers, split
from tickvault.market.schema import TIME_NULL

PARQUET, ARROW = b"PAR1", b"ARROW1"
_BATCH_ROWS = 262_144
#: Digits after the point of a second, by unit of an integer time.
UNIT_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
Read = tuple[Array, Array]


class Block(Protocol):
    """Some rows of a table; each reading returns (values, which rows are good)."""

    names: list[str]
    rows: int
    sound: Array
    """Which rows have all their fields."""
    cut_off: bytes
    """A last line that is not whole; else nothing."""

    def is_integer(self, name: str) -> bool:
        """Return whether the column's type says that its values are integers; of text, no."""

    def is_time(self, name: str) -> bool:
        """Return whether the column's type says that its values are times."""

    def numbers(self, name: str, digits: int, null: int) -> Read:
        """Return int64 in units of 10**-digits; rounded half away from zero where there are more."""

    def wholes(self, name: str, null: int) -> Read:
        """Return int64; a value that is no whole number is not good."""

    def words(self, name: str) -> tuple[Array, list[str]]:
        """Return int32 codes (-1: none) and their strings."""

    def days(self, name: str) -> Read:
        """Return int64 days since 1970-01-01 of a column of dates; a null is not good."""

    def stamps(self, name: str) -> tuple[Array, Array, Array]:
        """Return (int64 ns, whether they are UTC and not a wall clock's, which rows are good)."""

    def raw(self, row: int) -> bytes:
        """Return a row as it came, or as near as can be told."""


def names_of(head: bytes, delimiter: str = ",") -> list[str]:
    """Return the columns that a first line of CSV names, without quotes and the blanks around them."""
    line = head.lstrip(b"\r\n").replace(b"\r", b"\n").partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    try:
        names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [""])
    except csv.Error:
        # It is longer than any header.
        names = line.split(delimiter)
    return [name.strip() for name in names]


def blocks(source: Source) -> Iterator[Block]:
    """Iterate over a table's blocks.

    Raises
    ------
    InvalidInputError
        It is neither CSV, Parquet nor Arrow IPC; two of its columns have one name.
    IntegrityError
        It is damaged; raised after what could be read.
    """
    if source.head.startswith((PARQUET, ARROW)):
        for block in _arrow_blocks(source):
            _refuse_twins(source, block.names)
            yield block
        return
    if b"\0" in source.head:
        raise InvalidInputError(
            f"ingest {source.path}: expected a table in CSV, Parquet or Arrow IPC, found binary data"
        )
    for names, fields, cut_off in _csv_blocks(source):
        yield TextBlock(names, fields, cut_off)


def _refuse_twins(source: Source, names: list[str]) -> None:
    twins = [name for at, name in enumerate(names) if name and name in names[:at]]
    if twins:
        raise InvalidInputError(
            f"ingest {source.path}: two of its columns are called {twins[0]!r}; give each a name of its own"
        )


def _csv_blocks(source: Source) -> Iterator[tuple[list[str], Fields, bytes]]:
    """Iterate as `text_blocks` does, with the quotes of RFC 4180, and lines that end as an old Macintosh's."""
    end = b"\r" if b"\r" in source.head and b"\n" not in source.head else b"\n"
    for member in source.members():
        names: list[str] = []
        rest = b""
        for block in member.lines(end=end):
            lines = block.replace(b"\r", b"\n") if end == b"\r" else block
            if not names:
                names, lines = _header(source, lines)
            lines = rest + lines
            found, cut_off, rest = _split(lines, names, is_last=not lines.endswith(b"\n"))
            if len(found.starts) or cut_off:
                yield names, found, cut_off
        if rest:
            found, cut_off, _ = _split(rest, names, is_last=True)
            yield names, found, cut_off


def _header(source: Source, block: bytes) -> tuple[list[str], bytes]:
    """Return the names in a file's first line, and the lines below it."""
    header, _, block = block.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")
    if b"\r" in header.rstrip(b"\r") or header.count(b'"') % 2:
        raise InvalidInputError(
            f"ingest {source.path}: its header goes over more than one line; name each column in the first line"
        )
    names = names_of(header)
    _refuse_twins(source, names)
    return names, block


def _split(block: bytes, names: list[str], *, is_last: bool) -> tuple[Fields, bytes, bytes]:
    """Return (lines, a last line that is cut off, a last line that goes on in the next block)."""
    if b'"' not in block:
        return (*_split_plain(block, names), b"")
    found, rest = split_quoted(block, len(names), is_last=is_last)
    cut_off = b""
    if len(found.starts) and not found.sound[-1] and not rest and found.line_ends[-1] == len(block):
        at = int(found.line_starts[-1])
        if block.count(b",", at) + 1 < len(names):
            cut_off = block[at:]
            found, rest = split_quoted(block[:at], len(names), is_last=True)
    return found, cut_off, rest


def _split_plain(block: bytes, names: list[str]) -> tuple[Fields, bytes]:
    """Return (lines, a last line that is cut off) of a block in which quotes have no meaning."""
    cut_off = b""
    if block and not block.endswith(b"\n"):
        begin = block.rfind(b"\n") + 1
        if block.count(b",", begin) + 1 < len(names):
            block, cut_off = block[:begin], block[begin:]
    fields = split(block, len(names))
    if (fields.line_starts == fields.line_ends).any():
        block = b"".join(line for line in block.splitlines(keepends=True) if line.strip())
        fields = split(block, len(names))
    return fields, cut_off


def text_blocks(source: Source) -> Iterator[tuple[list[str], Fields, bytes]]:
    """Iterate over the lines of CSV below its header, of all members: (names, lines, a last line that is cut off).

    Lines with nothing on them are none. A last line without an end is whole if no field is missing. Quotes have no
    meaning.
    """
    for member in source.members():
        names: list[str] = []
        for lines in member.lines():
            block = lines
            if not names:
                header, _, block = block.partition(b"\n")
                names = names_of(header)
            fields, cut_off = _split_plain(block, names)
            if len(fields.starts) or cut_off:
                yield names, fields, cut_off


class TextBlock:
    """Lines of CSV, taken apart."""

    def __init__(self, names: list[str], fields: Fields, cut_off: bytes = b"") -> None:
        self.names = names
        self.rows = len(fields.starts)
        self.sound = fields.sound
        self.cut_off = cut_off
        self._fields = fields

    def is_integer(self, name: str) -> bool:
        """Return False: text does not say."""
        return False

    def is_time(self, name: str) -> bool:
        """Return whether the first value has the marks of a date: it is then no number."""
        values, _, good = stamps(self._fields, self.names.index(name))
        at = self.names.index(name)
        some = np.flatnonzero(good & (values != TIME_NULL))[:1]
        if not len(some):
            return False
        text = bytes(self._fields.data[self._fields.starts[some[0], at] : self._fields.ends[some[0], at]])
        return not text.isdigit()

    def numbers(self, name: str, digits: int, null: int) -> Read:
        """See `Block`."""
        return decimals(self._fields, self.names.index(name), digits, null)

    def wholes(self, name: str, null: int) -> Read:
        """See `Block`."""
        return integers(self._fields, self.names.index(name), null)

    def words(self, name: str) -> tuple[Array, list[str]]:
        """See `Block`."""
        return codes(self._fields, self.names.index(name))

    def days(self, name: str) -> Read:
        """See `Block`."""
        return dates(self._fields, self.names.index(name))

    def stamps(self, name: str) -> tuple[Array, Array, Array]:
        """See `Block`."""
        return stamps(self._fields, self.names.index(name))

    def raw(self, row: int) -> bytes:
        """Return the line."""
        return self._fields.raw(row)


def _pyarrow(path: str) -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise InvalidInputError(
            f"ingest {path}: Parquet and Arrow need pyarrow; install the extra: pip install 'tickvault[market]'"
        ) from None
    return pyarrow


def arrow_names(source: Source) -> list[str]:
    """Return a Parquet file's columns, none where it cannot be opened."""
    try:
        return list(_pyarrow(source.path).parquet.read_schema(source.path).names)
    except (OSError, InvalidInputError, ValueError):
        return []


def _arrow_blocks(source: Source) -> Iterator[Block]:
    pa = _pyarrow(source.path)
    try:
        if source.head.startswith(PARQUET):
            with pa.parquet.ParquetFile(_seekable(source)) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    yield ArrowBlock(pa, batch)
            return
        with pa.ipc.open_file(_seekable(source)) as reader:
            for number in range(reader.num_record_batches):
                yield ArrowBlock(pa, reader.get_batch(number))
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"ingest {source.path}: it is damaged or cut off ({error})") from error


def _seekable(source: Source) -> Any:
    """Return the file; in memory if it is compressed as a whole, since these formats are read from the end."""
    member = next(iter(source.members()))
    if member.inside is None and member.magic in {PARQUET, ARROW[:4]}:
        return source.path
    return io.BytesIO(b"".join(member.blocks()))


class ArrowBlock:
    """A batch of Arrow's."""

    def __init__(self, pa: Any, batch: Any) -> None:
        self._pa = pa
        self._batch = batch
        self.names = list(batch.schema.names)
        self.rows = batch.num_rows
        self.sound = np.ones(batch.num_rows, np.bool_)
        self.cut_off = b""

    def _column(self, name: str) -> Any:
        column = self._batch.column(self.names.index(name))
        return column.dictionary_decode() if self._pa.types.is_dictionary(column.type) else column

    def is_integer(self, name: str) -> bool:
        """See `Block`."""
        return bool(self._pa.types.is_integer(self._column(name).type))

    def is_time(self, name: str) -> bool:
        """See `Block`."""
        kind, types = self._column(name).type, self._pa.types
        text = types.is_string(kind) or types.is_large_string(kind)
        return bool(types.is_timestamp(kind) or types.is_date(kind)) or (text and self._text(name).is_time("0"))

    def _text(self, name: str) -> TextBlock:
        """Return a column of text as lines, for the kernels."""
        column = self._column(name).cast(self._pa.string())
        _, offsets, letters = column.buffers()
        bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + self.rows + 1]
        data = np.frombuffer(letters, np.uint8) if letters is not None and letters.size else np.zeros(1, np.uint8)
        starts, ends = bounds[:-1], bounds[1:]
        fields = Fields(
            data, starts[:, None], ends[:, None], starts.astype(np.int64), ends.astype(np.int64), self.sound
        )
        return TextBlock(["0"], fields)

    def numbers(self, name: str, digits: int, null: int) -> Read:
        """See `Block`."""
        column, types = self._column(name), self._pa.types
        kind = column.type
        absent = np.asarray(column.is_null())
        if types.is_integer(kind):
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            unit = 10**digits
            good = (values <= (2**63 - 2) // unit) & (values >= -((2**63 - 2) // unit))
            out = np.where(good, values, 0).astype(np.int64) * unit
        elif types.is_floating(kind):
            # A narrow float's shortest decimal is found in its own width.
            values = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
            absent = absent | np.isnan(values)
            out, good = exact(values, digits)
        elif types.is_decimal(kind):
            out, good = _one_by_one(column.fill_null(Decimal(0)).to_pylist(), digits)
        elif types.is_string(kind) or types.is_large_string(kind):
            return self._text(name).numbers("0", digits, null)
        else:
            raise InvalidInputError(f"column {name} is {kind}; expected numbers")
        return np.where(absent | ~good, null, out), good | absent

    def wholes(self, name: str, null: int) -> Read:
        """See `Block`."""
        column = self._column(name)
        if self._pa.types.is_integer(column.type):
            absent = np.asarray(column.is_null())
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            good = values <= np.uint64(2**63 - 1) if values.dtype == np.uint64 else np.ones(self.rows, np.bool_)
            return np.where(absent | ~good, null, values.astype(np.int64)), good | absent
        if self._pa.types.is_string(column.type) or self._pa.types.is_large_string(column.type):
            return self._text(name).wholes("0", null)
        # A number of up to 15 digits keeps three after the point; a larger float has no fraction to speak of.
        values, good = self.numbers(name, 0, null)
        finer, finer_good = self.numbers(name, 3, null)
        present = values != null
        return values, good & (~present | ~finer_good | (finer == values * 1000))

    def words(self, name: str) -> tuple[Array, list[str]]:
        """See `Block`."""
        column = self._batch.column(self.names.index(name))
        if not self._pa.types.is_dictionary(column.type):
            column = column.cast(self._pa.string()).dictionary_encode()
        found = column.indices.fill_null(self._pa.scalar(0, column.indices.type)).to_numpy(zero_copy_only=False)
        found = np.where(np.asarray(column.is_null()), -1, found.astype(np.int32)).astype(np.int32)
        return found, [str(word) for word in column.dictionary.to_pylist()]

    def days(self, name: str) -> Read:
        """See `Block`."""
        column, types = self._column(name), self._pa.types
        if types.is_string(column.type) or types.is_large_string(column.type):
            return self._text(name).days("0")
        if not (types.is_date(column.type) or types.is_timestamp(column.type)):
            raise InvalidInputError(f"column {name} is {column.type}; expected dates")
        absent = np.asarray(column.is_null())
        if types.is_timestamp(column.type) and column.type.tz:
            raise InvalidInputError(f"column {name} is {column.type}; expected dates, of no zone")
        found = column.cast(self._pa.timestamp("s"), safe=False).cast(self._pa.int64()).fill_null(0)
        return found.to_numpy(zero_copy_only=False) // 86_400, ~absent

    def stamps(self, name: str) -> tuple[Array, Array, Array]:
        """See `Block`."""
        column, types = self._column(name), self._pa.types
        if types.is_string(column.type) or types.is_large_string(column.type):
            return self._text(name).stamps("0")
        zone = types.is_timestamp(column.type) and column.type.tz is not None
        absent = np.asarray(column.is_null())
        try:
            found = column.cast(self._pa.timestamp("ns", tz=column.type.tz if zone else None)).cast(self._pa.int64())
        except self._pa.ArrowInvalid as error:
            raise InvalidInputError(f"column {name}: its times do not fit nanoseconds ({error})") from error
        values = found.fill_null(0).to_numpy(zero_copy_only=False)
        told = np.full(self.rows, bool(zone)) | absent
        return np.where(absent, TIME_NULL, values), told, np.ones(self.rows, np.bool_)

    def raw(self, row: int) -> bytes:
        """Return the row as Python writes it."""
        return repr(self._batch.slice(row, 1).to_pylist()[0]).encode()


def _one_by_one(values: list[Any], digits: int) -> Read:
    from decimal import ROUND_HALF_UP, localcontext

    out, good = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    with localcontext() as context:
        context.prec = 80
        for row, value in enumerate(values):
            scaled = int(value.scaleb(digits).to_integral_value(ROUND_HALF_UP)) if value.is_finite() else 2**63
            if abs(scaled) < 2**63 - 1:
                out[row], good[row] = scaled, True
    return out, good


def exact(values: Array, digits: int) -> Read:
    """Return floats as int64 in units of 10**-digits, by the shortest decimal that each is.

    A product in doubles is off by at most 2**-52 of itself, so that below 10**15 units rounding it finds the decimal;
    what is larger, or lies near the middle between two units, is done one by one.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = values.astype(np.float64) * 10.0**digits
        away = np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5)
        quick = (np.abs(scaled) < 1e15) & (away > 0.2) & np.full(len(values), values.dtype == np.float64)
        out = np.where(quick, np.rint(np.where(quick, scaled, 0)), 0).astype(np.int64)
    if values.dtype == np.float32:
        quick = _narrow(values, digits, out)
    good = quick.copy()
    slow = np.flatnonzero(~quick & np.isfinite(values))
    if len(slow):
        different, inverse = np.unique(values[slow], return_inverse=True)
        text: Callable[[Any], str] = lambda value: np.format_float_positional(value, unique=True)  # noqa: E731
        found, found_good = _one_by_one([Decimal(text(value)) for value in different], digits)
        out[slow], good[slow] = found[inverse], found_good[inverse]
    return out, good


def _narrow(values: Array, digits: int, out: Array) -> Array:
    """Fill in the floats of 32 bits that few digits tell; return which those are."""
    wide = np.where(np.isfinite(values), values, 0).astype(np.float64)
    found = np.zeros(len(values), np.bool_)
    for places in range(digits + 1):
        units = np.rint(wide * 10.0**places)
        # The fewest digits that lead back to the float are those that it is written with.
        same = ~found & np.isfinite(values) & (np.abs(units) < 1e9) & (np.abs(wide) < 2.0**24)
        same &= (units / 10.0**places).astype(np.float32) == values
        out[same] = units[same].astype(np.int64) * 10 ** (digits - places)
        found |= same
    return found
