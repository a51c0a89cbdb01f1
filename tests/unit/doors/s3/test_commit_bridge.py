from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tickvault.doors.s3.commit import CommitBridge, async_commit
from tickvault.errors import BusyError, ConflictError


class Change:
    def __init__(self, result: Any = None, error: Exception | None = None) -> None:
        self.result = result
        self.error = error
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class Committer:
    """A store whose commits are done when a test says so, by another thread."""

    def __init__(self) -> None:
        self.queue: list[tuple[Change, Callable[[Change], None]]] = []

    def submit(self, operation: Change, on_done: Callable[[Change], None]) -> None:
        self.queue.append((operation, on_done))

    def commit_all(self) -> None:
        def run() -> None:
            while self.queue:
                operation, on_done = self.queue.pop(0)
                if operation.cancelled:
                    operation.error = BusyError("withdrawn")
                on_done(operation)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()


def test_outcomes_reach_those_who_wait() -> None:
    store = Committer()

    async def main() -> None:
        tasks = [asyncio.create_task(async_commit(store, Change(number))) for number in range(100)]
        lost = asyncio.create_task(async_commit(store, Change(error=ConflictError("no"))))
        await asyncio.sleep(0)
        store.commit_all()
        assert await asyncio.gather(*tasks) == list(range(100))
        with pytest.raises(ConflictError):
            await lost

    asyncio.run(main())


def test_a_burst_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Committer()
    wakes = 0
    wake = os.eventfd_write

    def counted(descriptor: int, value: int) -> None:
        nonlocal wakes
        wakes += 1
        wake(descriptor, value)

    monkeypatch.setattr(os, "eventfd_write", counted)

    async def main() -> None:
        bridge = CommitBridge(asyncio.get_running_loop())
        futures = [bridge.submit(store, Change(number)) for number in range(50)]
        store.commit_all()  # blocks the loop meanwhile, as a busy loop would be
        await asyncio.gather(*futures)
        assert wakes == 1
        futures = [bridge.submit(store, Change(1))]
        store.commit_all()
        await asyncio.gather(*futures)
        assert wakes == 2

    asyncio.run(main())


def test_many_committers_lose_nothing() -> None:
    async def main() -> None:
        bridge = CommitBridge(asyncio.get_running_loop())
        store = Committer()
        futures = [bridge.submit(store, Change(number)) for number in range(2000)]
        queue, store.queue = store.queue, []

        def run(part: list[tuple[Change, Callable[[Change], None]]]) -> None:
            for operation, on_done in part:
                on_done(operation)
                if operation.result % 50 == 0:
                    time.sleep(0.0005)

        threads = [threading.Thread(target=run, args=(queue[start::4],)) for start in range(4)]
        for thread in threads:
            thread.start()
        assert await asyncio.wait_for(asyncio.gather(*futures), 5) == list(range(2000))
        assert not bridge._waits

    asyncio.run(main())


def test_a_wait_that_runs_out_withdraws_the_operation() -> None:
    async def main() -> None:
        store = Committer()
        bridge = CommitBridge(asyncio.get_running_loop(), timeout_s=2)
        waiting = bridge.submit(store, Change(1))
        while not store.queue[0][0].cancelled:
            await asyncio.sleep(0.01)
        assert not waiting.done()  # it may have begun: its outcome is waited for
        store.commit_all()
        with pytest.raises(BusyError, match="withdrawn"):
            await waiting

    asyncio.run(main())


def test_a_commit_that_hangs_does_not_hang_its_waiter() -> None:
    async def main() -> None:
        store = Committer()
        bridge = CommitBridge(asyncio.get_running_loop(), timeout_s=0.1)
        started = time.monotonic()
        with pytest.raises(BusyError):
            await bridge.submit(store, Change(1))
        assert 0.15 < time.monotonic() - started < 10
        store.commit_all()  # the late outcome has nobody to go to
        await asyncio.sleep(0.05)
        assert not bridge._waits

    asyncio.run(main())


def test_the_queue_is_bounded() -> None:
    async def main() -> None:
        store = Committer()
        bridge = CommitBridge(asyncio.get_running_loop(), queued_max=3)
        futures = [bridge.submit(store, Change(number)) for number in range(3)]
        with pytest.raises(BusyError):
            bridge.submit(store, Change(4))
        store.commit_all()
        await asyncio.gather(*futures)
        future = bridge.submit(store, Change(5))
        store.commit_all()
        assert await future == 5

    asyncio.run(main())


def test_a_refused_submit_leaves_no_wait_behind() -> None:
    class Poisoned:
        def submit(self, operation: Any, on_done: Any) -> None:
            raise ConflictError("poisoned")

    async def main() -> None:
        bridge = CommitBridge(asyncio.get_running_loop())
        with pytest.raises(ConflictError):
            bridge.submit(Poisoned(), Change())
        assert not bridge._waits

    asyncio.run(main())
