"""Which rows of a part a reader sees: as of a commit time, and as known at a time.

A row is seen as of a commit time T if it was committed by then, and neither deleted nor superseded by then.  It is seen
as known at a time K if it was published by then: at its own `ts_index`, unless a correction says another time; and what
supersedes it hides it only if that was published by then too.

Invariants: the answer depends on rows' identities and times alone, not on the files that they lie in, so that
compaction changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgpack
import numpy as np

from tickvault.market.catalog import Hidden, Manifest, Part
from tickvault.market.codec import ColdFile, ColumnFile
from tickvault.market.columns import Array
from tickvault.market.schema import TIME_NULL
from tickvault.objects.protocol import Store


class View(NamedTuple):
    """What a reader wants to see."""

    stamp: int | None = None
    """Commit time, int64 ns; None: all."""
    known_ns: int | None = None
    """Publication time, int64 ns; None: all."""

    def sees(self, part: Part) -> bool:
        """Whether it may see any row of a part."""
        if self.stamp is None:
            return not part.gone
        return part.stamp_min <= self.stamp and not 0 < part.gone <= self.stamp


NOW = View()


class Superseded(NamedTuple):
    """Rows of one source that something supersedes."""

    ordinals: Array
    """int64, rising."""
    known: Array
    """When that was published, int64 ns, null: at once."""


def pack_hidden(rows: Mapping[str, tuple[Array, Array]]) -> bytes:
    """Return the object that lists superseded rows: by source, (ordinals, when it was published)."""
    listed = {}
    for source, (ordinals, known) in rows.items():
        order = np.argsort(ordinals, kind="stable")
        listed[source] = (
            np.ascontiguousarray(ordinals[order], "<i8").tobytes(),
            np.ascontiguousarray(known[order], "<i8").tobytes(),
        )
    packed: bytes = msgpack.packb(listed)
    return packed


class HiddenRows:
    """The lists of superseded rows of a library; each is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, dict[str, Superseded]] = {}

    def __getitem__(self, hidden: Hidden) -> dict[str, Superseded]:
        """Return a list, by source."""
        found = self._read.get(hidden.key)
        if found is None:
            listed = msgpack.unpackb(bytes(self._store.get(hidden.key)))
            found = {
                source: Superseded(np.frombuffer(ordinals, "<i8"), np.frombuffer(known, "<i8"))
                for source, (ordinals, known) in listed.items()
            }
            self._read[hidden.key] = found
        return found


def visible(
    manifest: Manifest, part: Part, file: ColumnFile | ColdFile, times: Array, view: View, hidden: HiddenRows
) -> Array | None:
    """Return which rows of a part are seen, bool, shape (n_rows,); None: all of them.

    Parameters
    ----------
    times : ndarray of int64, shape (n_rows,)
        `ts_index` of all its rows.
    """
    seen: Array | None = None
    stamps = stamps_of(part, file) if _needs_stamps(manifest, part, view) else None
    if view.stamp is not None and part.stamp_max > view.stamp:
        assert stamps is not None, "it was asked for"
        seen = stamps <= view.stamp
    for mask in manifest.ranges:
        touches = part.stamp_min < mask.stamp and part.last_ns >= mask.start and part.first_ns < mask.end
        if touches and (view.stamp is None or mask.stamp <= view.stamp):
            deleted = (times >= mask.start) & (times < mask.end)
            if part.stamp_max >= mask.stamp:
                assert stamps is not None, "it was asked for"
                deleted &= stamps < mask.stamp
            seen = ~deleted if seen is None else seen & ~deleted
    if view.known_ns is not None:
        published = _known(part, file, times) <= view.known_ns
        seen = published if seen is None else seen & published
    for each in manifest.hidden:
        if (view.stamp is None or each.stamp <= view.stamp) and part.stamp_min < each.stamp:
            superseded = _superseded(part, file, hidden[each], view)
            if superseded is None:
                continue
            if part.stamp_max >= each.stamp:
                assert stamps is not None, "it was asked for"
                superseded &= stamps < each.stamp
            seen = ~superseded if seen is None else seen & ~superseded
    return None if seen is None or seen.all() else seen


def _needs_stamps(manifest: Manifest, part: Part, view: View) -> bool:
    if view.stamp is not None and part.stamp_max > view.stamp:
        return True
    return any(part.stamp_min < each.stamp <= part.stamp_max for each in manifest.masks)


def stamps_of(part: Part, file: ColumnFile | ColdFile) -> Array:
    """Return the commit times of all rows of a part, int64 ns."""
    found = file.stamps() if part.stamp_min != part.stamp_max else None
    return np.broadcast_to(np.int64(part.stamp_min), (part.rows,)) if found is None else found


def _known(part: Part, file: ColumnFile | ColdFile, times: Array) -> Array:
    known = known_of(part, file)
    return times if known is None else np.where(known == TIME_NULL, times, known)


def known_of(part: Part, file: ColumnFile | ColdFile) -> Array | None:
    """Return when the rows of a part were published, null: at their `ts_index`; None where that holds for all."""
    if part.known_ns:
        return np.broadcast_to(np.int64(part.known_ns), (part.rows,))
    return file.known()


def _superseded(part: Part, file: ColumnFile | ColdFile, listed: Mapping[str, Superseded], view: View) -> Array | None:
    names = [part.source] if part.source else list(file.about["sources"])
    hits = [(place, listed[name]) for place, name in enumerate(names) if name in listed]
    if not hits:
        return None
    ordinals, ids = file.ordinals(), file.source_ids()
    found = np.zeros(part.rows, np.bool_)
    for place, rows in hits:
        wanted = rows.ordinals if view.known_ns is None else rows.ordinals[rows.known <= view.known_ns]
        found |= np.isin(ordinals, wanted) & (ids == place)
    return found if found.any() else None
