"""Reading a series: parts and journal as one table, in order.

Rows come in the order of `ts_index`; rows of equal time in the order of their commits, and those of one commit in their
source's order.  A file whose own clock goes back keeps its order: a row counts as no earlier than the rows before it in
its part.  Live rows that come late are put where their time belongs.

Invariants: a read sees each series as of one moment; the order is the same whether rows lie in the journal, in one file
or in many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tickvault.market.catalog import Catalog, Manifest, Part, SeriesKey
from tickvault.market.codec import ColdFile, ColumnFile
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.journal.file import Rows
from tickvault.market.journal.tail import Unread
from tickvault.market.parts import PartFiles, PartGoneError, index_names, index_of, times_of, within
from tickvault.market.schema import Column, Kind
from tickvault.market.view import HiddenRows, View, stamps_of, visible

#: The column that says when the vault knew a row; read by asking for it.
TS_COMMIT = Column("ts_commit", Kind.TIME, "when the vault knew the row")
_TRIES = 20
_LAST_NS = int(np.iinfo(np.int64).max)


class Sorted(NamedTuple):
    """Rows that stand in their order."""

    columns: Columns
    keys: Array
    """What they are ordered by, int64, never falling: `ts_index`, or the largest so far."""
    stamps: Array
    """Commit times, int64 ns."""
    is_mapped: bool = False
    """Whether the columns are views of a mapped file."""


class Wanted(NamedTuple):
    """What is asked of a series."""

    start: int | None = None
    end: int | None = None
    columns: tuple[str, ...] | None = None
    view: View = View()


class Reader:
    """Reads series of one library."""

    def __init__(self, catalog: Catalog, files: PartFiles, hidden: HiddenRows) -> None:
        self._catalog = catalog
        self._files = files
        self._hidden = hidden

    def read(self, key: SeriesKey, journal: Sequence[Unread], wanted: Wanted) -> list[Sorted]:
        """Return the rows of a series; `journal` was read before this is called."""
        for _ in range(_TRIES):
            manifest = self._catalog.manifest(key)
            try:
                return self.read_state(manifest, journal, wanted)
            except PartGoneError:
                # A compaction replaced it since the manifest was read.
                if self._catalog.manifest(key).version == manifest.version:
                    raise
        raise AssertionError(f"{key} was compacted {_TRIES} times during one read")

    def read_state(self, manifest: Manifest, journal: Sequence[Unread], wanted: Wanted) -> list[Sorted]:
        """Return the rows of a series as of a manifest and what was not in it yet."""
        found = [self._of_part(manifest, part, wanted) for part in self._touched(manifest, wanted)]
        for file in unread(journal, manifest):
            found += [_of_rows(rows, wanted) for rows in file.rows if _overlaps(rows, wanted)]
        pieces = [piece for piece in found if len(piece.keys)]
        if pieces:
            return pieces
        return [self._nothing(manifest, journal, wanted)] if manifest.parts or journal else []

    def _touched(self, manifest: Manifest, wanted: Wanted) -> list[Part]:
        start, end = wanted.start, wanted.end
        touched = [
            part
            for part in manifest.parts
            if wanted.view.sees(part)
            and (start is None or part.last_ns >= start)
            and (end is None or part.first_ns < end)
        ]
        touched.sort(key=lambda part: (part.partition, part.stamp_min))
        self._files.open_all(touched)
        return touched

    def _of_part(self, manifest: Manifest, part: Part, wanted: Wanted) -> Sorted:
        file = self._files.open(part)
        start = wanted.start if wanted.start is not None and part.first_ns < wanted.start else None
        end = wanted.end if wanted.end is not None and part.last_ns >= wanted.end else None
        names = _names_in(file, wanted.columns)
        plain = part.in_order and wanted.view.known_ns is None and not _may_be_masked(manifest, part, wanted.view)
        rows: slice | Array = slice(0, part.rows)
        keys: Array | None = None
        if not plain:
            times = times_of(file)
            keys = times if part.in_order else np.maximum.accumulate(times)
            rows = within(times, part.in_order, start, end)
            seen = visible(manifest, part, file, times, wanted.view, self._hidden)
            rows = _both(rows, seen, part.rows)
        elif start is not None or end is not None:
            rows = file.rows(start, end) if isinstance(file, ColdFile) else within(times_of(file), True, start, end)
        if isinstance(file, ColdFile):
            columns = file.read(names, rows=rows if isinstance(rows, slice) else np.flatnonzero(rows))
        else:
            columns = file.columns(names)
            if not isinstance(rows, slice) or rows != slice(0, part.rows):
                columns = columns.take(rows)
        stamps = stamps_of(part, file)[rows]
        mapped = isinstance(rows, slice) and not isinstance(file, ColdFile)
        if names is not None:
            # What was not asked for does not matter, though another file may mean something else by it.
            columns.extensions = tuple(column for column in columns.extensions if column.name in columns.arrays)
        keys = index_of(file, columns) if keys is None else keys[rows]
        return _with_stamps(Sorted(columns, keys, stamps, mapped), wanted)

    def _nothing(self, manifest: Manifest, journal: Sequence[Unread], wanted: Wanted) -> Sorted:
        """Return no rows, and the columns that there are."""
        if manifest.parts:
            part = manifest.parts[-1]
            held = self._files.open(part)
            names = _names_in(held, wanted.columns)
            read = held.read(names, rows=slice(0, 0)) if isinstance(held, ColdFile) else held.columns(names, 0, 0)
            return _with_stamps(Sorted(read, read.ts_index, np.empty(0, np.int64)), wanted)
        for file in journal:
            for rows in file.rows:
                none = _chosen(rows.columns, wanted.columns).take(slice(0, 0))
                return _with_stamps(Sorted(none, none.ts_index, np.empty(0, np.int64)), wanted)
        empty = Columns(journal[0].schema, {"ts_event": np.empty(0, np.int64)})
        return Sorted(empty, empty.ts_index, np.empty(0, np.int64))


def unread(journal: Sequence[Unread], manifest: Manifest) -> list[Unread]:
    """Return the journal files whose rows are not in parts yet."""
    return [file for file in journal if file.source not in manifest.sources]


def _may_be_masked(manifest: Manifest, part: Part, view: View) -> bool:
    if view.stamp is not None and part.stamp_max > view.stamp:
        return True
    return any(part.stamp_min < each.stamp for each in manifest.masks)


def _both(rows: slice | Array, seen: Array | None, count: int) -> slice | Array:
    if seen is None:
        return rows
    if isinstance(rows, slice):
        chosen = np.zeros(count, np.bool_)
        chosen[rows] = seen[rows]
        return chosen
    return rows & seen


def _names_in(file: ColumnFile | ColdFile, columns: Sequence[str] | None) -> list[str] | None:
    """Return the columns to read: those asked for, and what they are ordered by."""
    if columns is None:
        return None
    held = {info.column.name for info in file.footer.columns if not info.is_hidden}
    return [name for name in dict.fromkeys((*index_names(file), *columns)) if name in held]


def _chosen(columns: Columns, names: Sequence[str] | None) -> Columns:
    if names is None:
        return columns
    made = columns.take(slice(None))
    kept = {"ts_event", "ts_recv", *names}
    made.arrays = {name: array for name, array in made.arrays.items() if name in kept}
    made.extensions = tuple(column for column in made.extensions if column.name in kept)
    return made


def _overlaps(rows: Rows, wanted: Wanted) -> bool:
    return (wanted.start is None or rows.last_ns >= wanted.start) and (wanted.end is None or rows.first_ns < wanted.end)


def _of_rows(rows: Rows, wanted: Wanted) -> Sorted:
    view = wanted.view
    count = len(rows.stamps) if view.stamp is None else int(np.searchsorted(rows.stamps, view.stamp, "right"))
    columns = _chosen(rows.columns, wanted.columns).take(slice(0, count))
    stamps, times = rows.stamps[:count], columns.ts_index
    if not rows.in_order and (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        columns, stamps, times = columns.take(order), stamps[order], times[order]
    end = wanted.end
    if view.known_ns is not None and view.known_ns < _LAST_NS:
        end = view.known_ns + 1 if end is None else min(end, view.known_ns + 1)
    inside = within(times, True, wanted.start, end)
    return _with_stamps(Sorted(columns.take(inside), times[inside], stamps[inside]), wanted)


def _with_stamps(piece: Sorted, wanted: Wanted) -> Sorted:
    if wanted.columns is None or TS_COMMIT.name not in wanted.columns:
        return piece
    return piece._replace(columns=with_column(piece.columns, TS_COMMIT, piece.stamps))


def with_column(columns: Columns, column: Column, values: Array, words: Sequence[str] = ()) -> Columns:
    """Return rows with one more column, beyond the schema's."""
    made = columns.take(slice(None))
    made.arrays = {**made.arrays, column.name: values}
    made.extensions = (*made.extensions, column)
    if column.kind is Kind.CODE:
        made.dictionaries = {**made.dictionaries, column.name: list(words)}
    return made


def in_order(pieces: Iterable[Sorted]) -> tuple[list[Sorted], Array | None]:
    """Return pieces, and the order of their rows one after the other; None: as they stand.

    Rows of equal key and commit time stand in the order of the pieces.
    """
    pieces = list(pieces)
    given = [piece for piece in pieces if len(piece.keys)] or pieces[:1]
    places = sorted(range(len(given)), key=lambda place: _begin(given[place]))
    ranked = [given[place] for place in places]
    follow = (
        _follows(left, right, before < after)
        for (before, left), (after, right) in pairwise(zip(places, ranked, strict=True))
    )
    if all(follow):
        return ranked, None
    ranked = sorted(given, key=lambda piece: int(piece.stamps[0]))
    keys = np.concatenate([piece.keys for piece in ranked])
    first, last = [int(piece.stamps.min()) for piece in ranked], [int(piece.stamps.max()) for piece in ranked]
    if all(left <= right for left, right in zip(last, first[1:], strict=False)):
        return ranked, np.argsort(keys, kind="stable")
    return ranked, np.lexsort((np.concatenate([piece.stamps for piece in ranked]), keys))


def _begin(piece: Sorted) -> tuple[int, int]:
    return (int(piece.keys[0]), int(piece.stamps[0])) if len(piece.keys) else (0, 0)


def _follows(left: Sorted, right: Sorted, in_turn: bool) -> bool:
    before, after = int(left.keys[-1]), int(right.keys[0])
    if before != after:
        return before < after
    committed, later = int(left.stamps[-1]), int(right.stamps[0])
    return committed < later or (committed == later and in_turn)


def together(pieces: Sequence[Sorted]) -> Sorted:
    """Return pieces as one, in order."""
    ranked, order = in_order(pieces)
    if len(ranked) == 1 and order is None:
        return ranked[0]
    columns = join_columns([piece.columns for piece in ranked])
    keys = np.concatenate([piece.keys for piece in ranked])
    stamps = np.concatenate([piece.stamps for piece in ranked])
    if order is None:
        return Sorted(columns, keys, stamps)
    return Sorted(columns.take(order), keys[order], stamps[order])
