"""Compaction: the files of a partition become one, compressed or not.

Invariants: the same rows in the same order, each with its identity and its commit time, so that reads as of any commit
give what they gave; the new file is written before the entry that puts it in the place of the old ones, and only if
they are all still there; the old ones are deleted after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple
from uuid import uuid4

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.catalog import Catalog, Change, Manifest, Part, SeriesKey
from tickvault.market.merging import merged_rows
from tickvault.market.parts import PartFiles, PartWriter, retrying, write_cold
from tickvault.objects.protocol import Store

Tier = Literal["warm", "cold"]


class CompactReport(NamedTuple):
    """What a compaction did."""

    series: int
    """Looked at."""
    parts_before: int
    """Of those that were replaced."""
    parts_after: int
    rows: int
    bytes_before: int
    bytes_after: int
    failed: tuple[tuple[SeriesKey, str], ...] = ()
    """Series that could not be read, and why: they are as they were."""


class Compaction:
    """Compacts series of one library."""

    def __init__(self, store: Store, catalog: Catalog, files: PartFiles, tier: Tier) -> None:
        self._store = store
        self._catalog = catalog
        self._files = files
        self._tier = tier

    def run(
        self,
        keys: Sequence[SeriesKey],
        prepare: Callable[[SeriesKey], object],
        before: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompactReport:
        """Compact series; see `Library.compact`.

        Parameters
        ----------
        prepare : callable
            Called with each series before it is looked at.
        before : str, optional
            Only partitions that end before this day, ``YYYY-MM-DD``.
        """
        old: list[Part] = []
        new: list[Part] = []
        failed: list[tuple[SeriesKey, str]] = []
        for done, key in enumerate(keys):
            try:
                prepare(key)
                self._compact(key, before, old, new)
            except (IntegrityError, InvalidInputError) as error:
                # The others are none the worse for it.
                failed.append((key, str(error)))
            if progress is not None:
                progress(done + 1, len(keys))
        return CompactReport(
            len(keys),
            len(old),
            len(new),
            sum(part.rows for part in new),
            sum(part.size_bytes for part in old),
            sum(part.size_bytes for part in new),
            tuple(failed),
        )

    def _compact(self, key: SeriesKey, before: str | None, old: list[Part], new: list[Part]) -> None:
        for partition in sorted({part.partition for part in self._catalog.manifest(key).live_parts}):
            if before is not None and not _ends_before(partition, before):
                continue
            group, made = retrying(lambda partition=partition: self._partition(key, partition))  # type: ignore[misc]
            if made is not None:
                old += group
                new.append(made)

    def _partition(self, key: SeriesKey, partition: str) -> tuple[list[Part], Part | None]:
        """Compact a partition; None if there is nothing to do, or another process was first."""
        group = [part for part in self._catalog.manifest(key).live_parts if part.partition == partition]
        if not group or self._is_done(group):
            return group, None
        return group, self._replace(key, group)

    def _is_done(self, group: Sequence[Part]) -> bool:
        # What is cold stays cold until there is more to merge with it.
        return len(group) == 1 and (group[0].cold or self._tier == "warm")

    def _replace(self, key: SeriesKey, group: Sequence[Part]) -> Part | None:
        """Put one part in the place of a partition's parts; return None if another process was first."""
        made = self._written(key, group)
        names = frozenset(part.key for part in group)

        def change(state: Manifest) -> Change | None:
            present = {part.key for part in state.live_parts}
            return Change("compact", (made,), names, rows=0) if names <= present else None

        if made.key not in {part.key for part in self._catalog.commit(key, change).parts}:
            self._store.delete(made.key)
            return None
        self._files.forget(names)
        for name in names:
            self._store.delete(name)
        return made

    def _written(self, key: SeriesKey, group: Sequence[Part]) -> Part:
        columns, identity, sources = merged_rows(self._files, group)
        partition = group[0].partition
        name = f"part/{key.path}/{partition}/{uuid4().hex[:12]}"
        if self._tier == "cold":
            made = write_cold(self._store, f"{name}-cold", partition, columns, identity, sources)
        else:
            writer = PartWriter(self._store)
            made = writer.write_whole(name, partition, columns, identity, sources, columns.ts_index)
            writer.flush()
        return made._replace(
            stamp_min=min(part.stamp_min for part in group), stamp_max=max(part.stamp_max for part in group)
        )


def _ends_before(partition: str, day: str) -> bool:
    """Whether a partition, a day, month or year, ends before a day; what has no time counts as old."""
    return not partition[0].isdigit() or partition < day[: len(partition)]
