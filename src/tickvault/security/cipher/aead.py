"""What a suite's cipher does: seal bytes under a nonce, and open them if nothing was changed.

Invariants: a tag that does not hold raises `InvalidTag`, after which a buffer that was to be filled may hold what was
not verified, and `Frames` clears it; an implementation may be called by several threads at once; its representation
shows no key.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag

Buffer = bytes | bytearray | memoryview

NONCE_SIZE = 12

__all__ = ["NONCE_SIZE", "Aead", "Buffer", "InvalidTag"]


class Aead(Protocol):
    """A key, ready for use. The names are those of ``cryptography``'s `AESGCM`, which is one as it stands."""

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return the plaintext of ciphertext and tag.

        Raises
        ------
        InvalidTag
            The bytes, the nonce, the associated data or the key are not those of the sealing.
        """

    def encrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write ciphertext and tag into `buf`, which must be exactly as large."""

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write the plaintext into `buf`, which must be exactly as large; see `decrypt`."""
