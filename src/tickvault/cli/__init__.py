"""The command line: one file per command, and `main`, which the `tickvault` script calls.

Invariants: stdout carries answers only (listings, object bytes, JSON); words, progress and errors go to
stderr; an error is one line and its exit status is that of `tickvault.errors.exit_code`.
"""

from tickvault.cli.app import main

__all__ = ["main"]
