"""Files, as the engine uses them.

Invariants: an operation that fails raises `StorageError` (`DiskFullError` when no space is left) with the path in its
message; `sync` failing is reported as `SyncError` so that the caller can poison the vault; nothing here retries.
What is no file (a FIFO, a socket, a device) in the place of one is refused, and never waited for.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from tickvault.errors import DiskFullError, StorageError

Buffer = bytes | bytearray | memoryview

PAGE_SIZE = mmap.PAGESIZE


class SyncError(StorageError):
    """A sync failed: what reached the disk is unknown, and asking again would hide it."""


@contextmanager
def _told(doing: str, file: str | int) -> Iterator[None]:
    """Raise what fails inside as a `StorageError`; `file` is a path or an open descriptor."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing, path_of(file) if isinstance(file, int) else file) from error


def path_of(fd: int) -> str:
    """Return the path of an open file, for a message; its number where the system cannot tell."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"


def storage_error(error: OSError, doing: str, path: str) -> StorageError:
    """Return the `StorageError` that tells what was being done to which file."""
    if isinstance(error, StorageError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{doing} {path}: no space is left on the device; free some space and try again")
    return StorageError(f"{doing} {path}: {os.strerror(error.errno or 0)}")


def plain_file(path: str, flags: int) -> int:
    """Open what is a file, close-on-exec, and return its descriptor; for ``open(path, opener=plain_file)`` too.

    A FIFO would be waited for until somebody opens its other end, for ever as a rule; the open file is judged, not its
    name, which could be another file a moment later.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a FIFO to write into that nobody reads
            raise _no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _no_file(path)
    return fd


def _no_file(path: str) -> StorageError:
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    try:
        kind = kinds.get(stat.S_IFMT(os.stat(path).st_mode), "folder")
    except OSError:
        kind = "FIFO, a socket or a device"
    return StorageError(f"open {path}: is a {kind}, and must be a file; find out who put it there, then move it away")


class Disk(Protocol):
    """The file operations that the engine is built on."""

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        """Open a file and return its descriptor."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""

    def size(self, fd: int) -> int:
        """Return the size of an open file, bytes."""

    def identity(self, path: str) -> tuple[int, int]:
        """Return (device, inode) of a file."""

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers one after the other at `offset`."""

    def write_synced(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers and make that range durable before returning; raises `SyncError`."""

    def write_on_its_way(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers and have them on their way to the disk, where only `sync` makes them durable."""

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`."""

    def allocate(self, fd: int, offset: int, length: int) -> None:
        """Reserve blocks so that later writes cannot run out of space."""

    def truncate(self, fd: int, length: int) -> None:
        """Set the length of a file."""

    def sync(self, fd: int) -> None:
        """Make the written bytes of a file durable; raises `SyncError`."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable; raises `SyncError`."""

    def map(self, fd: int, length: int) -> mmap.mmap:
        """Map a file for reading."""

    def rename(self, source: str, target: str) -> None:
        """Rename, replacing the target."""

    def unlink(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""


class OsDisk:
    """The operating system's files."""

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        """Open a file, close-on-exec; a new one is readable by its owner only."""
        flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0)
        try:
            return plain_file(path, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, "open", path) from error

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def size(self, fd: int) -> int:
        """Return the size of an open file, bytes."""
        return os.fstat(fd).st_size

    def identity(self, path: str) -> tuple[int, int]:
        """Return (device, inode) of a file."""
        status = os.stat(path)
        return status.st_dev, status.st_ino

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write all buffers; a short write is continued."""
        try:
            total = sum(map(len, buffers))
            written = os.pwritev(fd, buffers, offset)
            if written == total:
                return
            rest = memoryview(b"".join(buffers))
            while written < total:
                written += os.pwrite(fd, rest[written:], offset + written)
        except OSError as error:
            raise storage_error(error, "write to", path_of(fd)) from error

    def write_synced(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """``pwritev2`` with ``RWF_DSYNC``: one system call, and one release of the interpreter's lock."""
        total = sum(map(len, buffers))
        try:
            written = os.pwritev(fd, buffers, offset, os.RWF_DSYNC)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise storage_error(error, "write to", path_of(fd)) from error
            # Whether the write or the sync failed cannot be told apart.
            raise SyncError(f"synchronous write to {path_of(fd)}: {os.strerror(error.errno or 0)}") from error
        if written != total:
            self.pwritev(fd, [memoryview(b"".join(buffers))[written:]], offset + written)
            self.sync(fd)

    def write_on_its_way(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """``pwritev`` and ``sync_file_range``: what the caller does before it syncs costs no time of its own."""
        self.pwritev(fd, buffers, offset)
        # A hint: what goes wrong with it is told by the sync.
        _sync_file_range(fd, offset, sum(map(len, buffers)), _SYNC_FILE_RANGE_WRITE)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes."""
        with _told("read from", fd):
            return os.pread(fd, length, offset)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        """Reserve blocks with ``fallocate``."""
        with _told("reserve space in", fd):
            os.posix_fallocate(fd, offset, length)

    def truncate(self, fd: int, length: int) -> None:
        """Set the length of a file."""
        with _told("truncate", fd):
            os.ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """``fdatasync``."""
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise SyncError(f"fdatasync of {path_of(fd)}: {os.strerror(error.errno or 0)}") from error

    def sync_directory(self, path: str) -> None:
        """``fsync`` of the directory."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise SyncError(f"fsync of directory {path}: {os.strerror(error.errno or 0)}") from error

    def map(self, fd: int, length: int) -> mmap.mmap:
        """Map a file for reading."""
        with _told("map", fd):
            return mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)

    def rename(self, source: str, target: str) -> None:
        """Rename, replacing the target."""
        with _told("rename", source):
            os.replace(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_error(error, "remove", path) from error


def shared_page(path: str, size: int) -> mmap.mmap:
    """Map a small file that processes share, writable; it is made, of zeros, if it is missing."""
    with _told("make", path):
        fd = plain_file(path, os.O_RDWR | os.O_CREAT)
        try:
            if os.fstat(fd).st_size < size:
                # Written, not truncated to length: a hole could not be filled on a full disk, and the page fault
                # would kill the process.
                os.pwrite(fd, bytes(size), 0)
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)


class FileLock:
    """An advisory lock on a file (``flock``), held by this open file description.

    The kernel drops it when the process ends, however it ends.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        with _told("open lock file", path):
            self._fd = plain_file(path, os.O_RDWR | os.O_CREAT)
        self.path = path

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock, or change its kind; return False if it is held elsewhere and `wait` is off."""
        operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(self._fd, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            raise storage_error(error, "lock", self.path) from error
        return True

    def release(self) -> None:
        """Drop the lock and keep the file open."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __del__(self) -> None:
        """Close the descriptor, if nobody did."""
        self.close()

    def close(self) -> None:
        """Close the descriptor, which drops the lock unless a forked child shares it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_libc = ctypes.CDLL(None, use_errno=True)
# Not released around it: a call of 20 µs is over before another thread would have begun.
_sync_file_range = ctypes.PyDLL(None).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

_mincore = _libc.mincore
_PAGES_SMALL = 64
# Shared by all threads: at worst a hint is wrong, and a page is waited for.
_vector = (ctypes.c_ubyte * _PAGES_SMALL)()


def resident(address: int, length: int) -> bool:
    """Return whether every page of a mapping's range is in memory, so that touching it cannot wait for the disk.

    Parameters
    ----------
    address : int
        Start of the range in this process's address space.
    length : int
        Bytes.
    """
    first = address & -PAGE_SIZE
    page_count = (address + length - first + PAGE_SIZE - 1) // PAGE_SIZE
    vector = _vector if page_count <= _PAGES_SMALL else (ctypes.c_ubyte * page_count)()
    if _mincore(first, page_count * PAGE_SIZE, vector) != 0:
        return False
    # Bit 0 of each byte tells; the kernel defines no other bit, but promises nothing about them.
    if page_count == 2:
        return bool(vector[0] & vector[1] & 1)
    return all(byte & 1 for byte in vector[:page_count])
