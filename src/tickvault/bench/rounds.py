"""Small alternating rounds: the limit and what is held against it, measured under the same weather.

A machine that others share is never quiet for as long as a benchmark runs. Each round is therefore short, the
limit and the subject take turns (and change who goes first), and every figure is the median over the rounds.

Invariants: latencies are microseconds in a `Sample` and integer nanoseconds before; a rate is per second of
wall time.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]
NO_LATENCIES: Nanoseconds = np.empty(0, dtype=np.int64)


class Sample(NamedTuple):
    """What one round, or the median of rounds, measured."""

    p50: float | None
    """Median latency in µs; None where only a rate was measured."""
    p99: float | None
    """99th percentile of the latency in µs."""
    rate: float
    """Operations (or keys, or bytes) per second."""


class Timing(NamedTuple):
    """What one process measured in one round."""

    latencies: Nanoseconds
    """Of each operation; empty where only the whole was timed."""
    wall_ns: int
    done: int
    """What the rate counts: operations, objects or keys."""

    @property
    def sample(self) -> Sample:
        """Percentiles and rate."""
        return together([self])

    def as_message(self) -> dict[str, Any]:
        """Return it as a worker's reply."""
        return {"latencies": self.latencies.tobytes(), "wall_ns": self.wall_ns, "done": self.done}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Timing:
        """Return the timing in a worker's reply."""
        latencies = np.frombuffer(message["latencies"], dtype=np.int64)
        return cls(latencies, message["wall_ns"], message["done"])


def timing_of(latencies: array[int], wall_ns: int, *, count: int | None = None) -> Timing:
    """Return the timing of latencies collected one by one (not copied)."""
    values = np.frombuffer(latencies, dtype=np.int64) if latencies else NO_LATENCIES
    return Timing(values, wall_ns, len(latencies) if count is None else count)


def together(timings: Sequence[Timing]) -> Sample:
    """Return one sample of what several processes measured at the same time: all latencies, rates added."""
    latencies = np.concatenate([timing.latencies for timing in timings])
    rate = sum(timing.done * 1e9 / max(timing.wall_ns, 1) for timing in timings)
    if len(latencies) == 0:
        return Sample(None, None, rate)
    p50, p99 = np.percentile(latencies, (50, 99)) / 1e3
    return Sample(float(p50), float(p99), rate)


def median_of(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure over the rounds."""

    def middle(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return Sample(
        middle([s.p50 for s in samples]),
        middle([s.p99 for s in samples]),
        statistics.median(s.rate for s in samples),
    )


def alternate(*turns: Callable[[], Sample], rounds: int) -> list[Sample]:
    """Let the turns run one after the other, `rounds` times, and return the median of each.

    The order is reversed in every second round, so that none always runs on the caches that another left
    behind.
    """
    taken: list[list[Sample]] = [[] for _ in turns]
    for number in range(rounds):
        order = range(len(turns)) if number % 2 == 0 else reversed(range(len(turns)))
        for index in order:
            taken[index].append(turns[index]())
    return [median_of(samples) for samples in taken]
