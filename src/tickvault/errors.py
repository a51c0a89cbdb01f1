"""The errors of TickVault, grouped by what the one who catches them would do.

::

    TickVaultError
    ├── NotFoundError          (also KeyError)    ask for something else
    │   ├── BucketNotFoundError
    │   ├── UploadNotFoundError
    │   └── VersionNotFoundError
    ├── AlreadyExistsError                         choose another name
    ├── ConflictError                              read again, then decide
    │   ├── PreconditionFailedError                an If-Match or If-None-Match did not hold
    │   └── NotEmptyError                          a bucket still holds objects
    ├── InvalidInputError      (also ValueError)  mend the call
    │   └── CustomerKeyError                       give the object's own key (objects.encryption.customer_key)
    ├── LockedError                                wait, or ask the compliance officer
    ├── AccessDeniedError                          ask for the right
    │   └── CredentialRefusedError                 the identity itself is refused (security.identity)
    ├── BusyError                                  try again in a moment
    ├── IntegrityError                             the bytes are damaged: scrub, restore
    ├── FormatError                                another release wrote this vault
    ├── PoisonedError                              a sync failed: reopen the vault
    ├── ClosedError                                the vault was closed: open it again
    └── StorageError           (also OSError)     look at the disk
        └── DiskFullError

Invariants: a message says what failed, the rule and the value, and what to do. `EXIT_CODES` maps every class to the
exit status of the command line; the S3 door maps the same classes to S3 codes.
"""

from __future__ import annotations


class TickVaultError(Exception):
    """Base of every error that TickVault raises on purpose."""


class NotFoundError(TickVaultError, KeyError):
    """A bucket, object, version or upload is not there."""

    # KeyError's own __str__ prints the repr of its argument, which makes a sentence unreadable.
    __str__ = Exception.__str__


class BucketNotFoundError(NotFoundError):
    """The bucket is not there."""


class UploadNotFoundError(NotFoundError):
    """The multipart upload is not there, was completed, or was aborted."""


class VersionNotFoundError(NotFoundError):
    """The object has no version of that id."""


class AlreadyExistsError(TickVaultError):
    """A name is taken."""


class ConflictError(TickVaultError):
    """The state is not the one the call was made for; read again, then decide."""


class PreconditionFailedError(ConflictError):
    """A condition of a conditional read or write did not hold."""


class NotEmptyError(ConflictError):
    """A bucket still holds objects, versions or uploads."""


class InvalidInputError(TickVaultError, ValueError):
    """An argument breaks a rule; the message names the rule and the value."""


class LockedError(TickVaultError):
    """An object lock forbids the change."""

    lock: object = None
    """The lock that keeps the version (`objects.lock.retention.ObjectLock`), where it is a version's."""
    where: tuple[str, str, str] = ("", "", "")
    """Bucket, key and version id, where it is a version's."""
    action: str = ""
    """S3's name of what was refused."""


class AccessDeniedError(TickVaultError):
    """The identity lacks the right."""


class BusyError(TickVaultError):
    """A bounded wait ran out; nothing was done, the call may be repeated."""


class IntegrityError(TickVaultError):
    """Stored bytes do not match their checksum; they are never handed out."""


class FormatError(TickVaultError):
    """The vault was written by another release, or is not a vault."""


class PoisonedError(TickVaultError):
    """A sync to disk failed; the vault refuses writes until every process has closed it and one has reopened it."""


class ClosedError(TickVaultError):
    """The vault was closed before the call."""


class StorageError(TickVaultError, OSError):
    """The operating system refused a file operation."""

    __str__ = Exception.__str__


class DiskFullError(StorageError):
    """No space is left; nothing was changed, reads go on."""


#: Exit status of the command line for each class; the most specific class wins.
EXIT_CODES: dict[type[BaseException], int] = {
    TickVaultError: 1,
    InvalidInputError: 2,
    NotFoundError: 3,
    AlreadyExistsError: 4,
    ConflictError: 5,
    LockedError: 6,
    AccessDeniedError: 7,
    IntegrityError: 8,
    FormatError: 9,
    PoisonedError: 10,
    StorageError: 11,
    DiskFullError: 12,
    BusyError: 13,
    ClosedError: 14,
}


def exit_code(error: BaseException) -> int:
    """Return the exit status for an error: that of its closest class in `EXIT_CODES`, else 1."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return 1
