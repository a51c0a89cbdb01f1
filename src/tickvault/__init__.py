"""TickVault: one store for the whole life of a trade.

>>> import tickvault as tv
>>> vault = tv.open("data")            # doctest: +SKIP
"""

from tickvault._version import __version__
from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BucketNotFoundError,
    BusyError,
    ClosedError,
    ConflictError,
    DiskFullError,
    FormatError,
    IntegrityError,
    InvalidInputError,
    LockedError,
    NotEmptyError,
    NotFoundError,
    PoisonedError,
    PreconditionFailedError,
    StorageError,
    TickVaultError,
    UploadNotFoundError,
    VersionNotFoundError,
)
from tickvault.objects.blob import Blob
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import BucketInfo, DeleteResult, ListPage, ObjectInfo
from tickvault.vault import Vault, open, rebuild_index, restore  # noqa: A004

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "Blob",
    "Bucket",
    "BucketInfo",
    "BucketNotFoundError",
    "BusyError",
    "ClosedError",
    "ConflictError",
    "DeleteResult",
    "DiskFullError",
    "FormatError",
    "IntegrityError",
    "InvalidInputError",
    "ListPage",
    "LockedError",
    "NotEmptyError",
    "NotFoundError",
    "ObjectInfo",
    "PoisonedError",
    "PreconditionFailedError",
    "StorageError",
    "TickVaultError",
    "UploadNotFoundError",
    "Vault",
    "VersionNotFoundError",
    "__version__",
    "open",
    "rebuild_index",
    "restore",
]
