"""Compaction: live records move to the journal's end, segments that hold nothing live are retired.

It runs beside the traffic and publishes by ordinary commits.  A moved record keeps its sequence; a tombstone moves too
while any older segment exists that might hold what it removed.

Invariants: a segment is retired only when everything live in it was committed elsewhere, durably, and the index's
checkpoint lies behind it; a body segment only when no stream holds its lease; a segment with damage is left alone, as
the evidence and the last copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickvault.engine.bodies import Extent, verified_extent
from tickvault.engine.commit import Operation, Transaction, poisoned
from tickvault.engine.index import KEY_CHECKPOINT, Tail
from tickvault.engine.manifest import SegmentKind
from tickvault.engine.record import HEADER_SIZE, Location, Record, decode_record
from tickvault.engine.replay import Walk, sound_records
from tickvault.errors import BusyError, IntegrityError
from tickvault.seam.disk import FileLock, SyncError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

#: Records moved per commit, in bytes: small enough that other writers hardly notice.
_MOVE_SIZE = 256 * 1024
#: Read and verified at a time; a multiple of the frame.
#: Times that the bodies in a segment are looked for again before it is left for another day.
_MOVES_MAX = 10
_COPY_SIZE = 4 * 1024 * 1024


@dataclass
class CompactionReport:
    """What a compaction did."""

    segments_examined: int = 0
    segments_retired: int = 0
    bytes_freed: int = 0
    """Size of the retired segments less what was moved."""
    records_moved: int = 0
    bytes_moved: int = 0
    segments_in_use: int = 0
    """Body segments left alone because a stream is writing to them."""
    held_from: int | None = None
    """The first journal segment that was left alone because the audit trail has not read it yet."""
    segments_damaged: list[int] = field(default_factory=list)
    """Left alone; run verify."""


def compact(
    engine: Engine,
    *,
    dead_ratio_min: float = 0.3,
    progress: Callable[[int, int, str], None] | None = None,
) -> CompactionReport:
    """Compact every segment of which at least `dead_ratio_min` is known to be dead (0: every segment).

    Raises
    ------
    BusyError
        Another compaction, scrub or backup of this vault is running.
    """
    engine.ready()
    report = CompactionReport()
    with maintenance_lock(engine):
        engine.checkpoint(wait=True)
        with engine.snapshot() as snapshot:
            tail = snapshot.tail
        with engine.index.index.begin() as txn:
            checkpoint = Tail.unpack(txn.get(KEY_CHECKPOINT))
        engine.segments.forget_retired()
        # What the audit trail has not read yet stays.
        bound = min(checkpoint.segment_id, tail.segment_id, *(hold() for hold in engine.holds))
        if bound < min(checkpoint.segment_id, tail.segment_id):
            report.held_from = bound
        journal = [entry for entry in engine.segments.manifest.journal() if entry.segment_id < bound]
        for number, entry in enumerate(journal):
            if progress is not None:
                progress(number, len(journal), "segments")
            with engine.snapshot() as snapshot:
                dead = engine.interpreter.dead_bytes(snapshot, entry.segment_id)
            if dead >= dead_ratio_min * entry.size_bytes:
                _compact_journal(engine, entry.segment_id, entry.size_bytes, report)
        _compact_bodies(engine, dead_ratio_min, report)
        if progress is not None:
            progress(len(journal), len(journal), "segments")
    return report


class maintenance_lock:  # noqa: N801 - used as a context manager, like a function
    """The lock that compaction, scrub and backup share, across processes."""

    def __init__(self, engine: Engine) -> None:
        self._lock = FileLock(os.path.join(engine.path, "maintenance.lock"))
        self._path = engine.path

    def __enter__(self) -> None:
        """Take the lock or raise `BusyError`."""
        if not self._lock.acquire(wait=False):
            self._lock.close()
            raise BusyError(f"a compaction, verification or backup of {self._path} is running; try again later")

    def __exit__(self, *exc: object) -> None:
        """Release the lock."""
        self._lock.close()


def _compact_journal(engine: Engine, segment_id: int, size: int, report: CompactionReport) -> None:
    report.segments_examined += 1
    manifest = engine.segments.manifest
    older = any(entry.segment_id < segment_id for entry in manifest.journal())
    walk = Walk(engine.segments, only=segment_id)
    moving: list[tuple[Record, Location]] = []
    moving_size = moved = 0

    def flush() -> None:
        nonlocal moving, moving_size, moved
        if moving:
            moved += _move(engine, moving, older, report)
        moving, moving_size = [], 0

    for entry, view, batch in walk.batches():
        for offset, record in sound_records(walk, entry, view, batch):
            if not record.intact:
                break
            location = Location(segment_id, offset, record.length)
            with engine.snapshot() as snapshot:
                wanted = engine.interpreter.live(snapshot, record, location)
            if wanted or (older and engine.interpreter.tombstone(record)):
                moving.append((record, location))
                moving_size += record.length
            if moving_size >= _MOVE_SIZE:
                flush()
        if walk.damage:
            break
    if walk.damage:
        report.segments_damaged.append(segment_id)
        return
    flush()
    _retire(engine, segment_id, size - moved, report)


def _retire(engine: Engine, segment_id: int, freed: int, report: CompactionReport) -> None:
    # A relaxed overwrite or delete may have made the old record dead while this ran; it must not be lost with it.
    engine.sync()
    try:
        engine.segments.retire(segment_id)
    except SyncError as error:
        raise poisoned(error) from error
    engine.control.bump_generation()
    report.segments_retired += 1
    report.bytes_freed += freed


def _move(engine: Engine, moving: list[tuple[Record, Location]], older: bool, report: CompactionReport) -> int:
    """Append copies of the records that are still live; return the bytes written."""

    def run(txn: Transaction) -> tuple[int, int]:
        txn.strict = True
        count = length = 0
        for record, location in moving:
            keep = engine.interpreter.live(txn, record, location)
            if keep or (older and engine.interpreter.tombstone(record)):
                txn.append(
                    record.kind,
                    record.bucket_id,
                    record.key,
                    record.meta,
                    record.body,
                    aux=record.aux,
                    time_ns=record.time_ns,
                    relocated_sequence=record.sequence,
                )
                count += 1
                length += record.length
        return count, length

    size = sum(record.length for record, _ in moving) + HEADER_SIZE
    count, length = engine.commit(Operation(run, size, frees=True))
    report.records_moved += count
    report.bytes_moved += length
    return length


def _compact_bodies(engine: Engine, dead_ratio_min: float, report: CompactionReport) -> None:
    """Move or drop body segments; the lease of each candidate is held, so that nothing new can come to refer to it."""
    manifest = engine.segments.manifest
    leases: dict[int, FileLock] = {}
    try:
        for entry in list(manifest.segments.values()):
            if entry.kind is not SegmentKind.BODY:
                continue
            lease = FileLock(engine.segments.path(entry.segment_id, entry.kind))
            if lease.acquire(wait=False):
                leases[entry.segment_id] = lease
            else:
                lease.close()
                report.segments_in_use += 1
        if not leases:
            return
        live: dict[int, int] = dict.fromkeys(leases, 0)
        owners: dict[int, list[tuple[Record, Location]]] = {segment_id: [] for segment_id in leases}
        for record, location in _records_with_extents(engine):
            touched = set()
            for extent in engine.interpreter.extents(record):
                if extent.segment_id in live:
                    live[extent.segment_id] += extent.end - extent.offset
                    touched.add(extent.segment_id)
            for segment_id in touched:
                owners[segment_id].append((record, location))
        for segment_id, used in sorted(live.items()):
            report.segments_examined += 1
            size = os.path.getsize(engine.segments.path(segment_id, SegmentKind.BODY))
            if used and size - used < max(dead_ratio_min, 0.01) * size:
                continue
            moved = 0
            try:
                pending = owners[segment_id]
                for _ in range(_MOVES_MAX):
                    if not pending:
                        break
                    for record, location in pending:
                        moved += _move_body(engine, segment_id, record, location, report)
                    # A body in several of these segments has moved since it was found: what is not live any more at its
                    # old place is looked for again.
                    pending = _owners(engine, segment_id)
            except IntegrityError:
                report.segments_damaged.append(segment_id)
                continue
            if pending:
                report.segments_in_use += 1
                continue
            _retire(engine, segment_id, size - moved, report)
    finally:
        for lease in leases.values():
            lease.close()


def _owners(engine: Engine, segment_id: int) -> list[tuple[Record, Location]]:
    """Return the records that refer to a body segment now."""
    return [
        (record, location)
        for record, location in _records_with_extents(engine)
        if any(extent.segment_id == segment_id for extent in engine.interpreter.extents(record))
    ]


def _records_with_extents(engine: Engine) -> Iterator[tuple[Record, Location]]:
    with engine.snapshot() as snapshot:
        referrers = [found for found in engine.interpreter.referrers(snapshot) if found.has_extents]
    for found in referrers:
        view = engine.segments.view(found.segment_id)
        record = decode_record(view, found.offset, len(view))
        if record is None or not record.intact:
            raise IntegrityError(
                f"segment {found.segment_id} is damaged at byte {found.offset}; "
                "run `tickvault verify` before compacting"
            )
        yield record, Location(found.segment_id, found.offset, record.length)


def _move_body(engine: Engine, segment_id: int, record: Record, location: Location, report: CompactionReport) -> int:
    """Copy a body's extents out of a segment and publish the record with the new ones."""
    renewed: list[Extent] = []
    streams = []
    length = 0
    try:
        for extent in engine.interpreter.extents(record):
            if extent.segment_id != segment_id:
                renewed.append(extent)
                continue
            stream = engine.bodies().stream(extent.length)
            streams.append(stream)
            view = engine.segments.view(segment_id, extent.end)
            for start in range(0, extent.length, _COPY_SIZE):
                stream.write(verified_extent(view, extent, start, min(start + _COPY_SIZE, extent.length)))
            renewed += stream.finish()
            length += extent.length
        meta = engine.interpreter.with_extents(record, renewed)

        def run(txn: Transaction) -> None:
            txn.strict = True
            if engine.interpreter.live(txn, record, location):
                txn.append(
                    record.kind,
                    record.bucket_id,
                    record.key,
                    meta,
                    aux=record.aux,
                    time_ns=record.time_ns,
                    relocated_sequence=record.sequence,
                )

        engine.commit(Operation(run, HEADER_SIZE + len(record.key) + len(meta) + 256, frees=True))
    finally:
        for stream in streams:
            stream.release()
    report.records_moved += 1
    report.bytes_moved += length
    return length
