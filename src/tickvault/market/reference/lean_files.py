"""LEAN's map files and factor files: which symbol a listing had, and by which factors its prices are adjusted.

Both are CSV without a header, one file a listing, named by the symbol that it has last (``fb.1.csv`` is the first that
was called FB).  https://github.com/QuantConnect/Lean/tree/master/Data/equity/usa

A map file's line is (day, symbol, exchange): the symbol held up to and with the day; the first line is the listing's
first day. A factor file's line is (day, price factor, split factor, reference price): the factors of prices up to and
with the day, products of all that came later. What happened on the first session after the day is the quotient of a
line's factors and the next one's: ``split factor`` of 0.25 before and 1 after is four for one, ``price factor`` of
0.99 before and 1 after is a dividend of 1 % of the reference price, the day's close.

Invariants: factors are as exact as they are written: to seven digits, so that an amount is known to about a
ten-millionth of the close; a ratio within two ten-thousandths of a usual one (3 for 2, 7 for 1, 1 for 20: the smaller
number up to 10, or 1 where the ratio is above 10) is taken for it, since vendors write a third as 0.33333.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tickvault.market.reference.days import FOREVER, end_of, next_day
from tickvault.market.reference.facts import Action, Fact, SymbolInterval
from tickvault.market.reference.readers import price_of
from tickvault.market.reference.rows import Fields
from tickvault.market.schema import PRICE_NULL

MAP_NAMES = ("date", "symbol", "exchange")
FACTOR_NAMES = ("date", "price_factor", "split_factor", "reference_price")
#: Of 3 for 2, 2; splits into more than ten are of whole numbers.
_DENOMINATOR_MAX = 10
_CLOSE_ENOUGH = Fraction(2, 10_000)


class MapLine(NamedTuple):
    """A symbol held up to and with a day."""

    day: str
    """`FOREVER` where it holds still."""
    symbol: str


class FactorLine(NamedTuple):
    """The factors of prices up to and with a day."""

    day: str
    price_factor: Fraction
    split_factor: Fraction
    close: int
    """Of the day, in units of 1e-9; null where it is not told."""


def map_line(fields: Fields) -> MapLine:
    """Read a line of a map file; raises `ValueError` with the reason."""
    day = end_of(fields.needed("date"), included=False)
    return MapLine(day, fields.needed("symbol").upper())


def factor_line(fields: Fields) -> FactorLine:
    """Read a line of a factor file; raises `ValueError` with the reason."""
    price, split = fields.number("price_factor"), fields.number("split_factor")
    if price <= 0 or split <= 0:
        raise ValueError(f"factors of {price} and {split}; both must be above 0")
    close = fields.number("reference_price") if "reference_price" in fields else Decimal(0)
    day = end_of(fields.needed("date"), included=False)
    return FactorLine(
        day, Fraction(price), Fraction(split), price_of(close, "reference_price") if close > 0 else PRICE_NULL
    )


def symbol_intervals(identifier: str, lines: Sequence[MapLine], venue: str = "") -> list[Fact]:
    """Return the symbols that a listing had; `lines` in the order of their days, the first its first day."""
    found: list[Fact] = []
    start = lines[0].day if lines else ""
    for line in lines[1:]:
        end = FOREVER if line.day == FOREVER else next_day(line.day)
        if found and isinstance(found[-1], SymbolInterval) and found[-1].symbol == line.symbol:
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(SymbolInterval("lean", identifier, line.symbol, venue, start, end))
        start = end
    return found


def actions(identifier: str, lines: Sequence[FactorLine], next_session: Callable[[str], str]) -> list[Fact]:
    """Return what happened between lines, which are in the order of their days.

    Parameters
    ----------
    next_session : callable
        Gives the first session after a day: the ex-date.

    Raises
    ------
    ValueError
        A dividend's close is not told.
    """
    found: list[Fact] = []
    for before, after in pairwise(lines):
        if (before.price_factor, before.split_factor) == (after.price_factor, after.split_factor):
            continue
        listing = Action(identifier, "", next_session(before.day), scheme="lean", identifier=identifier)
        if before.split_factor != after.split_factor:
            ratio = _ratio(after.split_factor / before.split_factor)
            found.append(listing._replace(kind="split", numerator=ratio.numerator, denominator=ratio.denominator))
        if before.price_factor != after.price_factor:
            if before.close == PRICE_NULL:
                raise ValueError(f"its dividend after {before.day} has no reference price")
            amount = round(before.close * (1 - before.price_factor / after.price_factor))
            found.append(listing._replace(kind="dividend", amount=amount, close=before.close))
    return found


def _ratio(written: Fraction) -> Fraction:
    """Return the ratio that is meant by a quotient of two rounded numbers.

    >>> _ratio(Fraction("0.25") / Fraction("0.0357143")), _ratio(Fraction("80") / Fraction("2797.2"))
    (Fraction(7, 1), Fraction(200, 6993))
    """
    large = max(written, 1 / written)
    simple = large.limit_denominator(_DENOMINATOR_MAX if large < 10 else 1)
    if abs(simple / large - 1) > _CLOSE_ENOUGH:
        return written
    return simple if written >= 1 else 1 / simple
