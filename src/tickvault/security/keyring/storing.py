"""A keyring file read and replaced.

Invariants: the file is replaced whole (write, sync, rename, sync of the folder), so that a crash leaves the old one or
the new one; changes happen one at a time, across processes; the file that was read last is kept open, so that its
inode cannot be given to a newer one, and a look at the name is enough to know whether it was replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tickvault.errors import BusyError, NotFoundError, StorageError
from tickvault.seam.disk import Disk, FileLock, storage_error
from tickvault.security.keyring.protection import PUT_BACK
from tickvault.security.keyring.sealed_file import FILE_SIZE_MAX

#: Longest wait for another process's change, seconds.
LOCK_WAIT_S = 10.0
_LOCK_STEP_S = 0.01


class StoredFile:
    """The bytes of one file as they were found."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._fd = -1
        try:
            self._fd = disk.open(path, writable=False)
        except FileNotFoundError:
            raise NotFoundError(f"{path}: there is no keyring. {PUT_BACK}") from None
        try:
            size = min(disk.size(self._fd), FILE_SIZE_MAX + 1)
            data = b""
            while len(data) < size and (piece := disk.pread(self._fd, size - len(data), len(data))):
                data += piece
            self.data = data
            status = os.fstat(self._fd)
            self._identity = status.st_dev, status.st_ino
        except BaseException:
            self.close()
            raise

    def is_current(self, path: str) -> bool:
        """Return whether the name still means the file that was read."""
        try:
            return self._disk.identity(path) == self._identity
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(error, "look at", path) from error

    def close(self) -> None:
        """Let the file go."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._disk.close(fd)

    def __del__(self) -> None:
        """Close the descriptor, if nobody did."""
        try:
            self.close()
        except OSError:
            pass


def exists(disk: Disk, path: str) -> bool:
    """Return whether there is something of that name."""
    try:
        disk.identity(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, "look at", path) from error
    return True


def replace(disk: Disk, path: str, data: bytes) -> None:
    """Put a new file in the place of the old one, durably. The caller holds the lock.

    Raises
    ------
    StorageError
        Nothing was changed; or, as `SyncError` of the folder, the new file is there and may not outlive a crash.
    """
    temporary = path + ".new"  # one name: under the lock there is one writer, and a crashed one's is written over
    try:
        fd = disk.open(temporary, create=True)
        try:
            disk.truncate(fd, 0)
            disk.pwritev(fd, [data], 0)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(temporary, path)
    except FileNotFoundError:
        raise StorageError(f"{path}: its folder does not exist; make it first") from None
    except StorageError:
        disk.unlink(temporary)
        raise
    disk.sync_directory(os.path.dirname(path) or ".")


@contextmanager
def locked(path: str, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of a keyring file.

    Raises
    ------
    BusyError
        Another process held it for `wait_s` seconds.
    """
    lock = FileLock(path + ".lock")
    try:
        end = time.monotonic() + wait_s
        while not lock.acquire(wait=False):
            if time.monotonic() >= end:
                raise BusyError(f"{path}: another process has been changing it for {wait_s:g} s; try again")
            time.sleep(_LOCK_STEP_S)
        yield
    finally:
        lock.close()
