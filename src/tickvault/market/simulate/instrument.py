"""Instruments of the simulated market: given, or invented from a name and a seed.

Invariants: an invented instrument depends on the seed and its symbol only; no instrument's day can leave its book.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickvault.errors import InvalidInputError
from tickvault.market.schema import PRICE_SCALE
from tickvault.market.simulate.book import ORDERS_MAX
from tickvault.market.simulate.draws import stream

#: Deviation of a day's move, in ticks, beyond which a day could leave the book.
DEVIATION_TICKS_MAX = 500
PRICE_TICKS_MIN = 16
TICK_MAX = 1 << 45
_ORDERS_MIN = 40
_ACTIVITIES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 16.0)

#: Invented: no exchange lists them.
NAMES = (
    "ALDER", "ASPEN", "BEECH", "BIRCH", "CEDAR", "CLOVE", "EBONY", "ELDER", "FERNS", "HAZEL",
    "HOLLY", "LARCH", "LILAC", "MAPLE", "MYRTL", "OLIVE", "ROWAN", "SPRUC", "TEAKS", "WILLO",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded, and how.

    Attributes
    ----------
    symbol : str
    tick : int
        Price step, in units of 1e-9.
    price : int
        At the open, in units of 1e-9; a multiple of `tick`.
    lot : int
        Sizes are multiples of it.
    multiplier : int
        Of the price, for the value of one.
    currency : str
    instrument_class : str
        Databento's letter: K stock, F future.
    volatility : float
        Standard deviation of the day's return, as a fraction (0.01 is 1 %).
    half_spread : float
        Ticks from the value that quotes keep; the spread is about twice that and one more.
    correlation : float
        Of its returns with the common factor, in [0, 1].
    activity : float
        Its share of the market's rows is this over the sum of all.
    orders : int
        About how many rest in the book.
    """

    symbol: str
    tick: int = PRICE_SCALE // 100
    price: int = 100 * PRICE_SCALE
    lot: int = 100
    multiplier: int = 1
    currency: str = "USD"
    instrument_class: str = "K"
    volatility: float = 0.012
    half_spread: float = 0.5
    correlation: float = 0.6
    activity: float = 1.0
    orders: int = 700

    def __post_init__(self) -> None:
        """Check that a day of it can be simulated."""
        checks = (
            ("symbol", bool(self.symbol), "not be empty"),
            ("tick", 0 < self.tick <= TICK_MAX, f"be in [1, {TICK_MAX}]"),
            ("price", self._price_fits(), f"be a multiple of the tick, and of {PRICE_TICKS_MIN} ticks at least"),
            ("lot", 0 < self.lot <= 1_000_000, "be in [1, 1000000]"),
            ("multiplier", 0 < self.multiplier < 2**31 - 1, "be positive and below 2147483647"),
            ("instrument_class", len(self.instrument_class) == 1 and self.instrument_class.isascii(), "be a letter"),
            ("volatility", 0 < self.volatility < 1, "be in (0, 1)"),
            ("half_spread", 0 <= self.half_spread <= 50, "be in [0, 50]"),
            ("correlation", 0 <= self.correlation <= 1, "be in [0, 1]"),
            ("activity", 0 < self.activity < float("inf"), "be positive"),
            ("orders", _ORDERS_MIN <= self.orders <= ORDERS_MAX // 2, f"be in [{_ORDERS_MIN}, {ORDERS_MAX // 2}]"),
        )
        for name, holds, rule in checks:
            if not holds:
                raise InvalidInputError(f"instrument {self.symbol}: {name} must {rule}, was {getattr(self, name)!r}")
        if self.deviation_ticks > DEVIATION_TICKS_MAX:
            raise InvalidInputError(
                f"instrument {self.symbol}: a volatility of {self.volatility} is {self.deviation_ticks:.0f} ticks a "
                f"day, and may be {DEVIATION_TICKS_MAX}; make the tick larger"
            )

    def _price_fits(self) -> bool:
        fits = 0 < PRICE_TICKS_MIN * self.tick <= self.price <= 1 << 61
        return fits and self.price % self.tick == 0

    @property
    def deviation_ticks(self) -> float:
        """Standard deviation of the day's move."""
        return self.volatility * (self.price // self.tick)


def invent(symbol: str, seed: int) -> Instrument:
    """Return an instrument of that name: two in three are stocks, the others futures of three kinds."""
    bits = stream("instrument", seed, symbol)

    def pick(count: int) -> int:
        nonlocal bits
        bits, found = divmod(bits, count)
        return found

    cents = PRICE_SCALE // 100
    kind = pick(9)
    style = {"half_spread": pick(9) / 8 + 0.2, "correlation": (4 + pick(5)) / 10, "activity": _ACTIVITIES[pick(9)]}
    orders = 400 + 100 * pick(7)
    if kind < 6:
        price, volatility = 800 + pick(12_000), (10 + pick(11)) / 1000
        currency = "EUR" if pick(8) == 0 else "USD"
        return Instrument(symbol, cents, price * cents, 100, 1, currency, "K", volatility, orders=orders, **style)
    if kind == 6:  # as of an equity index
        tick, price, multiplier, volatility = 25 * cents, 8_000 + pick(14_000), 50, (8 + pick(5)) / 1000
    elif kind == 7:  # as of a metal
        tick, price, multiplier, volatility = 10 * cents, 12_000 + pick(14_000), 100, (7 + pick(6)) / 1000
    else:  # as of a currency
        tick, price, multiplier, volatility = cents // 200, 20_000 + pick(8_000), 125_000, (4 + pick(4)) / 1000
    return Instrument(symbol, tick, price * tick, 1, multiplier, "USD", "F", volatility, orders=orders, **style)


def names(count: int) -> list[str]:
    """Return so many invented symbols."""
    return [*NAMES[:count], *(f"SIM{number:04d}" for number in range(len(NAMES) + 1, count + 1))]
