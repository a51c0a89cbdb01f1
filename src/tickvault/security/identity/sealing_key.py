"""The file of the key that seals the secrets of identities: ``VAULT/security/sealing.key``.

Invariants: it holds 32 random bytes and nothing else; only its owner can read it, else it is refused; it is there
whole or not at all, also when several processes make it at once, which then all use the same one; it is never
replaced, since every access key of the vault would be lost with it.
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
    path = os.path.join(vault_path, FOLDER_NAME, FILE_NAME)
    try:
        return _read(path)
    except NotFoundError:
        create_private(path, secrets.token_bytes(KEY_SIZE))
        return _read(path)


def _read(path: str) -> bytes:
    data = read_private(
        path, size_max=_SIZE_MAX, holds="the key to every secret of the vault", remedy="rotate the access keys"
    )
    if len(data) != KEY_SIZE:
        raise FormatError(
            f"{path}: must hold {KEY_SIZE} bytes, holds {len(data)}; bring it back from where you keep it. Without it "
            "the secrets of access keys are lost, and new ones must be made"
        )
    return data
