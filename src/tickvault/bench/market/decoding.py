"""Files in: what a feed decodes in a second on one core, beside reading the same bytes.

Invariants: everything runs on one core; decoding, which waits for nothing, is rated by the core's own time, so that
what else the machine does does not count, and what must reach the disk by the clock on the wall; the limit reads and
decompresses the file as the feed does; rows are the input's (messages, lines, records), and what they become is told
beside.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

from tickvault.bench.market import itch_made
from tickvault.bench.market.files import AIG, BINANCE, ES, LOBSTER, SPY, SSE, paths_of
from tickvault.bench.market.goals import at_least
from tickvault.bench.market.stage import Held, Stage
from tickvault.bench.market.turns import Action, one_core
from tickvault.bench.report import Row, row_of
from tickvault.bench.rounds import NO_LATENCIES, Sample, Timing, alternate
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.simulate import Market

_BLOCK = 1 << 20
_RUNS_MIN = 3


class _Counts(NamedTuple):
    """Of a decoding of files."""

    read: int
    made: int
    quarantined: int


def measure(stage: Stage) -> list[Row]:
    """Return each feed, and the simulated flow into the vault."""
    itch = os.path.join(stage.setting.folder, itch_made.NAME)
    stage.setting.progress("making a file of ITCH")
    itch_made.write_file(itch, symbols=stage.scale.itch_symbols, rows=stage.scale.simulated_rows)
    sets = [
        ("DBN", paths_of(stage.data, ES), 4e6),
        ("ITCH of simulated flow", [itch], 10e6),
        ("LEAN", [*paths_of(stage.data, SPY)[:1], *paths_of(stage.data, AIG)[:1]], 1.5e6),
        ("SSE", paths_of(stage.data, SSE), 0.5e6),
        ("Binance", paths_of(stage.data, BINANCE), 0.4e6),
        ("LOBSTER", paths_of(stage.data, LOBSTER), None),
    ]
    rows = []
    for name, paths, goal in sets:
        if not paths:
            stage.skip(f"decoding {name}")
            continue
        stage.setting.progress(f"decoding {name}")
        rows += _of_files(stage, name, paths, goal)
    return [*rows, _flow(stage)]


def _of_files(stage: Stage, name: str, paths: Sequence[str], goal: float | None) -> list[Row]:
    seconds = stage.scale.seconds
    with one_core():
        # Once before: kernels are compiled or loaded, files are in the page cache.
        counts = _decoded(paths)
        limit, decoded = alternate(
            lambda: _core_rate(lambda: _read_through(paths), seconds, counts.read),
            lambda: _core_rate(lambda: _decoded(paths), seconds, counts.read),
            rounds=stage.scale.rounds,
        )
        (ingested,) = alternate(lambda: _ingested(stage, paths, counts.read), rounds=stage.scale.rounds)
    stage.note(f"{name}: {counts.read:,} input rows become {counts.made:,}, and {counts.quarantined:,} are quarantined")
    goals = () if goal is None else (at_least("rate", goal),)
    return [
        row_of(f"decode {name}, a second of one core, beside reading it", decoded, *goals, unit="rows/s",
               limit=limit.rate),
        row_of(f"ingest {name}, one core, durable", ingested, unit="rows/s"),
    ]  # fmt: skip


def _core_rate(action: Action, seconds: float, done: int) -> Sample:
    """Run an action for some seconds, at least thrice, and return its rate in the processor time of the median run."""
    end = time.perf_counter_ns() + int(seconds * 1e9)
    taken: list[int] = []
    while len(taken) < _RUNS_MIN or time.perf_counter_ns() < end:
        first = time.process_time_ns()
        action()
        taken.append(time.process_time_ns() - first)
    return Timing(NO_LATENCIES, int(statistics.median(taken)), done).sample


def _read_through(paths: Sequence[str]) -> None:
    for path in paths:
        for member in Source(path).members():
            for _ in member.blocks():
                pass


def _decoded(paths: Sequence[str]) -> _Counts:
    read = made = quarantined = 0
    for path in paths:
        source = Source(path)
        for found in feed_of(source).decode(source, IngestOptions()):
            if isinstance(found, Counted):
                read += found.rows
            elif isinstance(found, Piece):
                made += len(found.columns)
            else:
                quarantined += 1
    return _Counts(read, made, quarantined)


def _ingested(stage: Stage, paths: Sequence[str], done: int) -> Sample:
    library = stage.new_library().library
    start = time.perf_counter_ns()
    for path in paths:
        library.ingest(path)
    return Timing(NO_LATENCIES, time.perf_counter_ns() - start, done).sample


def _flow(stage: Stage) -> Row:
    """Return simulated flow into the vault, durable, from the first row that is made to the last that is synced."""
    stage.setting.progress("simulated flow into the vault")
    count = stage.scale.simulated_rows
    size = _row_size()

    def into_vault() -> Sample:
        held: Held = stage.new_library()
        start = time.perf_counter_ns()
        for table in Market(symbols=20, seed=1, events=count).flow(["mbo"]):
            held.library.append(table.symbol, table.schema.name, table, venue=table.venue)
        return Timing(NO_LATENCIES, time.perf_counter_ns() - start, count).sample

    with one_core():
        into_vault()
        limit, made = alternate(lambda: _written(stage, size, count), into_vault, rounds=stage.scale.rounds)
    name = "simulated flow into the vault, durable, one core, beside write + fdatasync"
    return row_of(name, made, at_least("rate", 1.5e6), unit="rows/s", limit=limit.rate)


def _row_size() -> int:
    table = next(Market(symbols=1, events=400).flow(["mbo"]))
    return sum(table[name].itemsize for name in table.columns)


def _written(stage: Stage, size: int, count: int) -> Sample:
    """Write as many bytes to a new file, and sync it."""
    path = os.path.join(stage.setting.folder, "raw-flow")
    data, left = os.urandom(_BLOCK), size * count
    start = time.perf_counter_ns()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while left > 0:
            left -= os.write(fd, data[:left])
        os.fdatasync(fd)
        return Timing(NO_LATENCIES, time.perf_counter_ns() - start, count).sample
    finally:
        os.close(fd)
        os.unlink(path)
