"""The scrub: segments against index and index against segments, both ways, beside the traffic.

Everything that the segments hold is replayed into a shadow index and compared with the live one; every record and every
frame that the live index refers to is read and checked.

Invariants: nothing is healed while the journal is damaged, because then the index may know more than the segments; a
difference is believed only if it still stands under the commit lock with the shadow brought up to date;
healing writes what the segments say, never what the index said; damaged bytes are reported and left in place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import lmdb

from tickvault.engine.bodies import frame_count, verified_extent
from tickvault.engine.compaction import maintenance_lock
from tickvault.engine.index import META_PREFIX, Index, IndexWriter, MergedScan, Tail, index_error
from tickvault.engine.record import FRAME_SIZE, decode_record
from tickvault.engine.recovery import noted_damage
from tickvault.engine.replay import Damage, Position, Walk, sound_records
from tickvault.errors import IntegrityError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine
    from tickvault.engine.interpreter import Referrer

Progress = Callable[[int, int, str], None]
_RECORDS_PER_COMMIT = 20_000


@dataclass(frozen=True)
class DamagedObject:
    """A live version whose bytes cannot be trusted."""

    bucket_id: int
    key: str
    version_id: str
    segment_id: int
    offset: int
    text: str


@dataclass
class ScrubReport:
    """What a scrub found."""

    records: int = 0
    """Records read in the journal."""
    objects: int = 0
    """Live versions and parts checked."""
    bytes: int = 0
    """Bytes of large bodies checked."""
    damaged_objects: list[DamagedObject] = field(default_factory=list)
    damaged_places: list[Damage] = field(default_factory=list)
    """Damage in the journal, whether or not something live lies there."""
    index_differences: int = 0
    """Index entries that were wrong, missing, or too many."""
    healed: int = 0
    noted_damage: list[str] = field(default_factory=list)
    """What recoveries found damaged and went around: lost, unless a backup has it. Kept in ``damage.txt`` in the
    vault's folder until somebody removes that file."""

    @property
    def sound(self) -> bool:
        """Whether nothing was found that is still wrong."""
        return (
            not self.damaged_objects
            and not self.damaged_places
            and not self.noted_damage
            and self.index_differences == self.healed
        )


class _Shadow:
    """An index built from the segments, in a folder of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.folder = os.path.join(engine.path, "scrub")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.index = Index(self.folder)
        self.index.open(alone=True)
        self.end: Position | None = None
        self.records = 0

    def close(self) -> None:
        self.index.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def catch_up(self, tail: Tail, progress: Progress | None = None, *, finish: bool = True) -> list[Damage]:
        """Apply what the journal holds up to `tail`."""
        engine = self._engine
        walk = Walk(engine.segments, self.end, until=(tail.segment_id, tail.offset))
        total = sum(entry.size_bytes for entry in engine.segments.manifest.journal())
        done = pending = 0
        txn = self.index.recent.begin(write=True)
        void = self.index.index.begin()
        try:
            writer = IndexWriter(txn, void)
            for entry, view, batch in walk.batches():
                for offset, record in sound_records(walk, entry, view, batch):
                    engine.interpreter.apply(
                        writer,
                        record.kind,
                        record.flags,
                        record.sequence,
                        record.bucket_id,
                        record.key,
                        record.meta,
                        record.time_ns,
                        record.aux,
                        len(record.body),
                        record.place(entry.segment_id, offset),
                    )
                    self.records += 1
                    pending += 1
                done += batch.length
                if pending >= _RECORDS_PER_COMMIT:
                    pending = 0
                    txn.commit()
                    txn = self.index.recent.begin(write=True)
                    writer = IndexWriter(txn, void)
                    if progress is not None:
                        progress(min(done, total), total, "bytes of journal")
            if finish:
                engine.interpreter.finish_rebuild(writer)
            txn.commit()
        except BaseException:
            txn.abort()
            raise
        finally:
            void.abort()
        self.end = walk.end
        return walk.damage


def scrub(engine: Engine, *, heal: bool = True, progress: Progress | None = None) -> ScrubReport:
    """Check everything in the vault; with `heal`, mend the index where the segments show that it is wrong.

    Raises
    ------
    BusyError
        A compaction, another scrub or a backup is running.
    """
    engine.ready()
    report = ScrubReport()
    report.noted_damage = noted_damage(engine)
    with maintenance_lock(engine):
        engine.segments.forget_retired()
        shadow = _Shadow(engine)
        try:
            report.damaged_places += shadow.catch_up(engine.tail(), progress)
            report.records = shadow.records
            differing = _differences(engine, shadow)
            if differing:
                _settle(engine, shadow, differing, report, heal=heal)
        except lmdb.Error as error:
            raise index_error(error, "verify") from error
        finally:
            shadow.close()
        _check_objects(engine, report, progress)
    return report


def _differences(engine: Engine, shadow: _Shadow) -> list[bytes]:
    """Return the keys whose live entry is not the shadow's."""
    differing: list[bytes] = []
    volatile = engine.interpreter.volatile
    with engine.snapshot() as live, shadow.index.recent.begin() as txn, shadow.index.index.begin() as void:
        whole = MergedScan(txn, void)(b"", b"\xff")
        expected = (item for item in whole if not item[0].startswith(META_PREFIX))
        found = (item for item in live.scan(b"", b"\xff") if not item[0].startswith(META_PREFIX))
        left, right = next(expected, None), next(found, None)
        while left is not None or right is not None:
            if right is None or (left is not None and left[0] < right[0]):
                assert left is not None
                key = left[0]
                left = next(expected, None)
            elif left is None or right[0] < left[0]:
                key = right[0]
                right = next(found, None)
            else:
                same = left[1] == right[1]
                key = left[0]
                left, right = next(expected, None), next(found, None)
                if same:
                    continue
            if not volatile(key):
                differing.append(key)
    return differing


def _settle(engine: Engine, shadow: _Shadow, differing: list[bytes], report: ScrubReport, *, heal: bool) -> None:
    """Look again under the commit lock, where nothing can change, and mend what is still wrong."""
    txn: Any = engine.take_turn()
    try:
        tail = engine.index.tail_inside(txn)
        shadow.catch_up(tail)
        index = engine.index.index.begin()
        try:
            writer = IndexWriter(txn, index)
            with shadow.index.recent.begin() as other, shadow.index.index.begin() as void:
                expected = IndexWriter(other, void)
                for key in differing:
                    right = expected.get(key)
                    if writer.get(key) == right:
                        continue
                    report.index_differences += 1
                    if not heal or report.damaged_places:
                        # Where the journal is damaged the index may know what the segments can no longer tell.
                        continue
                    if right is None:
                        writer.delete(key)
                    else:
                        writer.put(key, right)
                    report.healed += 1
        finally:
            index.abort()
        txn.commit()
    except BaseException:
        txn.abort()
        raise


def _check_objects(engine: Engine, report: ScrubReport, progress: Progress | None) -> None:
    """Read every record and frame that the index refers to."""
    with engine.snapshot() as snapshot:
        referrers = list(engine.interpreter.referrers(snapshot))
    for number, found in enumerate(referrers):
        if progress is not None and number % 256 == 0:
            progress(number, len(referrers), "objects")
        try:
            report.bytes += check_object(engine, found)
        except IntegrityError as error:
            # Bytes do not change once they are committed, so an object overwritten since the list was made was
            # damaged all the same.
            report.damaged_objects.append(
                DamagedObject(
                    found.bucket_id,
                    found.key.decode(errors="replace"),
                    found.version_id,
                    found.segment_id,
                    found.offset,
                    str(error),
                )
            )
        report.objects += 1
    if progress is not None:
        progress(len(referrers), len(referrers), "objects")


def check_object(engine: Engine, found: Referrer) -> int:
    """Read a version's record and every frame it refers to; return the bytes of large bodies checked.

    Raises
    ------
    IntegrityError
        Something does not match its checksum.
    """
    view = engine.segments.view(found.segment_id)
    record = decode_record(view, found.offset, len(view))
    if (
        record is None
        or not record.intact
        or record.sequence != found.sequence
        or (found.key and record.key != found.key)
    ):
        raise IntegrityError("its record does not match its checksum")
    checked = 0
    for extent in engine.interpreter.extents(record):
        body = engine.segments.view(extent.segment_id, extent.end)
        for first in range(0, frame_count(extent.length), 64):
            start = first * FRAME_SIZE
            checked += len(verified_extent(body, extent, start, min(start + 64 * FRAME_SIZE, extent.length)))
    return checked
