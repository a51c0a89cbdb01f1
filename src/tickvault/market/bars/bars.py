"""Bars from ticks: of trades open, high, low, close and volume, of quotes those of bid and ask.

Invariants: a bar holds the rows of [begin, end) by their index time, so that nothing in it was unknown at its end,
which is its `ts_recv`; what opens and closes is decided by time, and among equal times by the order of the rows; sums
are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.bars import kernels
from tickvault.market.bars.cutting import Cuts, cut_rows, fill_gaps
from tickvault.market.bars.intervals import Interval
from tickvault.market.columns import Array, Columns
from tickvault.market.joins.attach import like
from tickvault.market.joins.kernels import frozen
from tickvault.market.joins.wide import cumulate, quotients
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, SIZE_NULL, TRADE, Schema
from tickvault.market.table import Table

_TRADES = ("trades", "mbo")
_QUOTES = ("bbo", "mbp-1", "mbp-10")
_FOUR = ("open", "high", "low", "close")
#: Of turnover that is made of prices and sizes: hundredths of a cent.
TURNOVER_SCALE = 10_000


def bars(
    rows: Table,
    interval: Any = "1m",
    *,
    tz: str | None = None,
    offset: Any = None,
    fill: bool = False,
    on: str = "ts_index",
    multiplier: int | None = None,
) -> Table:
    """Return bars of trades or quotes.

    Parameters
    ----------
    rows : Table
        Of schema ``trades`` (or ``mbo``, of which the trades are taken), or of quotes: ``bbo``, ``mbp-1``, ``mbp-10``.
        In any order. With a column ``symbol``, each symbol has bars of its own.
    interval : str, int (ns) or timedelta
        Whole seconds up to a day, or whole days: ``1s``, ``5m``, ``1h``, ``1d``. Intervals begin with each day anew.
    tz : str, optional
        Zone whose days are meant, UTC by default; a day has 23 or 25 hours when its clocks change.
    offset : str, int (ns) or timedelta, optional
        When the day begins after midnight by the wall clock, or before (``-7h``: a trading day from 17:00 on).
    fill : bool
        Give also the intervals without a row, between a symbol's first bar and its last: all prices are the close
        before, volume and count are 0.
    on : str
        Column of times that decides; the time of receipt by default.
    multiplier : int, optional
        What one unit of size is worth at a price of 1 (1 for shares, 100 for a gold contract): gives the turnover of
        trades that do not tell it, rounded to 1/10,000.

    Returns
    -------
    Table
        In the order of time, `ts_event` the begin and `ts_recv` the end of the interval. Of trades ``ohlcv-…`` (a
        volume or turnover is null where a trade does not tell its own), of quotes ``ohlcq-…`` (a side is null where no
        row states it; its size is the one beside the close). Intervals that the schemas do not know make a schema of
        the same columns: ``ohlcv-5m``.

    Raises
    ------
    InvalidInputError
        The rows are no ticks, the interval or zone is none, or a sum does not fit int64.

    Notes
    -----
    Trades without a price or a time make no bar, and none is made of what is not a trade (`action` other than T);
    trades of size 0 do, and so do all conditions of sale: leave out what should not count first.
    """
    known = Interval.of(interval, tz, offset)
    if rows.schema.name in _TRADES:
        kept = rows["price"] != PRICE_NULL
        if "action" in rows:
            kept &= rows["action"] == TRADE
        cuts = cut_rows(rows, kept, known, on)
        return _table(rows, known.schema("ohlcv"), cuts, _of_trades(rows, cuts, multiplier), fill)
    if rows.schema.name in _QUOTES:
        kept = (rows["bid_px_00"] != PRICE_NULL) | (rows["ask_px_00"] != PRICE_NULL)
        cuts = cut_rows(rows, kept, known, on)
        return _table(rows, known.schema("ohlcq"), cuts, _of_quotes(rows, cuts), fill)
    raise InvalidInputError(
        f"bars: they are made of {', '.join((*_TRADES, *_QUOTES))}; these rows are {rows.schema.name}"
    )


def _of_trades(rows: Table, cuts: Cuts, multiplier: int | None) -> dict[str, Array]:
    arrays = dict(zip(_FOUR, _four(rows, cuts, "price"), strict=True))
    if "size" in rows:
        arrays["volume"] = _total(rows, cuts, "size")
    if "turnover" in rows:
        arrays["turnover"] = _total(rows, cuts, "turnover")
    elif multiplier is not None:
        arrays["turnover"] = _turnover(rows, cuts, multiplier)
    arrays["trade_count"] = (cuts.behinds - cuts.firsts).astype(np.uint64)
    if "instrument_id" in rows:
        arrays["instrument_id"] = rows["instrument_id"][cuts.order[cuts.behinds - 1]]
    return arrays


def _of_quotes(rows: Table, cuts: Cuts) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for side in ("bid", "ask"):
        four = _four(rows, cuts, f"{side}_px_00")
        arrays |= {f"{side}_{name}": values for name, values in zip(_FOUR, four, strict=True)}
    for side in ("bid", "ask"):
        sizes = np.empty(len(cuts.firsts), np.int64)
        given = (frozen(rows[f"{side}_px_00"]), frozen(rows[f"{side}_sz_00"]), cuts.order, cuts.firsts, cuts.behinds)
        kernels.last_stated(*given, sizes)
        arrays[f"{side}_size"] = sizes
    return arrays


def _four(rows: Table, cuts: Cuts, name: str) -> Array:
    """Return open, high, low and close of a column of prices, shape (4, n_bars)."""
    out = np.empty((4, len(cuts.firsts)), np.int64)
    kernels.four_prices(frozen(rows[name]), cuts.order, cuts.firsts, cuts.behinds, out)
    return out


def _total(rows: Table, cuts: Cuts, name: str) -> Array:
    """Return the sum of a column of each bar; null where one of its values is."""
    values = cuts.values(rows, name)
    return _sums(values, frozen(np.empty(0, np.int64)), values == SIZE_NULL, cuts, name, 1, 1)


def _turnover(rows: Table, cuts: Cuts, multiplier: int) -> Array:
    if isinstance(multiplier, bool) or not isinstance(multiplier, int) or multiplier < 1:
        raise InvalidInputError(f"bars: multiplier must be a whole number from 1 on, was {multiplier!r}")
    sizes = cuts.values(rows, "size")
    divisor = PRICE_SCALE * rows.size_scale // TURNOVER_SCALE
    return _sums(cuts.values(rows, "price"), sizes, sizes == SIZE_NULL, cuts, "turnover", multiplier, divisor)


def _sums(values: Array, weights: Array, unknown: Array, cuts: Cuts, name: str, factor: int, divisor: int) -> Array:
    highs, lows = np.empty((2, len(values) + 1), np.uint64)
    cumulate(values, weights, highs, lows)
    missing = np.concatenate((np.zeros(1, np.int64), np.cumsum(unknown)))
    whole = missing[cuts.behinds] == missing[cuts.firsts]
    out = np.empty(len(cuts.firsts), np.int64)
    divisors = np.where(whole, divisor, 0)
    bar: int = quotients(highs, lows, cuts.firsts, cuts.behinds, factor, divisors, SIZE_NULL, out)
    if bar >= 0:
        raise InvalidInputError(
            f"bars: the sum of {name} of bar {bar} does not fit int64; a value in it is out of all measure"
        )
    return out


def _table(rows: Table, schema: Schema, cuts: Cuts, arrays: dict[str, Array], fill: bool) -> Table:
    groups, begins, ends = cuts.groups, cuts.begins, cuts.ends
    if fill:
        filled = fill_gaps(cuts)
        groups, begins, ends = filled.groups, filled.begins, filled.ends
        arrays = {name: _carried(name, arrays, filled.sources, filled.empty) for name in arrays}
    arrays = {"ts_event": begins, "ts_recv": ends, **arrays}
    extensions = []
    if "symbol" in rows:
        arrays["symbol"] = groups.astype(np.int32)
        extensions.append(rows.column("symbol"))
        order = np.argsort(ends, kind="stable")
        arrays = {name: values[order] for name, values in arrays.items()}
    columns = Columns(
        schema,
        arrays,
        {"symbol": cuts.symbols} if extensions else {},
        extensions,
        size_scale=rows.size_scale,
        turnover_scale=rows.turnover_scale if "turnover" in rows else TURNOVER_SCALE if "turnover" in arrays else 1,
    )
    return like(rows, columns)


def _carried(name: str, arrays: dict[str, Array], sources: Array, empty: Array) -> Array:
    """Return a column of all intervals: of the empty ones the close before, and no trades."""
    stem, _, which = name.rpartition("_")
    of = f"{stem}_close" if stem in ("bid", "ask") and which in _FOUR else "close" if name in _FOUR else name
    if name in ("volume", "turnover", "trade_count"):
        return np.where(empty, arrays[name].dtype.type(0), arrays[name][sources])
    return np.where(empty, arrays[of][sources], arrays[name][sources])
