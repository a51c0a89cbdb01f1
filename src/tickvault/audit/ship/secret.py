"""A secret for a receiver, from a file.

Invariants: a secret comes from a file that only its owner can read, and from nowhere else; it is read anew for each
connection, so that it can be rotated under a running vault; it never stands in a message or a representation.
"""

from __future__ import annotations

from tickvault.errors import InvalidInputError
from tickvault.seam.private_file import read_private

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
        data = read_private(self.path, size_max=_SIZE_MAX, remedy="make a new secret")
        text = data.decode("latin-1").strip("\r\n ")
        if not text or not text.isascii() or not text.isprintable():
            raise InvalidInputError(
                f"secret file {self.path}: must hold one line of printable ASCII, 1 to {_SIZE_MAX} bytes, "
                "and nothing else"
            )
        return text
