"""`tickvault hold`: legal holds, which keep a version until they are taken off.

Invariants: decides nothing: the vault's guard does; a hold and a retention know nothing of each other.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option, version_id_option
from tickvault.cli.places import parse_object
from tickvault.cli.records import object_lock_record


@click.group(invoke_without_command=True)
@click.pass_context
def hold(context: click.Context) -> None:
    """Keep a version until the hold is taken off again.

    \b
    Examples:
      tickvault hold place orders/2026/1
      tickvault hold show orders/2026/1
      tickvault hold release orders/2026/1
    """
    help_without_command(context)


@hold.command()
@click.argument("place", metavar="BUCKET/KEY")
@version_id_option
@vault_option
@json_option
def place(place: str, version_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Place a legal hold on a version.

    \b
    Examples:
      tickvault hold place orders/2026/1
      tickvault hold place orders/2026/1 --version-id 000000000001f3a2
    """
    _set(place, version_id, vault_dir, as_json, on=True)


@hold.command()
@click.argument("place", metavar="BUCKET/KEY")
@version_id_option
@vault_option
@json_option
def release(place: str, version_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Take a legal hold off a version.

    \b
    Examples:
      tickvault hold release orders/2026/1
    """
    _set(place, version_id, vault_dir, as_json, on=False)


@hold.command()
@click.argument("place", metavar="BUCKET/KEY")
@version_id_option
@vault_option
@json_option
def show(place: str, version_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Show whether a legal hold is on a version.

    \b
    Examples:
      tickvault hold show orders/2026/1
      tickvault hold show orders/2026/1 --json
    """
    where = parse_object(place)
    with open_vault(vault_dir) as vault:
        info = vault.store.bucket(where.bucket).head(where.key, version_id=version_id)
    if as_json:
        terminal.answer_json(object_lock_record(where.bucket, info))
    else:
        terminal.answer("on" if info.legal_hold else "off")


def _set(text: str, version_id: str | None, vault_dir: str, as_json: bool, *, on: bool) -> None:
    where = parse_object(text)
    with open_vault(vault_dir) as vault:
        info = vault.store.bucket(where.bucket).hold(where.key, version_id, on)
    if as_json:
        terminal.answer_json(object_lock_record(where.bucket, info))
    name = terminal.printable(f"{where.bucket}/{info.key}")
    terminal.say(f"{'placed a legal hold on' if on else 'took the legal hold off'} {name} version {info.version_id}")
