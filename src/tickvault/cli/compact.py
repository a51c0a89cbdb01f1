"""`tickvault compact`: space back from what was deleted and overwritten.

Invariants: runs beside readers and writers; a segment goes only when all that it still held is durable
elsewhere.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.records import report_record

_DEAD_RATIO_MIN = 0.3


@click.command()
@click.option("--all", "every", is_flag=True, help="Rewrite every full segment, however little of it is dead.")
@vault_option
@json_option
def compact(*, every: bool, vault_dir: str, as_json: bool) -> None:
    """Give back the space of deleted and overwritten objects.

    Segments of which at least three tenths are dead are rewritten, never the one that is being written: in a
    fresh vault even --all moves nothing. Safe while servers and other commands use the vault. What a reader
    holds stays readable; the disk gets the space back when every process that has a segment mapped has let
    go of it, a second or so later.

    \b
    Examples:
      tickvault compact
      tickvault compact --vault /srv/ticks --json
    """
    with open_vault(vault_dir) as vault, terminal.Progress("compact") as progress:
        report = vault.compact(dead_ratio_min=0.0 if every else _DEAD_RATIO_MIN, progress=progress)
    if as_json:
        terminal.answer_json({"vault": vault_dir, **report_record(report)})
    freed = terminal.format_size(max(report.bytes_freed, 0))
    retired = terminal.count(report.segments_retired, "segment")
    moved = terminal.count(report.records_moved, "record")
    terminal.say(f"compacted {vault_dir}: {freed} freed, {retired} retired, {moved} moved")
    if report.segments_damaged:
        damaged = terminal.count(len(report.segments_damaged), "damaged segment")
        terminal.say(f"{damaged} left alone; run: tickvault verify --vault {vault_dir}")
