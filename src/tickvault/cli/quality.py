"""`tickvault quality`: what could not be decoded.

Invariants: the bytes are shown as they came, escaped.
"""

from __future__ import annotations

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, library_option, open_vault, vault_option
from tickvault.cli.read import library_of

_SHOWN_BYTES = 120


@click.command()
@library_option
@vault_option
@json_option
def quality(*, library: str, vault_dir: str, as_json: bool) -> None:
    """List the input rows that could not be decoded.

    Of each: the file, its number there, the reason, and its bytes.

    \b
    Examples:
      tickvault quality --library sse
      tickvault quality --library sse --json | jq .reason
    """
    amount = 0
    with open_vault(vault_dir) as vault:
        for row in library_of(vault, library).quarantine():
            amount += 1
            text = row.raw.decode("utf-8", "backslashreplace")
            if as_json:
                terminal.answer_json({"path": row.path, "row": row.row, "reason": row.reason, "raw": text})
                continue
            shown = terminal.printable(text if len(text) <= _SHOWN_BYTES else text[:_SHOWN_BYTES] + "…")
            terminal.answer(f"{terminal.printable(row.path)} row {row.row:,}: {row.reason}: {shown}")
    terminal.say(f"{terminal.count(amount, 'row')} in quarantine")
