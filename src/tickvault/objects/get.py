"""Reading an object: verified on every read, without copying.

Invariants: no byte leaves before its checksum held and the record was that of the key, version and sequence asked for;
a reader that meets a segment retired under it looks the object up again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from crc32c import crc32c

from tickvault.engine.bodies import Extent, verified_extent
from tickvault.engine.index import Reader
from tickvault.engine.record import FRAME_SIZE
from tickvault.engine.segments import SegmentGoneError, Segments
from tickvault.errors import AccessDeniedError, IntegrityError, InvalidInputError, TickVaultError
from tickvault.objects import entries, names
from tickvault.objects.blob import U8, Blob
from tickvault.objects.encryption.customer_key import check_key
from tickvault.objects.encryption.opening import SealedObject, open_sealed
from tickvault.objects.encryption.small import small_body
from tickvault.objects.encryption.stored import effective
from tickvault.objects.entries import (
    ENTRY,
    ENTRY_ATTRIBUTES,
    ENTRY_ENCRYPTED,
    ENTRY_EXTENTS,
    ENTRY_LOCK,
    ENTRY_NULL,
    ENTRY_PLACE,
    META,
    Entry,
    decode_entry,
)
from tickvault.objects.lock.guard import lock_of
from tickvault.objects.lookup import (
    damaged,
    described,
    info_of_record,
    later_attributes,
    read_record,
    require_version,
)
from tickvault.objects.model import ObjectInfo
from tickvault.seam.disk import resident
from tickvault.security.keyring.faults import retold

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

Result = TypeVar("Result")
_RETRIES = 20
_NOTHING = memoryview(b"")
#: The length of the meta bytes in a record's header.
_META_LENGTH = struct.Struct("<32xI")
_STORED_CHUNK_SIZE = 512 * 1024
_place = ENTRY_PLACE.unpack
_new = np.ndarray.__new__


def retrying(call: Callable[[], Result], key: str = "") -> Result:
    """Run a lookup and read of `key`, again where compaction retired the segment in between."""
    for _ in range(_RETRIES):
        try:
            return call()
        except SegmentGoneError:
            continue
    what = f"object {key!r} cannot be read: " if key else ""
    raise IntegrityError(f"{what}the index refers to a segment that is gone; run `tickvault verify`")


def clamp(start: int, end: int | None, size: int) -> tuple[int, int]:
    """Return [start, end) within an object of `size` bytes.

    Raises
    ------
    InvalidInputError
        `start` is negative or beyond the end of the object, or `end` is before `start`.
    """
    stop = size if end is None or end > size else end
    if start < 0 or start > size or stop < start:
        raise InvalidInputError(f"range [{start}, {end}) does not lie within an object of {size} bytes")
    return start, stop


def get(
    bucket: Bucket, key: str, start: int, end: int | None, version_id: str | None, customer_key: bytes | None = None
) -> Blob:
    """Return a verified blob."""
    raw_key = names.encode_key(key)
    if version_id is None and customer_key is None:
        # The short way: current version, header and body under one checksum. All else goes the long way, which also
        # looks again where this one finds that something does not match, and says what it is.
        engine = bucket.store.engine
        value = engine.index.get(bucket.object_prefix + raw_key)
        if value is not None and len(value) == ENTRY.size:
            size, segment_id, offset, body_offset, crc = _place(value)
            if body_offset:
                body = offset + body_offset
                try:
                    view = engine.segments.view(segment_id, body + size)
                except (SegmentGoneError, IntegrityError):
                    # Retired, or the entry is damaged: the long way checks that first.
                    view = _NOTHING
                if (
                    crc32c(view[offset + 4 : body + size]) == crc
                    and view[offset + 64 : offset + 64 + len(raw_key)] == raw_key
                ):
                    stop = size
                    if start or end is not None:
                        start, stop = clamp(start, end, size)
                    blob: Blob = _new(Blob, stop - start, U8, view, body + start)
                    blob._source = bucket, raw_key, value
                    return blob
            elif value[4] & ENTRY_ENCRYPTED:
                found = sealed_blob(bucket, raw_key, value, start, end)
                if found is not None:
                    return found
    return retrying(lambda: read(bucket, key, version_id, customer_key).blob(start, end), key)


def sealed_blob(bucket: Bucket, key: bytes, value: bytes, start: int = 0, end: int | None = None) -> Blob | None:
    """Return a blob of a small encrypted body, by its index entry; None where only the long way will do."""
    plain = small_body(bucket.store, bucket.bucket_id, key, value)
    if plain is None:
        return None
    stop = len(plain)
    if start or end is not None:
        start, stop = clamp(start, end, stop)
    blob: Blob = _new(Blob, stop - start, U8, plain, start)
    blob._source = bucket, key, value
    return blob


def info_of_source(bucket: Bucket, key: bytes, value: bytes) -> ObjectInfo:
    """Return the info of a blob read the short way, from the index entry it was read by."""
    entry = decode_entry(bucket.object_prefix + key, value)
    engine = bucket.store.engine
    try:
        record, _ = read_record(engine.segments, entry, key, bucket.bucket_id)
    except SegmentGoneError:
        # Moved since: what is known of that version under its id, if it is still there.
        return with_checksums(bucket, head(bucket, key.decode(), entries.version_id_of(entry.sequence, entry.flags)))
    with engine.snapshot() as snapshot:
        info = info_of_record(snapshot, entry, record.meta, bucket.bucket_id, key, is_latest=True)
    return with_checksums(bucket, info)


class ObjectReader:
    """One version of an object, looked up once; its bytes stay readable while this is held."""

    __slots__ = ("_body", "_extents", "_info", "_sealed", "_segments")

    def __init__(
        self,
        segments: Segments,
        body: memoryview,
        info: ObjectInfo,
        extents: Sequence[Extent] = (),
        sealed: SealedObject | None = None,
    ) -> None:
        self._segments = segments
        self._body = body
        self._sealed = sealed
        self._info = info
        self._extents: tuple[tuple[int, Extent, memoryview], ...] = ()
        if extents:
            at = 0
            found = []
            for extent in extents:
                try:
                    view = segments.view(extent.segment_id, extent.end)
                except IntegrityError as error:
                    raise IntegrityError(f"object {info.key!r} is damaged: {error}") from None
                found.append((at, extent, view))
                at += extent.length
            self._extents = tuple(found)

    @property
    def info(self) -> ObjectInfo:
        """What is known of the version."""
        info = self._info
        if info.sealed_checksums and not info.checksums and self._sealed is not None:
            # Not before somebody asks: most reads do not.
            self._info = info = info._replace(checksums=self._sealed.checksums(info.sealed_checksums))
        return info

    def _verified(self, view: memoryview, extent: Extent, start: int, end: int) -> memoryview:
        try:
            return verified_extent(view, extent, start, end)
        except IntegrityError as error:
            raise IntegrityError(f"object {self._info.key!r} is damaged: {error}") from None

    def resident(self, start: int = 0, end: int | None = None) -> bool:
        """Return whether the bytes of a range are in memory, so that reading them cannot wait for the disk.

        Of an encrypted object: and whether opening them takes no longer than an event loop may wait.
        """
        start, stop = clamp(start, end, self._info.size)
        sealed = self._sealed
        if sealed is None:
            return self._stored_resident(start, stop)
        return sealed.at_once(start, stop) and all(
            self._stored_resident(low, high) for low, high in sealed.stored_ranges(start, stop)
        )

    def _stored_resident(self, start: int, stop: int) -> bool:
        segments = self._segments
        if not self._extents:
            # The record was read to verify it; its pages are there.
            return True
        for at, extent, _ in self._extents:
            low, high = max(start - at, 0), min(stop - at, extent.length)
            if low < high:
                address = segments.address(extent.segment_id, extent.end)
                low -= low % FRAME_SIZE
                if not resident(address + extent.offset + low, high - low):
                    return False
        return True

    def chunks(self, start: int = 0, end: int | None = None, chunk_size: int = 512 * 1024) -> Iterator[memoryview]:
        """Iterate over verified views of a range, each at most `chunk_size` bytes, read as they are asked for.

        Raises
        ------
        IntegrityError
            A frame is damaged; what was yielded before is sound.
        """
        start, stop = clamp(start, end, self._info.size)
        if self._sealed is not None:
            with self._named():
                yield from self._sealed.pieces(self._stored_bytes, start, stop, chunk_size)
        else:
            yield from self._stored_chunks(start, stop, chunk_size)

    def _stored_chunks(self, start: int, stop: int, chunk_size: int) -> Iterator[memoryview]:
        if not self._extents:
            for low in range(start, stop, chunk_size):
                yield self._body[low : min(low + chunk_size, stop)]
            return
        for at, extent, view in self._extents:
            low, high = max(start - at, 0), min(stop - at, extent.length)
            while low < high:
                # Cut at frame boundaries, so that no frame is verified twice.
                upto = min(high, (low // FRAME_SIZE) * FRAME_SIZE + max(chunk_size, FRAME_SIZE))
                yield self._verified(view, extent, low, upto)
                low = upto

    def bytes(self, start: int = 0, end: int | None = None) -> memoryview:
        """Return one verified view of a range: zero-copy when it lies in one extent, else copied together."""
        start, stop = clamp(start, end, self._info.size)
        if self._sealed is None:
            return self._stored_bytes(start, stop)
        with self._named():
            return self._sealed.open(self._stored_bytes, start, stop)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which object it is that does not open."""
        try:
            yield
        except IntegrityError as error:
            named = f"object {self._info.key!r}"
            raise IntegrityError(str(error) if str(error).startswith(named) else f"{named}: {error}") from None

    def _stored_bytes(self, start: int, stop: int) -> memoryview:
        if not self._extents:
            return self._body[start:stop]
        for at, extent, view in self._extents:
            if at <= start and stop <= at + extent.length:
                return self._verified(view, extent, start - at, stop - at)
        return memoryview(b"".join(self._stored_chunks(start, stop, _STORED_CHUNK_SIZE)))

    def blob(self, start: int = 0, end: int | None = None) -> Blob:
        """Return a verified blob of a range."""
        data = self.bytes(start, end)
        blob: Blob = _new(Blob, len(data), U8, data, 0)
        blob._source = self if self._sealed is not None and self._info.sealed_checksums else self._info
        return blob


class Found(NamedTuple):
    """A version that was looked up, and whose record was verified."""

    info: ObjectInfo
    body: memoryview
    extents: tuple[Extent, ...]
    sequence: int
    encryption: Mapping[str, Any] | None
    """The entry ``en`` of its record, with what was made anew."""
    original: Mapping[str, Any] | None = None
    """The same as it was written, where something was made anew."""

    def reader(self, bucket: Bucket, key: bytes, customer_key: bytes | None = None) -> ObjectReader:
        """Return its reader; unwraps the key of an encrypted one, which may wait for a key service."""
        if self.encryption is None:
            check_key(customer_key, b"")
            return ObjectReader(bucket.store.engine.segments, self.body, self.info, self.extents)
        info = self.info
        place = bucket.store, bucket.bucket_id, key, self.sequence, info.size
        try:
            sealed = open_sealed(*place, self.encryption, info.part_sizes, customer_key)
        except (AccessDeniedError, IntegrityError) as error:
            told = retold(error, f"object {bucket.name}/{info.key} version {info.version_id}: {error}")
            if self.original is None:
                raise told from None
            # Whatever was written over it later, what it was written with opens it as long as there is that key.
            try:
                sealed = open_sealed(*place, self.original, info.part_sizes, customer_key)
            except (AccessDeniedError, IntegrityError):
                raise told from None
        length = sum(extent.length for extent in self.extents) if self.extents else len(self.body)
        if length != sealed.stored_size:
            raise IntegrityError(
                f"object {bucket.name}/{info.key} has {length} stored bytes where {sealed.stored_size} were sealed; "
                "run `tickvault verify`"
            )
        return ObjectReader(bucket.store.engine.segments, self.body, info, self.extents, sealed)


def read(bucket: Bucket, key: str, version_id: str | None, customer_key: bytes | None = None) -> ObjectReader:
    """Look a version up and return its reader."""
    raw_key = names.encode_key(key)
    if version_id is None and customer_key is None:
        reader = _read_simple(bucket, raw_key, key)
        if reader is not None:
            return reader
    return retrying(lambda: _find(bucket, raw_key, version_id).reader(bucket, raw_key, customer_key), key)


def _find(bucket: Bucket, key: bytes, version_id: str | None) -> Found:
    with bucket.store.engine.snapshot() as snapshot:
        entry, is_latest = require_version(snapshot, bucket.name, bucket.bucket_id, key, version_id)
        return _found(bucket, snapshot, key, entry, is_latest=is_latest)


def read_resident(
    bucket: Bucket, key: str, version_id: str | None, customer_key: bytes | None = None
) -> ObjectReader | None:
    """Return the reader of a version if looking it up cannot wait for the disk, else None.

    For an event loop: verifying a record touches its pages, and a page that is not in memory stops the whole thread.
    Nor does it wait for a key service that is elsewhere, or not open yet.
    """
    raw_key = names.encode_key(key)
    if version_id is None and customer_key is None:
        value = bucket.store.engine.index.get(bucket.object_prefix + raw_key)
        if value is not None and len(value) == ENTRY.size:
            return _read_simple(bucket, raw_key, key, value) or _read_if_resident(bucket, raw_key, None, None)
    return _read_if_resident(bucket, raw_key, version_id, customer_key)


def _read_if_resident(
    bucket: Bucket, key: bytes, version_id: str | None, customer_key: bytes | None
) -> ObjectReader | None:
    engine = bucket.store.engine
    with engine.snapshot() as snapshot:
        entry, is_latest = require_version(snapshot, bucket.name, bucket.bucket_id, key, version_id)
        try:
            if entry.flags & ENTRY_ENCRYPTED and not bucket.store.keys.at_once:
                return None
            address = engine.segments.address(entry.segment_id, entry.offset + entry.length)
            if not resident(address + entry.offset, entry.length):
                return None
            found = _found(bucket, snapshot, key, entry, is_latest=is_latest)
            return found.reader(bucket, key, customer_key)
        except SegmentGoneError:
            return None


def _read_simple(bucket: Bucket, raw_key: bytes, key: str, value: bytes | None = None) -> ObjectReader | None:
    """Return a reader of the current version by the short way, None where only the long way will do.

    The short way is for a body inside its record whose attributes are those it was written with. With `value` given,
    None also means that its bytes are not in memory.
    """
    segments = bucket.store.engine.segments
    check = value is not None
    index_key = bucket.object_prefix + raw_key
    if value is None:
        value = bucket.store.engine.index.get(index_key)
        if value is None or len(value) != ENTRY.size:
            return None
    stated, flags, _, parts, sequence, modified_ns, size, etag, segment_id, offset, _, body_offset, crc = ENTRY.unpack(
        value
    )
    if not body_offset or flags & ENTRY_ATTRIBUTES or crc32c(value[4:], crc32c(index_key)) != stated:
        return None
    body = offset + body_offset
    try:
        view = segments.view(segment_id, body + size)
        if check and not resident(segments.address(segment_id) + offset, body_offset + size):
            return None
    except (SegmentGoneError, IntegrityError):
        return None
    key_end = offset + 64 + len(raw_key)
    if crc32c(view[offset + 4 : body + size]) != crc or view[offset + 64 : key_end] != raw_key:
        return None
    (meta_length,) = _META_LENGTH.unpack_from(view, offset)
    version = "null" if flags & ENTRY_NULL else f"{sequence:016x}"
    tag = f"{etag.hex()}-{parts}" if parts else etag.hex()
    info = ObjectInfo(key, size, tag, sequence, modified_ns, version)
    if meta_length != META.size or flags & ENTRY_LOCK:
        extras = entries.decode_put_meta(bytes(view[key_end : key_end + meta_length])).extras
        lock = None
        if flags & ENTRY_LOCK:
            lock = lock_of(bucket.store.engine.index, bucket.bucket_id, raw_key, sequence)
        info = described(info, extras, lock)
    return ObjectReader(segments, view[body : body + size], info)


def read_entry(bucket: Bucket, snapshot: Reader, key: bytes, entry: Entry, *, is_latest: bool = True) -> ObjectReader:
    """Return the reader of the version that an index entry describes."""
    return _found(bucket, snapshot, key, entry, is_latest=is_latest).reader(bucket, key)


def _found(bucket: Bucket, snapshot: Reader, key: bytes, entry: Entry, *, is_latest: bool) -> Found:
    record, _ = read_record(bucket.store.engine.segments, entry, key, bucket.bucket_id)
    meta = entries.decode_put_meta(record.meta) if entry.flags & (ENTRY_EXTENTS | ENTRY_ENCRYPTED) else None
    extents = meta.extents if meta is not None else ()
    info = info_of_record(snapshot, entry, record.meta, bucket.bucket_id, key, is_latest=is_latest)
    encryption = None
    if meta is not None and "en" in meta.extras:
        extras = meta.extras
        if entry.flags & ENTRY_ATTRIBUTES:
            extras = {**extras, **later_attributes(snapshot, bucket.bucket_id, key, entry.sequence)}
        encryption = effective(extras)
    if (encryption is not None) != bool(entry.flags & ENTRY_ENCRYPTED):
        raise damaged(entry, key)
    if encryption is None and len(record.body) != entry.size and not extents:
        raise damaged(entry, key)
    original = None
    if encryption is not None and meta is not None and encryption is not meta.extras["en"]:
        original = meta.extras["en"]
    return Found(info, record.body, extents, entry.sequence, encryption, original)


def head(bucket: Bucket, key: str, version_id: str | None) -> ObjectInfo:
    """Return what is known of a version, without reading its body where that is separate, and without its key.

    So its checksums are not opened where they are sealed; see `with_checksums`.
    """
    raw_key = names.encode_key(key)
    if version_id is None:
        reader = _read_simple(bucket, raw_key, key)
        if reader is not None:
            return reader.info
    return retrying(lambda: _find(bucket, raw_key, version_id).info, key)


def with_checksums(bucket: Bucket, info: ObjectInfo, customer_key: bytes | None = None) -> ObjectInfo:
    """Return the info of a version with its sealed checksums opened; as it is, where that cannot be done.

    May wait for a key service.  A key that is disabled, destroyed, not there or not given is no error: the rest of
    what is known of the version stays true.
    """
    if not info.sealed_checksums or info.checksums or info.encryption is None:
        return info
    if info.encryption.mode != "customer":
        customer_key = None
    elif customer_key is None:
        return info
    raw_key = names.encode_key(info.key)

    def attempt() -> ObjectInfo:
        found = _find(bucket, raw_key, info.version_id)
        if found.sequence != info.sequence:
            return info  # a null version that was replaced meanwhile
        return info._replace(checksums=found.reader(bucket, raw_key, customer_key).info.checksums)

    try:
        return retrying(attempt, info.key)
    except TickVaultError:
        return info
