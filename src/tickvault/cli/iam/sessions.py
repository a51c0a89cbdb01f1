"""`tickvault iam assume-role` and `revoke-sessions`: temporary credentials.

Invariants: a role is assumed by the identity of a key that is valid, and only if the role's trust policy lets it; the
secret and the token go to one place only.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.iam.options import account_option, one_of, role_option, secret_file_option, user_option
from tickvault.cli.iam.records import read_policy
from tickvault.cli.iam.secret import file_for_secret, hand_out
from tickvault.cli.options import json_option, open_vault, vault_option


@click.command("assume-role")
@click.argument("role", metavar="ROLE")
@click.option("--session", "session_name", metavar="NAME", default="cli", show_default=True, help="Shows in the trail.")
@click.option(
    "--key",
    "key_id",
    metavar="KEY",
    required=True,
    envvar="AWS_ACCESS_KEY_ID",
    help="Access key of who assumes it; without the option, AWS_ACCESS_KEY_ID.",
)
@click.option("--duration", type=int, metavar="SECONDS", help="900 and more, at most what the role allows.")
@click.option("--policy", metavar="FILE", help="Session policy (JSON), which narrows the role; - is stdin.")
@click.option("--external-id", metavar="TEXT", help="What the trust policy may ask for.")
@secret_file_option
@vault_option
@json_option
def assume_role(
    *,
    role: str,
    session_name: str,
    key_id: str,
    duration: int | None,
    policy: str | None,
    external_id: str | None,
    secret_file: str | None,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Begin a session of a role.

    Its credentials end by themselves. Whoever has the access key must be let in by the trust policy of the role.

    \b
    Examples:
      tickvault iam assume-role loader --key TVAKEXAMPLEEXAMPLE22 --session night-run
    """
    text = None if policy is None else read_policy(policy)
    with file_for_secret(secret_file) as fd, open_vault(vault_dir) as vault:
        from tickvault.objects.identities import decide_trust

        identities = vault.identities
        session = identities.assume_role(
            identities.find(key_id),
            role,
            session_name,
            decide=decide_trust,
            duration_s=duration,
            session_policy=text,
            external_id=external_id,
        )
        record = {"access_key": session.access_key_id, "arn": session.arn, "expires_ns": session.expires_ns}
        hand_out(
            record,
            session.secret.reveal(),
            token=session.session_token.reveal(),
            fd=fd,
            path=secret_file,
            as_json=as_json,
        )
    terminal.say(f"{session.arn} until {terminal.format_time(session.expires_ns)}")


@click.command("revoke-sessions")
@user_option
@role_option
@account_option
@vault_option
@json_option
def revoke_sessions(user: str | None, role: str | None, account: str | None, vault_dir: str, as_json: bool) -> None:
    """End sessions before their time.

    End all sessions of a role, or all that a user or a service account began, issued before now.

    \b
    Examples:
      tickvault iam revoke-sessions --role loader
      tickvault iam revoke-sessions --user alice
    """
    one_of("whose sessions end", user=user, role=role, service_account=account)
    with open_vault(vault_dir) as vault:
        before_ns = vault.identities.revoke_sessions(role=role, user=user, service_account=account)
    if as_json:
        terminal.answer_json({"user": user, "role": role, "service_account": account, "revoked_before_ns": before_ns})
    terminal.say(f"sessions issued before {terminal.format_time(before_ns)} are refused")
