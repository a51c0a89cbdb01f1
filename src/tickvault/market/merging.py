"""The rows of several parts as those of one, in the order of a read, each with its identity.

Invariants: a row keeps its source, its number there, its commit time, and when it was published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tickvault.market.catalog import Part
from tickvault.market.codec import ColdFile, Identity
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.parts import PartFiles, times_of
from tickvault.market.reading import Sorted, in_order
from tickvault.market.schema import TIME_NULL
from tickvault.market.view import known_of, stamps_of

#: Given a part and the times of its rows, which rows are wanted, bool; None: all.
Chosen = Callable[[Part, Array], Array | None]


def merged_rows(
    files: PartFiles, group: Sequence[Part], chosen: Chosen | None = None
) -> tuple[Columns, Identity, list[str]]:
    """Return (rows, identity, sources) of parts of one partition."""
    sources: dict[str, int] = {}
    pieces, identities = [], {}
    for part in group:
        piece, identity = _of(files, part, sources, chosen)
        pieces.append(piece)
        identities[id(piece)] = identity
    ranked, order = in_order(pieces)
    columns = join_columns([piece.columns for piece in ranked])
    whole = _joined([identities[id(piece)] for piece in ranked])
    if order is not None:
        columns = columns.take(order)
        moved = [None if one is None else one[order] for one in whole[2:]]
        whole = Identity(whole.source_ids[order], whole.ordinals[order], *moved)
    return columns, whole, list(sources)


def _of(files: PartFiles, part: Part, sources: dict[str, int], chosen: Chosen | None) -> tuple[Sorted, Identity]:
    file = files.open(part)
    ids = np.array([sources.setdefault(each, len(sources)) for each in file.about["sources"]], np.int64)
    times = times_of(file)
    keys = times if part.in_order else np.maximum.accumulate(times)
    wanted = None if chosen is None else chosen(part, times)
    rows: slice | Array = slice(None) if wanted is None else np.flatnonzero(wanted)
    columns = file.read(rows=_all_or(rows, part)) if isinstance(file, ColdFile) else file.columns().take(rows)
    known = known_of(part, file)
    stamps = stamps_of(part, file)[rows]
    identity = Identity(
        ids[file.source_ids()][rows], file.ordinals()[rows], stamps, None if known is None else known[rows]
    )
    return Sorted(columns, keys[rows], stamps), identity


def _all_or(rows: slice | Array, part: Part) -> slice | Array:
    return slice(0, part.rows) if isinstance(rows, slice) else rows


def _joined(identities: Sequence[Identity]) -> Identity:
    """Return the identity of all rows; what is the same for all of them is left out."""
    ids = np.concatenate([each.source_ids for each in identities])
    ordinals = np.concatenate([each.ordinals for each in identities])
    stamps: Array | None = np.concatenate([each.stamps for each in identities if each.stamps is not None])
    if stamps is not None and len(stamps) and (stamps == stamps[0]).all():
        stamps = None
    known: Array | None = None
    if any(each.known is not None for each in identities):
        known = np.concatenate(
            [
                np.full(len(each.ordinals), TIME_NULL, np.int64) if each.known is None else each.known
                for each in identities
            ]
        )
    return Identity(ids, ordinals, stamps, known)
