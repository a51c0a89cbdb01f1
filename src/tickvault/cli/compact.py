"""`tickvault compact`: space back from what was deleted and overwritten.

Invariants: runs beside readers and writers; a segment goes only when all that it still held is durable
elsewhere.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.read import library_of
from tickvault.cli.records import report_record

_DEAD_RATIO_MIN = 0.3


@click.command()
@click.option("--all", "every", is_flag=True, help="Rewrite every full segment, however little of it is dead.")
@click.option("--library", metavar="NAME", help="Compress the files of a library of market data instead.")
@vault_option
@json_option
def compact(*, every: bool, library: str | None, vault_dir: str, as_json: bool) -> None:
    """Give back the space of deleted and overwritten objects.

    Segments of which at least three tenths are dead are rewritten, never the one that is being written: in a
    fresh vault even --all moves nothing. Safe while servers and other commands use the vault. What a reader
    holds stays readable; the disk gets the space back when every process that has a segment mapped has let
    go of it, a second or so later.

    With --library, each partition of its series becomes one compressed file. The files before it stay, for reads
    as of an earlier commit.

    \b
    Examples:
      tickvault compact
      tickvault compact --library cme
      tickvault compact --vault /srv/ticks --json
    """
    if library is not None:
        _compress(vault_dir, library, as_json)
        return
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


def _compress(vault_dir: str, library: str, as_json: bool) -> None:
    with open_vault(vault_dir) as vault, terminal.Progress("compact") as progress:
        report = library_of(vault, library).compact(progress=lambda done, total: progress(done, total, "series"))
    if as_json:
        terminal.answer_json({"library": library, **report._asdict()})
        return
    before, after = (terminal.format_size(size) for size in (report.bytes_before, report.bytes_after))
    files = f"{terminal.count(report.parts_before, 'file')} into {report.parts_after:,}"
    terminal.say(f"compressed {terminal.count(report.rows, 'row')} of library {library}: {files}, {before} to {after}")
