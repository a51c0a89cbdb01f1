"""Parts: files of columns in a store.

Invariants: a part is written once, under a name that nobody else uses, and never changed; what its description says is
what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tickvault.errors import IntegrityError, NotFoundError
from tickvault.market.catalog import Part
from tickvault.market.codec import ColdFile, ColumnFile, Identity, encode_cold, encode_warm, open_cold, open_warm
from tickvault.market.columns import Array, Columns
from tickvault.objects.protocol import Store

#: Parts up to this many bytes wait for each other; all together up to `_WAITING_MAX`.
_SMALL_MAX = 128 * 1024
_WAITING_MAX = 8 * 1024 * 1024


class PartWriter:
    """Writes parts; small ones together, so that a thousand of them do not wait for a thousand syncs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # A store that has no such verb takes them one by one.
        self._put_many: Callable[[list[tuple[str, bytes]]], Any] | None = getattr(store, "put_many", None)
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_bytes = 0

    def write(self, key: str, partition: str, columns: Columns, ordinals: Array, source: str) -> Part:
        """Write rows of one source as a part, durable after `flush`, and return its description.

        Parameters
        ----------
        ordinals : ndarray of int64, shape (n_rows,)
            The rows' numbers in the source.
        """
        times = columns.ts_index
        identity = Identity(np.zeros(len(columns), np.int64), ordinals)
        body = b"".join(encode_warm(columns, identity, {"sources": [source]}))
        if self._put_many is None or len(body) > _SMALL_MAX:
            self._store.put(key, body)
        else:
            self._waiting.append((key, body))
            self._waiting_bytes += len(body)
            if self._waiting_bytes > _WAITING_MAX:
                self.flush()
        in_order = bool((times[1:] >= times[:-1]).all())
        return Part(key, partition, len(columns), int(times.min()), int(times.max()), in_order, len(body), source)

    def flush(self) -> None:
        """Write what waits; everything written is durable when this returns."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if waiting:
            assert self._put_many is not None, "only then parts wait"
            self._put_many(waiting)


def write_cold(
    store: Store, key: str, partition: str, columns: Columns, identity: Identity, sources: Sequence[str]
) -> Part:
    """Write rows as a compressed part, and return its description.

    Parameters
    ----------
    identity : Identity
        Of each row, the position of its source in `sources` and its number there.
    """
    times = columns.ts_index
    body = b"".join(encode_cold(columns, identity, {"sources": list(sources)}))
    store.put(key, body)
    in_order = bool((times[1:] >= times[:-1]).all())
    source = sources[0] if len(sources) == 1 else ""
    return Part(key, partition, len(columns), int(times.min()), int(times.max()), in_order, len(body), source, True)


def open_part(store: Store, part: Part) -> ColumnFile | ColdFile:
    """Open a part.

    Raises
    ------
    IntegrityError
        It is damaged, or gone.
    """
    try:
        body = store.get(part.key)
    except NotFoundError as error:
        raise IntegrityError(f"the library's part {part.key} was deleted by hand; restore it from a backup") from error
    file: ColumnFile | ColdFile = open_cold(body) if part.cold else open_warm(body)
    if file.row_count != part.rows:
        raise IntegrityError(f"the library's part {part.key} has {file.row_count} rows, and its entry says {part.rows}")
    return file


def read_part(
    store: Store,
    part: Part,
    columns: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
) -> Columns:
    """Return a part's rows in [start, end); with `columns`, only these and the times.

    Of a part that is not compressed nothing is copied, unless a clock goes back in it.
    """
    file = open_part(store, part)
    names = None
    if columns is not None:
        held = {info.column.name for info in file.footer.columns}
        names = [name for name in ("ts_event", "ts_recv", *columns) if name in held]
    if isinstance(file, ColdFile):
        return file.read(names, start, end)
    rows = file.columns(names)
    if (start is None or part.first_ns >= start) and (end is None or part.last_ns < end):
        return rows
    return rows.take(_within(rows.ts_index, part.in_order, start, end))


def _within(times: Array, in_order: bool, start: int | None, end: int | None) -> slice | Array:
    if in_order:
        low = 0 if start is None else int(np.searchsorted(times, start, "left"))
        high = len(times) if end is None else int(np.searchsorted(times, end, "left"))
        return slice(low, high)
    inside = np.ones(len(times), np.bool_)
    if start is not None:
        inside &= times >= start
    if end is not None:
        inside &= times < end
    return inside
