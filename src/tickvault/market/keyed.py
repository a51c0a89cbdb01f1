"""Finding rows by a key of the venue's: by trade id, by order id and sequence, whatever names a row.

Invariants: only rows that are read now are found; each row that has the key is found, also where several have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tickvault.market.catalog import Manifest, Part
from tickvault.market.codec import ColdFile, ColumnFile
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_column, join_columns
from tickvault.market.parts import PartFiles, times_of
from tickvault.market.schema import Kind
from tickvault.market.view import NOW, HiddenRows, visible


class Matches(NamedTuple):
    """Rows that were found."""

    wanted: Array
    """int64: which of the keys asked for each row has."""
    source_ids: Array
    """int64, into `sources`."""
    ordinals: Array
    """int64."""
    sources: list[str]
    columns: Columns | None
    """The rows themselves; None if there are none."""

    def first_rows(self) -> Columns:
        """Return the first row of each key, in the order of the keys."""
        assert self.columns is not None, "every key was found"
        _, first = np.unique(self.wanted, return_index=True)
        return self.columns.take(first)


def find_rows(
    files: PartFiles, hidden: HiddenRows, manifest: Manifest, wanted: Columns, names: Sequence[str]
) -> Matches:
    """Return the rows of a series that have one of the keys.

    Parameters
    ----------
    wanted : Columns
        The keys, a row each.
    names : sequence of str
        The columns that make the key.
    """
    sources: dict[str, int] = {}
    places, ids, ordinals, rows = [], [], [], []
    for part in manifest.live_parts:
        file = files.open(part)
        if not _may_hold(file, wanted, names):
            continue
        columns = file.columns() if isinstance(file, ColumnFile) else file.read(list(names))
        matching, which = _matching(columns, wanted, names)
        if len(matching):
            seen = visible(manifest, part, file, times_of(file), NOW, hidden)
            kept = slice(None) if seen is None else seen[matching]
            matching, which = matching[kept], which[kept]
        if len(matching):
            target = np.array([sources.setdefault(each, len(sources)) for each in _sources(part, file)], np.int64)
            places.append(which)
            ids.append(target[file.source_ids()[matching]])
            ordinals.append(file.ordinals()[matching])
            rows.append(columns.take(matching) if isinstance(file, ColumnFile) else file.read(rows=matching))
    if not rows:
        none = np.empty(0, np.int64)
        return Matches(none, none, none, [], None)
    return Matches(
        np.concatenate(places), np.concatenate(ids), np.concatenate(ordinals), list(sources), join_columns(rows)
    )


def _sources(part: Part, file: ColumnFile | ColdFile) -> list[str]:
    return [part.source] if part.source else list(file.about["sources"])


def _may_hold(file: ColumnFile | ColdFile, wanted: Columns, names: Sequence[str]) -> bool:
    """Whether the footer leaves room for any of the keys."""
    infos = {info.column.name: info for info in file.footer.columns}
    for name in names:
        info = infos.get(name)
        if info is None or info.column.kind in {Kind.CODE, Kind.SIZE, Kind.TURNOVER}:
            continue
        if info.lowest is None or info.highest is None:
            return False
        values = wanted[name]
        if int(values.max()) < info.lowest or int(values.min()) > info.highest:
            return False
    return True


def _matching(columns: Columns, wanted: Columns, names: Sequence[str]) -> tuple[Array, Array]:
    """Return (positions of rows that have a key, which key), in the order of the rows."""
    rows, keys = _comparable(columns, wanted, names)
    candidates = np.flatnonzero(np.isin(rows[0], keys[0]))
    if not len(candidates):
        return candidates, candidates
    numbers = {key: number for number, key in enumerate(zip(*(key.tolist() for key in keys), strict=True))}
    found = [numbers.get(row, -1) for row in zip(*(row[candidates].tolist() for row in rows), strict=True)]
    which = np.array(found, np.int64)
    return candidates[which >= 0], which[which >= 0]


def _comparable(columns: Columns, wanted: Columns, names: Sequence[str]) -> tuple[list[Array], list[Array]]:
    """Return the key's columns of both, in the same scales and with the same codes."""
    rows, keys = [], []
    scales = {name: max(getattr(columns, name), getattr(wanted, name)) for name in ("size_scale", "turnover_scale")}
    for name in names:
        (row, key), _ = join_column([columns, wanted], columns.column(name), **scales)
        rows.append(row)
        keys.append(key)
    return rows, keys
