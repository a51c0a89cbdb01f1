"""`tickvault symbols`: the series of a library.

Invariants: reads no rows.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import library_of


@click.command()
@library_option
@click.option("--schema", metavar="NAME", help="Only series of this schema.")
@click.option("--symbol", metavar="NAME", help="Only series of this symbol.")
@vault_option
@json_option
def symbols(*, library: str, schema: str | None, symbol: str | None, vault_dir: str, as_json: bool) -> None:
    """List the series of a library.

    Of each: venue, symbol, schema, rows, the size of its files, and the time they cover.

    \b
    Examples:
      tickvault symbols --library cme
      tickvault symbols --library lean --schema trades --json
    """
    with open_vault(vault_dir) as vault:
        target = library_of(vault, library)
        found = target.series(symbol, schema)
        if not as_json and found:
            terminal.answer(
                f"{'VENUE':<12} {'SYMBOL':<16} {'SCHEMA':<10} {'ROWS':>13} {'SIZE':>9}  {'FIRST (UTC)':<24}  LAST"
            )
        for key in found:
            stat = target.stat(key.symbol, key.schema, venue=key.venue)
            if as_json:
                terminal.answer_json(stat._asdict())
                continue
            covers = f"{terminal.format_time(stat.first_ns)}  {terminal.format_time(stat.last_ns)}" if stat.rows else ""
            terminal.answer(
                f"{terminal.printable(key.venue):<12} {terminal.printable(key.symbol):<16} {key.schema:<10} "
                f"{stat.rows:>13,} {terminal.format_size(stat.size_bytes):>9}  {covers}"
            )
