"""The files of a trail: their names, and the header that each begins with.

Invariants: files are numbered from 1 without a gap; a file has its name only once its header is synced, so a header
that is not whole is damage; each field of a header is told by the blocks too, and has to agree with them.
"""

from __future__ import annotations

import os
import re
import zlib
from struct import Struct
from typing import NamedTuple

from tickvault.errors import IntegrityError
from tickvault.seam.disk import Disk

MAGIC = b"TVAUTRL1"
FILE_VERSION = 1
FILE_SIZE_MAX = 256 * 1024 * 1024
"""A file is followed by the next once it has so many bytes."""

#: magic, version, length of this header, file number, trail id, first block, first sequence, hash of the block before,
#: CRC-32 of all before it, zero.
_HEADER = Struct("<8sHHI16sQQ32sII")
FILE_HEADER_SIZE = _HEADER.size
_NAME = re.compile(r"trail-([0-9]{8})", re.ASCII)
TEMPORARY_SUFFIX = ".new"


class FileHeader(NamedTuple):
    """What the first bytes of a file tell."""

    file_number: int
    trail_id: bytes
    first_block: int
    first_sequence: int
    previous_hash: bytes
    """Of the last block in the file before; zeros in the first file."""


def file_name(number: int) -> str:
    """Return the name of a trail file."""
    return f"trail-{number:08d}"


def file_numbers(folder: str) -> list[int]:
    """Return the numbers of the trail files that are there, ascending; none if there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for found in map(_NAME.fullmatch, names) if found)


def pack_file_header(header: FileHeader) -> bytes:
    """Return a file header as bytes."""
    raw = _HEADER.pack(MAGIC, FILE_VERSION, FILE_HEADER_SIZE, *header, 0, 0)
    return raw[:-8] + zlib.crc32(raw[:-8]).to_bytes(4, "little") + b"\0\0\0\0"


def parse_file_header(raw: bytes, name: str) -> FileHeader:
    """Return what a file header tells.

    Raises
    ------
    IntegrityError
        It is cut off or was changed.
    """
    fault = ""
    if len(raw) < FILE_HEADER_SIZE:
        fault = f"is cut off after {len(raw)} of {FILE_HEADER_SIZE} bytes"
    elif raw[:8] != MAGIC:
        fault = "does not begin a trail file (magic)"
    elif raw[-8:] != zlib.crc32(raw[:-8]).to_bytes(4, "little") + b"\0\0\0\0":
        fault = "was changed (CRC-32)"
    elif raw[8:12] != FILE_VERSION.to_bytes(2, "little") + FILE_HEADER_SIZE.to_bytes(2, "little"):
        fault = f"is of version {int.from_bytes(raw[8:10], 'little')}, which is not known"
    if fault:
        raise IntegrityError(f"{name}: its header {fault}; restore the file from a backup")
    return FileHeader(*_HEADER.unpack(raw)[3:8])


def create_file(disk: Disk, folder: str, header: FileHeader) -> int:
    """Make a trail file, durable with its name, and return its descriptor."""
    path = os.path.join(folder, file_name(header.file_number))
    temporary = path + TEMPORARY_SUFFIX
    disk.unlink(temporary)
    fd = disk.open(temporary, create=True)
    try:
        disk.pwritev(fd, [pack_file_header(header)], 0)
        disk.sync(fd)
        disk.rename(temporary, path)
        disk.sync_directory(folder)
    except BaseException:
        disk.close(fd)
        raise
    return fd


def replace_file(disk: Disk, path: str, data: bytes) -> None:
    """Write a small file whole or not at all."""
    temporary = path + TEMPORARY_SUFFIX
    disk.unlink(temporary)
    fd = disk.open(temporary, create=True)
    try:
        disk.pwritev(fd, [data], 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(temporary, path)
    disk.sync_directory(os.path.dirname(path))
