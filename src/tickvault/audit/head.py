"""The head of a trail: its last block, as a line for an operator to keep elsewhere, and as a page beside the trail.

Invariants: the page is written only after its block was synced, so what it names was acknowledged and may never be
found missing or broken; it lives through kill -9 in the page cache, and after a power cut it may be older than the
trail, never newer. A half-written slot of the page is noticed, and the other one counts.
"""

from __future__ import annotations

import re
import zlib
from struct import Struct
from typing import NamedTuple

from tickvault.errors import InvalidInputError
from tickvault.seam.disk import PAGE_SIZE, OsDisk, shared_page
from tickvault.seam.host import Host, LinuxHost

PAGE_NAME = "head"
PREFIX = "tickvault-head"

_SLOT = Struct("<IIQQQ16s32s16s")
_SLOT_SPACING = 128
_LINE = re.compile(
    rf"{PREFIX}:([0-9a-f]{{32}}):([0-9]{{1,19}}):([0-9]{{1,19}}):([0-9a-f]{{64}}):([0-9a-f]{{2,2048}})", re.ASCII
)
_LINE_SIZE_MAX = 2400


class Head(NamedTuple):
    """The last block of a trail, as it was at some time."""

    trail_id: bytes
    sequence: int
    """Of the last record in or before the block."""
    block_number: int
    digest: bytes
    """Hash of the block."""
    signature: bytes

    def __str__(self) -> str:
        """Return the line to keep: ``tickvault-head:TRAIL:SEQUENCE:BLOCK:HASH:SIGNATURE``."""
        return (
            f"{PREFIX}:{self.trail_id.hex()}:{self.sequence}:{self.block_number}:"
            f"{self.digest.hex()}:{self.signature.hex()}"
        )

    @classmethod
    def parse(cls, line: str) -> Head:
        """Return the head that a line tells of.

        Raises
        ------
        InvalidInputError
            It is not such a line.
        """
        found = _LINE.fullmatch(line.strip()) if len(line) <= _LINE_SIZE_MAX else None
        if found is None or len(found[5]) % 2:
            raise InvalidInputError(
                f"head {line[:80]!r}: must be {PREFIX}:TRAIL:SEQUENCE:BLOCK:HASH:SIGNATURE with hexadecimal digits, as "
                "it was printed; look for a line break or a missing end"
            )
        return cls(
            bytes.fromhex(found[1]), int(found[2]), int(found[3]), bytes.fromhex(found[4]), bytes.fromhex(found[5])
        )


class Acknowledged(NamedTuple):
    """What the page tells of the last block that was acknowledged."""

    file_number: int
    block_number: int
    sequence: int
    end: int
    """Offset behind the block in its file."""
    trail_id: bytes
    digest: bytes
    boot_id: bytes
    """Of the boot in which it was told. In the same boot it is exactly the last; after another, it may be older."""


class HeadPage:
    """The page, as the one writer of the trail has it mapped."""

    def __init__(self, folder: str) -> None:
        self._map = shared_page(f"{folder}/{PAGE_NAME}", PAGE_SIZE)

    def publish(self, acknowledged: Acknowledged) -> None:
        """Tell that a block was synced. The slot of the block before stays as it is."""
        raw = _SLOT.pack(0, *acknowledged)[4:]
        at = acknowledged.block_number % 2 * _SLOT_SPACING
        self._map[at : at + _SLOT.size] = zlib.crc32(raw).to_bytes(4, "little") + raw

    def close(self) -> None:
        """Unmap the page."""
        self._map.close()


def read_page(folder: str) -> Acknowledged | None:
    """Return what was last acknowledged, None if there is no page that tells."""
    # Not through a `Disk` that is given: like every page that processes share, it is written past it.
    disk = OsDisk()
    try:
        fd = disk.open(f"{folder}/{PAGE_NAME}", writable=False)
    except FileNotFoundError:
        return None
    try:
        raw = disk.pread(fd, 2 * _SLOT_SPACING, 0)
    finally:
        disk.close(fd)
    found: list[Acknowledged] = []
    for at in (0, _SLOT_SPACING):
        slot = raw[at : at + _SLOT.size]
        if len(slot) == _SLOT.size and any(slot) and int.from_bytes(slot[:4], "little") == zlib.crc32(slot[4:]):
            found.append(Acknowledged(*_SLOT.unpack(slot)[1:]))
    return max(found, key=lambda slot: slot.block_number, default=None)


def acknowledged_block(folder: str, host: Host | None = None) -> int | None:
    """Return the number of the last acknowledged block, None where that cannot be told.

    In the boot in which the page was written it is exact, and a reader that goes no further never sees a record that a
    power cut could take back.
    """
    acknowledged = read_page(folder)
    if acknowledged is None or acknowledged.boot_id != (host or LinuxHost()).boot_id():
        return None
    return acknowledged.block_number
