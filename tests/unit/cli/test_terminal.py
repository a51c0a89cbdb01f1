"""What a command says, and to whom."""

from __future__ import annotations

import doctest
import importlib
import io
import json

import pytest

from tickvault.cli import terminal


class Screen(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("module", ["get", "options", "places", "terminal"])
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tickvault.cli.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_progress_is_silent_when_nobody_watches() -> None:
    file = io.StringIO()
    with terminal.Progress("verify", file) as progress:
        progress(1, 2, "bytes")
    assert file.getvalue() == ""


def test_progress_draws_on_a_terminal_and_wipes_itself() -> None:
    screen = Screen()
    with terminal.Progress("verify", screen) as progress:
        progress(1, 2, "bytes")
    drawn = screen.getvalue()
    assert "verify" in drawn
    assert "50%" in drawn
    assert drawn.endswith("\r\x1b[2K")


def test_progress_wipes_itself_when_the_work_fails() -> None:
    screen = Screen()
    with pytest.raises(KeyboardInterrupt), terminal.Progress("verify", screen) as progress:
        progress(1, 2, "bytes")
        raise KeyboardInterrupt
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_progress_draws_at_most_ten_times_a_second() -> None:
    screen = Screen()
    with terminal.Progress("put", screen) as progress:
        for done in range(1000):
            progress(done, 1000, "objects")
    assert screen.getvalue().count("put") <= 5


@pytest.mark.parametrize(
    ("done", "total", "unit", "seconds", "words"),
    [
        (512 << 20, 1 << 30, "bytes", 2.0, ["50%", "512 MiB of 1.0 GiB", "256 MiB/s", "0:02 left"]),
        (7800, 15600, "objects", 1.0, ["50%", "7,800 of 15,600 objects", "7,800 objects/s", "0:01 left"]),
        (300, 0, "objects", 1.0, ["300 objects", "300 objects/s"]),
        (0, 100, "bytes", 0.0, ["0%", "0 B of 100 B"]),
    ],
)
def test_progress_line(done: int, total: int, unit: str, seconds: float, words: list[str]) -> None:
    line = terminal.Progress("work", io.StringIO()).line(done, total, unit, seconds)
    for word in words:
        assert word in line


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.fail("put raw/1:\n   the disk is full")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "tickvault: put raw/1: the disk is full\n"


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.fail("no object raw/\x1b]0;title\x07")
    assert "\x1b" not in capsys.readouterr().err


def test_json_is_one_line_even_for_a_key_with_a_line_break(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.answer_json({"key": "a\nb", "size": 1})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"key": "a\nb", "size": 1}
