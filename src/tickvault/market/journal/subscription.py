"""A subscription: the rows of a series as they are committed, from any process, without polling.

Invariants: every row is given once, in the order of its sequence, and none before its append was acknowledged (or is
about to be, in the same instant); a subscriber that stops and comes back with the sequence after the last row it had
misses nothing, wherever the rows lie by then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Self

import numpy as np

from tickvault.errors import ClosedError
from tickvault.market.catalog import LIVE, SeriesKey
from tickvault.market.codec import ColdFile
from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.journal.file import Elsewhere, Rows
from tickvault.market.journal.journals import Journals
from tickvault.market.parts import PartFiles, PartGoneError
from tickvault.market.table import Table

#: A wake that is lost, which takes a process killed at the wrong instruction, costs this long.
_WAIT_MAX_S = 0.1
_TRIES = 20


class Subscription:
    """Rows of one series as they come; iterate over it, or ask with `get`. Get it with ``library.subscribe``."""

    def __init__(
        self,
        journals: Journals,
        files: PartFiles,
        key: SeriesKey,
        from_sequence: int | None,
        rows_in_parts: Callable[[SeriesKey, int], list[tuple[int, Columns]]],
    ) -> None:
        self.key = key
        self._files = files
        self._rows_in_parts = rows_in_parts
        # The page must be there to wait on, also before the first append.
        with journals.appender(key).locked() as held:
            following = held.extent.next_sequence
        self._tail = journals.tail(key)
        self._tail.waiters += 1
        self.next_sequence = following if from_sequence is None else from_sequence
        self._ready: deque[Table] = deque()
        self._open = True

    def __enter__(self) -> Self:
        """Return the subscription."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the subscription."""
        self.close()

    def __repr__(self) -> str:
        """Show the series, and what comes next."""
        return f"<Subscription {self.key} from sequence {self.next_sequence}>"

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return self._open

    def close(self) -> None:
        """End the subscription; an iteration over it ends."""
        if self._open:
            self._open = False
            self._tail.waiters -= 1

    def __iter__(self) -> Iterator[Table]:
        """Yield batches, waiting for each, until the subscription is closed."""
        while self._open:
            found = self.get(timeout=1.0)
            if found is not None:
                yield found

    def get(self, timeout: float | None = None) -> Table | None:
        """Return the next batch; None if none came in time.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever, 0 does not wait.

        Returns
        -------
        Table or None
            ``table.sequence`` is the number of its first row; the others follow it.
        """
        if not self._open:
            raise ClosedError(f"subscription to {self.key}: it was closed")
        limit = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            state = self._tail.state
            seen = state.word.value
            self._take()
            if self._ready or not self._open:
                break
            left = _WAIT_MAX_S if limit is None else min(limit - time.monotonic(), _WAIT_MAX_S)
            if left <= 0:
                return None
            state.wait(seen, left)
        return self._ready.popleft() if self._ready else None

    def give_back(self, table: Table) -> None:
        """Have a batch that `get` returned be the next one again."""
        self._ready.appendleft(table)

    def _take(self) -> None:
        """Take in what was committed since the last time."""
        extent = self._tail.extent()
        if extent is not None and extent.next_sequence <= self.next_sequence:
            return
        for _ in range(_TRIES):
            first, found = self._tail.rows_from(self.next_sequence, extent)
            try:
                if not found or first > self.next_sequence:
                    # What lay before the journal's first file is in parts by now.
                    self._from_parts(found[0].sequence if found else None)
                for each in found:
                    self._give(each)
                return
            except PartGoneError:
                continue

    def _give(self, found: Rows | Elsewhere) -> None:
        if isinstance(found, Elsewhere):
            self._from_parts(found.sequence + found.row_count)
            return
        skip = max(self.next_sequence - found.sequence, 0)
        columns = found.columns.take(slice(skip, None)) if skip else found.columns
        self._push(found.sequence + skip, columns)

    def _from_parts(self, before: int | None) -> None:
        """Give the rows up to a sequence that lie in files of columns."""
        for sequence, columns in self._rows_in_parts(self.key, self.next_sequence):
            end = sequence + len(columns) if before is None else min(sequence + len(columns), before)
            start = max(self.next_sequence, sequence)
            if start < end:
                self._push(start, columns.take(slice(start - sequence, end - sequence)))
        if before is not None and before > self.next_sequence:
            # Numbers that were given out and never came to hold rows: the writer was killed in between.
            self.next_sequence = before

    def _push(self, sequence: int, columns: Columns) -> None:
        if len(columns):
            table = Table.of(columns, self.key.venue, self.key.symbol)
            table.sequence = sequence
            self._ready.append(table)
            self.next_sequence = sequence + len(columns)


def live_rows(files: PartFiles, journals: Journals, key: SeriesKey, sequence: int) -> list[tuple[int, Columns]]:
    """Return live rows from a sequence on that lie in parts: (first sequence, rows), in their order."""
    manifest = journals.manifest(key)
    source = f"{LIVE}{manifest.journal_id}"
    pieces, numbers = [], []
    for part in manifest.parts:
        if part.source not in {source, ""}:
            continue
        file = files.open(part)
        names = list(file.about["sources"])
        if source not in names:
            continue
        ordinals = file.ordinals()
        rows = np.flatnonzero((file.source_ids() == names.index(source)) & (ordinals >= sequence))
        if len(rows):
            pieces.append(file.read(rows=rows) if isinstance(file, ColdFile) else file.columns().take(rows))
            numbers.append(ordinals[rows])
    if not pieces:
        return []
    columns, ordinals = join_columns(pieces), np.concatenate(numbers)
    ordinals, first = np.unique(ordinals, return_index=True)
    columns = columns.take(first)
    cuts = np.flatnonzero(np.diff(ordinals) != 1) + 1
    bounds = [0, *cuts.tolist(), len(ordinals)]
    return [(int(ordinals[start]), columns.take(slice(start, end))) for start, end in pairwise(bounds)]
