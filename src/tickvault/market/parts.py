"""Parts: files of columns in a store.

Invariants: a part is written once, under a name that nobody else uses, and never changed; what its description says is
what was written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from tickvault.errors import IntegrityError, NotFoundError
from tickvault.market.catalog import Part
from tickvault.market.codec import ColdFile, ColumnFile, Identity, encode_cold, encode_warm, open_cold, open_warm
from tickvault.market.columns import Array, Columns
from tickvault.objects.protocol import Store

#: Parts up to this many bytes wait for each other; all together up to `_WAITING_MAX`.
_SMALL_MAX = 128 * 1024
_WAITING_MAX = 8 * 1024 * 1024
#: Parts kept open, and from how many on they are opened together.
_OPEN_MAX = 4096
_TOGETHER_MIN = 8
_TRIES = 20
Result = TypeVar("Result")


class PartWriter:
    """Writes parts; small ones together, so that a thousand of them do not wait for a thousand syncs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # A store that has no such verb takes them one by one.
        self._put_many: Callable[[list[tuple[str, bytes]]], Any] | None = getattr(store, "put_many", None)
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_bytes = 0

    def write(
        self,
        key: str,
        partition: str,
        columns: Columns,
        ordinals: Array,
        source: str,
        stamps: Array | None = None,
        known_ns: int = 0,
    ) -> Part:
        """Write rows of one source as a part, durable after `flush`, and return its description.

        Parameters
        ----------
        ordinals : ndarray of int64, shape (n_rows,)
            The rows' numbers in the source.
        stamps : ndarray of int64, shape (n_rows,), optional
            The rows' commit times, where they were committed before.
        known_ns : int
            When all of them were published, where it is not at their `ts_index`.
        """
        times = columns.ts_index
        identity = Identity(np.zeros(len(columns), np.int64), ordinals, stamps)
        return self.write_whole(key, partition, columns, identity, [source], times, known_ns)

    def write_whole(
        self,
        key: str,
        partition: str,
        columns: Columns,
        identity: Identity,
        sources: Sequence[str],
        times: Array,
        known_ns: int = 0,
    ) -> Part:
        """Write rows of any sources as a part; see `write` and `write_cold`."""
        body = b"".join(encode_warm(columns, identity, {"sources": list(sources)}))
        if self._put_many is None or len(body) > _SMALL_MAX:
            self._store.put(key, body)
        else:
            self._waiting.append((key, body))
            self._waiting_bytes += len(body)
            if self._waiting_bytes > _WAITING_MAX:
                self.flush()
        return _described(key, partition, times, identity, sources, len(body))._replace(known_ns=known_ns)

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
    body = b"".join(encode_cold(columns, identity, {"sources": list(sources)}))
    store.put(key, body)
    return _described(key, partition, columns.ts_index, identity, sources, len(body))._replace(cold=True)


def _described(
    key: str, partition: str, times: Array, identity: Identity, sources: Sequence[str], size_bytes: int
) -> Part:
    stamps = identity.stamps
    return Part(
        key,
        partition,
        len(times),
        int(times.min()),
        int(times.max()),
        bool((times[1:] >= times[:-1]).all()),
        size_bytes,
        sources[0] if len(sources) == 1 else "",
        stamp_min=0 if stamps is None else int(stamps.min()),
        stamp_max=0 if stamps is None else int(stamps.max()),
    )


class PartGoneError(IntegrityError):
    """A part is not there any more: a compaction replaced it, or somebody deleted it."""


def retrying(call: Callable[[], Result]) -> Result:
    """Do what reads parts, again where a compaction replaced one meanwhile; `call` looks at the manifest anew."""
    for _ in range(_TRIES - 1):
        try:
            return call()
        except PartGoneError:
            continue
    return call()


class PartFiles:
    """The parts of a library, open: each is checked when it is opened, and mapped from then on.

    A part never changes, so that what was checked once stays true; a held file stays readable when its part is deleted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: OrderedDict[str, ColumnFile | ColdFile] = OrderedDict()
        self._lock = threading.Lock()
        self._get_many: Callable[[list[str]], list[Any]] | None = getattr(store, "get_many", None)

    def open(self, part: Part) -> ColumnFile | ColdFile:
        """Return an open part.

        Raises
        ------
        PartGoneError
            It was deleted.
        IntegrityError
            It is damaged.
        """
        with self._lock:
            found = self._open.get(part.key)
            if found is not None:
                self._open.move_to_end(part.key)
                return found
        try:
            body = self._store.get(part.key)
        except NotFoundError as error:
            raise PartGoneError(
                f"the library's part {part.key} was deleted by hand; restore it from a backup"
            ) from error
        return self._keep(part, body)

    def open_all(self, parts: Sequence[Part]) -> None:
        """Open parts together, which is faster for many small ones; what fails then fails again in `open`."""
        with self._lock:
            missing = [part for part in parts if part.key not in self._open]
        if self._get_many is None or len(missing) < _TOGETHER_MIN:
            return
        for start in range(0, len(missing), _OPEN_MAX // 4):
            some = missing[start : start + _OPEN_MAX // 4]
            try:
                bodies = self._get_many([part.key for part in some])
            except (NotFoundError, IntegrityError):
                return
            for part, body in zip(some, bodies, strict=True):
                self._keep(part, body)

    def _keep(self, part: Part, body: Any) -> ColumnFile | ColdFile:
        file: ColumnFile | ColdFile = open_cold(body) if part.cold else open_warm(body)
        if file.row_count != part.rows:
            raise IntegrityError(
                f"the library's part {part.key} has {file.row_count} rows, and its entry says {part.rows}"
            )
        with self._lock:
            self._open[part.key] = file
            while len(self._open) > _OPEN_MAX:
                self._open.popitem(last=False)
        return file

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def forget(self, keys: Iterable[str]) -> None:
        """Let go of parts that were deleted."""
        with self._lock:
            for key in keys:
                self._open.pop(key, None)


def index_names(file: ColumnFile | ColdFile) -> list[str]:
    """Return the columns that `ts_index` of a part is made of."""
    held = {info.column.name: info for info in file.footer.columns}
    received = held.get("ts_recv")
    if received is None:
        return ["ts_event"]
    return ["ts_recv", "ts_event"] if received.null_count and "ts_event" in held else ["ts_recv"]


def times_of(file: ColumnFile | ColdFile) -> Array:
    """Return `ts_index` of all rows of a part."""
    names = index_names(file)
    return (file.columns(names) if isinstance(file, ColumnFile) else file.read(names)).ts_index


def index_of(file: ColumnFile | ColdFile, columns: Columns) -> Array:
    """Return `ts_index` of rows of a part, without looking for nulls where the file says that there are none."""
    names = index_names(file)
    return columns.arrays[names[0]] if len(names) == 1 else columns.ts_index


def within(times: Array, in_order: bool, start: int | None, end: int | None) -> slice | Array:
    """Return which rows have their time in [start, end): a slice, or bools."""
    if in_order:
        low = 0 if start is None else int(np.searchsorted(times, start, "left"))
        high = len(times) if end is None else int(np.searchsorted(times, end, "left"))
        return slice(low, max(low, high))
    inside = np.ones(len(times), np.bool_)
    if start is not None:
        inside &= times >= start
    if end is not None:
        inside &= times < end
    return inside
