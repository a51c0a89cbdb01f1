"""The trail's one writer: blocks of records, chained, signed and synced, one after the other.

Invariants: a block is acknowledged (its head returned, the head page written) only after it was synced; one process
writes at a time (`flock`), and it appends only; an append that failed leaves the trail as it was, and one whose outcome
is unknown (a failed sync, an interrupt) ends the writer: whoever opens the trail again finds out. A sync that failed is
never tried again; a last block of this boot that was not acknowledged is written once more, from bytes whose hash
holds, before anything is built upon it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence

from tickvault.audit.block import (
    CURSOR_SIZE,
    FLAG_KEYS,
    TOKEN_SIZE_MAX,
    BlockHeader,
    BlockKind,
    Body,
    finish,
    pack_body,
    seal,
)
from tickvault.audit.chain import Located
from tickvault.audit.codec import encode
from tickvault.audit.files import (
    FILE_HEADER_SIZE,
    FileHeader,
    create_file,
    file_name,
)
from tickvault.audit.head import Acknowledged, Head, HeadPage
from tickvault.audit.keyfile import write_signers
from tickvault.audit.keys import key_record, trail_keys
from tickvault.audit.record import AuditRecord
from tickvault.audit.signing import Signer
from tickvault.audit.tail import Recovery, TrailEnd
from tickvault.errors import BusyError, ClosedError, InvalidInputError, PoisonedError, StorageError
from tickvault.seam.clock import Clock
from tickvault.seam.disk import Disk, FileLock, SyncError
from tickvault.seam.host import Host

LOCK_NAME = "lock"
RINGS_FOLDER = "rings"
_open_writers: weakref.WeakSet[TrailWriter] = weakref.WeakSet()
NO_CURSOR = bytes(CURSOR_SIZE)


class TrailWriter:
    """Appends to the trail in a folder; made by `opening.open_trail`.

    Several threads may use it; a forked child may not.
    """

    def __init__(
        self,
        folder: str,
        signer: Signer,
        disk: Disk,
        clock: Clock,
        host: Host,
        lock: FileLock,
        hash_code: int,
        file_size_max: int,
    ) -> None:
        self.folder = folder
        self.recovery: Recovery | None = None
        """What opening gave up, for a record of it; None if nothing."""
        self._signer = signer
        self._disk = disk
        self._clock = clock
        self._host = host
        self._boot_id = host.boot_id()
        self._lock = lock
        self._hash_code = hash_code
        self._file_size_max = file_size_max
        self._thread_lock = threading.Lock()
        self._pid = os.getpid()
        self._fd = -1
        self._file_number = 0
        self._end = 0
        self._cursor = NO_CURSOR
        self._page: HeadPage | None = None
        self._unknown = ""
        self._head = Head(b"", 0, 0, bytes(32), b"")
        _open_writers.add(self)

    @property
    def trail_id(self) -> bytes:
        """Sixteen random bytes that every block of this trail has."""
        return self._head.trail_id

    @property
    def head(self) -> Head:
        """The last block that was acknowledged."""
        return self._head

    @property
    def cursor(self) -> bytes:
        """The cursor of that block: 64 bytes, zeros if none was ever given."""
        return self._cursor

    @property
    def outcome_unknown(self) -> bool:
        """Whether an append ended so that nobody knows if it was written; only opening the trail again tells."""
        return bool(self._unknown)

    @property
    def hash_code(self) -> int:
        """Number of the hash algorithm (`block.HASHES`) of the blocks it writes."""
        return self._hash_code

    @property
    def signer(self) -> Signer:
        """Who signs."""
        return self._signer

    def append(
        self,
        records: Sequence[AuditRecord | bytes] | Body,
        cursor: bytes | None = None,
        *,
        noting: Callable[[int], None] | None = None,
    ) -> Head:
        """Write one block of records durably and return the new head.

        Parameters
        ----------
        records : sequence of AuditRecord or bytes, or Body
            1 to 4,096; bytes are what `codec.encode` returned, a body is what `block.pack_body` did. They get the
            sequences that follow the head's.
        cursor : bytes, optional
            At most 64 bytes, padded with zeros. Defaults to the cursor of the block before.
        noting : callable, optional
            Told the number of the block before it is written, so that whoever hands records over can note where they
            went.

        Raises
        ------
        DiskFullError, StorageError
            Nothing was written; the trail is as it was.
        SyncError
            Whether it was written is unknown; close this writer and open the trail again.
        PoisonedError
            An earlier append ended that way.
        """
        # Encoded outside the lock: another thread's sync goes on meanwhile.
        body = records if isinstance(records, Body) else pack_body([_encoded(record) for record in records])
        with self._thread_lock:
            return self._append_body(BlockKind.RECORDS, body, cursor, noting=noting)

    def append_timestamp(self, token: bytes, *, expected: Head | None = None) -> Head:
        """Write a block with an RFC 3161 token over the present head's hash, and return the new head.

        Parameters
        ----------
        expected : Head, optional
            What the token covers; another block that came meanwhile is a `BusyError`.
        """
        if not 0 < len(token) <= TOKEN_SIZE_MAX:
            raise InvalidInputError(f"timestamp token: must have 1 to {TOKEN_SIZE_MAX} bytes, had {len(token)}")
        now = self._clock.now_ns()
        with self._thread_lock:
            if expected is not None and expected != self._head:
                raise BusyError(
                    f"timestamp: it covers block {expected.block_number}, and block {self._head.block_number} came "
                    "meanwhile; ask again"
                )
            return self._append_body(BlockKind.TIMESTAMP, Body(token, 0, now, now), None)

    def rotate(self, signer: Signer) -> Head:
        """Let another key sign from the next block on, in a block that the present key signs.

        Does nothing if it is the present key.
        """
        key = signer.public_key
        with self._thread_lock:
            old = self._signer.public_key
            if key == old:
                return self._head
            body = pack_body([encode(key_record(key, self._clock.now_ns(), replaces=old.key_id))])
            head = self._append_body(BlockKind.RECORDS, body, None, FLAG_KEYS)
            self._signer = signer
        self._write_signers()
        return head

    def close(self) -> None:
        """Close the files and let the next process write."""
        with self._thread_lock:
            if self._fd >= 0:
                self._disk.close(self._fd)
                self._fd = -1
            if self._page is not None:
                self._page.close()
                self._page = None
            self._lock.close()

    def __enter__(self) -> TrailWriter:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _append_body(
        self,
        kind: BlockKind,
        body: Body,
        cursor: bytes | None,
        flags: int = 0,
        noting: Callable[[int], None] | None = None,
    ) -> Head:
        self._check_usable()
        if cursor is None:
            cursor = self._cursor
        elif len(cursor) > CURSOR_SIZE:
            raise InvalidInputError(f"cursor: must have at most {CURSOR_SIZE} bytes, had {len(cursor)}")
        if self._end >= self._file_size_max:
            self._begin_file(self._file_number + 1)
        head, key = self._head, self._signer.public_key
        header = BlockHeader(
            kind, self._hash_code, key.code, flags, head.block_number + 1, head.sequence + 1, body.record_count,
            len(body.data), self._clock.now_ns(), body.first_time_ns, body.last_time_ns, head.trail_id, key.key_id,
            head.digest, cursor.ljust(CURSOR_SIZE, b"\0"),
        )  # fmt: skip
        raw, digest = finish(header, body.data)
        signature = self._signer.sign(digest)
        pieces = seal(raw, digest, signature)
        # Set while the outcome is open, so that an interrupt anywhere leaves it set.
        self._unknown = "an append was interrupted"
        if noting is not None:
            noting(header.number)
        self._write(pieces)
        self._end += sum(map(len, pieces))
        self._cursor = header.cursor
        self._head = Head(head.trail_id, header.last_sequence, header.number, digest, signature)
        self._publish()
        self._unknown = ""
        return self._head

    def _write(self, pieces: list[bytes]) -> None:
        try:
            self._disk.write_synced(self._fd, pieces, self._end)
        except SyncError as error:
            self._unknown = f"a sync failed ({error})"
            raise
        except StorageError:
            # What was written of it was never synced, and goes.
            self._disk.truncate(self._fd, self._end)
            self._unknown = ""
            raise

    def _publish(self) -> None:
        assert self._page is not None
        head = self._head
        self._page.publish(
            Acknowledged(
                self._file_number,
                head.block_number,
                head.sequence,
                self._end,
                head.trail_id,
                head.digest,
                self._boot_id,
            )
        )

    def _check_usable(self) -> None:
        if self._fd < 0:
            raise ClosedError(f"audit trail in {self.folder}: was closed; open it again")
        if os.getpid() != self._pid:
            raise ClosedError(f"audit trail in {self.folder}: was opened before this process was forked; open it again")
        if self._unknown:
            raise PoisonedError(
                f"audit trail in {self.folder}: {self._unknown}, and whether the block was written is unknown; close "
                "the writer and open the trail again"
            )

    def _begin_file(self, number: int) -> None:
        head = self._head
        header = FileHeader(number, head.trail_id, head.block_number + 1, head.sequence + 1, head.digest)
        fd = create_file(self._disk, self.folder, header)
        if self._fd >= 0:
            self._disk.close(self._fd)
        self._fd, self._file_number, self._end = fd, number, FILE_HEADER_SIZE

    # -- opening

    def _begin(self) -> None:
        """Begin a trail whose first block introduces its key."""
        host = self._host
        trail_id = host.random_u64().to_bytes(8, "little") + host.random_u64().to_bytes(8, "little")
        self._head = self._head._replace(trail_id=trail_id)
        self._begin_file(1)

    def _is_unsure(self, last: Located, acknowledged: Acknowledged | None) -> bool:
        return (
            acknowledged is not None
            and acknowledged.boot_id == self._boot_id
            and last.header.number > acknowledged.block_number
        )

    def _resume(self, end: TrailEnd, acknowledged: Acknowledged | None) -> None:
        path = f"{self.folder}/{file_name(end.file_number)}"
        self._fd = self._disk.open(path)
        self._file_number, self._end = end.file_number, end.offset
        if end.torn_bytes:
            self._disk.truncate(self._fd, end.offset)
            self._disk.sync(self._fd)
            self.recovery = Recovery(file_name(end.file_number), end.offset, end.torn_bytes)
        last = end.last
        if last is not None and last.file_number == end.file_number and self._is_unsure(last, acknowledged):
            # Whoever wrote it was told of a failed sync, or was killed before the sync: what is read may only be in
            # the page cache. What was acknowledged is never written over, and what an earlier boot left was read from
            # the disk.
            self._disk.write_synced(self._fd, [end.last_raw], last.offset)
        signature = last.tail.signature if last is not None else b""
        self._cursor = last.header.cursor if last is not None else NO_CURSOR
        self._head = Head(end.trail_id, end.next_sequence - 1, end.next_block - 1, end.digest, signature)
        if last is not None:
            self._publish()

    def _introduce(self, *, lost: bool = False) -> None:
        """Write the block in which the present key introduces itself."""
        body = pack_body([encode(key_record(self._signer.public_key, self._clock.now_ns(), lost=lost))])
        self._append_body(BlockKind.RECORDS, body, None, FLAG_KEYS)
        self._write_signers()

    def _write_signers(self) -> None:
        write_signers(self._disk, self.folder, trail_keys(self._disk, self.folder))


def _encoded(record: AuditRecord | bytes) -> bytes:
    return record if isinstance(record, bytes) else encode(record)


def _forget_in_child() -> None:
    """Close what a forked child inherited: it would keep the lock after the process that writes has ended."""
    for writer in list(_open_writers):
        writer._lock.close()


os.register_at_fork(after_in_child=_forget_in_child)
