"""`tickvault simulate`: a day of a market that does not exist, into a library.

Of each symbol an object in the library's bucket, `simulated/VENUE/DATE/SYMBOL`, says what it was made of, and which
schemas are whole.  So a run that was cut off is completed by the same command.

Invariants: a table is counted once it is durable; a day that a library holds already is not added to it again; rows of
another origin are neither replaced nor mixed with simulated ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from tickvault.cli import interrupts, terminal
from tickvault.cli.options import json_option, library_option, open_vault, parse_pairs, vault_option
from tickvault.errors import AlreadyExistsError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from tickvault.market.library import Library
    from tickvault.market.simulate import Faults, Flow, Market
    from tickvault.market.table import Table
    from tickvault.objects.protocol import Store

_DAY_NS = 86_400_000_000_000
_SCHEMAS = "definition,status,mbo,trades,bbo"


@click.command()
@library_option
@click.option(
    "--symbols", metavar="N|NAME,…", default="20", show_default=True, help="How many symbols, or their names."
)
@click.option(
    "--events",
    type=int,
    metavar="N",
    default=1_000_000,
    show_default=True,
    help="Rows of mbo, of all symbols together.",
)
@click.option("--seed", type=int, metavar="N", default=1, show_default=True, help="Equal seeds give equal days.")
@click.option("--date", metavar="DAY", default="2026-01-05", show_default=True, help="Day of the session.")
@click.option("--schemas", metavar="NAME,…", default=_SCHEMAS, show_default=True, help="What to store of it.")
@click.option("--venue", metavar="NAME", default="XSIM", show_default=True, help="Venue of all rows.")
@click.option(
    "--fault",
    "faults",
    metavar="KIND=N",
    multiple=True,
    help="Spoil N rows of a million: late, repeated, gaps, clock_jumps or crossed.",
)
@vault_option
@json_option
def simulate(
    *,
    library: str,
    symbols: str,
    events: int,
    seed: int,
    date: str,
    schemas: str,
    venue: str,
    faults: tuple[str, ...],
    vault_dir: str,
    as_json: bool,
) -> None:
    """Simulate a day of trading and store it in a library.

    A venue that does not exist trades invented instruments from 14:30 to 21:00 UTC: orders are added, changed,
    cancelled and matched one by one, and the rows of mbo, trades and bbo of a symbol come from the same book. Equal
    seeds give equal rows on every machine. The library is made if it is missing, and so is the vault. A run that was
    cut off is completed by the same command; another seed or size in the same place is refused.

    \b
    Examples:
      tickvault simulate --library sim
      tickvault simulate --library sim --symbols 100 --events 50_000_000 --seed 7 --date 2026-01-06
      tickvault simulate --library sim --symbols ALDER,BEECH --schemas trades,bbo
      tickvault simulate --library broken --fault late=200 --fault gaps=50
    """
    market = load_simulator()(_symbols(symbols), seed, date, venue, events)
    wanted = _listed(schemas)
    spoilt = _faults(faults)
    flow = market.flow(wanted, faults=spoilt)
    with open_vault(vault_dir, create=True) as vault, terminal.Progress("simulate") as progress:
        target = vault.library(library)
        made_of = {"seed": seed, "events": events, "symbols": symbols, "faults": asdict(spoilt)}
        day = _Day(target, vault.bucket(f"library-{library}"), market, wanted, made_of)
        started = time.monotonic()
        stored = made = 0
        for table in _ahead(flow):
            stored += day.take(table)
            made += len(table)
            progress(made, 0, "rows")
        day.end()
        seconds = time.monotonic() - started
    rows = dict(flow.rows)
    if as_json:
        record: dict[str, Any] = {
            "library": library,
            "venue": venue,
            "date": date,
            "seed": seed,
            "symbols": [one.symbol for one in market.instruments],
            "rows": rows,
            "faults": dict(flow.faults),
            "stored": stored,
            "seconds": round(seconds, 3),
            "rows_per_second": round(stored / seconds),
        }
        terminal.answer_json(record)
        return
    of = ", ".join(f"{amount:,} {schema}" for schema, amount in rows.items())
    rate = f", {stored / seconds:,.0f} rows/s" if seconds > 0.5 and stored else ""
    terminal.answer(f"{date}: {of}, of {terminal.count(len(market.instruments), 'symbol')}, in library {library}{rate}")
    if stored < made:
        terminal.say(f"  there already: {terminal.count(made - stored, 'row')}; stored now: {stored:,}")
    for kind, amount in flow.faults.items():
        terminal.say(f"  spoilt on purpose: {terminal.count(amount, 'row')}: {kind}")


def load_simulator() -> type[Market]:
    """Return the simulator's `Market`.

    Raises
    ------
    InvalidInputError
        What it needs is not installed.
    """
    try:
        with interrupts.ending_at_once():
            from tickvault.market.simulate import Market
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"the simulator needs {error.name}, which is not installed; run: pip install 'tickvault[market]'"
        ) from None
    return Market


def _ahead(flow: Flow) -> Iterator[Table]:
    """Iterate over the tables, each made while the one before it is being stored."""
    with ThreadPoolExecutor(1) as maker:
        following = maker.submit(next, flow, None)
        while (table := following.result()) is not None:
            following = maker.submit(next, flow, None)
            yield table


def _listed(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _symbols(text: str) -> int | list[str]:
    return int(text) if text.isdecimal() else _listed(text)


def _faults(pairs: tuple[str, ...]) -> Faults:
    from tickvault.market.simulate import Faults

    rates: dict[str, int] = {}
    for kind, rate in parse_pairs(pairs, "--fault").items():
        if kind not in Faults.__dataclass_fields__:
            raise InvalidInputError(f"--fault {kind}: the kinds are {', '.join(Faults.__dataclass_fields__)}")
        if not rate.isdecimal():
            raise InvalidInputError(f"--fault {kind}={rate}: write how many rows of a million, such as {kind}=100")
        rates[kind] = int(rate)
    return Faults(**rates)


class _Day:
    """A simulated day on its way into a library: what is there already is left out, what was begun is made anew."""

    def __init__(
        self, target: Library, store: Store, market: Market, schemas: list[str], made_of: dict[str, Any]
    ) -> None:
        self._target, self._store, self._market = target, store, market
        self._schemas, self._made_of = schemas, made_of
        self._symbol = ""
        self._start_ns = market.opens_ns - market.opens_ns % _DAY_NS
        self._end_ns = market.closes_ns + _DAY_NS - market.closes_ns % _DAY_NS
        # Only series that are there can hold the day.
        self._there = {(key.symbol, key.schema) for key in target.series(venue=market.venue)}
        self._whole = {one.symbol: self._checked(one.symbol) for one in market.instruments}

    def _checked(self, symbol: str) -> set[str]:
        """Return the schemas of a symbol that are whole; raise where rows of another origin are in the way."""
        found = {schema for schema in self._schemas if self._holds(symbol, schema)}
        if not found:
            return set()
        record = self._record(symbol)
        if record is None or record["made_of"] != self._made_of:
            other = "" if record is None else f" of another simulation ({_words(record['made_of'])})"
            raise AlreadyExistsError(
                f"simulate: library {self._target.name} has rows of {self._market.venue}/{symbol} of "
                f"{self._market.date} already{other}, and would mix them with these; choose another --date, --venue "
                "or --library"
            )
        return found & set(record["whole"])

    def _holds(self, symbol: str, schema: str) -> bool:
        if (symbol, schema) not in self._there:
            return False
        stat = self._target.stat(symbol, schema, venue=self._market.venue)
        if not stat.rows or stat.first_ns >= self._end_ns or stat.last_ns < self._start_ns:
            return False
        bounds = (self._start_ns, self._end_ns)
        return len(self._target.read(symbol, schema, *bounds, columns=("ts_event",), venue=self._market.venue)) > 0

    def take(self, table: Table) -> int:
        """Store a table unless its series is whole; return how many rows were stored."""
        if table.symbol != self._symbol:
            self.end()
            self._begin(table.symbol)
        schema = table.schema.name
        if schema in self._whole[table.symbol]:
            return 0
        self._target.append(table.symbol, schema, table, venue=table.venue)
        return len(table)

    def _begin(self, symbol: str) -> None:
        self._symbol = symbol
        whole = self._whole[symbol]
        self._note(symbol, whole)
        for schema in self._schemas:
            if schema not in whole and self._holds(symbol, schema):
                self._target.delete(symbol, schema, self._start_ns, self._end_ns, venue=self._market.venue)

    def end(self) -> None:
        """Note that all of the symbol so far is there."""
        if self._symbol:
            self._note(self._symbol, self._whole[self._symbol] | set(self._schemas))

    def _key(self, symbol: str) -> str:
        return "/".join(
            ["simulated", *(quote(part, safe="") for part in (self._market.venue, self._market.date, symbol))]
        )

    def _record(self, symbol: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(bytes(self._store.get(self._key(symbol))))
        except NotFoundError:
            return None
        return found

    def _note(self, symbol: str, whole: set[str]) -> None:
        before = self._record(symbol)
        others = set(before["whole"]) - set(self._schemas) if before and before["made_of"] == self._made_of else set()
        record = {"made_of": self._made_of, "whole": sorted(whole | others)}
        if record != before:
            self._store.put(self._key(symbol), json.dumps(record).encode())


def _words(made_of: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made_of.items() if name != "faults")
