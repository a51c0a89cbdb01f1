"""The journals of one library: who appends, who reads, and how complete files become parts.

Invariants: the rows of a journal file are in the catalog before the file is unlinked, and the commit that puts them
there notes the file, so that no row is read twice and none is missing; it happens once, whoever does it.
"""

from __future__ import annotations

import logging
import os
import queue
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

import numpy as np

from tickvault.errors import IntegrityError, TickVaultError
from tickvault.market.catalog import LIVE, Catalog, Change, Manifest, Part, SeriesKey
from tickvault.market.columns import Array, Columns
from tickvault.market.joining import join_columns
from tickvault.market.journal.appender import SeriesJournal
from tickvault.market.journal.file import file_name
from tickvault.market.journal.locked import Locked
from tickvault.market.journal.place import Floor, Place
from tickvault.market.journal.syncing import Syncer
from tickvault.market.journal.tail import JournalTail, Unread
from tickvault.market.partition import partitions
from tickvault.market.parts import PartWriter
from tickvault.objects.protocol import Store

#: Descriptors that a journal that is appended to and read takes, with a wide margin for all else.
_FILES_EACH, _OPEN_MAX = 16, 4096
Opened = TypeVar("Opened", SeriesJournal, JournalTail)
_log = logging.getLogger("tickvault.market")


class Journals:
    """The journals of one library."""

    def __init__(self, place: Place, store: Store, catalog: Catalog) -> None:
        self.place = place
        self._store = store
        self._catalog = catalog
        # The one used longest ago first: beyond a share of the files that a process may have open, those are closed.
        self._appenders: OrderedDict[SeriesKey, SeriesJournal] = OrderedDict()
        self._tails: OrderedDict[SeriesKey, JournalTail] = OrderedDict()
        self._mutex = threading.Lock()
        self._complete: queue.SimpleQueue[SeriesKey | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._syncer = Syncer()

    def after_fork(self) -> None:
        """Begin anew in a forked child: locks that a thread of the parent may have held, and its threads, are gone."""
        self._mutex = threading.Lock()
        self._syncer.after_fork()
        for appender in self._appenders.values():
            appender.after_fork()
        for tail in self._tails.values():
            tail.after_fork()

    def appender(self, key: SeriesKey) -> SeriesJournal:
        """Return the journal of a series, for writing."""
        if key not in self._appenders:
            self._catalog.announce(key)
        with self._mutex:
            found = self._appenders.get(key)
            if found is None:
                found = SeriesJournal(
                    self.place, key, lambda: self.floor(key), self._on_complete, self._syncer.note, self._on_open
                )
                self._appenders[key] = found
        return found

    def _on_open(self, journal: SeriesJournal) -> None:
        """Close those used longest ago where one more would be too many."""
        with self._mutex:
            if journal.key in self._appenders:
                self._appenders.move_to_end(journal.key)
            idle = [each for each in _beyond_limit(self._appenders) if each is not journal]
        for each in idle:
            each.close_if_idle()

    def tail(self, key: SeriesKey) -> JournalTail:
        """Return the journal of a series, for reading."""
        with self._mutex:
            found = self._tails.get(key)
            if found is None:
                found = self._tails[key] = JournalTail(self.place, key)
            self._tails.move_to_end(key)
            idle = [tail for tail in _beyond_limit(self._tails) if not tail.waiters]
        for tail in idle:
            tail.close()
        return found

    def unread(self, key: SeriesKey) -> list[Unread]:
        """Return the rows in a series' journal files; read the manifest after it, and leave out what that notes."""
        tail = self.tail(key)
        return tail.snapshot() if os.path.isdir(tail.folder) else []

    def exists(self, key: SeriesKey) -> bool:
        """Whether anything was ever appended to a series, or somebody waits for it."""
        return os.path.isdir(self.place.folder(key))

    def floor(self, key: SeriesKey) -> Floor:
        """Return what the catalog knows of a series' journal."""
        manifest = self._catalog.manifest(key)
        prefix = f"{LIVE}{manifest.journal_id}:"
        consumed = (source[len(prefix) :] for source in manifest.sources if source.startswith(prefix))
        return Floor(
            manifest.journal_id,
            manifest.journal_next,
            manifest.stamp,
            frozenset(map(int, consumed)),
            frozenset(part.key for part in manifest.parts),
        )

    def manifest(self, key: SeriesKey) -> Manifest:
        """Return what the catalog says of a series."""
        return self._catalog.manifest(key)

    # -- into parts

    def _on_complete(self, key: SeriesKey) -> None:
        with self._mutex:
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._complete = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._run, name="tickvault-journal", daemon=True)
                self._thread.start()
        self._complete.put(key)

    def _run(self) -> None:
        while (key := self._complete.get()) is not None:
            try:
                self.drain(key)
            except TickVaultError as error:
                # Nothing is lost: the rows stay in the journal, where reads find them, until the next attempt.
                _log.warning("journal of %s: its rows could not be moved to files of columns yet: %s", key, error)

    def flush(self, key: SeriesKey) -> int:
        """Put all rows of a series' journal into parts, and return how many there were."""
        if not self.exists(key):
            return 0
        appender = self.appender(key)
        with appender.locked() as held:
            return self.flush_locked(key, held)

    def flush_locked(self, key: SeriesKey, held: Locked) -> int:
        """As `flush`, while the series' lock is held."""
        held.roll()
        return self.drain(key)

    def drain(self, key: SeriesKey) -> int:
        """Put the rows of complete files into parts, unlink the files, and return how many rows there were."""
        tail, moved = self.tail(key), 0
        extent = tail.extent() if tail.exists else None
        for file in self.unread(key):
            if extent is None or file.base >= extent.base:
                continue
            if not file.is_whole:
                raise IntegrityError(
                    f"journal of {key}: the file that begins with sequence {file.base:,} does not account for all "
                    f"numbers up to {file.next_sequence:,}; it stays as it is"
                )
            if file.source not in self._catalog.manifest(key).sources:
                moved += self._into_parts(key, file)
            self.place.disk.unlink(os.path.join(tail.folder, file_name(file.base)))
        return moved

    def _into_parts(self, key: SeriesKey, file: Unread) -> int:
        writer = PartWriter(self._store)
        parts: list[Part] = []
        try:
            if file.rows:
                columns = join_columns([rows.columns for rows in file.rows])
                stamps = np.concatenate([rows.stamps for rows in file.rows])
                ordinals = np.concatenate([rows.sequence + np.arange(len(rows.stamps)) for rows in file.rows])
                journal_id = file.source.removeprefix(LIVE).partition(":")[0]
                parts = write_sorted(writer, key, columns, ordinals, f"{LIVE}{journal_id}", stamps)
            writer.flush()
        except BaseException:
            self._delete(parts)
            raise
        state = self._catalog.commit(key, self._change(file, tuple(parts)))
        if parts and parts[0].key not in {part.key for part in state.parts}:
            # Another process was first.
            self._delete(parts)
            return 0
        return sum(part.rows for part in parts)

    @staticmethod
    def _change(file: Unread, parts: tuple[Part, ...]) -> Callable[[Manifest], Change | None]:
        journal_id = file.source.removeprefix(LIVE).partition(":")[0]

        def change(state: Manifest) -> Change | None:
            if file.source in state.sources:
                return None
            following = max(state.journal_next, file.next_sequence)
            return Change("journal", parts, source=file.source, journal=(journal_id, following), stamp_min=file.stamp)

        return change

    def _delete(self, parts: list[Part]) -> None:
        for part in parts:
            self._store.delete(part.key)

    def close(self) -> None:
        """Finish what is on its way into parts, and close the files."""
        if self._thread is not None and self._pid == os.getpid():
            self._complete.put(None)
            self._thread.join()
            self._thread = None
        self._syncer.close()
        with self._mutex:
            for appender in self._appenders.values():
                appender.close()
            for tail in self._tails.values():
                tail.close()
            self._appenders.clear()
            self._tails.clear()


def _beyond_limit(journals: OrderedDict[SeriesKey, Opened]) -> list[Opened]:
    """Return open ones that are too many, those used longest ago."""
    limit = min(max((resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128) // _FILES_EACH, 8), _OPEN_MAX)
    if len(journals) <= limit:
        return []
    opened = [journal for journal in journals.values() if journal.is_open]
    return opened[: max(len(opened) - limit, 0)]


def write_sorted(
    writer: PartWriter,
    key: SeriesKey,
    columns: Columns,
    ordinals: Array,
    source: str,
    stamps: Array | None = None,
    known_ns: int = 0,
) -> list[Part]:
    """Write rows as a part for each partition, in the order of time; see `PartWriter.write`."""
    parts = []
    for partition, rows in partitions(columns.schema, columns.ts_index):
        mine, numbers = columns.take(rows), ordinals[rows]
        when = None if stamps is None else stamps[rows]
        times = mine.ts_index
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            mine, numbers = mine.take(order), numbers[order]
            when = None if when is None else when[order]
        name = f"part/{key.path}/{partition}/{uuid4().hex[:12]}"
        parts.append(writer.write(name, partition, mine, numbers, source, when, known_ns))
    return parts
