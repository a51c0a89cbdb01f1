"""Futures contracts: what their symbols say, and when they expire.

A symbol is the product's root, the letter of the delivery month and one or two digits of the year: ``ESH4``, ``GCZ13``.
When a contract expires stands in its definition; where there is none, the rules of the commonest products tell the last
day of trading.

Invariants: an expiry is never guessed: a contract whose product has no rule here and no definition is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.reference.calendars import CALENDARS
from tickvault.market.reference.days import day_number, text_of_day
from tickvault.market.reference.facts import Instrument
from tickvault.market.reference.sessions import clock_on, sessions
from tickvault.market.schema import TIME_NULL

_MONTHS = "FGHJKMNQUVXZ"
_SYMBOL = re.compile(r"(?P<root>[A-Z0-9]{1,6}?)(?P<month>[FGHJKMNQUVXZ])(?P<year>\d{1,2})")
_DAY_NS = 86_400 * 1_000_000_000


class Contract(NamedTuple):
    """A contract that has an end."""

    symbol: str
    root: str
    expiry_ns: int
    """When trading in it ends, int64 ns UTC."""


class Month(NamedTuple):
    """What a symbol says."""

    root: str
    year: int
    month: int


def month_of(symbol: str, near_year: int) -> Month | None:
    """Return root, year and month of a future's symbol; None if it is no such symbol.

    Parameters
    ----------
    near_year : int
        Of one or two digits the year is meant that is nearest to it; of two as near, the later one.

    >>> month_of("ESH4", 2023), month_of("GCZ13", 2013)
    (Month(root='ES', year=2024, month=3), Month(root='GC', year=2013, month=12))
    >>> month_of("ESH4-ESM4", 2023)
    """
    found = _SYMBOL.fullmatch(symbol)
    if found is None:
        return None
    cycle = 10 ** len(found["year"])
    year = near_year - (near_year - int(found["year"])) % cycle
    if near_year - year >= year + cycle - near_year:
        year += cycle
    return Month(found["root"], year, _MONTHS.index(found["month"]) + 1)


def contracts_of(
    root: str,
    symbols: Iterable[str] = (),
    instruments: Iterable[Instrument] = (),
    *,
    near_ns: int,
) -> list[Contract]:
    """Return the contracts of a product by expiry.

    Parameters
    ----------
    root : str
    symbols : iterable of str
        Of series; those of other products and of spreads are left out.
    instruments : iterable of Instrument
        Tell expiries; futures of the product among them that are not in `symbols` are contracts too.
    near_ns : int
        A time near which the contracts trade: it tells the decade of ``ESH4``.

    Raises
    ------
    InvalidInputError
        A contract's expiry is not known.
    """
    near_year = int(text_of_day(near_ns // _DAY_NS)[:4])
    expiries: dict[str, int] = {}
    for instrument in instruments:
        future = instrument.instrument_class in {"F", ""} and instrument.expiry_ns != TIME_NULL
        told = month_of(instrument.symbol, near_year)
        if future and told is not None and (instrument.root or told.root) == root:
            expiries[instrument.symbol] = instrument.expiry_ns
    for symbol in symbols:
        told = month_of(symbol, near_year)
        if told is not None and told.root == root and symbol not in expiries:
            expiries[symbol] = _by_rule(symbol, told)
    found = [Contract(symbol, root, expiry_ns) for symbol, expiry_ns in expiries.items()]
    return sorted(found, key=lambda each: (each.expiry_ns, each.symbol))


def _by_rule(symbol: str, told: Month) -> int:
    rule = _RULES.get(told.root)
    if rule is None:
        raise InvalidInputError(
            f"contract {symbol}: when it expires is not known; ingest its definitions, or give an Instrument with "
            f"expiry_ns. The products whose rules are known are {', '.join(_RULES)}"
        )
    day, clock = rule(told.year, told.month, sessions(CALENDARS["globex"]).days)
    return int(clock_on(np.array([day], np.int64), clock, "America/Chicago")[0])


def _third_friday(year: int, month: int, _: Array) -> tuple[int, str]:
    """Index futures end at 08:30 in Chicago: CME rulebook, chapter 358 (E-mini S&P 500)."""
    first = _first_of(year, month)
    return first + (1 - first) % 7 + 14, "08:30"  # 1970-01-01 was a Thursday: a Friday's number leaves 1


def _third_last_business_day(year: int, month: int, days: Array) -> tuple[int, str]:
    """Metals end at 12:30 in Chicago: COMEX rulebook, chapter 113 (gold)."""
    after = int(np.searchsorted(days, _first_of(year, month + 1), "left"))
    return int(days[after - 3]), "12:30"


def _crude(year: int, month: int, days: Array) -> tuple[int, str]:
    """Three business days before the 25th of the month before, or before the last one before it.

    NYMEX rulebook, chapter 200 (light sweet crude oil).
    """
    twenty_fifth = _first_of(year, month - 1) + 24
    at = int(np.searchsorted(days, twenty_fifth, "left"))
    back = 3 if days[at] == twenty_fifth else 4
    return int(days[at - back]), "13:30"


def _gas(year: int, month: int, days: Array) -> tuple[int, str]:
    """Three business days before the first day of the delivery month: NYMEX rulebook, chapter 220 (Henry Hub)."""
    at = int(np.searchsorted(days, _first_of(year, month), "left"))
    return int(days[at - 3]), "13:30"


def _first_of(year: int, month: int) -> int:
    """Return the number of a month's first day; months 0 and 13 are those of the years beside."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return day_number(f"{year:04d}-{month:02d}-01")


_RULES: dict[str, Callable[[int, int, Array], tuple[int, str]]] = {
    **dict.fromkeys(("ES", "MES", "NQ", "MNQ", "YM", "MYM", "RTY", "M2K"), _third_friday),
    **dict.fromkeys(("GC", "MGC", "SI", "SIL", "HG", "PL", "PA"), _third_last_business_day),
    "CL": _crude,
    "NG": _gas,
}
