"""The control page: what the processes that hold a vault open tell each other without a lock.

One 4 KiB file, mapped shared.  It lives in the page cache; after a boot it is made anew.

Invariants: the poison flag is only ever set while others may read it, and cleared by an opener that is alone; the last
good sync is written after the sync returned, under the commit lock.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from tickvault.errors import FormatError
from tickvault.seam.disk import shared_page

_PAGE = 4096
_HEAD = struct.Struct("<8s16sQ")
_MAGIC = b"TVCTRL01"
_POISON = 64
_GENERATION = 72
_SYNCED = 128
_UNSYNCED = 192
_COMMITS = 200
_SETTINGS = 208
_WAITING = 1024
_WAITING_SLOTS = 2048
_SYNCED_STATE = struct.Struct("<IQQI")
_U64 = struct.Struct("<Q")


class ControlPage:
    """The shared page of an open vault."""

    def __init__(self, path: str) -> None:
        self._map = shared_page(path, _PAGE)

    def begin(self, boot_id: bytes, pid_namespace: int) -> bool:
        """Take the page over as the only opener; return whether the vault was poisoned during this boot."""
        magic, boot, _ = _HEAD.unpack_from(self._map, 0)
        same_boot = magic == _MAGIC and boot == boot_id
        poisoned = same_boot and self.poisoned
        if not same_boot:
            self._map[:] = bytes(_PAGE)
        _HEAD.pack_into(self._map, 0, _MAGIC, boot_id, pid_namespace)
        self.clear_waiting()
        return poisoned

    def join(self, boot_id: bytes, pid_namespace: int, path: str) -> None:
        """Check that the processes which hold the vault open can share it with this one."""
        magic, boot, namespace = _HEAD.unpack_from(self._map, 0)
        if magic != _MAGIC or boot != boot_id:
            raise FormatError(f"{path}: the control page belongs to another boot; close the vault everywhere first")
        if namespace != pid_namespace:
            raise FormatError(
                f"{path} is open in another PID namespace (a container); process ids mean nothing across it. "
                "Open the vault from one namespace only, and reach it from others through `tickvault serve`"
            )

    @property
    def poisoned(self) -> bool:
        """Whether a sync failed and writes are refused."""
        return self._map[_POISON] != 0

    def poison(self) -> None:
        """Refuse writes in every process from now on."""
        self._map[_POISON] = 1

    def heal(self) -> None:
        """Accept writes again, after recovery from what is on the disk."""
        self._map[_POISON] = 0

    @property
    def generation(self) -> int:
        """Count of segments retired, so that others notice."""
        return int(_U64.unpack_from(self._map, _GENERATION)[0])

    def bump_generation(self) -> None:
        """Tell others to forget retired segments."""
        _U64.pack_into(self._map, _GENERATION, self.generation + 1)

    def synced(self) -> tuple[int, int, int]:
        """Return (segment, end offset, batch id) of the last batch known to be on the disk; zeros if nothing is known.

        What it says stays true after a boot: the page may have been written to the disk late, never early.
        """
        segment_id, end, batch_id, crc = _SYNCED_STATE.unpack_from(self._map, _SYNCED)
        if crc32c(self._map[_SYNCED : _SYNCED + _SYNCED_STATE.size - 4]) != crc:
            return 0, 0, 0
        return segment_id, end, batch_id

    def set_synced(self, segment_id: int, end: int, batch_id: int) -> None:
        """Note a sync that succeeded."""
        self.set_synced_state(self.synced_state(segment_id, end, batch_id))

    def synced_state(self, segment_id: int, end: int, batch_id: int) -> bytes:
        """Return what `set_synced_state` notes, made before the sync, when nobody waits for it."""
        state = _SYNCED_STATE.pack(segment_id, end, batch_id, 0)[:-4]
        checksum: int = crc32c(state)
        return state + checksum.to_bytes(4, "little")

    def set_synced_state(self, state: bytes) -> None:
        """Note a sync that succeeded."""
        self._map[_SYNCED : _SYNCED + _SYNCED_STATE.size] = state

    @property
    def unsynced(self) -> bool:
        """Whether the current segment holds relaxed batches that no sync has covered."""
        return self._map[_UNSYNCED] != 0

    @unsynced.setter
    def unsynced(self, value: bool) -> None:
        self._map[_UNSYNCED] = value

    # -- whose turn it is
    #
    # LMDB's lock is not fair: whoever releases it and comes back at once overtakes those it woke. So each process
    # shows in a byte of its own that it waits, and a releaser lets a waiter go first. A byte left by a process that
    # was killed costs others a short wait, never correctness.

    def wait_slot(self, pid: int) -> int:
        """Return this process's byte."""
        return _WAITING + pid % _WAITING_SLOTS

    def set_waiting(self, slot: int, waiting: bool) -> None:
        """Show that this process waits for the commit lock, or no longer does."""
        self._map[slot] = waiting

    def waits(self, slot: int) -> bool:
        """Whether the process of a byte shows that it waits."""
        return self._map[slot] != 0

    def somebody_waits(self) -> bool:
        """Whether a process waits for the commit lock."""
        return self._map.find(b"\x01", _WAITING, _WAITING + _WAITING_SLOTS) >= 0

    def clear_waiting(self) -> None:
        """Forget processes that were killed while they waited."""
        self._map[_WAITING : _WAITING + _WAITING_SLOTS] = bytes(_WAITING_SLOTS)

    @property
    def commits(self) -> bytes:
        """Changes with every commit."""
        return self._map[_COMMITS : _COMMITS + 8]

    def count_commit(self) -> None:
        """Note a commit; called under the commit lock."""
        _U64.pack_into(self._map, _COMMITS, (_U64.unpack_from(self._map, _COMMITS)[0] + 1) & 0xFFFFFFFFFFFFFFFF)

    @property
    def settings(self) -> bytes:
        """Changes after the settings of a bucket have changed, in any process."""
        return self._map[_SETTINGS : _SETTINGS + 8]

    def bump_settings(self) -> None:
        """Tell others that the settings of a bucket have changed; called after the commit that changed them."""
        _U64.pack_into(self._map, _SETTINGS, (_U64.unpack_from(self._map, _SETTINGS)[0] + 1) & 0xFFFFFFFFFFFFFFFF)

    def close(self) -> None:
        """Unmap the page."""
        self._map.close()
