"""Errors of keys: what is encrypted is neither read nor written, and may be sound all the same.

Each is an error of its own kind (access, damage, wrong input, the disk) and a `KeyFault` too, so that a door and a
check of the whole vault can tell a key that cannot be used from damage of an object and from a refusal by policy.

Invariants: `s3_message` names no file and no setting of the server; what does is for whoever runs it.

Source of the codes: Amazon S3 and AWS KMS API Reference, "Key states of AWS KMS keys".
"""

from __future__ import annotations

from typing import TypeVar

from tickvault.errors import (
    AccessDeniedError,
    BusyError,
    FormatError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    TickVaultError,
)

_E = TypeVar("_E", bound=TickVaultError)


class KeyFault(TickVaultError):  # noqa: N818 -- a trait of errors, never raised by itself
    """A key cannot be used, or what holds it cannot be opened."""

    s3_code = "ServiceUnavailable"
    """What S3 calls it."""
    s3_message = "The keys that this takes cannot be used; the server's log says why."
    """What a client may be told."""


class KeyDisabledError(KeyFault, AccessDeniedError):
    """The key is disabled."""

    s3_code = "KMS.DisabledException"


class KeyDestroyedError(KeyFault, AccessDeniedError):
    """The key was destroyed: what was encrypted under it can never be read again."""

    s3_code = "KMS.KMSInvalidStateException"


class KeyMissingError(KeyFault, AccessDeniedError):
    """The keyring is open, and there is no such key in it."""

    s3_code = "KMS.NotFoundException"


class KeysDeniedError(KeyFault, AccessDeniedError):
    """The keyring, or what opens it, is missing or another one; or the key service refuses."""


class KeyringDamagedError(KeyFault, IntegrityError):
    """The keyring is damaged, or an older copy was put in its place."""


class KeyringFormatError(KeyFault, FormatError):
    """The keyring is none, or a newer release wrote it."""


class KeysInputError(KeyFault, InvalidInputError):
    """What names or opens the keys breaks a rule."""


class KeysStorageError(KeyFault, StorageError):
    """The disk or the key service that holds the keys fails."""


class KeysBusyError(KeyFault, BusyError):
    """The key service, or the keyring's lock, did not answer in time."""

    s3_code = "SlowDown"


_FAULTS: tuple[tuple[type[TickVaultError], type[KeyFault]], ...] = (
    (AccessDeniedError, KeysDeniedError),
    (NotFoundError, KeysDeniedError),
    (IntegrityError, KeyringDamagedError),
    (FormatError, KeyringFormatError),
    (InvalidInputError, KeysInputError),
    (StorageError, KeysStorageError),
    (BusyError, KeysBusyError),
)


def as_fault(error: TickVaultError) -> TickVaultError:
    """Return an error of opening or asking for keys as a `KeyFault` of its kind; as it is if it is of another kind."""
    if not isinstance(error, KeyFault):
        for kind, fault in _FAULTS:
            if isinstance(error, kind):
                return fault(str(error))
    return error


def told(fault: KeyFault, message: str) -> KeyFault:
    """Return a fault with what a client may be told of it."""
    fault.s3_message = message
    return fault


def retold(error: _E, text: str) -> _E:
    """Return an error of the same class with another text, such as one that says which object it is about."""
    again = type(error)(text)
    if isinstance(error, KeyFault) and isinstance(again, KeyFault):
        again.s3_message = error.s3_message
    return again
