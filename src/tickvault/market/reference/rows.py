"""Files of reference data as rows: CSV with a header or without, JSON lines, Parquet.

Such files are small and written by people: fields may be quoted, hold commas, and lack.  Numbers stay as they are
written until a fact is made of them, so that 0.1 is 0.1.

Invariants: a row keeps its number in the file; a line that cannot be read is given with its reason and its bytes, and
the lines after it are read.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tickvault.errors import IntegrityError, InvalidInputError, NotFoundError
from tickvault.market.reference.fact_log import Refused

_JSON = (".jsonl", ".ndjson")
_SIZE_MAX = 256 * 1024 * 1024

Row = tuple[int, dict[str, Any], bytes]
"""Its number, its fields by the file's own names, and its bytes."""


def read_rows(
    path: str | os.PathLike[str], names: Sequence[str] = (), wanted: Iterable[str] = ()
) -> Iterator[Row | Refused]:
    """Iterate over the rows of a file.

    Parameters
    ----------
    path : path-like
        ``.jsonl`` and ``.ndjson`` are JSON lines, ``.parquet`` is Parquet, anything else is CSV.
    names : sequence of str
        Of the columns of a CSV that has no header; its lines may lack the last ones.
    wanted : iterable of str
        The columns that a header, or Parquet, must have; of JSON lines, that one of the rows must have.
        See `wanted_columns`.

    Raises
    ------
    NotFoundError
        There is no such file.
    InvalidInputError
        It is no text in UTF-8, or larger than 256 MiB; it lacks a column that is wanted.
    IntegrityError
        It is a Parquet file that is damaged.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise NotFoundError(f"load {path}: there is no such file")
    if os.path.getsize(path) > _SIZE_MAX:
        raise InvalidInputError(f"load {path}: it has {os.path.getsize(path):,} bytes; at most {_SIZE_MAX:,} are read")
    if path.lower().endswith(".parquet"):
        return _parquet(path, wanted)
    text = _text(path)
    if path.lower().endswith(_JSON):
        return _json_lines(path, text, wanted)
    return _csv(path, text, names, wanted)


def _refuse_lacking(path: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    names = list(there)
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise InvalidInputError(
            f"load {path}: columns= names {', '.join(map(repr, lacking))}, which it has not; "
            f"its columns are {', '.join(names) or 'none'}"
        )


def _text(path: str) -> str:
    with open(path, "rb") as file:
        raw = file.read()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"load {path}: byte {error.start} is no UTF-8; save it as UTF-8, or as Parquet with the name .parquet"
        ) from error


def _json_lines(path: str, text: str, wanted: Iterable[str]) -> Iterator[Row | Refused]:
    rows = list(_json_rows(text))
    there = dict.fromkeys(name for row in rows if not isinstance(row, Refused) for name in row[1])
    if there:
        _refuse_lacking(path, wanted, there)
    yield from rows


def _json_rows(text: str) -> Iterator[Row | Refused]:
    for number, line in enumerate(text.splitlines()):
        if not line.strip():
            continue
        raw = line.encode()
        try:
            fields = json.loads(line, parse_float=Decimal)
        except ValueError as error:
            yield Refused(number, f"it is no JSON ({error})", raw)
            continue
        if isinstance(fields, dict):
            yield number, fields, raw
        else:
            yield Refused(number, "it is no JSON object", raw)


def _csv(path: str, text: str, names: Sequence[str], wanted: Iterable[str]) -> Iterator[Row | Refused]:
    lines = csv.reader(io.StringIO(text), strict=True)
    header = list(names)
    number = 0
    while True:
        try:
            fields = next(lines, None)
        except csv.Error as error:
            yield Refused(number, f"it is no CSV ({error})", b"")
            number += 1
            continue
        if fields is None:
            return
        if not any(field.strip() for field in fields):
            continue
        if not header:
            header = [field.strip() for field in fields]
            if len(set(header)) < len(header):
                raise InvalidInputError(f"load {path}: its header names a column twice: {', '.join(header)}")
            _refuse_lacking(path, wanted, header)
            continue
        raw = ",".join(fields).encode()
        # A file that names no columns may leave the last ones out.
        if len(fields) == len(header) or (names and len(fields) < len(header)):
            yield number, dict(zip(header, fields, strict=False)), raw
        else:
            yield Refused(number, f"it has {len(fields)} fields, and should have {len(header)}", raw)
        number += 1


def _parquet(path: str, wanted: Iterable[str]) -> Iterator[Row | Refused]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InvalidInputError(
            f"load {path}: Parquet needs pyarrow; install the extra: pip install 'tickvault[market]'"
        ) from None
    try:
        found = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"load {path}: it is damaged or cut off ({error})") from error
    _refuse_lacking(path, wanted, found.column_names)
    for number, fields in enumerate(found.to_pylist()):
        yield number, fields, repr(fields).encode()


class Fields:
    """The fields of one row by our names, through a mapping of columns.

    Invariants: what a row lacks is told by our name and theirs.
    """

    def __init__(self, fields: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        self._fields = fields
        self._columns = columns

    def __contains__(self, name: str) -> bool:
        """Whether the row has a value for one of our names."""
        return self.text(name) != ""

    def text(self, name: str, default: str = "") -> str:
        """Return a field as text, `default` where it lacks."""
        theirs = self._columns.get(name)
        value = None if theirs is None else self._fields.get(theirs)
        return default if value is None else str(value).strip() or default

    def needed(self, name: str) -> str:
        """Return a field as text; raises `ValueError` where it lacks."""
        found = self.text(name)
        if not found:
            theirs = self._columns.get(name)
            raise ValueError(f"it has no {name}" + (f" (column {theirs})" if theirs and theirs != name else ""))
        return found

    def number(self, name: str) -> Decimal:
        """Return a field as an exact number; raises `ValueError` where it is none."""
        text = self.needed(name)
        try:
            found = Decimal(text)
        except ArithmeticError:
            raise ValueError(f"its {name} {text!r} is no number") from None
        if not found.is_finite():
            raise ValueError(f"its {name} {text!r} is no number")
        return found


def wanted_columns(path: str | os.PathLike[str], columns: Mapping[str, str], needed: Sequence[str]) -> list[str]:
    """Return which of their columns a file must have: all that are mapped; JSON may leave out those not needed."""
    is_json = os.fspath(path).lower().endswith(_JSON)
    return [theirs for ours, theirs in columns.items() if not is_json or ours in needed]


def check_columns(path: str, columns: Mapping[str, str], known: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse a mapping that names what is not ours, or lacks what is needed.

    Raises
    ------
    InvalidInputError
        With the names there are.
    """
    strange = [name for name in columns if name not in known]
    if strange:
        raise InvalidInputError(f"load {path}: columns= names {', '.join(strange)}; ours are {', '.join(known)}")
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InvalidInputError(f"load {path}: columns= should say which column is {', '.join(missing)}")
