"""The same table in ArcticDB, on its LMDB backend.

ArcticDB takes a pandas frame with a DatetimeIndex and float prices, as its users have it; codes are integers there,
which it stores faster than texts.  It gets the columns that we store, and no more.  LMDB syncs each of its commits, of
which an append makes four (fdatasync, counted with strace): our strict appends are what it compares with.

Invariants: one tier of ours is held against it for both speed and size; both give the same prices and times, which is
checked before anything is timed.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import shutil
import time
from array import array
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import numpy as np

from tickvault.bench.market.appends import ROWS, made_batches
from tickvault.bench.market.goals import Goal, at_most
from tickvault.bench.market.loading import Loaded, Series
from tickvault.bench.market.stage import Held, Stage
from tickvault.bench.market.turns import once, repeated
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import Sample, alternate, timing_of
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_SCALE, Kind
from tickvault.market.table import Table

#: The tier of ours that is compared, in speed and in size.
TIER: Literal["warm", "cold"] = "cold"
_COLUMNS = ("price", "size", "exchange", "conditions")
_RANGE_ROWS = 1_000
#: Ranges that are read in a turn.
_RANGES = 16
_FASTER = Goal("ratio", maximum=1, beside="ArcticDB")


def measure(stage: Stage, loaded: Loaded) -> list[Row]:
    """Return writing, appending, reading, and size."""
    if importlib.util.find_spec("arcticdb") is None:
        stage.note("not measured: ArcticDB beside us; arcticdb is not installed: pip install arcticdb")
        return []
    try:
        importlib.import_module("arcticdb")
    except (ImportError, NotImplementedError) as error:
        # It refuses releases of protobuf that it does not know.
        stage.note(f"not measured: ArcticDB beside us; arcticdb cannot be used here: {error}")
        return []
    stage.setting.progress(f"{loaded.trades.title} in ArcticDB")
    stage.note(
        f"ArcticDB {version('arcticdb')} with pandas {version('pandas')}; an append of its makes four fdatasyncs, so "
        f"that our strict ones compare; all else of ours is of one tier, {TIER}, and written to it at once"
    )
    pair = _Pair(stage, loaded.trades)
    try:
        return [*pair.whole(), *pair.appends(), pair.size()]
    finally:
        pair.close()


class _Same(NamedTuple):
    """One table, as each of both takes it."""

    table: Table
    frame: Any
    """pandas.DataFrame."""


def _same(series: Series) -> _Same:
    import pandas as pd

    read = series.read()
    time = "ts_recv" if "ts_recv" in read else "ts_event"
    names = [name for name in _COLUMNS if name in read]
    columns = Columns(
        read.schema,
        {name: read[name] for name in (time, *names)},
        {name: read.strings(name) for name in names if read.column(name).kind is Kind.CODE},
        size_scale=read.size_scale,
    )
    values = {name: read[name] / PRICE_SCALE if name == "price" else read[name] for name in names}
    return _Same(Table.of(columns), pd.DataFrame(values, index=pd.DatetimeIndex(read[time], name=time)))


def _frame(batch: Mapping[str, Any]) -> Any:
    import pandas as pd

    values = {"price": batch["price"] / PRICE_SCALE, "size": batch["size"]}
    return pd.DataFrame(values, index=pd.DatetimeIndex(batch["ts_recv"], name="ts_recv"))


class _Pair:
    """Both libraries."""

    def __init__(self, stage: Stage, series: Series) -> None:
        import arcticdb  # type: ignore[import-untyped, import-not-found, unused-ignore]

        self._stage = stage
        self._same = _same(series)
        self._folder = os.path.join(stage.setting.folder, "arctic")
        self._arctic = arcticdb.Arctic(f"lmdb://{self._folder}")
        self._theirs = self._arctic.get_library("bench", create_if_missing=True)
        self._ours: Held = stage.library("beside-arctic")
        self._numbers = itertools.count()
        self._symbol = ""

    def close(self) -> None:
        """Remove the rival's files."""
        del self._theirs, self._arctic
        shutil.rmtree(self._folder, ignore_errors=True)

    def whole(self) -> list[Row]:
        """Return writing the table, and reading all and a range of it."""
        count = len(self._same.table)
        theirs, ours, warm = alternate(
            lambda: once(lambda: self._theirs.write("table", self._same.frame), count),
            lambda: once(self._write, count),
            lambda: once(lambda: self._write_warm("warm"), count),
            rounds=self._stage.scale.rounds,
        )
        rows = [
            self._row(f"write of {count:,} rows ({TIER})", ours, theirs),
            row_of(f"write of {count:,} rows (warm, not compared), beside ArcticDB", warm, limit=theirs.p50),
        ]
        self._check_equal()
        seconds = self._stage.scale.seconds
        theirs, ours = self._alternate(
            lambda: repeated(lambda: self._theirs.read("table").data, seconds, count),
            lambda: repeated(self._read, seconds, count),
        )
        rows.append(self._row(f"read of {count:,} rows ({TIER})", ours, theirs))
        times = self._same.frame.index.to_numpy().view(np.int64)
        places = np.random.default_rng(3).integers(0, count - _RANGE_ROWS, 64).tolist()
        starts = itertools.cycle((int(times[place]), int(times[place + _RANGE_ROWS])) for place in places)
        theirs, ours = self._alternate(
            lambda: self._several(self._read_theirs, starts),
            lambda: self._several(self._read, starts),
        )
        return [*rows, self._row(f"time-range read of {_RANGE_ROWS:,} rows ({TIER})", ours, theirs)]

    def _alternate(self, theirs: Callable[[], Sample], ours: Callable[[], Sample]) -> list[Sample]:
        return alternate(theirs, ours, rounds=self._stage.scale.rounds)

    @staticmethod
    def _row(what: str, ours: Sample, theirs: Sample) -> Row:
        return row_of(f"{what}, beside ArcticDB", ours, _FASTER, limit=theirs.p50)

    @staticmethod
    def _several(read: Callable[[int, int], Any], ranges: Any) -> Sample:
        latencies, clock = array("q"), time.perf_counter_ns
        first = clock()
        for start, end in itertools.islice(ranges, _RANGES):
            begun = clock()
            read(start, end)
            latencies.append(clock() - begun)
        return timing_of(latencies, clock() - first).sample

    def _write(self) -> None:
        """Write the table into the tier that is compared, a series each time so that nothing is replaced."""
        self._symbol = f"T{next(self._numbers)}"
        self._write_warm(self._symbol)
        if TIER == "cold":
            self._ours.library.compact(self._symbol, self._same.table.schema.name, tier=TIER)

    def _write_warm(self, symbol: str) -> None:
        self._ours.library.write(symbol, self._same.table.schema.name, self._same.table)

    def _read(self, start: int | None = None, end: int | None = None) -> Table:
        table = self._ours.library.read(self._symbol, self._same.table.schema.name, start, end)
        for name in table.columns:
            table[name]
        return table

    def _read_theirs(self, start: int, end: int) -> Any:
        import pandas as pd

        # Their range holds its end.
        return self._theirs.read("table", date_range=(pd.Timestamp(start), pd.Timestamp(end - 1))).data

    def _check_equal(self) -> None:
        ours, theirs = self._read(), self._theirs.read("table").data
        prices = np.rint(theirs["price"].to_numpy() * PRICE_SCALE).astype(np.int64)
        times = theirs.index.to_numpy().view(np.int64)
        if not np.array_equal(ours["price"], prices) or not np.array_equal(ours["ts_index"], times):
            raise AssertionError("ArcticDB and we do not give the same table")

    def appends(self) -> list[Row]:
        """Return small appends: each of a batch that goes on where the last one ended."""
        count = self._stage.scale.rival_append_count
        relaxed = self._stage.new_library("relaxed")
        batches = list(made_batches(count))
        frames = [_frame(batch) for batch in batches]
        theirs, strict, kept = (_Appending(count) for _ in range(3))
        per_turn = max(count // self._stage.scale.rounds, 1)
        rival, synced, unsynced = alternate(
            lambda: theirs.turn(per_turn, lambda place: self._theirs.append("appended", frames[place])),
            lambda: strict.turn(per_turn, lambda place: self._ours.library.append("A", "trades", batches[place])),
            lambda: kept.turn(per_turn, lambda place: relaxed.library.append("A", "trades", batches[place])),
            rounds=self._stage.scale.rounds,
        )
        name = f"append of {ROWS} rows, of {per_turn * self._stage.scale.rounds:,}"
        return [self._row(f"{name}, strict", synced, rival), self._row(f"{name}, relaxed", unsynced, rival)]

    def size(self) -> Row:
        """Return the bytes that a row of the table takes, in a library of the rival's own that holds nothing else."""
        count = len(self._same.table)
        alone = self._arctic.get_library("size", create_if_missing=True)
        alone.write("table", self._same.frame)
        theirs = sum(each.bytes_compressed for each in alone.admin_tools().get_sizes().values())
        ours = self._ours.library.stat(self._symbol, self._same.table.schema.name).size_bytes
        return Row(
            f"size of the table ({TIER}), beside ArcticDB",
            "bytes",
            rate=ours / count,
            limit=theirs / count,
            compared="rate",
            conditions=(at_most("ratio", 0.5, "ArcticDB"),),
        )


class _Appending:
    """Appends that go on from turn to turn."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._place = 0

    def turn(self, count: int, append: Callable[[int], Any]) -> Sample:
        """Append some more batches, and return the median of an append."""
        latencies, clock = array("q"), time.perf_counter_ns
        first = clock()
        for _ in range(min(count, self._count - self._place)):
            start = clock()
            append(self._place)
            latencies.append(clock() - start)
            self._place += 1
        return timing_of(latencies, clock() - first).sample
