"""AES-256 in Galois/Counter Mode (NIST SP 800-38D), by OpenSSL through ``cryptography``.

Invariants: the library's object is used as it is where it can write into a buffer, and wrapped where it cannot, with
equal bytes.
"""

from __future__ import annotations

from typing import cast

import cryptography
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tickvault.security.cipher.aead import Aead, Buffer


class CopyingAesGcm:
    """The same for releases of ``cryptography`` whose `AESGCM` cannot write into a buffer."""

    __slots__ = ("_cipher", "decrypt", "encrypt")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.encrypt = self._cipher.encrypt
        self.decrypt = self._cipher.decrypt

    def encrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write ciphertext and tag into `buf`."""
        sealed = self._cipher.encrypt(nonce, data, associated_data)
        memoryview(buf)[:] = sealed
        return len(sealed)

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write the plaintext into `buf`."""
        plain = self._cipher.decrypt(nonce, data, associated_data)
        memoryview(buf)[:] = plain
        return len(plain)


_WRITES_INTO = hasattr(AESGCM, "encrypt_into") and hasattr(AESGCM, "decrypt_into")


def aes_gcm(key: bytes) -> Aead:
    """Return the cipher of a key of 32 bytes."""
    # Bytes-like arguments are all that both sides take; the library's annotations name them otherwise.
    return cast("Aead", AESGCM(key) if _WRITES_INTO else CopyingAesGcm(key))


def module() -> str:
    """Return which library does the work, and its version."""
    return f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}"
