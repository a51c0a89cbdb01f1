"""`tickvault security`: what the security of this installation is made of.

Invariants: it asks nothing of the network, opens a vault only if one is named, shows no secret, and claims no
certification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault


@click.group(invoke_without_command=True)
@click.pass_context
def security(context: click.Context) -> None:
    """Show what the security of this installation is made of.

    \b
    Examples:
      tickvault security report
    """
    help_without_command(context)


@security.command()
@click.option("--vault", "vault_dir", metavar="DIR", help="Say too where this vault's keys lie and what they protect.")
@json_option
def report(*, vault_dir: str | None, as_json: bool) -> None:
    """Print the algorithms in use, and who does the work.

    With --vault also how the keyring of that vault is protected, which file opens it, and what each bucket's new
    versions are encrypted with.

    \b
    Examples:
      tickvault security report
      tickvault security report --vault data
      tickvault security report --json
    """
    from tickvault.security.report import security_report

    found = security_report()
    if vault_dir is not None:
        from tickvault.objects.encryption.key_report import vault_report

        with open_vault(vault_dir) as vault:
            found = {"vault": vault_report(vault.store), **found}
    if as_json:
        terminal.answer_json(found)
        return
    for name, text in _rows(found):
        terminal.answer(terminal.printable(f"{name:<32}  {text}"))


def _rows(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", "yes" if value is True else "no" if value is False else str(value)
