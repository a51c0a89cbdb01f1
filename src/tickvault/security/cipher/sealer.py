"""Bodies sealed: whole ones at once, streams in pieces.

Invariants: every sealer makes its own key (or, for a part, its own salt) from the system's randomness and seals one
body with it; a sealer that failed on the way, or was finished, seals nothing more, because to seal a frame twice
would use a nonce twice.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.security.cipher.aead import Buffer
from tickvault.security.cipher.frames import SALT_SIZE, Frames
from tickvault.security.cipher.layout import FRAME_PLAIN_SIZE, TAG_SIZE, frame_count
from tickvault.security.cipher.suite import Suite

_NOTHING = memoryview(b"")
_NO_FRAME = bytearray()


class SealedBody(NamedTuple):
    """A body that was sealed under a key of its own."""

    data_key: bytes
    """To be wrapped, and then forgotten."""
    stored: Buffer

    def __repr__(self) -> str:
        return f"SealedBody(stored={len(self.stored)} bytes)"


def seal_body(suite: Suite, plain: Buffer) -> SealedBody:
    """Seal a whole body under a fresh data key.

    Parameters
    ----------
    suite : Suite
        The cipher.
    plain : bytes-like
        Contiguous, any size from 0.
    """
    data_key = suite.new_key()
    frames = Frames(suite, data_key)
    view = as_bytes(plain)
    if len(view) <= FRAME_PLAIN_SIZE:
        return SealedBody(data_key, frames.seal_alone(view))
    out = room(len(view) + TAG_SIZE * frame_count(len(view)))
    frames.seal(view, out, 0, final=True)
    return SealedBody(data_key, out)


class Sealer:
    """Seals one body that comes in pieces; see `for_object` and `for_part`."""

    __slots__ = ("_broken", "_frames", "_next_frame", "_pending", "_pending_size", "_plain_size", "data_key", "salt")

    def __init__(self, suite: Suite, data_key: bytes, salt: bytes) -> None:
        self.data_key = data_key
        self.salt = salt
        self._frames = Frames(suite, data_key, salt)
        self._pending = _NO_FRAME
        self._pending_size = 0
        self._next_frame = 0
        self._plain_size = 0
        self._broken = ""

    def __repr__(self) -> str:
        return f"Sealer({self._frames.suite.name}, plain_size={self._plain_size})"

    @classmethod
    def for_object(cls, suite: Suite) -> Sealer:
        """Return a sealer with a fresh `data_key`, for a body that is an object by itself."""
        return cls(suite, suite.new_key(), b"")

    @classmethod
    def for_part(cls, suite: Suite, data_key: bytes) -> Sealer:
        """Return a sealer with a fresh `salt`, for one part (or one try of a part) of an upload with that data key."""
        return cls(suite, data_key, secrets.token_bytes(SALT_SIZE))

    @property
    def plain_size(self) -> int:
        """Bytes taken so far."""
        return self._plain_size

    @property
    def stored_size(self) -> int:
        """Bytes of the stored body, were it to end here."""
        return self._plain_size + TAG_SIZE * frame_count(self._plain_size)

    def update(self, piece: Buffer) -> memoryview:
        """Take a piece of any size and return what can be stored: whole frames, maybe none.

        The last frame is kept back, because only `finish` knows that it is the last.
        """
        return self._take(piece, final=False)

    def finish(self, piece: Buffer = b"") -> memoryview:
        """Take the last piece and return the rest of the stored bytes, which end with the last frame."""
        return self._take(piece, final=True)

    def _take(self, piece: Buffer, *, final: bool) -> memoryview:
        if self._broken:
            raise InvalidInputError(f"this sealer {self._broken}; begin the body anew, with another sealer")
        self._broken = "failed on the way"
        view = as_bytes(piece)
        self._plain_size += len(view)
        frame_count(self._plain_size)
        total = self._pending_size + len(view)
        full = max(0, total - 1) // FRAME_PLAIN_SIZE
        out = self._seal(view, full, total, final=final) if full or final else self._keep(view)
        self._broken = "is finished" if final else ""
        return out

    def _keep(self, view: memoryview) -> memoryview:
        """Copy what fits no frame yet, or may be the last."""
        if self._pending is _NO_FRAME and len(view):
            self._pending = bytearray(FRAME_PLAIN_SIZE)
        end = self._pending_size + len(view)
        self._pending[self._pending_size : end] = view
        self._pending_size = end
        return _NOTHING

    def _seal(self, view: memoryview, full: int, total: int, *, final: bool) -> memoryview:
        """Seal all frames that are whole, and the last one when it is."""
        size = total if final else full * FRAME_PLAIN_SIZE
        out = room(size + TAG_SIZE * (full + final))
        done = 0
        if self._pending_size:
            # Only this frame is copied together; the rest is sealed where it lies.
            taken = min(FRAME_PLAIN_SIZE - self._pending_size, len(view))
            self._keep(view[:taken])
            view = view[taken:]
            alone = final and not full
            done = self._pending_size + TAG_SIZE
            frame = memoryview(self._pending)[: self._pending_size]
            self._frames.seal(frame, out[:done], self._next_frame, final=alone)
            self._next_frame += 1
            self._pending_size = 0
            if alone:
                return out
            full -= 1
        rest = len(view) if final else full * FRAME_PLAIN_SIZE
        self._frames.seal(view[:rest], out[done:], self._next_frame, final=final)
        self._next_frame += full
        self._keep(view[rest:])
        return out


def room(size: int) -> memoryview:
    """Return a writable buffer; unlike a `bytearray` it is not cleared first."""
    return np.empty(size, np.uint8).data if size else memoryview(bytearray())


def as_bytes(data: Buffer) -> memoryview:
    """Return a view of single bytes.

    Raises
    ------
    InvalidInputError
        The buffer is not contiguous.
    """
    view = memoryview(data)
    if not view.c_contiguous:
        raise InvalidInputError("the bytes to encrypt or decrypt must be contiguous; pass bytes(view)")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
