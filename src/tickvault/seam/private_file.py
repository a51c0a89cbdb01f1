"""Files that hold a secret and nothing else: a key, a passphrase, a token.

Invariants: the open file is judged, not its name, which could be another file a moment later; one that others can read
is refused, because its secret is none any more; a file is made whole or not at all, and never over another one; a
secret never appears in a message.
"""

from __future__ import annotations

import os
import secrets
import stat

from tickvault.errors import AccessDeniedError, InvalidInputError, NotFoundError, StorageError
from tickvault.seam.disk import storage_error


def read_private(path: str, *, size_max: int, holds: str = "a secret", remedy: str = "make a new one") -> bytes:
    """Return the bytes of a file that nobody but its owner can read.

    Parameters
    ----------
    size_max : int
        Most bytes.
    holds : str
        What it holds, for messages.
    remedy : str
        What to do if others may have read it.

    Raises
    ------
    NotFoundError
        There is no such file.
    AccessDeniedError
        Others can read it, it belongs to another user than this one or root, or this user may not read it.
    InvalidInputError
        It is no file, or larger than `size_max` bytes.
    """
    try:
        # Without O_NONBLOCK a FIFO would wait for its writer before it could be refused.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file; it must hold {holds}") from None
    except PermissionError:
        raise AccessDeniedError(f"{path}: holds {holds} that this user may not read") from None
    except OSError as error:
        raise storage_error(error, "open", path) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path}: must be a file")
        if status.st_mode & 0o077:
            raise AccessDeniedError(
                f"{path}: holds {holds}, and others can read it (mode {stat.S_IMODE(status.st_mode):04o}, must be "
                f"0600); run: chmod 600 {path}; if others may have read it, {remedy}"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise AccessDeniedError(
                f"{path}: holds {holds}, and belongs to user {status.st_uid}; it must belong to the user who uses it"
            )
        data = bytearray()
        while len(data) <= size_max and (piece := os.read(fd, size_max + 1 - len(data))):
            data += piece
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)
    if len(data) > size_max:
        raise InvalidInputError(f"{path}: is larger than {size_max} bytes; it must hold {holds} and nothing else")
    return bytes(data)


def create_private(path: str, data: bytes) -> None:
    """Write a file that only its owner can read, durably; when another process was faster, its file stays.

    Its folder is made if it is missing.
    """
    folder = os.path.dirname(path) or "."
    temporary = f"{path}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            written = os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            if written != len(data):
                raise OSError(28, "No space left on device")
            os.link(temporary, path)  # unlike a rename, it never replaces what is there
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        for each in (folder, os.path.dirname(os.path.abspath(folder))):
            folder_fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder_fd)
            finally:
                os.close(folder_fd)
    except OSError as error:
        raise storage_error(error, "create", path) from error
