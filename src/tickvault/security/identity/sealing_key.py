"""The file of the key that seals the secrets of identities: ``VAULT/security/sealing.key``.

Invariants: it holds 32 random bytes and nothing else; only its owner can read it, else it is refused; it is there
whole or not at all, also when several processes make it at once, which then all use the same one; it is never
replaced, since every access key of the vault would be lost with it. Whether a missing one may be made is for
`sealer.VaultSealer` to say: only while nothing was sealed.
"""

from __future__ import annotations

import os
import secrets

from tickvault.errors import FormatError, NotFoundError
from tickvault.seam.private_file import create_private, read_private

FOLDER_NAME = "security"
FILE_NAME = "sealing.key"
KEY_SIZE = 32
#: More than that is no key, and is not read to find out what it is.
_SIZE_MAX = 4096


def load_or_create(vault_path: str) -> bytes:
    """Return the key of a vault, made at the first call.

    Raises
    ------
    AccessDeniedError
        Others can read the file, or it belongs to somebody else.
    FormatError
        The file does not hold a key.
    StorageError
        The system refused.
    """
    try:
        return load(vault_path)
    except NotFoundError:
        create(vault_path)
        return load(vault_path)


def load(vault_path: str) -> bytes:
    """Return the key of a vault; raises `NotFoundError` if there is none, else as `load_or_create`."""
    return _read(_path(vault_path))


def create(vault_path: str) -> bool:
    """Make the key of a vault if it has none; return whether it had none."""
    path = _path(vault_path)
    if os.path.lexists(path):
        return False
    create_private(path, secrets.token_bytes(KEY_SIZE))
    return True


def _path(vault_path: str) -> str:
    return os.path.join(vault_path, FOLDER_NAME, FILE_NAME)


def _read(path: str) -> bytes:
    data = read_private(
        path, size_max=_SIZE_MAX, holds="the key to every secret of the vault", remedy="rotate the access keys"
    )
    if len(data) != KEY_SIZE:
        raise FormatError(
            f"{path}: must hold {KEY_SIZE} bytes, holds {len(data)}; bring it back from where you keep it. If it is "
            "lost for good, move this file away, then run: tickvault iam reset-sealing-key"
        )
    return data
