"""Whether a trail is what was written: every hash, link, number, offset and signature, from the first block on.

Invariants: a report without a fault means that all of it was read and held; the fault that is reported is the first in
the order of the trail, however many threads looked; nothing is written. A tail that somebody removed together with the
head page, or an older copy put in the trail's place, can only be seen against a head that was kept elsewhere.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from tickvault.audit.block import HASH_SIZE, HEADER_SIZE, BlockKind, check_body
from tickvault.audit.chain import BrokenBlockError, Fault, Located, Walk
from tickvault.audit.files import file_name, file_numbers
from tickvault.audit.head import Acknowledged, Head, acknowledged_block, read_page
from tickvault.audit.keys import KeyChain, PinnedKey, introduced_by
from tickvault.audit.report import VerifyReport
from tickvault.audit.rfc3161 import parse_token
from tickvault.audit.signing import PublicKey, Verifier, verifier_of
from tickvault.errors import FormatError, NotFoundError
from tickvault.seam.disk import Disk, OsDisk

THREADS_MAX = 32
#: Read and checked by one thread at once.
_BATCH_SIZE = 1 << 20
_BATCH_BLOCKS = 64
_BATCHES_AHEAD = 4

#: Told now and then (bytes checked, bytes in all).
Progress = Callable[[int, int], None]


#: Records of several processes lie a little out of order; this much is a clock that was set.
_BACKWARD_NS = 3600 * 10**9


class _Checked(NamedTuple):
    """A block whose place is right, and whose bytes are to be looked at."""

    block: Located
    verifier: Verifier


def verify(
    folder: str,
    *,
    expected_head: Head | None = None,
    public_keys: Iterable[PublicKey | PinnedKey] | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
    disk: Disk | None = None,
) -> VerifyReport:
    """Check a whole trail.

    Parameters
    ----------
    folder : str
        ``VAULT/audit``. The trail may be written meanwhile.
    expected_head : Head, optional
        Kept elsewhere; its block has to be in the chain.
    public_keys : iterable of PublicKey or PinnedKey, optional
        Kept elsewhere; the first key of the trail has to be one of them, and each whose first block is given as well
        has to be introduced there. Without it the keys come from the trail.
    threads : int, optional
        Defaults to the number of cores, at most 32.

    Raises
    ------
    NotFoundError
        There is no trail, and no head to hold against it.
    """
    disk = disk or OsDisk()
    started = time.monotonic()
    numbers = file_numbers(folder)
    acknowledged = read_page(folder)
    if not numbers and expected_head is None and acknowledged is None:
        raise NotFoundError(f"audit trail in {folder}: there is none")
    keys = KeyChain(public_keys)
    report = VerifyReport(folder, keys_pinned=public_keys is not None, expected_head=expected_head)
    if public_keys is None:
        report.warnings.append("the public keys come from the trail itself; give the ones that you kept elsewhere")
    walk = Walk(disk, folder, acknowledged=acknowledged)
    thread_count = max(1, min(threads or os.cpu_count() or 1, THREADS_MAX))
    with ThreadPoolExecutor(thread_count, "audit-verify") as pool:
        checking = _Checking(disk, folder, pool, thread_count * _BATCHES_AHEAD, report, progress)
        try:
            for block in walk:
                checking.add(block, _signer_of(disk, keys, block))
            checking.finish()
        except BrokenBlockError as error:
            # What stands before it and is still being looked at comes first.
            checking.finish()
            report.fault = report.fault or error.fault
        except _FoundError:
            pass
    if _never_acknowledged(report.fault, acknowledged, walk):
        report.fault, report.unfinished_bytes = None, checking.size_of_last
    report.unfinished_bytes += walk.unfinished_bytes
    if report.unfinished_bytes and report.fault is None:
        report.warnings.append(
            f"{report.unfinished_bytes} bytes behind the last block belong to an append that was never acknowledged"
        )
    if report.blocks_dated_back:
        report.warnings.append(
            f"{report.blocks_dated_back} blocks hold records dated more than an hour before records that precede them: "
            "a clock was set back, or forged; a search by time may miss what was done then"
        )
    report.trail_id = walk.trail_id
    report.files = len(numbers)
    report.keys = keys.seen
    if report.fault is None and acknowledged is not None and report.blocks < acknowledged.block_number:
        what = f"the trail ends here, and had {acknowledged.block_number} blocks: its tail was removed"
        report.fault = _end_fault("shorter", walk, numbers, acknowledged.sequence, what)
    if report.fault is None and report.blocks < keys.last_place:
        what = (
            f"the trail ends here, and the keys you gave name one that block {keys.last_place} introduced: the tail "
            "was removed, or an older copy was put in its place"
        )
        report.fault = _end_fault("shorter", walk, numbers, -1, what)
    if report.fault is None and expected_head is not None:
        report.fault = _head_fault(expected_head, checking, walk, numbers)
    report.seconds = time.monotonic() - started
    return report


def read_head(folder: str, *, disk: Disk | None = None) -> Head | None:
    """Return the head of a trail, None if there is no block. Only the links of the last file are checked.

    Raises
    ------
    BrokenBlockError
        The trail is damaged there.
    """
    disk = disk or OsDisk()
    acknowledged, limit = read_page(folder), acknowledged_block(folder)
    # The last file may have no acknowledged block yet.
    for number in reversed(file_numbers(folder)[-2:]):
        walk = Walk(disk, folder, acknowledged=acknowledged, first_file=number, last_file=number)
        last: Located | None = None
        for block in walk:
            if limit is not None and block.header.number > limit:
                break
            last = block
        if last is not None:
            return last.head
    return None


def _never_acknowledged(fault: Fault | None, acknowledged: Acknowledged | None, walk: Walk) -> bool:
    """Return whether what is broken is the last block of an append that is under way, or ended with its process."""
    return (
        fault is not None
        and acknowledged is not None
        and fault.kind == "changed"
        and fault.block_number > acknowledged.block_number
        and walk.next_block == fault.block_number + 1
    )


def _signer_of(disk: Disk, keys: KeyChain, block: Located) -> Verifier:
    new, fault = introduced_by(disk, block)
    if fault:
        raise BrokenBlockError(block.fault("changed", fault))
    try:
        key = keys.signer_of(block.header.key_id, block.header.number, new)
    except FormatError as error:
        raise BrokenBlockError(block.fault("signature", str(error))) from error
    if key.code != block.header.signature_code:
        what = f"its signature algorithm {block.header.signature_code} is not the one of its key ({key.algorithm})"
        raise BrokenBlockError(block.fault("signature", what))
    return verifier_of(key)


class _FoundError(Exception):
    """A thread found a fault; the walk need not go on."""


class _Checking:
    """Blocks on their way through the threads, and what came back, in order."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        pool: ThreadPoolExecutor,
        ahead: int,
        report: VerifyReport,
        progress: Progress | None,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._pool = pool
        self._ahead = ahead
        self._report = report
        self._progress = progress
        self._total = 0
        if progress is not None:
            self._total = sum(os.stat(f"{folder}/{file_name(number)}").st_size for number in file_numbers(folder))
        self._batch: list[_Checked] = []
        self._batch_size = 0
        self._running: deque[tuple[list[_Checked], Future[Fault | None]]] = deque()
        self.size_of_last = 0
        self.expected: tuple[bytes, bytes, Verifier] | None = None
        """Hash, signature and verifier of the block that the expected head names, once it was walked."""

    def add(self, block: Located, verifier: Verifier) -> None:
        head = self._report.expected_head
        if head is not None and block.header.number == head.block_number:
            self.expected = (block.tail.digest, block.tail.signature, verifier)
        batch = self._batch
        if batch and (
            batch[0].block.file_number != block.file_number
            or self._batch_size + block.size > _BATCH_SIZE
            or len(batch) >= _BATCH_BLOCKS
        ):
            self._start()
        self._batch.append(_Checked(block, verifier))
        self._batch_size += block.size

    def finish(self) -> None:
        if self._batch:
            self._start()
        while self._running:
            self._take()

    def _start(self) -> None:
        batch, self._batch, self._batch_size = self._batch, [], 0
        self._running.append((batch, self._pool.submit(_check_batch, self._disk, self._folder, batch)))
        while len(self._running) > self._ahead:
            self._take()
            if self._report.fault is not None:
                self._running.clear()
                raise _FoundError

    def _take(self) -> None:
        batch, future = self._running.popleft()
        fault = future.result()
        report = self._report
        if report.fault is not None:
            return
        for block, _ in batch:
            self.size_of_last = block.size
            if fault is not None and block.header.number == fault.block_number:
                report.fault = fault
                return
            self._count(block)
        if self._progress is not None:
            self._progress(report.size_bytes, self._total)

    def _count(self, block: Located) -> None:
        report, header = self._report, block.header
        report.blocks += 1
        report.records += header.record_count
        report.size_bytes += block.size
        if header.kind == BlockKind.TIMESTAMP:
            report.timestamps += 1
        else:
            if report.last_time_ns - header.first_time_ns > _BACKWARD_NS and report.records > header.record_count:
                report.blocks_dated_back += 1
            earliest = header.first_time_ns if report.records == header.record_count else report.first_time_ns
            report.first_time_ns = min(earliest, header.first_time_ns)
            report.last_time_ns = max(report.last_time_ns, header.last_time_ns)
        report.head = block.head


def _check_batch(disk: Disk, folder: str, batch: list[_Checked]) -> Fault | None:
    """Return the first fault in blocks that lie one behind the other in one file."""
    first, last = batch[0].block, batch[-1].block
    # Opened here: the walk may have gone on to the next file.
    fd = disk.open(f"{folder}/{file_name(first.file_number)}", writable=False)
    try:
        raw = memoryview(disk.pread(fd, last.end - first.offset, first.offset))
    finally:
        disk.close(fd)
    for block, verifier in batch:
        start = block.offset - first.offset
        end = start + block.header.hash_offset
        if raw[end : end + HASH_SIZE] != block.tail.digest:
            return block.fault("changed", "the block was cut off or changed while it was read")
        what = check_body(block.header, raw[start:end], block.tail.digest)
        if what:
            return block.fault("changed", what)
        if not verifier.verify(block.tail.digest, block.tail.signature):
            return block.fault("signature", "its signature does not match its hash")
        if block.header.kind == BlockKind.TIMESTAMP and not _covers(block, bytes(raw[start + HEADER_SIZE : end])):
            return block.fault("replaced", "its timestamp token covers another hash than that of the block before")
    return None


def _covers(block: Located, token: bytes) -> bool:
    """Return whether a token is over the hash of the block before; one that cannot be read proves nothing."""
    try:
        return parse_token(token).digest == block.header.previous_hash
    except FormatError:
        return True


def _end_fault(kind: str, walk: Walk, numbers: list[int], last_sequence: int, what: str) -> Fault:
    offset = walk.last.end if walk.last is not None else 0
    name = file_name(numbers[-1]) if numbers else ""
    return Fault(kind, name, walk.next_block, offset, walk.next_sequence, last_sequence, what)


def _head_fault(head: Head, checking: _Checking, walk: Walk, numbers: list[int]) -> Fault | None:
    if numbers and head.trail_id != walk.trail_id:
        what = f"the head that was kept elsewhere is of trail {head.trail_id.hex()}, and this is {walk.trail_id.hex()}"
        return Fault("foreign", "", head.block_number, 0, 1, head.sequence, what)
    if checking.expected is None:
        what = (
            f"the trail ends here, and the head that was kept elsewhere names block {head.block_number}: the tail was "
            "removed, or an older copy was put in its place"
        )
        return _end_fault("shorter", walk, numbers, head.sequence, what)
    digest, signature, verifier = checking.expected
    if digest != head.digest:
        what = "it is not the block that the head kept elsewhere names: the trail was replaced from some block on"
        return Fault("replaced", "", head.block_number, 0, head.sequence, head.sequence, what)
    if signature != head.signature and not verifier.verify(digest, head.signature):
        what = "the signature in the head that was kept elsewhere is not of the trail's key"
        return Fault("signature", "", head.block_number, 0, head.sequence, head.sequence, what)
    return None
