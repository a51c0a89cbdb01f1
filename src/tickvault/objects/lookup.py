"""Finding a version: from a key and a version id to its index entry and record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tickvault.engine.index import Reader, prefix_end
from tickvault.engine.record import Record, decode_record
from tickvault.engine.segments import Segments
from tickvault.errors import IntegrityError, InvalidInputError, NotFoundError, VersionNotFoundError
from tickvault.objects import entries
from tickvault.objects.encryption.stored import effective, info_of
from tickvault.objects.entries import ENTRY_ATTRIBUTES, ENTRY_LOCK, ENTRY_MARKER, ENTRY_NULL, Entry, decode_entry
from tickvault.objects.lock.guard import lock_of
from tickvault.objects.lock.retention import ObjectLock
from tickvault.objects.model import NULL_VERSION, ObjectInfo

_VERSION_ID = re.compile("[0-9a-f]{16}")


def sequence_of(version_id: str) -> int | None:
    """Return the sequence in a version id, None if it is not one of ours.

    Raises
    ------
    InvalidInputError
        It is no text.
    """
    if not isinstance(version_id, str):
        raise InvalidInputError(f"a version id is a text, as `ObjectInfo.version_id` has it, not {version_id!r}")
    return int(version_id, 16) if _VERSION_ID.fullmatch(version_id) else None


def newest_noncurrent(reader: Reader, bucket_id: int, key: bytes) -> Entry | None:
    """Return the newest V entry of a key: a noncurrent version, or the delete marker that is current."""
    prefix = entries.version_prefix(bucket_id, key)
    for index_key, raw in reader.scan(prefix, prefix_end(prefix)):
        return decode_entry(index_key, raw)
    return None


def find_version(reader: Reader, bucket_id: int, key: bytes, version_id: str) -> tuple[Entry, bool] | None:
    """Return (entry, whether it is the current one) of a version, delete markers included; None if there is none."""
    current_key = entries.object_key(bucket_id, key)
    raw = reader.get(current_key)
    current = decode_entry(current_key, raw) if raw is not None else None
    if version_id == NULL_VERSION:
        if current is not None and current.flags & ENTRY_NULL:
            return current, True
        pointer = reader.get(entries.null_key(bucket_id, key))
        sequence = None if pointer is None else int.from_bytes(pointer, "big")
    else:
        sequence = sequence_of(version_id)
        if current is not None and current.sequence == sequence:
            return None if current.flags & ENTRY_NULL else (current, True)
    if sequence is None:
        return None
    index_key = entries.version_key(bucket_id, key, sequence)
    raw = reader.get(index_key)
    if raw is None:
        return None
    entry = decode_entry(index_key, raw)
    if bool(entry.flags & ENTRY_NULL) != (version_id == NULL_VERSION):
        return None
    is_latest = False
    if current is None and entry.flags & ENTRY_MARKER:
        newest = newest_noncurrent(reader, bucket_id, key)
        is_latest = newest is not None and newest.sequence == entry.sequence
    return entry, is_latest


class DeletedError(NotFoundError):
    """The current (or named) version is a delete marker."""

    def __init__(self, message: str, version_id: str, modified_ns: int) -> None:
        super().__init__(message)
        self.delete_marker = True
        self.version_id = version_id
        self.modified_ns = modified_ns
        """When the delete marker was made."""


def require_version(
    reader: Reader, bucket_name: str, bucket_id: int, key: bytes, version_id: str | None
) -> tuple[Entry, bool]:
    """Return (entry, is latest) of a version that has a body.

    Raises
    ------
    NotFoundError
        There is no such object; with attributes ``delete_marker`` and ``version_id`` where a delete marker hides it.
    VersionNotFoundError
        The object has no such version.
    """
    text = key.decode()
    if version_id is None:
        current_key = entries.object_key(bucket_id, key)
        raw = reader.get(current_key)
        if raw is not None:
            return decode_entry(current_key, raw), True
        newest = newest_noncurrent(reader, bucket_id, key)
        if newest is not None and newest.flags & ENTRY_MARKER:
            raise DeletedError(
                f"object {bucket_name}/{text} was deleted; its versions are kept, and each can be asked for by its id",
                entries.version_id_of(newest.sequence, newest.flags),
                newest.modified_ns,
            )
        raise NotFoundError(f"object {bucket_name}/{text} does not exist")
    found = find_version(reader, bucket_id, key, version_id)
    if found is None:
        raise VersionNotFoundError(f"object {bucket_name}/{text} has no version {version_id!r}")
    if found[0].flags & ENTRY_MARKER:
        raise DeletedError(
            f"version {version_id} of {bucket_name}/{text} is a delete marker", version_id, found[0].modified_ns
        )
    return found


def read_record(segments: Segments, entry: Entry, key: bytes, bucket_id: int) -> tuple[Record, memoryview]:
    """Return the verified record of an entry and the view of its segment.

    Raises
    ------
    IntegrityError
        The bytes there are not that record.
    SegmentGoneError
        The segment was retired meanwhile; look the entry up again.
    """
    try:
        view = segments.view(entry.segment_id, entry.offset + entry.length)
    except IntegrityError as error:
        raise IntegrityError(f"object {key.decode(errors='replace')!r} is damaged: {error}") from None
    record = decode_record(view, entry.offset, len(view))
    if (
        record is None
        or not record.intact
        or record.key != key
        or record.sequence != entry.sequence
        or record.bucket_id != bucket_id
        or (entry.body_offset and (entry.body_offset, entry.crc) != (record.body_offset, record.crc))
    ):
        raise damaged(entry, key)
    return record, view


def damaged(entry: Entry, key: bytes) -> IntegrityError:
    """Return the error of a record whose bytes are not what was written."""
    return IntegrityError(
        f"object {key.decode(errors='replace')!r} is damaged in segment {entry.segment_id} at byte {entry.offset}: "
        "its bytes do not match their checksum. They were not handed out; run `tickvault verify`"
    )


def info_of_entry(key: bytes, entry: Entry, *, is_latest: bool = True) -> ObjectInfo:
    """Return what the index alone knows of a version: enough for a listing."""
    flags = entry.flags
    return ObjectInfo(
        key.decode(),
        entry.size,
        entries.etag_text(entry.etag, entry.etag_parts) if not flags & ENTRY_MARKER else "",
        entry.sequence,
        entry.modified_ns,
        "null" if flags & ENTRY_NULL else f"{entry.sequence:016x}",
        is_latest,
        bool(flags & ENTRY_MARKER),
    )


def listed_info(reader: Reader, bucket_id: int, key: bytes, entry: Entry, *, is_latest: bool = True) -> ObjectInfo:
    """Return what a listing tells of a version: what the index knows, and its lock."""
    info = info_of_entry(key, entry, is_latest=is_latest)
    return with_lock(info, lock_of(reader, bucket_id, key, entry.sequence)) if entry.flags & ENTRY_LOCK else info


def later_attributes(reader: Reader, bucket_id: int, key: bytes, sequence: int) -> dict[str, Any]:
    """Return what was set after a version was written: ``tg`` tags, ``hd`` headers; each replaces the original."""
    index_key = entries.attributes_key(bucket_id, key, sequence)
    raw = reader.get(index_key)
    if raw is None:
        return {}
    data = entries.decode_document(index_key, raw).data
    # Sound bytes that somebody made up may hold anything.
    sound = isinstance(data, dict) and all(isinstance(data.get(field, {}), dict) for field in ("tg", "hd"))
    if not sound or entries.DAMAGED_DOCUMENT in data:
        raise IntegrityError(
            f"the tags and headers of object {key.decode(errors='replace')!r}, set after it was written, are damaged; "
            "set its tags again (its bytes can be read from Python)"
        )
    return dict(data)


def info_of_record(
    reader: Reader, entry: Entry, record_meta: bytes, bucket_id: int, key: bytes, *, is_latest: bool
) -> ObjectInfo:
    """Return everything known of a version."""
    extras = entries.decode_put_meta(record_meta).extras
    if entry.flags & ENTRY_ATTRIBUTES:
        extras = {**extras, **later_attributes(reader, bucket_id, key, entry.sequence)}
    info = ObjectInfo(
        key.decode(),
        entry.size,
        entries.etag_text(entry.etag, entry.etag_parts),
        entry.sequence,
        entry.modified_ns,
        entries.version_id_of(entry.sequence, entry.flags),
        is_latest,
    )
    return described(
        info, extras, lock_of(reader, bucket_id, key, entry.sequence) if entry.flags & ENTRY_LOCK else None
    )


def with_lock(info: ObjectInfo, lock: ObjectLock) -> ObjectInfo:
    """Return the info of a version with its lock."""
    return info._replace(
        retention_mode=lock.retention_mode,
        retain_until_ns=lock.retain_until_ns,
        # One that cannot be read keeps the version all the same, which a hold tells best.
        legal_hold=lock.legal_hold or lock.damaged,
        locked=True,
    )


def described(info: ObjectInfo, extras: Mapping[str, Any], lock: ObjectLock | None = None) -> ObjectInfo:
    """Return the info with what the extras of its record say, and its lock."""
    if lock is not None:
        info = with_lock(info, lock)
    encryption = effective(extras)
    sealed = extras.get("sc", {})
    return info._replace(
        content_type=extras.get("ct"),
        metadata=extras.get("md", {}),
        headers=extras.get("hd", {}),
        checksums=extras.get("cs", {}) if not sealed else {},
        checksum_type=extras.get("ck"),
        part_sizes=tuple(extras.get("ps", ())),
        tag_count=len(extras.get("tg", ())),
        encryption=None if encryption is None else info_of(encryption),
        sealed_checksums=sealed,
    )
