"""Binance's messages of a block of lines, by column; and how one is read from JSON.

`feeds.binance_scan` reads the shapes that nearly all messages have; any other comes here. What both read, they
read alike.

Invariants: prices and sizes are exact, or the message is refused; a message that is refused leaves no levels behind.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array

PRICE_DIGITS = 9
SIZE_DIGITS = 8
#: The first time that is none, in microseconds: year 2255. Spot sends microseconds where it is asked to.
TIME_END = 9_000_000_000_000_000
_ID_END = 10**18
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_LINE = re.compile(rb"([0-9]{19}) (.*)", re.DOTALL)
#: The best levels of a book, as a whole each time; from futures they come as `depthUpdate` too.
_PARTIAL = re.compile(r"@depth\d")


class Type(IntEnum):
    """What a message is."""

    NONE = 0
    """Not read yet, refused, or no data (the answer to a subscription)."""
    DELTA = 1
    SNAPSHOT = 2
    PARTIAL = 3
    """A snapshot of the best levels only."""
    TRADE = 4
    AGGREGATE = 5
    """Trades of one order at one price, as one."""
    QUOTE = 6


class Messages(NamedTuple):
    """The messages of a block, one a line."""

    type: Array
    """uint8, of `Type`."""
    local_ns: Array
    happened: Array
    """int64: T, else E, as the message has it, in milli- or microseconds; -1 where it has neither."""
    first_id: Array
    """int64, -1 where there is none: U of deltas, t of trades, a of aggregates."""
    last_id: Array
    """u of deltas and quotes, lastUpdateId of snapshots, f of aggregates."""
    previous_id: Array
    """pu of futures' deltas, l of aggregates."""
    maker: Array
    """uint8: 1 where the buyer was the maker, so that the seller was the aggressor."""
    level: Array
    """int64: the message's first place in `prices` and `sizes`."""
    bids: Array
    """int64: how many bids; then come the asks. A trade is one bid here, a quote one bid and one ask."""
    asks: Array


class Read(NamedTuple):
    """A message, read from JSON."""

    type: Type
    local_ns: int
    happened: int
    symbol: str
    """Empty for a snapshot that does not say it."""
    condition: str
    ids: tuple[int, int, int]
    maker: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class _RefusedError(Exception):
    """A message cannot be decoded; the text says why."""


def empty_messages(rows: int) -> Messages:
    """Return messages of which none is read."""
    bytes_wide = ("type", "maker")
    made = {name: np.zeros(rows, np.uint8 if name in bytes_wide else np.int64) for name in Messages._fields}
    return Messages(**made)


def exact(value: object, digits: int) -> int:
    """Return a decimal in units of 10**-digits; raises where it is none, negative, or does not fit exactly."""
    parts = _NUMBER.fullmatch(str(value)) if type(value) in (str, int, Decimal) else None
    if parts is None:
        raise _RefusedError(f"{str(value)[:40]!r} is no decimal of 0 or more")
    whole, fraction, exponent = parts[1], parts[2] or "", parts[3] or "0"
    figures = (whole + fraction).lstrip("0")
    # Where the point stands, counted from the first figure that is not 0.
    point = len(figures) - len(fraction) + int(exponent[:9])
    figures = figures.rstrip("0")
    if not figures:
        return 0
    if point + digits > 19:
        raise _RefusedError(f"{str(value)[:40]} is beyond 64 bits in units of 1e-{digits}")
    if len(figures) > point + digits:
        raise _RefusedError(f"{str(value)[:40]} has more than {digits} decimals")
    unscaled = int(figures.ljust(point + digits, "0"))
    if unscaled >= 2**63 - 1:
        raise _RefusedError(f"{str(value)[:40]} is beyond 64 bits in units of 1e-{digits}")
    return unscaled


def read(line: bytes) -> Read | str | None:
    """Read a line.

    Returns
    -------
    Read, str or None
        The message; why it is refused; None for the answer to a subscription, which is no data.
    """
    parts = _LINE.fullmatch(line)
    if parts is None or int(parts[1]) >= 2**63 - 1:
        return "it should begin with a local time in nanoseconds, 19 digits, and a space"
    try:
        said = json.loads(parts[2], parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        return f"its JSON is cut off or garbled ({error})"
    if not isinstance(said, dict):
        return "its JSON is no object"
    stream: Any = ""
    data: Any = said
    if "stream" in said or "data" in said:
        stream, data = said.get("stream"), said.get("data")
        if not isinstance(stream, str) or not isinstance(data, dict):
            return "its envelope should hold a stream's name and an object"
    elif "result" in said and "id" in said:
        return None
    try:
        return _read_event(int(parts[1]), stream, data)
    except _RefusedError as error:
        return str(error)


def _read_event(local_ns: int, stream: str, data: dict[str, Any]) -> Read:
    event = data.get("e")
    times = [_integer(data, name, TIME_END) for name in ("T", "E") if name in data]
    happened = times[0] if times else -1
    if "lastUpdateId" in data:
        symbol = data.get("s") or data.get("symbol") or stream.partition("@")[0].upper()
        if not isinstance(symbol, str):
            raise _RefusedError("its symbol is no text")
        ids = (-1, _integer(data, "lastUpdateId"), -1)
        kind = Type.PARTIAL if _PARTIAL.search(stream) else Type.SNAPSHOT
        return Read(kind, local_ns, happened, symbol, "", ids, 0, _levels(data, "bids"), _levels(data, "asks"))
    known = event is None or (isinstance(event, str) and event in ("depthUpdate", "trade", "aggTrade", "bookTicker"))
    if not known or (event is None and not {"u", "b", "B", "a", "A"} <= set(data)):
        raise _RefusedError(f"there is no schema for Binance's {event!r}")
    symbol = data.get("s")
    if not isinstance(symbol, str) or not symbol:
        raise _RefusedError("it names no symbol, s")
    if event == "depthUpdate":
        previous = _integer(data, "pu") if "pu" in data else -1
        ids = (_integer(data, "U"), _integer(data, "u"), previous)
        kind = Type.PARTIAL if _PARTIAL.search(stream) else Type.DELTA
        return Read(kind, local_ns, happened, symbol, "", ids, 0, _levels(data, "b"), _levels(data, "a"))
    if event in ("trade", "aggTrade"):
        if not isinstance(data.get("m"), bool):
            raise _RefusedError("m should say whether the buyer was the maker")
        level = _pair(data.get("p"), data.get("q"))
        condition = data.get("X", "") if event == "trade" else "aggTrade"
        if not isinstance(condition, str):
            raise _RefusedError("X should be a text")
        if event == "trade":
            kind, ids = Type.TRADE, (_integer(data, "t"), -1, -1)
        else:
            kind, ids = Type.AGGREGATE, (_integer(data, "a"), _integer(data, "f"), _integer(data, "l"))
        return Read(kind, local_ns, happened, symbol, condition, ids, int(data["m"]), [level], [])
    bid, ask = _pair(data.get("b"), data.get("B")), _pair(data.get("a"), data.get("A"))
    return Read(Type.QUOTE, local_ns, happened, symbol, "", (-1, _integer(data, "u"), -1), 0, [bid], [ask])


def _integer(data: dict[str, Any], name: str, end: int = _ID_END) -> int:
    value = data.get(name)
    if type(value) is not int or not 0 <= value < end:
        raise _RefusedError(f"{name} should be an integer from 0, below {end}, and is {str(value)[:40]!r}")
    return value


def _pair(price: object, size: object) -> tuple[int, int]:
    return exact(price, PRICE_DIGITS), exact(size, SIZE_DIGITS)


def _levels(data: dict[str, Any], name: str) -> list[tuple[int, int]]:
    levels = data.get(name)
    if not isinstance(levels, list):
        raise _RefusedError(f"{name} should be a list of levels")
    made = []
    for level in levels:
        if not isinstance(level, list) or len(level) < 2:
            raise _RefusedError(f"{name} has a level that is no price and size")
        made.append(_pair(level[0], level[1]))
    return made
