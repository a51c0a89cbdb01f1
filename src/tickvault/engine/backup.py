"""Backup and restore: copying a live vault, verified, and only what is new.

A backup is a folder with ``backup.json``, the manifest as of the backup, and the segment files up to where their bytes
were valid.  Copying the folder of a live vault by other means is not a backup: the index in it is not synced.

Invariants: what the backup names was durable when it was named; every file's CRC-32C is noted and checked on restore;
an interrupted backup leaves the one before it usable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crc32c import crc32c

from tickvault.engine.backup_files import went_another_way
from tickvault.engine.compaction import maintenance_lock
from tickvault.engine.control import ControlPage
from tickvault.engine.format import FORMAT_VERSION, create_format
from tickvault.engine.manifest import SegmentEntry, SegmentKind
from tickvault.engine.replay import Walk, sound_records
from tickvault.engine.scrub import check_object
from tickvault.engine.segments import SEGMENT_HEADER_SIZE
from tickvault.errors import AlreadyExistsError, FormatError, IntegrityError, InvalidInputError, NotFoundError
from tickvault.seam.disk import FileLock, OsDisk, storage_error

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

Progress = Callable[[int, int, str], None]
#: What is copied beside the segments, up to the same moment: from where the journal ends in the backup, its last
#: sequence, and what an earlier backup here noted, to what is noted of it now.
Beside = Callable[[tuple[int, int], int, dict[str, Any]], dict[str, Any]]
DESCRIPTION = "backup.json"
#: What a backup that was interrupted may have left.
_OURS = ("segments", "manifest", "journals", "journals.new", "audit", "files", "files.new")
_PIECE = 4 * 1024 * 1024


@dataclass
class BackupReport:
    """What a backup or restore copied."""

    segments: int = 0
    segments_copied: int = 0
    bytes_total: int = 0
    bytes_copied: int = 0
    sequence: int = 0
    """The last change that is in the backup."""


def backup(
    engine: Engine,
    destination: str,
    *,
    progress: Progress | None = None,
    check: Callable[[dict[str, Any]], None] | None = None,
    beside: Beside | None = None,
) -> BackupReport:
    """Copy the vault as of now into a folder; into one that holds an earlier backup, only what is new.

    Parameters
    ----------
    check : callable, optional
        Given what the backup before says of itself, before anything of it is touched; raises where it is not to be.
    beside : callable, optional
        Called once the segments are copied and before the backup counts.

    Raises
    ------
    FormatError
        The folder holds something else, the backup of another vault, or one of a copy of this vault that went on by
        itself.
    IntegrityError
        A batch of the source is damaged; the backup before this one stays as it was.
    BusyError
        A compaction, scrub or another backup is running.
    """
    engine.ready()
    destination = os.path.abspath(destination)
    earlier = read_description(destination) if os.path.exists(os.path.join(destination, DESCRIPTION)) else None
    if os.path.commonpath([destination, engine.path]) == engine.path:
        raise InvalidInputError(f"{destination} lies in the vault itself; choose a folder outside {engine.path}")
    if earlier is None and os.path.isdir(destination):
        foreign = [name for name in os.listdir(destination) if name not in _OURS]
        if foreign:
            raise FormatError(f"{destination} holds other files ({foreign[0]}, …); choose an empty folder")
    if earlier is not None and earlier["vault_id"] != engine.vault_id.hex():
        raise FormatError(f"{destination} holds the backup of another vault; choose another folder")
    files = os.path.join(destination, "segments")
    try:
        os.makedirs(files, mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_error(error, "make folder", files) from error
    with maintenance_lock(engine):
        return _backup_locked(engine, destination, files, earlier or {"segments": {}}, progress, check, beside)


def _backup_locked(
    engine: Engine,
    destination: str,
    files: str,
    earlier: dict[str, Any],
    progress: Progress | None,
    check: Callable[[dict[str, Any]], None] | None,
    beside: Beside | None,
) -> BackupReport:
    engine.sync()
    tail = engine.tail()
    engine.segments.forget_retired()
    manifest = engine.segments.manifest
    manifest_size = manifest.length
    report = BackupReport(sequence=tail.sequence)
    wanted: dict[str, dict[str, int]] = {}
    sizes: dict[int, int] = {}
    for entry in manifest.segments.values():
        size = os.path.getsize(engine.segments.path(entry.segment_id, entry.kind))
        if entry.kind is SegmentKind.JOURNAL:
            if entry.segment_id == tail.segment_id:
                size = tail.offset
            elif entry.segment_id > tail.segment_id:
                size = SEGMENT_HEADER_SIZE
        sizes[entry.segment_id] = size
    report.bytes_total = sum(sizes.values())
    # First, so that damage in the source never takes the place of sound bytes in an earlier backup.
    _verify_source(engine, tail.segment_id, tail.offset, earlier.get("end"), destination)
    if check is not None:
        check(earlier)
    done = 0
    for entry in sorted(manifest.segments.values(), key=lambda one: one.segment_id):
        source = engine.segments.path(entry.segment_id, entry.kind)
        name = os.path.basename(source)
        size = sizes[entry.segment_id]
        target = os.path.join(files, name)
        before = earlier["segments"].get(name)
        sealed = _sealed(source, entry, tail.segment_id)
        if before and before.get("sealed") and before["size"] == size and _size_of(target) == size:
            wanted[name] = before
        else:
            wanted[name] = {"size": size, "crc": copy_beginning(source, target, size), "sealed": sealed}
            report.segments_copied += 1
            report.bytes_copied += size
        report.segments += 1
        done += size
        if progress is not None:
            progress(done, report.bytes_total, "bytes")
    copy_beginning(manifest.path, os.path.join(destination, "manifest"), manifest_size)
    OsDisk().sync_directory(files)
    noted = {} if beside is None else beside((tail.segment_id, tail.offset), tail.sequence, earlier)
    _write_description(
        os.path.join(destination, DESCRIPTION),
        {
            "format": FORMAT_VERSION,
            "vault_id": engine.vault_id.hex(),
            "sequence": tail.sequence,
            "end": [tail.segment_id, tail.offset, tail.batch_id],
            "taken_ns": engine.clock.now_ns(),
            "manifest_crc": _checksum(os.path.join(destination, "manifest")),
            "manifest_size": manifest_size,
            "segments": wanted,
            **noted,
        },
    )
    for name in set(os.listdir(files)) - set(wanted):
        os.unlink(os.path.join(files, name))
    return report


def _sealed(path: str, entry: SegmentEntry, current_id: int) -> bool:
    """Return whether nothing will be written to a segment any more."""
    if entry.kind is SegmentKind.JOURNAL:
        return entry.segment_id < current_id
    # A body segment is written by one process, which holds a lease on it while it does.
    lease = FileLock(path)
    try:
        return lease.acquire(wait=False)
    finally:
        lease.close()


def _verify_source(
    engine: Engine, segment_id: int, offset: int, earlier_end: list[int] | None, destination: str
) -> None:
    """Read the journal up to where the backup ends, and every body it refers to; it has to go on from an earlier one's.

    A vault that was restored from the backup is the same vault, and goes another way from there on: the two would take
    turns to remove what the other one wrote.
    """
    # A segment that was retired since cannot be looked into, and one that had no batch yet tells nothing.
    known = engine.segments.manifest.segments.keys() | engine.segments.manifest.retired
    expected = tuple(earlier_end or ())
    unseen = bool(expected) and expected[0] not in known
    if expected and expected[0] in engine.segments.manifest.segments and expected[1] > SEGMENT_HEADER_SIZE:
        unseen = True
    walk = Walk(engine.segments, until=(segment_id, offset))
    for entry, view, batch in walk.batches():
        if (entry.segment_id, batch.offset + batch.length, batch.batch_id) == expected:
            unseen = False
        for _ in sound_records(walk, entry, view, batch):
            pass
    if unseen and not walk.damage:
        raise went_another_way(destination)
    if walk.damage:
        place = walk.damage[0]
        what = f"object {place.key.decode(errors='replace')!r} in " if place.key else ""
        raise IntegrityError(
            f"{what}segment {place.segment_id} is damaged at byte {place.offset} ({place.text}); "
            "run `tickvault verify`. Nothing was backed up; the earlier backup, if there is one, is as it was"
        )
    with engine.snapshot() as snapshot:
        referrers = [found for found in engine.interpreter.referrers(snapshot) if found.has_extents]
    for found in referrers:
        try:
            check_object(engine, found)
        except IntegrityError as error:
            raise IntegrityError(
                f"object {found.key.decode(errors='replace')!r} is damaged: {error}. "
                "Nothing was backed up; the earlier backup, if there is one, is as it was"
            ) from None


def restore(source: str, destination: str, *, progress: Progress | None = None) -> BackupReport:
    """Make a vault from a backup. Its index is built when it is opened.

    Raises
    ------
    NotFoundError
        `source` is no backup.
    AlreadyExistsError
        `destination` is not empty.
    IntegrityError
        A file of the backup is damaged; nothing is left in `destination`.
    """
    description = read_description(source)
    destination = os.path.abspath(destination)
    if os.path.exists(destination) and (not os.path.isdir(destination) or os.listdir(destination)):
        raise AlreadyExistsError(f"{destination} is not empty; restore into a new folder")
    files = os.path.join(destination, "segments")
    os.makedirs(files, mode=0o700, exist_ok=True)
    report = BackupReport(sequence=int(description["sequence"]))
    report.bytes_total = sum(one["size"] for one in description["segments"].values())
    made: list[str] = []
    try:
        for name, noted in sorted(description["segments"].items()):
            target = os.path.join(files, os.path.basename(name))
            made.append(target)
            if not os.path.isfile(os.path.join(source, "segments", name)):
                raise IntegrityError(f"{os.path.join(source, 'segments', name)} is missing; take another backup")
            if copy_beginning(os.path.join(source, "segments", name), target, noted["size"]) != noted["crc"]:
                raise IntegrityError(f"{os.path.join(source, 'segments', name)} is damaged; take another backup")
            report.segments += 1
            report.segments_copied += 1
            report.bytes_copied += noted["size"]
            if progress is not None:
                progress(report.bytes_copied, report.bytes_total, "bytes")
        target = os.path.join(destination, "manifest")
        made.append(target)
        if not os.path.isfile(os.path.join(source, "manifest")):
            raise IntegrityError(f"{os.path.join(source, 'manifest')} is missing; take another backup")
        # It only grows: of a backup that was interrupted it may be newer than what is noted.
        size = description.get("manifest_size", os.path.getsize(os.path.join(source, "manifest")))
        if copy_beginning(os.path.join(source, "manifest"), target, size) != description["manifest_crc"]:
            raise IntegrityError(f"{os.path.join(source, 'manifest')} is damaged; take another backup")
        create_format(destination, vault_id=bytes.fromhex(description["vault_id"]))
        # All of it was durable: a break in it is damage, not the torn tail of a crash.
        control = ControlPage(os.path.join(destination, "control"))
        control.set_synced(*description["end"])
        control.close()
        OsDisk().sync_directory(files)
        OsDisk().sync_directory(destination)
    except BaseException:
        for path in made:
            OsDisk().unlink(path)
            OsDisk().unlink(path + ".part")
        os.rmdir(files)
        os.rmdir(destination)
        raise
    return report


def read_description(folder: str) -> dict[str, Any]:
    """Return what a backup says of itself.

    Raises
    ------
    NotFoundError
        The folder holds no backup.
    FormatError
        It is of a newer release.
    IntegrityError
        It is damaged.
    """
    path = os.path.join(folder, DESCRIPTION)
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
        # Of releases before, it has neither.
        if ("crc" in found or "files" in found) and found.pop("crc", None) != _description_crc(found):
            raise IntegrityError(f"{path} is damaged: it is not what was written; take another backup")
        if found["format"] > FORMAT_VERSION:
            raise FormatError(f"{path} was written by a newer release; upgrade tickvault")
        return found
    except FileNotFoundError:
        raise NotFoundError(f"{folder} holds no backup ({DESCRIPTION} is missing)") from None
    except OSError as error:
        raise storage_error(error, "read", path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); take another backup") from error


def _description_crc(description: dict[str, Any]) -> int:
    rest = {name: value for name, value in description.items() if name != "crc"}
    return int(crc32c(json.dumps(rest, sort_keys=True).encode()))


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def copy_beginning(source: str, target: str, size: int) -> int:
    """Copy the first `size` bytes by way of a temporary name, synced; return their CRC-32C."""
    crc = 0
    try:
        with open(source, "rb") as reader, open(target + ".part", "wb") as writer:
            left = size
            while left:
                piece = reader.read(min(_PIECE, left))
                if not piece:
                    raise IntegrityError(f"{source} is cut off: {left} of {size} bytes are missing")
                crc = crc32c(piece, crc)
                writer.write(piece)
                left -= len(piece)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(target + ".part", target)
    except OSError as error:
        raise storage_error(error, "copy", source) from error
    return crc


def _checksum(path: str) -> int:
    crc = 0
    with open(path, "rb") as reader:
        while piece := reader.read(_PIECE):
            crc = crc32c(piece, crc)
    return crc


def _write_description(path: str, data: dict[str, Any]) -> None:
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({**data, "crc": _description_crc(data)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)
    OsDisk().sync_directory(os.path.dirname(path))
