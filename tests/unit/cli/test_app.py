"""Errors, interruption and help, as a shell and a newcomer see them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tickvault import errors
from tickvault.cli.app import main
from tickvault.cli.statuses import EXIT_BUG, EXIT_INTERRUPTED, EXIT_LOCAL_FILE, EXIT_PIPE_CLOSED

Type = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[bytes]"]


def commands(parent: click.Context | None = None) -> Iterator[click.Context]:
    """Every command and group that can be typed."""
    context = parent or click.Context(main, info_name="tickvault")
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            yield from commands(click.Context(command, info_name=name, parent=context))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let a command `fail` raise an error."""

    def add(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        monkeypatch.setitem(main.commands, "fail", fail)

    return add


@pytest.mark.parametrize("kind", errors.EXIT_CODES, ids=lambda kind: kind.__name__)
def test_every_error_is_one_line_with_its_own_status(
    kind: type[errors.TickVaultError], tickvault: Type, failing: Callable[[BaseException], None]
) -> None:
    failing(kind("put raw/1: this is why"))
    typed = tickvault("fail", status=errors.EXIT_CODES[kind])
    assert typed.stdout == ""
    assert typed.stderr == "tickvault: put raw/1: this is why\n"


def test_a_file_of_the_caller_that_cannot_be_read(tickvault: Type, failing: Callable[[BaseException], None]) -> None:
    failing(PermissionError(errno.EACCES, "Permission denied", "secret.csv"))
    assert tickvault("fail", status=EXIT_LOCAL_FILE).stderr == "tickvault: secret.csv: permission denied\n"


def test_a_bug_shows_where(tickvault: Type, failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError("oops"))
    typed = tickvault("fail", status=EXIT_BUG)
    assert "Traceback" in typed.stderr
    assert "report it" in typed.stderr


def test_ctrl_c(tickvault: Type, failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    typed = tickvault("fail", status=EXIT_INTERRUPTED)
    assert "Traceback" not in typed.stderr


@pytest.mark.parametrize("line", ["nosuch", "put", "put --nosuch", "bucket nosuch", "ls --delimiter"])
def test_wrong_usage_is_one_line_that_points_to_help(tickvault: Type, line: str) -> None:
    typed = tickvault(*line.split(), status=2)
    assert typed.stdout == ""
    (sentence,) = typed.stderr.splitlines()
    assert sentence.startswith("tickvault: ")
    assert "--help" in sentence


@pytest.mark.parametrize("context", list(commands()), ids=lambda context: context.command_path)
def test_help_teaches_by_example(tickvault: Type, context: click.Context) -> None:
    path = context.command_path
    text = tickvault(*path.split()[1:], "--help").stdout
    _, _, examples = text.partition("Examples:\n")
    assert f"tickvault {path.removeprefix('tickvault')}".replace("  ", " ").rstrip() in examples
    short = context.command.get_short_help_str(limit=60)
    assert not short.endswith("..."), "the first sentence has to fit the list of commands"


@pytest.mark.parametrize("context", list(commands()), ids=lambda context: context.command_path)
def test_every_command_has_json_and_every_option_a_meaning(context: click.Context) -> None:
    options = [one for one in context.command.params if isinstance(one, click.Option)]
    assert all(option.help for option in options)
    if not isinstance(context.command, click.Group):
        assert any("--json" in option.opts for option in options)


def test_no_command_shows_help(tickvault: Type) -> None:
    assert tickvault().stdout.startswith("Usage: tickvault")
    assert tickvault("bucket").stdout.startswith("Usage: tickvault bucket")


def test_version(tickvault: Type) -> None:
    assert tickvault("version").stdout.startswith("tickvault ")
    assert tickvault("version").stdout.startswith(tickvault("--version").stdout.rstrip())
    assert set(tickvault("version", "--json").json) == {"version", "python", "platform"}


def test_ctrl_c_while_standard_input_is_read(raw: Type, start: Start) -> None:
    process = start("put", "-", "raw/a", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"x" * 100_000)
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == EXIT_INTERRUPTED
    assert b"Traceback" not in stderr
    raw("stat", "raw/a", status=3)


def test_a_reader_that_goes_away(raw: Type, start: Start, folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(3000):
        (folder / "many" / f"{number:0100d}").touch()
    raw("put", "-r", "many", "raw/")
    read_end, write_end = os.pipe()
    process = start("ls", "raw", stdout=write_end)
    os.close(write_end)
    assert os.read(read_end, 10) == b"0" * 10
    os.close(read_end)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == EXIT_PIPE_CLOSED
    assert stderr == b""
