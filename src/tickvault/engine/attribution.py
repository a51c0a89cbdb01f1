"""Who makes a change: bytes that ride in the batch beside the records of the change.

The engine does not look into them; the audit trail, above, writes and reads them.  An operation takes along whatever
the context variable holds where the operation is made, so that a door names its caller once and every verb below it
need not know.

Invariants: an attribution is in the same batch, under the same sync, as the records that it is about; a batch without
one changed nothing, or was written by a release without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import NamedTuple

import msgpack

from tickvault.engine.record import HEADER_SIZE

#: Kind of the record that holds the attributions of a batch: the engine's own, no interpreter sees it.
KIND_ATTRIBUTION = 255
#: Longest attribution of one operation, bytes.
ATTRIBUTION_SIZE_MAX = 4096
_OVERHEAD = 2 * HEADER_SIZE
_EACH = 32


class Caller:
    """Whose operations are: the bytes that ride along, and whether any of them has changed something."""

    __slots__ = ("recorded", "who")

    def __init__(self, who: bytes) -> None:
        assert len(who) <= ATTRIBUTION_SIZE_MAX, "whoever makes an attribution keeps it short"
        self.who = who
        self.recorded = False
        """A change of this caller was committed, so that the journal tells of it."""


NOBODY = Caller(b"")
_current: ContextVar[Caller | None] = ContextVar("tickvault_caller", default=None)
_of_process = NOBODY


class Attribution(NamedTuple):
    """Whose the records with sequences in [first, last] are."""

    first: int
    last: int
    who: bytes


def current_caller() -> Caller:
    """Return whose operations made here are."""
    return _current.get() or _of_process


def set_process_caller(caller: Caller) -> None:
    """Say whose operations are that nobody else is named for."""
    global _of_process
    _of_process = caller


def set_caller(caller: Caller) -> Token[Caller | None]:
    """Name whose operations made from here on are, in this thread or task; undone with `reset_caller`."""
    return _current.set(caller)


def reset_caller(token: Token[Caller | None]) -> None:
    """Undo `set_caller`."""
    _current.reset(token)


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    """Name whose operations made inside are."""
    token = _current.set(caller)
    try:
        yield caller
    finally:
        _current.reset(token)


def attribution_size(whos: list[bytes]) -> int:
    """Return what the record of these attributions takes at most, in bytes."""
    return _OVERHEAD + sum(map(len, whos)) + _EACH * len(whos)


def encode_attributions(found: list[Attribution]) -> bytes:
    """Return the meta bytes of the record; neighbours of the same caller are one."""
    merged: list[list[object]] = []
    for one in found:
        if merged and merged[-1][2] == one.who:
            merged[-1][1] = one.last
        else:
            merged.append([one.first, one.last, one.who])
    packed: bytes = msgpack.packb(merged)
    return packed


def decode_attributions(meta: bytes) -> list[Attribution]:
    """Return what the meta bytes of an attribution record say."""
    return [Attribution(first, last, who) for first, last, who in msgpack.unpackb(meta)]
