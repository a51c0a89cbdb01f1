"""The catalog of a library: which series there are, and which files hold the rows of each, as of any commit.

Each series has a log of numbered entries, each an object that is written only if its number is free: of two writers one
wins, and the other looks again.  An entry says which parts came and which went; every so often one holds the whole
state, so that reading does not slow down as entries pile up.

==================================== ======================================================================
key                                  object
==================================== ======================================================================
names/VENUE/SYMBOL/SCHEMA            there is such a series
symbols/SYMBOL/SCHEMA/VENUE          the same, to be found by symbol
log/VENUE/SYMBOL/SCHEMA/VERSION      an entry: what a commit changed
part/VENUE/SYMBOL/SCHEMA/PARTITION/… a file of columns
hidden/VENUE/SYMBOL/SCHEMA/…         rows that corrections and busts supersede
snapshot/NAME                        the commit time of each series when a snapshot was taken
source/DIGEST                        a file that was ingested whole
quality/DIGEST                       what of it could not be decoded
==================================== ======================================================================

Invariants: a part is written before the entry that names it and never changed; an entry is never changed; the commit
number of an entry is the vault's own sequence of the object, so that numbers rise over all series of a vault.  Commit
times of a series only rise, whatever the clock does.  Nothing that is read by `as_of` goes before `prune` removes it:
a part that was replaced is marked as gone from a commit time on, a deletion is a mask, and compaction keeps each row
with its commit time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgpack

from tickvault.errors import IntegrityError, NotFoundError, PreconditionFailedError
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store
from tickvault.seam.clock import Clock, SystemClock

#: Every so many versions an entry holds the whole state.
_WHOLE_EVERY = 32
_TRIES_MAX = 1000
#: What the names of sources that are journals begin with; a colon and the journal's id follow.
LIVE = "live:"


class SeriesKey(NamedTuple):
    """What names a series."""

    venue: str
    symbol: str
    schema: str

    @property
    def path(self) -> str:
        """The part of object keys that stands for it; symbols may hold any letter."""
        return _path_of(self)

    @property
    def by_symbol(self) -> str:
        """The key of the object that lets it be found by its symbol."""
        return "symbols/" + _path_of((self.symbol, self.schema, self.venue))

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.venue}/{self.symbol}/{self.schema}"


@lru_cache(maxsize=65_536)
def _path_of(words: tuple[str, ...]) -> str:
    return "/".join(quote(word, safe="") for word in words)


class Part(NamedTuple):
    """A file of columns, as the catalog describes it."""

    key: str
    partition: str
    rows: int
    first_ns: int
    """Smallest `ts_index`."""
    last_ns: int
    """Largest `ts_index`."""
    in_order: bool
    """Whether `ts_index` never goes back."""
    size_bytes: int
    source: str
    """Digest of the file that its rows are from; empty if of several."""
    cold: bool = False
    """Compressed; otherwise its columns are mapped as they lie."""
    stamp_min: int = 0
    """Earliest commit time of its rows; where it is the latest too, the file need not hold them."""
    stamp_max: int = 0
    known_ns: int = 0
    """When all its rows were published; 0: each at its own `ts_index`, or as the file says."""
    gone: int = 0
    """Commit time from which on it is not read any more; 0: it is."""


class RangeMask(NamedTuple):
    """Rows that were deleted or replaced: those of a range of `ts_index` that were committed earlier."""

    start: int
    end: int
    """int64 ns; [start, end)."""
    stamp: int


class Hidden(NamedTuple):
    """Rows that were superseded, each by its identity."""

    key: str
    """Of the object that lists them."""
    stamp: int


class Version(NamedTuple):
    """A commit to a series."""

    version: int
    commit: int
    """The vault's number of it; rises over all series."""
    committed_ns: int
    operation: str
    rows: int
    """Of the series, after it."""


class Manifest(NamedTuple):
    """A series as of one version."""

    version: int
    commit: int
    stamp: int
    """Commit time of the version, int64 ns."""
    parts: tuple[Part, ...]
    sources: frozenset[str]
    """What was ingested whole, and the journal files whose rows are in parts."""
    ranges: tuple[RangeMask, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    journal_id: str = ""
    journal_next: int = 0
    """Sequence that the rows after those in parts begin with."""
    rows: int = 0
    """Rows in parts that are read."""

    @property
    def masks(self) -> tuple[RangeMask | Hidden, ...]:
        """What hides rows."""
        return (*self.ranges, *self.hidden)

    @property
    def live_parts(self) -> tuple[Part, ...]:
        """The parts that are read now."""
        return tuple(part for part in self.parts if not part.gone)


class Change(NamedTuple):
    """What a commit does to a series."""

    operation: str
    add: tuple[Part, ...] = ()
    drop: frozenset[str] = frozenset()
    """Keys of parts whose rows are in those added: nothing needs them any more."""
    source: str | None = None
    gone: frozenset[str] = frozenset()
    """Keys of parts that are not read from now on."""
    ranges: tuple[tuple[int, int], ...] = ()
    hidden: str = ""
    """Key of an object that lists superseded rows."""
    journal: tuple[str, int] | None = None
    rows: int | None = None
    """How many rows more there are than before; None: those added less those dropped."""
    forget: bool = False
    """Whether files may be ingested again."""
    sources: tuple[str, ...] = ()
    """Files whose rows are there again."""
    stamp_min: int = 0
    """The commit time is at least this."""


EMPTY = Manifest(0, 0, 0, (), frozenset())


class Catalog:
    """The series of one library."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self.clock = clock or SystemClock()
        self._known: dict[SeriesKey, Manifest] = {}
        self._versions: dict[SeriesKey, tuple[Manifest, tuple[Version, ...]]] = {}
        #: Told which parts another process's compaction has deleted.
        self.on_drop: Callable[[list[str]], None] = lambda keys: None

    def series(self, symbol: str | None = None, schema: str | None = None, venue: str | None = None) -> list[SeriesKey]:
        """Return the series that fit, in order of venue, symbol and schema."""
        if symbol is not None and venue is None:
            return self._venues_of(symbol, schema)
        prefix = "names/"
        if venue is not None:
            prefix += quote(venue, safe="") + "/"
            if symbol is not None:
                prefix += quote(symbol, safe="") + "/"
        found = []
        for info in self._store.list(prefix):
            assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
            key = SeriesKey(*map(unquote, info.key.split("/")[1:]))
            if (symbol is None or key.symbol == symbol) and (schema is None or key.schema == schema):
                found.append(key)
        return found

    def _venues_of(self, symbol: str, schema: str | None) -> list[SeriesKey]:
        """Return the series of a symbol; a library may have so many that listing all of them takes long."""
        prefix = f"symbols/{quote(symbol, safe='')}/" + (f"{quote(schema, safe='')}/" if schema is not None else "")
        found = []
        for info in self._store.list(prefix):
            assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
            _, name, kind, venue = map(unquote, info.key.split("/"))
            found.append(SeriesKey(venue, name, kind))
        return sorted(found)

    def index_symbols(self) -> None:
        """Make the series that an earlier release named be found by symbol."""
        for key in self.series():
            self._store.put(key.by_symbol, b"")

    def manifest(self, key: SeriesKey) -> Manifest:
        """Return a series as of now."""
        known = self._known[key] = self._advanced(key, self._known.get(key, EMPTY))
        return known

    def last_known(self, key: SeriesKey) -> Manifest | None:
        """Return a series as it was at the last look, without another; None if there was none."""
        return self._known.get(key)

    def stamp_of(self, key: SeriesKey, commit: int) -> int:
        """Return the commit time of a series' last version whose commit number is at most this; 0 if there is none."""
        found = [info for info in self._entries(key, 0) if info.sequence <= commit]
        return _stamp_of(self._read(found[-1]), found[-1]) if found else 0

    def versions(self, key: SeriesKey) -> list[Version]:
        """Return the commits to a series, the newest first."""
        # Entries never change: what was read once is known.
        state, made = self._versions.get(key, (EMPTY, ()))
        fresh = []
        for info in self._entries(key, state.version):
            entry = self._read(info)
            state = _applied(state, entry, info)
            fresh.append(Version(state.version, state.commit, state.stamp, entry["operation"], state.rows))
        if fresh:
            made = (*fresh[::-1], *made)
            self._versions[key] = (state, made)
        return list(made)

    def commit(self, key: SeriesKey, change: Callable[[Manifest], Change | None]) -> Manifest:
        """Change a series.

        Parameters
        ----------
        change : callable
            Given the series as it is, returns what to do, or None for nothing; asked again if another writer was first.
        """
        self._announce(key)
        for _ in range(_TRIES_MAX):
            state = self.manifest(key)
            wanted = change(state)
            if wanted is None:
                return state
            entry = self._entry(state, wanted)
            try:
                info = self._store.put(self._entry_key(key, entry["version"]), msgpack.packb(entry), if_none_match="*")
            except PreconditionFailedError:
                continue
            state = self._known[key] = _applied(state, entry, info)
            return state
        raise AssertionError(f"{_TRIES_MAX} other commits to {key} came first")

    def _entry(self, state: Manifest, wanted: Change) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "version": state.version + 1,
            "operation": wanted.operation,
            "stamp": max(self.clock.now_ns(), state.stamp + 1, wanted.stamp_min),
            "add": [tuple(part) for part in wanted.add],
            "drop": sorted(wanted.drop),
            "source": wanted.source,
        }
        for name in ("gone", "ranges", "hidden", "journal", "rows", "forget", "sources"):
            value = getattr(wanted, name)
            if value or (name == "rows" and value is not None):
                entry[name] = sorted(value) if name == "gone" else value
        if entry["version"] % _WHOLE_EVERY == 0:
            after = _applied(state, entry, None)
            entry["whole"] = {
                "parts": [tuple(part) for part in after.parts],
                "sources": sorted(after.sources),
                "ranges": after.ranges,
                "hidden": after.hidden,
                "journal": (after.journal_id, after.journal_next),
                "rows": after.rows,
            }
        return entry

    def announce(self, key: SeriesKey) -> None:
        """See to it that the series is listed."""
        self._announce(key)

    def _announce(self, key: SeriesKey) -> None:
        if key in self._known and self._known[key].version:
            return
        for name in (key.by_symbol, f"names/{key.path}"):
            try:
                self._store.put(name, b"", if_none_match="*")
            except PreconditionFailedError:
                pass

    def _advanced(self, key: SeriesKey, state: Manifest) -> Manifest:
        infos = list(self._entries(key, state.version))
        # All before the last whole entry need not be read.
        for position in range(len(infos) - 1, -1, -1):
            if _version_of(infos[position]) % _WHOLE_EVERY == 0:
                infos = infos[position:]
                break
        for info in infos:
            entry = self._read(info)
            state = _applied(state, entry, info)
            if entry["drop"]:
                self.on_drop(entry["drop"])
        return state

    def _entries(self, key: SeriesKey, after: int) -> Iterator[ObjectInfo]:
        start = self._entry_key(key, after) if after else ""
        for info in self._store.list(f"log/{key.path}/", start_after=start):
            assert isinstance(info, ObjectInfo), "without a delimiter there are no common prefixes"
            yield info

    def _read(self, info: ObjectInfo) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = msgpack.unpackb(bytes(self._store.get(info.key)))
        except NotFoundError as error:
            raise IntegrityError(f"the library's log entry {info.key} was deleted by hand; restore it") from error
        return entry

    @staticmethod
    def _entry_key(key: SeriesKey, version: int) -> str:
        return f"log/{key.path}/{version:012d}"


def _version_of(info: ObjectInfo) -> int:
    return int(info.key.rpartition("/")[2])


def _stamp_of(entry: dict[str, Any], info: ObjectInfo | None) -> int:
    # Entries of the first releases had the object's own time.
    stamp: int = entry.get("stamp", 0) or (info.modified_ns if info is not None else 0)
    return stamp


def _applied(state: Manifest, entry: dict[str, Any], info: ObjectInfo | None) -> Manifest:
    stamp = _stamp_of(entry, info)
    commit = info.sequence if info is not None else 0
    if "whole" in entry:
        return _whole(entry, commit, stamp)
    if entry["version"] != state.version + 1:
        raise IntegrityError(f"the library's log lacks version {state.version + 1}; it was deleted by hand")
    drop, gone = set(entry["drop"]), set(entry.get("gone", ()))
    kept = state.parts
    if drop or gone:
        kept = tuple(
            part._replace(gone=stamp) if part.key in gone and not part.gone else part
            for part in kept
            if part.key not in drop
        )
    added = tuple(_stamped(Part(*part), stamp) for part in entry["add"])
    dropped_rows = sum(part.rows for part in state.parts if part.key in drop) if drop else 0
    more = entry["rows"] if "rows" in entry else sum(part.rows for part in added) - dropped_rows
    sources = state.sources
    if entry.get("forget"):
        sources = frozenset(source for source in sources if source.startswith(LIVE))
    journal_id, journal_next = entry.get("journal") or (state.journal_id, state.journal_next)
    return Manifest(
        entry["version"],
        commit,
        stamp,
        kept + added,
        sources | {entry["source"]} if entry["source"] else sources | set(entry.get("sources", ())),
        state.ranges + tuple(RangeMask(start, end, stamp) for start, end in entry.get("ranges", ())),
        state.hidden + ((Hidden(entry["hidden"], stamp),) if entry.get("hidden") else ()),
        journal_id,
        journal_next,
        state.rows + more,
    )


def _whole(entry: dict[str, Any], commit: int, stamp: int) -> Manifest:
    whole = entry["whole"]
    journal_id, journal_next = whole.get("journal", ("", 0))
    parts = tuple(_stamped(Part(*part), stamp) for part in whole["parts"])
    return Manifest(
        entry["version"],
        commit,
        stamp,
        parts,
        frozenset(whole["sources"]),
        tuple(RangeMask(*each) for each in whole.get("ranges", ())),
        tuple(Hidden(*each) for each in whole.get("hidden", ())),
        journal_id,
        journal_next,
        whole.get("rows", sum(part.rows for part in parts)),
    )


def _stamped(part: Part, stamp: int) -> Part:
    """Return a part whose rows were committed with the entry that adds it, unless it says when."""
    return part if part.stamp_min else part._replace(stamp_min=stamp, stamp_max=stamp)
