"""Small tables for the tests of joins, written as lists; None is null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tickvault.market.columns import Columns
from tickvault.market.schema import Column, Kind, schema_of
from tickvault.market.table import Table

SYMBOL = Column("symbol", Kind.CODE)


def made(
    schema: str,
    *,
    symbol: str = "",
    symbols: Sequence[str | None] | None = None,
    extensions: Sequence[Column] = (),
    size_scale: int = 1,
    turnover_scale: int = 1,
    **lists: Sequence[Any],
) -> Table:
    """Return a table of lists by column; texts of codes are numbered as they come, letters are bytes.

    `symbol` is that of the table, `symbols` are a column of them.
    """
    known = schema_of(schema)
    if symbols is not None:
        extensions = (*extensions, SYMBOL)
        lists = {**lists, "symbol": symbols}
    arrays, words = {}, {}
    for name, values in lists.items():
        column = known.column(name) or next(column for column in extensions if column.name == name)
        numbers: dict[str, int] = {}
        if column.kind is Kind.CODE:
            values = [None if text is None else numbers.setdefault(text, len(numbers)) for text in values]
            words[name] = list(numbers)
        elif column.kind is Kind.CHAR:
            values = [None if text is None else ord(text) for text in values]
        arrays[name] = np.array([column.null if value is None else value for value in values], column.dtype)
    columns = Columns(known, arrays, words, extensions, size_scale=size_scale, turnover_scale=turnover_scale)
    return Table.of(columns, "X", symbol)


def listed(table: Table, name: str) -> list[Any]:
    """Return a column as texts and numbers; None for null."""
    column, values = table.column(name), table[name].tolist()
    if column.kind is Kind.CODE:
        words = table.strings(name)
        return [None if code < 0 else words[code] for code in values]
    return [None if value == column.null and column.kind is not Kind.FLAGS else value for value in values]
