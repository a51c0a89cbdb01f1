"""Data keys wrapped by a key-encryption key, each bound to the one place where it may be used.

Invariants: a wrapped key opens only with the binding it was wrapped with; a binding reads one way only (every field
has a fixed size, or its size before it); nonces are random, so the caller changes the wrapping key before it has
wrapped 2**32 keys (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterable

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.cipher.aead import NONCE_SIZE, Aead, InvalidTag
from tickvault.security.cipher.layout import TAG_SIZE

#: What wrapping adds to a key, bytes.
WRAP_OVERHEAD = NONCE_SIZE + TAG_SIZE
#: Largest thing that is wrapped, bytes.
WRAPPED_PLAIN_SIZE_MAX = 256

_PREFIX = b"tickvault wrap 1"
_BINDING_PREFIX = b"tickvault binding 1"
# bucket id, sequence, size, length of the key, length of the digest of parts
_BINDING = struct.Struct(">QQQHB")
_PART = struct.Struct(">IQ16s")


def wrap_data_key(kek: Aead, data_key: bytes, binding: bytes) -> bytes:
    """Return a data key as it may be stored: nonce, ciphertext, tag; 60 bytes for a key of 32.

    Parameters
    ----------
    kek : Aead
        Cipher of the key-encryption key, see `Suite.aead`.
    data_key : bytes
        What is wrapped.
    binding : bytes
        Names what it belongs to, see `body_binding`; must be given again to unwrap.
    """
    if not 0 < len(data_key) <= WRAPPED_PLAIN_SIZE_MAX:
        raise InvalidInputError(f"a key to wrap must have 1 to {WRAPPED_PLAIN_SIZE_MAX} bytes, has {len(data_key)}")
    nonce = secrets.token_bytes(NONCE_SIZE)
    return nonce + kek.encrypt(nonce, data_key, _PREFIX + binding)


def unwrap_data_key(kek: Aead, wrapped: bytes, binding: bytes) -> bytes:
    """Return the data key of what `wrap_data_key` returned.

    Raises
    ------
    IntegrityError
        The bytes were changed, or belong to another object, version or key.
    """
    try:
        return kek.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], _PREFIX + binding)
    except (InvalidTag, ValueError):  # ValueError: too short for a nonce
        raise IntegrityError(
            "a wrapped data key does not open: it was damaged, or belongs to another object, version or "
            "key-encryption key; restore the object from a backup. To find all such run tickvault audit verify "
            "--objects --everything: tickvault verify opens nothing encrypted"
        ) from None


def body_binding(*, bucket_id: int, key: bytes, sequence: int, size: int, parts: bytes = b"") -> bytes:
    """Return what binds a wrapped data key to one version of one object.

    Parameters
    ----------
    bucket_id : int
        Of the bucket; ids are never used again.
    key : bytes
        The object's key, at most 65,535 bytes.
    sequence : int
        Number that no other version in the vault has: of the version, or of its upload.
    size : int
        Bytes of plaintext of all of it.
    parts : bytes
        `parts_digest` of an object that has parts, else empty.
    """
    return _BINDING_PREFIX + _BINDING.pack(bucket_id, sequence, size, len(key), len(parts)) + key + parts


def parts_digest(parts: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return 32 bytes that name the parts of an object, in their order.

    Without them, parts of one upload could be exchanged, or an earlier try of a part put in a later one's place.

    Parameters
    ----------
    parts : iterable of (number, size, salt)
        Part number, bytes of plaintext, salt of the part's sealer.
    """
    digest = hashlib.sha256(b"tickvault parts 1")
    for number, size, salt in parts:
        if len(salt) != 16:
            raise InvalidInputError(f"the salt of part {number} must have 16 bytes, has {len(salt)}")
        digest.update(_PART.pack(number, size, salt))
    return digest.digest()
