"""`tickvault iam attach`, `detach` and `boundary`: policies given and taken.

Invariants: decides nothing: `security.identity` does.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import holder_options, one_of, role_option, user_option
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.errors import InvalidInputError


@click.command()
@click.argument("policy", metavar="POLICY")
@holder_options
@vault_option
@json_option
def attach(policy: str, user: str | None, group: str | None, role: str | None, vault_dir: str, as_json: bool) -> None:
    """Give a policy to a user, a group or a role.

    Out of the box: reader, writer, trader, compliance-officer, auditor, administrator.

    \b
    Examples:
      tickvault iam attach reader --user alice
      tickvault iam attach own-folder --group quants
    """
    one_of("who gets the policy", user=user, group=group, role=role)
    with open_vault(vault_dir) as vault:
        vault.identities.attach_policy(policy, user=user, group=group, role=role)
    _say(policy, user, group, role, as_json, attached=True)


@click.command()
@click.argument("policy", metavar="POLICY")
@holder_options
@vault_option
@json_option
def detach(policy: str, user: str | None, group: str | None, role: str | None, vault_dir: str, as_json: bool) -> None:
    """Take a policy away from a user, a group or a role.

    \b
    Examples:
      tickvault iam detach reader --user alice
    """
    one_of("who loses the policy", user=user, group=group, role=role)
    with open_vault(vault_dir) as vault:
        vault.identities.detach_policy(policy, user=user, group=group, role=role)
    _say(policy, user, group, role, as_json, attached=False)


@click.command()
@click.argument("policy", metavar="[POLICY]", required=False)
@click.option("--none", "is_none", is_flag=True, help="Take the boundary away.")
@user_option
@role_option
@vault_option
@json_option
def boundary(
    policy: str | None, is_none: bool, user: str | None, role: str | None, vault_dir: str, as_json: bool
) -> None:
    """Bound what a user or a role can have.

    Bound what a user or a role can have, whatever is attached to them later.

    \b
    Examples:
      tickvault iam boundary writer --user alice
      tickvault iam boundary --none --user alice
    """
    if (policy is None) != is_none:
        raise InvalidInputError("boundary: name a policy, or give --none to take the boundary away")
    one_of("who is bounded", user=user, role=role)
    with open_vault(vault_dir) as vault:
        vault.identities.set_boundary(policy, user=user, role=role)
    holder = f"user {user}" if user is not None else f"role {role}"
    if as_json:
        terminal.answer_json({"boundary": policy, "user": user, "role": role})
    terminal.say(f"{holder} has no boundary" if policy is None else f"{policy} bounds {holder}")


def _say(policy: str, user: str | None, group: str | None, role: str | None, as_json: bool, *, attached: bool) -> None:
    if as_json:
        terminal.answer_json({"policy": policy, "user": user, "group": group, "role": role, "attached": attached})
    named = {"user": user, "group": group, "role": role}
    holder = " ".join(f"{kind} {name}" for kind, name in named.items() if name is not None)
    terminal.say(f"{policy} is {'attached to' if attached else 'detached from'} {holder}")
