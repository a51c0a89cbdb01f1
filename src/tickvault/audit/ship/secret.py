"""A secret for a receiver, from a file.

Invariants: a secret comes from a file that only its owner can read, and from nowhere else; it is read anew for each
connection, so that it can be rotated under a running vault; it never stands in a message or a representation.
"""

from __future__ import annotations

import os
import stat

from tickvault.errors import AccessDeniedError, InvalidInputError, NotFoundError, StorageError

_SIZE_MAX = 16384


class SecretFile:
    """A file that holds one secret, on one line."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> str:
        """Return the secret.

        Raises
        ------
        NotFoundError, AccessDeniedError, InvalidInputError, StorageError
            The file is missing, can be read by others, or does not hold one line of printable ASCII.
        """
        try:
            # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFoundError(f"secret file {self.path}: there is no such file") from None
        except OSError as error:
            raise StorageError(f"opening secret file {self.path}: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInputError(f"secret file {self.path}: must be a regular file")
            if status.st_mode & 0o077:
                raise AccessDeniedError(
                    f"secret file {self.path}: others can read it (mode {stat.S_IMODE(status.st_mode):04o}, must be "
                    f"0600); run: chmod 600 {self.path}; if others may have read it, make a new secret"
                )
            data = os.read(fd, _SIZE_MAX + 1)
        finally:
            os.close(fd)
        text = data.decode("latin-1").strip("\r\n ")
        if not text or len(data) > _SIZE_MAX or not text.isascii() or not text.isprintable():
            raise InvalidInputError(
                f"secret file {self.path}: must hold one line of printable ASCII, 1 to {_SIZE_MAX} bytes, "
                "and nothing else"
            )
        return text
