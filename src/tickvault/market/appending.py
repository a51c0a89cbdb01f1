"""Appends: few rows go to the journal, many become files of columns at once.

Invariants: whichever way they go, rows are numbered in one sequence of the series, and are read and subscribed to as
soon as they are acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.catalog import LIVE, Catalog, Change, Manifest, SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.frames import Scales
from tickvault.market.journal.journals import Journals, write_sorted
from tickvault.market.journal.locked import Appended
from tickvault.market.parts import PartFiles, PartWriter
from tickvault.market.reading import unread
from tickvault.market.schema import Column, Kind
from tickvault.objects.protocol import Store

#: Rows of this many bytes are too many for a journal, which would write them twice.
BULK_SIZE = 2 * 1024 * 1024


class Appending:
    """Appends to series of one library."""

    def __init__(self, store: Store, catalog: Catalog, files: PartFiles, journals: Journals | None) -> None:
        self._store = store
        self._files = files
        self._scales: dict[SeriesKey, tuple[tuple[int, int], Scales]] = {}
        self._extensions: dict[SeriesKey, dict[str, Column]] = {}
        self._catalog = catalog
        self._journals = journals

    def scales(self, key: SeriesKey) -> Scales:
        """Return the scales of the newest rows of a series; 1 of one that has none."""
        mark = self._mark(key)
        known = self._scales.get(key)
        found = known[1] if known is not None and known[0] == mark else None
        if found is None:
            try:
                pieces = list(self._footers(key))
            except IntegrityError:
                # Rows that cannot be read do not keep others from coming.
                pieces = []
            found = Scales(
                max((piece[1][0] for piece in pieces), default=1), max((piece[1][1] for piece in pieces), default=1)
            )
            self._scales[key] = (mark, found)
        return found

    def _mark(self, key: SeriesKey) -> tuple[int, int]:
        """Return what changes when another process adds to a series."""
        manifest = self._catalog.last_known(key) or self._catalog.manifest(key)
        extent = None
        if self._journals is not None and self._journals.exists(key):
            tail = self._journals.tail(key)
            extent = tail.extent() if tail.exists else None
        return manifest.version, -1 if extent is None else extent.next_sequence

    def _noted(self, key: SeriesKey, columns: Columns) -> None:
        """Remember the scales after rows of ours were added."""
        known = self._scales[key][1] if key in self._scales else Scales()
        finest = Scales(max(known.size, columns.size_scale), max(known.turnover, columns.turnover_scale))
        self._scales[key] = (self._mark(key), finest)

    def check_extensions(self, key: SeriesKey, columns: Columns) -> None:
        """Raise `InvalidInputError` if a series means something else by the name of an extension."""
        if not columns.extensions:
            return
        known = self._extensions.get(key)
        if known is None:
            known = self._extensions[key] = {}
            manifest = self._catalog.manifest(key)
            for part in manifest.live_parts:
                known |= {column.name: column for column in self._files.open(part).footer.extensions}
            for file in unread([] if self._journals is None else self._journals.unread(key), manifest):
                known |= {column.name: column for rows in file.rows for column in rows.columns.extensions}
        for column in columns.extensions:
            other = known.setdefault(column.name, column)
            if (other.kind, other.dtype) != (column.kind, column.dtype):
                raise InvalidInputError(
                    f"append {key}: column {column.name} is of kind {other.kind.value} in the series, and "
                    f"{column.kind.value} here; give it another name"
                )

    def _footers(self, key: SeriesKey) -> Iterator[tuple[int, tuple[int, int], int]]:
        """Yield of each file and stretch of live rows: (largest size, its scales, largest turnover)."""
        journal = [] if self._journals is None else self._journals.unread(key)
        manifest = self._catalog.manifest(key)
        for part in manifest.live_parts:
            footer = self._files.open(part).footer
            largest = {Kind.SIZE: 0, Kind.TURNOVER: 0}
            for info in footer.columns:
                if info.column.kind in largest and info.lowest is not None and info.highest is not None:
                    most = max(abs(info.lowest), abs(info.highest))
                    largest[info.column.kind] = max(largest[info.column.kind], most)
            yield largest[Kind.SIZE], (footer.size_scale, footer.turnover_scale), largest[Kind.TURNOVER]
        for file in unread(journal, manifest):
            for rows in file.rows:
                columns = rows.columns
                size, turnover = (_largest(columns, kind) for kind in (Kind.SIZE, Kind.TURNOVER))
                yield size, (columns.size_scale, columns.turnover_scale), turnover

    def check_scales(self, key: SeriesKey, scales: Scales) -> None:
        """Raise `InvalidInputError` if rows of finer scales would make those of a series unreadable beside them."""
        if scales == self.scales(key):
            return
        for size, (size_scale, turnover_scale), turnover in self._footers(key):
            for name, most, theirs, ours in (
                ("size", size, size_scale, scales.size),
                ("turnover", turnover, turnover_scale, scales.turnover),
            ):
                if most * max(ours // theirs, 1) >= 2**63:
                    raise InvalidInputError(
                        f"append {key}: {name}_scale {ours:,} is too fine for the series, which holds a {name} of "
                        f"{most / theirs:,.9g}; round to fewer digits, or keep these rows in another series"
                    )

    def check(self, key: SeriesKey, columns: Columns) -> None:
        """Raise `InvalidInputError` if rows cannot stand beside those of a series."""
        self.check_extensions(key, columns)
        self.check_fit(key, columns)

    def check_fit(self, key: SeriesKey, columns: Columns) -> None:
        """Raise `InvalidInputError` if rows and those of a series could not be read beside each other."""
        ours = Scales(columns.size_scale, columns.turnover_scale)
        known = self.scales(key)
        if ours == known:
            return
        self.check_scales(key, ours)
        for name, kind, mine, theirs in (
            ("size", Kind.SIZE, ours.size, max((each[1][0] for each in self._footers(key)), default=1)),
            ("turnover", Kind.TURNOVER, ours.turnover, max((each[1][1] for each in self._footers(key)), default=1)),
        ):
            most = _largest(columns, kind)
            if most * max(theirs // mine, 1) >= 2**63:
                raise InvalidInputError(
                    f"append {key}: a {name} of {most / mine:,.9g} does not fit the series, whose {name}_scale is "
                    f"{theirs:,}; keep these rows in another series"
                )

    def append(self, key: SeriesKey, columns: Columns) -> Appended:
        """Append rows; see `Library.append`."""
        if not len(columns):
            raise InvalidInputError(f"append {key}: there are no rows")
        self.check(key, columns)
        appended = self._appended(key, columns)
        self._noted(key, columns)
        return appended

    def _appended(self, key: SeriesKey, columns: Columns) -> Appended:
        if self._journals is None:
            return self._as_parts_alone(key, columns)
        journal = self._journals.appender(key)
        if sum(array.nbytes for array in columns.arrays.values()) < BULK_SIZE:
            return journal.append(columns)
        with journal.locked() as held:
            count, first = len(columns), held.extent.next_sequence
            writer = PartWriter(self._store)
            numbers = np.arange(first, first + count)
            parts = write_sorted(writer, key, columns, numbers, f"{LIVE}{held.journal_id}")
            writer.flush()
            floor = held.extent.stamp + 1

            def commit() -> int:
                def change(state: Manifest) -> Change:
                    following = max(state.journal_next, first + count)
                    return Change("append", tuple(parts), journal=(held.journal_id, following), stamp_min=floor)

                return self._catalog.commit(key, change).stamp

            return held.append_parts(count, [part.key for part in parts], commit)

    def _as_parts_alone(self, key: SeriesKey, columns: Columns) -> Appended:
        """Append where there is no journal: a file and a version each time."""
        writer = PartWriter(self._store)
        source = f"append:{uuid4().hex[:16]}"
        parts = write_sorted(writer, key, columns, np.arange(len(columns)), source)
        writer.flush()
        state = self._catalog.commit(key, lambda _: Change("append", tuple(parts)))
        return Appended(-1, len(columns), state.stamp)


def _largest(columns: Columns, kind: Kind) -> int:
    """Return the largest absolute value of all columns of a kind; 0 if there is none."""
    most = 0
    for name, array in columns.arrays.items():
        column = columns.column(name)
        if column.kind is kind and len(array):
            known = array[array != column.null]
            if len(known):
                most = max(most, abs(int(known.min())), abs(int(known.max())))
    return most
