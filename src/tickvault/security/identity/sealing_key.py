"""The file of the key that seals the secrets of identities: ``VAULT/security/sealing.key``.

Invariants: it holds 32 random bytes and nothing else; only its owner can read it, else it is refused; it is there
whole or not at all, also when several processes make it at once, which then all use the same one; it is never
replaced, since every access key of the vault would be lost with it.
"""

from __future__ import annotations

import os
import secrets
import stat

from tickvault.errors import AccessDeniedError, FormatError, InvalidInputError, NotFoundError, StorageError

FOLDER_NAME = "security"
FILE_NAME = "sealing.key"
KEY_SIZE = 32


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
        _create(path)
        return _read(path)


def _read(path: str) -> bytes:
    try:
        # Not waiting: a pipe in its place would hold the opening up for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file") from None
    except OSError as error:
        raise StorageError(f"opening {path}: {error.strerror}") from error
    try:
        # The open file is judged, not the name, which could be another file a moment later.
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path}: must be a file")
        if status.st_mode & 0o077:
            raise AccessDeniedError(
                f"{path}: holds the key to every secret of the vault, and others can read it (mode "
                f"{stat.S_IMODE(status.st_mode):04o}, must be 0600); run: chmod 600 {path}; if others may have read "
                "it, rotate the access keys"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise AccessDeniedError(
                f"{path}: holds a key, and belongs to user {status.st_uid}; it must belong to the user who serves "
                "the vault"
            )
        data = os.read(fd, KEY_SIZE + 1)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"reading {path}: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(data) != KEY_SIZE:
        raise FormatError(
            f"{path}: must hold {KEY_SIZE} bytes, holds {'more' if len(data) > KEY_SIZE else len(data)}; bring it "
            "back from where you keep it. Without it the secrets of access keys are lost, and new ones must be made"
        )
    return data


def _create(path: str) -> None:
    """Write a new key; when another process was faster, its key stays."""
    directory = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            written = os.write(fd, secrets.token_bytes(KEY_SIZE))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            if written == KEY_SIZE:
                os.link(temporary, path)  # unlike a rename, it never replaces what is there
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        for each in (directory, os.path.dirname(directory) or "."):
            directory_fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory_fd)
            finally:
                os.close(directory_fd)
    except OSError as error:
        raise StorageError(f"creating {path}: {error.strerror}") from error
