"""`tickvault read`: rows of a series as text, CSV, JSON lines or Parquet.

Invariants: rows come in the library's order; a file is written whole or not at all.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import polars

    from tickvault.market.library import Library
    from tickvault.vault import Vault

_HEAD_ROWS = 10
_FORMATS = (".csv", ".jsonl", ".parquet", ".arrow")


@click.command()
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.argument("schema", metavar="SCHEMA")
@library_option
@click.option("--start", metavar="TIME", help="First time, such as 2023-12-26T14:30 (UTC unless it says a zone).")
@click.option("--end", metavar="TIME", help="Time at which to stop, itself not included.")
@click.option("--session", metavar="DAY", help="Instead of a range: a trading day by the venue's calendar.")
@click.option("--column", "columns", metavar="NAME", multiple=True, help="Only this column; may be repeated.")
@click.option("--as-of", metavar="COMMIT|TIME", help="The series as it was after a commit, or at a time.")
@click.option("--snapshot", metavar="NAME", help="The series as it was when that snapshot was taken.")
@click.option("--known-at", metavar="TIME", help="Only what had been published by then, corrections included.")
@click.option("--venue", metavar="NAME", help="Where the symbol is traded, if at several.")
@click.option("--rows", type=int, metavar="N", help=f"Print so many rows, from the begin.  [default: {_HEAD_ROWS}]")
@click.option("--output", metavar="FILE", help="Write all rows to a .csv, .jsonl, .parquet or .arrow file; - is CSV.")
@click.option("--integers", is_flag=True, help="Prices and sizes as they are stored, not as decimals.")
@vault_option
@json_option
def read(
    *,
    symbols: tuple[str, ...],
    schema: str,
    library: str,
    start: str | None,
    end: str | None,
    session: str | None,
    columns: tuple[str, ...],
    as_of: str | None,
    snapshot: str | None,
    known_at: str | None,
    venue: str | None,
    rows: int | None,
    output: str | None,
    integers: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Show the rows of a series, or write them to a file.

    Without --output the first rows are printed as a table. Several symbols of one schema come together, in the
    order of time, with a column symbol; so do the contracts of a continuous future (GC.c.0 by expiry, GC.v.0 by
    volume, GC.n.0 by open interest).

    \b
    Examples:
      tickvault read ESH4 mbo --library cme
      tickvault read AIG SPY trades --library lean --start 2013-10-07T14:30 --end 2013-10-07T14:31
      tickvault read ESH4 mbo --library cme --output es.parquet
      tickvault read GC.c.0 trades --library lean --session 2013-10-09
      tickvault read ESH4 mbo --library cme --column ts_recv --column price --output - | head
    """
    if output is not None and output != "-" and not output.endswith(_FORMATS):
        raise InvalidInputError(f"--output {output}: name a file that ends in {', '.join(_FORMATS)}, or -")
    with open_vault(vault_dir) as vault:
        source = library_of(vault, library)
        from tickvault.market.table import lines_of

        moment: Any = int(as_of) if as_of is not None and as_of.isdigit() else as_of
        table = source.read(
            list(symbols) if len(symbols) > 1 else symbols[0],
            schema,
            start,
            end,
            session=session,
            columns=columns or None,
            as_of=moment,
            snapshot=snapshot,
            known_at=known_at,
            venue=venue,
        )
        everything = output is not None or (as_json and rows is None)
        shown = table if everything else table.slice(0, _HEAD_ROWS if rows is None else rows)
        frame = shown.to_polars(prices="int" if integers else "float")
        if output is None and as_json:
            frame.write_ndjson(sys.stdout.buffer)
        elif output is None:
            for line in lines_of(frame):
                terminal.answer(terminal.printable(line))
            terminal.say(f"{terminal.count(len(table), 'row')}, {terminal.count(len(table.columns), 'column')}")
        else:
            _write(frame, output)
            if output != "-":
                terminal.say(f"wrote {terminal.count(len(frame), 'row')} to {output}")


def library_of(vault: Vault, name: str) -> Library:
    """Return a library that is there; raises `NotFoundError` with the names of those that are."""
    names = vault.libraries()
    if name not in names:
        there = (
            f"the libraries are {', '.join(names)}"
            if names
            else "there is none yet; tickvault ingest or simulate makes one"
        )
        raise NotFoundError(f"there is no library {name}; {there}")
    return vault.library(name)


def _write(frame: polars.DataFrame, output: str) -> None:
    if output == "-":
        frame.write_csv(sys.stdout.buffer)
        return
    part = f"{output}.part"
    try:
        match os.path.splitext(output)[1]:
            case ".csv":
                frame.write_csv(part)
            case ".jsonl":
                frame.write_ndjson(part)
            case ".parquet":
                frame.write_parquet(part)
            case _:
                frame.write_ipc(part)
        os.replace(part, output)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise
