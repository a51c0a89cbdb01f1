"""Appends: few rows go to the journal, many become files of columns at once.

Invariants: whichever way they go, rows are numbered in one sequence of the series, and are read and subscribed to as
soon as they are acknowledged.
"""

from __future__ import annotations

from uuid import uuid4

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.catalog import LIVE, Catalog, Change, Manifest, SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.journal.journals import Journals, write_sorted
from tickvault.market.journal.locked import Appended
from tickvault.market.parts import PartWriter
from tickvault.objects.protocol import Store

#: Rows of this many bytes are too many for a journal, which would write them twice.
BULK_SIZE = 2 * 1024 * 1024


class Appending:
    """Appends to series of one library."""

    def __init__(self, store: Store, catalog: Catalog, journals: Journals | None) -> None:
        self._store = store
        self._catalog = catalog
        self._journals = journals

    def append(self, key: SeriesKey, columns: Columns) -> Appended:
        """Append rows; see `Library.append`."""
        if not len(columns):
            raise InvalidInputError(f"append {key}: there are no rows")
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
