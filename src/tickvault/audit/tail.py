"""Where a trail ends, for the writer that opens it: what a crash left is told apart from damage.

Invariants: only bytes behind the last block that can have been acknowledged are ever given up; whatever the head page
vouches for, and whatever a later block was chained to, is there whole or the trail is refused. Nothing is repaired.
"""

from __future__ import annotations

from typing import NamedTuple

from tickvault.audit.block import (
    FLAG_KEYS,
    HEADER_SIZE,
    MAGIC,
    BlockHeader,
    check_body,
    header_fault,
    parse_header,
    parse_tail,
    payloads_of,
)
from tickvault.audit.chain import BrokenBlockError, Fault, Located, Walk
from tickvault.audit.files import FILE_HEADER_SIZE, file_name, file_numbers
from tickvault.audit.head import Acknowledged
from tickvault.audit.keys import introduced
from tickvault.audit.signing import PublicKey, verifier_of
from tickvault.errors import FormatError
from tickvault.seam.disk import Disk


class Recovery(NamedTuple):
    """What opening a trail gave up: the rest of an append that was never acknowledged."""

    file_name: str
    offset: int
    size_bytes: int


class TrailEnd(NamedTuple):
    """Where a trail ends."""

    file_number: int
    offset: int
    trail_id: bytes
    next_block: int
    next_sequence: int
    digest: bytes
    last: Located | None
    """The last block, which may lie in the file before; None if there is none yet."""
    last_raw: bytes
    """That block, whole."""
    torn_bytes: int
    """Behind the end: to be cut off."""


def find_end(disk: Disk, folder: str, acknowledged: Acknowledged | None, trusted: PublicKey) -> TrailEnd | None:
    """Return where the trail ends, None if there is none yet.

    Reads the headers of the last file and the last block; `verify` reads everything.

    Parameters
    ----------
    trusted : PublicKey
        Of the present signer: tells a block that was chained from bytes that only look like one.

    Raises
    ------
    BrokenBlockError
        Something is wrong that is not the torn end of an append.
    """
    numbers = file_numbers(folder)
    if not numbers:
        if acknowledged is not None:
            what = f"its files are missing, and it had {acknowledged.block_number} blocks"
            raise BrokenBlockError(Fault("missing", file_name(1), 1, 0, 1, acknowledged.sequence, what))
        return None
    missing = sorted(set(range(1, numbers[-1] + 1)) - set(numbers))
    if missing:
        what = f"the file is missing, and {file_name(numbers[-1])} is there"
        raise BrokenBlockError(Fault("missing", file_name(missing[0]), 0, 0, 0, -1, what))
    return _walk_last(disk, folder, numbers[-1], acknowledged, trusted)


def _walk_last(disk: Disk, folder: str, number: int, acknowledged: Acknowledged | None, trusted: PublicKey) -> TrailEnd:
    walk = Walk(disk, folder, first_file=number)
    at = FILE_HEADER_SIZE
    broken: BrokenBlockError | None = None
    fd = disk.open(f"{folder}/{file_name(number)}", writable=False)
    try:
        size = disk.size(fd)
        try:
            for block in walk:
                if acknowledged is not None and block.header.number == acknowledged.block_number:
                    _check_acknowledged(block, acknowledged)
                at = block.end
        except BrokenBlockError as error:
            if error.fault.kind != "changed" or error.fault.offset < FILE_HEADER_SIZE:
                raise
            broken = error
        last, raw = walk.last, b""
        next_block, next_sequence, digest = walk.next_block, walk.next_sequence, walk.digest
        if last is not None:
            raw = disk.pread(fd, last.size, last.offset)
            body = memoryview(raw)[: last.header.hash_offset]
            fault = check_body(last.header, body, last.tail.digest) or _signature_fault(last, trusted)
            if fault:
                broken, at = BrokenBlockError(last.fault("changed", fault)), last.offset
                next_block, next_sequence = last.header.number, last.header.first_sequence
                digest, last, raw = last.header.previous_hash, None, b""
                if at > FILE_HEADER_SIZE:
                    last, raw = _block_before(disk, fd, number, at)
        if broken is not None:
            if acknowledged is not None and next_block <= acknowledged.block_number:
                raise broken
            _refuse_if_followed(disk, fd, at, size, next_block, trusted, walk.trail_id, broken)
        if acknowledged is not None and next_block <= acknowledged.block_number:
            what = f"the trail ends here, and had {acknowledged.block_number} blocks: its tail was removed"
            raise BrokenBlockError(
                Fault("shorter", file_name(number), next_block, at, next_sequence, acknowledged.sequence, what)
            )
    finally:
        disk.close(fd)
    if last is None and number > 1:
        last, raw = _last_of(disk, folder, number - 1)
    return TrailEnd(number, at, walk.trail_id, next_block, next_sequence, digest, last, raw, size - at)


def _check_acknowledged(block: Located, acknowledged: Acknowledged) -> None:
    if block.tail.digest != acknowledged.digest or block.header.trail_id != acknowledged.trail_id:
        what = "it is not the block that was acknowledged here: another trail or an older copy stands in its place"
        raise BrokenBlockError(block.fault("replaced", what))


def _signature_fault(block: Located, trusted: PublicKey) -> str:
    """Return what is wrong with the last block's signature, as far as the present key can tell."""
    if block.header.key_id != trusted.key_id:
        return ""
    fits = verifier_of(trusted).verify(block.tail.digest, block.tail.signature)
    return "" if fits else "its signature does not match its hash"


def _last_of(disk: Disk, folder: str, number: int) -> tuple[Located | None, bytes]:
    """Return the last block of a file that another follows."""
    walk = Walk(disk, folder, first_file=number, last_file=number)
    for _ in walk:
        pass
    last = walk.last
    if last is None:
        return None, b""
    fd = disk.open(f"{folder}/{file_name(number)}", writable=False)
    try:
        return last, disk.pread(fd, last.size, last.offset)
    finally:
        disk.close(fd)


def _block_before(disk: Disk, fd: int, number: int, end: int) -> tuple[Located | None, bytes]:
    """Return the block that ends at an offset, which was walked before."""
    at = FILE_HEADER_SIZE
    while True:
        header = parse_header(disk.pread(fd, HEADER_SIZE, at))
        tail = parse_tail(disk.pread(fd, 2048, at + header.hash_offset))
        if tail is None:  # pragma: no cover -- it was walked a moment ago
            return None, b""
        block = Located(number, fd, at, header, tail)
        if block.end >= end:
            return block, disk.pread(fd, block.size, at)
        at = block.end


def _refuse_if_followed(
    disk: Disk,
    fd: int,
    at: int,
    size: int,
    number: int,
    trusted: PublicKey,
    trail_id: bytes,
    broken: BrokenBlockError,
) -> None:
    """Raise if a block that was chained after the broken one is found: then it was acknowledged, and is damaged.

    The search is over one torn append at most; what lies in it may look like a block (a key of an object can hold any
    bytes), so only a block whose signature holds counts.
    """
    raw = disk.pread(fd, size - at, at)
    place = raw.find(MAGIC, 1)
    while place >= 0:
        piece = raw[place : place + HEADER_SIZE]
        if not header_fault(piece):
            header = parse_header(piece)
            if header.number > number and header.trail_id == trail_id and _holds(header, raw[place:], trusted):
                raise broken
        place = raw.find(MAGIC, place + 1)


def _holds(header: BlockHeader, raw: bytes, trusted: PublicKey) -> bool:
    tail = parse_tail(raw[header.hash_offset :])
    if tail is None or check_body(header, raw[: header.hash_offset], tail.digest):
        return False
    return header.key_id != trusted.key_id or verifier_of(trusted).verify(tail.digest, tail.signature)


def current_key_id(end: TrailEnd) -> bytes | None:
    """Return the id of the key that has to sign the next block; None where there is no block yet."""
    if end.last is None:
        return None
    header = end.last.header
    if header.flags & FLAG_KEYS:
        try:
            new = introduced(payloads_of(header, end.last_raw[HEADER_SIZE : header.hash_offset]))
        except FormatError as error:
            raise BrokenBlockError(end.last.fault("changed", str(error))) from error
        if new is not None:
            return new.key_id
    return header.key_id
