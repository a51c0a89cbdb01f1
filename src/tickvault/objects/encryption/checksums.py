"""Checksums of a plaintext, as a version or a part keeps them: sealed, where the entity tag tells nothing either.

A checksum confirms a guess of the body as well as an MD5 does.  So it is stored in the clear (``cs``) only where the
MD5 is, in mode ``managed``; in the modes ``kms`` and ``customer`` it is sealed (``sc``) under a key that the data key
gives.  The names of the algorithms are no secret.

Invariants: who has no data key has no checksum; one that does not open (its key is gone, or it was changed, or is that
of another version) is as good as none, and no reason to refuse the rest of what is known of the version: the audit
trail has a digest of what was stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tickvault.errors import IntegrityError
from tickvault.objects.encryption.setting import Mode
from tickvault.security.cipher import Suite, ValueCipher


def seal_checksums(
    mode: Mode, suite: Suite, data_key: bytes, extras: Mapping[str, Any], salt: bytes = b""
) -> Mapping[str, Any]:
    """Return the extras of a record with its checksums as they are to be stored.

    Parameters
    ----------
    extras : mapping
        With ``cs``, if there are any.
    salt : bytes
        Of a part's key; empty for an object.
    """
    checksums = extras.get("cs")
    if mode == "managed" or not checksums:
        return extras
    cipher = ValueCipher(suite, data_key)
    kept = {name: value for name, value in extras.items() if name != "cs"}
    kept["sc"] = {name: cipher.seal(name, value.encode(), salt) for name, value in checksums.items()}
    return kept


def open_checksums(suite: Suite, data_key: bytes, sealed: Mapping[str, bytes], salt: bytes = b"") -> dict[str, str]:
    """Return the checksums that open."""
    if not sealed:
        return {}
    cipher = ValueCipher(suite, data_key)
    found = {}
    for name, value in sealed.items():
        try:
            found[name] = cipher.open(name, value, salt).decode()
        except IntegrityError:
            continue
    return found
