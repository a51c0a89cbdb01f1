"""The command line: one file per command, and `main`, which the `tickvault` script calls.

Invariants: stdout carries answers only (listings, object bytes, JSON); words, progress and errors go to
stderr; an error is one line and its exit status is that of `tickvault.errors.exit_code`.
"""

from __future__ import annotations

from tickvault.cli import interrupts

__all__ = ["main"]


def main(prog_name: str | None = None) -> None:
    """Run the command line of this process, and end it with the command's exit status."""
    interrupts.end_at_once()  # ahead of the imports, which take a few tenths of a second
    from tickvault.cli import app

    app.main(prog_name=prog_name)
