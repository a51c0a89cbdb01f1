"""`tickvault subscribe`: live rows of a series as they are committed.

Invariants: a row is printed once, in the order of its sequence; what was printed was committed.
"""

from __future__ import annotations

import sys
import time

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import library_of


@click.command()
@click.argument("symbol", metavar="SYMBOL")
@click.argument("schema", metavar="SCHEMA")
@library_option
@click.option("--from-sequence", type=int, metavar="N", help="Begin with this row; by default with the next one.")
@click.option("--rows", type=int, metavar="N", help="End after so many rows.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End when nothing came for so long.")
@click.option("--venue", metavar="NAME", help="Where the symbol is traded, if at several.")
@vault_option
@json_option
def subscribe(
    *,
    symbol: str,
    schema: str,
    library: str,
    from_sequence: int | None,
    rows: int | None,
    timeout: float | None,
    venue: str | None,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Print the rows of a series as they are appended.

    Any process may append them; Ctrl-C ends it. Live rows of a series are numbered from 0, and --from-sequence begins
    with an earlier one. With --json each row is an object with its number, sequence_live; the one after the last goes
    on where a run stopped.

    \b
    Examples:
      tickvault subscribe ESH4 trades --library live
      tickvault subscribe ESH4 trades --library live --from-sequence 0 --json
    """
    with open_vault(vault_dir) as vault:
        target = library_of(vault, library)
        from tickvault.market.table import lines_of

        left = rows
        quiet_since = time.monotonic()
        has_header = False
        with target.subscribe(symbol, schema, from_sequence=from_sequence, venue=venue) as subscription:
            while left is None or left > 0:
                table = subscription.get(timeout=0.2)
                if table is None:
                    if timeout is not None and time.monotonic() - quiet_since > timeout:
                        break
                    continue
                quiet_since = time.monotonic()
                shown = table if left is None else table.slice(0, left)
                left = None if left is None else left - len(shown)
                frame = shown.to_polars()
                if as_json:
                    import polars as pl

                    first = table.sequence or 0
                    numbers = pl.int_range(first, first + len(frame), eager=True).alias("sequence_live")
                    frame.with_columns(numbers).write_ndjson(sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                    continue
                for line in lines_of(frame)[has_header:]:
                    terminal.answer(terminal.printable(line))
                has_header = True
                sys.stdout.flush()
