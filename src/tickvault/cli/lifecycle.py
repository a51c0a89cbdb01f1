"""`tickvault lifecycle`: the lifecycle rules of all buckets, applied now.

Invariants: does what the rules say and nothing more; a second run at the same time finds nothing left to do.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option
from tickvault.cli.records import report_record
from tickvault.errors import TickVaultError


@click.group(invoke_without_command=True)
@click.pass_context
def lifecycle(context: click.Context) -> None:
    """Apply the rules that expire objects.

    \b
    Examples:
      tickvault lifecycle run
    """
    help_without_command(context)


@lifecycle.command()
@vault_option
@json_option
def run(vault_dir: str, as_json: bool) -> None:
    """Apply the lifecycle rules of every bucket once.

    They expire objects, remove old versions and abort unfinished uploads. Rules are set over S3
    (PutBucketLifecycleConfiguration). Run it from a timer if no server runs.

    \b
    Examples:
      tickvault lifecycle run
      tickvault lifecycle run --vault /srv/ticks --json
    """
    from tickvault.objects.lifecycle import run_lifecycle

    with open_vault(vault_dir) as vault, terminal.Progress("lifecycle") as progress:
        report = run_lifecycle(vault.store, progress=progress)
    if as_json:
        terminal.answer_json({"vault": vault_dir, **report_record(report)})
    buckets = terminal.count(len(report.buckets), "bucket")
    terminal.say(f"applied the lifecycle rules of {buckets}: {terminal.count(report.change_count, 'change')}")
    unfinished = [f"{one.bucket}: {one.error}" for one in report.buckets if one.error is not None]
    if unfinished:
        raise TickVaultError(f"lifecycle run did not finish; {'; '.join(unfinished)}")
