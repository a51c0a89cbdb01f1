"""`tickvault iam policy`: managed policies.

Invariants: decides nothing: `security.policy` says what is wrong in a text, and what was likely not meant.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import description_option
from tickvault.cli.iam.records import policy_record, pretty_policy, read_policy, show, show_list
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option


@click.group(invoke_without_command=True)
@click.pass_context
def policy(context: click.Context) -> None:
    """Make, show and change policies.

    \b
    Examples:
      tickvault iam policy create own-folder own-folder.json
      tickvault iam policy show reader
    """
    help_without_command(context)


@policy.command()
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="FILE")
@description_option
@vault_option
@json_option
def create(name: str, file: str, description: str, vault_dir: str, as_json: bool) -> None:
    """Make a policy of a file of JSON; - is stdin.

    \b
    Examples:
      tickvault iam policy create own-folder own-folder.json --description "A folder for each user"
      tickvault iam attach own-folder --group quants
    """
    text = read_policy(file)
    with open_vault(vault_dir) as vault:
        made = vault.identities.create_policy(name, text, description=description)
    _warn(text)
    if as_json:
        show(policy_record(made), as_json=True)
    terminal.say(f"made policy {name}")


@policy.command()
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="FILE")
@click.option("--expect", type=int, metavar="REVISION", help="Only if it has this revision (policy show).")
@vault_option
@json_option
def update(name: str, file: str, expect: int | None, vault_dir: str, as_json: bool) -> None:
    """Replace the text of a policy, for all who have it.

    \b
    Examples:
      tickvault iam policy update own-folder own-folder.json
    """
    text = read_policy(file)
    with open_vault(vault_dir) as vault:
        changed = vault.identities.update_policy(name, text, expect=expect)
    _warn(text)
    if as_json:
        show(policy_record(changed), as_json=True)
    terminal.say(f"changed policy {name}")


@policy.command("list")
@vault_option
@json_option
def list_(vault_dir: str, as_json: bool) -> None:
    """List policies, those out of the box first.

    \b
    Examples:
      tickvault iam policy list
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.list_policies()
    lines = (f"{each.name:<24}  {'built in' if each.built_in else each.description}".rstrip() for each in found)
    show_list(map(policy_record, found), lines, as_json=as_json)


@policy.command("show")
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def show_(name: str, vault_dir: str, as_json: bool) -> None:
    """Show the text of a policy, and who has it.

    \b
    Examples:
      tickvault iam policy show reader
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.get_policy(name)
        holders = vault.identities.policy_holders(name)
    if as_json:
        terminal.answer_json({**policy_record(found, text=True), "holders": holders})
        return
    terminal.answer(pretty_policy(found.text))
    terminal.say(f"held by {', '.join(holders)}" if holders else "nobody has it")


@policy.command()
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def delete(name: str, vault_dir: str, as_json: bool) -> None:
    """Delete a policy that nobody has.

    \b
    Examples:
      tickvault iam policy delete own-folder
    """
    with open_vault(vault_dir) as vault:
        vault.identities.delete_policy(name)
    if as_json:
        terminal.answer_json({"policy": name, "deleted": True})
    terminal.say(f"deleted policy {name}")


def _warn(text: str) -> None:
    from tickvault.security.policy import parse_policy

    for warning in parse_policy(text, kind="identity").warnings:
        terminal.say(f"warning: {warning}")
