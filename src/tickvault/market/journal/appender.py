"""The writing side of a series' journal: one frame after the other, by any number of processes.

Invariants: whoever writes holds the series' lock, which the kernel takes back from a process that dies; rows are
acknowledged after their frame is on the disk (strict) or in the page cache (relaxed), and shown to readers only then;
sequences are given under the lock and never twice, commit times only rise; a sync that failed is never tried again: the
file is given up, and its valid end stands in the next one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgpack
import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.catalog import SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.journal.file import JournalFile, file_name, layout_of
from tickvault.market.journal.format import (
    HEADER_SIZE,
    PAYLOAD_MAX,
    FileHeader,
    FrameKind,
    Layout,
    column_bytes,
    frame,
)
from tickvault.market.journal.locked import Appended, Locked
from tickvault.market.journal.place import Floor, Place
from tickvault.market.journal.recovering import recover, resolve
from tickvault.market.journal.state import FAILED, PENDING, UNSYNCED, Extent, StatePage
from tickvault.market.schema import CODE_NULL, Kind
from tickvault.seam.disk import FileLock, SyncError

#: A file begins small and grows, because a vault may hold thousands of quiet series.
SIZE_FIRST, SIZE_FACTOR = 64 * 1024, 4
SIZE_MAX = 16 * 1024 * 1024
#: Zeros written behind a strict append, so that the next ones overwrite written extents, whose sync is a third cheaper.
_ZEROS = bytes(256 * 1024)
_LAYOUT_COUNT_MAX = 65_535
_UNKNOWN = -2


class SeriesJournal:
    """The journal of one series, for writing."""

    def __init__(
        self,
        place: Place,
        key: SeriesKey,
        floor: Callable[[], Floor],
        on_roll: Callable[[SeriesKey], None],
        on_unsynced: Callable[[SeriesJournal], None],
        on_open: Callable[[SeriesJournal], None],
    ) -> None:
        self.key = key
        self.place = place
        self.floor = floor
        self._on_roll = on_roll
        self._on_unsynced = on_unsynced
        self._on_open = on_open
        self._unsynced = False
        self.mutex = threading.Lock()
        self._pid = 0
        self.fd = self._base = -1
        self.end = self.size = self._written = self.seed = 0
        self.file: JournalFile
        self.finest = (0, 0)
        """The finest scales of rows in the file, of sizes and turnovers; 0: there are none."""
        self.words: dict[str, dict[str, int]] = {}
        self.layout_ids: dict[Layout, int] = {}
        self.rolled = False

    # -- the lock

    def _open(self) -> None:
        """Open what a process needs of its own; again in a forked child, whose lock would be its parent's."""
        self._on_open(self)
        self.folder = self.place.make_folder(self.key)
        self._lock = FileLock(os.path.join(self.folder, "lock"))
        self.state = StatePage(os.path.join(self.folder, "state"))
        self.boot_id = self.place.host.boot_id()
        self._base = -1
        self.fd = -1
        self._pid = os.getpid()
        self.journal_id = ""

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread of the parent may have held the lock."""
        self.mutex = threading.Lock()
        self._unsynced = False

    @property
    def is_open(self) -> bool:
        """Whether it holds files open."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """Close the files; the next append opens them again."""
        with self.mutex:
            self._close()

    def close_if_idle(self) -> None:
        """Close the files unless somebody appends right now; for one that opens another, and holds its own mutex."""
        if self.mutex.acquire(blocking=False):
            try:
                self._close()
            finally:
                self.mutex.release()

    def _close(self) -> None:
        if self._pid == os.getpid():
            if self._unsynced and self.fd >= 0:
                self._unsynced = False
                self.place.disk.sync(self.fd)
            self._let_go()
            self.state.close()
            self._lock.close()
        self._pid = 0

    def enter(self) -> Extent:
        """Take the series' lock, within `mutex`, and return how far the journal is valid."""
        self.place.check_writable()
        if self._pid != os.getpid():
            self._open()
        self._lock.acquire()
        try:
            extent = self.state.read() if self.journal_id or self._known() else None
            if extent is None:
                extent = recover(self)
            if extent.flags & PENDING:
                extent = resolve(self, extent)
            return extent
        except BaseException:
            self._lock.release()
            raise

    def leave(self) -> None:
        """Give the lock back; nothing is done if it is not held."""
        if self._pid == os.getpid():
            self._lock.release()

    def _known(self) -> bool:
        self.journal_id = self.state.journal_id(self.boot_id) or ""
        return bool(self.journal_id)

    @contextmanager
    def locked(self) -> Iterator[Locked]:
        """Hold the series' lock: nobody appends meanwhile."""
        with self.mutex:
            held = None
            try:
                held = Locked(self, self.enter())
                yield held
            finally:
                if held is not None:
                    held.give_back()
                self.leave()
            self.state.wake()

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
        with self.mutex:
            try:
                appended, _ = self.write(self.enter(), columns)
            finally:
                self.leave()
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
        if extent.flags & FAILED or extent.base < 0:
            extent = self.roll(extent)
        self.catch_up(extent)
        sequence, stamp = extent.next_sequence, self.stamp_after(extent)
        pieces = self._frames(layout, columns, sequence, stamp)
        size = sum(map(len, pieces))
        if extent.end + size > SIZE_MAX and extent.end > HEADER_SIZE:
            extent = self.roll(extent)
            self.catch_up(extent)
            pieces = self._frames(layout, columns, sequence, stamp)
            size = sum(map(len, pieces))
        # Until all is known that was written, the file counts as unknown: an interrupt may come in between, and a word
        # that was not learnt would give its code to the next.
        base, self._base = self._base, _UNKNOWN
        extent = self.put(extent, pieces, size, len(columns), stamp)
        self._learn(layout, columns)
        self._base = base
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
        self.end = after.end
        return after

    def write_frames(self, extent: Extent, pieces: Sequence[bytes], size: int) -> int:
        """Write frames at the end, durable at the journal's mode, and return the flags then; nobody is shown them."""
        end = extent.end + size
        if end > self.size:
            grown = max(min(self.size * SIZE_FACTOR, SIZE_MAX), -(-end // HEADER_SIZE) * HEADER_SIZE)
            self.place.disk.allocate(self.fd, self.size, grown - self.size)
            self.size = grown
        if not self.place.is_strict():
            self.place.disk.pwritev(self.fd, pieces, extent.end)
            if not self._unsynced:
                self._unsynced = True
                self._on_unsynced(self)
            return UNSYNCED
        if end > self._written:
            zeros = memoryview(_ZEROS)[: max(min(len(_ZEROS), self.size - end), 0)]
            pieces = [*pieces, bytes(zeros)]
            self._written = end + len(zeros)
        if extent.flags & UNSYNCED:
            # A frame that is lost hides those behind it: what lies before becomes durable with it.
            self.place.disk.pwritev(self.fd, pieces, extent.end)
            self.place.disk.sync(self.fd)
        else:
            self.place.disk.write_synced(self.fd, pieces, extent.end)
        return 0

    def _frames(self, layout: Layout, columns: Columns, sequence: int, stamp: int) -> list[bytes]:
        seed, pieces, strict = self.seed, [], self.place.is_strict()
        layout_id = self.layout_ids.get(layout)
        if layout_id is None:
            layout_id = len(self.layout_ids) + 1
            if layout_id > _LAYOUT_COUNT_MAX:
                raise InvalidInputError(f"append {self.key}: more than {_LAYOUT_COUNT_MAX} different sets of columns")
            pieces.append(frame(FrameKind.LAYOUT, layout_id, 0, sequence, stamp, layout.pack(), seed, strict=strict))
        arrays, added = self._recoded(layout, columns)
        if added:
            pieces.append(frame(FrameKind.WORDS, 0, 0, sequence, stamp, msgpack.packb(added), seed, strict=strict))
        payload = b"".join(column_bytes(arrays, layout))
        pieces.append(frame(FrameKind.ROWS, layout_id, len(columns), sequence, stamp, payload, seed, strict=strict))
        return pieces

    def _recoded(self, layout: Layout, columns: Columns) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        """Return the arrays with the file's codes, and the words that the file has not yet."""
        arrays = dict(columns.arrays)
        added: dict[str, list[str]] = {}
        for column in layout.columns:
            if column.kind is not Kind.CODE:
                continue
            known = self.words.get(column.name, {})
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

    def _know_scales(self) -> None:
        self.finest = (
            max((layout.size_scale for layout in self.layout_ids), default=0),
            max((layout.turnover_scale for layout in self.layout_ids), default=0),
        )

    def _learn(self, layout: Layout, columns: Columns) -> None:
        """Remember what the file knows now."""
        self.layout_ids.setdefault(layout, len(self.layout_ids) + 1)
        self._know_scales()
        for column in layout.columns:
            if column.kind is Kind.CODE:
                known = self.words.setdefault(column.name, {})
                for word in columns.dictionaries.get(column.name, ()):
                    known.setdefault(word, len(known))

    def catch_up(self, extent: Extent) -> None:
        """Know the file as it is: another process may have appended to it, or begun another."""
        if extent.base == self._base and extent.end == self.end:
            return
        if extent.base != self._base or not self.file.is_settled:
            self._let_go()
            path = os.path.join(self.folder, file_name(extent.base))
            try:
                self.file = JournalFile(self.place.disk, path, keep_rows=False)
            except FileNotFoundError:
                raise IntegrityError(
                    f"journal {path}: the file is gone, and rows up to sequence {extent.next_sequence - 1:,} were "
                    "acknowledged; restore it from a replica or a backup"
                ) from None
            self.fd = self.place.disk.open(path)
            self._base = extent.base
            self.seed = self.file.header.seed
            self.words, self.layout_ids = self.file.words, {}
            self._written = 0
        self.file.advance(extent.end)
        self.layout_ids = {layout: number for number, layout in self.file.layouts.items()}
        self._know_scales()
        self.end = extent.end
        self.size = self.place.disk.size(self.fd)

    def _let_go(self) -> None:
        if self.fd >= 0:
            self.place.disk.close(self.fd)
            self.file.close()
        self.fd = -1
        self._base = -1

    def sync(self) -> None:
        """Make durable what relaxed appends of this process wrote; nobody waits for it."""
        with self.mutex:
            self._unsynced = False
            if self.fd < 0 or self._pid != os.getpid():
                return
            fd = os.dup(self.fd)
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
            self.catch_up(extent)
            if not extent.flags & FAILED:
                try:
                    disk.sync(self.fd)
                except SyncError:
                    self.state.publish(extent._replace(flags=FAILED))
                    self.place.poison()
                    raise
        if extent.base >= 0 and extent.end == HEADER_SIZE and not extent.flags & FAILED:
            extent = extent._replace(flags=0)
            self.state.publish(extent)
            return extent
        base = extent.next_sequence
        if base == extent.base:
            # The file that is given up holds no rows: a number is left out, so that the new one has a name of its own.
            base += 1
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
