"""Who does something, through which door and from where: what every record of one request has in common.

For a change it rides in the commit (`engine.attribution`), for a read or a refusal it goes into the record at once.

Invariants: whatever a client sends, packing it does not fail and stays short; nothing in it is a secret.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
from typing import NamedTuple

import msgpack

from tickvault.engine.attribution import Caller

#: Longest text of each field, characters; what is longer is cut and ends in an ellipsis.
_TEXT_LENGTH_MAX = 512


class Actor(NamedTuple):
    """The caller of a request."""

    door: str
    """``embedded``, ``s3``, ``cli``, ``system``."""
    identity: str
    """An ARN or an access key; ``local:UID`` where nobody is named; empty: anonymous."""
    source: str
    """The address of the client, or ``pid N of HOST (PROGRAM)``."""
    request_id: str = ""
    action: str = ""
    """S3's name of what was asked for; empty where the change itself tells."""

    def caller(self) -> Caller:
        """Return it as the commit takes it along."""
        try:
            return Caller(msgpack.packb(tuple(self)))
        except (UnicodeEncodeError, ValueError):
            return Caller(msgpack.packb([_printable(text) for text in self]))

    @staticmethod
    def of(who: bytes) -> Actor:
        """Return what rode in a commit; somebody unknown where it cannot be read."""
        try:
            return Actor(*msgpack.unpackb(who))
        except (ValueError, TypeError, msgpack.UnpackException):
            return UNKNOWN


UNKNOWN = Actor("unknown", "", "")
#: The store itself: its clock, its compaction.
SYSTEM = Actor("system", "", "")


def bounded(text: str) -> str:
    """Return a text cut to what an actor's field may take."""
    return text if len(text) <= _TEXT_LENGTH_MAX else text[: _TEXT_LENGTH_MAX - 1] + "…"


_door = "embedded"


def set_process_door(door: str) -> None:
    """Say through which door this process uses vaults: ``embedded``, unless it is a command."""
    global _door
    _door = door


@functools.cache
def _process_actor(pid: int, door: str) -> Actor:
    program = os.path.basename(sys.argv[0] if sys.argv and sys.argv[0] else sys.executable or "python")
    source = bounded(f"pid {pid} of {socket.gethostname()} ({program})")
    return Actor(door, f"local:{os.geteuid()}", _printable(source))


def process_actor() -> Actor:
    """Return who changes something through the Python API without saying who it is: this process and its user."""
    return _process_actor(os.getpid(), _door)


def _printable(text: str) -> str:
    return bounded(text).encode("utf-8", "replace").decode()
