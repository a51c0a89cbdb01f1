"""`tickvault verify`: every byte checked against its checksum.

Invariants: exits 0 only when everything was read and nothing wrong is left; damaged bytes are named and left
in place; only the index, which the segments can always make again, is mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.records import report_record
from tickvault.errors import IntegrityError
from tickvault.objects.model import NULL_VERSION

if TYPE_CHECKING:
    from tickvault.engine.scrub import ScrubReport


@click.command()
@click.option("--no-heal", is_flag=True, help="Report wrong index entries and leave them as they are.")
@vault_option
@json_option
def verify(*, no_heal: bool, vault_dir: str, as_json: bool) -> None:
    """Read everything in the vault and check it.

    Compares index and segments both ways, mends the index where the segments show that it is wrong, and
    prints each damaged object on a line of its own; the exit status is then 8. Safe while servers and other
    commands use the vault. Nothing encrypted is opened: stored bytes are held against their checksums, which whoever
    edits them on purpose can mend; `tickvault audit verify --objects --everything` finds that too.

    \b
    Examples:
      tickvault verify
      tickvault verify --vault /srv/ticks --json
    """
    with open_vault(vault_dir) as vault:
        with terminal.Progress("verify") as progress:
            report = vault.verify(heal=not no_heal, progress=progress)
        names = vault.bucket_names()
    from tickvault.engine.recovery import damage_line

    damaged = [_damaged(one, names) for one in report.damaged_objects]
    met = {damage_line(place) for place in report.damaged_places}
    noted = [line for line in report.noted_damage if line not in met]
    if as_json:
        record = report_record(report) | {"damaged_objects": damaged}
        terminal.answer_json({"vault": vault_dir, "sound": report.sound, **record})
    else:
        for one in damaged:
            version = "" if one["version_id"] == NULL_VERSION else f", version {one['version_id']}"
            terminal.answer(terminal.printable(f"{one['bucket']}/{one['key']}{version}: {one['text']}"))
        for place in report.damaged_places:
            name = f" (object {place.key.decode(errors='replace')!r})" if place.key else ""
            text = f"segment {place.segment_id}, byte {place.offset:,}: {place.text}{name}"
            terminal.answer(terminal.printable(text))
        for text in report.damaged_journals:
            terminal.answer(terminal.printable(text))
        for line in noted:
            terminal.answer(terminal.printable(f"noted by an earlier recovery: {line}"))
    _conclude(vault_dir, report, len(noted))


def _damaged(one: Any, names: dict[int, str]) -> dict[str, Any]:
    record = report_record(one)
    return {"bucket": names.get(record.pop("bucket_id"), "?"), **record}


def _entries(amount: int) -> str:
    return terminal.count(amount, "wrong index entry", "wrong index entries")


def _conclude(vault_dir: str, report: ScrubReport, noted_count: int) -> None:
    checked = terminal.count(report.objects, "object")
    if report.healed:
        terminal.say(f"mended {_entries(report.healed)}")
    if report.sound:
        live = f", {terminal.count(report.journal_rows, 'live row')}" if report.journal_rows else ""
        terminal.say(f"{vault_dir} is sound: {checked} in {terminal.count(report.records, 'record')}{live} checked")
        return
    faults = []
    if report.damaged_objects:
        faults.append(f"{len(report.damaged_objects):,} of {checked} damaged")
    if report.damaged_places:
        faults.append(f"{terminal.count(len(report.damaged_places), 'damaged place')} in the segments")
    if report.damaged_journals:
        faults.append(f"{terminal.count(len(report.damaged_journals), 'damaged place')} in the journals of live rows")
    if noted_count:
        faults.append(
            f"{terminal.count(noted_count, 'damaged place')} that a recovery went around; restore a backup, or remove "
            "damage.txt from the vault's folder to accept the loss"
        )
    if left := report.index_differences - report.healed:
        advice = (
            "beside the damage the segments do not prove what is right: restore a backup or put the objects again"
            if report.damaged_places
            else "to mend them run it without --no-heal"
        )
        faults.append(f"{_entries(left)}; {advice}")
    raise IntegrityError(f"verify {vault_dir}: {'; '.join(faults)}")
