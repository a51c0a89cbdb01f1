"""The index entries of the object store: their keys, their values, and the meta bytes of their records.

==== ============================================ =========================================================
tag  key                                          value
==== ============================================ =========================================================
O    bucket id, object key                        the current version, if it is not a delete marker
V    bucket id, object key, NUL, ~sequence        noncurrent versions and delete markers, newest first
N    bucket id, object key                        sequence of the null version, when it is in V
T    bucket id, object key, NUL, sequence         tags and headers set after the version was written
U    bucket id, object key, NUL, sequence         a multipart upload in progress
P    sequence of the upload, part number          an uploaded part
B    bucket name                                  a bucket
L    bucket id, object key, NUL, sequence         the lock of a version: retention and legal hold
S    document name                                a document of the vault itself: identities, keys, its clock
R    ``documents``                                sequence of the last change of any document
C    ``next``                                     next bucket id
D    segment id                                   bytes in the segment known to be dead (a hint for compaction)
==== ============================================ =========================================================

Invariants: a listing of current keys reads O only; numbers in keys are big-endian, so that byte order is their order;
an entry's checksum covers its key, so that an entry under the wrong key is noticed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
import numpy as np
from crc32c import crc32c

from tickvault.engine.bodies import Extent
from tickvault.engine.record import Location
from tickvault.errors import IntegrityError


class Kind(IntEnum):
    """What a record says. Numbers are part of the format and are never reused."""

    PUT = 1
    DELETE_MARKER = 2
    REMOVE = 3
    ATTRIBUTES = 4
    BUCKET = 5
    BUCKET_REMOVE = 6
    UPLOAD = 7
    UPLOAD_REMOVE = 8
    PART = 9
    LOCK = 10
    DOCUMENT = 11


# `aux` of PUT and DELETE_MARKER
AUX_VERSIONED = 1
"""The version has an id of its own; otherwise it is the null version."""
AUX_PLAIN = 2
"""The bucket had never had versions, so the key has at most this one."""

# meta of REMOVE: one byte of flags
REMOVE_NULL = 1
"""Null versions up to the one named, rather than the one named."""
REMOVE_BYPASS = 2
"""Whoever asked may remove what GOVERNANCE retains, and said so."""

# flags of an entry
ENTRY_MARKER = 1
ENTRY_NULL = 2
ENTRY_EXTENTS = 4
ENTRY_ATTRIBUTES = 8
ENTRY_DAMAGED = 16
"""Made from a damaged record: reading it is an error."""
ENTRY_LOCK = 32
"""The version has an L entry."""
ENTRY_ENCRYPTED = 64
"""What is stored is not the body: `body_offset` is 0, so that no fast way takes it for one."""
#: In a version's later attributes: ``rw`` where its record was written to wrap the data key anew, and for nothing else;
#: ``hd`` where it was written for headers.
ATTRIBUTES_CHANGE = "wh"
#: In the document of a version's later attributes, of its lock, or of the vault, when its record is damaged.
DAMAGED_DOCUMENT = "damaged"

ENTRY = struct.Struct("<IBBHQqQ16sIQIII")
#: The same for many entries at once.
ENTRY_FIELDS = np.dtype(
    {
        "names": ["size", "segment_id", "offset", "body_offset", "crc"],
        "formats": ["<u8", "<u4", "<u8", "<u4", "<u4"],
        "offsets": [24, 48, 52, 64, 68],
        "itemsize": ENTRY.size,
    }
)
#: What a read needs of an entry: size, segment id, offset, body offset, checksum.
ENTRY_PLACE = struct.Struct("<24xQ16xIQ4xII")
assert ENTRY_PLACE.size == ENTRY.size
_pack_entry = struct.Struct("<BBHQqQ16sIQIII").pack
META = struct.Struct("<16sHBBQ")
_U32BE = struct.Struct(">I")
_U64BE = struct.Struct(">Q")
_PART_KEY = struct.Struct(">QH")
_LOCATION = struct.Struct("<QIQI")
SEQUENCE_MAX = (1 << 64) - 1

# flags in the meta of a PUT
META_EXTENTS = 1
META_LOCK = 2
"""Its extras hold a lock under ``lk``."""
META_ENCRYPTED = 4
"""The body is encrypted; its extras say how under ``en`` (`objects.encryption.stored`)."""
META_KNOWN = META_EXTENTS | META_LOCK | META_ENCRYPTED
#: The document that holds the mark of the compliance clock (`objects.lock.clock`).
CLOCK_DOCUMENT = "lock/clock"
#: The document that holds which keyring the vault has, and what was done to its keys last (`objects.encryption`).
KEYRING_DOCUMENT = "keyring/state"
#: Index key of the last change of any document.
DOCUMENTS_KEY = b"Rdocuments"


class Entry(NamedTuple):
    """An O, V or P value, decoded."""

    flags: int
    etag_parts: int
    sequence: int
    modified_ns: int
    size: int
    """Of the object, bytes; of an encrypted one, what is stored is larger."""
    etag: bytes
    segment_id: int
    offset: int
    length: int
    body_offset: int = 0
    """From the record's start to its body, where one checksum covers header and body; else 0."""
    crc: int = 0
    """That checksum: it covers sequence, bucket and key, so a match proves that the record is the one meant."""

    def at(self, location: Location) -> bool:
        """Return whether the record lies there."""
        return self.segment_id == location.segment_id and self.offset == location.offset


def encode_fields(
    key: bytes,
    flags: int,
    etag_parts: int,
    sequence: int,
    modified_ns: int,
    size: int,
    etag: bytes,
    segment_id: int,
    offset: int,
    length: int,
    body_offset: int = 0,
    crc: int = 0,
) -> bytes:
    """Return the value of an index entry under `key`, from the fields of an `Entry`."""
    body = _pack_entry(
        flags, 0, etag_parts, sequence, modified_ns, size, etag, segment_id, offset, length, body_offset, crc
    )
    checksum: int = crc32c(body, crc32c(key))
    return checksum.to_bytes(4, "little") + body


def encode_entry(key: bytes, entry: Entry) -> bytes:
    """Return the value of an index entry under `key`."""
    return encode_fields(key, *entry)


def decode_entry(key: bytes, value: bytes) -> Entry:
    """Return the entry in `value`.

    Raises
    ------
    IntegrityError
        The entry does not match its checksum, or stands under another key.
    """
    if len(value) != ENTRY.size or crc32c(value[4:], crc32c(key)) != int.from_bytes(value[:4], "little"):
        raise damaged_entry(key)
    _, flags, _, *rest = ENTRY.unpack(value)
    return Entry(flags, *rest)


def damaged_entry(key: bytes) -> IntegrityError:
    """Return the error of an index entry that does not match its checksum, or stands under another key."""
    tag, name = key[:1], key[5:]
    if tag in (b"V", b"T", b"U", b"L"):
        name = key[5:-9]
    elif tag in (b"B", b"S"):
        name = key[1:]
    what = {b"B": "bucket", b"P": "a part of an upload", b"S": "document"}.get(tag, "object")
    if tag != b"P":
        what += f" {name.decode(errors='replace')!r}"
    return IntegrityError(
        f"the index entry of {what} is damaged; nothing was handed out. `tickvault verify` or, with the vault closed "
        "everywhere, `tickvault rebuild-index` makes it anew from the segments"
    )


# -- keys


def bucket_prefix(tag: bytes, bucket_id: int) -> bytes:
    """Return what all keys of one kind in one bucket begin with."""
    return tag + _U32BE.pack(bucket_id)


def object_key(bucket_id: int, key: bytes) -> bytes:
    """Return the key of the current version."""
    return b"O" + _U32BE.pack(bucket_id) + key


def version_prefix(bucket_id: int, key: bytes) -> bytes:
    """Return what the keys of all V entries of an object begin with."""
    return b"V" + _U32BE.pack(bucket_id) + key + b"\0"


def version_key(bucket_id: int, key: bytes, sequence: int) -> bytes:
    """Return the key of a noncurrent version."""
    return b"V" + _U32BE.pack(bucket_id) + key + b"\0" + _U64BE.pack(SEQUENCE_MAX - sequence)


def null_key(bucket_id: int, key: bytes) -> bytes:
    """Return the key that tells the sequence of the null version."""
    return b"N" + _U32BE.pack(bucket_id) + key


def attributes_key(bucket_id: int, key: bytes, sequence: int) -> bytes:
    """Return the key of a version's later attributes."""
    return b"T" + _U32BE.pack(bucket_id) + key + b"\0" + _U64BE.pack(sequence)


def lock_key(bucket_id: int, key: bytes, sequence: int) -> bytes:
    """Return the key of a version's lock."""
    return b"L" + _U32BE.pack(bucket_id) + key + b"\0" + _U64BE.pack(sequence)


def document_key(name: str) -> bytes:
    """Return the key of a document of the vault."""
    return b"S" + name.encode()


def upload_key(bucket_id: int, key: bytes, sequence: int) -> bytes:
    """Return the key of an upload."""
    return b"U" + _U32BE.pack(bucket_id) + key + b"\0" + _U64BE.pack(sequence)


def part_key(upload_sequence: int, part_number: int) -> bytes:
    """Return the key of a part."""
    return b"P" + _PART_KEY.pack(upload_sequence, part_number)


def bucket_key(name: str) -> bytes:
    """Return the key of a bucket."""
    return b"B" + name.encode()


def dead_key(segment_id: int) -> bytes:
    """Return the key of a segment's count of dead bytes."""
    return b"D" + _U32BE.pack(segment_id)


def split_versioned(raw: bytes) -> tuple[bytes, int]:
    """Return (object key, sequence number as stored) of a V, T or U key."""
    return raw[5:-9], _U64BE.unpack_from(raw, len(raw) - 8)[0]


# -- values that are documents with a place: attributes, uploads, buckets


class Document(NamedTuple):
    """A value that holds msgpack data and the place of the record it came from."""

    sequence: int
    location: Location
    data: Any


def encode_document(key: bytes, sequence: int, location: Location, data: Any) -> bytes:
    """Return the value of a document entry."""
    body = _LOCATION.pack(sequence, *location[:3]) + pack(data)
    return int(crc32c(body, crc32c(key))).to_bytes(4, "little") + body


def decode_document(key: bytes, value: bytes) -> Document:
    """Return the document in `value`; raises `IntegrityError` if it is damaged."""
    if len(value) < 4 + _LOCATION.size or crc32c(value[4:], crc32c(key)) != int.from_bytes(value[:4], "little"):
        raise damaged_entry(key)
    sequence, *place = _LOCATION.unpack_from(value, 4)
    return Document(sequence, Location(*place), unpack(value[4 + _LOCATION.size :]))


def unpack(raw: bytes) -> Any:
    """Return msgpack data; record meta is verified by the record's checksum before it gets here."""
    return msgpack.unpackb(raw, strict_map_key=False)


def pack(data: Any) -> bytes:
    """Return data as msgpack."""
    packed: bytes = msgpack.packb(data)
    return packed


# -- the meta bytes of a PUT or PART


class PutMeta(NamedTuple):
    """What a PUT or PART record says beside its body."""

    etag: bytes
    etag_parts: int
    size: int
    extents: tuple[Extent, ...] = ()
    extras: Mapping[str, Any] = {}
    """``ct`` content type, ``md`` metadata, ``hd`` headers, ``cs`` checksums, or ``sc`` sealed ones, ``ck`` checksum
    type, ``ps`` part sizes, ``tg`` tags, ``nr`` part number, ``up`` sequence of the upload, ``lk`` lock, ``en``
    encryption, ``sh`` SHA-256 of a body that is proven by it."""


def encode_put_meta(
    etag: bytes,
    etag_parts: int,
    size: int,
    extents: Sequence[Extent] = (),
    extras: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the meta bytes of a PUT or PART record."""
    flags = META_EXTENTS if extents else 0
    if extras and "lk" in extras:
        flags |= META_LOCK
    if extras and "en" in extras:
        flags |= META_ENCRYPTED
    head = META.pack(etag, etag_parts, flags, 0, size)
    if not extras and not extents:
        return head
    document = dict(extras or {})
    if extents:
        document["ex"] = [tuple(extent) for extent in extents]
    return head + pack(document)


def decode_put_meta(meta: bytes) -> PutMeta:
    """Return what the meta bytes of a PUT or PART record say.

    Raises
    ------
    IntegrityError
        They say nothing: somebody made them up, with a checksum that fits.
    """
    try:
        etag, etag_parts, _, _, size = META.unpack_from(meta)
        if len(meta) == META.size:
            return PutMeta(etag, etag_parts, size)
        extras = unpack(meta[META.size :])
        extents = tuple(Extent(*raw) for raw in extras.pop("ex", ()))
    except (AttributeError, TypeError, ValueError, struct.error, msgpack.UnpackException) as error:
        raise IntegrityError(
            f"the record of a version has a sound checksum and says nothing that one can say ({error}): somebody made "
            "it up; restore the version from a backup"
        ) from None
    return PutMeta(etag, etag_parts, size, extents, extras)


def etag_text(etag: bytes, parts: int) -> str:
    """Return the entity tag as S3 writes it, without quotes."""
    return f"{etag.hex()}-{parts}" if parts else etag.hex()


def version_id_of(sequence: int, flags: int) -> str:
    """Return the version id of an entry."""
    return "null" if flags & ENTRY_NULL else f"{sequence:016x}"
