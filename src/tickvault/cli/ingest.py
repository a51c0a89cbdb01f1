"""`tickvault ingest`: files of venues and vendors into a library.

Invariants: a file is reported once all of it is durable; files that fail are told with their reason, and the others go
on; ingesting a file again does nothing.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, parse_pairs, recursive_option, vault_option
from tickvault.cli.read import naming_options
from tickvault.cli.skipping import Skipped
from tickvault.errors import InvalidInputError, TickVaultError

if TYPE_CHECKING:
    from tickvault.market.ingest import IngestReport


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@library_option
@recursive_option("Ingest every file below a folder.")
@click.option("--format", "feed", metavar="NAME", help="The feed that reads the files; by default each is recognised.")
@click.option("--tz", metavar="ZONE", help="Zone of the files' clock, such as America/New_York.")
@click.option("--scale", type=int, metavar="N", help="Units in one of the files' integer prices, such as 10000.")
@click.option("--date", metavar="DAY", help="Day of the files' times, such as 2012-06-21.")
@click.option("--symbol", metavar="NAME", help="Symbol of all rows.")
@click.option("--venue", metavar="NAME", help="Venue of all rows.")
@click.option("--schema", metavar="NAME", help="Schema of a table of your own (CSV, Parquet).")
@click.option("--column", "columns", metavar="OURS=THEIRS", multiple=True, help="A column of your own table.")
@click.option("--unique", metavar="NAME", multiple=True, help="Keep the first row only of each value of this column.")
@vault_option
@json_option
def ingest(
    *,
    files: tuple[str, ...],
    library: str,
    recursive: bool,
    feed: str | None,
    tz: str | None,
    scale: int | None,
    date: str | None,
    symbol: str | None,
    venue: str | None,
    schema: str | None,
    columns: tuple[str, ...],
    unique: tuple[str, ...],
    vault_dir: str,
    as_json: bool,
) -> None:
    """Take files of market data into a library.

    The format is recognised: Databento DBN, LOBSTER, Shanghai and Shenzhen Level-2, Binance captures, LEAN zips,
    Nasdaq ITCH 5.0, IEX DEEP and TOPS, daily bars. What a file does not say (zone, scale, date, symbol) is asked
    for. Rows that cannot be decoded are kept apart with the reason: see tickvault quality. The library is made if
    it is missing, and so is the vault; a file that is there already is left as it is.

    \b
    Examples:
      tickvault ingest esh4-20231225.mbo.dbn.zst --library cme
      tickvault ingest --recursive lean/ --library lean
      tickvault ingest ticks.csv --format table --schema trades --symbol ES --venue XCME \\
          --column ts_event=Time:ms --column price=Px --column size=Qty
    """
    paths = list(_files(files, recursive))
    said: dict[str, Any] = {
        "format": feed,
        "tz": tz,
        "scale": scale,
        "date": date,
        "symbol": symbol,
        "venue": venue,
        "schema": schema,
        "columns": parse_pairs(columns, "--column"),
        "unique": unique,
    }
    skipped = Skipped()
    rows = stored = there = 0
    with open_vault(vault_dir, create=True) as vault, terminal.Progress("ingest") as progress:
        target = vault.library(library)
        for path in paths:
            try:
                with naming_options():
                    report = target.ingest(path, **said, progress=_Rows(progress, rows))
            except (TickVaultError, OSError) as error:
                if len(paths) == 1:
                    raise
                skip = skipped.add(path, error)
                if as_json:
                    terminal.answer_json({"skipped": skip.name, "reason": skip.reason})
                continue
            there += report.again
            if not report.again:
                rows, stored = rows + report.rows, stored + report.stored
            progress.wipe()
            _tell(path, report, as_json)
    if len(paths) > 1:
        before = f"; {terminal.count(there, 'file was', 'files were')} there already" if there else ""
        terminal.say(f"{terminal.count(rows, 'row')} read, {stored:,} stored, in library {library}{before}")
    if status := skipped.tell():
        raise click.exceptions.Exit(status)


class _Rows:
    """Counts the rows of a file on top of those of the files before it."""

    def __init__(self, progress: terminal.Progress, before: int) -> None:
        self._progress = progress
        self._before = before

    def __call__(self, rows: int, stored: int) -> None:
        self._progress(self._before + rows, 0, "rows")


def _files(places: tuple[str, ...], recursive: bool) -> list[str]:
    found: list[str] = []
    for place in places:
        if not os.path.isdir(place):
            found.append(place)
            continue
        if not recursive:
            raise InvalidInputError(f"ingest {place}: it is a folder; --recursive ingests every file below it")
        for folder, folders, names in os.walk(place):
            folders.sort()
            found += [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _tell(path: str, report: IngestReport, as_json: bool) -> None:
    if as_json:
        record = asdict(report) | {"path": path, "series": ["/".join(key) for key in report.series]}
        terminal.answer_json(record)
        return
    symbols = report.symbols[0] if len(report.symbols) == 1 else terminal.count(len(report.symbols), "symbol")
    if report.again:
        words = f"there already ({report.rows:,} rows, {symbols})"
    else:
        rate = f", {report.rows / report.seconds:,.0f} rows/s" if report.seconds > 0.5 else ""
        stored = "" if report.stored == report.rows else f", {report.stored:,} stored"
        words = f"{report.rows:,} rows{stored}, {symbols}, by {report.feed}{rate}"
    terminal.answer(f"{terminal.printable(path)}: {words}")
    if report.dropped:
        terminal.say(f"  left out as repeats: {terminal.count(report.dropped, 'row')}")
    for reason, amount in report.reasons.items():
        terminal.say(f"  in quarantine: {terminal.count(amount, 'row')}: {terminal.printable(reason)}")
