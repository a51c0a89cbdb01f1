"""Bodies opened: whole, a range, or a range piece by piece.

Invariants: only frames that hold a byte of the range are read; each is opened whole, and nothing of it is handed out
before its tag was checked; the body's size comes from the caller, who has it from a record whose wrapped key is bound
to it, so that where the last frame must be is known before a byte is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.cipher.aead import Buffer
from tickvault.security.cipher.frames import Frames
from tickvault.security.cipher.layout import (
    FRAME_PLAIN_SIZE,
    FRAME_STORED_SIZE,
    TAG_SIZE,
    frame_count,
    frames_of,
    stored_size,
)
from tickvault.security.cipher.sealer import as_bytes, room
from tickvault.security.cipher.suite import Suite

#: Reads the stored bytes ``[start, end)`` of a body.
ReadStored = Callable[[int, int], Buffer]

#: Largest range that is opened into memory at once, bytes.
OPEN_SIZE_MAX = 1 << 30
#: Frames that `Opener.pieces` opens at a time (1 MiB).
PIECE_FRAME_COUNT = 16


class Opener:
    """Opens one body.

    Parameters
    ----------
    suite : Suite
        The cipher.
    data_key : bytes
        As it was unwrapped.
    salt : bytes
        Of a part: the 16 bytes its sealer made. Of an object that is one body: empty.
    """

    __slots__ = ("_frames",)

    def __init__(self, suite: Suite, data_key: bytes, salt: bytes = b"") -> None:
        self._frames = Frames(suite, data_key, salt)

    def __repr__(self) -> str:
        return f"Opener({self._frames.suite.name})"

    def open(self, stored: Buffer, size: int) -> Buffer:
        """Return the plaintext of a whole body.

        Parameters
        ----------
        stored : bytes-like
            All of its stored bytes.
        size : int
            Bytes of plaintext that it must have.

        Raises
        ------
        IntegrityError
            The stored bytes have another length, or are not what was sealed.
        """
        if len(stored) - size == TAG_SIZE and 0 <= size <= FRAME_PLAIN_SIZE:
            return self._frames.open_alone(stored)
        view = as_bytes(stored)
        _check_length(len(view), stored_size(size))
        _check_memory(size)
        out = room(size)
        self._frames.open(view, out, 0, final=True)
        return out

    def open_range(self, read_stored: ReadStored, size: int, start: int, end: int) -> Buffer:
        """Return the plaintext ``[start, end)`` of a body.

        Parameters
        ----------
        read_stored : callable
            Is asked for stored bytes ``[start, end)``, whole frames, at most `PIECE_FRAME_COUNT` of them at a time.
        size : int
            Bytes of plaintext of the whole body.
        start, end : int
            The range, bytes of plaintext.

        Raises
        ------
        IntegrityError
            Stored bytes are missing, or are not what was sealed.
        InvalidInputError
            The range does not lie in the body, or is larger than `OPEN_SIZE_MAX`; use `pieces`.
        """
        first, last = frames_of(size, start, end)
        _check_memory(end - start)
        count = frame_count(size)
        if last - first == 1:
            plain = self._open_frame(read_stored, size, first, final=last == count)
            origin = first * FRAME_PLAIN_SIZE
            return plain if end - start == len(plain) else memoryview(plain)[start - origin : end - origin]
        out = room(min(last * FRAME_PLAIN_SIZE, size) - first * FRAME_PLAIN_SIZE)
        origin = first * FRAME_PLAIN_SIZE
        for at in range(first, last, PIECE_FRAME_COUNT):
            until = min(at + PIECE_FRAME_COUNT, last)
            low, high = at * FRAME_PLAIN_SIZE - origin, min(until * FRAME_PLAIN_SIZE, size) - origin
            self._frames.open(_read(read_stored, size, at, until), out[low:high], at, final=until == count)
        return out[start - origin : end - origin]

    def pieces(self, read_stored: ReadStored, size: int, start: int, end: int) -> Iterator[Buffer]:
        """Yield the plaintext ``[start, end)`` in pieces of at most 1 MiB; see `open_range`."""
        frames_of(size, start, end)  # a wrong range, and an empty body's tag, are told of all the same
        step = PIECE_FRAME_COUNT * FRAME_PLAIN_SIZE
        if not size:
            self.open_range(read_stored, 0, 0, 0)
        while start < end:
            until = min(end, (start // step + 1) * step)
            yield self.open_range(read_stored, size, start, until)
            start = until

    def _open_frame(self, read_stored: ReadStored, size: int, index: int, *, final: bool) -> Buffer:
        stored = _read(read_stored, size, index, index + 1)
        if final and not index:
            return self._frames.open_alone(stored)
        out = room(len(stored) - TAG_SIZE)
        self._frames.open(stored, out, index, final=final)
        return out


def _read(read_stored: ReadStored, size: int, first: int, last: int) -> memoryview:
    start, end = first * FRAME_STORED_SIZE, min(last * FRAME_STORED_SIZE, stored_size(size))
    stored = as_bytes(read_stored(start, end))
    _check_length(len(stored), end - start)
    return stored


def _check_length(length: int, needed: int) -> None:
    if length != needed:
        raise IntegrityError(
            f"an encrypted body is cut off or lengthened: {needed} stored bytes were expected, there are {length}; "
            "run tickvault audit verify --objects --everything, and restore the object from a backup"
        )


def _check_memory(size: int) -> None:
    if size > OPEN_SIZE_MAX:
        raise InvalidInputError(
            f"a range of {size} bytes is not opened at once, the limit is {OPEN_SIZE_MAX}; read it in pieces"
        )
