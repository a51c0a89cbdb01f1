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
    from tickvault.market.bars import bars
    from tickvault.market.book import Depth, OrderBook, book_at, book_levels
    from tickvault.market.joins import asof_join, nbbo, window_join
    from tickvault.market.library import Library
    from tickvault.market.reference import Reference, adjust, session_range
    from tickvault.market.table import Table
    from tickvault.objects.blob import Blob
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.encryption.customer_key import CustomerKeyError
    from tickvault.objects.model import BucketInfo, DeleteResult, ListPage, ObjectInfo
    from tickvault.security.identity import CredentialRefusedError
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
    "CredentialRefusedError",
    "CustomerKeyError",
    "DeleteResult",
    "Depth",
    "DiskFullError",
    "FormatError",
    "IntegrityError",
    "InvalidInputError",
    "Library",
    "ListPage",
    "LockedError",
    "NotEmptyError",
    "NotFoundError",
    "ObjectInfo",
    "OrderBook",
    "PoisonedError",
    "PreconditionFailedError",
    "Reference",
    "StorageError",
    "Table",
    "TickVaultError",
    "UploadNotFoundError",
    "Vault",
    "VersionNotFoundError",
    "__version__",
    "adjust",
    "asof_join",
    "bars",
    "book_at",
    "book_levels",
    "nbbo",
    "open",
    "rebuild_index",
    "restore",
    "session_range",
    "window_join",
]

_HOMES = {
    "Blob": "tickvault.objects.blob",
    "Bucket": "tickvault.objects.bucket",
    "BucketInfo": "tickvault.objects.model",
    "CredentialRefusedError": "tickvault.security.identity",
    "CustomerKeyError": "tickvault.objects.encryption.customer_key",
    "DeleteResult": "tickvault.objects.model",
    "Depth": "tickvault.market.book",
    "Library": "tickvault.market.library",
    "ListPage": "tickvault.objects.model",
    "ObjectInfo": "tickvault.objects.model",
    "OrderBook": "tickvault.market.book",
    "Reference": "tickvault.market.reference",
    "Table": "tickvault.market.table",
    "Vault": "tickvault.vault",
    "adjust": "tickvault.market.reference",
    "asof_join": "tickvault.market.joins",
    "bars": "tickvault.market.bars",
    "book_at": "tickvault.market.book",
    "book_levels": "tickvault.market.book",
    "nbbo": "tickvault.market.joins",
    "open": "tickvault.vault",
    "rebuild_index": "tickvault.vault",
    "restore": "tickvault.vault",
    "session_range": "tickvault.market.reference",
    "window_join": "tickvault.market.joins",
}

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load a name at its first use."""
        from importlib import import_module

        if name == "vault":
            return import_module("tickvault.vault")
        if name not in _HOMES:
            raise AttributeError(f"module 'tickvault' has no attribute {name!r}")
        try:
            home = import_module(_HOMES[name])
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith("tickvault"):
                raise
            raise ModuleNotFoundError(
                f"tickvault.{name} needs the package {error.name}: pip install 'tickvault[market]'", name=error.name
            ) from error
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
