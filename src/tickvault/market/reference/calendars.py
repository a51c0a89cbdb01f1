"""Calendars: which days a venue trades on, and from when to when.

Days, holidays and early closes of exchanges are those of the library `exchange_calendars`
(https://github.com/gerrymanoim/exchange_calendars); on top of it stand the hours that it has otherwise, and the markets
that it has not: foreign exchange, and those that never close.

Invariants: nothing heavy is loaded before a day is asked for; a venue that is not known is asked for, never guessed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tickvault.errors import InvalidInputError


class Calendar(NamedTuple):
    """A calendar.

    Clock times are of `tz`, ``"HH:MM"``; one of the day before the session's has a minus before it: ``"-17:00"``.
    """

    name: str
    tz: str
    exchange: str = ""
    """The calendar of `exchange_calendars` that tells days, hours and breaks; empty: it is told below."""
    days: str = ""
    """Without `exchange`: ``daily`` or ``weekdays``."""
    open: str = ""
    """Of every session; empty: as `exchange` says."""
    close: str = ""
    """Of sessions that do not close early; empty: as `exchange` says."""
    close_before: tuple[tuple[str, str], ...] = ()
    """(day, close) of sessions before that day, the earliest first."""
    extended: tuple[str, str] | None = None
    """Open and close with the hours before and after; an early close does not change them."""


_ALL = (
    # Nasdaq, NYSE Arca and others match from 04:00 to 20:00: https://www.nasdaqtrader.com/Trader.aspx?id=TradingUSEquities
    Calendar("us_equities", "America/New_York", "XNYS", extended=("04:00", "20:00")),
    # Until 18 September 2015 Globex closed at 16:15: https://ninjatrader.com/Advisories/Advisory25
    Calendar(
        "globex", "America/Chicago", "CMES", open="-17:00", close="16:00", close_before=(("2015-09-21", "16:15"),)
    ),
    # The opening call begins at 09:15; the STAR and ChiNext boards trade at the close until 15:30.
    Calendar("china_equities", "Asia/Shanghai", "XSHG", extended=("09:15", "15:30")),
    # The foreign exchange market has no holidays of its own; its day ends at five in New York.
    Calendar("fx", "America/New_York", days="weekdays", open="-17:00", close="17:00"),
    Calendar("always", "UTC", days="daily", open="00:00", close="24:00"),
)
CALENDARS: Mapping[str, Calendar] = MappingProxyType({calendar.name: calendar for calendar in _ALL})

#: The calendar of each venue: what our feeds call it, its MIC, and what vendors call it.
_VENUES = {
    "us_equities": (
        "USA XNAS NASDAQ XNGS XNMS XNCM XNYS NYSE ARCX ARCA NYSEARCA XASE AMEX NYSEMKT NYSEAMERICAN BATS BATY EDGA "
        "EDGX XCHI XPSX XBOS IEXG IEX MEMX EPRL LTSE OTC OTCM PINK XOTC OPRA XCBO CBOE DBEQ EQUS XCIS"
    ),
    "globex": "GLBX CME XCME CBOT XCBT NYMEX XNYM COMEX XCEC CMEGLOBEX",
    "china_equities": "XSHG XSHE SSE SZSE",
    "fx": "FXCM OANDA FX EBS DUKASCOPY HOTSPOT",
    "always": (
        "BINANCE BINANCEUSDM BINANCECOINM BINANCEUS COINBASE GDAX KRAKEN BITFINEX BITSTAMP BYBIT OKX OKEX DERIBIT "
        "BITMEX HUOBI HTX GATEIO KUCOIN FTX HYPERLIQUID"
    ),
}
_OF_VENUE = {venue: name for name, venues in _VENUES.items() for venue in venues.split()}
#: Other words for calendars of `exchange_calendars`.
_ALIASES = {"IFUS": "IEPA", "NDEX": "IEPA", "EUREX": "XEUR", "XETRA": "XETR", "HKEX": "XHKG"}
_FOREIGN: dict[str, Calendar] = {}


def calendar_named(name: str) -> Calendar:
    """Return a calendar by its name: one of ours, or one of `exchange_calendars`.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    found = CALENDARS.get(name) or _foreign(name)
    if found is None:
        raise InvalidInputError(
            f"there is no calendar {name!r}; ours are {', '.join(CALENDARS)}, and those of exchange_calendars have the "
            "exchange's MIC, such as XNYS or XHKG"
        )
    return found


def calendar_of(venue: str) -> Calendar:
    """Return the calendar of a venue.

    Raises
    ------
    InvalidInputError
        It is not known.
    """
    word = venue.upper().replace(" ", "")
    name = _OF_VENUE.get(word)
    found = CALENDARS[name] if name is not None else _foreign(word)
    if found is None:
        raise InvalidInputError(
            f"the calendar of venue {venue!r} is not known; name one: ours are {', '.join(CALENDARS)}, and those of "
            "exchange_calendars have the exchange's MIC, such as XNYS or XHKG"
        )
    return found


def _foreign(word: str) -> Calendar | None:
    """Return a calendar that `exchange_calendars` alone has, None if it has none of the name."""
    word = _ALIASES.get(word, word)
    if word not in _FOREIGN:
        names = exchange_calendars().get_calendar_names(include_aliases=True)
        if word not in names:
            return None
        tz = str(exchange_calendars().get_calendar(word).tz)
        _FOREIGN[word] = Calendar(word, tz, word)
    return _FOREIGN[word]


def exchange_calendars() -> Any:
    """Return the library `exchange_calendars`; raises `InvalidInputError` where it is not installed."""
    try:
        return importlib.import_module("exchange_calendars")
    except ImportError:
        raise InvalidInputError(
            "trading sessions need exchange_calendars; install the extra: pip install 'tickvault[market]'"
        ) from None
