"""Processes of a server under test, as the kernel sees them: who they are, where they run, what they hold.

Invariants: only ever reads `/proc` and sets the affinity of processes that the benchmark itself started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


def family_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                    found.extend(int(child) for child in file.read().split())
        except FileNotFoundError:
            continue
    return found


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the proportional set size of some processes together: pages they share count once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _set_affinity(pids: Iterable[int], cores: set[int]) -> None:
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                os.sched_setaffinity(int(task), cores)
            except ProcessLookupError:
                continue


@contextmanager
def on_one_core(pids: Iterable[int]) -> Iterator[None]:
    """Let some processes share one core inside the block.

    Question and answer on one connection are then a plain switch from one to the other. On two cores each
    side would sleep while the other works, and waking an idle core takes a virtual machine longer than the
    whole request.
    """
    pinned = list(pids)
    before = os.sched_getaffinity(0)
    _set_affinity(pinned, {max(before)})
    try:
        yield
    finally:
        _set_affinity(pinned, before)
