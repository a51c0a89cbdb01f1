"""`tickvault subscribe`: live rows of a series as they are committed.

Invariants: a row is printed once, in the order of its sequence; what was printed was committed.
"""

from __future__ import annotations

import sys
import time

import click

from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import answer_json, answer_rows, columns_shown, library_of, naming_options


@click.command()
@click.argument("symbol", metavar="SYMBOL")
@click.argument("schema", metavar="SCHEMA")
@library_option
@click.option(
    "--from-sequence",
    type=click.IntRange(min=0),
    metavar="N",
    help="Begin with this row; by default with the next one.",
)
@click.option("--rows", type=click.IntRange(min=0), metavar="N", help="End after so many rows.")
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
    on where a run stopped. Begun with an earlier number, it gives every row that was appended, also those that were
    corrected or deleted since.

    \b
    Examples:
      tickvault subscribe ESH4 trades --library live
      tickvault subscribe ESH4 trades --library live --from-sequence 0 --json
    """
    with open_vault(vault_dir) as vault:
        target = library_of(vault, library)
        left = rows
        quiet_since = time.monotonic()
        there: list[str] = []
        names: list[str] = []
        with naming_options():
            opened = target.subscribe(symbol, schema, from_sequence=from_sequence, venue=venue)
        with opened as subscription:
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
                    answer_json(frame.with_columns(numbers))
                    sys.stdout.buffer.flush()
                    continue
                is_new = frame.columns != there
                if is_new:
                    there, names = frame.columns, columns_shown(frame)
                answer_rows(frame, names, header=is_new)
                sys.stdout.flush()
