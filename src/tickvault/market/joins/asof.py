"""The as-of join: to each row of one table the row of another that was the latest then.

Invariants: the left rows stay as they are, in their order; what a row is given was there at its time by `on` (with
``direction="backward"``), so that joining by the time of receipt shows nothing from the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.joins.attach import Attached, attach, check_adjustment, new_names
from tickvault.market.joins.durations import to_duration_ns
from tickvault.market.joins.gathering import Gathering
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.keys import groups_of
from tickvault.market.joins.matching import Direction, Matching
from tickvault.market.schema import Column, Kind
from tickvault.market.table import Table

_WHAT = "asof_join"


def asof_join(
    left: Table,
    right: Table,
    on: str = "ts_index",
    by: str | Sequence[str] | None = "symbol",
    allow_exact: bool = True,
    direction: Direction = "backward",
    tolerance: Any = None,
    suffix: str = "_right",
    *,
    columns: Sequence[str] | None = None,
) -> Table:
    """Return the left rows, each with the right row that is nearest to it in time on one side.

    Parameters
    ----------
    left, right : Table
        In any order of time; those in order (as reads give them) are joined fastest. Rows whose `on` is null match
        nothing.
    on : str
        Column of times that both have; `ts_index` is `ts_recv`, else `ts_event`.
    by : str, sequence of str or None
        Columns that must be equal: strings by their text, numbers by their value; a null equals nothing. ``symbol``
        may be absent where a table is of one series. None joins rows whatever they are of.
    allow_exact : bool
        Whether a right row of the very same time matches.
    direction : {"backward", "forward", "nearest"}
        The last right row at or before; the first at or after; or the nearer of these two, the one before if both are
        as near. Of several right rows of one time, backward takes the last in the right table's order, forward the
        first.
    tolerance : int (ns), str or timedelta, optional
        What lies farther away does not match; exactly as far does.
    suffix : str
        Added to the names of right columns that the left table, or its schema, has.
    columns : sequence of str, optional
        Only these right columns; all but those of `by` by default.

    Returns
    -------
    Table
        Of the left table's schema, series and order; right columns follow as extensions of their own kinds, null
        where nothing matches (flags are 0). Sizes and turnover are in the finer of both scales.

    Raises
    ------
    InvalidInputError
        A column is absent or of another kind, the tables are of different symbols or adjustments, or two columns would
        have one name.
    """
    if direction not in ("backward", "forward", "nearest"):
        raise InvalidInputError(f"{_WHAT}: direction={direction!r}; it is backward, forward or nearest")
    limit = None if tolerance is None else to_duration_ns(tolerance, "tolerance")
    if limit is not None and limit < 0:
        raise InvalidInputError(f"{_WHAT}: tolerance must not be negative, was {tolerance!r}")
    names = _right_columns(right, by, columns)
    taken = new_names(left, names, suffix, _WHAT)
    check_adjustment(left, right, (right.column(name).kind for name in names), _WHAT)
    times = [time_column(table, on, side, _WHAT) for table, side in ((left, "left"), (right, "right"))]
    groups = groups_of(left, right, by, _WHAT)
    sources = [(right[name], right.column(name)) for name in names]
    gathering = Gathering.of(sources, len(left))
    Matching(times[0], times[1], groups, direction, not allow_exact, limit).fill(gathering)
    added = [
        Attached(column._replace(name=taken[column.name]), values, _words(right, column))
        for (_, column), values in zip(sources, gathering.made, strict=True)
    ]
    return attach(left, added, size_scale=right.size_scale, turnover_scale=right.turnover_scale)


def _right_columns(right: Table, by: str | Sequence[str] | None, columns: Sequence[str] | None) -> list[str]:
    if isinstance(columns, str):
        raise InvalidInputError(f"{_WHAT}: columns is a list of names, was {columns!r}")
    keys = {by} if isinstance(by, str) else set(by or ())
    if columns is None:
        return [name for name in right.columns if name not in keys]
    for name in columns:
        right.column(name)
    return list(columns)


def _words(table: Table, column: Column) -> list[str]:
    return table.strings(column.name) if column.kind is Kind.CODE else []


def time_column(table: Table, name: str, side: str, what: str) -> Array:
    """Return a column of times, frozen for kernels; raises `InvalidInputError` if it is none."""
    if name != "ts_index":
        if name not in table:
            raise InvalidInputError(
                f"{what}: the {side} table has no column {name!r}; it has {', '.join(table.columns)}"
            )
        if table.column(name).kind is not Kind.TIME:
            raise InvalidInputError(
                f"{what}: on={name!r} must be a column of times, and is {table.column(name).kind} in the {side} table"
            )
    return frozen(table[name])
