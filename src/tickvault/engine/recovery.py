"""Opening after a crash: what is believed, what is replayed, what is rebuilt.

`recent` is believed only if this boot, this file and this vault wrote it (it was never synced); `index` only if it is
the file that was synced, not a copy of it.  Which files those were stands in ``identity.json``, so that a copied LMDB
environment is never even opened.

Invariants: recovery runs alone; it ends in a new epoch with a new segment, and the sequence numbers it gives out lie
beyond any that a lost relaxed batch could have used.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickvault.engine.checkpoint import run_checkpoint
from tickvault.engine.format import FORMAT_FILE
from tickvault.engine.index import KEY_CHECKPOINT, KEY_TAIL, IndexWriter, Tail, cut_off
from tickvault.engine.manifest import SegmentKind
from tickvault.engine.record import ALIGNMENT, HEADER_SIZE
from tickvault.engine.replay import RECORD_DAMAGE, Damage, Position, Walk, apply_record, sound_records
from tickvault.engine.segments import SEGMENT_HEADER_SIZE
from tickvault.errors import IntegrityError
from tickvault.seam.disk import SyncError, plain_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickvault.engine.engine import Engine

IDENTITY_FILE = "identity.json"
DAMAGE_FILE = "damage.txt"
_REPLAY_RECORDS_PER_COMMIT = 20_000
_REPLAY_RECORDS_PER_CHECKPOINT = 400_000


@dataclass
class RecoveryReport:
    """What opening had to do."""

    kind: str = "none"
    """``none`` (state of this boot was trusted), ``new``, ``replay`` (from the last checkpoint), ``rebuild``."""
    records: int = 0
    damage: list[Damage] = field(default_factory=list)


def read_identity(folder: str) -> dict[str, object]:
    """Return what was noted of the environments' files; empty if nothing was."""
    try:
        with open(os.path.join(folder, IDENTITY_FILE), encoding="utf-8", opener=plain_file) as file:
            found = json.load(file)
            return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def write_identity(engine: Engine) -> None:
    """Note which files hold this vault's index in this boot."""
    path = os.path.join(engine.path, IDENTITY_FILE)
    noted = {
        "vault": engine.vault_id.hex(),
        "boot": engine.host.boot_id().hex(),
        "recent": engine.index.identity(engine.index.recent_path),
        "index": engine.index.identity(engine.index.index_path),
        "format": _format_made(engine),
    }
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(noted, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    engine.disk.sync_directory(engine.path)


def open_exclusive(
    engine: Engine, *, rebuild: bool, progress: Callable[[int, int, str], None] | None
) -> RecoveryReport:
    """Bring the vault into a state that others may join. The caller holds the open lock and is alone."""
    segments = engine.segments
    synced = engine.control.synced()
    poisoned = engine.control.begin(engine.host.boot_id(), engine.host.pid_namespace())
    segments.manifest.load(exclusive=True)
    segments.mend_manifest()
    if poisoned:
        # Its last entries may be in the page cache only, where no sync would write them any more.
        segments.manifest.rewrite()
    if not segments.manifest.segments:
        # A vault always has a journal segment once its first was named. Files without a manifest are either that very
        # first, left by a crash while the vault was made, or a vault that lost its manifest.
        if segments.manifest.last_id or segments.holds_batches():
            raise IntegrityError(f"{segments.manifest.path} is missing or empty; restore the vault from a backup")
        return _start_new(engine)
    segments.check_present()
    segments.remove_strays()
    identity = read_identity(engine.path)
    index_trusted = not rebuild and _matches(engine, identity, "index", engine.index.index_path)
    recent_trusted = (
        index_trusted
        and not poisoned
        and identity.get("boot") == engine.host.boot_id().hex()
        and _matches(engine, identity, "recent", engine.index.recent_path)
    )
    if recent_trusted:
        try:
            engine.index.open(alone=True)
            engine.index.probe()
            _check_tails(engine, recent=True)
            clear_uncommitted(engine)
            return RecoveryReport()
        except IntegrityError:
            engine.index.close()
            recent_trusted = False
    try:
        os.unlink(os.path.join(engine.path, IDENTITY_FILE))
    except FileNotFoundError:
        pass
    if index_trusted:
        try:
            engine.index.discard(engine.index.recent_path)
            engine.index.open(alone=True)
            engine.index.probe(recent=False)
            _check_tails(engine, recent=False)
        except IntegrityError:
            engine.index.close()
            index_trusted = False
    if not index_trusted:
        engine.index.discard(engine.index.recent_path)
        engine.index.discard(engine.index.index_path)
        engine.index.open(alone=True)
    report = _replay(engine, synced[:2], poisoned, progress)
    engine.control.heal()
    write_identity(engine)
    return report


def _check_tails(engine: Engine, *, recent: bool) -> None:
    """Raise `IntegrityError` if the positions in the index cannot be ones in this vault's journal."""
    places = [(engine.index.index, KEY_CHECKPOINT)]
    if recent:
        places.append((engine.index.recent, KEY_TAIL))
    for environment, key in places:
        with environment.begin() as txn:
            tail = Tail.unpack(txn.get(key))
        entry = engine.segments.manifest.segments.get(tail.segment_id)
        if (
            entry is None
            or entry.kind is not SegmentKind.JOURNAL
            or entry.epoch != tail.epoch
            or tail.sequence < entry.base_sequence
            or tail.offset % ALIGNMENT
            or not SEGMENT_HEADER_SIZE <= tail.offset <= entry.size_bytes
        ):
            raise IntegrityError("the index names a place that is none in the journal")


def _format_made(engine: Engine) -> list[int]:
    """Return what no copy of the format file shares: an inode number may be given again, a time of change not set."""
    status = os.stat(os.path.join(engine.path, FORMAT_FILE))
    return [status.st_dev, status.st_ino, status.st_ctime_ns]


def _matches(engine: Engine, identity: dict[str, object], name: str, path: str) -> bool:
    if cut_off(path):
        return False
    try:
        found = list(engine.index.identity(path))
    except OSError:
        return False
    return (
        identity.get("vault") == engine.vault_id.hex()
        and identity.get("format") == _format_made(engine)
        and identity.get(name) == found
    )


def noted_damage(engine: Engine) -> list[str]:
    """Return what earlier recoveries found damaged and went around: nothing else would tell of it any more."""
    try:
        with open(os.path.join(engine.path, DAMAGE_FILE), encoding="utf-8", opener=plain_file) as file:
            return [line.rstrip("\n") for line in file]
    except FileNotFoundError:
        return []


def damage_line(place: Damage) -> str:
    """Return the line of ``damage.txt`` that tells of a damaged place."""
    line = f"segment {place.segment_id}, {place.length} bytes from byte {place.offset}: {place.text}"
    if place.key:
        line += f" (object {place.key.decode(errors='replace')!r})"
    return line


_LINE = re.compile(r"segment (\d+), (\d+) bytes from byte (\d+): (.*)")


def known_damage(engine: Engine) -> list[Damage]:
    """Return the damage that was noted, for who opens the vault after the recovery that met it."""
    found = []
    for line in noted_damage(engine):
        match = _LINE.fullmatch(line)
        if match is not None:
            segment_id, length, offset, text = match.groups()
            found.append(Damage(int(segment_id), int(offset), int(length), None, 0, text))
        elif line:
            found.append(Damage(0, 0, 0, None, 0, line))
    return found


def note_damage(engine: Engine, damage: list[Damage]) -> None:
    """Note damage that a recovery went around, until a scrub finds it mended or somebody removes the note."""
    known = set(noted_damage(engine))
    lines = [line for line in map(damage_line, damage) if line not in known]
    if lines:
        with open(os.path.join(engine.path, DAMAGE_FILE), "a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())


def forget_mended(engine: Engine, damage: list[Damage]) -> list[str]:
    """Strike out notes of records that a scrub of the whole journal did not meet again; return what stays noted.

    A record that is damaged is met by every scrub for as long as its segment exists. Notes of whole batches stay: the
    journal may have gone on without them.
    """
    lines = noted_damage(engine)
    met = {(place.segment_id, place.offset) for place in damage}
    kept = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is not None and match[4].startswith(RECORD_DAMAGE) and (int(match[1]), int(match[3])) not in met:
            continue
        kept.append(line)
    path = os.path.join(engine.path, DAMAGE_FILE)
    if lines and not kept:
        os.unlink(path)
    elif kept != lines:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
    return kept


def clear_uncommitted(engine: Engine) -> None:
    """Strike out a batch behind the tail: whoever wrote it was killed before it was committed. The caller is alone.

    Nobody was told of it and everybody has seen the vault without it, so a later rebuild must not bring it back.
    """
    tail = engine.tail()
    fd = engine.segments.fd(tail.segment_id)
    if any(engine.disk.pread(fd, HEADER_SIZE, tail.offset)):
        try:
            engine.disk.write_synced(fd, [bytes(HEADER_SIZE)], tail.offset)
        except SyncError:
            engine.control.poison()
            raise


def _start_new(engine: Engine) -> RecoveryReport:
    engine.index.discard(engine.index.recent_path)
    engine.index.discard(engine.index.index_path)
    engine.segments.remove_strays()
    engine.index.open(alone=True)
    entry = engine.segments.create(SegmentKind.JOURNAL, engine.segments.size_first, 1, 0, 0)
    tail = Tail(1, 0, 0, entry.segment_id, SEGMENT_HEADER_SIZE, 0, entry.size_bytes)
    _set_tails(engine, tail, checkpoint=True)
    engine.control.set_synced(entry.segment_id, SEGMENT_HEADER_SIZE, 0)
    engine.control.heal()
    write_identity(engine)
    return RecoveryReport("new")


def _set_tails(engine: Engine, tail: Tail, *, checkpoint: bool) -> None:
    if checkpoint:
        with engine.index.index.begin(write=True) as txn:
            txn.put(KEY_CHECKPOINT, tail.pack())
    with engine.index.recent.begin(write=True) as txn:
        txn.put(KEY_TAIL, tail.pack())


def _replay(
    engine: Engine, synced: tuple[int, int], poisoned: bool, progress: Callable[[int, int, str], None] | None
) -> RecoveryReport:
    segments = engine.segments
    journal = segments.manifest.journal()
    with engine.index.index.begin() as txn:
        raw = txn.get(KEY_CHECKPOINT)
    checkpoint = Tail.unpack(raw) if raw else None
    if checkpoint is not None and checkpoint.segment_id not in segments.manifest.segments:
        raise IntegrityError(
            f"the index's checkpoint lies in segment {checkpoint.segment_id}, which is gone; run "
            "`tickvault rebuild-index`"
        )
    start = None
    if checkpoint is not None:
        start = Position(checkpoint.segment_id, checkpoint.offset, checkpoint.batch_id, checkpoint.sequence)
    else:
        first = journal[0]
        checkpoint = Tail(
            first.epoch,
            first.base_sequence,
            first.previous_batch_id,
            first.segment_id,
            SEGMENT_HEADER_SIZE,
            0,
            0,
        )
        _set_tails(engine, checkpoint, checkpoint=True)
    report = RecoveryReport("replay" if start is not None else "rebuild")
    walk = Walk(segments, start, synced_end=synced if poisoned and synced[0] else None, durable=synced)
    _set_tails(engine, checkpoint._replace(base=0), checkpoint=False)
    total = sum(entry.size_bytes for entry in journal if entry.segment_id >= checkpoint.segment_id)
    _apply_batches(engine, walk, report, total, progress)
    report.damage = walk.damage
    if report.kind == "rebuild":
        forget_mended(engine, walk.damage)
    note_damage(engine, walk.damage)
    assert walk.end is not None
    if report.kind == "rebuild" or walk.damage:
        _finish_rebuild(engine, whole=report.kind == "rebuild", damaged=bool(walk.damage))
    _begin_epoch(engine, walk.end, cut=not walk.damage)
    run_checkpoint(engine, recovering=True)
    return report


def _apply_batches(
    engine: Engine,
    walk: Walk,
    report: RecoveryReport,
    total: int,
    progress: Callable[[int, int, str], None] | None,
) -> None:
    txn = index = None
    pending = since_checkpoint = done = 0

    def commit() -> None:
        nonlocal txn, index, pending
        if txn is not None:
            assert walk.end is not None
            tail = Tail.unpack(txn.get(KEY_TAIL))
            end = walk.end
            txn.put(
                KEY_TAIL,
                tail._replace(
                    sequence=end.sequence, batch_id=end.batch_id, segment_id=end.segment_id, offset=end.offset
                ).pack(),
            )
            txn.commit()
            index.abort()
        txn = index = None
        pending = 0

    for entry, view, batch in walk.batches():
        # Here `walk.end` is the end of the batch before: everything up to it has been applied.
        if pending >= _REPLAY_RECORDS_PER_COMMIT:
            commit()
            if since_checkpoint >= _REPLAY_RECORDS_PER_CHECKPOINT:
                run_checkpoint(engine, recovering=True)
                since_checkpoint = 0
        if txn is None:
            txn = engine.index.recent.begin(write=True)
            index = engine.index.index.begin()
            writer = IndexWriter(txn, index)
        for offset, record in sound_records(walk, entry, view, batch):
            apply_record(engine.interpreter, writer, entry.segment_id, offset, record)
            pending += 1
            since_checkpoint += 1
            report.records += 1
        done += batch.length
        if progress is not None:
            progress(min(done, total), total, "bytes")
    commit()


def _finish_rebuild(engine: Engine, *, whole: bool, damaged: bool) -> None:
    """Remove entries whose owner turned out not to exist."""
    with engine.index.recent.begin(write=True) as txn:
        index = engine.index.index.begin()
        try:
            writer = IndexWriter(txn, index)
            if whole:
                engine.interpreter.finish_rebuild(writer)
            if damaged:
                engine.interpreter.drop_strays(writer)
        finally:
            index.abort()


def _begin_epoch(engine: Engine, end: Position, *, cut: bool) -> None:
    """Start a new segment in a new epoch, and `cut` the torn tail of the last one off; damage is left as it is."""
    segments = engine.segments
    entry = segments.manifest.segments[end.segment_id]
    later = [other for other in segments.manifest.journal() if other.segment_id > end.segment_id]
    # Every record takes at least one aligned slot, so a lost batch cannot have used a sequence beyond this.
    room = entry.size_bytes - end.offset + sum(other.size_bytes for other in later)
    known = max([end.sequence, *(other.base_sequence for other in later)])
    sequence = known + room // ALIGNMENT + 1
    segments.release(end.segment_id)
    if cut:
        fd = engine.disk.open(segments.path(end.segment_id, entry.kind))
        try:
            engine.disk.truncate(fd, end.offset)
            engine.disk.sync(fd)
        finally:
            engine.disk.close(fd)
    epoch = max(other.epoch for other in segments.manifest.segments.values()) + 1
    size = max(segments.size_first, min(segments.size_max, entry.size_bytes))
    created = segments.create(SegmentKind.JOURNAL, size, epoch, sequence, end.batch_id)
    # Only now: the new segment's base sequence tells a second recovery what these may have used.
    for other in later:
        segments.retire(other.segment_id)
    with engine.index.recent.begin(write=True) as txn:
        tail = Tail.unpack(txn.get(KEY_TAIL))
        txn.put(
            KEY_TAIL,
            Tail(
                epoch,
                sequence,
                end.batch_id,
                created.segment_id,
                SEGMENT_HEADER_SIZE,
                tail.base,
                created.size_bytes,
            ).pack(),
        )
    engine.control.set_synced(created.segment_id, SEGMENT_HEADER_SIZE, end.batch_id)
