"""`tickvault restore`: a vault from a backup.

Invariants: every byte is verified; an existing vault is never written over.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option
from tickvault.cli.records import report_record


@click.command()
@click.argument("source", metavar="BACKUP")
@click.argument("destination", metavar="DIR")
@click.option(
    "--without-trail",
    is_flag=True,
    help="Leave its audit trail out, where that is damaged or lost: the vault begins a new one, which says so.",
)
@json_option
def restore(source: str, destination: str, without_trail: bool, as_json: bool) -> None:
    """Make a vault in DIR from a backup, with its audit trail.

    DIR must be missing or empty. Where a byte is not what was backed up, nothing is left in it.

    \b
    Examples:
      tickvault restore /mnt/backup/ticks ./restored
      tickvault ls --vault ./restored
    """
    from tickvault import vault

    with terminal.Progress("restore") as progress:
        report = vault.restore(source, destination, trail=not without_trail, progress=progress)
    if as_json:
        terminal.answer_json({"backup": source, "vault": destination, **report_record(report)})
    kept = ", without its audit trail: a new one was begun" if without_trail else ""
    terminal.say(f"restored {source} to {destination}: {terminal.format_size(report.bytes_copied)}, verified{kept}")
