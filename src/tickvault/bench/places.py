"""Where a benchmark writes.

Invariants: only a temporary folder of its own, on the file system that was asked for, removed at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tickvault.engine.format import FORMAT_FILE
from tickvault.errors import DiskFullError, InvalidInputError

MIB = 1 << 20


@contextmanager
def bench_folder(folder: str | None, free_bytes_min: int) -> Iterator[str]:
    """Make a temporary folder for a benchmark, and remove it.

    Parameters
    ----------
    folder : str or None
        A folder on the file system to measure; the working folder by default. The temporary folder is made in
        it, or beside it when it is a vault.
    free_bytes_min : int
        What the benchmark may need.

    Raises
    ------
    InvalidInputError
        No folder can be made there.
    DiskFullError
        Less than `free_bytes_min` is free.
    """
    parent = os.path.abspath(folder if folder is not None else os.getcwd())
    if os.path.exists(os.path.join(parent, FORMAT_FILE)):
        parent = os.path.dirname(parent)
    free_bytes = _free_bytes(parent)
    if free_bytes < free_bytes_min:
        raise DiskFullError(
            f"bench in {parent}: {free_bytes_min // MIB:,} MiB must be free, {free_bytes // MIB:,} are; "
            "name a folder on another disk, or run with --quick"
        )
    try:
        made = tempfile.mkdtemp(prefix=".tickvault-bench-", dir=parent)
    except OSError as error:
        raise InvalidInputError(
            f"bench in {parent}: a folder must be makeable there, {error.strerror}; name another folder"
        ) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _free_bytes(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise InvalidInputError(f"bench in {folder}: {error.strerror}; name a folder that exists") from error
