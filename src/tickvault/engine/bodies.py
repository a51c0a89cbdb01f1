"""Large bodies: streamed into a body segment of this process before the commit that refers to them.

A body is a list of extents; an extent is contiguous bytes followed by the table of its frames' checksums.  The segment
file is locked (``flock``, shared) while a stream into it is not committed: that lock is the lease that compaction
respects, and it ends with the process.

Invariants: extents are synced before `BodyStream.finish` returns; nothing refers to them until a commit does, so a
stream that dies leaves garbage, never half an object.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from crc32c import crc32c

from tickvault.engine.commit import poisoned
from tickvault.engine.manifest import SegmentKind
from tickvault.engine.record import FRAME_SIZE, Buffer
from tickvault.engine.segments import MIB, SEGMENT_HEADER_SIZE
from tickvault.errors import IntegrityError
from tickvault.seam.disk import PAGE_SIZE, FileLock, SyncError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

#: Reserved at a time for a body of unknown size.
_PIECE = 8 * MIB
#: A segment with less room than this left is not worth another extent.
_ROOM_MIN = MIB
_WRITE_SIZE = MIB


class Extent(NamedTuple):
    """A contiguous piece of a body, and the checksum of its table of frame checksums."""

    segment_id: int
    offset: int
    length: int
    table_crc: int

    @property
    def table_offset(self) -> int:
        """Where the frame checksums lie."""
        return self.offset + self.length

    @property
    def end(self) -> int:
        """Where the table ends."""
        return self.offset + self.length + 4 * frame_count(self.length)


def frame_count(length: int) -> int:
    """Return how many frames a body of `length` bytes has."""
    return (length + FRAME_SIZE - 1) // FRAME_SIZE


class _Lease:
    """A body segment this process writes to, and who still needs it."""

    def __init__(self, segment_id: int, path: str, size: int) -> None:
        self.segment_id = segment_id
        self.size = size
        self.used = SEGMENT_HEADER_SIZE
        self.streams = 0
        self.retired = False
        self.lock = FileLock(path)
        self.lock.acquire(shared=True)


class BodyWriter:
    """The body segments of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._current: _Lease | None = None

    def stream(self, size_hint: int | None = None) -> BodyStream:
        """Begin a body; a right `size_hint` keeps it in one extent."""
        return BodyStream(self._engine, self, size_hint)

    def reserve(self, length: int) -> tuple[_Lease, int, int]:
        """Reserve up to `length` bytes with their table; return (lease, offset, bytes granted)."""
        engine = self._engine
        engine.check_writable()
        with self._lock:
            lease = self._current
            if lease is None or lease.size - lease.used < _ROOM_MIN:
                if lease is not None:
                    self._retire(lease)
                try:
                    entry = engine.segments.create(
                        SegmentKind.BODY,
                        engine.options.body_segment_size_max,
                        engine.tail().epoch,
                        0,
                        0,
                        allocate=SEGMENT_HEADER_SIZE,
                    )
                except SyncError as error:
                    raise poisoned(error) from error
                path = engine.segments.path(entry.segment_id, SegmentKind.BODY)
                lease = self._current = _Lease(entry.segment_id, path, entry.size_bytes)
            room = lease.size - lease.used
            # The table takes 4 bytes a frame.
            granted = min(length, (room - 4) * FRAME_SIZE // (FRAME_SIZE + 4) - FRAME_SIZE)
            need = granted + 4 * frame_count(granted)
            offset = lease.used
            engine.disk.allocate(engine.segments.fd(lease.segment_id), offset, need)
            lease.used = (offset + need + PAGE_SIZE - 1) & -PAGE_SIZE
            lease.streams += 1
            return lease, offset, granted

    def release(self, lease: _Lease) -> None:
        """End one stream's need of a segment."""
        with self._lock:
            lease.streams -= 1
            if lease.retired and lease.streams == 0:
                lease.lock.close()

    def _retire(self, lease: _Lease) -> None:
        lease.retired = True
        self._engine.segments.release_fd(lease.segment_id)
        if lease.streams == 0:
            lease.lock.close()

    def close(self) -> None:
        """Give up the current segment; its free space is not used again."""
        with self._lock:
            if self._current is not None:
                self._retire(self._current)
                self._current = None


class BodyStream:
    """One body on its way to the disk."""

    def __init__(self, engine: Engine, writer: BodyWriter, size_hint: int | None) -> None:
        self._engine = engine
        self._writer = writer
        self._hint = size_hint
        self.size = 0
        self._extents: list[Extent] = []
        self._leases: list[_Lease] = []
        self._lease: _Lease | None = None
        self._offset = 0
        self._granted = 0
        self._length = 0
        self._table = bytearray()
        self._frame_crc = 0
        self._frame_used = 0
        self._pending: list[Buffer] = []
        self._pending_size = 0

    def write(self, data: Buffer) -> None:
        """Append bytes. They are copied or written before this returns only once enough have gathered.

        The caller must not change `data` afterwards.
        """
        view = memoryview(data)
        while view:
            if self._lease is None:
                self._begin_extent(len(view))
            take = min(len(view), self._granted - self._length)
            piece = view[:take]
            self._checksum(piece)
            self._pending.append(piece)
            self._pending_size += take
            self._length += take
            self.size += take
            if self._pending_size >= _WRITE_SIZE:
                self._flush()
            if self._length == self._granted:
                self._end_extent()
            view = view[take:]

    def _begin_extent(self, at_least: int) -> None:
        wanted = _PIECE
        if self._hint is not None and self._hint > self.size:
            wanted = self._hint - self.size
        self._lease, self._offset, self._granted = self._writer.reserve(max(wanted, at_least))
        self._leases.append(self._lease)
        self._length = 0

    def _checksum(self, piece: memoryview) -> None:
        while len(piece):
            take = min(len(piece), FRAME_SIZE - self._frame_used)
            self._frame_crc = crc32c(piece[:take], self._frame_crc)
            self._frame_used += take
            if self._frame_used == FRAME_SIZE:
                self._end_frame()
            piece = piece[take:]

    def _end_frame(self) -> None:
        if self._frame_used:
            self._table += self._frame_crc.to_bytes(4, "little")
        self._frame_crc = self._frame_used = 0

    def _flush(self) -> None:
        if self._pending_size:
            assert self._lease is not None
            pieces = self._pending if len(self._pending) <= 512 else [b"".join(self._pending)]
            at = self._offset + self._length - self._pending_size
            self._engine.disk.pwritev(self._engine.segments.fd(self._lease.segment_id), pieces, at)
        self._pending = []
        self._pending_size = 0

    def _end_extent(self) -> None:
        assert self._lease is not None
        self._end_frame()
        self._flush()
        table = bytes(self._table)
        self._table = bytearray()
        fd = self._engine.segments.fd(self._lease.segment_id)
        self._engine.disk.pwritev(fd, [table], self._offset + self._length)
        self._extents.append(Extent(self._lease.segment_id, self._offset, self._length, int(crc32c(table))))
        self._lease = None

    def finish(self) -> list[Extent]:
        """Write and sync what is left, and return the extents. The lease is held until `release`."""
        if self._lease is not None:
            self._end_extent()
        for segment_id in {extent.segment_id for extent in self._extents}:
            try:
                self._engine.disk.sync(self._engine.segments.fd(segment_id))
            except SyncError as error:
                self._engine.control.poison()
                raise poisoned(error) from error
        return self._extents

    def release(self) -> None:
        """Let compaction judge the extents by what refers to them: after the commit, or to give the body up."""
        for lease in self._leases:
            self._writer.release(lease)
        self._leases = []
        self._pending = []


def verified_extent(view: memoryview, extent: Extent, start: int, end: int) -> memoryview:
    """Return bytes [start, end) of an extent after verifying the frames they touch.

    Raises
    ------
    IntegrityError
        A frame or the table of checksums is damaged.
    """
    table = view[extent.table_offset : extent.end]
    if crc32c(table) != extent.table_crc:
        raise IntegrityError(
            f"segment {extent.segment_id}: the checksums at byte {extent.table_offset} are damaged; "
            "run `tickvault verify`"
        )
    first = start // FRAME_SIZE
    last = frame_count(end)
    for number in range(first, last):
        at = extent.offset + number * FRAME_SIZE
        frame = view[at : min(at + FRAME_SIZE, extent.table_offset)]
        if crc32c(frame) != int.from_bytes(table[4 * number : 4 * number + 4], "little"):
            raise IntegrityError(
                f"segment {extent.segment_id} is damaged in the 64 KiB from byte {at}; run `tickvault verify`"
            )
    return view[extent.offset + start : extent.offset + end]
