"""What a command says: answers on stdout, words and progress on stderr.

Invariants: nothing but answers reaches stdout; a progress bar is drawn only when stderr is a terminal, and
wiped when the work ends; control characters of a key never reach a terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import click

from tickvault.errors import InvalidInputError

_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 24
_RATE_AFTER_SECONDS = 0.5
"""A rate over less than this is noise."""


def say(words: str) -> None:
    """Print words for a person on stderr."""
    click.echo(words, err=True)


def interject(words: str) -> None:
    """Print words for a person on stderr, in place of a bar that may be drawn there."""
    click.echo(("\r\x1b[2K" if sys.stderr.isatty() else "") + words, err=True)


def confirm(question: str, *, otherwise: str) -> None:
    """Ask the person at the terminal before what cannot be taken back; end the command unless the answer is yes.

    Parameters
    ----------
    otherwise : str
        What a script has to do, which nobody can be asked for.

    Raises
    ------
    InvalidInputError
        Nobody is at a terminal.
    """
    if not sys.stdin.isatty():
        raise InvalidInputError(f"this cannot be taken back, and nobody can be asked without a terminal; {otherwise}")
    try:
        click.confirm(printable(question), abort=True, err=True)
    except click.Abort:
        say("nothing was done")
        raise


def fail(sentence: str) -> None:
    """Print an error as one line on stderr."""
    line = " ".join(part.strip() for part in sentence.splitlines() if part.strip())
    click.echo(click.style("tickvault: ", fg="red", bold=True) + printable(line), err=True)


def answer(line: str) -> None:
    """Print one line of an answer on stdout."""
    click.echo(line)


def answer_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object as one line on stdout."""
    click.echo(json.dumps(record, ensure_ascii=False, separators=(", ", ": ")))


def discard_stdout() -> None:
    """Let what is still buffered, and whatever follows, go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is not a file (a test captures it), so nothing is flushed into a pipe either
    finally:
        os.close(null)


def printable(text: str) -> str:
    r"""Return `text` with control characters escaped, so that a key cannot steer the terminal.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    >>> printable("naïve/键")
    'naïve/键'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines with the other control characters escaped."""
    return "\n".join(printable(line) for line in text.split("\n"))


def format_size(size_bytes: float) -> str:
    """Return a size with a binary unit and about three digits.

    >>> format_size(999), format_size(4096), format_size(1_500_000), format_size(5 << 30)
    ('999 B', '4.0 KiB', '1.4 MiB', '5.0 GiB')
    """
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size_bytes /= 1024
        if size_bytes < 1024 or unit == "TiB":
            break
    return f"{size_bytes:.0f} {unit}" if size_bytes >= 100 else f"{size_bytes:.1f} {unit}"


def format_amount(amount: float, unit: str) -> str:
    """Return an amount in words: bytes (``bytes``, ``bytes of …``) with a binary unit, anything else counted.

    >>> format_amount(2048, "bytes"), format_amount(15600, "objects")
    ('2.0 KiB', '15,600 objects')
    """
    return format_size(amount) if unit.startswith("bytes") else f"{amount:,.0f} {unit}"


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """Return an amount with its noun in the right number.

    >>> count(1, "object"), count(1200, "object"), count(0, "entry", "entries")
    ('1 object', '1,200 objects', '0 entries')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def format_time(time_ns: int) -> str:
    """Return int64 nanoseconds since the epoch as UTC, to the millisecond.

    >>> format_time(1_767_623_400_123_456_789)
    '2026-01-05T14:30:00.123Z'
    """
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}Z"


def format_duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours when there are any.

    >>> format_duration(7.4), format_duration(75), format_duration(4000)
    ('0:07', '1:15', '1:06:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """A progress bar on stderr: call it with (done, total, unit); it draws itself only on a terminal.

    ::

        with Progress("verify") as progress:
            vault.verify(progress=progress)
    """

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._enabled = self._stream.isatty()
        self._started = time.monotonic()
        self._unit = ""
        self._drawn_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __call__(self, done: int, total: int, unit: str) -> None:
        """Draw the bar, at most ten times a second; a total of 0 is an unknown one."""
        if not self._enabled:
            return
        now = time.monotonic()
        if unit != self._unit:  # another chapter of the work, with a pace of its own
            self._unit, self._started = unit, now
        if now - self._drawn_at < _REDRAW_SECONDS:
            return
        self._drawn_at = now
        line = self.line(done, total, unit, now - self._started)
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{line[:width]}")
        self._stream.flush()

    def line(self, done: int, total: int, unit: str, elapsed_seconds: float) -> str:
        """Return the line to draw; a total of 0 is an unknown one."""
        rate = done / elapsed_seconds if elapsed_seconds > _RATE_AFTER_SECONDS else 0.0
        speed = f"  {format_amount(rate, unit)}/s" if rate else ""
        if total <= 0:
            return f"{self._label}  {format_amount(done, unit)}{speed}"
        share = min(done / total, 1.0)
        filled = round(share * _BAR_WIDTH)
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        amount = f"{format_amount(done, unit).removesuffix(' ' + unit)} of {format_amount(total, unit)}"
        left = f"  {format_duration((total - done) / rate)} left" if rate and done < total else ""
        return f"{self._label}  {bar} {share:4.0%}  {amount}{speed}{left}"

    def wipe(self) -> None:
        """Remove the bar, so that words can follow."""
        if self._enabled and self._drawn_at:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._drawn_at = 0.0
