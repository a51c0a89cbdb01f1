"""`tickvault iam reset-sealing-key`: going on when the key that seals all secrets is lost.

Invariants: nothing is done without a yes; no file is replaced.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option


@click.command("reset-sealing-key")
@click.option("--yes", is_flag=True, help="Do not ask; a script must give it.")
@vault_option
@json_option
def reset_sealing_key(yes: bool, vault_dir: str, as_json: bool) -> None:
    """Go on without a sealing key that is lost for good.

    Access keys are sealed with security/sealing.key in the vault's folder. If it is missing and you have no copy, this
    makes a new one, and disables every access key that was sealed with the lost one; sessions end too. Make new access
    keys then. A file that is there is never replaced. If you have a copy, put that back instead: nothing is lost.

    \b
    Examples:
      tickvault iam reset-sealing-key
      tickvault iam reset-sealing-key --yes
    """
    with open_vault(vault_dir) as vault:
        if not yes:
            terminal.confirm(
                "Access keys that were sealed with a lost security/sealing.key will be disabled. Go on without it?",
                otherwise="put security/sealing.key back; or, if it is lost for good, give --yes",
            )
        done = vault.identities.reset_sealing_key()
    if as_json:
        terminal.answer_json({"made": done.made, "access_keys_disabled": [key.id for key in done.disabled]})
    else:
        for key in done.disabled:
            terminal.answer(f"{key.id}  {key.owner_kind} {key.owner}")
    made = "made a new sealing key, keep a copy of it; " if done.made else ""
    next_step = "; next: tickvault iam key create" if done.disabled else ""
    terminal.say(f"{made}disabled {terminal.count(len(done.disabled), 'access key')}{next_step}")
