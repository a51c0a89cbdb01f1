"""Reading cold files, beside Parquet with zstd.

Invariants: two threads each; both read all columns of the same rows, ours into arrays that are there already, and the
numbers are the same; files lie in the page cache.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tickvault.bench.market.goals import at_least
from tickvault.bench.market.loading import Loaded, Series
from tickvault.bench.market.stage import Stage
from tickvault.bench.market.turns import repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import alternate
from tickvault.market.codec import ColdFile
from tickvault.market.parts import PartFiles
from tickvault.market.table import Table

_THREADS = 2


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Return reading a day of trades and one of quotes."""
    return [row for series in (loaded.trades, loaded.quotes) for row in _of(stage, series)]


def _of(stage: Stage, series: Series) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stage.setting.progress(f"cold read of a day of {series.title}")
    series.held.library.compact(series.key.symbol, series.key.schema, venue=series.key.venue, tier="cold")
    file = PartFiles(series.held.store).open(series.parts()[0])
    assert isinstance(file, ColdFile), "it was just compressed"
    columns = file.read()
    table = Table.of(columns, series.key.venue, series.key.symbol)
    out = {name: np.empty(len(columns), array.dtype) for name, array in columns.arrays.items()}
    path = os.path.join(stage.setting.folder, f"{series.key.symbol}-{series.key.schema}.parquet")
    pq.write_table(table.to_arrow(), path, compression="zstd")
    pa.set_cpu_count(_THREADS)
    _check_equal(table, pq.read_table(path))
    varying = [name for name in columns.arrays if (columns[name] != columns[name][0]).any()]
    seconds = stage.scale.seconds
    count, some = len(columns) * len(out), len(columns) * len(varying)
    rival, ours, rival_some, ours_some = alternate(
        lambda: repeated(lambda: pq.read_table(path, memory_map=True), seconds, count),
        lambda: repeated(lambda: file.read(out=out, threads=_THREADS), seconds, count),
        lambda: repeated(lambda: pq.read_table(path, columns=varying, memory_map=True), seconds, some),
        lambda: repeated(lambda: file.read(varying, out=out, threads=_THREADS), seconds, some),
        rounds=stage.scale.rounds,
    )
    goals = at_least("rate", 300e6), at_least("ratio", 1.3, "Parquet")
    size, theirs = len(bytes(series.held.store.get(series.parts()[0].key))), os.path.getsize(path)
    stage.note(
        f"a day of {series.title}: {len(columns):,} rows, {size:,} bytes cold, {theirs:,} as Parquet with zstd "
        f"({theirs / size:.1f} ×); {len(out)} columns, of which vary: "
        f"{', '.join(varying)}"
    )
    title = f"cold read of a day of {series.title}, beside Parquet"
    return [
        row_of(f"{title}, all columns", ours, *goals, unit="values/s", limit=rival.rate),
        row_of(f"{title}, those that vary", ours_some, unit="values/s", limit=rival_some.rate),
    ]


def _check_equal(table: Table, theirs: Any) -> None:
    if not table.to_arrow().equals(theirs.cast(table.to_arrow().schema)):
        raise AssertionError("the Parquet file does not hold the same numbers")
