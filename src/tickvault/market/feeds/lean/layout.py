"""What stands in the lines of QuantConnect's LEAN files: which field is what, by security type, resolution and kind.

Invariants: a layout names each field of a line once, in the order of the line; prices of equities are in
ten-thousandths and all others are plain decimals.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from tickvault.errors import InvalidInputError
from tickvault.market.schema import Column, Kind

_SECURITY_TYPES = frozenset(
    ("equity", "forex", "future", "option", "crypto", "cfd", "index", "futureoption", "indexoption", "cryptofuture")
)
_DATED = frozenset(("tick", "second", "minute"))
_UNDATED = frozenset(("hour", "daily"))
_NAME = re.compile(r"(?P<stem>.+?)(?:_(?P<kind>trade|quote|openinterest))?\.zip", re.IGNORECASE)
_CONTRACT = re.compile(r"_(?P<year>\d{4})(?P<month>0[1-9]|1[0-2])(?:_\d{8})?\.csv$", re.IGNORECASE)
_MONTHS = "FGHJKMNQUVXZ"

#: Beyond the schemas of trades and quotes.
NATIONAL_BEST = Column(
    "national_best", Kind.INT, "1: a side of the national best quote, which holds until the next row states it", "|u1"
)
SUSPICIOUS = Column("suspicious", Kind.INT, "1: the vendor doubts the tick; LEAN's bars leave it out", "|u1")


class Place(NamedTuple):
    """What the path of a LEAN file says."""

    security_type: str
    market: str
    resolution: str
    symbol: str
    """Upper case; of futures, the root."""
    kind: str
    """``trade``, ``quote`` or ``openinterest``."""
    date: str
    """``20131007``; empty for hours and days, which have one file for all."""


def place_of(folders: tuple[str, ...], name: str) -> Place | None:
    """Return what a path says, None if it is no path of LEAN's."""
    named = _NAME.fullmatch(name)
    if named is None:
        return None
    below = [folder.lower() for folder in folders[-4:]]
    stem, kind = named["stem"].lower(), (named["kind"] or "").lower()
    if len(below) == 4 and below[0] in _SECURITY_TYPES and below[2] in _DATED:
        if re.fullmatch(r"\d{8}", stem) and kind:
            return Place(below[0], below[1], below[2], below[3].upper(), kind, stem)
        return None
    if len(below) >= 3 and below[-3] in _SECURITY_TYPES and below[-1] in _UNDATED:
        usual = "quote" if below[-3] in ("forex", "cfd") else "trade"
        return Place(below[-3], below[-2], below[-1], stem.upper(), kind or usual, "")
    return None


def contract(root: str, member: str) -> str | None:
    """Return the symbol of a future's member, None if its name tells no month.

    >>> contract("GC", "20131007_gc_tick_trade_201312.csv")
    'GCZ13'
    """
    found = _CONTRACT.search(member)
    return found and f"{root}{_MONTHS[int(found['month']) - 1]}{found['year'][2:]}"


class Read(Enum):
    """How a field is read."""

    TIME = auto()
    """Milliseconds since midnight, also with a fraction; of hours and days ``20131007 00:00``."""
    PRICE = auto()
    """Of a trade or its bar: never absent."""
    QUOTE = auto()
    """Of a side, which may be absent."""
    SIZE = auto()
    SIDE_SIZE = auto()
    """Of a side, which may be absent."""
    CODE = auto()
    MARK = auto()
    """0 or 1."""


Layout = tuple[tuple[str, Read], ...]

_PRINTED: Layout = (("exchange", Read.CODE), ("conditions", Read.CODE), ("suspicious", Read.MARK))
_BID_ASK: Layout = (
    ("bid_px_00", Read.QUOTE),
    ("bid_sz_00", Read.SIDE_SIZE),
    ("ask_px_00", Read.QUOTE),
    ("ask_sz_00", Read.SIDE_SIZE),
)
_TIME: Layout = (("ts_event", Read.TIME),)
_TRADE: Layout = (*_TIME, ("price", Read.PRICE), ("size", Read.SIZE), *_PRINTED)
_EQUITY_QUOTE: Layout = (*_TIME, *_BID_ASK, *_PRINTED)
_FUTURE_QUOTE: Layout = (*_TIME, *_BID_ASK, ("exchange", Read.CODE), ("suspicious", Read.MARK))
_FOREX_QUOTE: Layout = (*_TIME, ("bid_px_00", Read.QUOTE), ("ask_px_00", Read.QUOTE))
_TRADE_BAR: Layout = (
    *_TIME,
    *((name, Read.PRICE) for name in ("open", "high", "low", "close")),
    ("volume", Read.SIZE),
)
_QUOTE_BAR: Layout = (
    *_TIME,
    *((f"bid_{name}", Read.QUOTE) for name in ("open", "high", "low", "close")),
    ("bid_size", Read.SIDE_SIZE),
    *((f"ask_{name}", Read.QUOTE) for name in ("open", "high", "low", "close")),
    ("ask_size", Read.SIDE_SIZE),
)
_OPEN_INTEREST: Layout = (*_TIME, ("quantity", Read.SIZE))
_BARS = {"second": "ohlcv-1s", "minute": "ohlcv-1m", "daily": "ohlcv-1d"}
_TICK_QUOTES = {"equity": _EQUITY_QUOTE, "future": _FUTURE_QUOTE, "forex": _FOREX_QUOTE}

#: Which price tells of a size that it is absent.
PRICE_OF_SIZE = {"bid_sz_00": "bid_px_00", "ask_sz_00": "ask_px_00", "bid_size": "bid_close", "ask_size": "ask_close"}


def layout_of(place: Place, path: str) -> tuple[str, Layout]:
    """Return (schema, layout) of a file.

    Raises
    ------
    InvalidInputError
        There is no schema for it, or its lines are not known here.
    """
    kind, resolution, security_type = place.kind, place.resolution, place.security_type
    if security_type not in _TICK_QUOTES:
        raise InvalidInputError(
            f"ingest {path}: LEAN files of {security_type} are not read; those of equity, forex and future are. "
            "Unpack it and ingest it as a table of your own (--format table)"
        )
    if kind == "openinterest":
        if security_type == "future" and resolution != "hour":
            return "statistics", _OPEN_INTEREST
    elif kind == "trade" and security_type != "forex":
        if resolution == "tick":
            return "trades", _TRADE
        if resolution in _BARS:
            return _BARS[resolution], _TRADE_BAR
    elif kind == "quote":
        if resolution == "tick":
            return "bbo", _TICK_QUOTES[security_type]
        if resolution == "minute":
            return "ohlcq-1m", _QUOTE_BAR
    raise InvalidInputError(
        f"ingest {path}: there is no schema for LEAN's {security_type} {kind} by {resolution}; bars of trades are "
        "stored by second, minute and day, bars of quotes by minute"
    )
