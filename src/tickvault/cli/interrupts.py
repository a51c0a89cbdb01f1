"""Ctrl-C where Python would show a traceback: while modules are loaded, and after a command has ended.

Python raises `KeyboardInterrupt` wherever it is. While a command runs, `tickvault.cli.app` catches it; before and
after that nothing has been begun, or everything is done, and the process ends at once.

Invariants: this module loads next to nothing, since it is there before everything else; a SIGINT that the process was
started to ignore (``nohup``, a shell's background) stays ignored.
"""

from __future__ import annotations

import os
import signal

from tickvault.cli.statuses import EXIT_INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Handler = Callable[[int, FrameType | None], Any]


def end(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    """End the process without a word."""
    os._exit(EXIT_INTERRUPTED)


def end_at_once() -> None:
    """From now on Ctrl-C ends the process without a word."""
    _take(end)


class _Handled:
    """Ctrl-C goes to another handler inside the ``with``."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._before: Handler | None = None

    def __enter__(self) -> None:
        self._before = _take(self._handler)

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


def ending_at_once() -> _Handled:
    """Let Ctrl-C end the process without a word inside the ``with``: for imports that take long."""
    return _Handled(end)


def raised() -> _Handled:
    """Let Ctrl-C raise `KeyboardInterrupt` inside the ``with``; the caller catches it."""
    return _Handled(signal.default_int_handler)


def _take(handler: Handler) -> Handler | None:
    """Install a handler; return the one before, None if SIGINT is not ours to handle."""
    found = signal.getsignal(signal.SIGINT)
    for ours in (end, signal.default_int_handler):
        if found is ours:
            try:
                signal.signal(signal.SIGINT, handler)
            except ValueError:  # only the main thread may
                return None
            return ours
    return None
