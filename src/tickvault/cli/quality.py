"""`tickvault quality`: what could not be decoded, and what rules flagged.

Invariants: the bytes are shown as they came, escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import library_of

if TYPE_CHECKING:
    from tickvault.market.validate import LedgerEntry

_SHOWN_BYTES = 120


@click.command()
@library_option
@click.option("--flags", is_flag=True, help="List the reports that tickvault validate --record has kept instead.")
@click.option("--symbol", metavar="NAME", help="With --flags: only reports of this symbol.")
@click.option("--schema", metavar="NAME", help="With --flags: only reports of this schema.")
@vault_option
@json_option
def quality(
    *, library: str, flags: bool, symbol: str | None, schema: str | None, vault_dir: str, as_json: bool
) -> None:
    """List rows that could not be decoded, or were flagged.

    Of each row in quarantine: the file, its number there, the reason, and its bytes. With --flags: of each report the
    series, when it was made, and the rules that flagged rows, with their counts.

    \b
    Examples:
      tickvault quality --library sse
      tickvault quality --library sse --json | jq .reason
      tickvault quality --library eod --flags --symbol AAPL
    """
    with open_vault(vault_dir) as vault:
        target = library_of(vault, library)
        if flags:
            from tickvault.market.validate import ledger

            _flags(list(ledger(vault.bucket(f"library-{library}"), symbol, schema)), as_json)
            return
        if symbol or schema:
            raise click.UsageError("--symbol and --schema go with --flags: rows in quarantine are of no series")
        amount = 0
        for row in target.quarantine():
            amount += 1
            text = row.raw.decode("utf-8", "backslashreplace")
            if as_json:
                terminal.answer_json({"path": row.path, "row": row.row, "reason": row.reason, "raw": text})
                continue
            shown = terminal.printable(text if len(text) <= _SHOWN_BYTES else text[:_SHOWN_BYTES] + "…")
            terminal.answer(f"{terminal.printable(row.path)} row {row.row:,}: {row.reason}: {shown}")
    terminal.say(f"{terminal.count(amount, 'row')} in quarantine")


def _flags(entries: list[LedgerEntry], as_json: bool) -> None:
    if entries and not as_json:
        head = f"{'VENUE':<12} {'SYMBOL':<16} {'SCHEMA':<10} {'RECORDED (UTC)':<24} {'RULE':<20}"
        terminal.answer(f"{head} {'SEVERITY':<8} {'ROWS':>12} {'SHARE':>8}")
    for entry in entries:
        if as_json:
            told = {"number": entry.number, "commit": entry.commit, "recorded_ns": entry.recorded_ns}
            terminal.answer_json(told | entry.report.to_dict())
            continue
        when = terminal.format_time(entry.recorded_ns)
        name = f"{terminal.printable(entry.key.venue):<12} {terminal.printable(entry.key.symbol):<16}"
        for result in entry.report.flagged:
            terminal.answer(
                f"{name} {entry.key.schema:<10} {when:<24} {result.rule:<20} {result.severity:<8} "
                f"{result.count:>12,} {result.share:>8.2%}"
            )
        if not entry.report.flagged:
            terminal.answer(f"{name} {entry.key.schema:<10} {when:<24} nothing flagged")
    terminal.say(f"{terminal.count(len(entries), 'report')} in the ledger")
