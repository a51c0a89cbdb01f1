"""The verbs that name what there is now, make files smaller, and give up what is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgpack

from tickvault.errors import (
    AlreadyExistsError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    PreconditionFailedError,
)
from tickvault.market.compaction import Compaction, CompactReport, Tier
from tickvault.market.library.state import LibraryState
from tickvault.market.times import text_of, to_ns
from tickvault.objects.bucket import Bucket


class Upkeep(LibraryState):
    """Snapshots, compaction, pruning."""

    def snapshot(self, name: str) -> None:
        """Name all series as they are now, for ``read(…, snapshot=name)``.

        Raises
        ------
        AlreadyExistsError
            The name is taken.
        """
        if not name:
            raise InvalidInputError("snapshot: the name is empty")
        stamps = {}
        for key in self._catalog.series():
            live = self._unread(key)
            stamps[key.path] = max([self._catalog.manifest(key).stamp, *(file.stamp for file in live)])
        body = msgpack.packb({"stamps": stamps, "taken_ns": self._now()})
        try:
            self._store.put(f"snapshot/{quote(name, safe='')}", body, if_none_match="*")
        except PreconditionFailedError:
            raise AlreadyExistsError(f"snapshot {name!r} is there already; delete_snapshot removes it") from None

    def delete_snapshot(self, name: str) -> None:
        """Forget a snapshot; the rows are not touched."""
        self._snapshot(name)
        self._store.delete(f"snapshot/{quote(name, safe='')}")

    def compact(
        self,
        symbol: str | None = None,
        schema: str | None = None,
        *,
        venue: str | None = None,
        tier: Tier = "cold",
        older_than: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompactReport:
        """Make one file of each partition's rows, live ones included; all series by default.

        Reads give the same rows in the same order, also `as_of` before. Cold files are compressed: several times as
        small, and slower to read.

        Parameters
        ----------
        tier : {"cold", "warm"}
            Compressed, or mapped as they lie.
        older_than : time, optional
            Only partitions that end before this day.
        progress : callable, optional
            Told (series done, series in all).
        """
        if tier not in ("cold", "warm"):
            raise InvalidInputError(f"compact: tier is 'cold' or 'warm', not {tier!r}")
        keys = self._catalog.series(symbol, schema, venue)
        if symbol is not None and not keys:
            raise NotFoundError(f"compact {symbol}: library {self.name} has no such series")
        before = None if older_than is None else text_of(to_ns(older_than, "older_than"))[:10]
        prepare = self._journals.flush if self._journals is not None else lambda key: 0
        return Compaction(self._store, self._catalog, self._files, tier).run(keys, prepare, before, progress)

    def prune(
        self, symbol: str | None = None, schema: str | None = None, *, before: Any = None, venue: str | None = None
    ) -> tuple[int, int]:
        """Delete what was replaced or deleted before a time, and is in no snapshot; return (parts, bytes) freed.

        `as_of` then reads from that time on. ``tickvault compact`` gives the space back to the disk.

        Parameters
        ----------
        before : time, optional
            Now by default.

        Raises
        ------
        LockedError
            The library's bucket has object lock: what was replaced is kept, and goes on being read `as_of` before.
        """
        # Of the stores that a library can stand on, buckets have locks.
        if isinstance(self._store, Bucket) and self._store.info.object_lock is not None:
            raise LockedError(
                f"prune: the bucket of library {self.name} has object lock, which keeps what was replaced or deleted, "
                "to be read as_of a time before: nothing can be given up"
            )
        stamp = self._now() if before is None else to_ns(before, "before")
        kept = [self._snapshot(name)["stamps"] for name in self.snapshots()]
        parts = size_bytes = 0
        for key in self._catalog.series(symbol, schema, venue):
            found = self._writing.prune(key, stamp, [stamps[key.path] for stamps in kept if key.path in stamps])
            parts, size_bytes = parts + found[0], size_bytes + found[1]
        return parts, size_bytes
