"""`tickvault backup`: a copy of a live vault.

Invariants: the vault stays in use; the copy holds everything acknowledged before the command began, verified.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.records import report_record


@click.command()
@click.argument("destination", metavar="DESTINATION")
@vault_option
@json_option
def backup(destination: str, vault_dir: str, as_json: bool) -> None:
    """Copy a vault while it is in use.

    DESTINATION is a folder. A second backup to the same folder copies only what has come since. Do not copy
    a live vault by other means: files that change while they are copied do not fit together.

    \b
    Examples:
      tickvault backup /mnt/backup/ticks
      tickvault backup --vault /srv/ticks /mnt/backup/ticks --json
    """
    with open_vault(vault_dir) as vault, terminal.Progress("backup") as progress:
        report = vault.backup(destination, progress=progress)
    if as_json:
        terminal.answer_json({"vault": vault_dir, "backup": destination, **report_record(report)})
    copied, total = terminal.format_size(report.bytes_copied), terminal.format_size(report.bytes_total)
    terminal.say(f"backed up {vault_dir} to {destination}: {copied} copied, {total} in all")
