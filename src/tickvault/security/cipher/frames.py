"""The frames of one body under one key: the STREAM construction.

Each frame is sealed on its own under a nonce made of its index and of whether it is the last one, after Hoang,
Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (CRYPTO 2015),
section 7.  So a frame that was moved, repeated or left out, and a body that was cut off or lengthened at the border of
a frame, do not open.

Invariants: one body has one key, and one key one body, so that no pair of key and nonce is used twice; which is why
keys and salts for sealing are made here and nowhere else, and a caller cannot name them.  The drawing is in
``docs/formats/encrypted-body.md``.
"""

from __future__ import annotations

import hmac
import struct
from functools import lru_cache

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.cipher.aead import Buffer, InvalidTag
from tickvault.security.cipher.layout import (
    FRAME_COUNT_MAX,
    FRAME_PLAIN_SIZE,
    FRAME_STORED_SIZE,
    TAG_SIZE,
)
from tickvault.security.cipher.suite import Suite

#: Version of the format of frames.
FRAMES_VERSION = 1
#: Salt of a part's key, bytes.
SALT_SIZE = 16

# seven zeros, frame index, 1 for the last frame
_pack_nonce = struct.Struct(">7xIB").pack
_TAIL = 7
_NONCE_ALONE = _pack_nonce(0, 1)
# What a frame's turn in the loop needs is made once: at 20 GB/s a frame takes 3 µs, and each bytes object counts.
_RUN = 256
_PLAIN = [slice(index * FRAME_PLAIN_SIZE, (index + 1) * FRAME_PLAIN_SIZE) for index in range(_RUN)]
_STORED = [slice(index * FRAME_STORED_SIZE, (index + 1) * FRAME_STORED_SIZE) for index in range(_RUN)]
_ASSOCIATED = {suite_id: b"tickvault body" + bytes((FRAMES_VERSION, suite_id)) for suite_id in range(256)}


def body_key(suite: Suite, data_key: bytes, salt: bytes) -> bytes:
    """Return the key of a body: the data key itself without a salt, else one derived from both.

    The derivation is HKDF-Expand with SHA-256 (RFC 5869, section 2.3), one block. Its first half, HKDF-Extract, is left
    out, as section 3.3 allows for a key that is random already; that halves the time.

    Raises
    ------
    InvalidInputError
        The salt is neither empty nor `SALT_SIZE` bytes, or the data key has the wrong size.
    """
    if len(data_key) != suite.key_size:
        raise InvalidInputError(f"a data key of {suite.name} must have {suite.key_size} bytes, has {len(data_key)}")
    if not salt:
        return data_key
    if len(salt) != SALT_SIZE:
        raise InvalidInputError(f"the salt of a part must have {SALT_SIZE} bytes, has {len(salt)}")
    info = f"tickvault body {FRAMES_VERSION} {suite.name} ".encode() + salt
    return hmac.digest(data_key, info + b"\x01", "sha256")[: suite.key_size]


class Frames:
    """The cipher of one body's frames."""

    __slots__ = ("_aead", "_associated", "suite")

    def __init__(self, suite: Suite, data_key: bytes, salt: bytes = b"") -> None:
        self.suite = suite
        self._aead = suite.aead(body_key(suite, data_key, salt) if salt else data_key)
        self._associated = _ASSOCIATED[suite.id]

    def __repr__(self) -> str:
        return f"Frames({self.suite.name})"

    def seal_alone(self, plain: Buffer) -> bytes:
        """Return the stored bytes of a body that has one frame."""
        return self._aead.encrypt(_NONCE_ALONE, plain, self._associated + _NONCE_ALONE[_TAIL:])

    def open_alone(self, stored: Buffer) -> bytes:
        """Return the plaintext of a body that has one frame.

        Raises
        ------
        IntegrityError
            See `open`.
        """
        try:
            return self._aead.decrypt(_NONCE_ALONE, stored, self._associated + _NONCE_ALONE[_TAIL:])
        except InvalidTag:
            raise self._damaged(0) from None

    def seal(self, plain: memoryview, out: memoryview, first_frame: int, *, final: bool) -> None:
        """Seal frames that follow each other.

        Parameters
        ----------
        plain : memoryview of bytes
            Whole frames; of a body's end, also a shorter last one.
        out : memoryview of bytes
            Takes the stored bytes; exactly as large as they are.
        first_frame : int
            Index of the first of them in the body.
        final : bool
            Whether they reach the end of the body.
        """
        encrypt_into, associated = self._aead.encrypt_into, self._associated
        index, last = first_frame, _last_frame(len(plain), len(out), first_frame, final=final)
        while index < last:
            run = _nonces(associated, index // _RUN)[index % _RUN :][: last - index]
            for (nonce, bound), source, target in zip(run, _PLAIN, _STORED, strict=False):
                encrypt_into(nonce, plain[source], bound, out[target])
            index += len(run)
            plain, out = plain[len(run) * FRAME_PLAIN_SIZE :], out[len(run) * FRAME_STORED_SIZE :]
        if final:
            nonce = _pack_nonce(last, 1)
            encrypt_into(nonce, plain, associated + nonce[_TAIL:], out)

    def open(self, stored: memoryview, out: memoryview, first_frame: int, *, final: bool) -> None:
        """Open frames that follow each other; the arguments are those of `seal`, the other way round.

        Raises
        ------
        IntegrityError
            A frame is not what was sealed at this place under this key; `out` holds zeros then.
        """
        decrypt_into, associated = self._aead.decrypt_into, self._associated
        first, last = first_frame, _last_frame(len(out), len(stored), first_frame, final=final)
        index, rest = first, out
        try:
            while first < last:
                run = _nonces(associated, first // _RUN)[first % _RUN :][: last - first]
                frames = zip(run, _STORED, _PLAIN, strict=False)
                for index, ((nonce, bound), source, target) in enumerate(frames, first):  # noqa: B007
                    decrypt_into(nonce, stored[source], bound, rest[target])
                first += len(run)
                stored, rest = stored[len(run) * FRAME_STORED_SIZE :], rest[len(run) * FRAME_PLAIN_SIZE :]
            if final:
                index = last
                nonce = _pack_nonce(last, 1)
                decrypt_into(nonce, stored, associated + nonce[_TAIL:], rest)
        except InvalidTag:
            out[:] = bytes(len(out))  # the libraries write before they check the tag
            raise self._damaged(index) from None

    def _damaged(self, index: int) -> IntegrityError:
        return IntegrityError(
            f"frame {index} of an encrypted body does not open ({self.suite.name}): its bytes, its place or its key "
            "are not those it was sealed with, although its checksum holds; restore the object from a backup. To find "
            "all such run tickvault audit verify --objects --everything: tickvault verify opens nothing encrypted"
        )


@lru_cache(maxsize=64)
def _nonces(associated: bytes, run: int) -> list[tuple[bytes, bytes]]:
    """Return nonce and associated data of each frame of a run that is not its body's last."""
    nonces = [_pack_nonce(index, 0) for index in range(run * _RUN, (run + 1) * _RUN)]
    return [(nonce, associated + nonce[_TAIL:]) for nonce in nonces]


def _last_frame(plain_size: int, stored_size: int, first_frame: int, *, final: bool) -> int:
    """Return the index of the frame that is last in the body, or where the next call goes on."""
    full = plain_size // FRAME_PLAIN_SIZE
    if final:
        full = max(0, plain_size - 1) // FRAME_PLAIN_SIZE
    elif plain_size % FRAME_PLAIN_SIZE:
        raise InvalidInputError(
            f"{plain_size} bytes are no whole frames of {FRAME_PLAIN_SIZE}; only the end of a body may be shorter"
        )
    if stored_size != plain_size + TAG_SIZE * (full + final):
        raise InvalidInputError(f"{plain_size} bytes of plaintext do not fit {stored_size} stored bytes")
    if not 0 <= first_frame <= FRAME_COUNT_MAX - full - final:
        raise InvalidInputError(
            f"frame {first_frame + full} is beyond the {FRAME_COUNT_MAX} that one key may seal; upload in parts"
        )
    return first_frame + full
