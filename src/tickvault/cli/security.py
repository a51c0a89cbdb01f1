"""`tickvault security`: what the security of this installation is made of.

Invariants: it asks nothing of the network, opens no vault, shows no secret, and claims no certification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option


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
@json_option
def report(as_json: bool) -> None:
    """Print the algorithms in use, and who does the work.

    \b
    Examples:
      tickvault security report
      tickvault security report --json
    """
    from tickvault.security.report import security_report

    found = security_report()
    if as_json:
        terminal.answer_json(found)
        return
    for name, text in _rows(found):
        terminal.answer(f"{name:<32}  {text}")


def _rows(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", "yes" if value is True else "no" if value is False else str(value)
