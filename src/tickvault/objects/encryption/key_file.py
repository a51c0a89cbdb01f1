"""The key file that a vault makes for its keyring where nobody names another protection.

It lies in the vault's folder, beside the keyring: it protects against the loss of a disk or a backup that has the
keyring and not this file, and against nobody who can read the folder.

Invariants: it is there whole or not at all, also when several processes make it at once, which then all use the same
one; it is never replaced, since every key of the vault would be lost with it.
"""

from __future__ import annotations

import os
import secrets

from tickvault.seam.disk import FileLock, OsDisk, storage_error
from tickvault.security.keyring.protection import KEY_FILE_SIZE

FOLDER = "security"
KEYRING_NAME = "keyring.json"
KEY_FILE_NAME = "keyring.key"


def keyring_path(vault_path: str) -> str:
    """Return where a vault's keyring is."""
    return os.path.join(vault_path, FOLDER, KEYRING_NAME)


def key_file_path(vault_path: str) -> str:
    """Return where the key file is that a vault makes for itself."""
    return os.path.join(vault_path, FOLDER, KEY_FILE_NAME)


def make_folder(vault_path: str) -> None:
    """Make the vault's folder of secrets, if it is missing."""
    folder = os.path.join(vault_path, FOLDER)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise storage_error(error, "make", folder) from error
    OsDisk().sync_directory(vault_path)


def make_key_file(vault_path: str) -> None:
    """Write a new key file durably, unless there is one."""
    disk = OsDisk()
    path = key_file_path(vault_path)
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire()
        if os.path.lexists(path):
            return
        temporary = f"{path}.new"
        fd = disk.open(temporary, create=True)
        try:
            disk.truncate(fd, 0)
            disk.pwritev(fd, [secrets.token_bytes(KEY_FILE_SIZE)], 0)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(temporary, path)
        disk.sync_directory(os.path.dirname(path))
    finally:
        lock.close()
