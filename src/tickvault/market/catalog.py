"""The catalog of a library: which series there are, and which files hold the rows of each, as of any commit.

Each series has a log of numbered entries, each an object that is written only if its number is free: of two writers one
wins, and the other looks again.  An entry says which parts came and which went; every so often one holds the whole
state, so that reading does not slow down as entries pile up.

==================================== ======================================================================
key                                  object
==================================== ======================================================================
names/VENUE/SYMBOL/SCHEMA            there is such a series
log/VENUE/SYMBOL/SCHEMA/VERSION      an entry: what a commit changed
part/VENUE/SYMBOL/SCHEMA/PARTITION/… a file of columns
source/DIGEST                        a file that was ingested whole
quality/DIGEST                       what of it could not be decoded
==================================== ======================================================================

Invariants: a part is written before the entry that names it and never changed; an entry is never changed; the commit
number of an entry is the vault's own sequence of the object, so that numbers rise over all series of a vault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgpack

from tickvault.errors import IntegrityError, NotFoundError, PreconditionFailedError
from tickvault.objects.model import ObjectInfo
from tickvault.objects.protocol import Store

#: Every so many versions an entry holds the whole state.
_WHOLE_EVERY = 32
_TRIES_MAX = 1000


class SeriesKey(NamedTuple):
    """What names a series."""

    venue: str
    symbol: str
    schema: str

    @property
    def path(self) -> str:
        """The part of object keys that stands for it; symbols may hold any letter."""
        return "/".join(quote(word, safe="") for word in self)

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.venue}/{self.symbol}/{self.schema}"


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
    committed_ns: int
    parts: tuple[Part, ...]
    sources: frozenset[str]
    """What was ingested whole."""

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)


class Change(NamedTuple):
    """What a commit does to a series."""

    operation: str
    add: tuple[Part, ...] = ()
    drop: frozenset[str] = frozenset()
    source: str | None = None


EMPTY = Manifest(0, 0, 0, (), frozenset())


class Catalog:
    """The series of one library."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[SeriesKey, Manifest] = {}

    def series(self, symbol: str | None = None, schema: str | None = None, venue: str | None = None) -> list[SeriesKey]:
        """Return the series that fit, in order of venue, symbol and schema."""
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

    def manifest(self, key: SeriesKey, as_of: Callable[[ObjectInfo], bool] | None = None) -> Manifest:
        """Return a series as of now, or as of the last entry for which `as_of` holds."""
        if as_of is None:
            known = self._known[key] = self._advanced(key, self._known.get(key, EMPTY))
            return known
        entries = [info for info in self._entries(key, 0) if as_of(info)]
        state = EMPTY
        for info in entries:
            state = _applied(state, self._read(info), info)
        return state

    def versions(self, key: SeriesKey) -> list[Version]:
        """Return the commits to a series, the newest first."""
        state = EMPTY
        made = []
        for info in self._entries(key, 0):
            entry = self._read(info)
            state = _applied(state, entry, info)
            made.append(Version(state.version, state.commit, state.committed_ns, entry["operation"], state.rows))
        return made[::-1]

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
            entry: dict[str, Any] = {
                "version": state.version + 1,
                "operation": wanted.operation,
                "add": [tuple(part) for part in wanted.add],
                "drop": sorted(wanted.drop),
                "source": wanted.source,
            }
            if entry["version"] % _WHOLE_EVERY == 0:
                after = _applied(state, entry, None)
                entry["whole"] = {"parts": [tuple(part) for part in after.parts], "sources": sorted(after.sources)}
            try:
                info = self._store.put(self._entry_key(key, entry["version"]), msgpack.packb(entry), if_none_match="*")
            except PreconditionFailedError:
                continue
            state = self._known[key] = _applied(state, entry, info)
            return state
        raise AssertionError(f"{_TRIES_MAX} other commits to {key} came first")

    def _announce(self, key: SeriesKey) -> None:
        if key in self._known and self._known[key].version:
            return
        try:
            self._store.put(f"names/{key.path}", b"", if_none_match="*")
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
            state = _applied(state, self._read(info), info)
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


def _applied(state: Manifest, entry: dict[str, Any], info: ObjectInfo | None) -> Manifest:
    if "whole" in entry:
        parts = tuple(Part(*part) for part in entry["whole"]["parts"])
        sources = frozenset(entry["whole"]["sources"])
    else:
        if entry["version"] != state.version + 1:
            raise IntegrityError(f"the library's log lacks version {state.version + 1}; it was deleted by hand")
        drop = set(entry["drop"])
        kept = tuple(part for part in state.parts if part.key not in drop) if drop else state.parts
        parts = kept + tuple(Part(*part) for part in entry["add"])
        sources = state.sources | {entry["source"]} if entry["source"] else state.sources
    commit, committed_ns = (info.sequence, info.modified_ns) if info is not None else (0, 0)
    return Manifest(entry["version"], commit, committed_ns, parts, sources)
