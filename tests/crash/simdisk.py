"""A disk that can lose its power, and a machine that can boot again.

`SimDisk` runs the engine on real files, so that mapping and LMDB work, and keeps beside each file what of it would
survive a power cut: the content at its last sync, and the writes since.  `crash` then keeps, drops, tears (at sectors
of 512 bytes) or garbles each unsynced write on its own, and takes back names (creations, renames, removals) that no
sync of their directory made durable.  It is also where faults come from: a full disk, an I/O error at a sync, a sync
that lies, and the power going off at the k-th operation.

Files that do not pass the seam (LMDB's, the format file, the lock files) stay as they are; the `recent` environment,
which is never synced, must be distrusted because the machine's boot id changed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tickvault.errors import DiskFullError
from tickvault.objects.store import ObjectStore, _stores
from tickvault.seam.disk import Buffer, OsDisk, SyncError

SECTOR = 512


class PowerCut(BaseException):
    """The machine went off in the middle of an operation; no `except Exception` may survive it."""


class SimFile:
    """A file: what is durable of it, and what was written since its last sync."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes | None]] = []
        """(offset, bytes) of a write, (length, None) of a change of length, in order."""

    def harden(self) -> None:
        """Everything written so far is on the disk."""
        for at, data in self.unsynced:
            self._apply(at, data)
        self.unsynced.clear()

    def harden_range(self, at: int, data: bytes) -> None:
        """One write is on the disk; of those before it, what it did not overwrite may still be lost."""
        end = at + len(data)
        rest: list[tuple[int, bytes | None]] = []
        for start, old in self.unsynced:
            if old is None or start >= end or start + len(old) <= at:
                rest.append((start, old))
                continue
            rest += [
                (low, piece) for low, piece in ((start, old[: max(0, at - start)]), (end, old[end - start :])) if piece
            ]
        self.unsynced = rest
        self._apply(at, data)

    def _apply(self, at: int, data: bytes | None) -> None:
        if data is None:
            del self.durable[at:]
            self.durable += bytes(at - len(self.durable))
        else:
            self.durable += bytes(max(0, at + len(data) - len(self.durable)))
            self.durable[at : at + len(data)] = data

    def crash(self, rng: random.Random) -> None:
        """Lose power: each unsynced write lands, or not, or in part, or as something else."""
        for at, data in self.unsynced:
            fate = rng.choice(("keep", "drop", "tear", "garble"))
            if fate == "keep" or (data is None and fate == "tear"):
                self._apply(at, data)
            elif fate == "garble" and data:
                self._apply(at, rng.randbytes(len(data)))
            elif fate == "tear" and data is not None:
                for start in range(at - at % SECTOR, at + len(data), SECTOR):
                    low, high = max(start, at), min(start + SECTOR, at + len(data))
                    if rng.random() < 0.5:
                        self._apply(low, data[low - at : high - at])
        self.unsynced.clear()


class SimDisk(OsDisk):
    """`OsDisk` with a memory of what is not durable yet, and with faults on request."""

    def __init__(self) -> None:
        self.operations = 0
        self.cut_at: int | None = None
        """The power goes off at this operation."""
        self.lying = False
        """A planted bug: a sync returns without having synced."""
        self.failing_syncs: set[int] = set()
        """Which syncs, counted from now, answer with an I/O error; ``{-1}``: all."""
        self.full = False
        """No block can be had any more."""
        self.syncs = 0
        self.off = False
        self._files: dict[str, SimFile] = {}
        self._durable_names: dict[str, SimFile] = {}
        self._renames: dict[str, list[dict[str, SimFile | None]]] = {}
        self._open_files: dict[int, SimFile] = {}

    def _step(self, *, quiet: bool = False) -> None:
        if self.off:
            raise PowerCut
        if quiet:
            return
        self.operations += 1
        if self.cut_at is not None and self.operations >= self.cut_at:
            self.off = True
            raise PowerCut

    # -- names

    def _note(self, directory: str, change: dict[str, SimFile | None]) -> None:
        for path, file in change.items():
            if file is None:
                self._files.pop(path, None)
            else:
                self._files[path] = file
        self._renames.setdefault(directory, []).append(change)

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> int:
        self._step(quiet=not create)
        existed = os.path.exists(path)
        fd = super().open(path, create=create, writable=writable)
        if not existed:
            self._note(os.path.dirname(path), {path: SimFile()})
        self._open_files[fd] = self._files[path]
        return fd

    def close(self, fd: int) -> None:
        self._open_files.pop(fd, None)
        super().close(fd)

    def rename(self, source: str, target: str) -> None:
        self._step()
        super().rename(source, target)
        self._note(os.path.dirname(target), {source: None, target: self._files[source]})

    def unlink(self, path: str) -> None:
        self._step()
        if path in self._files:
            super().unlink(path)
            self._note(os.path.dirname(path), {path: None})

    def sync_directory(self, path: str) -> None:
        self._sync_step()
        if self.lying:
            return
        for change in self._renames.pop(path, ()):
            self._take_over(change)

    def _take_over(self, change: dict[str, SimFile | None]) -> None:
        for path, file in change.items():
            if file is None:
                self._durable_names.pop(path, None)
            else:
                self._durable_names[path] = file

    # -- bytes

    def _write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> bytes:
        data = b"".join(buffers)
        if self.off:
            raise PowerCut
        if self.full and offset + len(data) > self.size(fd):
            raise DiskFullError(f"write to descriptor {fd}: no space is left (simulated)")
        super().pwritev(fd, buffers, offset)
        self._open_files[fd].unsynced.append((offset, data))
        # After the bytes reached the page cache: a process killed here wrote them, and a power cut may tear them.
        self._step()
        return data

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self._write(fd, buffers, offset)

    def write_synced(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write bytes that are durable when this returns; what was written before them elsewhere is not."""
        data = self._write(fd, buffers, offset)
        file = self._open_files[fd]
        self._sync_step(file)
        if not self.lying:
            file.unsynced.remove((offset, data))
            file.harden_range(offset, data)

    def write_on_its_way(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """As `pwritev`: what is on its way may be lost with the power, or not."""
        self._write(fd, buffers, offset)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        self._step()
        if self.full:
            raise DiskFullError(f"reserve space in descriptor {fd}: no space is left (simulated)")
        super().allocate(fd, offset, length)
        size = self.size(fd)
        self._open_files[fd].unsynced.append((size, None))

    def truncate(self, fd: int, length: int) -> None:
        self._step()
        super().truncate(fd, length)
        self._open_files[fd].unsynced.append((length, None))

    def _sync_step(self, file: SimFile | None = None) -> None:
        self._step()
        self.syncs += 1
        if -1 in self.failing_syncs or self.syncs in self.failing_syncs:
            if file is not None:
                # The kernel marks the pages clean: they can be read until they are evicted, no later sync writes them.
                file.unsynced.clear()
            raise SyncError("fdatasync: Input/output error (simulated)")

    def fail_sync(self, number: int) -> None:
        """Let the `number`-th sync from now fail (1: the next one)."""
        self.failing_syncs.add(self.syncs + number)

    def sync(self, fd: int) -> None:
        file = self._open_files[fd]
        self._sync_step(file)
        if not self.lying:
            file.harden()

    # -- the power cut

    def crash(self, rng: random.Random) -> None:
        """Bring the folder to what may be found after a power cut. Every engine on it must be `power_off`."""
        for changes in self._renames.values():
            # A file system's own journal keeps the order of names: what is lost is a tail of the changes.
            for change in changes[: rng.randint(0, len(changes))]:
                self._take_over(change)
        for path in {*self._files, *self._durable_names}:
            if os.path.exists(path):
                os.unlink(path)
        for path, file in self._durable_names.items():
            file.crash(rng)
            # A new inode, so that a mapping of the machine that went off keeps its bytes.
            with open(path, "xb") as found:
                found.write(file.durable)
        self._files = dict(self._durable_names)
        self._renames.clear()
        self._open_files.clear()
        self.off = False
        self.cut_at = None
        self.failing_syncs.clear()


class SimHost:
    """A machine whose boot id changes at a crash, with repeatable randomness."""

    def __init__(self, seed: int = 0) -> None:
        self.boot = 1
        self._rng = random.Random(seed)

    def boot_id(self) -> bytes:
        return self.boot.to_bytes(16, "little")

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return self._rng.getrandbits(64) or 1


def power_off(store: ObjectStore) -> None:
    """Drop an open store as a power cut does: nothing is finished, synced or checkpointed."""
    engine = store.engine
    _stores.pop(store._identity, None)
    engine.closed = True
    engine._abandon()
    for lock in (engine._open_lock, engine._checkpoint_lock):
        lock.close()


@contextmanager
def cut_after(disk: SimDisk, operations: int | None) -> Iterator[None]:
    """Let the power go off after so many more operations, and end the block there."""
    disk.cut_at = None if operations is None else disk.operations + operations
    try:
        yield
    except PowerCut:
        pass
    finally:
        disk.cut_at = None
