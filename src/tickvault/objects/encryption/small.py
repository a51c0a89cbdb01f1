"""The short way to a small encrypted body: from its index entry to its plaintext, without a snapshot.

Invariants: the record's checksum is checked, as everywhere; that it is the record of this version is proven by the
wrapped key, which is bound to bucket, key, sequence and size and opens nowhere else; whatever is unusual, or wrong, is
left to the long way, which says what it is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from crc32c import crc32c
from msgpack import UnpackException

from tickvault.engine.segments import SegmentGoneError
from tickvault.errors import AccessDeniedError, FormatError, IntegrityError, InvalidInputError
from tickvault.objects import entries
from tickvault.objects.encryption.stored import place_binding
from tickvault.objects.entries import ENTRY, ENTRY_ATTRIBUTES, ENTRY_DAMAGED, ENTRY_EXTENTS, META
from tickvault.security.cipher import FRAME_PLAIN_SIZE, TAG_SIZE, suite_with_id
from tickvault.security.cipher.frames import Frames

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

#: Of a record's header: its checksum, and the lengths of header, key, meta bytes and body.
_LENGTHS = struct.Struct("<I20xIH2xI4xI")
_KEY_START = 64
_CUSTOMER = 2
#: What bytes that are not what they should be can cause here, beside the errors of the rooms below.
_ODD = (ValueError, TypeError, AttributeError, LookupError, struct.error, UnpackException)


def small_body(store: ObjectStore, bucket_id: int, key: bytes, value: bytes) -> bytes | None:
    """Return the plaintext of the version that an index entry describes; None where only the long way will do.

    Parameters
    ----------
    value : bytes
        The entry, of `ENTRY.size` bytes; its own checksum need not have been checked.
    """
    _, flags, _, _, sequence, _, size, _, segment_id, offset, length, _, _ = ENTRY.unpack(value)
    if flags & (ENTRY_EXTENTS | ENTRY_DAMAGED) or size > FRAME_PLAIN_SIZE:
        return None
    try:
        view = store.engine.segments.view(segment_id, offset + length)
        crc, header_length, key_length, meta_length, body_length = _LENGTHS.unpack_from(view, offset)
        body_start = offset + header_length
        end = body_start + body_length
        if body_length != size + TAG_SIZE or crc32c(view[offset + 4 : end]) != crc:
            return None
        meta_start = offset + _KEY_START + key_length
        en = entries.unpack(bytes(view[meta_start + META.size : meta_start + meta_length]))["en"]
        if flags & ENTRY_ATTRIBUTES:
            index_key = entries.attributes_key(bucket_id, key, sequence)
            later = store.engine.index.get(index_key)
            if later is None:
                return None
            en = {**en, **entries.decode_document(index_key, later).data.get("rw", {})}
        if en["m"] == _CUSTOMER or "p" in en:
            return None
        suite = suite_with_id(en["s"])
        binding = place_binding(store.engine.vault_id, en["m"], suite.id, bucket_id, key, sequence, size)
        data_key = store.keys.unwrap(en["k"], en["w"], binding)
        if len(data_key) != suite.key_size:
            return None
        return Frames(suite, data_key).open_alone(view[body_start:end])
    except (SegmentGoneError, IntegrityError, AccessDeniedError, FormatError, InvalidInputError, *_ODD):
        return None
