"""Ingest: a file into the parts of a library, once.

Invariants: nothing is visible before its series' commit, and a series takes the rows of a source in one commit; a
source that was ingested whole is not ingested again; one that was interrupted is taken up where series lack it; what
cannot be decoded is kept with its reason and bytes; memory does not grow with the file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import msgpack
import numpy as np

from tickvault.errors import AlreadyExistsError, IntegrityError, NotFoundError, PreconditionFailedError
from tickvault.market.catalog import Catalog, Change, Manifest, Part, SeriesKey
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.protocol import Counted, Feed, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.joining import join_columns
from tickvault.market.partition import partitions
from tickvault.market.parts import PartWriter
from tickvault.market.repeats import Repeats
from tickvault.objects.protocol import Store

#: Told (input rows so far, stored rows so far).
Progress = Callable[[int, int], None]

#: A part is written once its rows take this much; and the largest are, once all together take `_GATHERED_MAX`.
_PART_SIZE = 64 * 1024 * 1024
_GATHERED_MAX = 512 * 1024 * 1024
#: Rows in quarantine whose bytes are kept; of more, the reasons are counted.
_QUARANTINE_KEPT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did."""

    path: str
    feed: str
    source: str
    """SHA-256 of the file."""
    rows: int
    """Input rows."""
    stored: int
    """Rows stored: more than input rows where a feed expands them."""
    quarantined: int
    symbols: tuple[str, ...]
    series: tuple[SeriesKey, ...]
    seconds: float
    again: bool = False
    """The file had been ingested before: nothing was done, and the figures are those of then."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Of what is in quarantine."""
    dropped: int = 0
    """Rows left out as repeats, because `unique` asked for it."""


class _Gathering:
    """Rows of one series and partition that wait to become a part."""

    def __init__(self) -> None:
        self.pieces: list[Columns] = []
        self.ordinals: list[Array] = []
        self.size_bytes = 0

    def add(self, columns: Columns, ordinals: Array) -> None:
        self.pieces.append(columns)
        self.ordinals.append(ordinals)
        self.size_bytes += sum(array.nbytes for array in columns.arrays.values())


class Ingest:
    """One file on its way into a library."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        source: Source,
        feed: Feed,
        options: IngestOptions,
        repeats: Repeats | None = None,
    ) -> None:
        self._repeats = repeats
        self._dropped = 0
        self._store = store
        self._writer = PartWriter(store)
        self._catalog = catalog
        self._source = source
        self._feed = feed
        self._options = options
        self._gathered: dict[tuple[SeriesKey, str], _Gathering] = {}
        self._gathered_bytes = 0
        self._parts: dict[SeriesKey, list[Part]] = {}
        self._taken: dict[SeriesKey, bool] = {}
        self._session = uuid4().hex[:12]
        self._rows = self._stored = 0
        self._quarantine: list[tuple[int, str, bytes]] = []
        self._reasons: Counter[str] = Counter()

    def run(self, progress: Progress | None = None) -> IngestReport:
        """Ingest the file; see `Library.ingest`."""
        started = time.monotonic()
        digest = self._source.digest
        said = {name: _plain(value) for name, value in asdict(self._options).items() if value} | {
            "feed": self._feed.name
        }
        before = self._report_of(digest)
        if before is not None:
            left = self._still_there(before)
            if left or not before["series"]:
                self._refuse_other_words(before["said"], said)
        if before is not None and len(left) == len(before["series"]):
            return IngestReport(**_report_fields(before), seconds=time.monotonic() - started, again=True)
        try:
            damage: IntegrityError | None = None
            try:
                for decoded in self._feed.decode(self._source, self._options):
                    self._take(decoded)
                    if progress is not None:
                        progress(self._rows, self._stored)
            except IntegrityError as error:
                # What was read before the damage is sound, but nobody knows what is missing: all or nothing.
                damage = error
            if damage is not None:
                raise damage
            for key, partition in list(self._gathered):
                self._write(key, partition)
            self._writer.flush()
        except BaseException:
            self._clean()
            raise
        for key, parts in self._parts.items():
            self._commit(key, tuple(parts))
        record = {
            "path": self._source.name,
            "feed": self._feed.name,
            "source": digest,
            "rows": self._rows,
            "stored": self._stored,
            "quarantined": self._reasons.total(),
            "series": sorted(tuple(key) for key in self._parts),
            "reasons": dict(self._reasons),
            "dropped": self._dropped,
            "said": said,
        }
        if self._quarantine:
            self._store.put(f"quality/{digest}", msgpack.packb(self._quarantine))
        try:
            free = None if before is not None else "*"
            self._store.put(f"source/{digest}", msgpack.packb(record), if_none_match=free)
        except PreconditionFailedError:
            pass  # another process ingested the same file at the same time, to the same end
        return IngestReport(**_report_fields(record), seconds=time.monotonic() - started)

    def _report_of(self, digest: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = msgpack.unpackb(bytes(self._store.get(f"source/{digest}")))
        except NotFoundError:
            return None
        return record

    def _still_there(self, before: dict[str, Any]) -> set[SeriesKey]:
        """Return the series that have the file's rows: of one that was deleted they are wanted again."""
        keys = [SeriesKey(*key) for key in before["series"]]
        return {key for key in keys if self._source.digest in self._catalog.manifest(key).sources}

    def _refuse_other_words(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        if before == now:
            return
        raise AlreadyExistsError(
            f"ingest {self._source.path}: the file is in the library already, read with {_words(before)}, and now with "
            f"{_words(now)}; delete what it gave first, or ingest it into another library"
        )

    def _take(self, decoded: Piece | Quarantined | Counted) -> None:
        if isinstance(decoded, Counted):
            self._rows += decoded.rows
            return
        if isinstance(decoded, Quarantined):
            self._reasons[decoded.reason] += 1
            if len(self._quarantine) < _QUARANTINE_KEPT_MAX:
                self._quarantine.append((decoded.row, decoded.reason, decoded.raw))
            return
        columns, ordinals = decoded.columns, decoded.ordinals
        key = SeriesKey(decoded.venue, decoded.symbol, columns.schema.name)
        if self._has(key):
            self._stored += len(columns)
            return
        if self._repeats is not None:
            fresh = self._repeats.fresh(key, columns)
            self._dropped += len(columns) - int(fresh.sum())
            columns, ordinals = columns.take(fresh), ordinals[fresh]
        self._stored += len(columns)
        for partition, rows in partitions(columns.schema, columns.ts_index):
            place = (key, partition)
            gathering = self._gathered.setdefault(place, _Gathering())
            before = gathering.size_bytes
            gathering.add(columns.take(rows), ordinals[rows])
            self._gathered_bytes += gathering.size_bytes - before
            if gathering.size_bytes >= _PART_SIZE:
                self._write(*place)
        if self._gathered_bytes > _GATHERED_MAX:
            for place in sorted(self._gathered, key=lambda each: -self._gathered[each].size_bytes):
                self._write(*place)
                if self._gathered_bytes <= _GATHERED_MAX // 2:
                    break

    def _has(self, key: SeriesKey) -> bool:
        """Whether the series took this source already, in an ingest that was interrupted later."""
        found = self._taken.get(key)
        if found is None:
            found = self._taken[key] = self._source.digest in self._catalog.manifest(key).sources
            self._parts.setdefault(key, [])
        return found

    def _write(self, key: SeriesKey, partition: str) -> None:
        gathering = self._gathered.pop((key, partition))
        self._gathered_bytes -= gathering.size_bytes
        columns = join_columns(gathering.pieces)
        ordinals = np.concatenate(gathering.ordinals)
        parts = self._parts[key]
        name = f"part/{key.path}/{partition}/{self._session}-{len(parts):06d}"
        parts.append(self._writer.write(name, partition, columns, ordinals, self._source.digest))

    def _commit(self, key: SeriesKey, parts: tuple[Part, ...]) -> None:
        def change(state: Manifest) -> Change | None:
            if self._source.digest in state.sources:
                return None
            return Change("ingest", parts, source=self._source.digest)

        state = self._catalog.commit(key, change)
        if parts and parts[0].key not in {part.key for part in state.parts}:
            # Another process ingested the same file meanwhile and was first.
            for part in parts:
                self._store.delete(part.key)

    def _clean(self) -> None:
        for parts in self._parts.values():
            for part in parts:
                self._store.delete(part.key)


def _plain(value: Any) -> Any:
    """Return an option as msgpack gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _report_fields(record: dict[str, Any]) -> dict[str, Any]:
    series = tuple(SeriesKey(*key) for key in record["series"])
    fields = {name: record[name] for name in ("path", "feed", "source", "rows", "stored", "quarantined", "reasons")}
    fields["dropped"] = record.get("dropped", 0)
    return fields | {"series": series, "symbols": tuple(sorted({key.symbol for key in series}))}


def _words(said: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(said.items())) or "no options"
