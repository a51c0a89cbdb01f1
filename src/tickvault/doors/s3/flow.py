"""The flow of bytes through a connection, both ways.

Invariants: reading stops while there is a reason for it and goes on when the last one is gone; what is
written beyond the limit makes the source wait; a client that stops moving meets its deadline.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickvault.doors.s3.streaming import ClientGoneError, Pieces

if TYPE_CHECKING:
    from tickvault.doors.s3.door import Door

# Reasons for not reading from the client, as bits.
FOR_QUEUE, FOR_BODY, FOR_GOOD = 1, 2, 4


class FlowControl(asyncio.Protocol):
    """The part of a connection that starts and stops the flow.

    Parameters
    ----------
    door : Door
        What all connections of the worker share.
    """

    __slots__ = (
        "_door",
        "_drained",
        "_pauses",
        "_progress_mark",
        "_transport",
        "_write_paused",
        "deadline",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._pauses = 0
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._progress_mark = 0
        """Bytes that had moved when the deadline was set."""
        self.deadline = 0.0
        """When to look what the connection waits for, in the door's time."""

    def pause_writing(self) -> None:
        """The client takes its answers more slowly than they are made."""
        self._write_paused = True
        if self._transport is not None:
            self._progress_mark = self._transport.get_write_buffer_size()
        self.deadline = self._door.now + self._door.limits.progress_timeout_s

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        self.deadline = self._door.now + self._door.limits.idle_timeout_s
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _pause(self, reason: int) -> None:
        if not self._pauses and self._transport is not None:
            self._transport.pause_reading()
        self._pauses |= reason

    def _resume(self, reason: int) -> None:
        if not self._pauses & reason:
            return
        self._pauses &= ~reason
        if not self._pauses and self._transport is not None:
            self._transport.resume_reading()

    def _write(self, data: bytes) -> None:
        self._door.bytes_out += len(data)
        if self._transport is not None:
            self._transport.write(data)

    def _write_pieces(self, pieces: Pieces) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ClientGoneError
        for piece in pieces:
            self._door.bytes_out += len(piece)
        self._transport.writelines(pieces)

    def _wait_drained(self) -> asyncio.Future[None] | None:
        if self._transport is None:
            raise ClientGoneError
        if not self._write_paused:
            return None
        self._drained = self._door.loop.create_future()
        return self._drained

    def _release_writers(self) -> None:
        """Tell whoever waits for the client that it is gone."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ClientGoneError())
