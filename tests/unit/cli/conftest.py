"""A command line to type at, and a vault in a fresh folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from tickvault.cli.app import main


class Typed(NamedTuple):
    status: int
    stdout: str
    stdout_bytes: bytes
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (line,) = self.stdout.splitlines()
        return json.loads(line)

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]


Type = Callable[..., Typed]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: fresh and empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TICKVAULT_VAULT", raising=False)
    return tmp_path


@pytest.fixture
def tickvault(folder: Path) -> Type:
    """Type a command line in the current folder, in this process."""

    def type_line(*arguments: str, stdin: bytes | None = None, status: int | None = 0) -> Typed:
        result: Result = CliRunner().invoke(main, list(arguments), input=stdin, prog_name="tickvault")
        typed = Typed(result.exit_code, result.stdout, result.stdout_bytes, result.stderr)
        if status is not None:
            assert typed.status == status, typed
        return typed

    return type_line


@pytest.fixture
def raw(tickvault: Type) -> Type:
    """The same, beside a vault in ./data that has a bucket `raw`."""
    tickvault("bucket", "create", "raw")
    return tickvault


@pytest.fixture
def versioned(tickvault: Type) -> Type:
    """The same, beside a vault in ./data that has a bucket `raw` with versioning."""
    tickvault("bucket", "create", "raw", "--versioning")
    return tickvault


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command line as a process of its own; what still runs at the end is killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKVAULT_")}
    program = [sys.executable, "-c", "from tickvault.cli import main; main(prog_name='tickvault')"]
    started: list[subprocess.Popen[bytes]] = []

    def start_line(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([*program, *arguments], cwd=folder, env=environment, **(pipes | options))
        started.append(process)
        return process

    yield start_line
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
