"""Compaction: the files of a partition become one compressed file.

Invariants: the same rows in the same order, each with its source and its number there; the new file is written before
the entry that puts it in the place of the old ones, and only if they are all still there; the old ones stay for reads
as of before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from tickvault.market.catalog import Catalog, Change, Manifest, Part, SeriesKey
from tickvault.market.codec import Identity
from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.parts import open_part, read_part, write_cold
from tickvault.objects.protocol import Store


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


def compact(
    store: Store, catalog: Catalog, keys: Sequence[SeriesKey], progress: Callable[[int, int], None] | None = None
) -> CompactReport:
    """Compact series; see `Library.compact`."""
    old: list[Part] = []
    new: list[Part] = []
    for done, key in enumerate(keys):
        parts = catalog.manifest(key).parts
        for partition in sorted({part.partition for part in parts}):
            group = [part for part in parts if part.partition == partition]
            if len(group) == 1 and group[0].cold:
                continue
            made = _replace(store, catalog, key, group)
            if made is not None:
                old += group
                new.append(made)
        if progress is not None:
            progress(done + 1, len(keys))
    return CompactReport(
        len(keys),
        len(old),
        len(new),
        sum(part.rows for part in new),
        sum(part.size_bytes for part in old),
        sum(part.size_bytes for part in new),
    )


def _replace(store: Store, catalog: Catalog, key: SeriesKey, group: Sequence[Part]) -> Part | None:
    """Put one cold part in the place of a partition's parts; return None if another process was first."""
    columns, identity, sources = _together(store, group)
    name = f"part/{key.path}/{group[0].partition}/{uuid4().hex[:12]}-cold"
    made = write_cold(store, name, group[0].partition, columns, identity, sources)
    names = frozenset(part.key for part in group)

    def change(state: Manifest) -> Change | None:
        present = {part.key for part in state.parts}
        return Change("compact", (made,), names) if names <= present else None

    if made in catalog.commit(key, change).parts:
        return made
    store.delete(made.key)
    return None


def _together(store: Store, group: Sequence[Part]) -> tuple[Columns, Identity, list[str]]:
    """Return the rows of parts as a read gives them, with their identity."""
    sources: dict[str, int] = {}
    pieces, ids, ordinals = [], [], []
    for part in group:
        file = open_part(store, part)
        target = np.array([sources.setdefault(each, len(sources)) for each in file.about["sources"]], np.int64)
        pieces.append(read_part(store, part))
        ids.append(target[file.source_ids()])
        ordinals.append(file.ordinals())
    columns = join_columns(pieces)
    identity = Identity(np.concatenate(ids), np.concatenate(ordinals))
    times = columns.ts_index
    if len(group) > 1 and all(part.in_order for part in group) and (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        columns, identity = columns.take(order), Identity(identity.source_ids[order], identity.ordinals[order])
    return columns, identity, list(sources)
