"""What each record does to the index: the same code in a commit, in replay, and for a copy made by compaction.

The versions of a key are a set; the current one is that with the highest sequence; a null version replaces the null
version before it.  A removal names the version it removes, and of null versions removes every one up to it, so that an
older copy that compaction has not reached yet can never come back.

Invariants: applying a record again changes nothing; journal order with copies after originals gives the index that the
commits gave; nothing else writes O, V, N, T, U, P, B entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgpack

from tickvault.engine.bodies import Extent
from tickvault.engine.index import IndexWriter, Reader, prefix_end
from tickvault.engine.interpreter import Referrer
from tickvault.engine.record import FLAG_RELOCATED, Location, Record
from tickvault.errors import InvalidInputError
from tickvault.objects import entries
from tickvault.objects.entries import (
    AUX_PLAIN,
    AUX_VERSIONED,
    CLOCK_DOCUMENT,
    DAMAGED_DOCUMENT,
    ENTRY_ATTRIBUTES,
    ENTRY_DAMAGED,
    ENTRY_ENCRYPTED,
    ENTRY_EXTENTS,
    ENTRY_LOCK,
    ENTRY_MARKER,
    ENTRY_NULL,
    META,
    META_ENCRYPTED,
    META_EXTENTS,
    META_KNOWN,
    META_LOCK,
    REMOVE_NULL,
    Entry,
    Kind,
    decode_document,
    decode_entry,
    decode_put_meta,
    encode_document,
    encode_entry,
    encode_fields,
    unpack,
)
from tickvault.objects.meaning import has_meaning, is_bucket
from tickvault.objects.names import DOCUMENT_NAME_BYTES_MAX, KEY_BYTES_MAX, check_bucket_name

_PUT = int(Kind.PUT)
#: More buckets than anybody makes: a damaged id must not use up the numbers.
_BUCKET_ID_MAX = 1 << 31
_NO_ETAG = bytes(16)
#: Flags of an entry that its own record does not tell.
_KEPT = ENTRY_ATTRIBUTES | ENTRY_LOCK


class ObjectInterpreter:
    """The `engine.Interpreter` of objects, versions, tags, buckets and uploads."""

    def apply(
        self,
        writer: IndexWriter,
        kind: int,
        flags: int,
        sequence: int,
        bucket_id: int,
        key: bytes,
        meta: bytes,
        time_ns: int,
        aux: int,
        body_length: int,
        location: Location,
    ) -> None:
        """Change the index as the record says."""
        if kind == _PUT:
            etag, parts, meta_flags, _, size = META.unpack_from(meta)
            entry_flags = (0 if aux & AUX_VERSIONED else ENTRY_NULL) | (
                ENTRY_EXTENTS if meta_flags & META_EXTENTS else 0
            )
            place: tuple[int, ...] = location
            if meta_flags & (META_EXTENTS | META_ENCRYPTED):
                place = location[:3]
                entry_flags |= ENTRY_ENCRYPTED if meta_flags & META_ENCRYPTED else 0
            if meta_flags & META_LOCK:
                entry_flags |= ENTRY_LOCK
                self._put_lock(writer, bucket_id, key, sequence, sequence, decode_put_meta(meta).extras["lk"], location)
            if aux & AUX_PLAIN and not flags & FLAG_RELOCATED:
                index_key = entries.object_key(bucket_id, key)
                old = writer.get(index_key)
                if old is not None:
                    replaced = decode_entry(index_key, old)
                    if replaced.sequence > sequence:
                        return
                    if replaced.sequence != sequence:
                        self._dead(writer, bucket_id, key, replaced)
                writer.put(
                    index_key, encode_fields(index_key, entry_flags, parts, sequence, time_ns, size, etag, *place)
                )
            else:
                if flags & FLAG_RELOCATED and writer.get(entries.attributes_key(bucket_id, key, sequence)) is not None:
                    # A copy may stand behind the attributes that were set on its original.
                    entry_flags |= ENTRY_ATTRIBUTES
                if flags & FLAG_RELOCATED and writer.get(entries.lock_key(bucket_id, key, sequence)) is not None:
                    entry_flags |= ENTRY_LOCK
                entry = Entry(entry_flags, parts, sequence, time_ns, size, etag, *place)
                self._add_version(writer, bucket_id, key, entry)
        elif kind == Kind.DELETE_MARKER:
            entry_flags = ENTRY_MARKER | (0 if aux & AUX_VERSIONED else ENTRY_NULL)
            self._add_version(writer, bucket_id, key, Entry(entry_flags, 0, sequence, time_ns, 0, _NO_ETAG, *location))
        elif kind == Kind.REMOVE:
            self._remove_version(writer, bucket_id, key, aux, null=bool(meta[0] & REMOVE_NULL))
        elif kind == Kind.ATTRIBUTES:
            self._set_attributes(writer, bucket_id, key, sequence, aux, meta, location)
        elif kind == Kind.LOCK:
            self._put_lock(writer, bucket_id, key, aux, sequence, unpack(meta), location)
            self._flag_version(writer, bucket_id, key, aux, ENTRY_LOCK)
        elif kind == Kind.DOCUMENT:
            self._set_document(writer, key, sequence, meta, location)
        elif kind == Kind.BUCKET:
            self._set_bucket(writer, bucket_id, key, sequence, meta, location)
        elif kind == Kind.BUCKET_REMOVE:
            index_key = entries.bucket_key(key.decode())
            old = writer.get(index_key)
            if old is not None and decode_document(index_key, old).data["id"] <= bucket_id:
                writer.delete(index_key)
        elif kind == Kind.UPLOAD:
            index_key = entries.upload_key(bucket_id, key, sequence)
            writer.put(index_key, encode_document(index_key, sequence, location, {"t": time_ns, **unpack(meta)}))
        elif kind == Kind.UPLOAD_REMOVE:
            index_key = entries.upload_key(bucket_id, key, aux)
            if writer.get(index_key) is not None:
                writer.delete(index_key)
            first, end = entries.part_key(aux, 0), entries.part_key(aux + 1, 0)
            for part in [found for found, _ in writer.scan(first, end)]:
                writer.delete(part)
        elif kind == Kind.PART:
            put = decode_put_meta(meta)
            index_key = entries.part_key(aux, put.extras["nr"])
            old = writer.get(index_key)
            if old is None or decode_entry(index_key, old).sequence <= sequence:
                entry = Entry(ENTRY_EXTENTS, 0, sequence, time_ns, put.size, put.etag, *location[:3])
                writer.put(index_key, encode_entry(index_key, entry))

    # -- damaged records

    def has_meaning(self, record: Record) -> bool:
        """Return whether a record with sound bytes says something."""
        return has_meaning(record)

    def apply_damaged(self, writer: IndexWriter, record: Record, location: Location) -> None:
        """Make the key of a damaged record one whose reading is an error, so that no older version shows in its place.

        The kind may be damaged too, so it is believed only where the rest of the record looks like one of that kind.
        """
        kind, bucket_id, key, aux = record.kind, record.bucket_id, record.key, record.aux
        if bucket_id == 0 and kind == Kind.DOCUMENT:
            self._damaged_document(writer, record, location)
            return
        data = _document_of(record.meta) if kind in (Kind.BUCKET, Kind.UPLOAD) else None
        if (
            not 0 < len(key) <= KEY_BYTES_MAX
            or b"\0" in key
            or not 0 < bucket_id < _BUCKET_ID_MAX
            or record.sequence <= 0
        ):
            return
        if kind in (Kind.BUCKET, Kind.BUCKET_REMOVE) and self._damaged_bucket(writer, record, data, location):
            return
        if kind in (Kind.PART, Kind.UPLOAD_REMOVE) and writer.get(entries.upload_key(bucket_id, key, aux)) is not None:
            # Whoever completes the upload names its parts, and misses one.
            return
        if kind == Kind.UPLOAD and data is not None and isinstance(data.get("tok"), str):
            return
        if kind == Kind.LOCK and aux > AUX_PLAIN and record.meta:
            # Whatever it said, the version is kept.
            index_key = entries.lock_key(bucket_id, key, aux)
            old = writer.get(index_key)
            if old is None or decode_document(index_key, old).sequence < record.sequence:
                self._put_lock(writer, bucket_id, key, aux, record.sequence, {DAMAGED_DOCUMENT: True}, location)
                self._flag_version(writer, bucket_id, key, aux, ENTRY_LOCK)
            return
        if kind == Kind.ATTRIBUTES and aux > AUX_PLAIN and record.meta:
            index_key = entries.attributes_key(bucket_id, key, aux)
            old = writer.get(index_key)
            if old is None or decode_document(index_key, old).sequence < record.sequence:
                meta = entries.pack({DAMAGED_DOCUMENT: True})
                self._set_attributes(writer, bucket_id, key, record.sequence, aux, meta, location)
            return
        if kind == Kind.REMOVE and len(record.meta) == 1 and self._damaged_remove(writer, record, location):
            return
        self._add_version(writer, bucket_id, key, self._damaged_version(writer, record, location))

    def _damaged_document(self, writer: IndexWriter, record: Record, location: Location) -> None:
        """Have reading a damaged document be an error, so that no older one (a key that was disabled) stands for it.

        The mark of the compliance clock is the exception: an older one only means that it lags.
        """
        if not 0 < len(record.key) <= DOCUMENT_NAME_BYTES_MAX or record.key == CLOCK_DOCUMENT.encode():
            return
        old = writer.get(b"S" + record.key)
        if old is None or decode_document(b"S" + record.key, old).sequence < record.sequence:
            meta = entries.pack({DAMAGED_DOCUMENT: True})
            self._set_document(writer, record.key, record.sequence, meta, location)

    def _damaged_version(self, writer: IndexWriter, record: Record, location: Location) -> Entry:
        """Return the entry of a version that cannot be read, as far as its record can be made out."""
        flags, size = ENTRY_DAMAGED, len(record.body)
        if len(record.meta) >= META.size:
            _, _, meta_flags, _, stated = META.unpack_from(record.meta)
            if meta_flags & META_EXTENTS and not meta_flags & ~META_KNOWN:
                # Compaction leaves the body alone while this is known.
                flags |= ENTRY_EXTENTS
                size = stated
        if record.kind in (Kind.PUT, Kind.DELETE_MARKER):
            versioned = record.aux == AUX_VERSIONED
        else:
            current_key = entries.object_key(record.bucket_id, record.key)
            raw = writer.get(current_key)
            versioned = raw is not None and not decode_entry(current_key, raw).flags & ENTRY_NULL
        if not versioned:
            flags |= ENTRY_NULL
        # No tag: what compares tags must not take it for something it has.
        return Entry(flags, 0, record.sequence, record.time_ns, size, _NO_ETAG, *location[:3])

    def _damaged_remove(self, writer: IndexWriter, record: Record, location: Location) -> bool:
        """Make the version that a damaged removal names unreadable; return False if it names none."""
        for index_key in (
            entries.object_key(record.bucket_id, record.key),
            entries.version_key(record.bucket_id, record.key, min(record.aux, entries.SEQUENCE_MAX)),
        ):
            raw = writer.get(index_key)
            if raw is None:
                continue
            entry = decode_entry(index_key, raw)
            if entry.sequence == record.aux and not entry.flags & ENTRY_MARKER:
                flags = ENTRY_DAMAGED | (entry.flags & ENTRY_NULL)
                renewed = Entry(flags, 0, entry.sequence, entry.modified_ns, entry.size, _NO_ETAG, *location[:3])
                writer.put(index_key, encode_entry(index_key, renewed))
                return True
        # A removal that compaction moved may be about a version that is long gone.
        return bool(record.flags & FLAG_RELOCATED)

    def _damaged_bucket(
        self, writer: IndexWriter, record: Record, data: dict[str, Any] | None, location: Location
    ) -> bool:
        """Do what can be done about a damaged bucket record; return False if it looks like another kind of record."""
        try:
            name = check_bucket_name(record.key.decode())
        except InvalidInputError:
            return False
        known = {decode_document(key, raw).data["id"]: (key, raw) for key, raw in writer.scan(b"B", b"C")}
        index_key, found = known.get(record.bucket_id, (b"", b""))
        own_key = entries.bucket_key(name)
        named = index_key == own_key or (data is not None and data.get("id") == record.bucket_id)
        if not named and (found or record.kind == Kind.BUCKET_REMOVE or len(record.body)):
            # Its kind may be damaged, and it about an object of that bucket.
            return False
        if record.kind == Kind.BUCKET_REMOVE or (found and index_key != own_key) or (not found and writer.get(own_key)):
            # Removed, or under a damaged name: what is in it, if there is anything, stays reachable as it was.
            return True
        # Without it none of its objects could be reached.
        state = data if data is not None and is_bucket(data, record.bucket_id) else None
        if state is None:
            old = decode_document(index_key, found).data if found else {"d": "strict", "doc": {}, "v": "off"}
            # The state that is right for objects written under any.
            versioning = "suspended" if old["v"] == "off" else old["v"]
            state = {**old, "id": record.bucket_id, "t": old.get("t", record.time_ns), "v": versioning}
        self._set_bucket(writer, record.bucket_id, record.key, record.sequence, entries.pack(state), location)
        return True

    # -- versions

    def _add_version(self, writer: IndexWriter, bucket_id: int, key: bytes, entry: Entry) -> None:
        current_key = entries.object_key(bucket_id, key)
        raw = writer.get(current_key)
        current = decode_entry(current_key, raw) if raw is not None else None
        if entry.flags & ENTRY_NULL and not self._replace_null(writer, bucket_id, key, entry, current):
            return
        if current is not None and current.flags & ENTRY_NULL and entry.flags & ENTRY_NULL:
            current = None if current.sequence != entry.sequence else current
        if current is not None and current.sequence == entry.sequence:
            writer.put(
                current_key,
                encode_entry(current_key, entry._replace(flags=entry.flags | (current.flags & _KEPT))),
            )
            return
        newest = self._newest_noncurrent(writer, bucket_id, key)
        newest_sequence = max(current.sequence if current else 0, newest.sequence if newest else 0)
        if entry.sequence < newest_sequence:
            self._put_noncurrent(writer, bucket_id, key, entry)
            return
        if entry.sequence == newest_sequence and newest is not None:
            # The same version again, noncurrent or a marker: only its place changes.
            self._put_noncurrent(writer, bucket_id, key, entry._replace(flags=entry.flags | (newest.flags & _KEPT)))
            return
        if current is not None:
            self._put_noncurrent(writer, bucket_id, key, current)
        if entry.flags & ENTRY_MARKER:
            self._put_noncurrent(writer, bucket_id, key, entry)
            if raw is not None:
                writer.delete(current_key)
        else:
            writer.put(current_key, encode_entry(current_key, entry))

    def _replace_null(
        self, writer: IndexWriter, bucket_id: int, key: bytes, entry: Entry, current: Entry | None
    ) -> bool:
        """Remove the null version that `entry` replaces; return False if `entry` is the one that is dead."""
        if current is not None and current.flags & ENTRY_NULL:
            if current.sequence > entry.sequence:
                return False
            if current.sequence < entry.sequence:
                self._dead(writer, bucket_id, key, current)
                writer.delete(entries.object_key(bucket_id, key))
            return True
        pointer_key = entries.null_key(bucket_id, key)
        pointer = writer.get(pointer_key)
        if pointer is None:
            return True
        sequence = int.from_bytes(pointer, "big")
        if sequence > entry.sequence:
            return False
        if sequence < entry.sequence:
            self._drop_noncurrent(writer, bucket_id, key, sequence)
        return True

    def _put_noncurrent(self, writer: IndexWriter, bucket_id: int, key: bytes, entry: Entry) -> None:
        index_key = entries.version_key(bucket_id, key, entry.sequence)
        writer.put(index_key, encode_entry(index_key, entry))
        if entry.flags & ENTRY_NULL:
            writer.put(entries.null_key(bucket_id, key), entry.sequence.to_bytes(8, "big"))

    def _drop_noncurrent(self, writer: IndexWriter, bucket_id: int, key: bytes, sequence: int) -> None:
        index_key = entries.version_key(bucket_id, key, sequence)
        raw = writer.get(index_key)
        if raw is None:
            return
        entry = decode_entry(index_key, raw)
        self._dead(writer, bucket_id, key, entry)
        writer.delete(index_key)
        if entry.flags & ENTRY_NULL:
            writer.delete(entries.null_key(bucket_id, key))

    def _newest_noncurrent(self, writer: Reader, bucket_id: int, key: bytes) -> Entry | None:
        prefix = entries.version_prefix(bucket_id, key)
        for index_key, raw in writer.scan(prefix, prefix_end(prefix)):
            return decode_entry(index_key, raw)
        return None

    def _remove_version(self, writer: IndexWriter, bucket_id: int, key: bytes, sequence: int, *, null: bool) -> None:
        current_key = entries.object_key(bucket_id, key)
        raw = writer.get(current_key)
        current = decode_entry(current_key, raw) if raw is not None else None
        if null:
            if current is not None and current.flags & ENTRY_NULL:
                if current.sequence > sequence:
                    return
                self._dead(writer, bucket_id, key, current)
                writer.delete(current_key)
                current = None
            else:
                pointer = writer.get(entries.null_key(bucket_id, key))
                if pointer is None or int.from_bytes(pointer, "big") > sequence:
                    return
                self._drop_noncurrent(writer, bucket_id, key, int.from_bytes(pointer, "big"))
        elif current is not None and current.sequence == sequence:
            self._dead(writer, bucket_id, key, current)
            writer.delete(current_key)
            current = None
        else:
            self._drop_noncurrent(writer, bucket_id, key, sequence)
        if current is None:
            self._promote(writer, bucket_id, key)

    def _promote(self, writer: IndexWriter, bucket_id: int, key: bytes) -> None:
        """Make the newest version current, if it is not a delete marker."""
        newest = self._newest_noncurrent(writer, bucket_id, key)
        if newest is None or newest.flags & ENTRY_MARKER:
            return
        writer.delete(entries.version_key(bucket_id, key, newest.sequence))
        if newest.flags & ENTRY_NULL:
            writer.delete(entries.null_key(bucket_id, key))
        index_key = entries.object_key(bucket_id, key)
        writer.put(index_key, encode_entry(index_key, newest))

    def _dead(self, writer: IndexWriter, bucket_id: int, key: bytes, entry: Entry) -> None:
        """Note that a version's bytes are dead, and drop its attributes and its lock."""
        count_dead(writer, entry.segment_id, entry.length)
        for flag, key_of in ((ENTRY_ATTRIBUTES, entries.attributes_key), (ENTRY_LOCK, entries.lock_key)):
            if entry.flags & flag:
                index_key = key_of(bucket_id, key, entry.sequence)
                if writer.get(index_key) is not None:
                    writer.delete(index_key)

    # -- attributes, buckets

    def _set_attributes(
        self,
        writer: IndexWriter,
        bucket_id: int,
        key: bytes,
        sequence: int,
        version_sequence: int,
        meta: bytes,
        location: Location,
    ) -> None:
        index_key = entries.attributes_key(bucket_id, key, version_sequence)
        old = writer.get(index_key)
        if old is not None and decode_document(index_key, old).sequence > sequence:
            return
        writer.put(index_key, encode_document(index_key, sequence, location, unpack(meta)))
        self._flag_version(writer, bucket_id, key, version_sequence, ENTRY_ATTRIBUTES)

    def _flag_version(self, writer: IndexWriter, bucket_id: int, key: bytes, sequence: int, flag: int) -> bool:
        """Set a flag of a version's entry; return whether there is the version."""
        for index_key in (entries.object_key(bucket_id, key), entries.version_key(bucket_id, key, sequence)):
            raw = writer.get(index_key)
            if raw is not None:
                entry = decode_entry(index_key, raw)
                if entry.sequence == sequence:
                    if not entry.flags & flag:
                        writer.put(index_key, encode_entry(index_key, entry._replace(flags=entry.flags | flag)))
                    return True
        return False

    def _put_lock(
        self,
        writer: IndexWriter,
        bucket_id: int,
        key: bytes,
        version_sequence: int,
        sequence: int,
        data: dict[str, Any],
        location: Location,
    ) -> None:
        """Set the L entry of a version, unless a later record set it."""
        index_key = entries.lock_key(bucket_id, key, version_sequence)
        old = writer.get(index_key)
        if old is None or decode_document(index_key, old).sequence <= sequence:
            writer.put(index_key, encode_document(index_key, sequence, location, data))

    def _set_document(self, writer: IndexWriter, key: bytes, sequence: int, meta: bytes, location: Location) -> None:
        index_key = b"S" + key
        old = writer.get(index_key)
        if old is None or decode_document(index_key, old).sequence <= sequence:
            # A removed one stays as nil: what is gone is told by a live record, so that no tombstone is needed.
            writer.put(index_key, encode_document(index_key, sequence, location, unpack(meta)))
        last = writer.get(entries.DOCUMENTS_KEY)
        if last is None or int.from_bytes(last, "big") < sequence:
            writer.put(entries.DOCUMENTS_KEY, sequence.to_bytes(8, "big"))

    def _set_bucket(
        self, writer: IndexWriter, bucket_id: int, key: bytes, sequence: int, meta: bytes, location: Location
    ) -> None:
        index_key = entries.bucket_key(key.decode())
        old = writer.get(index_key)
        if old is None or decode_document(index_key, old).sequence <= sequence:
            writer.put(index_key, encode_document(index_key, sequence, location, unpack(meta)))
        counter = writer.get(b"Cnext")
        if counter is None or int.from_bytes(counter, "big") <= bucket_id:
            writer.put(b"Cnext", (bucket_id + 1).to_bytes(4, "big"))

    # -- what compaction and scrub ask

    def live(self, reader: Reader, record: Record, location: Location) -> bool:
        """Return whether the index still refers to this record at this place."""
        kind, bucket_id, key = record.kind, record.bucket_id, record.key
        if kind in (Kind.PUT, Kind.DELETE_MARKER):
            for index_key in (
                entries.object_key(bucket_id, key),
                entries.version_key(bucket_id, key, record.sequence),
            ):
                raw = reader.get(index_key)
                if raw is not None and decode_entry(index_key, raw).at(location):
                    return True
            return False
        if kind == Kind.PART:
            index_key = entries.part_key(record.aux, decode_put_meta(record.meta).extras["nr"])
            raw = reader.get(index_key)
            return raw is not None and decode_entry(index_key, raw).at(location)
        if kind == Kind.ATTRIBUTES:
            index_key = entries.attributes_key(bucket_id, key, record.aux)
        elif kind == Kind.LOCK:
            index_key = entries.lock_key(bucket_id, key, record.aux)
        elif kind == Kind.DOCUMENT:
            index_key = b"S" + key
        elif kind == Kind.BUCKET:
            index_key = entries.bucket_key(key.decode())
        elif kind == Kind.UPLOAD:
            index_key = entries.upload_key(bucket_id, key, record.sequence)
        else:
            return False
        raw = reader.get(index_key)
        return raw is not None and decode_document(index_key, raw).location[:2] == location[:2]

    def tombstone(self, record: Record) -> bool:
        """Return whether the record says that another is gone."""
        return record.kind in (Kind.REMOVE, Kind.UPLOAD_REMOVE, Kind.BUCKET_REMOVE)

    def extents(self, record: Record) -> Sequence[Extent]:
        """Return what a PUT or PART record refers to in body segments."""
        return decode_put_meta(record.meta).extents if record.kind in (Kind.PUT, Kind.PART) else ()

    def with_extents(self, record: Record, extents: Sequence[Extent]) -> bytes:
        """Return the record's meta with other extents."""
        meta = decode_put_meta(record.meta)
        return entries.encode_put_meta(meta.etag, meta.etag_parts, meta.size, extents, meta.extras)

    def referrers(self, reader: Reader) -> Iterator[Referrer]:
        """Iterate over the O, V and P entries that refer to a record with a body."""
        for tag, end in ((b"O", b"P"), (b"V", b"W"), (b"P", b"Q")):
            for index_key, raw in reader.scan(tag, end):
                entry = decode_entry(index_key, raw)
                if entry.flags & ENTRY_MARKER:
                    continue
                if tag == b"P":
                    bucket_id, key, version_id = (
                        0,
                        b"",
                        f"part {int.from_bytes(index_key[9:], 'big')} of an upload",
                    )
                else:
                    bucket_id = int.from_bytes(index_key[1:5], "big")
                    key = index_key[5:] if tag == b"O" else entries.split_versioned(index_key)[0]
                    version_id = entries.version_id_of(entry.sequence, entry.flags)
                yield Referrer(
                    bucket_id,
                    key,
                    entry.sequence,
                    entry.segment_id,
                    entry.offset,
                    bool(entry.flags & ENTRY_EXTENTS),
                    version_id,
                )

    def dead_bytes(self, reader: Reader, segment_id: int) -> int:
        """Return the bytes counted dead so far in a segment."""
        raw = reader.get(entries.dead_key(segment_id))
        return int.from_bytes(raw, "big") if raw is not None else 0

    def volatile(self, key: bytes) -> bool:
        """Return whether an entry is a count of dead bytes."""
        return key.startswith(b"D")

    def place_of(self, key: bytes, raw: bytes) -> tuple[int, int, int] | None:
        """Return (sequence, segment, offset) of the record that an entry was made from, None where it names none.

        Raises
        ------
        IntegrityError
            The entry does not match its own checksum.
        """
        if key[:1] in (b"O", b"V", b"P"):
            entry = decode_entry(key, raw)
            return entry.sequence, entry.segment_id, entry.offset
        if key[:1] in (b"B", b"T", b"U", b"L", b"S"):
            document = decode_document(key, raw)
            return document.sequence, document.location.segment_id, document.location.offset
        return None

    def drop_strays(self, writer: IndexWriter) -> None:
        """Remove what damaged records left in buckets that there are not: a later bucket would inherit it."""
        known = set()
        for index_key, raw in list(writer.scan(b"B", b"C")):
            document = decode_document(index_key, raw)
            bucket_id = document.data["id"]
            known.add(bucket_id)
            first, stop = entries.bucket_prefix(b"V", bucket_id), entries.bucket_prefix(b"V", bucket_id + 1)
            if document.data["v"] == "off" and next(writer.scan(first, stop), None) is not None:
                # That versions are kept was told by a record that is lost.
                data = {**document.data, "v": "suspended"}
                writer.put(index_key, encode_document(index_key, document.sequence, document.location, data))
        locked = {int.from_bytes(key[1:5], "big") for key, _ in writer.scan(b"L", b"M")}
        for index_key, raw in list(writer.scan(b"B", b"C")):
            document = decode_document(index_key, raw)
            data = document.data
            if data["id"] in locked and "object_lock" not in data["doc"]:
                # That it has object lock was told by a record that is lost; a bucket keeps it for ever.
                data = {**data, "v": "enabled", "doc": {**data["doc"], "object_lock": {}}}
                writer.put(index_key, encode_document(index_key, document.sequence, document.location, data))
        for tag, end in ((b"O", b"P"), (b"V", b"W")):
            for key, raw in list(writer.scan(tag, end)):
                if int.from_bytes(key[1:5], "big") not in known and decode_entry(key, raw).flags & ENTRY_DAMAGED:
                    writer.delete(key)
                    if tag == b"V":
                        writer.delete(entries.null_key(int.from_bytes(key[1:5], "big"), key[5:-9]))

    def finish_rebuild(self, writer: IndexWriter) -> None:
        """Remove attributes and locks without their version, and parts without their upload."""
        uploads = {entries.split_versioned(key)[1] for key, _ in writer.scan(b"U", b"V")}
        for key in [key for key, _ in writer.scan(b"P", b"Q")]:
            if int.from_bytes(key[1:9], "big") not in uploads:
                writer.delete(key)
        for tag, end, flag in ((b"T", b"U", ENTRY_ATTRIBUTES), (b"L", b"M", ENTRY_LOCK)):
            for index_key in [key for key, _ in writer.scan(tag, end)]:
                bucket_id = int.from_bytes(index_key[1:5], "big")
                key, sequence = entries.split_versioned(index_key)
                if not self._flag_version(writer, bucket_id, key, sequence, flag):
                    writer.delete(index_key)


def _document_of(meta: bytes) -> dict[str, Any] | None:
    """Return the document in the meta bytes of a damaged record, None if it cannot be read."""
    try:
        found = unpack(meta)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return found if isinstance(found, dict) else None


def count_dead(writer: IndexWriter, segment_id: int, length: int) -> None:
    """Add to a segment's count of dead bytes: a hint that tells compaction where to look first."""
    key = entries.dead_key(segment_id)
    raw = writer.get(key)
    dead = length + (int.from_bytes(raw, "big") if raw is not None else 0)
    writer.put(key, dead.to_bytes(8, "big"))
