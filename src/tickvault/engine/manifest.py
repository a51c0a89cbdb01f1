"""The manifest: a chained log of which segments exist.

Each 64-byte entry's checksum is seeded with the checksum of the entry before, so an entry cannot be lost, repeated or
reordered unseen.  A segment that the manifest names and the folder lacks is an error, never a gap.

Invariants: an entry is durable before anything is written into the segment it creates, and before a segment it
retires is unlinked; only the last entry may be torn (its change was then not made).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum

from crc32c import crc32c

from tickvault.errors import IntegrityError
from tickvault.seam.disk import Disk

ENTRY = struct.Struct("<IIBBHIQQQQQQ")
ENTRY_MAGIC = 0x314E4D54
assert ENTRY.size == 64


class EntryKind(IntEnum):
    """What an entry says of its segment."""

    CREATE = 1
    RETIRE = 2


class SegmentKind(IntEnum):
    """What a segment holds: batches, or the bodies of large objects."""

    JOURNAL = 1
    BODY = 2


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment as the manifest knows it."""

    segment_id: int
    kind: SegmentKind
    epoch: int
    size_bytes: int
    base_sequence: int
    previous_batch_id: int
    """Of the batch before this segment's first one (0 in a vault's first segment)."""
    created_ns: int


class Manifest:
    """The manifest file of an open vault."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self.path = path
        self.segments: dict[int, SegmentEntry] = {}
        self.retired: set[int] = set()
        self.retired_journal: set[int] = set()
        self.torn: bytes | None = None
        """What stood where an exclusive load found no sound last entry."""
        self.last_id = 0
        self._offset = 0
        self._synced = 0
        self._chain = 0

    def load(self, *, exclusive: bool) -> None:
        """Read entries that were added since the last load.

        Parameters
        ----------
        exclusive : bool
            This process is the only one: a torn last entry is cut off. Otherwise it may be one that another process
            is writing just now, and is left for the next load.

        Raises
        ------
        IntegrityError
            An entry before the last one is damaged.
        """
        fd = self._disk.open(self.path, create=exclusive)
        try:
            size = self._disk.size(fd)
            raw = self._disk.pread(fd, size - self._offset, self._offset)
            for start in range(0, len(raw), ENTRY.size):
                if not self._take(raw[start : start + ENTRY.size]):
                    if len(raw) - start > ENTRY.size:
                        raise IntegrityError(
                            f"{self.path} is damaged at byte {self._offset}: an entry does not match its chain; "
                            "restore the vault from a backup"
                        )
                    if exclusive:
                        self.torn = raw[start:]
                        self._disk.truncate(fd, self._offset)
                        self._disk.sync(fd)
                    return
        finally:
            self._disk.close(fd)

    def _take(self, raw: bytes) -> bool:
        if len(raw) < ENTRY.size:
            return False
        (magic, crc, kind, segment_kind, _, segment_id, epoch, size, base, previous, created, _) = ENTRY.unpack(raw)
        if magic != ENTRY_MAGIC or crc32c(raw[8:], self._chain) != crc:
            return False
        self._chain = crc
        self._offset += ENTRY.size
        self.last_id = max(self.last_id, segment_id)
        if kind == EntryKind.CREATE:
            self.segments[segment_id] = SegmentEntry(
                segment_id, SegmentKind(segment_kind), epoch, size, base, previous, created
            )
        elif kind == EntryKind.RETIRE:
            self.segments.pop(segment_id, None)
            self.retired.add(segment_id)
            if segment_kind == SegmentKind.JOURNAL:
                self.retired_journal.add(segment_id)
        else:
            raise IntegrityError(f"{self.path}: entry of unknown kind {kind}; a newer release wrote it")
        return True

    def encode(self, kind: EntryKind, entry: SegmentEntry) -> bytes:
        """Return the bytes of an entry at the end of the chain."""
        body = struct.pack(
            "<BBHIQQQQQQ",
            kind,
            entry.kind,
            0,
            entry.segment_id,
            entry.epoch,
            entry.size_bytes,
            entry.base_sequence,
            entry.previous_batch_id,
            entry.created_ns,
            0,
        )
        return struct.pack("<II", ENTRY_MAGIC, crc32c(body, self._chain)) + body

    def append(self, kind: EntryKind, entry: SegmentEntry) -> None:
        """Add an entry and make it durable. The caller holds the manifest lock and has loaded to the end."""
        raw = self.encode(kind, entry)
        fd = self._disk.open(self.path)
        try:
            if self._offset != self._synced:
                # Others made the entries before this one, and may have been killed before they synced them.
                self._disk.sync(fd)
            self._disk.pwritev(fd, [raw], self._offset)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._take(raw)
        self._synced = self._offset

    def rewrite(self) -> None:
        """Write what was read into a new file, synced, in the place of the old one."""
        fd = self._disk.open(self.path)
        try:
            raw = self._disk.pread(fd, self._offset, 0)
        finally:
            self._disk.close(fd)
        fd = self._disk.open(self.path + ".new", create=True)
        try:
            self._disk.truncate(fd, 0)
            self._disk.pwritev(fd, [raw], 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.rename(self.path + ".new", self.path)
        self._disk.sync_directory(os.path.dirname(self.path))

    @property
    def length(self) -> int:
        """Bytes of the entries read so far."""
        return self._offset

    def journal(self) -> list[SegmentEntry]:
        """Return the journal segments in the order they were written."""
        return [entry for _, entry in sorted(self.segments.items()) if entry.kind is SegmentKind.JOURNAL]
