"""`tickvault simulate`: a day of a market that does not exist, into a library.

Invariants: a table is counted once it is durable; a day that a library holds already is not added to it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import interrupts, terminal
from tickvault.cli.options import json_option, library_option, open_vault, parse_pairs, vault_option
from tickvault.errors import AlreadyExistsError, InvalidInputError

if TYPE_CHECKING:
    from tickvault.market.library import Library
    from tickvault.market.simulate import Faults, Flow, Market
    from tickvault.market.table import Table

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
    seeds give equal rows on every machine. The library is made if it is missing, and so is the vault.

    \b
    Examples:
      tickvault simulate --library sim
      tickvault simulate --library sim --symbols 100 --events 50_000_000 --seed 7 --date 2026-01-06
      tickvault simulate --library sim --symbols ALDER,BEECH --schemas trades,bbo
      tickvault simulate --library broken --fault late=200 --fault gaps=50
    """
    market = load_simulator()(_symbols(symbols), seed, date, venue, events)
    wanted = _listed(schemas)
    flow = market.flow(wanted, faults=_faults(faults))
    with open_vault(vault_dir, create=True) as vault, terminal.Progress("simulate") as progress:
        target = vault.library(library)
        _refuse_again(target, market, wanted)
        started = time.monotonic()
        stored = 0
        for table in _ahead(flow):
            target.append(table.symbol, table.schema.name, table, venue=table.venue)
            stored += len(table)
            progress(stored, 0, "rows")
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
            "seconds": round(seconds, 3),
            "rows_per_second": round(stored / seconds),
        }
        terminal.answer_json(record)
        return
    of = ", ".join(f"{amount:,} {schema}" for schema, amount in rows.items())
    rate = f", {stored / seconds:,.0f} rows/s" if seconds > 0.5 else ""
    terminal.answer(f"{date}: {of}, of {terminal.count(len(market.instruments), 'symbol')}, in library {library}{rate}")
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


def _refuse_again(target: Library, market: Market, schemas: list[str]) -> None:
    """Raise if the library has rows of these series and this session: it could not tell them from new ones."""
    simulated = {one.symbol for one in market.instruments}
    for key in target.series(venue=market.venue):
        if key.symbol not in simulated or key.schema not in schemas:
            continue
        stat = target.stat(key.symbol, key.schema, venue=key.venue)
        if stat.rows and stat.first_ns <= market.closes_ns and stat.last_ns >= market.opens_ns:
            raise AlreadyExistsError(
                f"simulate: library {target.name} has rows of {key} of {market.date} already, and would hold them "
                "twice; choose another --date, --venue or --library"
            )
