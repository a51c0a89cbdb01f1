"""`tickvault compact`: space back from what was deleted and overwritten.

Invariants: runs beside readers and writers; a segment goes only when all that it still held is durable
elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.read import library_of
from tickvault.cli.records import report_record
from tickvault.errors import IntegrityError

if TYPE_CHECKING:
    from tickvault.market.compaction import CompactReport

_DEAD_RATIO_MIN = 0.3


@click.command()
@click.option("--all", "every", is_flag=True, help="Rewrite every full segment, however little of it is dead.")
@click.option("--library", metavar="NAME", help="Make one file of each partition of a library's series instead.")
@click.option("--warm", is_flag=True, help="With --library: files that are mapped, not compressed ones.")
@click.option("--older-than", metavar="DAY", help="With --library: only partitions that end before this day.")
@click.option("--prune", is_flag=True, help="With --library: delete what was replaced or deleted, too.")
@vault_option
@json_option
def compact(
    *,
    every: bool,
    library: str | None,
    warm: bool,
    older_than: str | None,
    prune: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Give back the space of deleted and overwritten objects.

    Segments of which at least three tenths are dead are rewritten, never the one that is being written: in a
    fresh vault even --all moves nothing. Safe while servers and other commands use the vault. What a reader
    holds stays readable; the disk gets the space back when every process that has a segment mapped has let
    go of it, a second or so later.

    With --library, live rows and the files of each partition (a UTC day of ticks) become one file, compressed unless
    --warm is given; reads give the same rows, also as of an earlier commit. The space that the files before it took is
    given back by the next tickvault compact without --library.

    \b
    Examples:
      tickvault compact
      tickvault compact --library cme
      tickvault compact --library cme --older-than 2026-01-01
      tickvault compact --vault /srv/ticks --json
    """
    if library is not None:
        _compact_library(vault_dir, library, "warm" if warm else "cold", older_than, prune, as_json)
        return
    if warm or older_than or prune:
        raise click.UsageError("--warm, --older-than and --prune go with --library")
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


def _compact_library(
    vault_dir: str, library: str, tier: Literal["warm", "cold"], older_than: str | None, prune: bool, as_json: bool
) -> None:
    with open_vault(vault_dir) as vault, terminal.Progress("compact") as progress:
        target = library_of(vault, library)
        report = target.compact(
            tier=tier, older_than=older_than, progress=lambda done, total: progress(done, total, "series")
        )
        pruned = target.prune() if prune else (0, 0)
    if as_json:
        failed = [{"series": str(key), "reason": reason} for key, reason in report.failed]
        told = {
            "library": library,
            **report._asdict(),
            "failed": failed,
            "parts_pruned": pruned[0],
            "bytes_pruned": pruned[1],
        }
        terminal.answer_json(told)
        _fail(library, report)
        return
    before, after = (terminal.format_size(size) for size in (report.bytes_before, report.bytes_after))
    files = f"{terminal.count(report.parts_before, 'file')} into {report.parts_after:,}"
    terminal.say(f"compacted {terminal.count(report.rows, 'row')} of library {library}: {files}, {before} to {after}")
    if prune:
        terminal.say(f"pruned {terminal.count(pruned[0], 'file')}, {terminal.format_size(pruned[1])}")
    _fail(library, report)


def _fail(library: str, report: CompactReport) -> None:
    for key, reason in report.failed:
        terminal.say(terminal.printable(f"left as it is: {key}: {reason}"))
    if report.failed:
        count = terminal.count(len(report.failed), "series", "series")
        raise IntegrityError(f"compact --library {library}: {count} could not be read, the others were compacted")
