"""Changes to a series beyond adding to it: replace, delete, correct, bust, restore, prune.

Each is one commit. What it does away with is not read any more from that commit on, and still is `as_of` before it.

Invariants: while one of these is made nobody appends to the series, and its live rows are in parts, so that a commit
time says on which side of the change a row stands; what a change adds is written before the commit that shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.market.catalog import Catalog, Change, Manifest, Part, SeriesKey
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.journal.journals import Journals, write_sorted
from tickvault.market.journal.locked import Locked
from tickvault.market.keyed import Matches, find_rows
from tickvault.market.merging import merged_rows
from tickvault.market.parts import PartFiles, PartGoneError, PartWriter, retrying
from tickvault.market.reading import Reader, Wanted
from tickvault.market.schema import TIME_NULL
from tickvault.market.times import text_of
from tickvault.market.view import HiddenRows, View, pack_hidden, visible
from tickvault.objects.protocol import Store

_BEGIN, _END = TIME_NULL, int(np.iinfo(np.int64).max)


class Changed(NamedTuple):
    """What a change did."""

    version: int
    commit: int
    ts_commit: int
    """int64 ns UTC."""
    added: int
    removed: int


class SeriesWriter:
    """Changes series of one library."""

    def __init__(
        self, store: Store, catalog: Catalog, files: PartFiles, hidden: HiddenRows, journals: Journals | None
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._files = files
        self._hidden = hidden
        self._journals = journals
        self._reader = Reader(catalog, files, hidden)

    @contextmanager
    def _alone(self, key: SeriesKey) -> Iterator[Locked | None]:
        """Hold off appends; all live rows are in parts."""
        if self._journals is None or not self._journals.exists(key):
            yield None
            return
        with self._journals.appender(key).locked() as held:
            self._journals.flush_locked(key, held)
            yield held

    def replace(
        self, key: SeriesKey, columns: Columns | None, start: int | None, end: int | None, operation: str
    ) -> Changed:
        """Put rows in the place of those in [start, end), or of all; with no rows, delete.

        Raises
        ------
        InvalidInputError
            A row lies outside of the range.
        """
        low, high = _BEGIN if start is None else start, _END if end is None else end
        if columns is not None and (start is not None or end is not None):
            _check_within(key, operation, columns, low, high)
        with self._alone(key) as held:
            parts = self._write(key, columns, f"{operation}:{uuid4().hex[:16]}") if columns is not None else []

            def change(state: Manifest) -> Change | None:
                removed = self._count(state, start, end)
                whole = [part for part in state.live_parts if low <= part.first_ns and part.last_ns < high]
                if start is None and end is None:
                    whole = list(state.live_parts)
                cut = [
                    part
                    for part in state.live_parts
                    if part not in whole and part.last_ns >= low and part.first_ns < high
                ]
                return Change(
                    operation,
                    tuple(parts),
                    gone=frozenset(part.key for part in whole),
                    ranges=((low, high),) if cut else (),
                    rows=sum(part.rows for part in parts) - removed,
                    forget=start is None and end is None,
                )

            return retrying(lambda: self._commit(key, held, change, parts, sum(part.rows for part in parts)))

    def correct(
        self, key: SeriesKey, columns: Columns | None, wanted: Columns, names: Sequence[str], published_ns: int
    ) -> Changed:
        """Supersede rows by key: by corrected ones, or by nothing.

        Parameters
        ----------
        columns : Columns, optional
            The corrected rows, in the order of `wanted`; what they lack is taken from the rows they supersede.
        wanted : Columns
            The values of the key, a row for each row that is superseded.
        names : sequence of str
            The columns that make the key.

        Raises
        ------
        NotFoundError
            A key is that of no row; nothing is changed.
        """
        operation = "bust" if columns is None else "correct"
        with self._alone(key) as held:
            found = retrying(lambda: find_rows(self._files, self._hidden, self._catalog.manifest(key), wanted, names))
            _all_found(key, operation, wanted, names, found)
            name = f"hidden/{key.path}/{uuid4().hex[:16]}"
            self._store.put(name, pack_hidden(_by_source(found, published_ns)))
            parts: list[Part] = []
            if columns is not None:
                whole = _completed(columns, found.first_rows())
                parts = self._write(key, whole, f"correct:{uuid4().hex[:16]}", published_ns)
            removed = len(found.ordinals)

            def change(_: Manifest) -> Change:
                rows = sum(part.rows for part in parts) - removed
                return Change(operation, tuple(parts), hidden=name, rows=rows)

            return self._commit(key, held, change, parts, sum(part.rows for part in parts))

    def restore(self, key: SeriesKey, version: int) -> Changed:
        """Make a series what it was after a version.

        Raises
        ------
        NotFoundError
            There is no such version.
        """
        found = [each for each in self._catalog.versions(key) if each.version == version]
        if not found:
            raise NotFoundError(f"restore {key}: there is no version {version}; versions() lists them")
        view = View(found[0].committed_ns)
        later = [each for each in self._catalog.versions(key) if each.version > version]
        if any(each.operation == "prune" for each in later):
            raise NotFoundError(
                f"restore {key}: what was replaced since version {version} was pruned, and the version may lack rows; "
                "read it as_of its commit, and write what is there, if that is enough"
            )
        with self._alone(key) as held:
            parts, sources = retrying(lambda: self._copies(key, view))

            def change(now: Manifest) -> Change:
                rows = sum(part.rows for part in parts) - now.rows
                gone = frozenset(part.key for part in now.live_parts)
                kept = tuple(source for source in sources if ":" not in source)
                return Change("restore", tuple(parts), gone=gone, rows=rows, forget=True, sources=kept)

            return self._commit(key, held, change, parts, sum(part.rows for part in parts))

    def _copies(self, key: SeriesKey, view: View) -> tuple[list[Part], set[str]]:
        """Write what a view sees of a series as a part for each partition; return them and the sources of the rows."""
        state = self._catalog.manifest(key)
        seen = [part for part in state.parts if view.sees(part)]
        sources = {source for part in seen for source in self._files.open(part).about["sources"]}
        groups = [[part for part in seen if part.partition == name] for name in sorted({p.partition for p in seen})]
        return [made for group in groups if (made := self._copied(key, state, group, view)) is not None], sources

    def _copied(self, key: SeriesKey, state: Manifest, group: Sequence[Part], view: View) -> Part | None:
        """Write what is seen of a partition's parts as one, each row with its identity."""

        def chosen(part: Part, times: Array) -> Array | None:
            return visible(state, part, self._files.open(part), times, view, self._hidden)

        columns, identity, sources = merged_rows(self._files, group, chosen)
        if not len(columns):
            return None
        writer = PartWriter(self._store)
        name = f"part/{key.path}/{group[0].partition}/{uuid4().hex[:12]}"
        # They are committed anew; when they were published stays.
        anew = identity._replace(stamps=None)
        made = writer.write_whole(name, group[0].partition, columns, anew, sources, columns.ts_index)
        writer.flush()
        return made

    def prune(self, key: SeriesKey, stamp: int, kept: Sequence[int]) -> tuple[int, int]:
        """Delete what is not read since a commit time, unless one of the times `kept` needs it; (parts, bytes)."""
        doomed: list[Part] = []

        def change(state: Manifest) -> Change | None:
            doomed[:] = [
                part
                for part in state.parts
                if 0 < part.gone <= stamp and not any(part.stamp_min <= each < part.gone for each in kept)
            ]
            if not doomed:
                return None
            return Change("prune", drop=frozenset(part.key for part in doomed), rows=0)

        self._catalog.commit(key, change)
        self._files.forget(part.key for part in doomed)
        for part in doomed:
            self._store.delete(part.key)
        return len(doomed), sum(part.size_bytes for part in doomed)

    def _count(self, state: Manifest, start: int | None, end: int | None) -> int:
        if start is None and end is None:
            return state.rows
        return sum(len(piece.keys) for piece in self._reader.read_state(state, [], Wanted(start, end, ())))

    def _write(self, key: SeriesKey, columns: Columns, source: str, known_ns: int = 0) -> list[Part]:
        if not len(columns):
            return []
        writer = PartWriter(self._store)
        parts = write_sorted(writer, key, columns, np.arange(len(columns)), source, None, known_ns)
        writer.flush()
        return parts

    def _commit(
        self,
        key: SeriesKey,
        held: Locked | None,
        change: Callable[[Manifest], Change | None],
        parts: Sequence[Part],
        added: int,
    ) -> Changed:
        rows_before = 0

        def noted(state: Manifest) -> Change | None:
            nonlocal rows_before
            rows_before = state.rows
            wanted = change(state)
            floor = 0 if held is None else held.extent.stamp + 1
            return None if wanted is None else wanted._replace(stamp_min=floor)

        try:
            state = self._catalog.commit(key, noted)
        except PartGoneError:
            # Asked again, with the manifest as it is by then.
            raise
        except BaseException:
            # An interrupt may have come after the commit.
            named = {part.key for part in self._catalog.manifest(key).parts}
            for part in parts:
                if part.key not in named:
                    self._store.delete(part.key)
            raise
        if held is not None:
            held.note_stamp(state.stamp)
        removed = rows_before + added - state.rows
        return Changed(state.version, state.commit, state.stamp, added, removed)


def _check_within(key: SeriesKey, operation: str, columns: Columns, start: int, end: int) -> None:
    times = columns.ts_index
    outside = (times < start) | (times >= end)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InvalidInputError(
            f"{operation} {key}: row {row} is of {text_of(int(times[row]))}, outside of the range that is replaced; "
            "give the range that the rows lie in"
        )


def _all_found(key: SeriesKey, operation: str, wanted: Columns, names: Sequence[str], found: Matches) -> None:
    missing = np.setdiff1d(np.arange(len(wanted)), found.wanted)
    if len(missing):
        shown = ", ".join(" ".join(f"{name}={_shown(wanted, name, int(row))}" for name in names) for row in missing[:3])
        raise NotFoundError(
            f"{operation} {key}: {len(missing):,} of {len(wanted):,} keys are those of no row ({shown}); nothing was "
            "changed"
        )


def _shown(columns: Columns, name: str, row: int) -> Any:
    value = int(columns[name][row])
    words = columns.dictionaries.get(name)
    return words[value] if words and value >= 0 else value


def _by_source(found: Matches, published_ns: int) -> Mapping[str, tuple[Array, Array]]:
    rows = {}
    for number, source in enumerate(found.sources):
        mine = found.source_ids == number
        if mine.any():
            ordinals = found.ordinals[mine]
            rows[source] = (ordinals, np.full(len(ordinals), published_ns, np.int64))
    return rows


def _completed(columns: Columns, originals: Columns) -> Columns:
    """Return corrected rows with what they lack taken from the rows that they supersede."""
    lacking = [name for name in originals.arrays if name not in columns.arrays]
    if not lacking:
        return columns
    both = join_columns([columns, originals])
    count = len(columns)
    arrays = {name: (array[count:] if name in lacking else array[:count]) for name, array in both.arrays.items()}
    return Columns(
        both.schema,
        arrays,
        both.dictionaries,
        both.extensions,
        size_scale=both.size_scale,
        turnover_scale=both.turnover_scale,
    )
