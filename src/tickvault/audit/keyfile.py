"""The key file of the default signer, and the list of all public keys that ever signed a trail.

Invariants: the private key is readable by its owner only, and refused otherwise; it is there whole or not at all, also
when several processes open a new trail at once, which then all use the same key. `signers.json` is a copy for people:
what counts stands in the chain itself (`keys`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tickvault.audit.files import replace_file
from tickvault.audit.keys import PinnedKey
from tickvault.audit.signing import ED25519, Ed25519Signer, PublicKey, Signer, provider_of, public_key
from tickvault.errors import FormatError, NotFoundError, StorageError
from tickvault.seam.disk import Disk, OsDisk
from tickvault.seam.private_file import create_private, read_private

KEY_FILE = "signing.key"
NEXT_KEY_FILE = "signing.key.next"
SIGNERS_FILE = "signers.json"
_SIZE_MAX = 1024 * 1024
_KEY_SIZE_MAX = 4096


def load_signer(folder: str, *, kind: str = ED25519, settings: Mapping[str, str] | None = None) -> Signer:
    """Return the signer of the trail in a folder; the default one's key is made at first use.

    Raises
    ------
    AccessDeniedError
        Others can read the key file.
    FormatError
        The file is not an Ed25519 key.
    InvalidInputError
        No signer of that kind is installed.
    """
    if kind != ED25519:
        return provider_of(kind).open_signer(folder, settings or {})
    path = os.path.join(folder, KEY_FILE)
    try:
        return _read_key(path)
    except NotFoundError:
        _create_key(path)
        return _read_key(path)


def make_next_signer(folder: str) -> Signer:
    """Make the key that will follow the present one, and keep it beside it until `promote_next_signer`."""
    path = os.path.join(folder, NEXT_KEY_FILE)
    try:
        return _read_key(path)
    except NotFoundError:
        _create_key(path)
        return _read_key(path)


def next_signer(folder: str) -> Signer | None:
    """Return the key that was made to follow the present one, None if there is none."""
    try:
        return _read_key(os.path.join(folder, NEXT_KEY_FILE))
    except NotFoundError:
        return None


def promote_next_signer(folder: str, disk: Disk | None = None) -> None:
    """Let the next key take the place of the present one; the trail has to name it already."""
    disk = disk or OsDisk()
    try:
        os.replace(os.path.join(folder, NEXT_KEY_FILE), os.path.join(folder, KEY_FILE))
    except OSError as error:
        raise StorageError(f"renaming {NEXT_KEY_FILE} in {folder}: {error.strerror}") from error
    disk.sync_directory(folder)


def write_signers(disk: Disk, folder: str, keys: Iterable[tuple[PublicKey, int]]) -> None:
    """Write the list of public keys, each with the block that introduced it."""
    entries = [
        {"key_id": key.key_id.hex(), "algorithm": key.algorithm, "public_key": key.key.hex(), "first_block": block}
        for key, block in keys
    ]
    text = json.dumps({"signers": entries}, indent=2) + "\n"
    replace_file(disk, os.path.join(folder, SIGNERS_FILE), text.encode())


def read_signers(path: str) -> list[PinnedKey]:
    """Return the public keys of a `signers.json`, each with the block that introduced it, for `verify`.

    Raises
    ------
    NotFoundError
        There is no such file.
    FormatError
        It is not such a list.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_SIZE_MAX + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file of public keys") from None
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror}") from error
    try:
        if len(raw) > _SIZE_MAX:
            raise ValueError
        entries = json.loads(raw)["signers"]
        keys = [
            PinnedKey(public_key(str(entry["algorithm"]), str(entry["public_key"])), _first_block(entry))
            for entry in entries
        ]
        _check_places(keys)
        return keys
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f": {error}" if isinstance(error, FormatError) else ""
        raise FormatError(
            f"{path}: is no list of public keys{reason}; it must be JSON with 'signers', each with 'algorithm' and "
            "'public_key'"
        ) from None


def _first_block(entry: Mapping[str, object]) -> int | None:
    number = entry.get("first_block")
    if number is None:
        return None
    # A `bool` is an `int` to Python, and no number of a block.
    if type(number) is not int or not 0 < number < 1 << 64:
        raise FormatError(f"'first_block' must be the number of a block, was {str(number)[:40]}")
    return number


def _check_places(keys: Iterable[PinnedKey]) -> None:
    places: dict[int, PublicKey] = {}
    for key, number in keys:
        if number is not None and places.setdefault(number, key) != key:
            raise FormatError(f"block {number} introduces two keys; keep the list of each trail in a file of its own")


def _read_key(path: str) -> Ed25519Signer:
    pem = read_private(
        path, size_max=_KEY_SIZE_MAX, holds="the key that signs the audit trail", remedy="rotate the key"
    )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise FormatError(
            f"{path}: must be an Ed25519 private key (PKCS #8, PEM, without a password); restore it from a backup. "
            "Without it the trail can only go on under a new key, which every check will tell"
        )
    return Ed25519Signer(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))


def _create_key(path: str) -> None:
    """Write a new key; when another process was faster, its key stays."""
    create_private(path, Ed25519Signer.generate().private_pem())
