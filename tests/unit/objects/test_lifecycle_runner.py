"""The runner works from time to time, alone, and stops when told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import tickvault as tv
from tickvault.objects import lifecycle, lifecycle_runner
from tickvault.objects.bucket import Bucket
from tickvault.objects.lifecycle_runner import LOCK_FILE, LifecycleRunner
from tickvault.seam.disk import FileLock


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_it_runs_at_once_and_again(bucket: Bucket, clock: Any) -> None:
    bucket.set_document("lifecycle", {"rules": [{"status": "Enabled", "expiration": {"days": 1}}]})
    bucket.put("a", b"1")
    with LifecycleRunner(bucket.store, interval_s=0.01) as runner:
        wait_for(lambda: runner.run_count >= 2)
        assert runner.last_report is not None
        assert runner.last_report.change_count == 0
        clock.pass_days(3)
        wait_for(lambda: not list(bucket.list()))
    assert runner.last_error is None


def test_only_one_has_the_work_and_another_takes_it_over(bucket: Bucket) -> None:
    first, second = (LifecycleRunner(bucket.store, interval_s=0.01) for _ in range(2))
    first.start()
    wait_for(lambda: first.run_count > 0)
    second.start()
    time.sleep(0.1)
    assert (second.run_count, second.last_report) == (0, None)
    first.stop()
    wait_for(lambda: second.run_count > 0)
    second.stop()


def test_a_process_that_dies_leaves_the_work(bucket: Bucket) -> None:
    path = os.path.join(bucket.store.path, LOCK_FILE)
    program = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with LifecycleRunner(bucket.store, interval_s=0.01) as runner:
            time.sleep(0.1)
            assert runner.run_count == 0
            holder.kill()
            wait_for(lambda: runner.run_count > 0)


def test_stopping_is_prompt_leaves_the_lock_and_may_be_repeated(bucket: Bucket) -> None:
    runner = LifecycleRunner(bucket.store, interval_s=3600)
    runner.stop()
    runner.start()
    runner.start()
    wait_for(lambda: runner.run_count == 1)
    begun = time.monotonic()
    runner.stop()
    runner.stop()
    assert time.monotonic() - begun < 10
    lock = FileLock(os.path.join(bucket.store.path, LOCK_FILE))
    assert lock.acquire(wait=False)
    lock.close()


def test_an_error_is_kept_and_the_next_run_made(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [tv.BusyError("not now")]
    original = lifecycle.run_lifecycle
    monkeypatch.setattr(
        lifecycle_runner,
        "run_lifecycle",
        lambda store: original(store) if not failures else (_ for _ in ()).throw(failures[0]),
    )
    with LifecycleRunner(bucket.store, interval_s=0.01) as runner:
        wait_for(lambda: isinstance(runner.last_error, tv.BusyError))
        failures.clear()
        wait_for(lambda: runner.last_report is not None)
    assert runner.last_error is None
