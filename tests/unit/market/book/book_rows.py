"""Tables written down row by row, for the tests of the book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, schema_of
from tickvault.market.table import Table

SECOND = 1_000_000_000


def orders(*rows: str, symbol: str = "ES", **named: Any) -> Table:
    """Return a table of `mbo`, a row each: ``action side order price size flags seconds``; ``-`` is null.

    Flags are 128 and the seconds those of the row before plus 1 where they are not told.
    """
    found, last = [], 0
    for row in rows:
        action, side, order, price, size, *rest = row.split()
        flags = int(rest[0]) if rest else 128
        last = int(rest[1]) if len(rest) > 1 else last + 1
        px = PRICE_NULL if price == "-" else round(float(price) * PRICE_SCALE)
        found.append((ord(action), ord(side), int(order), px, SIZE_NULL if size == "-" else int(size), flags, last))
    return table("mbo", found, ("action", "side", "order_id", "price", "size", "flags", "ts_event"), symbol, **named)


def table(schema: str, rows: Sequence[Sequence[int]], names: Sequence[str], symbol: str = "ES", **named: Any) -> Table:
    """Return a table; times are in seconds."""
    arrays = {}
    for at, name in enumerate(names):
        column = schema_of(schema).column(name)
        assert column is not None
        values = [row[at] * SECOND if name.startswith("ts_") else row[at] for row in rows]
        arrays[name] = np.array(values, column.dtype)
    return Table.of(Columns(schema_of(schema), arrays, **named), "X", symbol)


def px(price: float) -> int:
    return round(price * PRICE_SCALE)
