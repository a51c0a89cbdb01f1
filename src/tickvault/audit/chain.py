"""Walking the blocks of a trail in order, with the links between them checked, and the bodies left where they are.

Invariants: what is walked has numbers and sequences without a gap, one trail id, and in each block the hash of the one
before; the first block that breaks a rule ends the walk with `BrokenBlockError`, which names it. A tail that was never
acknowledged is no fault: it ends the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tickvault.audit.block import (
    HASH_SIZE,
    HEADER_SIZE,
    TAIL_SIZE_MAX,
    BlockHeader,
    Tail,
    header_fault,
    parse_header,
    parse_tail,
)
from tickvault.audit.files import FILE_HEADER_SIZE, FileHeader, file_name, file_numbers, parse_file_header
from tickvault.audit.head import Acknowledged, Head
from tickvault.errors import IntegrityError
from tickvault.seam.disk import Disk

NO_HASH = bytes(HASH_SIZE)
#: Behind a body: its tail as Ed25519 makes it and the next header, in one read.
_READ_SIZE = HASH_SIZE + 4 + 64 + HEADER_SIZE


class Fault(NamedTuple):
    """The first thing that is wrong with a trail."""

    kind: str
    """``changed``, ``missing``, ``order``, ``foreign``, ``signature``, ``shorter`` or ``replaced``."""
    file_name: str
    block_number: int
    """The block that should have been there."""
    offset: int
    """Of the block in its file, bytes."""
    first_sequence: int
    last_sequence: int
    """-1 where the block does not tell."""
    what: str

    def __str__(self) -> str:
        """Return one sentence."""
        records = f"records {self.first_sequence} to {self.last_sequence}"
        if self.last_sequence < 0:
            records = f"records from {self.first_sequence} on"
        return (
            f"{self.file_name or 'the trail'}, block {self.block_number} at byte {self.offset} ({records}): {self.what}"
        )


class BrokenBlockError(IntegrityError):
    """The trail is broken; `fault` says where and how."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(
            f"audit trail: {fault}; run `tickvault audit verify`. Keep it as evidence; "
            "`tickvault audit restart` puts it aside, whole, and begins the next one"
        )
        self.fault = fault


class Located(NamedTuple):
    """A block, and where it lies."""

    file_number: int
    fd: int
    """Open until the walk goes on to the next file."""
    offset: int
    header: BlockHeader
    tail: Tail

    @property
    def size(self) -> int:
        """Of the whole block, bytes."""
        return self.header.hash_offset + self.tail.size

    @property
    def end(self) -> int:
        """Offset behind the block."""
        return self.offset + self.size

    @property
    def head(self) -> Head:
        """Of the trail when the block was its last."""
        header, tail = self.header, self.tail
        return Head(header.trail_id, header.last_sequence, header.number, tail.digest, tail.signature)

    def fault(self, kind: str, what: str) -> Fault:
        """Return a fault of this block."""
        header = self.header
        return Fault(
            kind, file_name(self.file_number), header.number, self.offset, header.first_sequence,
            header.last_sequence, what,
        )  # fmt: skip


class Walk:
    """One pass over a trail's blocks, in order. One file is open at a time, and none when it ends.

    Parameters
    ----------
    acknowledged : Acknowledged, optional
        What the head page says. Without it a last block that is not whole is a fault.
    first_file : int
        Where to begin; its header is believed for what came before.
    last_file : int, optional
        Where to end.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        acknowledged: Acknowledged | None = None,
        first_file: int = 1,
        last_file: int | None = None,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._acknowledged = acknowledged
        self._first_file = first_file
        self.numbers = [
            number
            for number in file_numbers(folder)
            if number >= first_file and (last_file is None or number <= last_file)
        ]
        self.trail_id = b""
        self.next_block = 1
        self.next_sequence = 1
        self.digest = NO_HASH
        """Of the last block walked."""
        self.last: Located | None = None
        self.unfinished_bytes = 0
        """Behind the last block: what an append that was never acknowledged left."""
        self._fds: list[int] = []

    def __iter__(self) -> Iterator[Located]:
        """Yield the blocks.

        Raises
        ------
        BrokenBlockError
            At the first that breaks a rule.
        """
        try:
            for place, number in enumerate(self.numbers):
                expected = self._first_file + place
                if number != expected:
                    raise self._broken("missing", expected, 0, f"the file is missing, and {file_name(number)} is there")
                self.close()
                fd = self._disk.open(f"{self._folder}/{file_name(number)}", writable=False)
                self._fds.append(fd)
                last_file = place == len(self.numbers) - 1
                self._enter(fd, number, believed=place == 0 and number > 1)
                yield from self._blocks(fd, number, last_file=last_file)
        finally:
            self.close()

    def close(self) -> None:
        """Close the files."""
        while self._fds:
            self._disk.close(self._fds.pop())

    def _broken(self, kind: str, number: int, offset: int, what: str, last_sequence: int = -1) -> BrokenBlockError:
        return BrokenBlockError(
            Fault(kind, file_name(number), self.next_block, offset, self.next_sequence, last_sequence, what)
        )

    def _enter(self, fd: int, number: int, *, believed: bool) -> None:
        try:
            header = parse_file_header(self._disk.pread(fd, FILE_HEADER_SIZE, 0), file_name(number))
        except IntegrityError as error:
            raise self._broken("changed", number, 0, str(error)) from error
        if believed or not self.trail_id:
            self.trail_id = header.trail_id
        if believed:
            self.next_block, self.next_sequence = header.first_block, header.first_sequence
            self.digest = header.previous_hash
        expected = FileHeader(number, self.trail_id, self.next_block, self.next_sequence, self.digest)
        if header == expected:
            return
        if header.trail_id != self.trail_id:
            raise self._broken("foreign", number, 0, f"the file belongs to another trail, {header.trail_id.hex()}")
        if header.first_block > self.next_block:
            what = f"blocks {self.next_block} to {header.first_block - 1} are missing: the file begins with the next"
            raise self._broken("missing", number, 0, what)
        raise self._broken("changed", number, 0, "the file's header does not follow the last block of the file before")

    def _blocks(self, fd: int, number: int, *, last_file: bool) -> Iterator[Located]:
        size = self._disk.size(fd)
        at = FILE_HEADER_SIZE
        raw = self._disk.pread(fd, HEADER_SIZE, at)
        while at < size:
            located = self._locate(fd, number, at, raw, size, last_file=last_file)
            if located is None:
                self.unfinished_bytes = size - at
                return
            block, raw = located
            self.next_block += 1
            self.next_sequence = block.header.last_sequence + 1
            self.digest = block.tail.digest
            self.last = block
            yield block
            at = block.end

    def _locate(
        self, fd: int, number: int, at: int, raw: bytes, size: int, *, last_file: bool
    ) -> tuple[Located, bytes] | None:
        """Return the block at an offset, and the header of the next one; None where the acknowledged part ends."""
        acknowledged = self._acknowledged
        beyond = last_file and acknowledged is not None and self.next_block > acknowledged.block_number
        fault = header_fault(raw)
        if fault:
            if beyond:
                return None
            raise self._broken("changed", number, at, fault)
        header = parse_header(raw)
        behind = self._disk.pread(fd, _READ_SIZE, at + header.hash_offset)
        tail = parse_tail(behind)
        if tail is None:
            tail = parse_tail(self._disk.pread(fd, TAIL_SIZE_MAX, at + header.hash_offset))
        if tail is None:
            if beyond:
                return None
            what = f"the block is cut off, or its signature has no length: it begins {size - at} bytes before the end"
            raise self._broken("changed", number, at, what, header.last_sequence)
        self._check_links(number, at, header, size)
        next_header = behind[tail.size : tail.size + HEADER_SIZE]
        block = Located(number, fd, at, header, tail)
        if len(next_header) < HEADER_SIZE:
            next_header = self._disk.pread(fd, HEADER_SIZE, block.end)
        return block, next_header

    def _check_links(self, number: int, at: int, header: BlockHeader, size: int) -> None:
        last = header.last_sequence
        if header.trail_id != self.trail_id:
            raise self._broken(
                "foreign", number, at, f"the block belongs to another trail, {header.trail_id.hex()}", last
            )
        if header.number != self.next_block:
            raise self._misnumbered(number, at, header, size)
        if header.previous_hash != self.digest:
            what = "the block before it is not the one it was chained to: one of the two was replaced"
            raise self._broken("replaced", number, at, what, last)
        if header.first_sequence != self.next_sequence:
            what = f"its first record must have sequence {self.next_sequence}, had {header.first_sequence}"
            raise self._broken("missing", number, at, what, last)

    def _misnumbered(self, number: int, at: int, header: BlockHeader, size: int) -> BrokenBlockError:
        """Return what a block of another number means: swapped, or missing before it."""
        found = header.number
        while at < size:
            raw = self._disk.pread(self._fds[-1], HEADER_SIZE, at)
            if header_fault(raw):
                break
            later = parse_header(raw)
            if later.number == self.next_block:
                what = f"blocks are out of order: block {found} stands here, and block {self.next_block} at byte {at}"
                return self._broken("order", number, at, what, later.last_sequence)
            tail = parse_tail(self._disk.pread(self._fds[-1], TAIL_SIZE_MAX, at + later.hash_offset))
            if tail is None:
                break
            at += later.hash_offset + tail.size
        if found > self.next_block:
            what = f"blocks {self.next_block} to {found - 1} are missing: block {found} stands here"
            return self._broken("missing", number, at, what, header.first_sequence - 1)
        return self._broken("order", number, at, f"block {found} stands here once more")
