"""Rows of files into facts, by a mapping of columns.

Each reader takes the fields of one row and gives the facts in it; it raises `ValueError` with the reason for a row that
is none.  The mappings at the end are of formats that many have.

Invariants: decimals never pass through a float; a row gives all its facts or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tickvault.market.reference.days import ALWAYS, day_of, end_of
from tickvault.market.reference.facts import Action, Fact, Instrument, Membership, Sector, SymbolInterval
from tickvault.market.reference.rows import Fields
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, TIME_NULL
from tickvault.market.times import to_ns

#: Ratios of splits are kept as whole numbers up to this.
_RATIO_MAX = 10**9


class Said(NamedTuple):
    """What a file does not say itself."""

    universe: str = ""
    scheme: str = ""
    venue: str = ""
    date: str = ""
    """First day that a snapshot without dates holds for."""
    end_included: bool = False
    """Whether an interval's end is its last day, and not the first one after it."""


Reader = Callable[[Fields, Said], list[Fact]]


def price_of(number: Decimal, name: str) -> int:
    """Return a decimal in units of 1e-9, half to even; raises `ValueError` where it does not fit."""
    units = Fraction(number) * PRICE_SCALE
    if abs(units) >= PRICE_NULL:
        raise ValueError(f"its {name} {number} does not fit 63 bits in units of 1e-9")
    return round(units)


def _known(fields: Fields) -> int:
    return to_ns(fields.text("known"), "known") if "known" in fields else TIME_NULL


def _interval(fields: Fields, said: Said) -> tuple[str, str]:
    start = day_of(fields.text("start"), "start") if "start" in fields else said.date or ALWAYS
    end = end_of(fields.text("end"), included=said.end_included)
    if end <= start:
        raise ValueError(f"it ends on {end}, before it has begun on {start}")
    return start, end


def symbol_row(fields: Fields, said: Said) -> list[Fact]:
    """Read which symbol an instrument had."""
    start, end = _interval(fields, said)
    scheme = fields.text("scheme", said.scheme)
    if not scheme:
        raise ValueError("nobody says whose identifier it is; name it with scheme=")
    venue = fields.text("venue", said.venue)
    return [
        SymbolInterval(scheme, fields.needed("identifier"), fields.needed("symbol"), venue, start, end, _known(fields))
    ]


def member_row(fields: Fields, said: Said) -> list[Fact]:
    """Read when a symbol was a member."""
    start, end = _interval(fields, said)
    universe = fields.text("universe", said.universe)
    return [Membership(universe, fields.needed("symbol"), start, end, _known(fields))]


def sector_row(fields: Fields, said: Said) -> list[Fact]:
    """Read a symbol's place in a classification."""
    start, end = _interval(fields, said)
    return [
        Sector(
            fields.text("scheme", said.scheme or "gics"),
            fields.needed("symbol"),
            fields.needed("sector"),
            fields.text("industry"),
            start,
            end,
            _known(fields),
        )
    ]


def instrument_row(fields: Fields, said: Said) -> list[Fact]:
    """Read what a symbol is."""
    start, end = _interval(fields, said)
    prices = {
        name: price_of(fields.number(name), name) if name in fields else PRICE_NULL
        for name in ("tick_size", "multiplier", "strike_price")
    }
    if prices["tick_size"] <= 0:
        raise ValueError(f"its tick_size {fields.text('tick_size')} is not above 0")
    wholes = {name: int(fields.number(name)) if name in fields else 0 for name in ("size_scale", "instrument_id")}
    return [
        Instrument(
            fields.text("venue", said.venue),
            fields.needed("symbol"),
            start,
            end,
            instrument_class=fields.text("instrument_class"),
            tick_size=prices["tick_size"],
            multiplier=prices["multiplier"],
            currency=fields.text("currency"),
            calendar=fields.text("calendar"),
            size_scale=wholes["size_scale"] or 1,
            expiry_ns=to_ns(fields.text("expiry"), "expiry") if "expiry" in fields else TIME_NULL,
            root=fields.text("root"),
            underlying=fields.text("underlying"),
            strike_price=prices["strike_price"],
            instrument_id=wholes["instrument_id"],
            known_ns=_known(fields),
        )
    ]


_SPLITS = frozenset({"split", "fsplt", "rsplt", "fsplit", "rsplit", "sd", "stockdividend", "consd", "subdivision"})
_DIVIDENDS = frozenset({"dividend", "div", "cash dividend", "cash_dividend", "ordinary", "special"})


def action_row(fields: Fields, said: Said) -> list[Fact]:
    """Read a split or a dividend.

    A split is told by ``ratio_new`` and ``ratio_old`` (new shares for old ones). A dividend is told by ``amount``, or
    by ``factor`` and ``close``: then the amount is what makes the factor of the close.
    """
    word = fields.needed("kind").lower()
    common = {
        "symbol": fields.needed("symbol"),
        "ex_day": day_of(fields.needed("ex_date"), "ex_date"),
        "venue": fields.text("venue", said.venue),
        "event": f"{said.scheme}:{fields.text('event')}" if "event" in fields else "",
        "known_ns": _known(fields),
        "withdrawn": fields.text("action").upper() in {"D", "C"},
    }
    if word in _SPLITS:
        new, old = _ratio(fields)
        return [Action(kind="split", numerator=new, denominator=old, **common)]  # type: ignore[arg-type]
    if word in _DIVIDENDS:
        amount, close = _dividend(fields)
        currency = fields.text("currency")
        return [Action(kind="dividend", amount=amount, close=close, currency=currency, **common)]  # type: ignore[arg-type]
    raise ValueError(f"its kind {word!r} is neither a split nor a dividend; others are not kept")


def _ratio(fields: Fields) -> tuple[int, int]:
    new, old = fields.number("ratio_new"), fields.number("ratio_old")
    if new <= 0 or old <= 0:
        raise ValueError(f"a split of {new} for {old}; both must be above 0")
    ratio = Fraction(new) / Fraction(old)
    if max(ratio.numerator, ratio.denominator) > _RATIO_MAX:
        raise ValueError(f"a split of {new} for {old} needs whole numbers above {_RATIO_MAX:,}")
    return ratio.numerator, ratio.denominator


def _dividend(fields: Fields) -> tuple[int, int]:
    close = price_of(fields.number("close"), "close") if "close" in fields else PRICE_NULL
    if "amount" in fields:
        amount = price_of(fields.number("amount"), "amount")
    elif "factor" in fields and close != PRICE_NULL:
        factor = Fraction(fields.number("factor"))
        if not 0 < factor <= 1:
            raise ValueError(f"its factor {fields.text('factor')} is not above 0 and up to 1")
        amount = round(close * (1 - factor))
    else:
        raise ValueError("a dividend needs an amount, or a factor and the close before")
    if amount < 0 or (close != PRICE_NULL and not amount < close):
        raise ValueError(f"a dividend of {amount / PRICE_SCALE:g} is not from 0 to less than the close before")
    return amount, close


class Kind(NamedTuple):
    """How a kind of fact is read."""

    folder: str
    read: Reader
    columns: tuple[str, ...]
    """Ours; all that a mapping may name."""
    needed: tuple[str, ...]


_DAYS = ("start", "end", "known")
MEMBERS = Kind("members", member_row, ("symbol", "universe", *_DAYS), ("symbol",))
SYMBOLS = Kind(
    "symbols", symbol_row, ("scheme", "identifier", "symbol", "venue", *_DAYS), ("identifier", "symbol", "start")
)
SECTORS = Kind("sectors", sector_row, ("scheme", "symbol", "sector", "industry", *_DAYS), ("symbol", "sector"))
INSTRUMENTS = Kind(
    "instruments",
    instrument_row,
    (
        *("venue", "symbol", "tick_size", "multiplier", "strike_price", "size_scale", "instrument_id", "expiry"),
        *("instrument_class", "currency", "calendar", "root", "underlying", *_DAYS),
    ),
    ("symbol",),
)
ACTIONS = Kind(
    "actions",
    action_row,
    (
        *("symbol", "kind", "ex_date", "venue", "ratio_new", "ratio_old", "amount", "factor", "close", "currency"),
        *("event", "known", "action"),
    ),
    ("symbol", "kind", "ex_date"),
)

#: Databento's corporate actions and its adjustment factors, as it writes them in JSON lines.
DATABENTO_ACTIONS: Mapping[str, str] = {
    "symbol": "nasdaq_symbol",
    "kind": "event",
    "ex_date": "ex_date",
    "ratio_new": "ratio_new",
    "ratio_old": "ratio_old",
    "event": "event_unique_id",
    "action": "event_action",
    "known": "ts_record",
}
DATABENTO_FACTORS: Mapping[str, str] = {
    "symbol": "nasdaq_symbol",
    "kind": "event_type",
    "ex_date": "ex_date",
    "factor": "factor",
    "close": "close",
    "currency": "currency",
    "event": "event_id",
    "known": "ts_created",
}
#: Databento's security master.
DATABENTO_SYMBOLS: Mapping[str, str] = {
    "identifier": "listing_id",
    "symbol": "nasdaq_symbol",
    "venue": "operating_mic",
    "start": "ts_effective",
    "end": "delisting_date",
    "known": "ts_record",
}
