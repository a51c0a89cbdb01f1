"""The suites that a bucket can choose from.

Invariants: a suite's id and name are written into every sealed byte's associated data and never change their meaning;
a suite is chosen per bucket, never for a process.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from tickvault.errors import FormatError, InvalidInputError
from tickvault.security.cipher import aes_gcm, sm4_gcm
from tickvault.security.cipher.aead import Aead


@dataclass(frozen=True, slots=True)
class Suite:
    """An authenticated cipher, with the size of its keys."""

    name: str
    id: int
    """In stored bytes, 1 to 255."""
    key_size: int
    """Bytes."""
    _aead: Callable[[bytes], Aead]
    _module: Callable[[], str]

    @property
    def module(self) -> str:
        """The library that does the work, and its version."""
        return self._module()

    def aead(self, key: bytes) -> Aead:
        """Return the cipher of a key.

        Raises
        ------
        InvalidInputError
            The key has another size than `key_size`.
        """
        if len(key) != self.key_size:
            raise InvalidInputError(f"a key of {self.name} must have {self.key_size} bytes, has {len(key)}")
        return self._aead(key)

    def new_key(self) -> bytes:
        """Return a fresh random key."""
        return secrets.token_bytes(self.key_size)


AES_256_GCM = Suite("aes-256-gcm", 1, 32, aes_gcm.aes_gcm, aes_gcm.module)
SM4_GCM = Suite("sm4-gcm", 2, 16, sm4_gcm.sm4_gcm, sm4_gcm.module)

#: All suites by name.
SUITES: dict[str, Suite] = {suite.name: suite for suite in (AES_256_GCM, SM4_GCM)}
_BY_ID = {suite.id: suite for suite in SUITES.values()}


def suite_named(name: str) -> Suite:
    """Return a suite.

    Raises
    ------
    InvalidInputError
        There is none of that name.
    """
    if name not in SUITES:
        raise InvalidInputError(f"there is no cipher suite {name!r}; the suites are {', '.join(SUITES)}")
    return SUITES[name]


def suite_with_id(suite_id: int) -> Suite:
    """Return the suite with an id that was stored.

    Raises
    ------
    FormatError
        This release knows none with that id.
    """
    if suite_id not in _BY_ID:
        raise FormatError(
            f"stored bytes name cipher suite {suite_id}; this release knows {sorted(_BY_ID)}: "
            "a newer release wrote them, or they are damaged"
        )
    return _BY_ID[suite_id]
