"""The writing side of a series' journal: one frame after the other, by any number of processes.

Invariants: whoever writes holds the series' lock, which the kernel takes back from a process that dies; rows are
acknowledged after their frame is on the disk (strict) or in the page cache (relaxed), and shown to readers only then;
sequences are given under the lock and never twice, commit times only rise; a sync that failed is never tried again: the
file is given up, and its valid end stands in the next one.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgpack
import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.catalog import SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.journal.file import JournalFile, bases_in, file_name, layout_of
from tickvault.market.journal.format import (
    HEADER_SIZE,
    PAYLOAD_MAX,
    FileHeader,
    FrameKind,
    Layout,
    column_bytes,
    frame,
    frame_at,
)
from tickvault.market.journal.place import Floor, Place
from tickvault.market.journal.state import FAILED, PENDING, ROLL, UNSYNCED, Extent, StatePage
from tickvault.market.schema import CODE_NULL, Kind
from tickvault.seam.disk import FileLock, SyncError

#: A file begins small and grows, because a vault may hold thousands of quiet series.
SIZE_FIRST, SIZE_FACTOR = 64 * 1024, 4
SIZE_MAX = 16 * 1024 * 1024
#: Zeros written behind a strict append, so that the next ones overwrite written extents, whose sync is a third cheaper.
_ZEROS = bytes(256 * 1024)
_LAYOUT_COUNT_MAX = 65_535
_PARTS_FRAME_MAX = 1024 * 1024


class Appended(NamedTuple):
    """What an append was given."""

    sequence: int
    """Of its first row; rows of a series are numbered from 0 as they come, over all writers."""
    rows: int
    ts_commit: int
    """int64 ns UTC."""


class SeriesJournal:
    """The journal of one series, for writing."""

    def __init__(
        self,
        place: Place,
        key: SeriesKey,
        floor: Callable[[], Floor],
        on_roll: Callable[[SeriesKey], None],
        on_unsynced: Callable[[SeriesJournal], None],
    ) -> None:
        self.key = key
        self.place = place
        self._floor = floor
        self._on_roll = on_roll
        self._on_unsynced = on_unsynced
        self._unsynced = False
        self._mutex = threading.Lock()
        self._pid = 0
        self._fd = self._base = -1
        self._end = self._size = self._written = self._seed = 0
        self._words: dict[str, dict[str, int]] = {}
        self._layout_ids: dict[Layout, int] = {}
        self.rolled = False

    # -- the lock

    def _open(self) -> None:
        """Open what a process needs of its own; again in a forked child, whose lock would be its parent's."""
        self.folder = self.place.make_folder(self.key)
        self._lock = FileLock(os.path.join(self.folder, "lock"))
        self.state = StatePage(os.path.join(self.folder, "state"))
        self._boot_id = self.place.host.boot_id()
        self._base = -1
        self._fd = -1
        self._pid = os.getpid()
        self.journal_id = ""

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread of the parent may have held the lock."""
        self._mutex = threading.Lock()
        self._unsynced = False

    def close(self) -> None:
        """Close the files."""
        with self._mutex:
            if self._pid == os.getpid():
                self._let_go()
                self.state.close()
                self._lock.close()
            self._pid = 0

    def _enter(self) -> Extent:
        if self._pid != os.getpid():
            self._open()
        self.place.check_writable()
        self._lock.acquire()
        try:
            extent = self.state.read() if self.journal_id or self._known() else None
            if extent is None:
                extent = self._recover()
            if extent.flags & PENDING:
                extent = self._resolve(extent)
            return extent
        except BaseException:
            self._lock.release()
            raise

    def _leave(self) -> None:
        self._lock.release()

    def _known(self) -> bool:
        self.journal_id = self.state.journal_id(self._boot_id) or ""
        return bool(self.journal_id)

    @contextmanager
    def locked(self) -> Iterator[Locked]:
        """Hold the series' lock: nobody appends meanwhile."""
        with self._mutex:
            extent = self._enter()
            held = Locked(self, extent)
            try:
                yield held
            finally:
                held.give_back()
                self._leave()
        self.state.wake()

    # -- after a boot

    def _recover(self) -> Extent:
        """Find out from the files how far they are valid."""
        floor = self._floor()
        bases = bases_in(os.listdir(self.folder))
        extent = Extent(-1, 0, floor.next_sequence, floor.stamp)
        journal_id = floor.journal_id or uuid.uuid4().hex[:16]
        if bases:
            base = bases[-1]
            file = JournalFile(self.place.disk, os.path.join(self.folder, file_name(base)), keep_rows=False)
            file.advance(None)
            journal_id = floor.journal_id or file.header.journal_id
            stamp = max(file.stamp, floor.stamp)
            if base in floor.consumed or file.next_sequence < floor.next_sequence:
                extent = Extent(-1, 0, max(file.next_sequence, floor.next_sequence), stamp)
            else:
                extent = Extent(base, file.end, file.next_sequence, stamp)
            file.close()
        self.state.begin(self._boot_id, journal_id, extent)
        self.journal_id = journal_id
        return extent

    def _resolve(self, extent: Extent) -> Extent:
        """Finish the append of parts that a process was killed in."""
        file = JournalFile(self.place.disk, os.path.join(self.folder, file_name(extent.base)), keep_rows=False)
        try:
            file.advance(extent.end)
            view = memoryview(self.place.disk.pread(self._fd_of(extent), _PARTS_FRAME_MAX, extent.end))
            found = frame_at(view, 0, len(view), file.header.seed, extent.next_sequence)
            extent = extent._replace(flags=extent.flags & ~PENDING)
            if found is not None and found.kind == FrameKind.PARTS:
                keys = set(msgpack.unpackb(view[found.offset : found.offset + found.length]))
                floor = self._floor()
                if keys <= floor.part_keys:
                    extent = extent._replace(
                        end=extent.end + found.end,
                        next_sequence=extent.next_sequence + found.row_count,
                        stamp=max(extent.stamp, floor.stamp),
                    )
            self.state.publish(extent)
        finally:
            file.close()
        return extent

    def _fd_of(self, extent: Extent) -> int:
        self._catch_up(extent)
        return self._fd

    # -- appending

    def append(self, columns: Columns) -> Appended:
        """Append rows.

        Raises
        ------
        PoisonedError
            A sync failed.
        StorageError
            The disk refused them; none of them is there.
        """
        with self._mutex:
            extent = self._enter()
            try:
                appended, _ = self.write(extent, columns)
            finally:
                self._leave()
        self.state.wake()
        self.tell_roll()
        return appended

    def tell_roll(self) -> None:
        """Tell that a file is complete, outside the lock."""
        if self.rolled:
            self.rolled = False
            self._on_roll(self.key)

    def write(self, extent: Extent, columns: Columns) -> tuple[Appended, Extent]:
        """Append rows while the lock is held."""
        layout = layout_of(columns)
        payload_size = layout.row_size * len(columns)
        if payload_size > PAYLOAD_MAX:
            raise InvalidInputError(f"append {self.key}: {payload_size:,} bytes at once, at most {PAYLOAD_MAX:,} go in")
        if extent.flags & (FAILED | ROLL) or extent.base < 0:
            extent = self.roll(extent)
        self._catch_up(extent)
        sequence, stamp = extent.next_sequence, self.stamp_after(extent)
        pieces = self._frames(layout, columns, sequence, stamp)
        size = sum(map(len, pieces))
        if extent.end + size > SIZE_MAX and extent.end > HEADER_SIZE:
            extent = self.roll(extent)
            self._catch_up(extent)
            pieces = self._frames(layout, columns, sequence, stamp)
            size = sum(map(len, pieces))
        extent = self.put(extent, pieces, size, len(columns), stamp)
        self._learn(layout, columns)
        return Appended(sequence, len(columns), stamp), extent

    def stamp_after(self, extent: Extent) -> int:
        """Return the commit time of the next append: now, and later than all before."""
        now = self.place.clock.now_ns()
        return now if now > extent.stamp else extent.stamp + 1

    def put(self, extent: Extent, pieces: Sequence[bytes], size: int, row_count: int, stamp: int) -> Extent:
        """Write frames at the end, durable at the journal's mode, and show them."""
        try:
            flags = self.write_frames(extent, pieces, size)
        except SyncError:
            self.state.publish(extent._replace(flags=FAILED))
            self.place.poison()
            raise
        after = Extent(extent.base, extent.end + size, extent.next_sequence + row_count, stamp, flags)
        self.state.publish(after)
        self._end = after.end
        return after

    def write_frames(self, extent: Extent, pieces: Sequence[bytes], size: int) -> int:
        """Write frames at the end, durable at the journal's mode, and return the flags then; nobody is shown them."""
        end = extent.end + size
        if end > self._size:
            grown = max(min(self._size * SIZE_FACTOR, SIZE_MAX), -(-end // HEADER_SIZE) * HEADER_SIZE)
            self.place.disk.allocate(self._fd, self._size, grown - self._size)
            self._size = grown
        if not self.place.is_strict():
            self.place.disk.pwritev(self._fd, pieces, extent.end)
            if not self._unsynced:
                self._unsynced = True
                self._on_unsynced(self)
            return UNSYNCED
        if end > self._written:
            zeros = memoryview(_ZEROS)[: max(min(len(_ZEROS), self._size - end), 0)]
            pieces = [*pieces, bytes(zeros)]
            self._written = end + len(zeros)
        if extent.flags & UNSYNCED:
            # A frame that is lost hides those behind it: what lies before becomes durable with it.
            self.place.disk.pwritev(self._fd, pieces, extent.end)
            self.place.disk.sync(self._fd)
        else:
            self.place.disk.write_synced(self._fd, pieces, extent.end)
        return 0

    def _frames(self, layout: Layout, columns: Columns, sequence: int, stamp: int) -> list[bytes]:
        seed, pieces = self._seed, []
        layout_id = self._layout_ids.get(layout)
        if layout_id is None:
            layout_id = len(self._layout_ids) + 1
            if layout_id > _LAYOUT_COUNT_MAX:
                raise InvalidInputError(f"append {self.key}: more than {_LAYOUT_COUNT_MAX} different sets of columns")
            pieces.append(frame(FrameKind.LAYOUT, layout_id, 0, sequence, stamp, layout.pack(), seed))
        arrays, added = self._recoded(layout, columns)
        if added:
            pieces.append(frame(FrameKind.WORDS, 0, 0, sequence, stamp, msgpack.packb(added), seed))
        payload = b"".join(column_bytes(arrays, layout))
        pieces.append(frame(FrameKind.ROWS, layout_id, len(columns), sequence, stamp, payload, seed))
        return pieces

    def _recoded(self, layout: Layout, columns: Columns) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        """Return the arrays with the file's codes, and the words that the file has not yet."""
        arrays = dict(columns.arrays)
        added: dict[str, list[str]] = {}
        for column in layout.columns:
            if column.kind is not Kind.CODE:
                continue
            known = self._words.get(column.name, {})
            fresh: dict[str, int] = {}
            for word in columns.dictionaries.get(column.name, ()):
                if word not in known and word not in fresh:
                    fresh[word] = len(known) + len(fresh)
            if fresh:
                added[column.name] = list(fresh)
            words = columns.dictionaries.get(column.name, ())
            codes = np.array([known[word] if word in known else fresh[word] for word in words] + [CODE_NULL], np.int32)
            # The last place stands for -1.
            arrays[column.name] = codes[columns.arrays[column.name]]
        return arrays, added

    def _learn(self, layout: Layout, columns: Columns) -> None:
        """Remember what the file knows now."""
        self._layout_ids.setdefault(layout, len(self._layout_ids) + 1)
        for column in layout.columns:
            if column.kind is Kind.CODE:
                known = self._words.setdefault(column.name, {})
                for word in columns.dictionaries.get(column.name, ()):
                    known.setdefault(word, len(known))

    def _catch_up(self, extent: Extent) -> None:
        """Know the file as it is: another process may have appended to it, or begun another."""
        if extent.base == self._base and extent.end == self._end:
            return
        if extent.base != self._base:
            self._let_go()
            path = os.path.join(self.folder, file_name(extent.base))
            self._file = JournalFile(self.place.disk, path, keep_rows=False)
            self._fd = self.place.disk.open(path)
            self._base = extent.base
            self._seed = self._file.header.seed
            self._words, self._layout_ids = self._file.words, {}
            self._written = 0
        self._file.advance(extent.end)
        self._layout_ids = {layout: number for number, layout in self._file.layouts.items()}
        self._end = extent.end
        self._size = self.place.disk.size(self._fd)

    def _let_go(self) -> None:
        if self._fd >= 0:
            self.place.disk.close(self._fd)
            self._file.close()
        self._fd = -1
        self._base = -1

    def sync(self) -> None:
        """Make durable what relaxed appends of this process wrote; nobody waits for it."""
        with self._mutex:
            self._unsynced = False
            if self._fd < 0 or self._pid != os.getpid():
                return
            fd = os.dup(self._fd)
        try:
            self.place.disk.sync(fd)
        except SyncError:
            self.place.poison()
            raise
        finally:
            os.close(fd)

    # -- the next file

    def roll(self, extent: Extent) -> Extent:
        """Begin the next file; what the one before holds is synced first."""
        disk = self.place.disk
        if extent.base >= 0:
            self._catch_up(extent)
            if not extent.flags & FAILED:
                try:
                    disk.sync(self._fd)
                except SyncError:
                    self.state.publish(extent._replace(flags=FAILED))
                    self.place.poison()
                    raise
        if extent.base >= 0 and extent.end == HEADER_SIZE and not extent.flags & FAILED:
            extent = extent._replace(flags=0)
            self.state.publish(extent)
            return extent
        base = extent.next_sequence
        header = FileHeader(self.journal_id, base, self.key, extent.stamp, extent.base, extent.end)
        path = os.path.join(self.folder, file_name(base))
        new = os.path.join(self.folder, f".{file_name(base)}")
        disk.unlink(new)
        fd = disk.open(new, create=True)
        try:
            disk.allocate(fd, 0, SIZE_FIRST)
            disk.pwritev(fd, [header.pack()], 0)
            disk.sync(fd)
        except SyncError:
            self.place.poison()
            raise
        finally:
            disk.close(fd)
        disk.rename(new, path)
        disk.sync_directory(self.folder)
        made = Extent(base, HEADER_SIZE, base, extent.stamp, 0)
        self.state.publish(made)
        self.rolled = self.rolled or extent.base >= 0
        return made


class Locked:
    """The journal of a series while its lock is held."""

    def __init__(self, journal: SeriesJournal, extent: Extent) -> None:
        self._journal = journal
        self.extent = extent
        self._before = extent

    @property
    def journal_id(self) -> str:
        """Of the series' journal."""
        return self._journal.journal_id

    def note_stamp(self, stamp: int) -> None:
        """See to it that later appends have later commit times than a commit that was made meanwhile."""
        if stamp > self.extent.stamp:
            self.extent = self.extent._replace(stamp=stamp)

    def roll(self) -> None:
        """Begin a new file if the present one holds anything."""
        if self.extent.base >= 0 and self.extent.end > HEADER_SIZE:
            self.extent = self._before = self._journal.roll(self.extent)

    def append_parts(self, row_count: int, keys: Sequence[str], commit: Callable[[], int]) -> Appended:
        """Append rows that lie in parts.

        Parameters
        ----------
        commit : callable
            Makes the parts' commit and returns its time; what was noted before it makes a kill in the middle harmless.
        """
        journal = self._journal
        if self.extent.flags & (FAILED | ROLL) or self.extent.base < 0:
            self.extent = journal.roll(self.extent)
        journal._catch_up(self.extent)
        sequence, stamp = self.extent.next_sequence, journal.stamp_after(self.extent)
        payload = msgpack.packb(list(keys))
        piece = frame(FrameKind.PARTS, 0, row_count, sequence, stamp, payload, journal._seed)
        pending = self.extent._replace(flags=self.extent.flags | PENDING)
        journal.state.publish(pending)
        try:
            flags = journal.write_frames(self.extent, [piece], len(piece))
        except SyncError:
            journal.state.publish(self.extent._replace(flags=FAILED))
            journal.place.poison()
            raise
        committed = commit()
        after = Extent(
            self.extent.base, self.extent.end + len(piece), sequence + row_count, max(stamp, committed), flags
        )
        journal.state.publish(after)
        journal._file.advance(after.end)
        journal._end = after.end
        self.extent = self._before = after
        return Appended(sequence, row_count, committed)

    def give_back(self) -> None:
        """Publish what changed."""
        if self.extent != self._before:
            self._journal.state.publish(self.extent)
