"""A table's rows as the kernels take them, and where its events end.

An event ends with the row that has F_LAST. Two sources do without it: a snapshot is over when a row follows that is of
none (Databento's files of 2023 end one so), and of a table without a column `flags` each row is an event.

Invariants: columns are taken as they are, without a copy; an event that the table cuts off has no end.
"""

from __future__ import annotations

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.book.kernels import Changes, Orders
from tickvault.market.columns import Array
from tickvault.market.schema import ASK, BID, F_LAST, F_SNAPSHOT, NO_SIDE, PRICE_NULL, SIZE_NULL, Schema
from tickvault.market.table import Table

#: Levels that a row states, of the schemas whose rows state the book.
STATED_LEVELS = {"mbp-10": 10, "mbp-1": 1, "bbo": 1}
_NEEDED = {
    "mbo": ("action", "side", "order_id", "price", "size"),
    "mbp-delta": ("side", "price", "size"),
    "mbp-10": (),
    "mbp-1": (),
    "bbo": (),
}


def check(table: Table, doing: str) -> None:
    """Refuse what is no book's.

    Raises
    ------
    InvalidInputError
        The schema tells no book, a column is missing, or the rows are of several series or of several exchanges.
    """
    name = table.schema.name
    if name not in _NEEDED:
        raise InvalidInputError(f"{doing}: a book is made of {', '.join(_NEEDED)}; rows of {name} tell none")
    present = set(table.columns)
    missing = [column for column in _NEEDED[name] if column not in present]
    if missing and len(table):
        raise InvalidInputError(f"{doing}: rows of {name} need {', '.join(missing)}; read them with those columns")
    if "symbol" in present and _several(table["symbol"]):
        words = [table.strings("symbol")[code] for code in np.unique(table["symbol"]).tolist() if code >= 0]
        raise InvalidInputError(
            f"{doing}: the rows are of {', '.join(words[:5])}, and a book is of one symbol; read them one by one"
        )
    if name == "bbo" and "exchange" in present and _several(table["exchange"]):
        raise InvalidInputError(
            f"{doing}: the quotes are of several exchanges, and each is a book of its own; nbbo makes one of them"
        )


def _several(codes: Array) -> bool:
    return len(codes) > 0 and bool((codes != codes[0]).any())


def _frozen(array: Array) -> Array:
    """Return an array as all kernels get it, so that they are compiled once: contiguous and read-only."""
    found = np.ascontiguousarray(array).view()
    found.flags.writeable = False
    return found


def flags_of(table: Table) -> Array:
    """Return the flags, uint8; where there are none each row ends an event."""
    return _frozen(table["flags"] if "flags" in table else np.full(len(table), F_LAST, np.uint8))


def _sizes(table: Table, scale: int) -> Array:
    """Return the sizes, in units of 1 / `scale`, a multiple of the table's.

    Raises
    ------
    InvalidInputError
        One does not fit 63 bits.
    """
    sizes, factor = table["size"], scale // table.size_scale
    if factor > 1:
        present = sizes != SIZE_NULL
        if int(np.abs(sizes[present]).max(initial=0)) > np.iinfo(np.int64).max // factor:
            raise InvalidInputError(f"apply {table.symbol}: the sizes do not fit a scale {factor} times as fine")
        sizes = np.where(present, sizes * factor, sizes)
    return _frozen(sizes)


def orders_of(table: Table, scale: int) -> Orders:
    """Return rows of `mbo`, sizes in units of 1 / `scale`."""
    action, side, order_id, price, ts = (
        _frozen(table[name]) for name in ("action", "side", "order_id", "price", "ts_index")
    )
    return Orders(action, side, flags_of(table), order_id.view(np.int64), price, _sizes(table, scale), ts)


def changes_of(table: Table, scale: int) -> Changes:
    """Return rows of `mbp-delta`, sizes in units of 1 / `scale`."""
    side, price, ts = (_frozen(table[name]) for name in ("side", "price", "ts_index"))
    return Changes(side, flags_of(table), price, _sizes(table, scale), _frozen(np.empty(0, np.int64)), ts)


def statement_of(table: Table, scale: int) -> Changes:
    """Return the last row of a table whose rows state the book, as changes: everything goes, then each level comes."""
    factor = scale // table.size_scale
    last = table.slice(len(table) - 1, len(table))
    rows = [(NO_SIDE, PRICE_NULL, 0, -1)]
    for side, letter in (("bid", BID), ("ask", ASK)):
        for level in range(STATED_LEVELS[table.schema.name]):
            price, size, count = (int(last[f"{side}_{what}_{level:02d}"][0]) for what in ("px", "sz", "ct"))
            if price != PRICE_NULL and size not in {0, SIZE_NULL}:
                rows.append((letter, price, size * factor, count if count != 2**32 - 1 else -1))
    table_of_rows = np.array(rows, np.int64)
    flags = np.zeros(len(rows), np.uint8)
    flags[-1] = flags_of(last)[0] & ~np.uint8(F_SNAPSHOT)
    ts = np.full(len(rows), last["ts_index"][0], np.int64)
    sides = table_of_rows[:, 0].astype(np.uint8)
    return Changes(*map(_frozen, (sides, flags, *table_of_rows[:, 1:].T, ts)))


def stated_columns(schema: Schema, depth: int) -> list[tuple[int, int, str]]:
    """Return (side, level, ``bid_??_00``) of the levels that the schema's rows state, down to a depth."""
    levels = min(depth, STATED_LEVELS[schema.name])
    return [
        (side, level, f"{word}_??_{level:02d}") for side, word in enumerate(("bid", "ask")) for level in range(levels)
    ]


def event_ends(table: Table) -> Array:
    """Return after how many rows each event is over, int64, rising."""
    flags = flags_of(table)
    over = (flags & F_LAST) != 0
    if table.schema.name == "mbo":
        of_snapshot = (flags & F_SNAPSHOT) != 0
        over[:-1] |= of_snapshot[:-1] & ~of_snapshot[1:]
    ends: Array = np.flatnonzero(over) + 1
    return ends


def known_rows(table: Table, moments: Array) -> Array:
    """Return how many rows are known at each moment: those before the first whose `ts_index` is later.

    Where a clock goes back the rows keep their order, and none is known before one that stands in front of it.
    """
    found: Array = np.searchsorted(np.maximum.accumulate(table["ts_index"]), moments, "right")
    return found
