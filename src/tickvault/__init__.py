"""TickVault: one store for the whole life of a trade.

>>> import tickvault as tv
>>> vault = tv.open("data")            # doctest: +SKIP

What opens a vault is loaded at its first use: the errors and the command line's first words need none of it, nor
anything of Python's library.
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

TYPE_CHECKING = False
if TYPE_CHECKING:
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

_HOMES = {
    "Blob": "tickvault.objects.blob",
    "Bucket": "tickvault.objects.bucket",
    "BucketInfo": "tickvault.objects.model",
    "DeleteResult": "tickvault.objects.model",
    "ListPage": "tickvault.objects.model",
    "ObjectInfo": "tickvault.objects.model",
    "Vault": "tickvault.vault",
    "open": "tickvault.vault",
    "rebuild_index": "tickvault.vault",
    "restore": "tickvault.vault",
}

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load a name at its first use."""
        from importlib import import_module

        if name == "vault":
            return import_module("tickvault.vault")
        if name not in _HOMES:
            raise AttributeError(f"module 'tickvault' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
