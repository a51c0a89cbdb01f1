"""Where the bytes of a sealed body lie: sizes and ranges, without any key.

Invariants: a stored frame is exactly one checksum frame of the engine, so that a range verifies and opens the same
bytes; every body has a last frame, also an empty one (a tag over nothing), so that there is no body whose end is not
authenticated; the stored size follows from the plain size alone.
"""

from __future__ import annotations

from tickvault.engine.record import FRAME_SIZE
from tickvault.errors import InvalidInputError

#: Authentication tag behind each frame, bytes.
TAG_SIZE = 16
#: A full frame as stored, bytes.
FRAME_STORED_SIZE = FRAME_SIZE
#: A full frame's plaintext, bytes.
FRAME_PLAIN_SIZE = FRAME_STORED_SIZE - TAG_SIZE
#: Frames under one key, at most: 2**39 cipher blocks keep the distance to an ideal cipher below 2**-50.
FRAME_COUNT_MAX = 1 << 27
#: Largest body, bytes of plaintext (just under 8 TiB).
BODY_SIZE_MAX = FRAME_COUNT_MAX * FRAME_PLAIN_SIZE

assert FRAME_PLAIN_SIZE == 65_520


def frame_count(size: int) -> int:
    """Return how many frames a body has.

    Parameters
    ----------
    size : int
        Bytes of plaintext.

    Raises
    ------
    InvalidInputError
        The size is negative or above `BODY_SIZE_MAX`.
    """
    if not 0 <= size <= BODY_SIZE_MAX:
        raise InvalidInputError(
            f"a body of {size} bytes cannot be encrypted: it must have 0 to {BODY_SIZE_MAX}; upload it in parts"
        )
    return (size + FRAME_PLAIN_SIZE - 1) // FRAME_PLAIN_SIZE or 1


def stored_size(size: int) -> int:
    """Return the bytes that a body of `size` plaintext bytes takes when stored; 16 for an empty one."""
    return size + TAG_SIZE * frame_count(size)


def stored_range(size: int, start: int, end: int) -> tuple[int, int]:
    """Return which stored bytes hold the plaintext ``[start, end)``: whole frames, as ``[start, end)``.

    Parameters
    ----------
    size : int
        Bytes of plaintext of the whole body.
    start, end : int
        The range of plaintext; an empty range needs no bytes, except in an empty body, whose one frame is read so that
        its tag is checked.

    Raises
    ------
    InvalidInputError
        The range does not lie in the body.
    """
    first, last = frames_of(size, start, end)
    return first * FRAME_STORED_SIZE, min(last * FRAME_STORED_SIZE, stored_size(size))


def frames_of(size: int, start: int, end: int) -> tuple[int, int]:
    """Return the frames ``[first, end)`` that hold the plaintext ``[start, end)``; see `stored_range`."""
    count = frame_count(size)
    if not 0 <= start <= end <= size:
        raise InvalidInputError(f"the range {start} to {end} does not lie in a body of {size} bytes")
    if not size:
        return 0, count
    if start == end:
        return 0, 0
    return start // FRAME_PLAIN_SIZE, (end + FRAME_PLAIN_SIZE - 1) // FRAME_PLAIN_SIZE
