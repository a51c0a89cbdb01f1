"""Secrets made unreadable, and bound to what they belong to.

Invariants: what was sealed is opened only with the same key and the same binding, so that a blob moved to another
identity, or to another vault, does not open; a changed bit anywhere is an `IntegrityError`, never other plaintext.

A blob of `FileSealer`::

    0      1           5          17                      n-16      n
    | 0x01 | key print | nonce    | AES-256-GCM ciphertext | tag    |

The key print is the first 4 bytes of the SHA-256 of ``tickvault sealing key`` and the key: it tells a blob of another
key from a damaged one. Nonces are random: NIST SP 800-38D, 8.3, allows 2**32 of them under one key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tickvault.errors import AccessDeniedError, IntegrityError, InvalidInputError, NotFoundError
from tickvault.security.identity import sealing_key

_VERSION = b"\x01"
_PRINT_SIZE = 4
_NONCE_SIZE = 12
_TAG_SIZE = 16
_HEADER_SIZE = len(_VERSION) + _PRINT_SIZE
#: What sealing adds, bytes.
OVERHEAD_SIZE = _HEADER_SIZE + _NONCE_SIZE + _TAG_SIZE
PLAINTEXT_SIZE_MAX = 64 * 1024


class Sealer(Protocol):
    """Seals small secrets."""

    def seal(self, plaintext: bytes, binding: bytes) -> bytes:
        """Return a blob that `unseal` opens with the same binding."""

    def unseal(self, blob: bytes, binding: bytes) -> bytes:
        """Return what was sealed; raises `IntegrityError` for any other blob or binding."""

    def make_key(self) -> bool:
        """Make the key if it is missing, whatever was sealed before; return whether it was."""


class FileSealer:
    """AES-256-GCM under a key of 32 bytes; `open` takes it from the vault's folder."""

    __slots__ = ("_cipher", "_header")

    def __init__(self, key: bytes) -> None:
        if len(key) != sealing_key.KEY_SIZE:
            raise InvalidInputError(f"sealing key: must have {sealing_key.KEY_SIZE} bytes, had {len(key)}")
        self._cipher = AESGCM(key)
        self._header = _VERSION + hashlib.sha256(b"tickvault sealing key" + key).digest()[:_PRINT_SIZE]

    @classmethod
    def open(cls, vault_path: str) -> FileSealer:
        """Take the key of a vault from ``security/sealing.key``, which is made at the first use."""
        return cls(sealing_key.load_or_create(vault_path))

    def __repr__(self) -> str:
        return "<FileSealer>"

    def seal(self, plaintext: bytes, binding: bytes) -> bytes:
        """Return a blob that `unseal` opens with the same binding."""
        if len(plaintext) > PLAINTEXT_SIZE_MAX:
            raise InvalidInputError(f"sealing {len(plaintext)} bytes: at most {PLAINTEXT_SIZE_MAX}")
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return self._header + nonce + self._cipher.encrypt(nonce, plaintext, self._header + binding)

    def unseal(self, blob: bytes, binding: bytes) -> bytes:
        """Return what was sealed.

        Raises
        ------
        IntegrityError
            The blob is damaged, was sealed with another key, or belongs to something else.
        """
        if not OVERHEAD_SIZE <= len(blob) <= PLAINTEXT_SIZE_MAX + OVERHEAD_SIZE or blob[:1] != _VERSION:
            raise IntegrityError("sealed secret: is not one; it was damaged, or another release wrote it")
        if blob[:_HEADER_SIZE] != self._header:
            raise IntegrityError(
                f"sealed secret: was sealed with key {blob[1:_HEADER_SIZE].hex()}, and this vault has "
                f"{self._header[1:].hex()}; bring the vault's own {sealing_key.FOLDER_NAME}/{sealing_key.FILE_NAME} "
                "back; or, if it is lost for good, run: tickvault iam reset-sealing-key"
            )
        nonce = blob[_HEADER_SIZE : _HEADER_SIZE + _NONCE_SIZE]
        try:
            return self._cipher.decrypt(nonce, blob[_HEADER_SIZE + _NONCE_SIZE :], self._header + binding)
        except InvalidTag:
            raise IntegrityError("sealed secret: was altered, or belongs to another identity or vault") from None

    def make_key(self) -> bool:
        """Return False: there is one."""
        return False


class VaultSealer:
    """The sealer of a vault's folder, opened when it is first needed.

    A lost key is not made again by the way: what it sealed would be lost without anybody having said so. One that was
    put back, or made anew, is taken by processes that run.

    Parameters
    ----------
    vault_path : str
    sealed_before : callable
        Tells whether anything of the vault was sealed, which needs the key that it has, or had.
    """

    def __init__(self, vault_path: str, sealed_before: Callable[[], bool]) -> None:
        self._vault_path = vault_path
        self._sealed_before = sealed_before
        self._sealer: FileSealer | None = None

    def seal(self, plaintext: bytes, binding: bytes) -> bytes:
        """Return a blob that `unseal` opens with the same binding; makes the key if nothing was sealed before.

        Raises
        ------
        AccessDeniedError
            The key is missing, and something was sealed with it.
        """
        try:
            sealing_key.load(self._vault_path)
        except NotFoundError:
            if not self._sealed_before():
                sealing_key.create(self._vault_path)
        return self._read().seal(plaintext, binding)

    def unseal(self, blob: bytes, binding: bytes) -> bytes:
        """Return what was sealed; raises as `FileSealer.unseal`, and `AccessDeniedError` if the key is missing."""
        known = self._sealer
        if known is not None:
            try:
                return known.unseal(blob, binding)
            except IntegrityError:
                pass  # perhaps the file is another one now
        return self._read().unseal(blob, binding)

    def make_key(self) -> bool:
        """Make the key if it is missing, whatever was sealed before; return whether it was."""
        return sealing_key.create(self._vault_path)

    def _read(self) -> FileSealer:
        """Return the sealer of the file as it is now."""
        try:
            found = FileSealer(sealing_key.load(self._vault_path))
        except NotFoundError:
            raise AccessDeniedError(
                f"{sealing_key.FOLDER_NAME}/{sealing_key.FILE_NAME} of the vault is missing, which every access key "
                "and session needs; put it back from where you keep it; or, if it is lost for good, run: "
                "tickvault iam reset-sealing-key"
            ) from None
        self._sealer = found
        return found
