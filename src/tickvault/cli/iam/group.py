"""`tickvault iam group`: policies that several users share.

Invariants: decides nothing: `security.identity` does.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.records import group_record, show, show_list
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option


@click.group(invoke_without_command=True)
@click.pass_context
def group(context: click.Context) -> None:
    """Make groups, and put users into them.

    \b
    Examples:
      tickvault iam group create quants
      tickvault iam group add quants alice
    """
    help_without_command(context)


@group.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def create(name: str, vault_dir: str, as_json: bool) -> None:
    """Make a group.

    \b
    Examples:
      tickvault iam group create quants
      tickvault iam attach reader --group quants
    """
    with open_vault(vault_dir) as vault:
        made = vault.identities.create_group(name)
    if as_json:
        show(group_record(made), as_json=True)
    terminal.say(f"made group {name}")


@group.command("list")
@vault_option
@json_option
def list_(vault_dir: str, as_json: bool) -> None:
    """List groups.

    \b
    Examples:
      tickvault iam group list
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.list_groups()
    show_list(map(group_record, found), (each.name for each in found), as_json=as_json)


@group.command("show")
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def show_(name: str, vault_dir: str, as_json: bool) -> None:
    """Show a group, its policies and its members.

    \b
    Examples:
      tickvault iam group show quants
    """
    with open_vault(vault_dir) as vault:
        record = group_record(vault.identities.get_group(name), vault.identities.group_members(name))
    show(record, as_json=as_json)


@group.command()
@click.argument("name", metavar="GROUP")
@click.argument("user", metavar="USER")
@vault_option
@json_option
def add(name: str, user: str, vault_dir: str, as_json: bool) -> None:
    """Put a user into a group.

    \b
    Examples:
      tickvault iam group add quants alice
    """
    with open_vault(vault_dir) as vault:
        vault.identities.add_user_to_group(user, name)
    if as_json:
        terminal.answer_json({"group": name, "user": user, "member": True})
    terminal.say(f"user {user} is in group {name}")


@group.command()
@click.argument("name", metavar="GROUP")
@click.argument("user", metavar="USER")
@vault_option
@json_option
def remove(name: str, user: str, vault_dir: str, as_json: bool) -> None:
    """Take a user out of a group.

    \b
    Examples:
      tickvault iam group remove quants alice
    """
    with open_vault(vault_dir) as vault:
        vault.identities.remove_user_from_group(user, name)
    if as_json:
        terminal.answer_json({"group": name, "user": user, "member": False})
    terminal.say(f"user {user} is not in group {name}")


@group.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def delete(name: str, vault_dir: str, as_json: bool) -> None:
    """Delete a group that nobody is in.

    \b
    Examples:
      tickvault iam group delete quants
    """
    with open_vault(vault_dir) as vault:
        vault.identities.delete_group(name)
    if as_json:
        terminal.answer_json({"group": name, "deleted": True})
    terminal.say(f"deleted group {name}")
