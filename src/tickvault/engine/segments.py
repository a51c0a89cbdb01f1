"""The folder of segments: making, mapping and retiring the files that hold the bytes.

Invariants: a segment file is never recycled, and never shortened while anyone may read it, so that a held
`memoryview` stays true; a retired one is unlinked, and its mapping lives until its last view is gone; a file that the
manifest does not name holds nothing acknowledged.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crc32c import crc32c

from tickvault.engine.manifest import EntryKind, Manifest, SegmentEntry, SegmentKind
from tickvault.engine.record import HEADER_SIZE, batch_header_sound, batch_seed
from tickvault.errors import DiskFullError, IntegrityError, NotFoundError
from tickvault.seam.clock import Clock
from tickvault.seam.disk import Disk, FileLock, SyncError

MIB = 1024 * 1024
#: Bytes before the first batch or extent.
SEGMENT_HEADER_SIZE = 4096
SEGMENT_MAGIC = b"TVSEGMT1"
SEGMENT = struct.Struct("<8sI16sIBBHQQQQq")

_GROWTH = 4
RESERVE_FILE = "reserve"
_RESERVE_SIZE = 2 * MIB
#: A manifest entry that differs from a known one in at most this many bytes is that one, damaged.
_DAMAGE_BYTES_MAX = 8


class SegmentGoneError(NotFoundError):
    """A segment was retired between looking its record up and reading it; look it up again."""


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """A mapped segment."""

    map: mmap.mmap
    view: memoryview
    address: int
    size_bytes: int


class Segments:
    """The segment files of one vault, as one process sees them."""

    def __init__(
        self,
        folder: str,
        disk: Disk,
        clock: Clock,
        vault_id: bytes,
        size_first: int,
        size_max: int,
        on_sync_failure: Callable[[], None],
    ) -> None:
        self.folder = folder
        self._on_sync_failure = on_sync_failure
        self.files = os.path.join(folder, "segments")
        self.disk = disk
        self.clock = clock
        self.vault_id = vault_id
        self.size_first = size_first
        self.size_max = size_max
        self.manifest = Manifest(disk, os.path.join(folder, "manifest"))
        self._maps: dict[int, SegmentMap] = {}
        self._fds: dict[int, int] = {}
        self._lock = threading.RLock()
        self._manifest_lock = FileLock(os.path.join(folder, "manifest.lock"))

    # -- names and maps

    def path(self, segment_id: int, kind: SegmentKind) -> str:
        """Return the file of a segment."""
        return os.path.join(self.files, f"{kind.name.lower()}-{segment_id:010d}.seg")

    def entry(self, segment_id: int) -> SegmentEntry:
        """Return a segment's manifest entry, reading new entries when it is not known yet."""
        entry = self.manifest.segments.get(segment_id)
        if entry is None:
            with self._lock:
                self.manifest.load(exclusive=False)
                entry = self.manifest.segments.get(segment_id)
        if entry is None:
            raise SegmentGoneError(f"segment {segment_id} is not in the manifest")
        return entry

    def view(self, segment_id: int, end: int = 0) -> memoryview:
        """Return a read-only view of a segment that reaches at least to byte `end`.

        Raises
        ------
        SegmentGoneError
            The segment was retired.
        IntegrityError
            The file is missing or shorter than the manifest and the index say.
        """
        mapped = self._maps.get(segment_id)
        if mapped is None or mapped.size_bytes < end:
            mapped = self._map(segment_id, end)
        return mapped.view

    def address(self, segment_id: int, end: int = 0) -> int:
        """Return where a segment is mapped in this process."""
        mapped = self._maps.get(segment_id)
        if mapped is None or mapped.size_bytes < end:
            mapped = self._map(segment_id, end)
        return mapped.address

    def _map(self, segment_id: int, end: int) -> SegmentMap:
        with self._lock:
            mapped = self._maps.get(segment_id)
            if mapped is not None and mapped.size_bytes >= end:
                return mapped
            entry = self.entry(segment_id)
            path = self.path(segment_id, entry.kind)
            try:
                fd = self.disk.open(path, writable=False)
            except FileNotFoundError:
                self.manifest.load(exclusive=False)
                if segment_id not in self.manifest.segments:
                    raise SegmentGoneError(f"segment {segment_id} was retired") from None
                raise IntegrityError(f"{path} is missing; restore it from a backup") from None
            try:
                size = self.disk.size(fd)
                if size < max(end, SEGMENT_HEADER_SIZE):
                    needed = max(end, SEGMENT_HEADER_SIZE)
                    raise IntegrityError(f"{path} is cut off: {size} bytes where {needed} are needed")
                found = self.disk.map(fd, size)
            finally:
                self.disk.close(fd)
            view = memoryview(found)
            mapped = SegmentMap(found, view, _address(view), size)
            self._check_header(entry, view, path)
            self._maps[segment_id] = mapped
            return mapped

    def _check_header(self, entry: SegmentEntry, view: memoryview, path: str) -> None:
        fields = SEGMENT.unpack_from(view, 0)
        crc = int.from_bytes(view[SEGMENT.size : SEGMENT.size + 4], "little")
        if (
            fields[0] != SEGMENT_MAGIC
            or crc32c(view[: SEGMENT.size]) != crc
            or fields[2] != self.vault_id
            or fields[3] != entry.segment_id
        ):
            raise IntegrityError(f"{path} is not segment {entry.segment_id} of this vault: its header is damaged")

    def fd(self, segment_id: int) -> int:
        """Return a writable descriptor of a segment, kept open."""
        fd = self._fds.get(segment_id)
        if fd is None:
            with self._lock:
                fd = self._fds.get(segment_id)
                if fd is None:
                    fd = self.disk.open(self.path(segment_id, self.entry(segment_id).kind))
                    self._fds[segment_id] = fd
        return fd

    def unmap_pages(self, segment_id: int, start: int, end: int) -> None:
        """Take pages that were read once out of this process's memory; views stay valid, and the cache keeps them.

        Only pages that lie wholly in the range, which a mapping that is shorter or gone may no longer have.
        """
        with self._lock:
            mapped = self._maps.get(segment_id)
            if mapped is None:
                return
            start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            end = min(end, mapped.size_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
            if start < end:
                # Of a shared mapping of a file this only drops the entries in the page table.
                mapped.map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def release(self, segment_id: int) -> None:
        """Close this process's descriptor and mapping of a segment; views handed out stay valid."""
        with self._lock:
            fd = self._fds.pop(segment_id, None)
            if fd is not None:
                self.disk.close(fd)
            self._maps.pop(segment_id, None)

    def release_fd(self, segment_id: int) -> None:
        """Close this process's writable descriptor of a segment that is written no more."""
        with self._lock:
            fd = self._fds.pop(segment_id, None)
            if fd is not None:
                self.disk.close(fd)

    def forget_retired(self) -> None:
        """Drop mappings of segments that some process has retired, so that their space comes free."""
        with self._lock:
            self.manifest.load(exclusive=False)
            for segment_id in [*self._maps, *self._fds]:
                if segment_id not in self.manifest.segments:
                    self.release(segment_id)

    # -- the manifest's changes

    @contextmanager
    def _manifest_locked(self) -> Iterator[Manifest]:
        with self._lock:
            self._manifest_lock.acquire()
            try:
                self.manifest.load(exclusive=False)
                yield self.manifest
            except SyncError:
                # What the manifest holds on the disk is unknown now, and the next sync would hide it.
                self._on_sync_failure()
                raise
            finally:
                self._manifest_lock.release()

    def create(
        self,
        kind: SegmentKind,
        size: int,
        epoch: int,
        base_sequence: int,
        previous_batch_id: int,
        *,
        allocate: int | None = None,
    ) -> SegmentEntry:
        """Make a segment, durable in file, directory and manifest, and return its entry.

        Parameters
        ----------
        allocate : int, optional
            Bytes to reserve now; `size` by default.
        """
        with self._manifest_locked() as manifest:
            segment_id = manifest.last_id + 1
            path = self.path(segment_id, kind)
            fd = self.disk.open(path, create=True)
            try:
                self.disk.truncate(fd, 0)
                try:
                    self.disk.allocate(fd, 0, size if allocate is None else allocate)
                except DiskFullError:
                    self.disk.unlink(path)
                    raise
                entry = SegmentEntry(
                    segment_id, kind, epoch, size, base_sequence, previous_batch_id, self.clock.now_ns()
                )
                self.disk.pwritev(fd, [self._header(entry)], 0)
                self.disk.sync(fd)
            finally:
                self.disk.close(fd)
            self.disk.sync_directory(self.files)
            manifest.append(EntryKind.CREATE, entry)
            return manifest.segments[segment_id]

    def _header(self, entry: SegmentEntry) -> bytes:
        head = SEGMENT.pack(
            SEGMENT_MAGIC,
            1,
            self.vault_id,
            entry.segment_id,
            entry.kind,
            0,
            0,
            entry.epoch,
            entry.size_bytes,
            entry.base_sequence,
            entry.previous_batch_id,
            entry.created_ns,
        )
        return head + crc32c(head).to_bytes(4, "little") + bytes(SEGMENT_HEADER_SIZE - len(head) - 4)

    def retire(self, segment_id: int) -> None:
        """Note durably that a segment is gone, then unlink it."""
        with self._manifest_locked() as manifest:
            entry = manifest.segments.get(segment_id)
            if entry is None:
                return
            manifest.append(EntryKind.RETIRE, entry)
        self.disk.unlink(self.path(segment_id, entry.kind))
        self.release(segment_id)

    def next_size(self, current: int) -> int:
        """Return the size of the journal segment after one of `current` bytes: four times it, up to the maximum."""
        return min(self.size_max, max(self.size_first, current * _GROWTH))

    # -- the reserve: room for deleting when there is room for nothing else

    def keep_reserve(self) -> None:
        """Set space aside, if it is not and there is some."""
        path = os.path.join(self.files, RESERVE_FILE)
        if os.path.exists(path):
            return
        fd = self.disk.open(path, create=True)
        try:
            self.disk.allocate(fd, 0, _RESERVE_SIZE)
        except DiskFullError:
            self.disk.unlink(path)
        finally:
            self.disk.close(fd)

    def give_up_reserve(self) -> bool:
        """Free the space set aside; return whether there was any."""
        path = os.path.join(self.files, RESERVE_FILE)
        if not os.path.exists(path):
            return False
        self.disk.unlink(path)
        return True

    def mend_manifest(self) -> None:
        """Make the last manifest entry again if its bytes were damaged after it was durable.

        A damaged last entry looks like one torn by a crash. But a segment's header is durable before its entry is
        written, so an entry that was there can be made from it; and a retirement differs from what it must be in a
        few bytes only.

        Raises
        ------
        IntegrityError
            A segment that holds batches is not in the manifest, and cannot be put back.
        """
        torn = self.manifest.torn
        if torn is None:
            return
        entry = self._entry_from_file(self.manifest.last_id + 1)
        if entry is not None:
            self.manifest.append(EntryKind.CREATE, entry)
            return
        for known in list(self.manifest.segments.values()):
            wanted = self.manifest.encode(EntryKind.RETIRE, known)
            if sum(a != b for a, b in zip(wanted, torn, strict=False)) <= _DAMAGE_BYTES_MAX:
                self.manifest.append(EntryKind.RETIRE, known)
                return

    def _entry_from_file(self, segment_id: int) -> SegmentEntry | None:
        for kind in SegmentKind:
            try:
                fd = self.disk.open(self.path(segment_id, kind), writable=False)
            except FileNotFoundError:
                continue
            try:
                head = self.disk.pread(fd, SEGMENT.size + 4, 0)
            finally:
                self.disk.close(fd)
            if len(head) < SEGMENT.size + 4 or crc32c(head[: SEGMENT.size]) != int.from_bytes(
                head[SEGMENT.size :], "little"
            ):
                continue
            magic, _, vault_id, found_id, _, _, _, epoch, size, base, previous, created = SEGMENT.unpack_from(head)
            if magic == SEGMENT_MAGIC and vault_id == self.vault_id and found_id == segment_id:
                return SegmentEntry(segment_id, kind, epoch, size, base, previous, created)
        return None

    def holds_batches(self) -> bool:
        """Return whether any journal file here begins with a sound batch of this vault, named or not."""
        for name in os.listdir(self.files):
            stem = name.removesuffix(".seg").rpartition("-")[2]
            entry = self._entry_from_file(int(stem)) if name.endswith(".seg") and stem.isdigit() else None
            if entry is None or entry.kind is not SegmentKind.JOURNAL:
                continue
            fd = self.disk.open(self.path(entry.segment_id, entry.kind), writable=False)
            try:
                head = memoryview(self.disk.pread(fd, HEADER_SIZE, SEGMENT_HEADER_SIZE))
            finally:
                self.disk.close(fd)
            seed = batch_seed(self.vault_id, entry.segment_id, SEGMENT_HEADER_SIZE)
            if batch_header_sound(head, seed):
                return True
        return False

    def remove_strays(self) -> None:
        """Remove files the manifest does not name: left by a process that died before naming or after retiring them."""
        named = {os.path.basename(self.path(entry.segment_id, entry.kind)) for entry in self.manifest.segments.values()}
        for name in os.listdir(self.files):
            if name in named or name == RESERVE_FILE:
                continue
            stem = name.removesuffix(".seg").rpartition("-")[2]
            segment_id = int(stem) if name.endswith(".seg") and stem.isdigit() else 0
            # An id that the manifest knows was given out again after the first to take it died before naming its file.
            known = segment_id in self.manifest.segments or segment_id in self.manifest.retired
            if 0 < segment_id < self.manifest.last_id and not known:
                raise IntegrityError(
                    f"{os.path.join(self.files, name)} is a segment that the manifest does not know; it was left in "
                    "place. Restore the vault from a backup, or move the file away if it is not this vault's"
                )
            self.disk.unlink(os.path.join(self.files, name))

    def check_present(self) -> None:
        """Raise `IntegrityError` if a segment that the manifest names is missing."""
        present = set(os.listdir(self.files))
        for entry in self.manifest.segments.values():
            name = os.path.basename(self.path(entry.segment_id, entry.kind))
            if name not in present:
                raise IntegrityError(
                    f"{os.path.join(self.files, name)} is missing although the manifest names it; "
                    "restore it from a backup before opening the vault"
                )

    def after_fork(self) -> None:
        """In a forked child: close inherited descriptors; another thread may have held our lock, so make a new one."""
        self._lock = threading.RLock()
        self.close()

    def close(self) -> None:
        """Close descriptors and mappings; views handed out stay valid."""
        with self._lock:
            for segment_id in [*self._fds, *self._maps]:
                self.release(segment_id)
            self._manifest_lock.close()


def _address(view: memoryview) -> int:
    # numpy is the shortest way to a read-only buffer's address.
    import numpy as np

    return int(np.frombuffer(view, np.uint8, 1).__array_interface__["data"][0])
