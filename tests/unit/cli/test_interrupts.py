"""Ctrl-C at the moments at which Python would show a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tickvault.cli.statuses import EXIT_INTERRUPTED

#: A command line that gets SIGINT when it begins to import a module.
_PROGRAM = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupting())
from tickvault.cli import main
main(prog_name="tickvault")
"""


def run(module: str, *arguments: str, ignored: bool = False) -> subprocess.CompletedProcess[bytes]:
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, module, *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("tickvault.cli.app", "version"),
        ("tickvault.cli.verify", "version"),
        ("tickvault.vault", "ls"),
        ("lmdb", "ls"),
        ("tickvault.doors.s3.server", "serve vault"),
    ],
)
def test_ctrl_c_during_the_imports_ends_quietly(folder: Path, module: str, line: str) -> None:
    """The story: Ctrl-C in the first 0.3 s of any command showed a traceback out of the imports, and ended with 1."""
    done = run(module, *line.split())
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_INTERRUPTED, b"", b"")
    assert list(folder.iterdir()) == []


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(folder: Path) -> None:
    """`nohup`, and a shell that starts a command in the background, have SIGINT ignored."""
    assert run("tickvault.cli.app", "version", ignored=True).returncode == 0
