"""Rows of many series, brought together by series, in bounded memory.

A file sorted by time holds the rows of a series far apart; a file of orders followed by trades holds the rows of one
moment far apart.  Here rows are kept until the end of the source, on disk once they are many, and then given series by
series.

Invariants: the rows of a series stand in the order in which they came; series come in the order of their numbers; no
more than `ROWS_IN_MEMORY` rows wait in memory, and beyond them the rows of one series.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

import numpy as np

from tickvault.market.columns import Array

#: Rows that wait in memory before they are laid on disk; at about 100 bytes a row.
ROWS_IN_MEMORY = 500_000


class Gathered:
    """Rows (a structured array) under the number of their series; a context, so that what lies on disk is removed."""

    def __init__(self, dtype: np.dtype[Any], rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._dtype = dtype
        self._rows_in_memory = rows_in_memory
        self._waiting: list[tuple[Array, Array]] = []
        self._waiting_count = 0
        self._file: IO[bytes] | None = None
        self._runs: dict[int, list[tuple[int, int]]] = {}
        self._series_count = 0

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, series: Array, rows: Array) -> None:
        """Take rows; `series` are their series' numbers, from 0."""
        if not len(rows):
            return
        self._waiting.append((series, rows))
        self._waiting_count += len(rows)
        self._series_count = max(self._series_count, int(series.max()) + 1)
        if self._waiting_count >= self._rows_in_memory:
            self._lay_down()

    def _sorted(self) -> tuple[Array, Array]:
        """Return what waits, by series, and where each series begins; shape (series_count + 1,)."""
        if not self._waiting:
            return np.empty(0, self._dtype), np.zeros(self._series_count + 1, np.int64)
        # Numbers of two bytes are sorted by radix.
        number_type = np.uint16 if self._series_count < 65_536 else np.int64
        series = np.concatenate([part.astype(number_type) for part, _ in self._waiting])
        rows = self._waiting[0][1] if len(self._waiting) == 1 else np.concatenate([part for _, part in self._waiting])
        self._waiting, self._waiting_count = [], 0
        if (series[1:] < series[:-1]).any():
            order = np.argsort(series, kind="stable")
            series, rows = series.take(order), rows.take(order)
        return rows, np.searchsorted(series, np.arange(self._series_count + 1))

    def _lay_down(self) -> None:
        rows, bounds = self._sorted()
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="tickvault-ingest-")  # noqa: SIM115
        begin = self._file.seek(0, 2)
        rows.tofile(self._file)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            place = begin + int(bounds[number]) * self._dtype.itemsize
            self._runs.setdefault(number, []).append((place, int(bounds[number + 1] - bounds[number])))

    def series(self) -> Iterator[tuple[int, Array]]:
        """Iterate over the series that have rows: (number, its rows in the order in which they came)."""
        rows, bounds = self._sorted()
        for number in range(self._series_count):
            parts = []
            for place, count in self._runs.get(number, ()):
                assert self._file is not None, "what has runs has a file"
                self._file.seek(place)
                parts.append(np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype))
            parts.append(rows[bounds[number] : bounds[number + 1]])
            joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
            if len(joined):
                yield number, joined
