"""`tickvault rebuild-index`: a new index from the segments alone.

Invariants: the segments are only read; afterwards listings, versions and bytes are what they were, or the exit status
says that the segments are damaged and where.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, vault_option
from tickvault.errors import IntegrityError


@click.command("rebuild-index")
@vault_option
@json_option
def rebuild_index(vault_dir: str, as_json: bool) -> None:
    """Make the index anew from the segments.

    For a vault whose index is lost or damaged. No other process may have the vault open. The segments, which
    hold everything, are not changed. Damaged places in them are printed, one a line, and the exit status is
    then 8: the index is made all the same, and objects that are damaged answer with an error.

    \b
    Examples:
      tickvault rebuild-index
      tickvault rebuild-index --vault /srv/ticks
    """
    from tickvault.engine.recovery import damage_line
    from tickvault.objects.store import open_store

    with terminal.Progress("rebuild-index") as progress:
        store = open_store(vault_dir, create=False, rebuild=True, progress=progress)
    try:
        report = store.engine.report
    finally:
        store.close()
    places = [damage_line(place) for place in report.damage]
    if as_json:
        terminal.answer_json({"vault": vault_dir, "records": report.records, "damaged_places": places})
    else:
        for place in places:
            terminal.answer(terminal.printable(place))
    terminal.say(
        f"rebuilt the index of {vault_dir} from {terminal.count(report.records, 'record')}; "
        f"check it with: tickvault verify --vault {vault_dir}"
    )
    if places:
        raise IntegrityError(
            f"rebuild-index {vault_dir}: {terminal.count(len(places), 'damaged place')} in the segments. An object "
            "whose key was made out there answers with an error; where the key itself cannot be made out, an older "
            "version of its object may show, or one that was deleted. Restore the vault from a backup"
        )
