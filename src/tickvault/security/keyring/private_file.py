"""Files that hold a secret and nothing else: a key, a passphrase, a token.

Invariants: the open file is judged, not its name; one that others can read is refused, because its secret is none any
more; a secret never appears in a message.
"""

from __future__ import annotations

import os
import stat

from tickvault.errors import AccessDeniedError, InvalidInputError, NotFoundError, StorageError


def read_private(path: str, *, size_max: int) -> bytes:
    """Return the bytes of a file that nobody but its owner can read.

    Raises
    ------
    NotFoundError
        There is no such file.
    AccessDeniedError
        Others can read it, or it belongs to another user than this one or root.
    InvalidInputError
        It is no file, or larger than `size_max` bytes.
    """
    try:
        # Without O_NONBLOCK a FIFO would wait for its writer before it could be refused.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file; it must hold the secret") from None
    except PermissionError:
        raise AccessDeniedError(f"{path}: holds a secret that this user may not read") from None
    except OSError as error:
        raise StorageError(f"opening {path}: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path}: must be a file")
        if status.st_mode & 0o077:
            raise AccessDeniedError(
                f"{path}: holds a secret, and others can read it (mode {stat.S_IMODE(status.st_mode):04o}, must be "
                f"0600); run: chmod 600 {path}; if others may have read it, make a new one"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise AccessDeniedError(f"{path}: holds a secret, and belongs to user {status.st_uid}, not to this one")
        data = bytearray()
        while len(data) <= size_max and (piece := os.read(fd, size_max + 1 - len(data))):
            data += piece
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"reading {path}: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(data) > size_max:
        raise InvalidInputError(f"{path}: is larger than {size_max} bytes; it must hold the secret and nothing else")
    return bytes(data)
