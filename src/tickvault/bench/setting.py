"""What every benchmark begins with: a folder of its own, a report of this machine, and somebody to tell.

Invariants: an existing vault is never written to; whatever was started is stopped, and the folder removed, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tickvault.bench.machine import describe_machine
from tickvault.bench.places import bench_folder
from tickvault.bench.report import Report

Progress = Callable[[str], None] | None


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one benchmark runs."""

    folder: str
    """Temporary, on the file system that is measured."""
    report: Report
    progress: Callable[[str], None]
    """Told in words what is measured next."""
    stack: ExitStack
    """Ends what the benchmark started."""


@contextmanager
def bench_setting(
    vault_dir: str | None, free_bytes_min: int, *, quick: bool, progress: Progress = None
) -> Iterator[Setting]:
    """Set a benchmark up, and clear up after it.

    Parameters
    ----------
    vault_dir : str or None
        A folder on the file system to measure, or a vault on it (which is left alone); the working folder by
        default.
    free_bytes_min : int
        What the benchmark may need.
    quick : bool
        Noted in the report: its figures are rough.
    progress : callable, optional
        Told in words what is measured next.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(bench_folder(vault_dir, free_bytes_min))
        report = Report(describe_machine(folder))
        report.note_circumstances(quick=quick)
        yield Setting(folder, report, progress or (lambda words: None), stack)
