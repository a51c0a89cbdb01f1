"""`tickvault version`: which release this is, and on what it runs."""

from __future__ import annotations

import platform

import click

from tickvault._version import __version__
from tickvault.cli import terminal
from tickvault.cli.options import json_option


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the release.

    \b
    Examples:
      tickvault version
      tickvault version --json
    """
    if as_json:
        terminal.answer_json(
            {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
        )
    else:
        terminal.answer(f"tickvault {__version__} (Python {platform.python_version()}, {platform.system()})")
