"""`tickvault rebuild-index`: a new index from the segments alone.

Invariants: the segments are only read; afterwards listings, versions and bytes are what they were.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, vault_option


@click.command("rebuild-index")
@vault_option
@json_option
def rebuild_index(vault_dir: str, as_json: bool) -> None:
    """Make the index anew from the segments.

    For a vault whose index is lost or damaged. No other process may have the vault open. The segments, which
    hold everything, are not changed.

    \b
    Examples:
      tickvault rebuild-index
      tickvault rebuild-index --vault /srv/ticks
    """
    from tickvault import vault

    with terminal.Progress("rebuild-index") as progress:
        record_count = vault.rebuild_index(vault_dir, progress=progress)
    if as_json:
        terminal.answer_json({"vault": vault_dir, "records": record_count})
    terminal.say(
        f"rebuilt the index of {vault_dir} from {terminal.count(record_count, 'record')}; "
        f"check it with: tickvault verify --vault {vault_dir}"
    )
