"""`tickvault read`: rows of a series as text, CSV, JSON lines or Parquet.

Invariants: rows come in the library's order; a file is written whole or not at all; what goes to a pipe goes through
Python's own stream, a slice of rows at a time.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import polars

    from tickvault.market.library import Library
    from tickvault.market.table import Numbers, Table
    from tickvault.vault import Vault

_HEAD_ROWS = 10
_SLICE_ROWS = 65_536
#: A keyword that the library's errors name, and the option that it is here.
_KEYWORD = re.compile(r"\b(with|name|give) (venue|session|snapshot|start|end|columns|as_of|known_at)=(?![\w\"'\[{])")
_FORMATS = (".csv", ".jsonl", ".parquet", ".arrow")


#: A mapping of columns that they write out.
_MAPPING = re.compile(r'columns=\{"([^"]+)": "([^"]+)"\}')


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
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Print so many rows, from the begin.  [default: {_HEAD_ROWS}]",
)
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
        moment: Any = int(as_of) if as_of is not None and as_of.isdigit() else as_of
        with naming_options():
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
        prices: Numbers = "int" if integers else "float"
        if output == "-" or (output is None and as_json):
            _stream(shown, prices, as_json=output is None)
        elif output is None:
            frame = shown.to_polars(prices=prices)
            answer_rows(frame, columns_shown(frame))
            terminal.say(f"{terminal.count(len(table), 'row')}, {terminal.count(len(table.columns), 'column')}")
        else:
            _write(shown.to_polars(prices=prices), output)
            terminal.say(f"wrote {terminal.count(len(shown), 'row')} to {output}")


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


@contextmanager
def naming_options() -> Iterator[None]:
    """Let the library's errors name options where they name keywords: --venue for venue=."""
    try:
        yield
    except InvalidInputError as error:
        option = {"columns": "column"}
        told = _KEYWORD.sub(
            lambda found: f"{found[1]} --{option.get(found[2], found[2]).replace('_', '-')}", str(error)
        )
        raise InvalidInputError(_MAPPING.sub(r"--column \1=\2", told)) from error


def columns_shown(frame: polars.DataFrame) -> list[str]:
    """Return the columns that fit the terminal, with a word on the others; all of them where there is no terminal."""
    from tickvault.market.table import columns_that_fit

    if not sys.stdout.isatty():
        return frame.columns
    fitting = columns_that_fit(frame, shutil.get_terminal_size().columns)
    if len(fitting) < frame.width:
        terminal.say(f"{len(fitting)} of {frame.width} columns fit the terminal; --column NAME chooses others")
    return fitting


def answer_rows(frame: polars.DataFrame, names: Sequence[str], *, header: bool = True) -> None:
    """Print rows as a table."""
    from tickvault.market.table import lines_of

    for line in lines_of(frame.select(names))[not header :]:
        terminal.answer(terminal.printable(line))


def answer_json(frame: polars.DataFrame) -> None:
    """Print rows as JSON lines."""
    # polars would write to the pipe itself, and tell of one that is closed in words of its own.
    made = io.BytesIO()
    frame.write_ndjson(made)
    sys.stdout.buffer.write(made.getbuffer())


def _stream(table: Table, prices: Numbers, *, as_json: bool) -> None:
    for begin in range(0, max(len(table), 1), _SLICE_ROWS):
        frame = table.slice(begin, begin + _SLICE_ROWS).to_polars(prices=prices)
        if as_json:
            answer_json(frame)
            continue
        made = io.BytesIO()
        frame.write_csv(made, include_header=begin == 0)
        sys.stdout.buffer.write(made.getbuffer())


def _write(frame: polars.DataFrame, output: str) -> None:
    part = f"{output}.part"
    try:
        with open(part, "wb"):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None
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
