"""Short values sealed beside a body: what would tell of its plaintext, such as its checksums.

They have a key of their own, derived from the data key: under that one no nonce of theirs, which are random, can meet
the nonce of a frame.

Invariants: a value opens under its own name, beside the body (or the part) that it was sealed for, and nowhere else;
nonces are random, so one data key seals fewer than 2**32 values (NIST SP 800-38D, section 8.3): an upload has 10,000
parts.  The drawing is in ``docs/formats/encrypted-body.md``.
"""

from __future__ import annotations

import hmac
import secrets

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.cipher.aead import NONCE_SIZE, InvalidTag
from tickvault.security.cipher.suite import Suite

#: Version of the format of sealed values.
VALUES_VERSION = 1

_ASSOCIATED = b"tickvault value" + bytes((VALUES_VERSION,))


class ValueCipher:
    """The cipher of the values beside the bodies of one data key."""

    __slots__ = ("_aead", "suite")

    def __init__(self, suite: Suite, data_key: bytes) -> None:
        if len(data_key) != suite.key_size:
            raise InvalidInputError(f"a data key of {suite.name} must have {suite.key_size} bytes, has {len(data_key)}")
        self.suite = suite
        # HKDF-Expand with SHA-256, one block, as for the key of a part (`frames.body_key`); the text differs.
        info = f"tickvault value {VALUES_VERSION} {suite.name} ".encode()
        self._aead = suite.aead(hmac.digest(data_key, info + b"\x01", "sha256")[: suite.key_size])

    def __repr__(self) -> str:
        return f"ValueCipher({self.suite.name})"

    def seal(self, name: str, value: bytes, salt: bytes = b"") -> bytes:
        """Return a value as it may be stored: nonce, ciphertext, tag.

        Parameters
        ----------
        name : str
            What it is; must be given again to open it.
        salt : bytes
            Of the part that it tells of; empty for that of a whole object.
        """
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._aead.encrypt(nonce, value, self._associated(name, salt))

    def open(self, name: str, sealed: bytes, salt: bytes = b"") -> bytes:
        """Return the value of what `seal` returned.

        Raises
        ------
        IntegrityError
            It was changed, or sealed under another name, or for another body.
        """
        try:
            return self._aead.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], self._associated(name, salt))
        except (InvalidTag, ValueError, TypeError):  # too short for a nonce; no bytes at all
            raise IntegrityError(
                f"a sealed value ({name}) does not open: it was damaged, or belongs to another object; run "
                "tickvault verify, and restore the object from a backup"
            ) from None

    def _associated(self, name: str, salt: bytes) -> bytes:
        return _ASSOCIATED + bytes((self.suite.id, len(salt))) + salt + name.encode()
