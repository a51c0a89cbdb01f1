"""`tickvault iam user`: who signs.

Invariants: decides nothing: `security.identity` does.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import named_force, tag_option
from tickvault.cli.iam.records import show, show_list, user_record
from tickvault.cli.options import help_without_command, json_option, open_vault, parse_pairs, vault_option


@click.group(invoke_without_command=True)
@click.pass_context
def user(context: click.Context) -> None:
    """Make, show and delete users.

    \b
    Examples:
      tickvault iam user create alice --tag desk=rates
      tickvault iam user list
    """
    help_without_command(context)


@user.command()
@click.argument("name", metavar="NAME")
@tag_option
@vault_option
@json_option
def create(name: str, tags: tuple[str, ...], vault_dir: str, as_json: bool) -> None:
    """Make a user, who may do nothing yet.

    \b
    Examples:
      tickvault iam user create alice
      tickvault iam attach reader --user alice
      tickvault iam key create --user alice
    """
    with open_vault(vault_dir) as vault:
        made = vault.identities.create_user(name, tags=parse_pairs(tags, "--tag"))
    if as_json:
        show(user_record(made), as_json=True)
    terminal.say(f"made user {name}; next: tickvault iam attach reader --user {name}")


@user.command("list")
@vault_option
@json_option
def list_(vault_dir: str, as_json: bool) -> None:
    """List users.

    \b
    Examples:
      tickvault iam user list
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.list_users()
    lines = (f"{each.name}{'  disabled' if each.disabled else ''}" for each in found)
    show_list(map(user_record, found), lines, as_json=as_json)


@user.command("show")
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def show_(name: str, vault_dir: str, as_json: bool) -> None:
    """Show a user: groups, policies, keys, tags.

    \b
    Examples:
      tickvault iam user show alice
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.get_user(name)
    show(user_record(found), as_json=as_json)


@user.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def disable(name: str, vault_dir: str, as_json: bool) -> None:
    """Refuse a user from now on.

    Refuse a user from now on, with all keys, service accounts and sessions.

    \b
    Examples:
      tickvault iam user disable alice
    """
    _switch(name, vault_dir, as_json, disabled=True)


@user.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def enable(name: str, vault_dir: str, as_json: bool) -> None:
    """Accept a user again who was disabled.

    \b
    Examples:
      tickvault iam user enable alice
    """
    _switch(name, vault_dir, as_json, disabled=False)


@user.command()
@click.argument("name", metavar="NAME")
@click.option("--force", is_flag=True, help="With keys, policies, memberships and service accounts.")
@vault_option
@json_option
def delete(name: str, force: bool, vault_dir: str, as_json: bool) -> None:
    """Delete a user.

    Delete a user; one who still holds something is refused, and told what, without --force.

    \b
    Examples:
      tickvault iam user delete alice
    """
    with open_vault(vault_dir) as vault, named_force():
        vault.identities.delete_user(name, force=force)
    if as_json:
        terminal.answer_json({"user": name, "deleted": True})
    terminal.say(f"deleted user {name}")


def _switch(name: str, vault_dir: str, as_json: bool, *, disabled: bool) -> None:
    with open_vault(vault_dir) as vault:
        found = vault.identities.set_user_disabled(name, disabled)
    if as_json:
        show(user_record(found), as_json=True)
    terminal.say(f"{'disabled' if disabled else 'enabled'} user {name}")
