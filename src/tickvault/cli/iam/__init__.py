"""`tickvault iam`: users, groups, roles, policies, access keys, and what they may do.

Invariants: works on the vault's folder, with or without a server beside it, as whoever can read that folder; a secret
is shown once, when it is made.
"""

from __future__ import annotations

import click

from tickvault.cli.iam.attaching import attach, boundary, detach
from tickvault.cli.iam.group import group
from tickvault.cli.iam.key import key
from tickvault.cli.iam.policy import policy
from tickvault.cli.iam.role import role
from tickvault.cli.iam.sealing import reset_sealing_key
from tickvault.cli.iam.service_account import service_account
from tickvault.cli.iam.sessions import assume_role, revoke_sessions
from tickvault.cli.iam.simulating import simulate
from tickvault.cli.iam.user import user
from tickvault.cli.options import help_without_command

__all__ = ["iam"]


@click.group(invoke_without_command=True)
@click.pass_context
def iam(context: click.Context) -> None:
    """Manage who may do what.

    Give people and programs access keys, and say what each may do.

    A user signs with access keys. Policies, which are AWS's JSON, are attached to users, to the groups they are in, and
    to roles, which users become for a while. Out of the box there are reader, writer, trader, compliance-officer,
    auditor and administrator. Servers on the same vault follow at once.

    \b
    Examples:
      tickvault iam user create alice
      tickvault iam attach reader --user alice
      tickvault iam key create --user alice
      tickvault iam simulate --identity arn:aws:iam::000000000000:user/alice --action s3:GetObject --resource raw/ES/1
    """
    help_without_command(context)


for _command in (
    user,
    group,
    role,
    policy,
    key,
    service_account,
    attach,
    detach,
    boundary,
    assume_role,
    revoke_sessions,
    simulate,
    reset_sealing_key,
):
    iam.add_command(_command)
