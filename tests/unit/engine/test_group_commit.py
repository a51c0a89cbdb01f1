"""Group commit: operations share a sync, never each other's fate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine.commit import Operation, Transaction
from tickvault.objects.bucket import Bucket
from tickvault.seam.disk import OsDisk


class HeldDisk(OsDisk):
    """Makes strict writes wait at a gate, so that a group gathers behind the one in flight."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.write_count = 0

    def write_on_its_way(self, fd: int, buffers: Any, offset: int) -> None:
        self.write_count += 1
        self.writing.set()
        assert self.gate.wait(20)
        super().write_on_its_way(fd, buffers, offset)


@pytest.fixture
def disk() -> HeldDisk:
    return HeldDisk()


@pytest.fixture
def vault(tmp_path: Path, disk: HeldDisk) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data", disk=disk) as opened:
        yield opened
        disk.gate.set()


@pytest.fixture
def bucket(vault: tv.Vault) -> Bucket:
    return vault.create_bucket("raw")


def as_one_group(disk: HeldDisk, bucket: Bucket, calls: list[Callable[[], Any]]) -> list[Any]:
    """Run calls in threads so that they are committed in one group; return what each returned or raised."""
    disk.gate.clear()
    disk.writing.clear()
    outcomes: list[Any] = [None] * (len(calls) + 1)

    def run(number: int, call: Callable[[], Any]) -> None:
        try:
            outcomes[number] = call()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(0, lambda: bucket.put("in flight", b"")))]
    threads[0].start()
    assert disk.writing.wait(20)
    for number, call in enumerate(calls, 1):
        threads.append(threading.Thread(target=run, args=(number, call)))
        threads[-1].start()
    queue = bucket.store.engine._committer._queue
    deadline = time.monotonic() + 20
    while len(queue) < len(calls):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    before = disk.write_count
    disk.gate.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert isinstance(outcomes[0], tv.ObjectInfo)
    if calls:
        assert disk.write_count == before + 1, "they were not committed as one group"
    return outcomes[1:]


def test_a_group_is_one_write_in_the_order_of_arrival(disk: HeldDisk, bucket: Bucket) -> None:
    infos = as_one_group(disk, bucket, [partial(bucket.put, f"k{number}", b"x") for number in range(20)])
    assert all(isinstance(info, tv.ObjectInfo) for info in infos)
    sequences = sorted(info.sequence for info in infos)
    assert sequences == list(range(sequences[0], sequences[0] + 20))
    assert len(list(bucket.list())) == 21


def appends_then_fails(bucket: Bucket, error: Exception) -> Operation[Any]:
    """An operation that changes something and then fails."""

    def run(txn: Transaction) -> None:
        info = bucket.state.changing(txn)
        txn.append(1, info.bucket_id, b"half done", bytes(28))
        raise error

    return Operation(run, 1024)


def test_one_that_fails_hurts_no_other(disk: HeldDisk, bucket: Bucket) -> None:
    bucket.put("exists", b"old")
    engine = bucket.store.engine
    outcomes = as_one_group(
        disk,
        bucket,
        [
            lambda: bucket.put("a", b"1"),
            lambda: bucket.put("exists", b"2", if_none_match="*"),
            lambda: bucket.put("b", b"3"),
            lambda: engine.commit(appends_then_fails(bucket, tv.LockedError("no"))),
            lambda: bucket.put("c", b"4"),
            lambda: engine.commit(appends_then_fails(bucket, RuntimeError("a bug"))),
            lambda: bucket.delete("none"),
            lambda: bucket.put("d", b"5"),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [
        tv.ObjectInfo,
        tv.PreconditionFailedError,
        tv.ObjectInfo,
        tv.LockedError,
        tv.ObjectInfo,
        RuntimeError,
        tv.DeleteResult,
        tv.ObjectInfo,
    ]
    assert [item.key for item in bucket.list()] == ["a", "b", "c", "d", "exists", "in flight"]  # type: ignore[union-attr]
    assert bucket.get("exists") == b"old"
    infos = [outcome for outcome in outcomes if isinstance(outcome, tv.ObjectInfo)]
    assert [bucket.head(info.key).sequence for info in infos] == [info.sequence for info in infos]


def test_conditions_are_checked_against_the_same_group(disk: HeldDisk, bucket: Bucket) -> None:
    outcomes = as_one_group(
        disk, bucket, [partial(bucket.put, "k", b"%d" % number, if_none_match="*") for number in range(10)]
    )
    (winner,) = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, tv.ObjectInfo)]
    assert bucket.get("k") == b"%d" % winner


def test_settings_undone_with_their_group_are_not_remembered(disk: HeldDisk, bucket: Bucket) -> None:
    """The handle caches what it saw inside the commit; the commit was undone."""

    def run(txn: Transaction) -> None:
        from dataclasses import replace

        from tickvault.objects.state import encode_bucket

        info = bucket.state.changing(txn)
        txn.append(5, info.bucket_id, b"raw", encode_bucket(replace(info, versioning="enabled")))
        bucket.state.inside(txn)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        bucket.store.commit(Operation(run, 4096))
    assert bucket.put("k", b"").version_id == "null"
    assert bucket.info.versioning == "off"


def test_an_error_leaves_no_gap_in_the_journal(vault: tv.Vault, bucket: Bucket) -> None:
    for number in range(3):
        bucket.put(f"k{number}", b"x")
        with pytest.raises(tv.LockedError):
            bucket.store.commit(appends_then_fails(bucket, tv.LockedError("no")))
    vault.close()
    tv.vault.rebuild_index(vault.path)
    with tv.open(vault.path) as again:
        assert [item.key for item in again["raw"].list()] == ["k0", "k1", "k2"]  # type: ignore[union-attr]


# -- submit


class Inbox:
    """Waits for callbacks."""

    def __init__(self) -> None:
        self.operations: list[Operation[Any]] = []
        self.threads: set[str] = set()
        self._arrived = threading.Condition()

    def __call__(self, operation: Operation[Any]) -> None:
        with self._arrived:
            self.operations.append(operation)
            self.threads.add(threading.current_thread().name)
            self._arrived.notify_all()

    def wait(self, count: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.operations) >= count, 20)


def test_submit_calls_back_when_it_is_durable(bucket: Bucket) -> None:
    inbox = Inbox()
    operations = [bucket.put_operation(f"k{number}", b"x") for number in range(50)]
    for operation in operations:
        bucket.store.submit(operation, inbox)
    inbox.wait(50)
    assert inbox.operations == operations
    assert [operation.outcome().key for operation in operations] == [f"k{number}" for number in range(50)]
    assert len(list(bucket.list())) == 50


def test_submit_tells_errors_too(bucket: Bucket) -> None:
    inbox = Inbox()
    bucket.put("k", b"1")
    bucket.store.submit(bucket.put_operation("k", b"2", if_none_match="*"), inbox)
    bucket.store.submit(bucket.delete_operation("k"), inbox)
    inbox.wait(2)
    with pytest.raises(tv.PreconditionFailedError):
        inbox.operations[0].outcome()
    assert inbox.operations[1].outcome().existed


def test_a_callback_that_raises_stops_nothing(bucket: Bucket) -> None:
    """It once ended the committer thread: every later write of the process hung."""
    inbox = Inbox()

    def broken(operation: Operation[Any]) -> None:
        inbox(operation)
        raise RuntimeError("a bug in the caller")

    for number in range(3):
        bucket.store.submit(bucket.put_operation(f"broken{number}", b""), broken)
        bucket.store.submit(bucket.put_operation(f"sound{number}", b""), inbox)
    inbox.wait(6)
    done = threading.Event()

    def write() -> None:
        bucket.put("later", b"")
        done.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert done.wait(20)
    assert len(list(bucket.list())) == 7


def test_threads_and_submissions_mix(bucket: Bucket) -> None:
    inbox = Inbox()

    def write(name: int) -> None:
        for number in range(50):
            bucket.put(f"t{name}/{number}", b"x")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for number in range(150):
        bucket.store.submit(bucket.put_operation(f"s/{number}", b"x"), inbox)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    inbox.wait(150)
    assert len(list(bucket.list())) == 300


def test_a_cancelled_operation_is_not_begun(disk: HeldDisk, bucket: Bucket) -> None:
    inbox = Inbox()
    operations = [bucket.put_operation(f"k{number}", b"") for number in range(3)]

    def submit_and_cancel() -> None:
        for operation in operations:
            bucket.store.submit(operation, inbox)
        operations[1].cancel()

    disk.gate.clear()
    disk.writing.clear()
    thread = threading.Thread(target=lambda: bucket.put("in flight", b""))
    thread.start()
    assert disk.writing.wait(20)
    submit_and_cancel()
    disk.gate.set()
    thread.join(20)
    inbox.wait(3)
    with pytest.raises(tv.BusyError, match="before the change was begun"):
        operations[1].outcome()
    assert [item.key for item in bucket.list()] == ["in flight", "k0", "k2"]  # type: ignore[union-attr]
    operations[0].cancel()
    assert operations[0].outcome().key == "k0"


def test_closing_finishes_what_was_submitted(tmp_path: Path) -> None:
    inbox = Inbox()
    vault = tv.open(tmp_path / "other")
    raw = vault.create_bucket("raw")
    for number in range(200):
        vault.store.submit(raw.put_operation(f"k{number}", b""), inbox)
    vault.close()
    assert len(inbox.operations) == 200
    assert all(operation.outcome() for operation in inbox.operations)
    with tv.open(tmp_path / "other") as again:
        assert len(list(again["raw"].list())) == 200


def test_a_group_stops_at_its_size(disk: HeldDisk, bucket: Bucket) -> None:
    """Nine bodies of 250 KiB do not fit into one batch of 1 MiB; all are committed all the same."""
    body = bytes(250_000)
    threads = [threading.Thread(target=bucket.put, args=(f"k{number}", body)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(list(bucket.list())) == 9
