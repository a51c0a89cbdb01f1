"""`tickvault iam key`: access keys.

Invariants: a secret is shown once, or written into one new file; nothing here can show it again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import (
    account_option,
    description_option,
    expires_option,
    one_owner,
    parse_expires,
    secret_file_option,
    user_option,
)
from tickvault.cli.iam.records import key_record, show, show_list
from tickvault.cli.iam.secret import file_for_secret, hand_out
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option

if TYPE_CHECKING:
    from tickvault.security.identity import AccessKey


@click.group(invoke_without_command=True)
@click.pass_context
def key(context: click.Context) -> None:
    """Make, rotate and stop access keys.

    \b
    Examples:
      tickvault iam key create --user alice
      tickvault iam key rotate TVAKEXAMPLEEXAMPLE22 --grace 86400
    """
    help_without_command(context)


@key.command()
@user_option
@account_option
@expires_option
@description_option
@secret_file_option
@vault_option
@json_option
def create(
    *,
    user: str | None,
    account: str | None,
    expires: str | None,
    description: str,
    secret_file: str | None,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Make an access key.

    Make an access key of a user or a service account; its secret is shown this once.

    \b
    Examples:
      tickvault iam key create --user alice
      tickvault iam key create --service-account nightly --expires 2030-12-31 --secret-file nightly.credentials
    """
    one_owner(user, account)
    expires_ns = parse_expires(expires)
    with file_for_secret(secret_file) as fd, open_vault(vault_dir) as vault:
        made = vault.identities.create_access_key(
            user, service_account=account, expires_ns=expires_ns, description=description
        )
        hand_out(key_record(made.key), made.secret.reveal(), fd=fd, path=secret_file, as_json=as_json)


@key.command()
@click.argument("key_id", metavar="KEY")
@click.option("--grace", type=int, default=0, metavar="SECONDS", help="How long the old key is still accepted.")
@expires_option
@secret_file_option
@vault_option
@json_option
def rotate(
    *, key_id: str, grace: int, expires: str | None, secret_file: str | None, vault_dir: str, as_json: bool
) -> None:
    """Make a key in place of another.

    Make a key in place of another, which ends at once, or after --grace.

    \b
    Examples:
      tickvault iam key rotate TVAKEXAMPLEEXAMPLE22
      tickvault iam key rotate TVAKEXAMPLEEXAMPLE22 --grace 86400
    """
    expires_ns = parse_expires(expires)
    with file_for_secret(secret_file) as fd, open_vault(vault_dir) as vault:
        made = vault.identities.rotate_access_key(key_id, grace_s=grace, expires_ns=expires_ns)
        hand_out(key_record(made.key), made.secret.reveal(), fd=fd, path=secret_file, as_json=as_json)


@key.command("list")
@user_option
@account_option
@vault_option
@json_option
def list_(user: str | None, account: str | None, vault_dir: str, as_json: bool) -> None:
    """List access keys.

    List the access keys of a user or a service account, or all of the vault, with when each was last used. One is
    unreadable if its secret cannot be opened: security/sealing.key is missing or another one, and nobody can sign with
    the key.

    \b
    Examples:
      tickvault iam key list
      tickvault iam key list --user alice
    """
    with open_vault(vault_dir) as vault:
        identities = vault.identities
        owners: list[tuple[str | None, str | None]] = [(user, account)]
        if user is None and account is None:
            owners = [(each.name, None) for each in identities.list_users() if each.access_keys]
            owners += [(None, each.name) for each in identities.list_service_accounts() if each.access_keys]
        else:
            one_owner(user, account)
        found: list[AccessKey] = []
        unreadable: dict[str, str] = {}
        for of_user, of_account in owners:
            found += identities.list_access_keys(of_user, service_account=of_account)
            unreadable |= identities.unreadable_access_keys(of_user, service_account=of_account)
    lines = []
    now_ns = time.time_ns()
    for each in found:
        used = "never used" if each.last_used_ns is None else f"used {terminal.format_time(each.last_used_ns)}"
        state = "disabled" if each.disabled else "active"
        if each.expires_ns is not None and not each.disabled:
            ended = each.expires_ns <= now_ns
            state = f"{'expired' if ended else 'until'} {terminal.format_time(each.expires_ns)}"
        if each.id in unreadable:
            state = "disabled, unreadable" if each.disabled else "unreadable"
        owner = "" if user or account else f"{each.owner_kind.replace('-', ' ')} {each.owner}  "
        lines.append(f"{each.id}  {owner}{state}  {used}  {each.description}".rstrip())
    records = ({**key_record(each), "unreadable": each.id in unreadable} for each in found)
    show_list(records, lines, as_json=as_json)
    if unreadable:
        terminal.say(f"unreadable: {terminal.printable(next(iter(unreadable.values())))}")


@key.command()
@click.argument("key_id", metavar="KEY")
@vault_option
@json_option
def disable(key_id: str, vault_dir: str, as_json: bool) -> None:
    """Refuse a key from now on.

    Refuse a key from now on; sessions begun with it go on, see revoke-sessions.

    \b
    Examples:
      tickvault iam key disable TVAKEXAMPLEEXAMPLE22
    """
    _switch(key_id, vault_dir, as_json, disabled=True)


@key.command()
@click.argument("key_id", metavar="KEY")
@vault_option
@json_option
def enable(key_id: str, vault_dir: str, as_json: bool) -> None:
    """Accept a key again that was disabled.

    \b
    Examples:
      tickvault iam key enable TVAKEXAMPLEEXAMPLE22
    """
    _switch(key_id, vault_dir, as_json, disabled=False)


@key.command()
@click.argument("key_id", metavar="KEY")
@vault_option
@json_option
def delete(key_id: str, vault_dir: str, as_json: bool) -> None:
    """Delete a key for good.

    \b
    Examples:
      tickvault iam key delete TVAKEXAMPLEEXAMPLE22
    """
    with open_vault(vault_dir) as vault:
        vault.identities.delete_access_key(key_id)
    if as_json:
        terminal.answer_json({"access_key": key_id, "deleted": True})
    terminal.say(f"deleted access key {key_id}")


def _switch(key_id: str, vault_dir: str, as_json: bool, *, disabled: bool) -> None:
    with open_vault(vault_dir) as vault:
        found = vault.identities.set_access_key_disabled(key_id, disabled)
    if as_json:
        show(key_record(found), as_json=True)
    terminal.say(f"{'disabled' if disabled else 'enabled'} access key {key_id}")
