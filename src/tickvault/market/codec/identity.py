"""Which row of which source each row is, and where a file's rows differ in it, when each was committed and published.

Runs are what most files have: rows that follow each other in their source. Where symbols interleave, runs would take
more room than the numbers themselves, and two hidden columns hold them.

Invariants: of n rows, the runs' counts add up to n; ordinals and source ids come back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.codec.layout import COLD, WARM, Run
from tickvault.market.columns import Array
from tickvault.market.schema import Column, Kind

SOURCE = Column("_source", Kind.ID, width="<i8")
ORDINAL = Column("_ordinal", Kind.ID, width="<i8")
STAMP = Column("_ts_commit", Kind.TIME)
KNOWN = Column("_ts_known", Kind.TIME)
#: Rows a run must have on average to be worth its place: 24 bytes, where a cold file's column takes a fraction of one.
ROWS_PER_RUN_MIN = {WARM: 32, COLD: 1024}


class Identity(NamedTuple):
    """The identity of rows."""

    source_ids: Array
    """int64, shape (n_rows,)."""
    ordinals: Array
    """int64, shape (n_rows,)."""
    stamps: Array | None = None
    """Commit times, int64 ns, shape (n_rows,); None where one holds for all."""
    known: Array | None = None
    """When rows were published, int64 ns, shape (n_rows,), null: at their `ts_index`; None where that holds for all."""


def runs_of(identity: Identity) -> tuple[Run, ...]:
    """Return the runs of rows."""
    sources, ordinals = identity.source_ids, identity.ordinals
    if not len(ordinals):
        return ()
    cuts = np.flatnonzero((np.diff(ordinals) != 1) | (np.diff(sources) != 0)) + 1
    starts = np.concatenate(([0], cuts))
    counts = np.diff(np.concatenate((starts, [len(ordinals)])))
    return tuple(zip(sources[starts].tolist(), ordinals[starts].tolist(), counts.tolist(), strict=True))


def identity_of(runs: Sequence[Run]) -> Identity:
    """Return the arrays that runs stand for."""
    table = np.array(runs, np.int64).reshape(-1, 3)
    counts = table[:, 2]
    ends = np.cumsum(counts)
    shift = table[:, 1] - (ends - counts)
    total = int(ends[-1]) if len(ends) else 0
    return Identity(np.repeat(table[:, 0], counts), np.repeat(shift, counts) + np.arange(total))


def settle(
    given: Sequence[Run] | Identity | None, row_count: int, form: int
) -> tuple[tuple[Run, ...], dict[Column, Array]]:
    """Return what a file keeps of rows' identity: runs, or else hidden columns.

    Raises
    ------
    InvalidInputError
        It is of another number of rows.
    """
    if given is None:
        return (), {}
    runs_max = max(row_count // ROWS_PER_RUN_MIN[form], 8)
    if isinstance(given, Identity):
        named = zip((SOURCE, ORDINAL, STAMP, KNOWN), given, strict=True)
        hidden = {column: np.ascontiguousarray(array, np.int64) for column, array in named if array is not None}
        lengths = {len(array) for array in hidden.values()}
        if lengths != {row_count}:
            raise InvalidInputError(f"the identity is of {sorted(lengths)} rows, the columns have {row_count}")
        sources, ordinals = hidden[SOURCE], hidden[ORDINAL]
        cuts = int(np.count_nonzero((np.diff(ordinals) != 1) | (np.diff(sources) != 0)))
        if cuts + 1 > runs_max:
            return (), hidden
        del hidden[SOURCE], hidden[ORDINAL]
        return runs_of(given), hidden
    runs = tuple((int(source), int(first), int(count)) for source, first, count in given if count)
    if sum(run[2] for run in runs) != row_count or any(run[2] < 0 for run in runs):
        raise InvalidInputError(f"runs of {[run[2] for run in runs][:8]} rows do not make {row_count}")
    if len(runs) > runs_max:
        identity = identity_of(runs)
        return (), {SOURCE: identity.source_ids, ORDINAL: identity.ordinals}
    return runs, {}
