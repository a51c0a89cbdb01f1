"""The library: its verbs together, and how it is opened and closed.

Invariants: a read sees each series as of one moment; rows come in the order of time, and those of one source in that
source's order.
"""

from __future__ import annotations

import os
from weakref import WeakSet

import msgpack

from tickvault.errors import InvalidInputError, PreconditionFailedError
from tickvault.market.catalog import Catalog
from tickvault.market.journal.place import Place
from tickvault.market.library.changing import Changing
from tickvault.market.library.contents import Contents
from tickvault.market.library.filling import Filling
from tickvault.market.library.reads import Reads
from tickvault.market.library.upkeep import Upkeep
from tickvault.objects.protocol import Store

_FORMAT = 1
_SAID = {"format": _FORMAT, "by_symbol": True}
_libraries: WeakSet[Library] = WeakSet()


class Library(Filling, Changing, Reads, Contents, Upkeep):
    """Market data by series. Get it with ``vault.library(name)``."""

    def __init__(self, store: Store, name: str, place: Place | None = None) -> None:
        super().__init__(store, name, place)
        _libraries.add(self)

    @classmethod
    def open(cls, store: Store, name: str, place: Place | None = None) -> Library:
        """Open the library in a store, making it if there is none.

        Parameters
        ----------
        place : Place, optional
            Where its journals lie; without one there are no live rows.

        Raises
        ------
        InvalidInputError
            A newer release made it.
        """
        try:
            store.put("library", msgpack.packb(_SAID), if_none_match="*")
        except PreconditionFailedError:
            found = msgpack.unpackb(bytes(store.get("library")))
            if found["format"] > _FORMAT:
                raise InvalidInputError(
                    f"library {name} was made by a newer release (format {found['format']}, and this one knows "
                    f"{_FORMAT}); upgrade TickVault"
                ) from None
            if not found.get("by_symbol"):
                Catalog(store).index_symbols()
                store.put("library", msgpack.packb(_SAID))
        return cls(store, name, place)

    def _after_fork(self) -> None:
        self._files.after_fork()
        if self._journals is not None:
            self._journals.after_fork()

    def close(self) -> None:
        """Finish what is on its way into files of columns; closing the vault does it too."""
        if self._journals is not None:
            self._journals.close()


def _after_fork_in_child() -> None:
    for library in list(_libraries):
        library._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
