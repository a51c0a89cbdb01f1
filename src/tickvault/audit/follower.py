"""The follower: reads what was committed from the journal, and what requests left in the rings, into the trail.

The record of a change is the change itself, with whoever made it beside it in the batch; so it is as durable as the
change, and costs it no second sync.  The follower comes later, in whichever process holds the trail's lock, and chains
it.  Each block of the trail says up to which batch of the journal it tells (its cursor), so that a follower that was
killed goes on where the last block ends.

Invariants: every committed record is in the trail exactly once, in the order of the journal; nothing is chained that
a power cut could still take back; a journal segment that was not read to its end is held back from compaction; where
the journal cannot be followed, the trail says so.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from crc32c import crc32c

from tickvault.audit.actor import SYSTEM, UNKNOWN, Actor
from tickvault.audit.block import RECORDS_MAX
from tickvault.audit.codec import encode
from tickvault.audit.described import Describe, Described
from tickvault.audit.drain import Drain
from tickvault.audit.files import file_numbers
from tickvault.audit.keyfile import KEY_FILE, load_signer, next_signer, promote_next_signer
from tickvault.audit.opening import open_trail
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.trail import NO_CURSOR, TrailWriter
from tickvault.engine.attribution import KIND_ATTRIBUTION, decode_attributions
from tickvault.engine.record import FLAG_RELOCATED, Batch, Record, batch_records
from tickvault.engine.replay import Position, Walk
from tickvault.engine.segments import SEGMENT_HEADER_SIZE
from tickvault.errors import BusyError, InvalidInputError, TickVaultError
from tickvault.seam.disk import SyncError, plain_file, shared_page, storage_error

if TYPE_CHECKING:
    from tickvault.audit.ring import Ring
    from tickvault.audit.signing import Signer
    from tickvault.engine.engine import Engine

#: The journal's place in a block's cursor: format, segment, offset, batch id, last sequence.
Result = TypeVar("Result")
_CURSOR = struct.Struct("<8sQQQQ")
_CURSOR_MAGIC = b"journal1"
POSITION_FILE = "position"
#: Whoever needs the trail's lock puts this file there, and the process that has the lock lets it go.
WANTED_FILE = "wanted"
TAKE_S = 10.0
#: Records chained in one step unless told otherwise: a block, and one sync.
SLICE_RECORDS = 4096
PAUSE_RECORDS = 64
#: Bytes of the journal read before their pages are taken out of the process's memory.
UNMAP_BYTES = 4 << 20


class Progress(NamedTuple):
    """How far the trail is."""

    chained: int
    """Records written in this step."""
    behind: bool
    """There is more to do at once."""


class Follower:
    """The follower of one vault, in one process.

    Parameters
    ----------
    describe : callable
        What a record means; the layer above knows.
    bucket_names : callable
        Names of the buckets by id, as of now.
    """

    def __init__(
        self,
        engine: Engine,
        folder: str,
        describe: Describe,
        bucket_names: Callable[[], dict[int, str]],
        *,
        hash_algorithm: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._describe = describe
        self._bucket_names = bucket_names
        self._hash_algorithm = hash_algorithm
        self._lock = threading.Lock()
        self._writer: TrailWriter | None = None
        self._drain: Drain | None = None
        self._names: dict[int, str] = {}
        self._synced_once = False
        self._position: Position | None = None
        self._mapped_from: Position | None = None
        self._page: PositionPage | None = None
        self._closed = False
        self.ring: Ring | None = None
        """This process's ring, which is drained with the others."""

    def step(self, *, records_max: int = SLICE_RECORDS, pause: Callable[[], None] | None = None) -> Progress | None:
        """Chain what there is, at most about `records_max` records; return None if another process is at it.

        Parameters
        ----------
        pause : callable, optional
            Called every `PAUSE_RECORDS` records: in the background, so that others get the interpreter meanwhile.
        """
        with self._lock:
            if self._wanted_elsewhere():
                self._close()
                return None
            writer = None if self._closed else self._open()
            if writer is None:
                return None
            try:
                return self._step(writer, records_max, pause)
            except (SyncError, TickVaultError):
                # Whatever it was, the trail is opened anew, which finds out what is in it.
                self._close()
                raise

    def with_writer(self, work: Callable[[TrailWriter], Result]) -> Result:
        """Do something with the trail's writer, asking the process that has it to let it go.

        Raises
        ------
        BusyError
            It does not, within `TAKE_S`.
        """
        wanted = os.path.join(self._folder, WANTED_FILE)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        deadline = time.monotonic() + TAKE_S
        try:
            while True:
                with open(wanted, "w", encoding="ascii", opener=plain_file) as file:
                    file.write(str(os.getpid()))
                with self._lock:
                    writer = self._open()
                    if writer is not None:
                        return work(writer)
                if time.monotonic() > deadline:
                    raise BusyError(
                        f"another process writes the audit trail in {self._folder} and does not let it go; look for a "
                        "stopped or hanging process"
                    )
                time.sleep(0.05)
        finally:
            try:
                os.unlink(wanted)
            except FileNotFoundError:
                pass

    def _wanted_elsewhere(self) -> bool:
        """Return whether another process asks for the trail; one that died while it asked is forgotten."""
        wanted = os.path.join(self._folder, WANTED_FILE)
        try:
            age_s = time.time() - os.stat(wanted).st_mtime
            with open(wanted, encoding="ascii", opener=plain_file) as file:
                return abs(age_s) < TAKE_S and file.read() != str(os.getpid())
        except (FileNotFoundError, UnicodeDecodeError):
            return False

    def close(self, *, for_good: bool = True) -> None:
        """Let the next process follow."""
        with self._lock:
            self._close()
            self._closed = for_good

    def after_fork(self) -> None:
        """In a forked child: the parent's trail is not ours."""
        self._lock = threading.Lock()
        self._writer = None
        self._drain = None
        self._position = None
        self._mapped_from = None
        self._page = None
        self.ring = None

    # -- opening

    def _open(self) -> TrailWriter | None:
        if self._writer is not None:
            return self._writer
        engine = self._engine
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        # A vault restored from a backup has its trail and not its key: it goes on under a new one, and says so.
        key_lost = bool(file_numbers(self._folder)) and not os.path.exists(os.path.join(self._folder, KEY_FILE))
        try:
            writer = self._open_trail(load_signer(self._folder), key_lost=key_lost)
        except BusyError:
            return None
        self._writer = writer
        try:
            self._drain = Drain(writer, engine.host.boot_id(), own=self.ring, clock=engine.clock)
            self._names = self._bucket_names()
            if writer.recovery is not None:
                torn = writer.recovery
                detail = {"file": str(torn[0]), "offset": str(torn[1]), "torn_bytes": str(torn[2])}
                self._system("TrailRecovered", detail)
            if self._page is None:
                self._page = PositionPage(self._folder)
            self._moved(self._resume(writer))
        except BaseException:
            # A trail that is open in part would be gone on with from nowhere at the next call.
            self._close()
            raise
        return writer

    def _open_trail(self, signer: Signer, *, key_lost: bool) -> TrailWriter:
        engine = self._engine

        def opened(signer: Signer) -> TrailWriter:
            return open_trail(
                self._folder,
                signer,
                disk=engine.disk,
                clock=engine.clock,
                host=engine.host,
                hash_algorithm=self._hash_algorithm(),
                key_lost=key_lost,
            )

        try:
            return opened(signer)
        except InvalidInputError:
            following = next_signer(self._folder)
            if following is None:
                raise
            # A process died after the trail had named its next key, and before that took the place of the one before.
            writer = opened(following)
            promote_next_signer(self._folder, engine.disk)
            return writer

    def _moved(self, position: Position) -> None:
        """Note how far the trail tells; what it tells of is on the disk by now."""
        self._position = position
        assert self._page is not None
        self._page.publish(position)

    def _close(self) -> None:
        if self._drain is not None:
            self._drain.close()
            self._drain = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._page is not None:
            self._page.close()
            self._page = None
        self._position = self._mapped_from = None

    def _resume(self, writer: TrailWriter) -> Position:
        """Return the place in the journal where the trail goes on."""
        journal = self._engine.segments.manifest.journal()
        first = journal[0]
        start = Position(first.segment_id, SEGMENT_HEADER_SIZE, first.previous_batch_id, first.base_sequence)
        found = position_of(writer.cursor)
        if found is None:
            detail = {"vault_id": self._engine.vault_id.hex(), "after_sequence": str(start.sequence)}
            self._system("TrailBegun", detail, start)
            return start
        if any(entry.segment_id == found.segment_id for entry in journal):
            return found
        if found.segment_id < start.segment_id:
            # Retired unread: by a release that did not know the trail, or by hand.
            detail = {"after_sequence": str(found.sequence), "until_sequence": str(start.sequence)}
            self._system("TrailGap", detail, start)
            return start
        tail = self._engine.tail()
        here = Position(tail.segment_id, tail.offset, tail.batch_id, tail.sequence)
        detail = {"expected_after_sequence": str(found.sequence), "vault_sequence": str(tail.sequence)}
        self._system("JournalBehindTrail", detail, here)
        return here

    def _system(self, action: str, detail: dict[str, str], position: Position | None = None) -> None:
        assert self._writer is not None
        cursor = None if position is None else cursor_of(position)
        self._writer.append([self.system_record(action, detail)], cursor)

    def system_record(self, action: str, detail: dict[str, str]) -> AuditRecord:
        """Return a record of the store's own doing."""
        clock = self._engine.clock
        return AuditRecord(
            0, clock.now_ns(), clock.error_ns(), Category.SYSTEM, action, "ok", 0, SYSTEM.door, SYSTEM.identity,
            f"pid {os.getpid()}", "", "", "", "", 0, 0, detail,
        )  # fmt: skip

    # -- following

    def _step(self, writer: TrailWriter, records_max: int, pause: Callable[[], None] | None) -> Progress:
        chained = self._follow(writer, records_max, pause)
        assert self._drain is not None
        drained = self._drain.drain(blocks_max=max(1, records_max // RECORDS_MAX))
        behind = chained >= records_max or drained.blocks >= max(1, records_max // RECORDS_MAX)
        return Progress(chained + drained.records, behind)

    def _until(self) -> tuple[int, int]:
        """Return the place up to which the journal was committed and is on the disk."""
        engine = self._engine
        if not self._synced_once:
            # What a process before this one left: read by replay, but perhaps only from the page cache.
            engine.sync()
            self._synced_once = True
        tail = engine.tail()
        return min((tail.segment_id, tail.offset), engine.control.synced()[:2])

    def _follow(self, writer: TrailWriter, records_max: int, pause: Callable[[], None] | None) -> int:
        position = self._position
        assert position is not None
        began = position
        until = self._until()
        if position[:2] >= until:
            return 0
        engine = self._engine
        error_ns = engine.clock.error_ns()
        walk = Walk(engine.segments, position, until=until)
        payloads: list[bytes] = []
        chained = since_pause = 0
        for entry, view, batch in walk.batches():
            found = self._payloads(view, batch, error_ns)
            if payloads and len(payloads) + len(found) > RECORDS_MAX:
                writer.append(payloads, cursor_of(position))
                self._moved(position)
                chained += len(payloads)
                payloads = []
            while len(found) > RECORDS_MAX:
                # One commit of more records than a block takes: the cursor moves with the last of them.
                writer.append(found[:RECORDS_MAX], cursor_of(position))
                chained += RECORDS_MAX
                found = found[RECORDS_MAX:]
            payloads += found
            since_pause += len(found)
            if pause is not None and since_pause >= PAUSE_RECORDS:
                since_pause = 0
                pause()
            position = Position(entry.segment_id, batch.offset + batch.length, batch.batch_id, batch.last_sequence)
            if chained + len(payloads) >= records_max:
                break
        for damage in walk.damage:
            detail = {"segment": str(damage.segment_id), "offset": str(damage.offset), "what": damage.text}
            payloads.append(encode(self.system_record("JournalDamaged", detail)))
        if payloads:
            writer.append(payloads[-RECORDS_MAX:], cursor_of(position))
            chained += len(payloads)
        # Moved records and the like make none: the place is kept in the page, and found again from the last block.
        self._moved(position)
        self._unmap(self._mapped_from or began, position)
        return chained

    def _unmap(self, start: Position, position: Position) -> None:
        """Let go of what was read of the journal: bodies too, which would count as this process's memory for ever."""
        self._mapped_from = start
        if position.segment_id == start.segment_id and position.offset - start.offset < UNMAP_BYTES:
            return
        segments = self._engine.segments
        for entry in segments.manifest.journal():
            number = entry.segment_id
            if start.segment_id <= number <= position.segment_id:
                begin = start.offset if number == start.segment_id else 0
                end = position.offset if number == position.segment_id else entry.size_bytes
                segments.unmap_pages(number, begin, end)
        self._mapped_from = position

    def _payloads(self, view: memoryview, batch: Batch, error_ns: int) -> list[bytes]:
        """Return the encoded audit records of one batch."""
        records: list[Record] = []
        actors: list[tuple[int, int, Actor]] = []
        for _, record in batch_records(view, batch):
            if record is None:
                break
            if record.kind == KIND_ATTRIBUTION:
                if record.intact:
                    actors = [(first, last, Actor.of(who)) for first, last, who in decode_attributions(record.meta)]
            elif not record.flags & FLAG_RELOCATED:
                records.append(record)
        payloads = []
        before: Record | None = None
        at = 0
        for record in records:
            while at < len(actors) and record.sequence > actors[at][1]:
                at += 1
            actor = actors[at][2] if at < len(actors) and actors[at][0] <= record.sequence else UNKNOWN
            payload = self._payload(record, before, actor, error_ns)
            if payload is not None:
                payloads.append(payload)
            before = record
        return payloads

    def _payload(self, record: Record, before: Record | None, actor: Actor, error_ns: int) -> bytes | None:
        if not record.intact:
            found: Described | None = Described(
                "DamagedRecord", record.bucket_id, record.key.decode(errors="replace"), system=True
            )
        else:
            found = self._describe(record, before)
        if found is None:
            return None
        if found.bucket:
            self._names[found.bucket_id] = found.bucket
        bucket = found.bucket or (self._name(found.bucket_id) if found.bucket_id else "")
        if found.system:
            actor = SYSTEM
        return encode(
            AuditRecord(
                0, record.time_ns, error_ns, Category.SYSTEM if found.system else Category.CHANGE,
                actor.action or found.action, "ok", 0, actor.door, actor.identity, actor.source, actor.request_id,
                bucket, found.key, found.version_id, found.size_bytes, record.sequence, found.detail,
            )
        )  # fmt: skip

    def _name(self, bucket_id: int) -> str:
        name = self._names.get(bucket_id)
        if name is None:
            self._names.update(self._bucket_names())
            if bucket_id not in self._names:
                self._name_removed()
            name = self._names.setdefault(bucket_id, f"#{bucket_id}")
        return name

    def _name_removed(self) -> None:
        """Take the names of buckets from what lies ahead in the journal: one that is gone by now was removed there."""
        tail = self._engine.tail()
        walk = Walk(self._engine.segments, self._position, until=(tail.segment_id, tail.offset))
        for _, view, batch in walk.batches():
            for _, record in batch_records(view, batch):
                if record is None or not record.intact or record.kind == KIND_ATTRIBUTION:
                    continue
                if record.bucket_id not in self._names and (found := self._describe(record, None)) and found.bucket:
                    self._names[record.bucket_id] = found.bucket


class PositionPage:
    """A mapped page that tells every process how far the trail tells of the journal.

    It is written after the block was synced, so it is never ahead of the trail; where it is lost or older, compaction
    only leaves more alone.
    """

    def __init__(self, folder: str) -> None:
        self._map = shared_page(os.path.join(folder, POSITION_FILE), 4096)

    def publish(self, position: Position) -> None:
        """Tell it."""
        raw = _CURSOR.pack(_CURSOR_MAGIC, *position)
        self._map[: len(raw) + 4] = raw + crc32c(raw).to_bytes(4, "little")

    def close(self) -> None:
        """Unmap the page."""
        self._map.close()


def read_position(folder: str) -> Position | None:
    """Return how far the trail tells of the journal; None where nothing tells."""
    try:
        with open(os.path.join(folder, POSITION_FILE), "rb", opener=plain_file) as file:
            raw = file.read(_CURSOR.size + 4)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "read", os.path.join(folder, POSITION_FILE)) from error
    if len(raw) < _CURSOR.size + 4 or crc32c(raw[: _CURSOR.size]) != int.from_bytes(raw[_CURSOR.size :], "little"):
        return None
    return position_of(raw[: _CURSOR.size])


def cursor_of(position: Position) -> bytes:
    """Return the cursor of a block that tells up to here."""
    return _CURSOR.pack(_CURSOR_MAGIC, *position)


def position_of(cursor: bytes) -> Position | None:
    """Return the place in a cursor, None if it has none."""
    if cursor == NO_CURSOR:
        return None
    magic, *place = _CURSOR.unpack_from(cursor)
    return Position(*place) if magic == _CURSOR_MAGIC else None
