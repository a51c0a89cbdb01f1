"""`tickvault iam role`: what somebody may become for a while.

Invariants: decides nothing: `security.identity` does.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import description_option, named_force, tag_option
from tickvault.cli.iam.records import read_policy, role_record, show, show_list
from tickvault.cli.options import help_without_command, json_option, open_vault, parse_pairs, vault_option

_TRUST = click.option(
    "--trust", metavar="FILE", help="Trust policy (JSON): who may assume it; - is stdin.", required=True
)
_DURATION = click.option(
    "--max-duration", type=int, default=3600, show_default=True, metavar="SECONDS", help="Longest session, to 43,200."
)


@click.group(invoke_without_command=True)
@click.pass_context
def role(context: click.Context) -> None:
    """Make roles, which users assume for a while.

    \b
    Examples:
      tickvault iam role create loader --trust trust.json
      tickvault iam attach writer --role loader
    """
    help_without_command(context)


@role.command()
@click.argument("name", metavar="NAME")
@_TRUST
@_DURATION
@description_option
@tag_option
@vault_option
@json_option
def create(
    *,
    name: str,
    trust: str,
    max_duration: int,
    description: str,
    tags: tuple[str, ...],
    vault_dir: str,
    as_json: bool,
) -> None:
    """Make a role, which may do nothing yet.

    A trust policy that lets alice assume it: {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action":
    "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}}]}

    \b
    Examples:
      tickvault iam role create loader --trust trust.json --max-duration 14400
    """
    text = read_policy(trust)
    with open_vault(vault_dir) as vault:
        made = vault.identities.create_role(
            name, text, description=description, duration_s_max=max_duration, tags=parse_pairs(tags, "--tag")
        )
    if as_json:
        show(role_record(made), as_json=True)
    terminal.say(f"made role {name}; next: tickvault iam attach POLICY --role {name}")


@role.command()
@click.argument("name", metavar="NAME")
@_TRUST
@vault_option
@json_option
def trust(name: str, trust: str, vault_dir: str, as_json: bool) -> None:
    """Replace the trust policy of a role.

    \b
    Examples:
      tickvault iam role trust loader --trust trust.json
    """
    text = read_policy(trust)
    with open_vault(vault_dir) as vault:
        changed = vault.identities.update_role(name, trust_policy=text)
    if as_json:
        show(role_record(changed), as_json=True)
    terminal.say(f"role {name} has another trust policy")


@role.command("list")
@vault_option
@json_option
def list_(vault_dir: str, as_json: bool) -> None:
    """List roles.

    \b
    Examples:
      tickvault iam role list
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.list_roles()
    show_list(map(role_record, found), (each.name for each in found), as_json=as_json)


@role.command("show")
@click.argument("name", metavar="NAME")
@vault_option
@json_option
def show_(name: str, vault_dir: str, as_json: bool) -> None:
    """Show a role, its policies and who may assume it.

    \b
    Examples:
      tickvault iam role show loader
    """
    with open_vault(vault_dir) as vault:
        found = vault.identities.get_role(name)
    show(role_record(found), as_json=as_json)


@role.command()
@click.argument("name", metavar="NAME")
@click.option("--force", is_flag=True, help="With its policies.")
@vault_option
@json_option
def delete(name: str, force: bool, vault_dir: str, as_json: bool) -> None:
    """Delete a role; its sessions end. One that has policies is refused without --force.

    \b
    Examples:
      tickvault iam role delete loader
    """
    with open_vault(vault_dir) as vault, named_force():
        vault.identities.delete_role(name, force=force)
    if as_json:
        terminal.answer_json({"role": name, "deleted": True})
    terminal.say(f"deleted role {name}")
