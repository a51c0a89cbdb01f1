"""``tickvault bench embedded``: the vault inside one's own process, each figure with its limit beside it.

Invariants: an existing vault is never written to: the measured one is made in a temporary folder and removed
afterwards; the limit and its subject take turns (`rounds.alternate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tickvault.bench.child import Worker
from tickvault.bench.limits import OBJECT_SIZE, RawFile, RawProcesses
from tickvault.bench.places import MIB
from tickvault.bench.report import Report, at_least, at_most, row_of
from tickvault.bench.rounds import Sample, Timing, alternate, together
from tickvault.bench.setting import Progress, Setting, bench_setting

READ_BUCKET, WRITE_BUCKET, RELAXED_BUCKET = "bench-read", "bench-write", "bench-relaxed"
WRITER_COUNT = 4


@dataclass(frozen=True, slots=True)
class _Scale:
    """How much is stored, and for how long it is measured."""

    object_count: int
    listed_counts: tuple[int, int]
    list_count: int
    rounds: int
    seconds: float
    free_bytes_min: int


_FULL = _Scale(20_000, (1_000, 1_000_000), 100_000, 11, 0.7, 8192 * MIB)
_QUICK = _Scale(4_000, (1_000, 20_000), 20_000, 2, 0.2, 1024 * MIB)


def run_embedded(vault_dir: str | None = None, quick: bool = False, progress: Progress = None) -> Report:
    """Measure the embedded vault, in the setting that `bench_setting` makes of these arguments.

    `quick` takes fewer objects and rounds: some twenty seconds, and rough figures.
    """
    scale = _QUICK if quick else _FULL
    with bench_setting(vault_dir, scale.free_bytes_min, quick=quick, progress=progress) as setting:
        run = _Run(setting, scale)
        run.reads()
        run.writes()
        run.listings()
    return setting.report


class _Run:
    """The workers of one run, and its chapters."""

    def __init__(self, setting: Setting, scale: _Scale) -> None:
        self._scale = scale
        self._report = setting.report
        self._progress = setting.progress
        self._folder = folder = setting.folder
        self._raw = setting.stack.enter_context(RawFile(f"{folder}/limit", scale.object_count))
        modules = ["tickvault.bench.vault_worker"] * WRITER_COUNT
        self._workers = [setting.stack.enter_context(Worker(module)) for module in modules]
        self._first = self._workers[0]
        self._opening = 0
        self._done: Counter[str] = Counter()
        self._reopen()
        for bucket, durability in (
            (READ_BUCKET, "strict"),
            (WRITE_BUCKET, "strict"),
            (RELAXED_BUCKET, "relaxed"),
        ):
            self._first.call("create_bucket", bucket=bucket, durability=durability)

    def _reopen(self) -> None:
        """Open the vault in every worker; what was written before is then found where most of a vault is
        found.

        An index entry that is still among the recent ones is found sooner than one that a checkpoint has
        moved.
        """
        for worker in self._workers:
            worker.call("close_vault")
        self._opening += 1
        for number, worker in enumerate(self._workers):
            # One after the other: the first makes the vault.
            worker.call("open_vault", path=f"{self._folder}/vault", name=f"writer-{number}-{self._opening}")

    def _ask(self, command: str, **arguments: Any) -> Callable[[], Sample]:
        def ask() -> Sample:
            timing = Timing.from_message(self._first.call(command, **arguments))
            self._done[command] += timing.done
            return timing.sample

        return ask

    def _ask_all(self, workers: list[Worker], command: str, **arguments: Any) -> Callable[[], Sample]:
        def ask() -> Sample:
            for worker in workers:
                worker.send(command, **arguments)
            return together([Timing.from_message(worker.receive()) for worker in workers])

        return ask

    def _use(self, bucket: str) -> None:
        for worker in self._workers:
            worker.call("use_bucket", bucket=bucket)

    def reads(self) -> None:
        """Measure get and get_many."""
        scale, rows, raw = self._scale, self._report.rows, self._raw
        count = scale.object_count
        self._progress(f"writing {count:,} objects of 4 KiB")
        self._use(READ_BUCKET)
        self._first.call("fill", count=count, size=4096, batch_count=100)
        self._reopen()
        self._use(READ_BUCKET)
        for seed, worker in enumerate(self._workers[:2]):
            worker.call("expect", count=count, seed=seed)

        self._progress("get, 4 KiB")
        part = count // 2
        limit, subject, subject_rate = alternate(
            lambda: raw.read_verified(part).sample,
            self._ask("get", count=part),
            self._ask("get_rate", count=part),
            rounds=scale.rounds,
        )
        goals = at_most("p50", 5), at_most("p99", 15), at_least("rate", 200_000)
        both = Sample(subject.p50, subject.p99, subject_rate.rate)
        rows.append(row_of("get 4 KiB, verified", both, *goals, limit=limit.p50))

        self._progress("get_many of 1,000")
        many = {"batch_count": 1000, "seconds": scale.seconds / 2}
        with RawProcesses(self._folder, 2, object_count=count) as pair:
            limit, one, limit_two, two = alternate(
                lambda: raw.read_verified_rate(scale.seconds / 2).sample,
                self._ask("get_many", **many),
                lambda: pair.read_verified_rate(scale.seconds / 2),
                self._ask_all(self._workers[:2], "get_many", **many),
                rounds=scale.rounds,
            )
        for name, sample, goal, limit_rate in (
            ("get_many of 1,000, one process", one, 500_000, limit.rate),
            ("get_many of 1,000, two processes", two, 1_000_000, limit_two.rate),
        ):
            rows.append(row_of(name, sample, at_least("rate", goal), unit="objects/s", limit=limit_rate))

    def writes(self) -> None:
        """Measure put and put_many."""
        scale, rows, raw, seconds = self._scale, self._report.rows, self._raw, self._scale.seconds
        self._use(WRITE_BUCKET)

        self._progress("durable put, 4 KiB")
        limit, alone, busy = alternate(
            lambda: raw.write(seconds).sample,
            self._ask("put", seconds=seconds, busy_thread=False),
            self._ask("put", seconds=seconds, busy_thread=True),
            rounds=scale.rounds,
        )
        rows.append(row_of("put 4 KiB, strict", alone, at_most("ratio", 1.6), limit=limit.p50))
        rows.append(
            row_of(
                "put 4 KiB beside a busy Python thread",
                busy,
                at_most("p99", 5000),
                limit=limit.p99,
                compared="p99",
            )
        )

        self._progress(f"durable put, {WRITER_COUNT} processes")
        with RawProcesses(self._folder, WRITER_COUNT) as writers:
            limit, subject = alternate(
                lambda: writers.write_synced(seconds),
                self._ask_all(self._workers, "put", seconds=seconds, busy_thread=False),
                rounds=scale.rounds,
            )
        name = f"put 4 KiB, strict, {WRITER_COUNT} processes"
        rows.append(row_of(name, subject, at_most("p99", 5000), limit=limit.p99, compared="p99"))

        self._progress("put_many of 100")
        limit, subject = alternate(
            lambda: raw.write(seconds, batch_count=100).sample,
            self._ask("put_many", seconds=seconds * 2, batch_count=100),
            rounds=scale.rounds,
        )
        rows.append(
            row_of(
                "put_many of 100, strict",
                subject,
                at_least("rate", 40_000),
                unit="objects/s",
                limit=limit.rate,
            )
        )

        written = self._done["put_many"] * OBJECT_SIZE // MIB
        self._report.notes.append(f"put_many wrote {written:,} MiB, over several segments")

        self._progress("relaxed put, 4 KiB")
        self._use(RELAXED_BUCKET)
        limit, subject = alternate(
            lambda: raw.write(seconds / 4, sync=False).sample,
            self._ask("put", seconds=seconds / 4, busy_thread=False),
            rounds=scale.rounds,
        )
        rows.append(row_of("put 4 KiB, relaxed", subject, limit=limit.p50))

    def listings(self) -> None:
        """Measure listing a small and a large bucket."""
        scale = self._scale
        turns = []
        for bucket_count in scale.listed_counts:
            self._progress(f"writing {bucket_count:,} keys")
            bucket = f"bench-list-{bucket_count}"
            self._first.call("create_bucket", bucket=bucket, durability="relaxed")
            self._first.call("use_bucket", bucket=bucket)
            self._first.call("fill", count=bucket_count, size=16, batch_count=1000)
            turns.append(self._list(bucket, bucket_count))
        self._progress("listing")
        self._reopen()
        small, large = alternate(*turns, rounds=scale.rounds)
        for bucket_count, sample, limit in zip(scale.listed_counts, (small, large), (None, small.rate), strict=True):
            goals = (at_least("rate", 200_000), at_least("ratio", 0.8))[: 1 if limit is None else 2]
            name = f"list a bucket of {bucket_count:,} keys"
            self._report.rows.append(row_of(name, sample, *goals, unit="keys/s", limit=limit))

    def _list(self, bucket: str, bucket_count: int) -> Callable[[], Sample]:
        def turn() -> Sample:
            self._first.call("use_bucket", bucket=bucket)
            count = self._scale.list_count
            return Timing.from_message(self._first.call("list", count=count, bucket_count=bucket_count)).sample

        return turn
