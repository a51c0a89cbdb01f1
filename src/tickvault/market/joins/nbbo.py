"""The best bid and offer over several exchanges, from the quotes of each.

How a row speaks of a side, as the feeds here write quotes:

- A side is **stated** where its price or its size is not null. A stated side with a price and a size above 0 (or a size
  that is null: FXCM's quotes have none) replaces what the exchange had there; a stated side without a price, or with a
  size of 0, **withdraws** it. A negative size is no size, and withdraws too.
- A side with neither price nor size is **not spoken of** in the rows of a consolidated tape, which state one side each.
  Everywhere else (`mbp-1`, `mbp-10`, and `bbo` of one book: Databento's, IEX's, LOBSTER's, Binance's, whose readers
  write an absent side as null in price and size) it is withdrawn, because each row is the whole top of a book.
- Rows marked ``national_best`` (LEAN's ticks of US equities) are **the best of all exchanges already**: each side holds
  until the next row states it, whoever's it is. An exchange that is no longer the best goes unmentioned there, so that
  carrying each exchange's quotes on would keep prices that are long gone: of AIG's quotes in a session, 99.9 % came out
  crossed that way, and 0.02 % do this way.

Invariants: a row changes nothing but its own exchange's sides; the best bid may stand above the best ask, since nobody
took the quotes back that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.joins.attach import like
from tickvault.market.joins.days import day_begins
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.keys import text_codes
from tickvault.market.joins.nbbo_kernel import best_quotes
from tickvault.market.joins.venues import together
from tickvault.market.schema import CODE_NULL, TIME_NULL, Column, Kind, schema_of
from tickvault.market.table import Table

_SCHEMAS = ("bbo", "mbp-1", "mbp-10")
_EXCHANGES = ("exchange", "publisher_id")
_NONE = np.empty(0, np.int32)


def nbbo(
    quotes: Table | Sequence[Table],
    *,
    changes_only: bool = False,
    exchange: str | None = None,
    one_sided: bool | None = None,
    daily_tz: str | None = None,
) -> Table:
    """Return the best bid and ask over all exchanges after each row of quotes.

    Each exchange's bid and ask hold until it states another. The best bid is the highest of all, the best ask the
    lowest; the size is the total at that price, and the count the number of exchanges there.

    Parameters
    ----------
    quotes : Table or sequence of Table
        Of schema ``bbo``, ``mbp-1`` or ``mbp-10``, in the order that things happened. With a column ``symbol``, each
        symbol has a best of its own. Several tables are of one instrument at a venue each, and are taken together by
        time (`joins.venues`); ``exchange`` and ``one_sided`` do not apply to them.
    changes_only : bool
        Leave rows out that do not change the best price, size or count of either side.
    exchange : str, optional
        Column that says whose quote a row is; by default ``exchange``, else ``publisher_id``, else all rows are of one.
        Rows marked ``national_best`` are taken as of one, unless it is given.
    one_sided : bool, optional
        Whether a side with neither price nor size is not spoken of (True) or withdrawn (False). By default True for
        ``bbo`` with a column ``exchange``, as a consolidated tape writes it, and False otherwise.
    daily_tz : str, optional
        Zone at whose midnights all quotes are forgotten; otherwise they hold until something is stated.

    Returns
    -------
    Table
        Of schema ``bbo``: the times of the rows, ``bid_px_00``, ``bid_sz_00``, ``bid_ct_00`` (exchanges, not orders)
        and likewise of asks; null where no exchange has the side, and the size also where one of those at the price
        does not tell its own.

    Raises
    ------
    InvalidInputError
        The rows are no quotes, the column of exchanges is absent, or the total of sizes does not fit int64.
    """
    for table in [quotes] if isinstance(quotes, Table) else quotes:
        if table.schema.name not in _SCHEMAS:
            raise InvalidInputError(f"nbbo: quotes are of schema {', '.join(_SCHEMAS)}; these are {table.schema.name}")
    if not isinstance(quotes, Table):
        quotes, exchange, one_sided = together(quotes), "exchange", True
    is_best = exchange is None and "national_best" in quotes and bool((quotes["national_best"] == 1).all())
    venue_column = None if is_best else _exchange_column(quotes, exchange)
    if one_sided is None and is_best:
        one_sided = True
    if one_sided is None:
        one_sided = quotes.schema.name == "bbo" and venue_column == "exchange"
    venues, venue_count = _numbered(quotes, venue_column)
    groups, group_count = _numbered(quotes, "symbol" if "symbol" in quotes else None)
    count = len(quotes)
    rows = np.empty(count if changes_only else 0, np.int64)
    prices, sizes, counts = np.empty((2, count), np.int64), np.empty((2, count), np.int64), np.empty((2, count), "<u4")
    bid_prices, bid_sizes, ask_prices, ask_sizes = (
        frozen(quotes[name]) for name in ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00")
    )
    written: int = best_quotes(
        frozen(quotes["ts_index"] if daily_tz else np.empty(0, np.int64)),
        _midnights(quotes, daily_tz),
        groups,
        group_count,
        venues,
        venue_count,
        bid_prices,
        bid_sizes,
        ask_prices,
        ask_sizes,
        one_sided,
        changes_only,
        rows,
        prices,
        sizes,
        counts,
    )
    if written < 0:
        raise InvalidInputError(f"nbbo: the total size at the best price does not fit 63 bits after row {-1 - written}")
    return _table(quotes, rows[:written] if changes_only else None, prices, sizes, counts, written)


def _exchange_column(quotes: Table, exchange: str | None) -> str | None:
    if exchange is None:
        return next((name for name in _EXCHANGES if name in quotes), None)
    if exchange not in quotes:
        raise InvalidInputError(f"nbbo: the quotes have no column {exchange!r}; they have {', '.join(quotes.columns)}")
    if quotes.column(exchange).kind not in (Kind.CODE, Kind.ID, Kind.INT, Kind.CHAR):
        raise InvalidInputError(f"nbbo: exchange={exchange!r} must be a column of codes or ids")
    return exchange


def _numbered(quotes: Table, name: str | None) -> tuple[Array, int]:
    """Return (int32 from 0, how many): what is null is one of its own; empty where all rows are of one."""
    if name is None:
        return frozen(_NONE, np.int32), 1
    if quotes.column(name).kind is not Kind.CODE:
        distinct, numbers = _distinct(quotes[name])
        return frozen(numbers, np.int32), max(distinct, 1)
    values, words = text_codes(quotes, name)
    if len(values) and int(values.min()) == CODE_NULL:
        return frozen(np.where(values == CODE_NULL, len(words), values), np.int32), len(words) + 1
    return frozen(values, np.int32), max(len(words), 1)


def _distinct(values: Array) -> tuple[int, Array]:
    if len(values) and (values == values[0]).all():
        return 1, np.zeros(len(values), np.int32)
    found, numbers = np.unique(values, return_inverse=True)
    return len(found), numbers


def _midnights(quotes: Table, tz: str | None) -> Array:
    times = quotes["ts_index"] if tz else np.empty(0, np.int64)
    known = times[times != TIME_NULL]
    if tz is None or not len(known):
        return frozen(np.empty(0, np.int64))
    return frozen(day_begins(int(known.min()), int(known.max()), tz))


def _table(quotes: Table, rows: Array | None, prices: Array, sizes: Array, counts: Array, count: int) -> Table:
    """Return the best quotes with the times, and the symbols, of their rows."""

    def taken(name: str) -> Array:
        return quotes[name] if rows is None else quotes[name][rows]

    times = [name for name in ("ts_event", "ts_recv") if name in quotes]
    arrays: dict[str, Array] = {name: taken(name) for name in times} or {"ts_event": taken("ts_index")}
    for at, side in enumerate(("bid", "ask")):
        for name, values in (("px", prices), ("sz", sizes), ("ct", counts)):
            arrays[f"{side}_{name}_00"] = values[at, :count]
    words: dict[str, list[str]] = {}
    extensions: list[Column] = []
    if "symbol" in quotes:
        arrays["symbol"] = taken("symbol")
        words["symbol"] = quotes.strings("symbol")
        extensions.append(quotes.column("symbol"))
    return like(quotes, Columns(schema_of("bbo"), arrays, words, extensions, size_scale=quotes.size_scale))
