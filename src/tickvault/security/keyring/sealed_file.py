"""The bytes of a keyring file.

Invariants: the file has one spelling only, so that every changed bit is noticed, and damage is told apart from a wrong
passphrase (a checksum needs no secret, a check value does) and from a change on purpose (a tag, over the header too);
nothing of the sealed part is read before its tag was checked. The drawing is in ``docs/formats/keyring.md``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tickvault.errors import AccessDeniedError, FormatError, IntegrityError, InvalidInputError
from tickvault.security.cipher import AES_256_GCM
from tickvault.security.cipher.aead import NONCE_SIZE, InvalidTag
from tickvault.security.keyring.key import Key
from tickvault.security.keyring.protection import Protection, wrong_secret

FORMAT = "tickvault-keyring"
FORMAT_VERSION = 1
#: Largest keyring file, bytes.
FILE_SIZE_MAX = 8 << 20
#: Keys in one keyring, at most; destroyed ones count.
KEY_COUNT_MAX = 4096

_FIELDS = {"format", "version", "keyring_id", "generation", "protection", "check", "nonce", "sealed", "sha256"}
_MEND = "restore it from a backup"


class KeyringContent(NamedTuple):
    """What a keyring file says."""

    keyring_id: str
    """32 hexadecimal digits, of this keyring for ever."""
    generation: int
    """One more with every change."""
    protection: Mapping[str, Any]
    keys: Mapping[str, Key]

    def __repr__(self) -> str:
        return f"KeyringContent({self.keyring_id}, generation={self.generation}, {len(self.keys)} keys)"


def encode(content: KeyringContent, protection: Protection) -> bytes:
    """Return the bytes of the file."""
    seal_key, check = _derive(protection.master_key(content.protection))
    if len(content.keys) > KEY_COUNT_MAX:
        raise InvalidInputError(
            f"a keyring holds at most {KEY_COUNT_MAX} keys, destroyed ones too; make another keyring"
        )
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "keyring_id": content.keyring_id,
        "generation": content.generation,
        "protection": dict(content.protection),
        "check": check,
    }
    plain = _spell({"keys": [content.keys[key_id].to_json() for key_id in sorted(content.keys)]})
    nonce = secrets.token_bytes(NONCE_SIZE)
    sealed = AES_256_GCM.aead(seal_key).encrypt(nonce, plain, _spell(document))
    document["nonce"] = nonce.hex()
    document["sealed"] = base64.b64encode(sealed).decode("ascii")
    document["sha256"] = hashlib.sha256(_spell(document)).hexdigest()
    data = _spell(document, indent=1) + b"\n"
    if len(data) > FILE_SIZE_MAX:
        raise InvalidInputError(f"the keyring would have {len(data)} bytes, the limit is {FILE_SIZE_MAX}; make another")
    return data


def decode(data: bytes, protection: Protection, path: str) -> KeyringContent:
    """Return what the bytes of the file at `path` say.

    Raises
    ------
    IntegrityError
        The bytes are damaged, cut off, or were changed on purpose.
    AccessDeniedError
        The passphrase or the key file is another one.
    FormatError
        It is no keyring, or a newer release wrote it.
    """
    document = _checked(data, path)
    header = {name: document[name] for name in document if name not in ("nonce", "sealed", "sha256")}
    seal_key, check = _derive(protection.master_key(document["protection"]))
    if not hmac.compare_digest(check, document["check"]):
        raise AccessDeniedError(wrong_secret(path, protection))
    try:
        nonce, sealed = bytes.fromhex(document["nonce"]), base64.b64decode(document["sealed"], validate=True)
        plain = AES_256_GCM.aead(seal_key).decrypt(nonce, sealed, _spell(header))
    except (InvalidTag, ValueError):
        raise IntegrityError(
            f"{path}: was changed by someone without its {protection.kind.replace('_', ' ')}; {_MEND}"
        ) from None
    try:
        keys = [Key.from_json(each) for each in json.loads(plain)["keys"]]
    except (KeyError, TypeError, ValueError):
        raise FormatError(f"{path}: holds what this release cannot read; a newer one wrote it") from None
    by_id = {key.key_id: key for key in keys}
    if len(by_id) != len(keys):
        raise FormatError(f"{path}: has two keys of one id; {_MEND}")
    return KeyringContent(document["keyring_id"], document["generation"], document["protection"], by_id)


def protection_kind(data: bytes) -> str:
    """Return the kind of protection that the bytes of a keyring file name; empty if that cannot be made out."""
    try:
        kind = json.loads(data)["protection"]["kind"]
    except (ValueError, RecursionError, TypeError, LookupError):
        return ""
    return kind if isinstance(kind, str) else ""


def _checked(data: bytes, path: str) -> dict[str, Any]:
    """Return the document, if its bytes are those that were written."""
    if len(data) > FILE_SIZE_MAX:
        raise FormatError(f"{path}: is larger than {FILE_SIZE_MAX} bytes; it is no keyring")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise IntegrityError(f"{path}: is damaged or cut off ({len(data)} bytes), or no keyring; {_MEND}") from None
    if not isinstance(document, dict) or "sha256" not in document:
        raise FormatError(f"{path}: is no keyring")
    covered = {name: value for name, value in document.items() if name != "sha256"}
    good = hashlib.sha256(_spell(covered)).hexdigest()
    if document["sha256"] != good or _spell(document, indent=1) + b"\n" != data:
        raise IntegrityError(f"{path}: is damaged, its checksum does not hold; {_MEND}")
    if document.get("format") != FORMAT or document.get("version") != FORMAT_VERSION:
        raise FormatError(
            f"{path}: is {document.get('format')!r:.60} version {document.get('version')!r:.20}; this release reads "
            f"{FORMAT!r} version {FORMAT_VERSION}"
        )
    strings = all(isinstance(document.get(name), str) for name in ("keyring_id", "check", "nonce", "sealed"))
    generation = document.get("generation")
    if (
        document.keys() != _FIELDS
        or not strings
        or not document["check"].isascii()
        or type(generation) is not int
        or generation < 1
        or not isinstance(document["protection"], dict)
    ):
        raise FormatError(f"{path}: lacks a field of a keyring, or has one of another type; {_MEND}")
    return document


def _derive(master: bytes) -> tuple[bytes, str]:
    """Return the key that seals, and what tells that the master key is the right one."""
    seal_key = HKDF(SHA256(), AES_256_GCM.key_size, None, b"tickvault keyring seal 1").derive(master)
    return seal_key, HKDF(SHA256(), 16, None, b"tickvault keyring check 1").derive(master).hex()


def _spell(document: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    return json.dumps(
        document, sort_keys=True, separators=(",", ":") if indent is None else None, indent=indent
    ).encode("ascii")
