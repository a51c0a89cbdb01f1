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
@json_option
def restore(source: str, destination: str, as_json: bool) -> None:
    """Make a vault in DIR from a backup.

    DIR must be missing or empty.

    \b
    Examples:
      tickvault restore /mnt/backup/ticks ./restored
      tickvault ls --vault ./restored
    """
    from tickvault import vault

    with terminal.Progress("restore") as progress:
        report = vault.restore(source, destination, progress=progress)
    if as_json:
        terminal.answer_json({"backup": source, "vault": destination, **report_record(report)})
    terminal.say(f"restored {source} to {destination}: {terminal.format_size(report.bytes_copied)}, verified")
