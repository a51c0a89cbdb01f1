"""Reading warm files: columns that lie as they are, beside numpy over the same bytes.

Invariants: both sum the same numbers of the same maps again and again, so that neither pays for a page's first touch;
reads are zero-copy, which is asked for.
"""

from __future__ import annotations

import os
import time
from array import array
from typing import Any

import numpy as np
from crc32c import crc32c

from tickvault.bench.market.goals import at_least, at_most
from tickvault.bench.market.loading import Loaded, Series
from tickvault.bench.market.stage import Held, Stage
from tickvault.bench.market.turns import once, repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import Sample, alternate, timing_of
from tickvault.market.columns import Array
from tickvault.market.library import Library
from tickvault.market.schema import Kind
from tickvault.market.table import Table
from tickvault.objects.bucket import Bucket

_ALIGNMENT = 64


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Return reading a day of quotes: touched, and opened only."""
    series, scale = loaded.quotes, stage.scale
    stage.setting.progress(f"warm read of a day of {series.title}")
    day = _Day(series)
    table = day.read(series.held.library)
    names = [name for name in table.columns if table.column(name).kind in (Kind.TIME, Kind.PRICE, Kind.SIZE)]
    # A constant column is one number, not as many bytes as it has rows.
    names = [name for name in names if table[name].strides[0]]
    raw = _raw_columns(os.path.join(stage.setting.folder, "raw-columns"), [table[name] for name in names])
    values = len(table) * len(names)
    if [int(column.sum()) for column in raw] != day.sums(series.held.library, names):
        raise AssertionError(f"{series.title}: the sums of the raw file differ from those of the library")
    limit, touched = alternate(
        lambda: repeated(lambda: [column.sum() for column in raw], scale.seconds, values),
        lambda: repeated(lambda: day.sums(series.held.library, names), scale.seconds, values),
        rounds=scale.rounds,
    )
    body = np.concatenate([column.view(np.uint8) for column in raw])
    opened, fresh, check = alternate(
        lambda: repeated(lambda: day.read(series.held.library), scale.seconds),
        lambda: _opening(series.held, day, scale.seconds, with_check=False),
        lambda: _opening(series.held, day, scale.seconds, with_check=True),
        rounds=scale.rounds,
    )
    (checksum,) = alternate(lambda: once(lambda: crc32c(body.data)), rounds=scale.rounds)
    title = f"warm read of a day of {series.title}"
    return [
        row_of(f"{title}, {len(names)} columns summed", touched, at_least("ratio", 0.8, "numpy"), unit="values/s",
               limit=limit.rate),
        row_of(f"{title}, opened", opened, at_most("p50", 1000)),
        row_of(f"{title}, opened by a library that is new, the check apart", fresh, at_most("p50", 1000)),
        row_of(f"{title}, first check of its pages, beside crc32c", check, limit=checksum.p50),
    ]  # fmt: skip


class _Day:
    """The UTC day that most rows of a series are of."""

    def __init__(self, series: Series) -> None:
        self._key = series.key
        self._day = np.datetime64(series.parts()[0].partition, "D")

    def read(self, library: Library) -> Table:
        """Open the day's rows, without a copy."""
        key, day = self._key, self._day
        end = str(day + np.timedelta64(1, "D"))
        return library.read(key.symbol, key.schema, str(day), end, venue=key.venue, strict_zero_copy=True)

    def sums(self, library: Library, names: list[str]) -> list[int]:
        """Open the day's rows, and sum columns."""
        table = self.read(library)
        return [int(table[name].sum()) for name in names]


class _WatchedStore:
    """A bucket that notes how long it took to get parts, which is when their bytes are checked."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.getting_ns = 0

    def get(self, key: str, **options: Any) -> Any:
        """Get an object."""
        start = time.perf_counter_ns()
        try:
            return self._bucket.get(key, **options)
        finally:
            if key.startswith("part/"):
                self.getting_ns += time.perf_counter_ns() - start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


def _opening(held: Held, day: _Day, seconds: float, *, with_check: bool) -> Sample:
    """Time the first read by libraries that are new: without getting the file, or getting the file alone."""
    latencies, clock = array("q"), time.perf_counter_ns
    first = now = clock()
    while not latencies or now < first + int(seconds * 1e9):
        store: Any = _WatchedStore(held.store)
        library = Library(store, held.library.name, held.place)
        start = clock()
        day.read(library)
        now = clock()
        library.close()
        latencies.append(store.getting_ns if with_check else now - start - store.getting_ns)
    return timing_of(latencies, now - first).sample


def _raw_columns(path: str, columns: list[Array]) -> list[Array]:
    """Write columns to a file as they are, and map it."""
    with open(path, "wb") as file:
        offsets = []
        for column in columns:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            offsets.append(file.tell())
            file.write(np.ascontiguousarray(column).data)
    mapped = np.memmap(path, np.uint8, "r")
    return [
        np.asarray(mapped[at : at + column.nbytes]).view(column.dtype)
        for at, column in zip(offsets, columns, strict=True)
    ]
