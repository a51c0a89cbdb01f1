"""What a record says of its encryption: the entry ``en`` of a PUT's, PART's or UPLOAD's meta.

======  ==============================================================================================
``m``   mode: 0 managed, 1 kms, 2 customer
``s``   id of the suite
``k``   id of the key that wraps the data key
``w``   the wrapped data key; it names the version of the key
``c``   only of a customer's key: 16 bytes of salt, 16 of check value
``p``   only of an object made of parts: of each, its number (2 bytes, big-endian) and the salt of its key (16)
``n``   only of a part, which has no other field but ``s``: the salt of its key
======  ==============================================================================================

``rw`` in a version's later attributes holds ``k`` and ``w`` where they were made anew.

Invariants: a wrapped data key opens at one place only: vault, bucket, key, sequence number, size and parts are bound to
it; nothing here is secret.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tickvault.errors import FormatError, IntegrityError
from tickvault.objects.encryption.setting import MODES, Mode
from tickvault.security.cipher import body_binding, parts_digest, suite_with_id

_PART = struct.Struct(">H16s")
#: Parts of the binding of an upload: never those of an object.
UPLOAD_PARTS = b"upload"
_VAULT = b"tickvault vault 1"
#: A keyring's blob says its version in byte 0, and the version of its key in bytes 2 to 5 (docs/formats).
_KEYRING_BLOB = 1


class EncryptionInfo(NamedTuple):
    """How a version is encrypted, as far as everybody may know."""

    mode: Mode
    suite: str
    key_id: str
    key_version: int
    """Of the key that wraps its data key; 0 where the key service elsewhere does not tell."""
    customer_check: bytes = b""
    """Tells a customer's key from another one."""


class PartSalt(NamedTuple):
    """A part of an encrypted object: its number, and the salt of its key."""

    number: int
    salt: bytes


def place_binding(
    vault_id: bytes, mode: int, suite_id: int, bucket_id: int, key: bytes, sequence: int, size: int, parts: bytes = b""
) -> bytes:
    """Return what binds a wrapped data key to one place in one vault; see `security.cipher.body_binding`.

    Parameters
    ----------
    mode, suite_id : int
        As the entry ``en`` has them.
    """
    bound = body_binding(bucket_id=bucket_id, key=key, sequence=sequence, size=size, parts=parts)
    return _prefix(vault_id, mode, suite_id) + bound


@lru_cache(maxsize=64)
def _prefix(vault_id: bytes, mode: int, suite_id: int) -> bytes:
    return _VAULT + vault_id + bytes((mode, suite_id))


def encode_encryption(
    mode: Mode,
    suite_id: int,
    key_id: str,
    wrapped: bytes,
    *,
    customer_check: bytes = b"",
    parts: Sequence[PartSalt] = (),
) -> dict[str, Any]:
    """Return the entry ``en`` of a record's extras."""
    found: dict[str, Any] = {"m": MODES.index(mode), "s": suite_id, "k": key_id, "w": wrapped}
    if customer_check:
        found["c"] = customer_check
    if parts:
        found["p"] = b"".join(_PART.pack(number, salt) for number, salt in parts)
    return found


def effective(extras: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry ``en`` of a version's extras with what was made anew; None: not encrypted."""
    found: Mapping[str, Any] | None = extras.get("en")
    if found is None or "rw" not in extras:
        return found
    return {**found, **extras["rw"]}


def info_of(en: Mapping[str, Any]) -> EncryptionInfo:
    """Return what may be known of an entry ``en``."""
    number = en.get("m")
    if type(number) is not int or not 0 <= number < len(MODES):
        raise FormatError("an object's encryption is of a kind that this release does not know")
    mode = MODES[number]
    return EncryptionInfo(
        mode,
        suite_with_id(en["s"]).name,
        en["k"],
        key_version_of(en["w"]),
        en.get("c", b"") if mode == "customer" else b"",
    )


def key_version_of(wrapped: bytes) -> int:
    """Return which version of its key wrapped a data key, 0 where that is not told."""
    return int.from_bytes(wrapped[2:6], "big") if len(wrapped) > 6 and wrapped[0] == _KEYRING_BLOB else 0


def part_salts(en: Mapping[str, Any], sizes: Sequence[int]) -> list[PartSalt]:
    """Return the parts of an encrypted object; none if it is one body.

    Raises
    ------
    IntegrityError
        There are not as many as there are sizes.
    """
    raw = en.get("p")
    if raw is None:
        return []
    if not raw or len(raw) != len(sizes) * _PART.size:
        raise IntegrityError(
            "an encrypted object does not have as many keys as parts; its record was changed: restore a backup"
        )
    return [PartSalt(*found) for found in _PART.iter_unpack(raw)]


def digest_of(parts: Sequence[PartSalt], sizes: Sequence[int]) -> bytes:
    """Return what binds a data key to the parts of its object; empty without parts."""
    if not parts:
        return b""
    return _digest(tuple(parts), tuple(sizes))


@lru_cache(maxsize=16)
def _digest(parts: tuple[PartSalt, ...], sizes: tuple[int, ...]) -> bytes:
    # Of ten thousand parts it takes milliseconds, and an object like that is read range by range.
    return parts_digest((number, size, salt) for (number, salt), size in zip(parts, sizes, strict=True))
