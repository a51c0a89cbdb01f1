"""Rules of bars.

Invariants: each looks at its own columns only, so that a bar that is wrong twice is counted in both.
"""

from __future__ import annotations

from tickvault.market.columns import Array
from tickvault.market.schema import PRICE_NULL
from tickvault.market.validate.rule import Found, Rows, Rule, Severity, register

_BARS = frozenset({"ohlcv-1s", "ohlcv-1m", "ohlcv-1d"})
_SHOWN = ("open", "high", "low", "close", "volume")


def _present(rows: Rows, *names: str) -> Array:
    rows.needed(*names)
    found: Array = ~rows.nothing
    for name in names:
        found = found & (rows[name] != PRICE_NULL)
    return found


def _high_below_low(rows: Rows) -> Found:
    if rows.table.schema.name != "ohlcq-1m":
        return Found(_present(rows, "high", "low") & (rows["high"] < rows["low"]))
    found = rows.nothing.copy()
    for side in ("bid", "ask"):
        high, low = f"{side}_high", f"{side}_low"
        if len(rows.present((high, low))) == 2:
            found |= _present(rows, high, low) & (rows[high] < rows[low])
    return Found(found)


HIGH_BELOW_LOW = register(
    Rule(
        "high_below_low",
        "The highest price of the bar is below its lowest.",
        Severity.ERROR,
        _high_below_low,
        _BARS | {"ohlcq-1m"},
        (*_SHOWN, "bid_high", "bid_low", "ask_high", "ask_low"),
    )
)


def _outside(rows: Rows, name: str) -> Array:
    values = rows[name]
    outside = (values > rows["high"]) | (values < rows["low"])
    found: Array = _present(rows, name, "high", "low") & outside
    return found


def _open_outside(rows: Rows) -> Found:
    return Found(_outside(rows, "open") & (rows["open"] != 0))


OPEN_OUTSIDE = register(
    Rule(
        "open_outside",
        "The open is above the high or below the low. An open of 0 is told by zero_open.",
        Severity.ERROR,
        _open_outside,
        _BARS,
        _SHOWN,
    )
)


def _close_outside(rows: Rows) -> Found:
    return Found(_outside(rows, "close"))


CLOSE_OUTSIDE = register(
    Rule(
        "close_outside",
        "The close is above the high or below the low.",
        Severity.ERROR,
        _close_outside,
        _BARS,
        _SHOWN,
    )
)


def _zero_open(rows: Rows) -> Found:
    rows.needed("open")
    return Found(rows["open"] == 0)


ZERO_OPEN = register(
    Rule(
        "zero_open",
        "The open is 0: the source had none, and wrote a number.",
        Severity.ERROR,
        _zero_open,
        _BARS,
        _SHOWN,
    )
)
