"""What a recursive copy could not copy: it goes on without it, and says so at the end.

Invariants: only what is wrong with one object, or with the name of its file, is skipped; what would fail for every
other one too (the disk is full, the vault poisoned, the bucket gone) ends the copy as before.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from tickvault.cli import terminal
from tickvault.cli.statuses import EXIT_LOCAL_FILE, EXIT_SEVERAL
from tickvault.errors import (
    BucketNotFoundError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    exit_code,
)

LISTED_MAX = 100
"""More are counted only."""

#: What a local file system says of one name, and not of the others.
_NAME_ERRORS = {
    errno.EACCES,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
}


class Skip(NamedTuple):
    """One object or file that was not copied."""

    name: str
    reason: str


class Skipped:
    """Counts and names what was not copied."""

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[Skip] = []
        self._statuses: set[int] = set()

    def add(self, name: str, error: Exception) -> Skip:
        """Note what was not copied, or raise the error again where it is not about this one alone."""
        status = _status_of_one(error)
        if status is None:
            raise error
        skip = Skip(name, reason_of(error))
        self.count += 1
        self._statuses.add(status)
        if len(self._listed) < LISTED_MAX:
            self._listed.append(skip)
        return skip

    def tell(self) -> int:
        """Say on stderr what was skipped and why; return the exit status, 0 if there was nothing."""
        if not self.count:
            return 0
        terminal.say(f"skipped {self.count:,}:")
        for skip in self._listed:
            terminal.say(f"  {terminal.printable(skip.name)}: {terminal.printable(skip.reason)}")
        if self.count > len(self._listed):
            terminal.say(f"  and {self.count - len(self._listed):,} more")
        (status,) = self._statuses if len(self._statuses) == 1 else {EXIT_SEVERAL}
        return status


def reason_of(error: Exception) -> str:
    """Return an error's words without the name that stands before them."""
    if isinstance(error, OSError) and not isinstance(error, StorageError):
        return (error.strerror or str(error)).lower()
    return str(error)


def _status_of_one(error: Exception) -> int | None:
    """Return the exit status of an error that is about one object or file alone, None for another one."""
    if isinstance(error, (InvalidInputError, IntegrityError)):
        return exit_code(error)
    if isinstance(error, NotFoundError):
        return None if isinstance(error, BucketNotFoundError) else exit_code(error)
    if isinstance(error, OSError) and not isinstance(error, StorageError):
        return EXIT_LOCAL_FILE if error.errno in _NAME_ERRORS else None
    return None
