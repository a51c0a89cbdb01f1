"""The scrub: segments against index and index against segments, both ways, beside the traffic.

Everything that the segments hold is replayed into a shadow index and compared with the live one; every record and every
frame that the live index refers to is read and checked.

Invariants: where the journal is damaged the index may know more than the segments, so an entry that matches its own
checksum stays unless a sound record is newer, and what is missing is put back only if its record lies behind all
damage; a difference is believed only if it still stands under the commit lock with the shadow brought up to date;
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
from tickvault.engine.recovery import forget_mended, noted_damage
from tickvault.engine.replay import Damage, Position, Walk, apply_record, sound_records
from tickvault.engine.segments import SegmentGoneError
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
    """Index entries that were wrong, missing, or too many. While the journal is damaged, those that do not match their
    own checksum, and those that a sound record shows to be wrong."""
    healed: int = 0
    noted_damage: list[str] = field(default_factory=list)
    """What recoveries found damaged and went around: lost, unless a backup has it. Kept in ``damage.txt`` in the
    vault's folder until somebody removes that file."""
    damaged_journals: list[str] = field(default_factory=list)
    """Damage in files of live rows, which lie beside the segments."""
    journal_rows: int = 0
    """Live rows checked."""

    @property
    def sound(self) -> bool:
        """Whether nothing was found that is still wrong."""
        return (
            not self.damaged_objects
            and not self.damaged_places
            and not self.noted_damage
            and not self.damaged_journals
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
        self.damaged = False

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
                    apply_record(engine.interpreter, writer, entry.segment_id, offset, record)
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
            self.damaged = self.damaged or bool(walk.damage)
            if finish:
                engine.interpreter.finish_rebuild(writer)
                if self.damaged:
                    engine.interpreter.drop_strays(writer)
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
        if heal:
            report.noted_damage = forget_mended(engine, report.damaged_places)
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
                    right, found = expected.get(key), writer.get(key)
                    if found == right:
                        continue
                    provable = True
                    if report.damaged_places:
                        verdict = _verdict(engine, key, right, found, report.damaged_places)
                        if verdict is None:
                            continue
                        provable = verdict
                    report.index_differences += 1
                    if not heal or not provable:
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


def _verdict(engine: Engine, key: bytes, right: bytes | None, found: bytes | None, damage: list[Damage]) -> bool | None:
    """Judge an entry that differs from what a damaged journal gives.

    Returns
    -------
    bool or None
        None where nothing shows that the entry is wrong; else whether what the journal gives is provably right.
    """
    place_of = engine.interpreter.place_of
    place = None if right is None else place_of(key, right)
    if right is not None and place is None:
        # Without a checksum of its own (the null version's number, the next bucket's id): made with other entries.
        return None if found is not None else True
    sound = place is not None and _sound_at(engine, place[1], place[2], damage)
    if found is None:
        # Deleted by a record that is damaged, or lost from the index? Behind all damage there is no such record.
        return True if sound and place is not None and place[1:] > max(one[:2] for one in damage) else None
    try:
        live = place_of(key, found)
    except IntegrityError:
        # Whatever it was, it is of no use; what the journal has instead may be older than what it stood for.
        return sound and place is not None and place[1:] > max(one[:2] for one in damage)
    if live is None:
        return None
    return True if sound and place is not None and place[0] > live[0] else None


def _sound_at(engine: Engine, segment_id: int, offset: int, damage: list[Damage]) -> bool:
    if any(one.segment_id == segment_id and one.offset <= offset < one.offset + one.length for one in damage):
        # Of a damaged batch whose header alone is damaged, the records behind it are sound.
        view = engine.segments.view(segment_id)
        record = decode_record(view, offset, len(view))
        return record is not None and record.intact
    return True


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
        try:
            body = engine.segments.view(extent.segment_id, extent.end)
        except SegmentGoneError:
            # An older version that shows because the record of a newer one is damaged.
            raise IntegrityError(f"its body lay in segment {extent.segment_id}, which is gone") from None
        for first in range(0, frame_count(extent.length), 64):
            start = first * FRAME_SIZE
            checked += len(verified_extent(body, extent, start, min(start + 64 * FRAME_SIZE, extent.length)))
    return checked
