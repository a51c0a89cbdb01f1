"""What reading warm and cold files has in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tickvault.errors import InvalidInputError
from tickvault.market.codec.layout import ColumnInfo, Footer
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import Kind

_THREADS_MAX = 8
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def viewed(buffer: Any) -> memoryview:
    """Return a buffer's bytes, read-only."""
    view = memoryview(buffer).toreadonly()
    if view.ndim != 1 or not view.contiguous:
        raise InvalidInputError("a column file is opened from one contiguous buffer")
    return view.cast("B")


def threads_for(asked: int | None) -> int:
    """Return how many threads to use: as asked, or one for each processor this process may run on."""
    return max(asked, 1) if asked is not None else min(len(os.sched_getaffinity(0)), _THREADS_MAX)


def in_threads(function: Callable[[_Given], _Made], items: Sequence[_Given], threads: int) -> list[_Made]:
    """Return what a function makes of items, in their order."""
    if threads == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items)), "tickvault-columns") as pool:
        return list(pool.map(function, items))


def select(footer: Footer, names: Sequence[str] | None) -> list[ColumnInfo]:
    """Return the columns of some names that a file has.

    Of names that the schema has and the file has not, nothing is said: those are null.  If none is left, a time column
    stands in, because rows without a column could not be counted.
    """
    shown = {info.column.name: info for info in footer.columns if not info.is_hidden}
    if names is None:
        return list(shown.values())
    for name in names:
        if name not in shown and footer.schema.column(name) is None:
            raise InvalidInputError(f"{footer.schema.name} has no column {name!r}; this file has {', '.join(shown)}")
    found = [shown[name] for name in dict.fromkeys(names) if name in shown]
    return found or [next(info for name, info in shown.items() if name in {"ts_event", "ts_recv"})]


def without_checks(footer: Footer, infos: Sequence[ColumnInfo], arrays: Mapping[str, Array]) -> Columns:
    """Return `Columns` without looking at every value again: the footer vouches for codes, checksums for bytes."""
    made = Columns.__new__(Columns)
    made.schema = footer.schema
    made.arrays = dict(arrays)
    made.dictionaries = {info.column.name: list(info.words) for info in infos if info.column.kind is Kind.CODE}
    made.extensions = footer.extensions
    made.size_scale, made.turnover_scale = footer.size_scale, footer.turnover_scale
    for array in made.arrays.values():
        array.flags.writeable = False
    return made
