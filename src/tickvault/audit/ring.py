"""A mapped file into which one process puts encoded records, until whoever writes the trail takes them.

Invariants: a record is seen only once its bytes are all in place, so a kill between any two instructions leaves none in
part; nothing is dropped: `put` says that the ring is full, and its caller drains; records are taken in the order they
were put; taking is exactly once across a kill, because the ring notes which block of the trail will hold what is taken
before that block is written. After a power cut the pages may be of different ages: what cannot be read then is
skipped, and told.

The owner holds a lock on the file (`flock`), so that others know whether it lives. A forked child has no ring.
"""

from __future__ import annotations

import mmap
import os
import secrets
import stat
import threading
import weakref
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from tickvault.audit.codec import RECORD_SIZE_MAX
from tickvault.errors import ClosedError, FormatError, InvalidInputError
from tickvault.seam.disk import PAGE_SIZE, FileLock, shared_page

MAGIC = b"TVAURNG1"
SUFFIX = ".ring"
NEW_SUFFIX = ".new"
"""Of a ring that is being made."""
CAPACITY_DEFAULT = 16 << 20
CAPACITY_MAX = 1 << 30
_HEADER = Struct("<8sIIQ16s")
"""Magic, version, zero, capacity, boot id."""
#: Eight-byte words of the first page, each written by one store.
_PUT, _TAKEN, _TAKING_TO, _TAKING_BLOCK = 16, 24, 32, 40
_ENTRY = Struct("<II")
_ENTRY_SIZE = _ENTRY.size
_pack_entry = _ENTRY.pack_into
_entry = _ENTRY.pack
_unpack_entry = _ENTRY.unpack_from
#: Copied at a time; larger than any record.
_PIECE_SIZE = 256 * 1024
_WRAP = 0xFFFFFFFF

_open_rings: weakref.WeakSet[Ring] = weakref.WeakSet()


class Taken(NamedTuple):
    """Records at the front of a ring, not yet given up by it."""

    payloads: list[bytes]
    end: int
    """Position behind them, for `Ring.taking`."""
    damaged_bytes: int
    """Skipped before `end`, because they are no record."""


class Ring:
    """A ring file; made by `create_ring`, or opened by `open_ring` to take from.

    `put` may be called by several threads of the owner; taking, by one at a time anywhere: the holder of the trail's
    lock.
    """

    def __init__(self, path: str, pages: mmap.mmap, capacity: int, lock: FileLock, *, owner: bool) -> None:
        self.path = path
        self.owner = owner
        """Whether this process puts into it; otherwise it only takes."""
        self._lock_file = lock
        self._map: mmap.mmap | None = pages
        self._view = memoryview(pages)
        self._words = self._view[:PAGE_SIZE].cast("Q")
        self._data = self._view[PAGE_SIZE : PAGE_SIZE + capacity]
        self._capacity = capacity
        self._thread_lock = threading.Lock()
        self._put = self._words[_PUT]
        self._at = 0
        self._room = 0
        """In one piece from `_at` on, as far as known without looking at what was taken."""
        self._open = True
        self.on_filling: Callable[[], None] | None = None
        """Called when a quarter and more of it waits to be taken, by whoever puts."""
        _open_rings.add(self)

    def put(self, payload: bytes) -> bool:
        """Put an encoded record; return False if there is no room: then drain, and put again.

        Raises
        ------
        ClosedError
            The ring was closed, or belongs to the process that this one was forked from.
        """
        size = len(payload)
        if not 0 < size <= RECORD_SIZE_MAX:
            raise InvalidInputError(f"audit ring: a record must have 1 to {RECORD_SIZE_MAX} bytes, had {size}")
        need = (size + 15) & -8
        with self._thread_lock:
            if need > self._room and not self._make_room(need):
                return False
            at, position = self._at, self._put
            # The position is part of the checksum: what an earlier round left here is no record of this one.
            entry = _entry(size, crc32c(payload, position & 0xFFFFFFFF))
            self._data[at : at + _ENTRY_SIZE + size] = entry + payload
            self._at, self._room = at + need, self._room - need
            self._put = self._words[_PUT] = position + need
            return True

    def _make_room(self, need: int) -> bool:
        """Find `need` bytes in one piece, from the beginning of the file again if there are none before its end."""
        if not self._open or not self.owner:
            raise ClosedError(f"audit ring {self.path}: was closed, or is another process's; make one for this one")
        put, capacity = self._put, self._capacity
        at = put % capacity
        free, piece = capacity - (put - self._words[_TAKEN]), capacity - at
        if piece < need:
            if piece + need > free:
                return False
            _pack_entry(self._data, at, _WRAP, put & 0xFFFFFFFF)
            self._put = self._words[_PUT] = put + piece
            at, free, piece = 0, free - piece, capacity
        elif need > free:
            return False
        # Never told of more than a quarter, so as to look in time whether somebody takes.
        quarter = capacity // 4
        self._at, self._room = at, min(free, piece, quarter)
        if capacity - free >= quarter and self.on_filling is not None:
            self.on_filling()
        return True

    # -- taking

    def peek(self, count_max: int, *, final: bool) -> Taken:
        """Return records from the front, and leave them there.

        Parameters
        ----------
        final : bool
            Nobody is putting (the owner has ended, or is this process): what is no record then never will be, and is
            skipped. Otherwise it may be about to become one, and ends what is returned.
        """
        if final and self.owner:
            with self._thread_lock:
                return self._peek(count_max, final=True)
        return self._peek(count_max, final=final)

    def _peek(self, count_max: int, *, final: bool) -> Taken:
        if not self._open:
            raise ClosedError(f"audit ring {self.path}: was closed")
        capacity, data = self._capacity, self._data
        position, put = self._words[_TAKEN], self._words[_PUT]
        payloads: list[bytes] = []
        while position < put and len(payloads) < count_max:
            at = position % capacity
            length = min(capacity - at, put - position, _PIECE_SIZE)
            # Copied at once, since what was put long ago is in no cache any more.
            piece = bytes(data[at : at + length])
            begin = 0
            while begin < length and len(payloads) < count_max:
                if begin + _ENTRY_SIZE > length:
                    break
                size, check = _unpack_entry(piece, begin)
                seed = (position + begin) & 0xFFFFFFFF
                if size == _WRAP and check == seed:
                    begin = capacity - at
                    break
                end = begin + ((size + 15) & -8)
                if begin and begin + _ENTRY_SIZE + size > length == _PIECE_SIZE:
                    break  # the rest of it is in the next piece
                payload = piece[begin + _ENTRY_SIZE : begin + _ENTRY_SIZE + size] if size <= RECORD_SIZE_MAX else b""
                if not payload or position + end > put or len(payload) != size or crc32c(payload, seed) != check:
                    if final:
                        # Where the next one begins is not known either.
                        return Taken(payloads, put, put - position - begin)
                    return Taken(payloads, position + begin, 0)
                payloads.append(payload)
                begin = end
            if begin + _ENTRY_SIZE > length and at + length == capacity:
                begin = max(begin, length)  # no entry fits before the end of the file
            elif not begin:
                # Less than an entry: its number was damaged.
                return Taken(payloads, put, put - position) if final else Taken(payloads, position, 0)
            position += begin
        return Taken(payloads, position, 0)

    def taking(self, end: int, block_number: int) -> None:
        """Note that what lies before `end` will be in that block of the trail; call before the block is written."""
        self._words[_TAKING_TO] = end
        self._words[_TAKING_BLOCK] = block_number

    def took(self) -> None:
        """Give up what was noted; call after the block was acknowledged."""
        self._words[_TAKEN] = self._words[_TAKING_TO]
        self._words[_TAKING_BLOCK] = 0

    def untake(self) -> None:
        """Take back what was noted; call after the block was refused and is known not to be written."""
        self._words[_TAKING_BLOCK] = 0

    def lock(self) -> bool:
        """Take the lock of a ring that another process made; return False if that process lives."""
        return self._lock_file.acquire(wait=False)

    def settle(self, last_block: int) -> None:
        """Finish what a killed process left between `taking` and `took`.

        Parameters
        ----------
        last_block : int
            Number of the trail's last block. One that was noted and is there holds what was to be taken.
        """
        noted = self._words[_TAKING_BLOCK]
        if noted == 0:
            return
        if noted <= last_block and self._words[_TAKEN] <= self._words[_TAKING_TO] <= self._words[_PUT]:
            self._words[_TAKEN] = self._words[_TAKING_TO]
        self._words[_TAKING_BLOCK] = 0

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be taken."""
        return self._words[_PUT] - self._words[_TAKEN] if self._open else 0

    def close(self) -> None:
        """Unmap the file and let its lock go; what it holds stays for whoever takes it."""
        with self._thread_lock:
            self._close()

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._room = -1
        self._words.release()
        self._data.release()
        self._view.release()
        if self._map is not None:
            self._map.close()
            self._map = None
        self._lock_file.close()


def create_ring(folder: str, boot_id: bytes, *, capacity: int = CAPACITY_DEFAULT) -> Ring:
    """Make this process's ring.

    Parameters
    ----------
    folder : str
        ``VAULT/audit/rings``; made if missing.
    boot_id : bytes
        Of this boot of the machine, 16 bytes.
    capacity : int
        Bytes, a multiple of 4,096, at least 256 KiB.
    """
    if not 4 * RECORD_SIZE_MAX <= capacity <= CAPACITY_MAX or capacity % PAGE_SIZE:
        raise InvalidInputError(
            f"capacity: must be a multiple of {PAGE_SIZE} from {4 * RECORD_SIZE_MAX} to {CAPACITY_MAX}, was {capacity}"
        )
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for _ in range(100):
        name = os.path.join(folder, f"{os.getpid()}-{secrets.token_hex(4)}")
        lock = FileLock(name + NEW_SUFFIX)
        if not lock.acquire(wait=False):
            lock.close()
            continue
        try:
            pages = shared_page(name + NEW_SUFFIX, PAGE_SIZE + capacity)
        except OSError:
            lock.close()
            os.unlink(name + NEW_SUFFIX)
            raise
        pages[: _HEADER.size] = _HEADER.pack(MAGIC, 1, 0, capacity, boot_id)
        try:
            # It gets the name that others look for once its lock is held; until then one may sweep it away.
            os.rename(name + NEW_SUFFIX, name + SUFFIX)
        except FileNotFoundError:
            pages.close()
            lock.close()
            continue
        return Ring(name + SUFFIX, pages, capacity, lock, owner=True)
    raise ClosedError(f"audit ring in {folder}: its file was removed 100 times while it was made; look who does that")


def open_ring(path: str) -> tuple[Ring, bytes]:
    """Open a ring to take from it; return it with the boot id of its owner.

    Raises
    ------
    FormatError
        It is not a ring, or of another release.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(f"audit ring {path}: is no file; find out who put it there, then move it away")
    size = status.st_size
    if size < PAGE_SIZE:
        raise FormatError(f"audit ring {path}: must have at least {PAGE_SIZE} bytes, has {size}")
    pages = shared_page(path, size)
    magic, version, _, capacity, boot_id = _HEADER.unpack_from(pages)
    if magic != MAGIC or version != 1 or not 0 < capacity <= CAPACITY_MAX or size != PAGE_SIZE + capacity:
        pages.close()
        raise FormatError(f"audit ring {path}: is no ring of this release; move it away to go on without its records")
    return Ring(path, pages, capacity, FileLock(path), owner=False), boot_id


def ring_paths(folder: str) -> list[str]:
    """Return the paths of all rings, by name; none if there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in sorted(names) if name.endswith(SUFFIX)]


def settle_rings(folder: str, last_block: int) -> None:
    """Finish what a killed process left between `Ring.taking` and `Ring.took`, in all rings; see `Ring.settle`."""
    for path in ring_paths(folder):
        try:
            ring, _ = open_ring(path)
        except FormatError:
            continue  # told when it is drained
        ring.settle(last_block)
        ring.close()


def _leave_in_child() -> None:
    """In a forked child: write nothing into the parent's rings, and do not keep their locks after its end."""
    for ring in list(_open_rings):
        # Another thread of the parent may have held it at the fork.
        ring._thread_lock = threading.Lock()
        ring._close()


os.register_at_fork(after_in_child=_leave_in_child)
