"""The facts of reference data: who was called what, what a contract is, what was paid and split, who was a member.

Each fact holds for the days [start, end) of an instrument's life, or for one day, and says when it was published
(`known_ns`), where its source tells.  What no source tells counts as known from the begin of its first day, never
earlier: an action at its ex-date, a member at its first day.

Invariants: facts are tuples of texts and integers; a fact supersedes an older one with the same `identity`; a fact that
was `withdrawn` is none from `known_ns` on.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from tickvault.market.reference.days import ALWAYS, FOREVER
from tickvault.market.schema import PRICE_NULL, PRICE_SCALE, TIME_NULL


class SymbolInterval(NamedTuple):
    """An instrument was called by a symbol, at a venue, for some days."""

    scheme: str
    """Whose identifier it is, such as ``databento``, ``lean`` or a firm's name."""
    identifier: str
    """What the scheme calls the instrument, for life."""
    symbol: str
    """What the venue calls it: the raw symbol."""
    venue: str = ""
    """Empty: at every venue."""
    start: str = ALWAYS
    end: str = FOREVER
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.scheme, self.identifier, self.symbol, self.venue, self.start)


class Instrument(NamedTuple):
    """What a symbol is for some days."""

    venue: str
    symbol: str
    start: str = ALWAYS
    end: str = FOREVER
    instrument_class: str = ""
    """Databento's letter: F future, C call, P put, K stock, S spread, X currency pair, …"""
    tick_size: int = PRICE_NULL
    """In units of 1e-9."""
    multiplier: int = PRICE_NULL
    """Value of a whole point of one contract, in units of 1e-9."""
    currency: str = ""
    calendar: str = ""
    """Name of its calendar, where it is not its venue's; see `sessions`."""
    size_scale: int = 1
    expiry_ns: int = TIME_NULL
    """When trading in it ends, int64 ns UTC."""
    root: str = ""
    """Of a future or option, the product: ``ES``."""
    underlying: str = ""
    strike_price: int = PRICE_NULL
    instrument_id: int = 0
    """The publisher's number; 0: not told."""
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.venue, self.symbol, self.start)


class Action(NamedTuple):
    """A split or a dividend.

    A split of `numerator` new shares for `denominator` old ones: 4 and 1 for four-for-one, 1 and 20 for a reverse
    split.
    """

    symbol: str
    kind: str
    """``split`` or ``dividend``."""
    ex_day: str
    """First day that is traded without it."""
    venue: str = ""
    """Empty: at every venue."""
    numerator: int = 1
    denominator: int = 1
    amount: int = PRICE_NULL
    """Of a dividend, for one share, in units of 1e-9."""
    close: int = PRICE_NULL
    """Of a dividend, the close of the day before the ex-date as its source tells it, in units of 1e-9."""
    currency: str = ""
    event: str = ""
    """The source's number of the event; two events without a number cannot be of one symbol, kind and day."""
    scheme: str = ""
    identifier: str = ""
    """Of the instrument, in the scheme, where the source tells it so; it counts more than the symbol."""
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.event,) if self.event else (self.venue, self.symbol, self.kind, self.ex_day)

    @property
    def start(self) -> str:
        """The day from which it is known, where nobody tells when it was published."""
        return self.ex_day

    @property
    def split(self) -> Fraction:
        """New shares for an old one; 1 of a dividend."""
        return Fraction(self.numerator, self.denominator)

    def __repr__(self) -> str:
        """Show what matters."""
        if self.kind == "split":
            return f"<Action {self.symbol} {self.ex_day}: split {self.numerator} for {self.denominator}>"
        return f"<Action {self.symbol} {self.ex_day}: dividend {self.amount / PRICE_SCALE:.6g} {self.currency}>"


class Membership(NamedTuple):
    """A symbol was a member of a universe for some days."""

    universe: str
    symbol: str
    start: str = ALWAYS
    end: str = FOREVER
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.universe, self.symbol, self.start)


class Sector(NamedTuple):
    """A symbol's place in a classification, for some days."""

    scheme: str
    """Such as ``gics``."""
    symbol: str
    sector: str
    industry: str = ""
    start: str = ALWAYS
    end: str = FOREVER
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.scheme, self.symbol, self.start)


class CalendarChoice(NamedTuple):
    """A venue, or one symbol at it, keeps another calendar than the built-in one."""

    venue: str
    calendar: str
    symbol: str = ""
    start: str = ALWAYS
    end: str = FOREVER
    known_ns: int = TIME_NULL
    withdrawn: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """What a later fact must share to supersede this one."""
        return (self.venue, self.symbol, self.start)


Fact = SymbolInterval | Instrument | Action | Membership | Sector | CalendarChoice
#: Each kind of fact, by the folder that it is kept in.
KINDS: dict[str, type[Fact]] = {
    "symbols": SymbolInterval,
    "instruments": Instrument,
    "actions": Action,
    "members": Membership,
    "sectors": Sector,
    "calendars": CalendarChoice,
}
