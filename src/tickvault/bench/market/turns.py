"""Turns of a round: an action, timed once or until some time has passed, on any core or on one.

Invariants: what is measured runs in this thread, or in threads that it starts itself.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tickvault.bench.rounds import Sample, timing_of

Action = Callable[[], Any]


def once(action: Action, done: int = 1) -> Sample:
    """Run an action once; the rate counts `done` things."""
    start = time.perf_counter_ns()
    action()
    taken = time.perf_counter_ns() - start
    return timing_of(array("q", [taken]), taken, count=done).sample


def repeated(action: Action, seconds: float, done: int = 1) -> Sample:
    """Run an action again and again for some seconds, at least once.

    The rate counts `done` things in the time of the median run: a mean would tell more of what else the machine does.
    """
    latencies, clock = array("q"), time.perf_counter_ns
    first = now = clock()
    end = first + int(seconds * 1e9)
    while not latencies or now < end:
        start = clock()
        action()
        now = clock()
        latencies.append(now - start)
    sample = timing_of(latencies, now - first).sample
    assert sample.p50 is not None, "it ran at least once"
    return sample._replace(rate=done * 1e6 / sample.p50)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
