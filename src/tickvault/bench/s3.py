"""``tickvault bench s3``: the S3 door, held against nginx, which serves the same objects as plain files.

Invariants: the very same request bytes go to both servers, from the same generator, in turns; answers are
checked, and a row with a wrong answer has not met its goal; an existing vault is never written to.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from tickvault.bench.child import Worker
from tickvault.bench.dataset import beginning, bodies, new_key, object_key, shuffled
from tickvault.bench.limits import LoopbackEcho, RawFile
from tickvault.bench.load import LoadGenerator, LoadResult
from tickvault.bench.machine import nginx_path
from tickvault.bench.nginx import Nginx
from tickvault.bench.places import MIB
from tickvault.bench.proc import family_of, memory_bytes, on_one_core
from tickvault.bench.report import Report, Row, at_least, at_most, row_of
from tickvault.bench.rounds import Sample, alternate
from tickvault.bench.served import ServedVault
from tickvault.bench.setting import Progress, Setting, bench_setting
from tickvault.bench.signing import RequestSigner
from tickvault.errors import TickVaultError

GET_BUCKET, BIG_BUCKET, PUT_BUCKET = "bench-get", "bench-big", "bench-put"
MANY_CONNECTIONS = 64
PAGE_KEY_COUNT = 1000
MEMORY_BYTES_MAX = 400 * MIB


@dataclass(frozen=True, slots=True)
class _Scale:
    """How much is stored, and for how long it is measured."""

    object_count: int
    big_count: int
    put_count: int
    listed_counts: tuple[int, int]
    page_count: int
    idle_count: int
    idle_seconds: float
    rounds: int
    seconds: float
    free_bytes_min: int


_FULL = _Scale(20_000, 128, 20_000, (1_000, 1_000_000), 200, 10_000, 5.0, 11, 0.8, 4096 * MIB)
_QUICK = _Scale(3_000, 16, 2_000, (1_000, 10_000), 20, 500, 0.5, 2, 0.2, 512 * MIB)


class Server(Protocol):
    """What nginx and a served vault have in common."""

    @property
    def port(self) -> int:
        """Loopback port."""

    @property
    def pid(self) -> int:
        """Its first process."""


def run_s3(vault_dir: str | None = None, quick: bool = False, progress: Progress = None) -> Report:
    """Measure the S3 door, in the setting that `bench_setting` makes of these arguments.

    `quick` takes fewer objects and rounds: some twenty seconds, and rough figures.
    """
    scale = _QUICK if quick else _FULL
    with bench_setting(vault_dir, scale.free_bytes_min, quick=quick, progress=progress) as setting:
        run = _Run(setting, scale)
        run.gets()
        run.big_gets()
        run.puts()
        run.listings()
        run.idle_connections()
        run.note_errors()
    return setting.report


class _Run:
    """The servers of one run, and its chapters."""

    def __init__(self, setting: Setting, scale: _Scale) -> None:
        self._scale = scale
        self._report = report = setting.report
        self._progress = setting.progress
        self._errors: dict[str, Counter[str]] = {}
        self._folder = folder = setting.folder
        self._raw = setting.stack.enter_context(RawFile(f"{folder}/limit", 4096))
        self._fill(f"{folder}/vault")
        self._nginx: Nginx | None = None
        if nginx_path() is None:
            report.notes.append("nginx is not installed: its rows have no limit (apt-get install nginx-light)")
        else:
            self._write_files(f"{folder}/files")
            try:
                self._nginx = setting.stack.enter_context(Nginx(f"{folder}/files"))
            except TickVaultError as error:
                report.notes.append(f"{error}: its rows have no limit")
        # One worker to hold against one worker of nginx, and the door as it is run.
        self._single = setting.stack.enter_context(ServedVault(f"{folder}/vault", worker_count=1))
        core_count = len(os.sched_getaffinity(0))
        self._door = setting.stack.enter_context(ServedVault(f"{folder}/vault", worker_count=core_count))
        self._load = setting.stack.enter_context(LoadGenerator())

    # -- objects

    def _fill(self, vault: str) -> None:
        scale = self._scale
        plan = [(GET_BUCKET, scale.object_count, 4096, 100), (BIG_BUCKET, scale.big_count, MIB, 1)]
        plan += [(_list_bucket(count), count, 16, 1000) for count in scale.listed_counts]
        with Worker("tickvault.bench.vault_worker") as worker:
            worker.call("open_vault", path=vault, name="fill")
            worker.call("create_bucket", bucket=PUT_BUCKET, durability="strict")
            for bucket, count, size, batch_count in plan:
                self._progress(f"writing {count:,} objects of {size:,} bytes")
                worker.call("create_bucket", bucket=bucket, durability="relaxed")
                worker.call("use_bucket", bucket=bucket)
                worker.call("fill", count=count, size=size, batch_count=batch_count)
            worker.call("close_vault")

    def _write_files(self, folder: str) -> None:
        self._progress("writing the same objects as files, for nginx")
        for bucket, count, size in (
            (GET_BUCKET, self._scale.object_count, 4096),
            (BIG_BUCKET, self._scale.big_count, MIB),
        ):
            for number, body in bodies(count, size):
                path = os.path.join(folder, bucket, object_key(number))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(body)

    # -- driving

    def _signer(self, server: Server) -> RequestSigner:
        return RequestSigner(self._single.access_key, self._single.secret_key, f"127.0.0.1:{server.port}")

    def _add_gets(self, name: str, bucket: str, count: int, length: int, server: Server) -> str:
        signer, order = self._signer(server), shuffled(count, 1)
        self._load.add_batch(
            name,
            [signer.render("GET", f"/{bucket}/{object_key(number)}") for number in order],
            length=length,
            beginnings=[beginning(number) for number in order],
        )
        return name

    def _drive(self, row_name: str, server: Server, batch: str, connection_count: int) -> LoadResult:
        self._load.set_target("127.0.0.1", server.port)
        result = self._load.run(batch, connection_count=connection_count, seconds=self._scale.seconds)
        self._errors.setdefault(row_name, Counter()).update(result.errors)
        return result

    def _error_count(self, row_name: str) -> int:
        return sum(self._errors.get(row_name, Counter()).values())

    def note_errors(self) -> None:
        """Say what was wrong with answers."""
        for row_name, errors in self._errors.items():
            self._report.notes += [f"{row_name}: {count:,} × {fault}" for fault, count in errors.items()]

    def _against_nginx(
        self, row_name: str, batch: str, connection_count: int, *, one_core: bool = False
    ) -> tuple[Sample | None, Sample, list[float]]:
        """Return nginx's figures, ours, and how busy the generator was with each."""
        busy: dict[str, float] = {}

        def turn(server: Server, prefix: str) -> Sample:
            pids = [*family_of(server.pid), self._load.pid]
            with on_one_core(pids) if one_core else nullcontext():
                result = self._drive(row_name, server, prefix + batch, connection_count)
            busy[prefix] = max(busy.get(prefix, 0.0), result.busy)
            return result.sample

        nginx = self._nginx
        if nginx is None:
            (ours,) = alternate(lambda: turn(self._single, "vault-"), rounds=self._scale.rounds)
            return None, ours, list(busy.values())
        limit, ours = alternate(
            lambda: turn(nginx, "nginx-"), lambda: turn(self._single, "vault-"), rounds=self._scale.rounds
        )
        return limit, ours, [busy["nginx-"], busy["vault-"]]

    def _add_row(self, row: Row) -> None:
        self._report.rows.append(row)

    # -- chapters

    def gets(self) -> None:
        """Measure signed GETs of 4 KiB."""
        count = self._scale.object_count
        self._add_gets("vault-get", GET_BUCKET, count, 4096, self._single)
        if self._nginx is not None:
            self._add_gets("nginx-get", GET_BUCKET, count, 4096, self._nginx)

        for name, one_core, goals in (
            ("GET 4 KiB, one connection, client and worker on one core", True, (at_most("ratio", 2.2),)),
            ("GET 4 KiB, one connection, cores as the kernel likes", False, ()),
        ):
            self._progress(name)
            limit, ours, _ = self._against_nginx(name, "get", 1, one_core=one_core)
            self._add_row(row_of(name, ours, *goals, limit=limit and limit.p50, error_count=self._error_count(name)))

        name = "TCP loopback, 4 KiB from a bare process on one core"
        with LoopbackEcho(socket.AF_INET, self._folder) as echo, on_one_core([os.getpid(), echo.pid]):
            self._add_row(row_of(name, echo.run(self._scale.object_count).sample))

        name = f"GET 4 KiB, {MANY_CONNECTIONS} connections, one worker"
        self._progress(name)
        limit, ours, busy = self._against_nginx(name, "get", MANY_CONNECTIONS)
        self._add_row(
            row_of(
                name,
                ours,
                at_least("ratio", 0.2),
                unit="requests/s",
                limit=limit and limit.rate,
                error_count=self._error_count(name),
            )
        )
        if limit is not None:
            self._report.notes.append(
                f"{name}: the load generator was busy {busy[0]:.0%} of the time driving nginx, "
                f"{busy[1]:.0%} driving the vault; at 100 % it would be the limit itself"
            )

    def big_gets(self) -> None:
        """Measure GETs of 1 MiB."""
        count = self._scale.big_count
        self._add_gets("vault-big", BIG_BUCKET, count, MIB, self._single)
        if self._nginx is not None:
            self._add_gets("nginx-big", BIG_BUCKET, count, MIB, self._nginx)
        name = "GET 1 MiB, one connection"
        self._progress(name)
        limit, ours, _ = self._against_nginx(name, "big", 1)
        self._add_row(
            row_of(
                name,
                ours,
                at_least("ratio", 0.6),
                unit="MiB/s",
                limit=limit and limit.rate,
                error_count=self._error_count(name),
            )
        )

    def puts(self) -> None:
        """Measure strict PUTs of 4 KiB."""
        for batch, server in (("put-one", self._single), ("put-many", self._door)):
            signer = self._signer(server)
            self._load.add_batch(
                batch,
                [
                    signer.render("PUT", f"/{PUT_BUCKET}/{new_key(batch, number)}", body=body)
                    for number, body in bodies(self._scale.put_count, 4096)
                ],
                length=0,
            )
        one, many = "PUT 4 KiB, strict, one connection", f"PUT 4 KiB, strict, {MANY_CONNECTIONS} connections"
        self._progress("PUT 4 KiB, strict")
        limit, first, second = alternate(
            lambda: self._raw.write(self._scale.seconds).sample,
            lambda: self._drive(one, self._single, "put-one", 1).sample,
            lambda: self._drive(many, self._door, "put-many", MANY_CONNECTIONS).sample,
            rounds=self._scale.rounds,
        )
        self._add_row(
            row_of(one, first, at_most("above_limit", 250), limit=limit.p50, error_count=self._error_count(one))
        )
        self._add_row(
            row_of(
                many,
                second,
                at_least("rate", 6_000),
                unit="requests/s",
                limit=limit.rate,
                error_count=self._error_count(many),
            )
        )

    def listings(self) -> None:
        """Measure pages of 1,000 keys, from random places on."""
        names, turns = [], []
        signer = self._signer(self._single)
        for bucket_count in self._scale.listed_counts:
            bucket, name = _list_bucket(bucket_count), f"list pages of 1,000 of {bucket_count:,} keys"
            keys = sorted(object_key(number) for number in range(bucket_count))
            starts = shuffled(max(1, bucket_count - PAGE_KEY_COUNT), 1)[: self._scale.page_count]
            queries = [
                {"list-type": "2", "max-keys": str(PAGE_KEY_COUNT)} | ({"start-after": keys[start]} if start else {})
                for start in starts
            ]
            self._load.add_batch(
                bucket,
                [signer.render("GET", f"/{bucket}", query=query) for query in queries],
                key_count=PAGE_KEY_COUNT,
            )
            names.append(name)
            turns.append(self._list_turn(name, bucket))
        self._progress("listing")
        small, large = alternate(*turns, rounds=self._scale.rounds)
        for name, sample, limit in zip(names, (small, large), (None, small.rate), strict=True):
            goals = (at_least("rate", 50_000), at_least("ratio", 0.8))[: 1 if limit is None else 2]
            self._add_row(row_of(name, sample, *goals, unit="keys/s", limit=limit, error_count=self._error_count(name)))

    def _list_turn(self, name: str, bucket: str) -> Callable[[], Sample]:
        def turn() -> Sample:
            sample = self._drive(name, self._single, bucket, 1).sample
            return sample._replace(rate=sample.rate * PAGE_KEY_COUNT)

        return turn

    def idle_connections(self) -> None:
        """Open many connections, leave them alone, and ask over each of them."""
        wanted = self._scale.idle_count
        name = f"{wanted:,} idle connections, answered afterwards"
        self._progress(name)
        self._add_gets("door-get", GET_BUCKET, self._scale.object_count, 4096, self._door)
        self._load.set_target("127.0.0.1", self._door.port)
        open_count, error_text = self._load.open_idle(wanted)
        if open_count < wanted:
            self._report.notes.append(f"{name}: only {open_count:,} could be opened: {error_text}")
        # Once before the idleness, so that every connection is known to be the server's and no mere backlog
        # entry.
        first = self._load.answer_idle("door-get")
        time.sleep(self._scale.idle_seconds)
        held = memory_bytes(family_of(self._door.pid))
        second = self._load.answer_idle("door-get")
        self._load.close_idle()
        errors = Counter(first.errors)
        errors.update(second.errors)
        self._errors[name] = errors
        answered = second.sample._replace(rate=float(len(second.latencies)))
        self._add_row(
            row_of(
                name,
                answered,
                at_least("rate", wanted),
                unit="connections",
                limit=float(wanted),
                error_count=sum(errors.values()),
            )
        )
        memory = Sample(None, None, held / MIB)
        name = f"memory of all workers with {wanted:,} idle connections"
        self._add_row(row_of(name, memory, at_most("rate", MEMORY_BYTES_MAX / MIB), unit="MiB"))


def _list_bucket(key_count: int) -> str:
    return f"bench-list-{key_count}"
