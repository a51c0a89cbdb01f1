"""The simulated market: which instruments, which day, how many rows.

Invariants: what an instrument does depends on the seed, the day and hours, its own parameters and its number of rows,
and on no other instrument but through the common factor.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.simulate.draws import stream
from tickvault.market.simulate.faults import Faults
from tickvault.market.simulate.flow import SCHEMAS_MADE, Flow
from tickvault.market.simulate.instrument import Instrument, invent, names
from tickvault.market.simulate.path import common_path
from tickvault.market.times import to_ns

#: Rows that an instrument has at least: its opening book and some more.
ROWS_MIN = 400
ROWS_MAX = 1 << 36
_SYMBOLS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Market:
    """A day of a venue that does not exist.

    ::

        market = Market(symbols=20, seed=1, date="2026-01-05", events=1_000_000)
        for table in market.flow(["mbo", "trades"]):
            library.append(table.symbol, table.schema.name, table, venue=table.venue)

    Parameters
    ----------
    symbols : int, or sequence of str or Instrument
        How many, or their names, or the instruments themselves; what is not given is invented from the seed.
    seed : int
        Equal seeds give equal bytes, on every machine.
    date : str
        Calendar day, ``YYYY-MM-DD``; any day is a trading day.
    venue : str
    events : int
        Rows of `mbo`, of all symbols together.
    opens, closes : str
        Of the session, ``HH:MM`` UTC.

    Raises
    ------
    InvalidInputError
        A value is out of its range; the message says which.
    """

    symbols: int | Sequence[str | Instrument] = 20
    seed: int = 1
    date: str = "2026-01-05"
    venue: str = "XSIM"
    events: int = 1_000_000
    opens: str = "14:30"
    closes: str = "21:00"
    instruments: tuple[Instrument, ...] = field(init=False)
    opens_ns: int = field(init=False)
    closes_ns: int = field(init=False)

    def __post_init__(self) -> None:
        """Check the parameters, and invent what is not given."""
        given = names(self._counted(self.symbols)) if isinstance(self.symbols, int) else list(self.symbols)
        made = tuple(one if isinstance(one, Instrument) else invent(one, self.seed) for one in given)
        self._counted(len(made))
        if len({one.symbol for one in made}) < len(made):
            raise InvalidInputError(f"simulate: symbols must differ, were {', '.join(one.symbol for one in made)}")
        if not self.venue:
            raise InvalidInputError("simulate: venue must not be empty; any name does, such as XSIM")
        if not ROWS_MIN * len(made) <= self.events <= ROWS_MAX:
            raise InvalidInputError(
                f"simulate: events must be at least {ROWS_MIN} for each of {len(made)} symbols "
                f"({ROWS_MIN * len(made)}) and at most {ROWS_MAX}, was {self.events}"
            )
        object.__setattr__(self, "instruments", made)
        for name, clock in (("opens_ns", self.opens), ("closes_ns", self.closes)):
            object.__setattr__(self, name, self._moment(clock))
        if self.closes_ns <= self.opens_ns:
            raise InvalidInputError(f"simulate: the session must close after {self.opens}, was {self.closes}")

    @staticmethod
    def _counted(count: int) -> int:
        if not 1 <= count <= _SYMBOLS_MAX:
            raise InvalidInputError(f"simulate: symbols must be 1 to {_SYMBOLS_MAX}, were {count}")
        return count

    def _moment(self, clock: str) -> int:
        try:
            day = datetime.date.fromisoformat(self.date)
            return to_ns(datetime.datetime.combine(day, datetime.time.fromisoformat(clock)))
        except ValueError:
            raise InvalidInputError(
                f"simulate: date must be like 2026-01-05, opens and closes like 14:30; were {self.date!r}, {clock!r}"
            ) from None

    def flow(self, schemas: Sequence[str] = ("mbo",), *, rows: int = 500_000, faults: Faults | None = None) -> Flow:
        """Return the day as an iterator of tables, one symbol after the other.

        Parameters
        ----------
        schemas : sequence of str
            Of `mbo`, `trades`, `bbo`, `definition`, `status`; all of one run.
        rows : int
            About how many a table has; the whole does not depend on it.
        faults : Faults, optional
            What goes wrong on the way; nothing by default.
        """
        for schema in schemas:
            if schema not in SCHEMAS_MADE:
                raise InvalidInputError(f"simulate: schema must be of {', '.join(SCHEMAS_MADE)}, was {schema!r}")
        if not 1 <= rows <= 1 << 27:
            raise InvalidInputError(f"simulate: rows must be in [1, {1 << 27}], was {rows}")
        return Flow(self, tuple(dict.fromkeys(schemas)), rows, faults or Faults())

    def shares(self) -> list[int]:
        """Return the rows of `mbo` of each instrument; they add up to `events`."""
        # Each gets the least; what is more goes by activity, in whole 2**-20 so that no sum of floats decides.
        parts = [max(1, int(one.activity * (1 << 20))) for one in self.instruments]
        spare, total = self.events - ROWS_MIN * len(parts), sum(parts)
        made = [ROWS_MIN + spare * part // total for part in parts]
        made[0] += self.events - sum(made)
        return made

    def common(self) -> tuple[Array, Array]:
        """Return the common factor's moves and heats; see `path.fill_common`."""
        return common_path(stream("common", self.seed, self.date), self.closes_ns - self.opens_ns)
