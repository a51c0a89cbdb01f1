"""New columns beside those of a table.

Invariants: the rows and their order are the left table's; no column takes the name of another, nor one that the left
table's schema has; numbers keep their meaning, also where scales differ; right columns stay of their kinds, and a row
without a match is null by its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import Column, Kind
from tickvault.market.table import Table

_VALUES = (Kind.PRICE, Kind.SIZE, Kind.TURNOVER)


class Attached(NamedTuple):
    """A column for the rows of a table."""

    column: Column
    values: Array
    """Of sizes and turnover, in the scale that is told with all of them."""
    words: list[str]
    """Of codes."""


def new_names(left: Table, names: Sequence[str], suffix: str, what: str) -> dict[str, str]:
    """Return the names that right columns get: their own, with the suffix where the left table knows the name.

    Raises
    ------
    InvalidInputError
        Two columns would have one name.
    """
    made: dict[str, str] = {}
    for name in names:
        new = name + suffix if _knows(left, name) else name
        if _knows(left, new) or new in made.values():
            raise InvalidInputError(
                f"{what}: right column {name!r} would be named {new!r}, which there is already; give another suffix=, "
                "or leave it out with columns="
            )
        made[name] = new
    return made


def _knows(table: Table, name: str) -> bool:
    # Also a column of the schema that the table does not fill: it would be taken for the left table's own.
    return name == "ts_index" or table.schema.column(name) is not None or name in table


def check_adjustment(left: Table, right: Table, kinds: Iterable[Kind], what: str) -> None:
    """Refuse to put prices or sizes together that are adjusted differently; raises `InvalidInputError`."""
    mine, theirs = ((table.adjustment, table.adjusted_on) for table in (left, right))
    if mine != theirs and any(kind in _VALUES for kind in kinds):
        told = [f"{kind} as of {day}" if day else kind for kind, day in (mine, theirs)]
        raise InvalidInputError(
            f"{what}: the left table is adjusted {told[0]!r} and the right one {told[1]!r}; bring both to the same "
            "first, or take no prices and sizes of the right one (columns=)"
        )


def attach(left: Table, added: Sequence[Attached], *, size_scale: int, turnover_scale: int) -> Table:
    """Return the left table with more columns, whose sizes and turnover are in the scales told."""
    base = left.to_columns()
    kinds = {new.column.kind for new in added}
    sizes = max(left.size_scale, size_scale if Kind.SIZE in kinds else 1)
    turnovers = max(left.turnover_scale, turnover_scale if Kind.TURNOVER in kinds else 1)
    arrays = {}
    for name, values in base.arrays.items():
        column = base.column(name)
        factor = {Kind.SIZE: sizes // left.size_scale, Kind.TURNOVER: turnovers // left.turnover_scale}
        arrays[name] = rescaled(values, column, factor.get(column.kind, 1))
    for new in added:
        factor = {Kind.SIZE: sizes // size_scale, Kind.TURNOVER: turnovers // turnover_scale}
        arrays[new.column.name] = rescaled(new.values, new.column, factor.get(new.column.kind, 1))
    words = {new.column.name: new.words for new in added if new.column.kind is Kind.CODE}
    columns = Columns(
        base.schema,
        arrays,
        {**base.dictionaries, **words},
        (*base.extensions, *(new.column for new in added)),
        size_scale=sizes,
        turnover_scale=turnovers,
    )
    return like(left, columns)


def like(table: Table, columns: Columns) -> Table:
    """Return rows as a table of the same series and adjustment as another."""
    made = Table.of(columns, table.venue, table.symbol)
    made.adjustment, made.adjusted_on = table.adjustment, table.adjusted_on
    return made


def rescaled(values: Array, column: Column, factor: int) -> Array:
    """Return numbers in a scale `factor` times as fine; raises `InvalidInputError` where one does not fit."""
    if factor == 1:
        return values
    present = values != column.null
    if present.any():
        low, high = int(values[present].min()), int(values[present].max())
        if max(-low, high) >= np.iinfo(np.int64).max // factor:
            raise InvalidInputError(
                f"column {column.name}: {max(-low, high)} does not fit a scale {factor} times as fine"
            )
    return np.where(present, values * np.int64(factor), column.null)
