"""A block of the trail as bytes: header, offsets, records, hash, signature; and what can be wrong with one.

Invariants: the hash covers everything before it, so the previous block's hash, the cursor and the signer's key id too;
the signature covers the hash; a block that `check_block` lets pass has offsets that ascend and records that lie within
it. Nothing here reads or writes files.

`docs/formats/audit-trail.md` draws the layout.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

import numpy as np

from tickvault.audit.codec import HEAD, RECORD_SIZE_MAX, RECORD_VERSION
from tickvault.errors import InvalidInputError

MAGIC = b"TVAUBLK1"
BLOCK_VERSION = 1
RECORDS_MAX = 4096
"""Most records of one block."""
TOKEN_SIZE_MAX = 64 * 1024
"""Largest timestamp token."""
BODY_SIZE_MAX = 4 * (RECORDS_MAX + 1) + RECORDS_MAX * RECORD_SIZE_MAX
CURSOR_SIZE = 64
HASH_SIZE = 32
SIGNATURE_SIZE_MAX = 1024

#: magic, version, kind, hash, signature, flags, header length, number, first sequence, record count, body
#: length, written, first time, last time, trail id, key id, previous hash, cursor, CRC-32 of all before it, zero.
HEADER = Struct("<8sHBBBBHQQIIqqq16s16s32s64sII")
HEADER_SIZE = HEADER.size
_CRC_OFFSET = HEADER_SIZE - 8
_SIGNATURE_SIZE = Struct("<I")
FLAG_KEYS = 1
"""Some record of the block introduces a signer's public key."""


class BlockKind(IntEnum):
    """What a block holds. Numbers are part of the format and are never reused."""

    RECORDS = 1
    TIMESTAMP = 2
    """An RFC 3161 token over the hash of the block before."""


HASHES = {1: "sha256", 2: "sm3"}
HASH_CODES = {"sha-256": 1, "sm3": 2}
#: Signature algorithms by their number in the header.
SIGNATURES = {1: "ed25519", 2: "sm2"}
SIGNATURE_CODES = {name: code for code, name in SIGNATURES.items()}


class BlockHeader(NamedTuple):
    """What a block's header tells."""

    kind: int
    hash_code: int
    signature_code: int
    flags: int
    number: int
    """Blocks of a trail are numbered from 1."""
    first_sequence: int
    """Of its first record; of the next record where it has none."""
    record_count: int
    body_size: int
    time_ns: int
    """When it was written."""
    first_time_ns: int
    """Earliest time of a record."""
    last_time_ns: int
    trail_id: bytes
    key_id: bytes
    previous_hash: bytes
    cursor: bytes

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; of the last one before the block where it has none."""
        return self.first_sequence + self.record_count - 1

    @property
    def hash_offset(self) -> int:
        """Where the hash lies, from the block's first byte."""
        return HEADER_SIZE + self.body_size


def header_fault(raw: bytes) -> str:
    """Return what is wrong with the first `HEADER_SIZE` bytes of a block, empty if nothing is."""
    if len(raw) < HEADER_SIZE:
        return f"the header is cut off after {len(raw)} of {HEADER_SIZE} bytes"
    if raw[:8] != MAGIC:
        return "no block begins here (magic)"
    if int.from_bytes(raw[_CRC_OFFSET : _CRC_OFFSET + 4], "little") != zlib.crc32(raw[:_CRC_OFFSET]):
        return "the header was changed (CRC-32)"
    if raw[_CRC_OFFSET + 4 : HEADER_SIZE] != b"\0\0\0\0" or raw[14:16] != HEADER_SIZE.to_bytes(2, "little"):
        return "the header has bytes that must be others"
    header = parse_header(raw)
    version = int.from_bytes(raw[8:10], "little")
    if version != BLOCK_VERSION:
        return f"version {version} of the format is not known"
    if header.hash_code not in HASHES:
        return f"hash algorithm {header.hash_code} is not known"
    if header.kind == BlockKind.RECORDS:
        fits = 0 < header.record_count <= RECORDS_MAX and header.body_size <= BODY_SIZE_MAX
    elif header.kind == BlockKind.TIMESTAMP:
        fits = header.record_count == 0 and header.body_size <= TOKEN_SIZE_MAX
    else:
        return f"kind {header.kind} of block is not known"
    return "" if fits else f"{header.record_count} records in {header.body_size} bytes are beyond the limits"


def parse_header(raw: bytes) -> BlockHeader:
    """Return the header; `header_fault` says whether it can be believed."""
    (
        _, _, kind, hash_code, signature_code, flags, _, number, first_sequence, record_count, body_size, time_ns,
        first_time_ns, last_time_ns, trail_id, key_id, previous_hash, cursor, _, _,
    ) = HEADER.unpack_from(raw)  # fmt: skip
    return BlockHeader(
        kind, hash_code, signature_code, flags, number, first_sequence, record_count, body_size, time_ns,
        first_time_ns, last_time_ns, trail_id, key_id, previous_hash, cursor,
    )  # fmt: skip


def pack_header(header: BlockHeader) -> bytes:
    """Return a header as bytes."""
    raw = HEADER.pack(
        MAGIC, BLOCK_VERSION, header.kind, header.hash_code, header.signature_code, header.flags, HEADER_SIZE,
        *header[4:], 0, 0,
    )  # fmt: skip
    return raw[:_CRC_OFFSET] + zlib.crc32(raw[:_CRC_OFFSET]).to_bytes(4, "little") + b"\0\0\0\0"


class Body(NamedTuple):
    """The part of a records block that does not depend on its place."""

    data: bytes
    """Offsets table and records."""
    record_count: int
    first_time_ns: int
    last_time_ns: int


def pack_body(payloads: Sequence[bytes]) -> Body:
    """Return encoded records as a block's body.

    Raises
    ------
    InvalidInputError
        There is none, there are too many, or one is not an encoded record.
    """
    count = len(payloads)
    if not 0 < count <= RECORDS_MAX:
        raise InvalidInputError(
            f"audit block: must hold 1 to {RECORDS_MAX} records, was given {count}; append in parts"
        )
    offsets = np.zeros(count + 1, "<u4")
    np.cumsum(np.fromiter(map(len, payloads), "<u4", count), out=offsets[1:])
    data = b"".join(payloads)
    fault = records_fault(data, offsets)
    if fault:
        raise InvalidInputError(f"audit block: {fault}; append what `codec.encode` returned")
    times = _field(data, offsets, 8, "<i8")
    return Body(offsets.tobytes() + data, count, int(times.min()), int(times.max()))


def _field(data: bytes, offsets: np.ndarray, at: int, dtype: str) -> np.ndarray:
    """Return a fixed field of every record."""
    size = np.dtype(dtype).itemsize
    places = offsets[:-1, None].astype(np.int64) + np.arange(at, at + size)
    values: np.ndarray = np.frombuffer(data, np.uint8)[places].view(dtype)[:, 0]
    return values


def records_fault(data: bytes | memoryview, offsets: np.ndarray) -> str:
    """Return what is wrong with the frame of encoded records, empty if nothing is."""
    sizes = np.diff(offsets.astype(np.int64))
    if offsets[0] != 0 or offsets[-1] != len(data) or sizes.min() < HEAD.size or sizes.max() > RECORD_SIZE_MAX:
        return f"the offsets of its records do not ascend by {HEAD.size} to {RECORD_SIZE_MAX} bytes within its body"
    starts = offsets[:-1].astype(np.int64)
    if (np.frombuffer(data, np.uint8)[starts] != RECORD_VERSION).any():
        return f"a record is not of version {RECORD_VERSION}"
    places = starts[:, None] + np.arange(HEAD.size - 20, HEAD.size - 2)
    lengths = np.frombuffer(data, np.uint8)[places].view("<u2").sum(axis=1, dtype=np.int64) + HEAD.size
    return "" if (lengths <= sizes).all() else "a record is shorter than its texts"


def new_hash(code: int, data: bytes | memoryview) -> bytes:
    """Return the digest of data by the algorithm's number.

    Raises
    ------
    InvalidInputError
        This Python's OpenSSL lacks the algorithm.
    """
    try:
        return hashlib.new(HASHES[code], data).digest()
    except ValueError as error:
        raise InvalidInputError(
            f"hash {HASHES[code]}: this Python's OpenSSL does not have it ({error}); use one that has, or sha-256"
        ) from error


def finish(header: BlockHeader, body: bytes) -> tuple[bytes, bytes]:
    """Return (header and body, their hash); a signature makes a block of them (`seal`)."""
    raw = pack_header(header) + body
    return raw, new_hash(header.hash_code, raw)


def seal(raw: bytes, digest: bytes, signature: bytes) -> list[bytes]:
    """Return the pieces of a whole block."""
    if not 0 < len(signature) <= SIGNATURE_SIZE_MAX:
        raise InvalidInputError(f"signature: must have 1 to {SIGNATURE_SIZE_MAX} bytes, had {len(signature)}")
    return [raw, digest, _SIGNATURE_SIZE.pack(len(signature)), signature]


class Tail(NamedTuple):
    """What stands behind a block's body."""

    digest: bytes
    signature: bytes
    size: int
    """Of the hash, the length and the signature."""


TAIL_SIZE_MAX = HASH_SIZE + _SIGNATURE_SIZE.size + SIGNATURE_SIZE_MAX


def parse_tail(raw: bytes | memoryview) -> Tail | None:
    """Return what stands behind a body, None where it is cut off or its length is beyond the limit."""
    start = HASH_SIZE + _SIGNATURE_SIZE.size
    if len(raw) < start:
        return None
    (size,) = _SIGNATURE_SIZE.unpack_from(raw, HASH_SIZE)
    if not 0 < size <= SIGNATURE_SIZE_MAX or len(raw) < start + size:
        return None
    return Tail(bytes(raw[:HASH_SIZE]), bytes(raw[start : start + size]), start + size)


def check_body(header: BlockHeader, raw: bytes | memoryview, digest: bytes) -> str:
    """Return what is wrong with a whole block's bytes, empty if nothing is; the signature is not looked at.

    Parameters
    ----------
    raw : bytes-like
        Header and body.
    digest : bytes
        The hash that is stored behind it.
    """
    if new_hash(header.hash_code, raw) != digest:
        return "its hash does not match: a byte of the block was changed"
    if header.kind != BlockKind.RECORDS:
        return ""
    table_size = 4 * (header.record_count + 1)
    if header.body_size < table_size:
        return "its table of offsets does not fit"
    offsets = np.frombuffer(raw, "<u4", header.record_count + 1, HEADER_SIZE)
    return records_fault(raw[HEADER_SIZE + table_size :], offsets)


def payloads_of(header: BlockHeader, body: bytes) -> list[bytes]:
    """Return the encoded records of a checked body."""
    if header.kind != BlockKind.RECORDS:
        return []
    start = 4 * (header.record_count + 1)
    offsets = np.frombuffer(body, "<u4", header.record_count + 1).astype(np.int64) + start
    places = offsets.tolist()
    return [body[low:high] for low, high in pairwise(places)]
