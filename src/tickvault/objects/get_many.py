"""Reading many objects at once: one point in time, every record verified, nothing copied.

Invariants: as of `get`; a batch gives the same blobs and the same errors whether the kernels are there or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from crc32c import crc32c

from tickvault.engine.index import SHORT_KEY_MAX, Snapshot
from tickvault.engine.kernels import Kernels, kernels
from tickvault.engine.record import FRAME_SIZE
from tickvault.engine.segments import SegmentGoneError
from tickvault.errors import IntegrityError, InvalidInputError, NotFoundError
from tickvault.objects import names
from tickvault.objects.blob import U8, Blob
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT
from tickvault.objects.entries import ENTRY, ENTRY_ENCRYPTED, ENTRY_FIELDS, ENTRY_PLACE, decode_entry
from tickvault.objects.get import read, read_entry, sealed_blob

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

#: Fewer keys than this are read sooner one by one.
_KERNEL_COUNT_MIN = 16
#: No segment is as large; sums with it do not overflow.
_OFFSET_MAX = 1 << 48
_NOTHING = memoryview(b"")
_place = ENTRY_PLACE.unpack
_new = np.ndarray.__new__
_set_source = Blob.__dict__["_source"].__set__


def get_many(bucket: Bucket, keys: Iterable[str]) -> list[Blob]:
    """Return the blobs of several keys, all as of one point in time.

    Raises
    ------
    NotFoundError
        One of the keys does not exist.
    InvalidInputError
        `keys` is a single key.
    """
    if isinstance(keys, (str, bytes)):
        raise InvalidInputError(f"get_many takes several keys, such as [{keys!r}]; a single one is read with get")
    if not isinstance(keys, list):
        keys = list(keys)
    # Encrypted bodies are opened one by one: a hint, since older versions may be either.
    at_once = len(keys) >= _KERNEL_COUNT_MIN and ENCRYPTION_DOCUMENT not in bucket.state.info.documents
    compiled = kernels(len(keys)) if at_once else None
    with bucket.store.engine.snapshot() as snapshot:
        found = _at_once(bucket, snapshot, keys, compiled) if compiled is not None else None
        return _one_by_one(bucket, snapshot, keys) if found is None else found


def _one_by_one(bucket: Bucket, snapshot: Snapshot, keys: Sequence[str]) -> list[Blob]:
    prefix = bucket.object_prefix
    view_of = bucket.store.engine.segments.view
    found: list[Blob] = []
    append = found.append
    recent, index = snapshot.getters()
    last_segment, view = -1, _NOTHING
    for key in keys:
        try:
            raw_key = key.encode()
        except (AttributeError, UnicodeEncodeError):
            raw_key = names.encode_key(key)
        index_key = prefix + raw_key
        if len(index_key) > SHORT_KEY_MAX:
            value = snapshot.get(index_key)
        else:
            value = recent(index_key)
            if value is None:
                value = index(index_key)
        if not value:
            names.encode_key(key)
            raise NotFoundError(f"object {bucket.name}/{key} does not exist")
        if len(value) != ENTRY.size:
            decode_entry(index_key, value)
        size, segment_id, offset, body_offset, crc = _place(value)
        body = offset + body_offset
        if body_offset and (segment_id != last_segment or body + size > len(view)):
            last_segment = segment_id
            try:
                view = view_of(segment_id, body + size)
            except (SegmentGoneError, IntegrityError):
                view = _NOTHING
                last_segment = -1
        if (
            body_offset
            and crc32c(view[offset + 4 : body + size]) == crc
            and view[offset + 64 : offset + 64 + len(raw_key)] == raw_key
        ):
            blob: Blob = _new(Blob, size, U8, view, body)
            blob._source = bucket, raw_key, value
        else:
            blob = _the_long_way(bucket, snapshot, key, raw_key, value)
        append(blob)
    return found


def _the_long_way(bucket: Bucket, snapshot: Snapshot, key: str, raw_key: bytes, value: bytes) -> Blob:
    """Read what is not one record under one checksum, or say what is wrong with it."""
    if value[4] & ENTRY_ENCRYPTED:
        opened = sealed_blob(bucket, raw_key, value)
        if opened is not None:
            return opened
    try:
        entry = decode_entry(bucket.object_prefix + raw_key, value)
        return read_entry(bucket, snapshot, raw_key, entry).blob()
    except SegmentGoneError:
        # Compaction moved it since this snapshot was taken; its bytes are the same where it is now.
        return read(bucket, key, None).blob()


def _at_once(bucket: Bucket, snapshot: Snapshot, keys: Sequence[str], compiled: Kernels) -> list[Blob] | None:
    """Look all keys up, then verify all records in one call.

    Returns
    -------
    list of Blob or None
        None where any of them is missing, damaged, or no record under one checksum: the plain way tells them apart.
    """
    prefix = bucket.object_prefix
    try:
        raw_keys = [key.encode() for key in keys]
    except (AttributeError, UnicodeEncodeError):
        return None
    key_lengths = np.fromiter(map(len, raw_keys), np.int64, len(raw_keys))
    if key_lengths.max() > SHORT_KEY_MAX - len(prefix):
        return None
    values: list[Any] = snapshot.get_many([prefix + raw_key for raw_key in raw_keys])
    if None in values or set(map(len, values)) != {ENTRY.size}:
        return None
    table = np.frombuffer(b"".join(values), ENTRY_FIELDS)
    sizes, offsets, body_offsets = (table[name].astype(np.int64) for name in ("size", "offset", "body_offset"))
    # The entries were not checked yet; none may lead the kernel out of the segment that it names.
    if not ((body_offsets > 0) & (sizes >= 0) & (sizes <= FRAME_SIZE) & (offsets >= 0) & (offsets < _OFFSET_MAX)).all():
        return None
    bodies = offsets + body_offsets
    segment_ids = table["segment_id"]
    views: dict[int, memoryview] = {}
    addresses = offsets.copy()
    for segment_id in set(segment_ids.tolist()):
        here = segment_ids == segment_id
        end = int((bodies + sizes)[here].max())
        try:
            views[segment_id] = bucket.store.engine.segments.view(segment_id, end)
            addresses[here] += bucket.store.engine.segments.address(segment_id, end)
        except (SegmentGoneError, IntegrityError):
            return None
    intact = np.zeros(len(values), np.bool_)
    compiled.records_intact(
        addresses,
        body_offsets + sizes,
        np.ascontiguousarray(table["crc"]),
        np.frombuffer(b"".join(raw_keys), np.uint8),
        np.cumsum(key_lengths),
        intact,
    )
    if not intact.all():
        return None
    if len(views) == 1:
        over: Iterable[memoryview] = repeat(*views.values())
    else:
        over = [views[segment_id] for segment_id in segment_ids.tolist()]
    # No bytecode in these loops: they are a third of the whole otherwise.
    found: list[Blob] = list(map(_new, repeat(Blob), sizes.tolist(), repeat(U8), over, bodies.tolist()))
    deque(map(_set_source, found, zip(repeat(bucket), raw_keys, values, strict=False)), maxlen=0)
    return found
