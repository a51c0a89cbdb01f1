"""Rules of prices and sizes.

Invariants: each doubt has a rule of its own, so that a count means one thing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.schema import ASK, BID, CLEAR, FILL, PRICE_NULL, SIZE_NULL, TRADE, Kind
from tickvault.market.validate import kernels
from tickvault.market.validate.rule import Found, NotChecked, Rows, Rule, Severity, register

_BARS = frozenset({"ohlcv-1s", "ohlcv-1m", "ohlcv-1d"})
_ALL = _BARS | {"mbo", "mbp-1", "mbp-10", "mbp-delta", "trades", "bbo", "ohlcq-1m"}
_TICKS = frozenset({"mbo", "mbp-delta", "trades"})
_SHOWN = ("exchange", "action", "side", "price", "size", "bid_px_00", "ask_px_00", "open", "high", "low", "close")
#: Prices that are differences, or of no order: not checked for their sign or tick.
_NOT_TRADED = frozenset({"display_factor", "strike_price", "unit_of_measure_qty"})


def _named(rows: Rows, kind: Kind) -> list[str]:
    """Return the columns of a kind that hold anything."""
    return [name for name in rows.table.columns if rows.table.column(name).kind is kind and name not in _NOT_TRADED]


def _acting(rows: Rows) -> Array:
    """Return a mask of the rows that have a price: all but those that clear a book, or tell of nothing."""
    if rows.table.schema.name == "mbp-delta" and "side" in rows.table:
        sided: Array = (rows["side"] == ASK) | (rows["side"] == BID)
        return sided  # a row of neither clears the book
    if "action" not in rows.table:
        return np.ones(len(rows), np.bool_)
    actions = rows["action"]
    found: Array = (actions != CLEAR) & (actions != ord("N"))
    return found


def _any(rows: Rows, names: list[str], doubt: Callable[[Array], Array]) -> Found:
    found = rows.nothing.copy()
    counts = []
    for name in names:
        mask = doubt(rows[name])
        if mask.any():
            counts.append(f"{name} {int(mask.sum()):,}")
            found |= mask
    return Found(found, ", ".join(counts) if len(names) > 1 else "")


def _price_null(rows: Rows) -> Found:
    if rows.table.schema.name in _TICKS:
        rows.needed("price")
        return Found((rows["price"] == PRICE_NULL) & _acting(rows))
    return _any(rows, rows.present(("open", "high", "low", "close")), lambda prices: prices == PRICE_NULL)


PRICE_NULL_RULE = register(
    Rule(
        "price_null",
        "A row that tells of an order, level, trade or bar has no price.",
        Severity.ERROR,
        _price_null,
        _TICKS | _BARS,
        _SHOWN,
    )
)


def _not_positive(rows: Rows) -> Found:
    if rows.limits.negative_prices:
        raise NotChecked("prices of 0 and below are said to be usual (negative_prices)")
    names = [name for name in _named(rows, Kind.PRICE) if name != "open"]
    found = _any(rows, names, lambda prices: prices <= 0)
    if "open" in rows.table:
        found = Found(found.rows | (rows["open"] < 0), found.note)
    return found


PRICE_NOT_POSITIVE = register(
    Rule(
        "price_not_positive",
        "A price is 0 or negative, which only spreads and a few commodities can be. An open of 0 is told by zero_open.",
        Severity.WARNING,
        _not_positive,
        _ALL,
        _SHOWN,
    )
)


def _off_tick(rows: Rows) -> Found:
    tick = rows.limits.tick_size
    if tick is None:
        raise NotChecked("no tick_size is given")
    return _any(rows, _named(rows, Kind.PRICE), lambda prices: (prices != PRICE_NULL) & (prices % tick != 0))


PRICE_OFF_TICK = register(
    Rule(
        "price_off_tick",
        "A price is no multiple of the instrument's tick size.",
        Severity.WARNING,
        _off_tick,
        _ALL,
        _SHOWN,
    )
)


def _beyond(rows: Rows) -> Found:
    low, high = rows.limits.low_price, rows.limits.high_price
    if low is None and high is None:
        raise NotChecked("neither low_price nor high_price is given")
    floor = -PRICE_NULL if low is None else low
    ceiling = PRICE_NULL - 1 if high is None else high
    return _any(
        rows,
        _named(rows, Kind.PRICE),
        lambda prices: (prices != PRICE_NULL) & ((prices < floor) | (prices > ceiling)),
    )


PRICE_BEYOND_LIMITS = register(
    Rule("price_beyond_limits", "A price is outside the day's limits.", Severity.WARNING, _beyond, _ALL, _SHOWN)
)


def _size_null(rows: Rows) -> Found:
    name = "volume" if rows.table.schema.name in _BARS else "size"
    rows.needed(name)
    return Found((rows[name] == SIZE_NULL) & _acting(rows))


SIZE_NULL_RULE = register(
    Rule(
        "size_null",
        "A row that tells of an order, level, trade or bar has no size.",
        Severity.WARNING,
        _size_null,
        _TICKS | _BARS,
        _SHOWN,
    )
)


def _size_zero(rows: Rows) -> Found:
    if rows.table.schema.name in {"mbo", "trades"}:
        rows.needed("size")
        return Found((rows["size"] == 0) & _acting(rows))
    found = rows.nothing.copy()
    for side in ("bid", "ask"):
        for name in rows.present(f"{side}_sz_{level:02d}" for level in range(10)):
            found |= (rows[name] == 0) & (rows[name.replace("_sz_", "_px_")] != PRICE_NULL)
    return Found(found)


SIZE_ZERO = register(
    Rule(
        "size_zero",
        "An order or trade of size 0, or a quoted price with nothing behind it.",
        Severity.WARNING,
        _size_zero,
        frozenset({"mbo", "trades", "bbo", "mbp-1", "mbp-10"}),
        (*_SHOWN, "bid_sz_00", "ask_sz_00"),
    )
)


def _size_negative(rows: Rows) -> Found:
    return _any(rows, _named(rows, Kind.SIZE), lambda sizes: sizes < 0)


SIZE_NEGATIVE = register(
    Rule("size_negative", "A size or volume is below 0.", Severity.ERROR, _size_negative, _ALL, (*_SHOWN, "volume"))
)


def _outlier(rows: Rows) -> Found:
    names: tuple[str, ...] = ("close",) if rows.table.schema.name in _BARS else ("price",)
    if rows.table.schema.name in {"bbo", "mbp-1", "mbp-10"}:
        names = ("bid_px_00", "ask_px_00")
    rows.needed(*names)
    found = rows.nothing.copy()
    counts = []
    for name in names:
        flagged = _far(rows, rows[name])
        found |= flagged
        counts.append(f"{name} {int(flagged.sum()):,}")
    return Found(found, ", ".join(counts) if len(names) > 1 else "")


def _far(rows: Rows, prices: Array) -> Array:
    limits = rows.limits
    chosen = (prices != PRICE_NULL) & (prices != 0)
    if rows.table.schema.name == "mbo":
        actions = rows["action"]
        chosen &= (actions == TRADE) | (actions == FILL)
    found = np.zeros(len(prices), np.bool_)
    symbols = rows["symbol"] if "symbol" in rows.table else None
    for code in [None] if symbols is None else np.unique(symbols).tolist():
        at = np.flatnonzero(chosen if symbols is None else chosen & (symbols == code))
        flagged = np.zeros(len(at), np.bool_)
        values = prices[at].astype(np.float64)
        kernels.outliers(values, limits.outlier_window, limits.outlier_deviations, limits.outlier_share, flagged)
        found[at[flagged]] = True
    return found


OUTLIER = register(
    Rule(
        "outlier",
        "The price is further from the median of those around it (ten on each side) than 12 scaled median absolute "
        "deviations and 1 % of it. Of orders only trades count.",
        Severity.WARNING,
        _outlier,
        _BARS | {"mbo", "trades", "bbo", "mbp-1", "mbp-10"},
        _SHOWN,
    )
)
