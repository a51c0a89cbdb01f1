"""Quotes of several venues as one table, in the order of time.

Invariants: a row keeps its times, prices and sizes; of one time, rows come in the order of the tables given, and each
table's rows in its own; a side that a venue's row does not have is withdrawn there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.joins.attach import like, rescaled
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, schema_of
from tickvault.market.table import Table

_BBO = schema_of("bbo")
_TIMES = ("ts_event", "ts_recv")


def together(tables: Sequence[Table]) -> Table:
    """Return quotes of several venues as ``bbo`` with a column ``exchange``: the venue of each row.

    Parameters
    ----------
    tables : sequence of Table
        One a venue, each the whole top of a book in every row; all of one instrument, whatever it is called there.

    Raises
    ------
    InvalidInputError
        There is none, a venue is not named or comes twice, rows are of several exchanges or symbols already, or tables
        are adjusted differently.
    """
    venues = [table.venue for table in tables]
    if not tables:
        raise InvalidInputError("nbbo: there is no table of quotes")
    if not all(venues) or len(set(venues)) < len(venues):
        raise InvalidInputError(
            f"nbbo: tables of several venues need a venue each, these have {', '.join(map(repr, venues))}; name it "
            "with Table.of(columns, venue, symbol)"
        )
    for table in tables:
        if "exchange" in table or "symbol" in table:
            raise InvalidInputError(
                f"nbbo: the rows of {table.venue} are of several exchanges or symbols; of several tables, each is of "
                "one exchange and symbol"
            )
        if (table.adjustment, table.adjusted_on) != (tables[0].adjustment, tables[0].adjusted_on):
            raise InvalidInputError(
                f"nbbo: {table.venue} is adjusted {table.adjustment!r}; bring all to the same first"
            )
    scale = max(table.size_scale for table in tables)
    order = np.argsort(np.concatenate([table["ts_index"] for table in tables]), kind="stable")
    arrays = {
        name: np.concatenate([table[name] for table in tables])[order] for name in _TIMES if _in_any(tables, name)
    }
    for side in ("bid", "ask"):
        arrays |= _side(tables, side, scale, order)
    numbers = np.repeat(np.arange(len(tables), dtype=np.int32), [len(table) for table in tables])
    arrays["exchange"] = numbers[order]
    made = like(tables[0], Columns(_BBO, arrays, {"exchange": venues}, size_scale=scale))
    made.venue = ""
    made.symbol = tables[0].symbol if len({table.symbol for table in tables}) == 1 else ""
    return made


def _in_any(tables: Sequence[Table], name: str) -> bool:
    return any(name in table for table in tables)


def _side(tables: Sequence[Table], side: str, scale: int, order: Array) -> dict[str, Array]:
    price, size = f"{side}_px_00", f"{side}_sz_00"
    prices, sizes = [], []
    for table in tables:
        column = table.column(size)
        prices.append(table[price])
        # What is not there is said, since in rows that name their exchange it would not be spoken of.
        scaled = rescaled(table[size], column, scale // table.size_scale)
        sizes.append(np.where((table[price] == PRICE_NULL) & (scaled == SIZE_NULL), 0, scaled))
    return {price: np.concatenate(prices)[order], size: np.concatenate(sizes)[order]}
