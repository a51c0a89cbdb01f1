"""What a footer says of columns, found out from their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.codec.identity import Identity, settle
from tickvault.market.codec.layout import ColumnInfo, Footer, Run
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import Column, Kind


def described(
    columns: Columns, runs: Sequence[Run] | Identity | None, about: Mapping[str, Any] | None, form: int
) -> tuple[Footer, list[Array]]:
    """Return the footer of a file that is still to be written, and the values of its columns in the footer's order.

    Columns of the schema that are null throughout are left out; those of an extension stay, to stay declared.
    """
    row_count = len(columns)
    kept_runs, hidden = settle(runs, row_count, form)
    infos, arrays = [], []
    for column, array in _present(columns):
        words = tuple(columns.dictionaries.get(column.name, ()))
        infos.append(_info(column, array, words, columns.schema.column(column.name) is None))
        arrays.append(array)
    for column, array in hidden.items():
        infos.append(_info(column, array, (), False)._replace(is_hidden=True))
        arrays.append(array)
    times = columns.ts_index
    footer = Footer(
        form=form,
        schema=columns.schema,
        row_count=row_count,
        ts_first=int(times.min()) if row_count else 0,
        ts_last=int(times.max()) if row_count else 0,
        is_sorted=_is_sorted(times),
        size_scale=columns.size_scale,
        turnover_scale=columns.turnover_scale,
        data_end=0,
        columns=tuple(infos),
        runs=kept_runs,
        index=b"",
        about=dict(about or {}),
    )
    return footer, arrays


def _present(columns: Columns) -> Iterator[tuple[Column, Array]]:
    kept = []
    for name, array in columns.arrays.items():
        if name.startswith("_"):
            raise InvalidInputError(f"column {name}: names that begin with _ are the file's own")
        column = columns.column(name)
        may_be_absent = len(array) and column.kind is not Kind.FLAGS and columns.schema.column(name) is not None
        nothing = may_be_absent and bool((array == column.null).all())
        kept.append((column, array, nothing))
    names = {column.name for column, _, nothing in kept if not nothing}
    for column, array, nothing in kept:
        # Rows have a time column, be it null throughout.
        is_only_time = not {"ts_event", "ts_recv"} & names and column.name in {"ts_event", "ts_recv"}
        if not nothing or is_only_time:
            if is_only_time:
                names.add(column.name)
            yield column, np.ascontiguousarray(array)


def _is_sorted(array: Array) -> bool:
    return not bool((array[1:] < array[:-1]).any())


def _info(column: Column, array: Array, words: tuple[str, ...], is_extension: bool) -> ColumnInfo:
    lowest = highest = None
    null_count = 0
    constant = int(array[0]) if len(array) and bool((array == array[0]).all()) else None
    if len(array):
        nulls = array == column.null if column.kind is not Kind.FLAGS else None
        null_count = int(np.count_nonzero(nulls)) if nulls is not None else 0
        values = array[~nulls] if null_count and nulls is not None else array
        if len(values):
            lowest, highest = int(values.min()), int(values.max())
    return ColumnInfo(column, 0, 0, null_count, lowest, highest, _is_sorted(array), constant, words, is_extension)
