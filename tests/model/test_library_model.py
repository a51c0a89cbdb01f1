"""A library behaves like a plain list of rows: late rows, corrections, deletions, compaction, reads of the past.

The model keeps every row that ever was, with when it was committed, published, and done away with; a read is a filter
and a sort over that list.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tickvault as tv
from tickvault.market import appending
from tickvault.market.columns import Columns
from tickvault.market.ingest import Ingest
from tickvault.market.library import Library
from tickvault.market.schema import schema_of
from tickvault.market.times import to_ns

DAY = to_ns("2023-12-26")
HOUR = 3_600 * 10**9
HOURS = st.integers(0, 47)
"""Two days, so that there are partitions; few values, so that times are equal."""


@dataclass
class Row:
    ts: int
    price: int
    trade_id: int
    stamp: int
    known: int
    deaths: list[tuple[int, int | None]] = field(default_factory=list)
    """What did away with it: (commit time, when that was published; None: it does not matter, it was deleted)."""

    def seen(self, stamp: int | None, known: int | None) -> bool:
        if (stamp is not None and self.stamp > stamp) or (known is not None and self.known > known):
            return False
        return not any(
            (stamp is None or died <= stamp) and (known is None or published is None or published <= known)
            for died, published in self.deaths
        )


class LibraryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.vault = tv.open(Path(self.folder) / "data")
        self.vault.create_bucket("library-x", durability="relaxed")
        self.rows: list[Row] = []
        self.ids = 0
        self.pasts: list[int] = []
        self.snapshots: dict[str, int] = {}
        self.versions: dict[int, list[tuple[int, int, int]]] = {}
        self.bulk = appending.BULK_SIZE

    @property
    def ticks(self) -> Library:
        return self.vault.library("x")

    @initialize()
    def begin(self) -> None:
        self.append([0])

    def teardown(self) -> None:
        appending.BULK_SIZE = self.bulk
        self.vault.close()
        shutil.rmtree(self.folder)

    def made(self, hours: list[int]) -> dict[str, Any]:
        ids = list(range(self.ids, self.ids + len(hours)))
        self.ids += len(hours)
        return {"ts_event": [DAY + hour * HOUR for hour in hours], "price": [7 * each for each in ids], "trade_id": ids}

    def note(self, made: dict[str, Any], stamp: int, known: int | None = None) -> None:
        for ts, price, trade_id in zip(made["ts_event"], made["price"], made["trade_id"], strict=True):
            self.rows.append(Row(ts, price, trade_id, stamp, ts if known is None else known))
        self.pasts.append(stamp)

    def living(self) -> list[Row]:
        return [row for row in self.rows if not row.deaths]

    @rule(hours=st.lists(HOURS, min_size=1, max_size=5))
    def append(self, hours: list[int]) -> None:
        made = self.made(hours)
        appended = self.ticks.append("ES", "trades", made)
        self.note(made, appended.ts_commit)

    @rule(hours=st.lists(HOURS, min_size=1, max_size=5))
    def append_at_once(self, hours: list[int]) -> None:
        made = self.made(hours)
        appending.BULK_SIZE = 1
        appended = self.ticks.append("ES", "trades", made)
        appending.BULK_SIZE = self.bulk
        self.note(made, appended.ts_commit)

    @rule(hour=HOURS)
    def append_one(self, hour: int) -> None:
        made = self.made([hour])
        with self.ticks.writer("ES", "trades") as writer:
            appended = writer.append(**{name: values[0] for name, values in made.items()})
        self.note(made, appended.ts_commit)

    @rule(hours=st.lists(HOURS, min_size=1, max_size=5))
    def ingest(self, hours: list[int]) -> None:
        made = self.made(sorted(hours))
        ingest(self.ticks, made)
        self.note(made, self.ticks.versions("ES", "trades")[0].committed_ns)

    @rule(tier=st.sampled_from(["warm", "cold"]))
    def compact(self, tier: Any) -> None:
        self.ticks.compact(tier=tier)

    @rule()
    def flush(self) -> None:
        journals = self.ticks._journals
        assert journals is not None
        journals.flush(self.ticks.series("ES", "trades")[0])

    @rule()
    def reopen(self) -> None:
        self.vault.close()
        self.vault = tv.open(Path(self.folder) / "data")

    @precondition(lambda self: self.living())
    @rule(data=st.data(), published=HOURS)
    def correct(self, data: st.DataObject, published: int) -> None:
        chosen = data.draw(
            st.lists(st.sampled_from(self.living()), min_size=1, max_size=3, unique_by=lambda r: r.trade_id)
        )
        known = DAY + published * HOUR
        changed = self.ticks.correct(
            "ES",
            "trades",
            {"trade_id": [row.trade_id for row in chosen], "price": [row.price + 1 for row in chosen]},
            "trade_id",
            published=known,
        )
        assert (changed.added, changed.removed) == (len(chosen), len(chosen))
        for row in chosen:
            row.deaths.append((changed.ts_commit, known))
        for row in chosen:
            self.rows.append(Row(row.ts, row.price + 1, row.trade_id, changed.ts_commit, known))
        self.pasts.append(changed.ts_commit)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), published=HOURS)
    def bust(self, data: st.DataObject, published: int) -> None:
        row = data.draw(st.sampled_from(self.living()))
        known = DAY + published * HOUR
        changed = self.ticks.bust("ES", "trades", {"trade_id": row.trade_id}, published=known)
        row.deaths.append((changed.ts_commit, known))
        self.pasts.append(changed.ts_commit)

    @rule(low=HOURS, high=HOURS, data=st.data())
    def update(self, low: int, high: int, data: st.DataObject) -> None:
        low, high = min(low, high), max(low, high) + 1
        made = self.made(data.draw(st.lists(st.integers(low, high - 1), max_size=3)))
        rows = {name: np.array(values, np.int64) for name, values in made.items()}
        changed = self.ticks.update("ES", "trades", rows, DAY + low * HOUR, DAY + high * HOUR)
        self.kill(DAY + low * HOUR, DAY + high * HOUR, changed.ts_commit)
        self.note(made, changed.ts_commit)

    @rule(low=HOURS, high=HOURS)
    def delete(self, low: int, high: int) -> None:
        low, high = min(low, high), max(low, high) + 1
        changed = self.ticks.delete("ES", "trades", DAY + low * HOUR, DAY + high * HOUR)
        self.kill(DAY + low * HOUR, DAY + high * HOUR, changed.ts_commit)
        self.pasts.append(changed.ts_commit)

    @rule(hours=st.lists(HOURS, min_size=1, max_size=3))
    def write(self, hours: list[int]) -> None:
        made = self.made(hours)
        changed = self.ticks.write("ES", "trades", made)
        self.kill(0, 2**62, changed.ts_commit)
        self.note(made, changed.ts_commit)

    def kill(self, low: int, high: int, stamp: int) -> None:
        for row in self.rows:
            if low <= row.ts < high and row.stamp < stamp:
                row.deaths.append((stamp, None))

    @rule()
    def remember_version(self) -> None:
        versions = self.ticks.versions("ES", "trades")
        journal = self.ticks.stat("ES", "trades").live_rows
        if versions and not journal:
            self.versions[versions[0].version] = [
                (row.ts, row.price, row.trade_id) for row in self.ordered(versions[0].committed_ns, None)
            ]

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.versions)))
        changed = self.ticks.restore("ES", "trades", version)
        known = {(row.ts, row.price, row.trade_id): row.known for row in self.rows}
        self.kill(0, 2**62, changed.ts_commit)
        for each in self.versions[version]:
            self.rows.append(Row(*each, changed.ts_commit, known[each]))
        self.pasts.append(changed.ts_commit)

    @rule()
    def snapshot(self) -> None:
        name = f"s{len(self.snapshots)}"
        self.ticks.snapshot(name)
        self.snapshots[name] = max(row.stamp for row in self.rows)
        self.snapshots[name] = max(self.snapshots[name], *self.pasts)

    def ordered(self, stamp: int | None, known: int | None) -> list[Row]:
        return sorted((row for row in self.rows if row.seen(stamp, known)), key=lambda row: (row.ts, row.stamp))

    def check(self, stamp: int | None = None, known: int | None = None, **named: Any) -> None:
        found = self.ticks.read("ES", "trades", **named)
        wanted = self.ordered(stamp, known)
        low, high = named.get("start", 0), named.get("end", 2**62)
        wanted = [row for row in wanted if low <= row.ts < high]
        told = list(zip(found["ts_event"].tolist(), found["price"].tolist(), found["trade_id"].tolist(), strict=True))
        assert told == [(row.ts, row.price, row.trade_id) for row in wanted]

    @invariant()
    def reads_now(self) -> None:
        if self.rows:
            self.check()
            assert self.ticks.stat("ES", "trades").rows == len(self.living())

    @rule(low=HOURS, high=HOURS)
    def reads_a_range(self, low: int, high: int) -> None:
        low, high = min(low, high), max(low, high)
        self.check(start=DAY + low * HOUR, end=DAY + high * HOUR)

    @rule(data=st.data())
    def reads_the_past(self, data: st.DataObject) -> None:
        stamp = data.draw(st.sampled_from(self.pasts))
        self.check(stamp, as_of=stamp)

    @rule(hour=HOURS)
    def reads_as_known(self, hour: int) -> None:
        known = DAY + hour * HOUR
        self.check(None, known, known_at=known)

    @rule(data=st.data(), hour=HOURS)
    def reads_the_past_as_known(self, data: st.DataObject, hour: int) -> None:
        stamp, known = data.draw(st.sampled_from(self.pasts)), DAY + hour * HOUR
        self.check(stamp, known, as_of=stamp, known_at=known)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def reads_a_snapshot(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.snapshots)))
        self.check(self.snapshots[name], snapshot=name)

    @rule()
    def reads_in_batches(self) -> None:
        tables = list(self.ticks.batches("ES", "trades", rows=3))
        assert [each for table in tables for each in table["trade_id"].tolist()] == [
            row.trade_id for row in self.ordered(None, None)
        ]


def ingest(ticks: Library, made: dict[str, Any]) -> None:
    """Take rows in as a file of its own."""
    from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece

    class Given:
        path = name = f"made-{made['trade_id'][0]}"
        digest = f"{made['trade_id'][0]:064d}"

    class Feed:
        name = "made"

        def decode(self, source: Any, options: Any) -> Any:
            yield Counted(len(made["ts_event"]))
            arrays = {"ts_event": np.array(made["ts_event"], np.int64), "price": np.array(made["price"], np.int64)}
            arrays["trade_id"] = np.array(made["trade_id"], np.uint64)
            yield Piece("LOCAL", "ES", Columns(schema_of("trades"), arrays), np.arange(len(made["ts_event"])))

    Ingest(ticks._store, ticks._catalog, Given(), Feed(), IngestOptions()).run()  # type: ignore[arg-type]


TestLibrary = LibraryMachine.TestCase
TestLibrary.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_model_catches_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bust that hides nothing is found."""
    from tickvault.market import view

    real = view.visible

    def forgetful(manifest: Any, *rest: Any) -> Any:
        return real(manifest._replace(hidden=()), *rest)

    monkeypatch.setattr("tickvault.market.reading.visible", forgetful)
    machine = LibraryMachine()
    try:
        machine.begin()
        changed = machine.ticks.bust("ES", "trades", {"trade_id": 0})
        machine.rows[0].deaths.append((changed.ts_commit, 0))
        with pytest.raises(AssertionError):
            machine.reads_now()
    finally:
        machine.teardown()
