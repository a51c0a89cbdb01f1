"""`tickvault iam service-account`: keys for programs, under a user.

Invariants: decides nothing: `security.identity` does.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import description_option
from tickvault.cli.iam.records import account_record, read_policy, show, show_list
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option

_POLICY = click.option("--policy", metavar="FILE", help="What it may of what its user may (JSON); - is stdin.")


@click.group("service-account", invoke_without_command=True)
@click.pass_context
def service_account(context: click.Context) -> None:
    """Make keys for programs.

    Make service accounts: keys for programs, which never may more than their user.

    \b
    Examples:
      tickvault iam service-account create nightly --user alice
      tickvault iam key create --service-account nightly
    """
    help_without_command(context)


@service_account.command()
@click.argument("name", metavar="NAME")
@click.option("--user", metavar="NAME", required=True, help="The user under whom it is.")
@_POLICY
@description_option
@vault_option
@json_option
def create(*, name: str, user: str, policy: str | None, description: str, vault_dir: str, as_json: bool) -> None:
    """Make a service account.

    Make a service account; without --policy it may all that its user may.

    \b
    Examples:
      tickvault iam service-account create nightly --user alice --policy nightly.json
    """
    text = None if policy is None else read_policy(policy)
    with open_vault(vault_dir) as vault:
        made = vault.identities.create_service_account(name, parent=user, policy=text, description=description)
    if as_json:
        show(account_record(made), as_json=True)
    terminal.say(f"made service account {name}; next: tickvault iam key create --service-account {name}")


@service_account.command()
@click.argument("name", metavar="NAME")
@_POLICY
@vault_option
@json_option
def narrow(name: str, policy: str | None, vault_dir: str, as_json: bool) -> None:
    """Replace the policy of a service account.

    Replace the policy of a service account; without --policy, take it away.

    \b
    Examples:
      tickvault iam service-account narrow nightly --policy nightly.json
    """
    text = None if policy is None else read_policy(policy)
    with open_vault(vault_dir) as vault:
        if text is None:
            changed = vault.identities.drop_service_account_policy(name)
        else:
            changed = vault.identities.update_service_account(name, policy=text)
    if as_json:
        show(account_record(changed), as_json=True)
    terminal.say(f"service account {name} {'may all that its user may' if text is None else 'has another policy'}")


@service_account.command("list")
@click.option("--user", metavar="NAME", help="Those of this user only.")
@vault_option
@json_option
def list_(user: str | None, vault_dir: str, as_json: bool) -> None:
    """List service accounts.

    \b
    Examples:
      tickvault iam service-account list --user alice
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.list_service_accounts(parent=user)
    lines = (f"{each.name:<24}  {each.parent}{'  disabled' if each.disabled else ''}" for each in found)
    show_list(map(account_record, found), lines, as_json=as_json)


@service_account.command("show")
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def show_(name: str, vault_dir: str, as_json: bool) -> None:
    """Show a service account.

    \b
    Examples:
      tickvault iam service-account show nightly
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.get_service_account(name)
    show(account_record(found), as_json=as_json)


@service_account.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def disable(name: str, vault_dir: str, as_json: bool) -> None:
    """Refuse a service account from now on.

    Refuse a service account from now on, with its keys and sessions.

    \b
    Examples:
      tickvault iam service-account disable nightly
    """
    _switch(name, vault_dir, as_json, disabled=True)


@service_account.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def enable(name: str, vault_dir: str, as_json: bool) -> None:
    """Accept a service account again that was disabled.

    \b
    Examples:
      tickvault iam service-account enable nightly
    """
    _switch(name, vault_dir, as_json, disabled=False)


@service_account.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def delete(name: str, vault_dir: str, as_json: bool) -> None:
    """Delete a service account with its keys; its sessions end.

    \b
    Examples:
      tickvault iam service-account delete nightly
    """
    with open_vault(vault_dir) as vault:
        vault.identities.delete_service_account(name)
    if as_json:
        terminal.answer_json({"service_account": name, "deleted": True})
    terminal.say(f"deleted service account {name}")


def _switch(name: str, vault_dir: str, as_json: bool, *, disabled: bool) -> None:
    with open_vault(vault_dir) as vault:
        found = vault.identities.set_service_account_disabled(name, disabled)
    if as_json:
        show(account_record(found), as_json=True)
    terminal.say(f"{'disabled' if disabled else 'enabled'} service account {name}")
