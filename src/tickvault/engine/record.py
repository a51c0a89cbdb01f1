"""Records and batches: the bytes of the journal.

A **record** is one change: a 64-byte header, the key, meta bytes that belong to the layer above, a table of frame
checksums when the body has more than one frame, padding to 64, the body, padding to 64.  A **batch** is the unit of
commit: a 64-byte header and its records.  The drawing is in ``docs/formats/segment.md``.

Invariants: every byte but the padding after a body is covered by exactly one CRC-32C; the checksum of a batch header
is seeded with the vault, the segment and the offset, so that bytes which were a batch elsewhere (in a backup stored as
an object, say) are none here; `sequence` is unique in the vault, and a relocated record keeps the one it was born with.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

Buffer = bytes | bytearray | memoryview

ALIGNMENT = 64
FRAME_SIZE = 64 * 1024
HEADER_SIZE = 64

RECORD_MAGIC = 0x5654
BATCH_MAGIC = 0x31425654

#: The record's checksum covers header and body in one go (bodies of at most one frame).
FLAG_SINGLE_FRAME = 1
#: A copy made by compaction; its sequence is older than its place.
FLAG_RELOCATED = 2

BATCH_STRICT = 1

# crc, magic, kind, flags | sequence, record_length, bucket_id, header_length, key_length, spare, meta_length,
# frame_count, body_length, time_ns, aux
RECORD = struct.Struct("<IHBBQIIIHHIIQqQ")
#: The header without the checksum, which covers the rest.
_pack_covered = struct.Struct("<HBBQIIIHHIIQqQ").pack
BATCH = struct.Struct("<IIQQQQqIIII")
assert RECORD.size == HEADER_SIZE
assert BATCH.size == HEADER_SIZE

KEY_LENGTH_MAX = 0xFFFF
RECORD_LENGTH_MAX = 0xFFFF_FFC0

_PADDING = tuple(bytes(length) for length in range(ALIGNMENT))
_U32 = struct.Struct("<I")


class Location(NamedTuple):
    """Where a record lies: segment, offset of its header, length with padding, all in bytes."""

    segment_id: int
    offset: int
    length: int
    body_offset: int = 0
    """From the record's start to its body, where one checksum covers both; else 0."""
    crc: int = 0
    """The record's checksum, where it covers the body too."""


class Record(NamedTuple):
    """A decoded record. `body` and `frame_crcs` are views into the segment."""

    kind: int
    flags: int
    sequence: int
    bucket_id: int
    key: bytes
    meta: bytes
    time_ns: int
    aux: int
    body: memoryview
    length: int
    body_offset: int = 0
    crc: int = 0
    intact: bool = True
    """False where the checksum did not hold; only replay and scrub see such records."""

    def place(self, segment_id: int, offset: int) -> Location:
        """Return the location of this record, the same that its commit gave it."""
        return Location(segment_id, offset, self.length, self.body_offset, self.crc if self.body_offset else 0)


class Batch(NamedTuple):
    """A decoded batch header and its place."""

    offset: int
    batch_id: int
    previous_batch_id: int
    epoch: int
    last_sequence: int
    committed_ns: int
    length: int
    record_count: int
    records_crc: int
    flags: int


def aligned(length: int) -> int:
    """Return `length` rounded up to the alignment of records."""
    return (length + ALIGNMENT - 1) & -ALIGNMENT


def frame_checksums(body: Buffer) -> bytes:
    """Return the CRC-32C of each 64 KiB frame of a body, little-endian uint32 one after the other."""
    view = memoryview(body)
    return b"".join(
        crc32c(view[start : start + FRAME_SIZE]).to_bytes(4, "little") for start in range(0, len(view), FRAME_SIZE)
    )


class EncodedRecord(NamedTuple):
    """A record's bytes, in pieces so that a large body is not copied."""

    head: bytes
    body: Buffer
    length: int
    crc: int
    single_frame: bool

    def pieces(self) -> list[Buffer]:
        """Return the buffers to write, padding included."""
        padding = _PADDING[self.length - len(self.head) - len(self.body)]
        return [self.head, self.body, padding] if len(self.body) else [self.head]


def encode_record(
    kind: int,
    sequence: int,
    bucket_id: int,
    key: bytes,
    meta: bytes,
    body: Buffer,
    time_ns: int,
    aux: int = 0,
    flags: int = 0,
    frames: bytes | None = None,
) -> EncodedRecord:
    """Encode one record.

    Parameters
    ----------
    frames : bytes, optional
        `frame_checksums(body)`, when it was computed before the commit; only used for bodies of several frames.
    """
    body_length = len(body)
    key_length = len(key)
    meta_length = len(meta)
    if body_length <= FRAME_SIZE:
        flags |= FLAG_SINGLE_FRAME
        table = b""
        frame_count = 0
    else:
        table = frame_checksums(body) if frames is None else frames
        frame_count = len(table) // 4
    used = HEADER_SIZE + key_length + meta_length + len(table)
    header_length = (used + 63) & -64
    length = (header_length + body_length + 63) & -64
    covered = (
        _pack_covered(
            RECORD_MAGIC,
            kind,
            flags,
            sequence,
            length,
            bucket_id,
            header_length,
            key_length,
            0,
            meta_length,
            frame_count,
            body_length,
            time_ns,
            aux,
        )
        + key
        + meta
        + table
        + _PADDING[header_length - used]
    )
    crc = crc32c(covered)
    if body_length and not table:
        crc = crc32c(body, crc)
    return EncodedRecord(crc.to_bytes(4, "little") + covered, body, length, crc, not table)


def header_fits(fields: tuple[int, ...], available: int) -> bool:
    """Return whether a record header's lengths agree with each other and with the bytes that are there."""
    (
        _,
        magic,
        _,
        flags,
        _,
        length,
        _,
        header_length,
        key_length,
        _,
        meta_length,
        frame_count,
        body_length,
        _,
        _,
    ) = fields
    return (
        magic == RECORD_MAGIC
        and length % ALIGNMENT == 0
        and length <= available
        and header_length == aligned(HEADER_SIZE + key_length + meta_length + 4 * frame_count)
        and length == aligned(header_length + body_length)
        and frame_count == (0 if flags & FLAG_SINGLE_FRAME else (body_length + FRAME_SIZE - 1) // FRAME_SIZE)
    )


def decode_record(view: memoryview, offset: int, limit: int) -> Record | None:
    """Decode the record at `offset`, verifying header and body.

    Returns
    -------
    Record or None
        None where no record can be made out; a record with ``intact=False`` where its frame is sound and its
        checksum is not.
    """
    if offset + HEADER_SIZE > limit:
        return None
    fields = RECORD.unpack_from(view, offset)
    if not header_fits(fields, limit - offset):
        return None
    (
        crc,
        _,
        kind,
        flags,
        sequence,
        length,
        bucket_id,
        header_length,
        key_length,
        _,
        meta_length,
        frame_count,
        body_length,
        time_ns,
        aux,
    ) = fields
    body_start = offset + header_length
    body = view[body_start : body_start + body_length]
    if flags & FLAG_SINGLE_FRAME:
        # Header, padding and body are adjacent: one call.
        intact = crc32c(view[offset + 4 : body_start + body_length]) == crc
    else:
        table_start = offset + HEADER_SIZE + key_length + meta_length
        intact = crc32c(view[offset + 4 : body_start]) == crc and (
            frame_checksums(body) == view[table_start : table_start + 4 * frame_count]
        )
    key_end = offset + HEADER_SIZE + key_length
    return Record(
        kind,
        flags,
        sequence,
        bucket_id,
        bytes(view[offset + HEADER_SIZE : key_end]),
        bytes(view[key_end : key_end + meta_length]),
        time_ns,
        aux,
        body,
        length,
        header_length if flags & FLAG_SINGLE_FRAME else 0,
        crc,
        intact,
    )


def batch_seed(vault_id: bytes, segment_id: int, offset: int) -> int:
    """Return the start value of a batch header's checksum, which binds it to its place."""
    return int(crc32c(struct.pack("<16sIQ", vault_id, segment_id, offset)))


def encode_batch_header(
    seed: int,
    batch_id: int,
    previous_batch_id: int,
    epoch: int,
    last_sequence: int,
    committed_ns: int,
    length: int,
    records: list[EncodedRecord],
    strict: bool,
) -> bytes:
    """Encode the header of a batch whose records are given; `length` includes the header."""
    records_crc = crc32c(b"".join([record.head[:4] for record in records]))
    head = bytearray(
        BATCH.pack(
            BATCH_MAGIC,
            0,
            batch_id,
            previous_batch_id,
            epoch,
            last_sequence,
            committed_ns,
            length,
            len(records),
            records_crc,
            BATCH_STRICT if strict else 0,
        )
    )
    _U32.pack_into(head, 4, crc32c(memoryview(head)[8:], seed))
    return bytes(head)


def batch_header_sound(head: memoryview, seed: int) -> bool:
    """Return whether 64 bytes are a batch header of the place that `seed` stands for."""
    if len(head) < HEADER_SIZE:
        return False
    magic, crc = BATCH.unpack_from(head)[:2]
    return bool(magic == BATCH_MAGIC and crc32c(head[8:HEADER_SIZE], seed) == crc)


def decode_batch_header(view: memoryview, offset: int, limit: int, seed: int) -> Batch | None:
    """Decode the batch header at `offset`; None if there is no sound one."""
    if offset + HEADER_SIZE > limit:
        return None
    _, _, batch_id, previous, epoch, last_sequence, committed_ns, length, count, records_crc, flags = BATCH.unpack_from(
        view, offset
    )
    if not batch_header_sound(view[offset : offset + HEADER_SIZE], seed):
        return None
    if length % ALIGNMENT or offset + length > limit or length < HEADER_SIZE:
        return None
    return Batch(offset, batch_id, previous, epoch, last_sequence, committed_ns, length, count, records_crc, flags)


def batch_records(view: memoryview, batch: Batch) -> Iterator[tuple[int, Record | None]]:
    """Iterate over (offset, record) of a batch; ends after a None, past which nothing can be made out."""
    offset = batch.offset + HEADER_SIZE
    limit = batch.offset + batch.length
    for _ in range(batch.record_count):
        record = decode_record(view, offset, limit)
        yield offset, record
        if record is None:
            return
        offset += record.length


def batch_intact(view: memoryview, batch: Batch) -> bool:
    """Return whether every record of a batch is there and matches its checksum."""
    records_crc = 0
    count = 0
    end = batch.offset + HEADER_SIZE
    for offset, record in batch_records(view, batch):
        if record is None or not record.intact:
            return False
        records_crc = crc32c(view[offset : offset + 4], records_crc)
        count += 1
        end = offset + record.length
    return count == batch.record_count and records_crc == batch.records_crc and end == batch.offset + batch.length
