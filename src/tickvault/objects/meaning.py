"""Whether what a record says is what a record of its kind can say.

The checksum of a record tells that its bytes are those that were written.  Somebody who writes the vault's files can
make one for any bytes, and what is read back then must not stop whoever looks for it.

Invariants: every record that this release writes has a meaning; what has none is dealt with like a damaged record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgpack

from tickvault.engine.record import Record
from tickvault.errors import IntegrityError
from tickvault.objects.entries import (
    CLOCK_DOCUMENT,
    META,
    META_ENCRYPTED,
    META_EXTENTS,
    META_LOCK,
    Kind,
    decode_put_meta,
    unpack,
)
from tickvault.objects.lock.clock import ClockMark

#: What is raised where a record's meta is not what its kind has.
NO_MEANING = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
    msgpack.UnpackException,
    IntegrityError,
)


def has_meaning(record: Record) -> bool:
    """Return whether a record with sound bytes says something."""
    check = _CHECKS.get(record.kind)
    if check is None:
        return True
    try:
        return check(record)
    except NO_MEANING:
        return False


def _put(record: Record) -> bool:
    flags = META.unpack_from(record.meta)[2]
    if len(record.meta) == META.size:
        return not flags & (META_EXTENTS | META_LOCK | META_ENCRYPTED)
    extras = decode_put_meta(record.meta).extras
    if flags & META_LOCK and not _is_lock(extras["lk"]):
        return False
    if flags & META_ENCRYPTED and not isinstance(extras["en"], dict):
        return False
    return all(_is_texts(extras.get(field, {})) for field in ("md", "hd", "cs", "tg"))


def _part(record: Record) -> bool:
    return _put(record) and type(decode_put_meta(record.meta).extras["nr"]) is int


def _lock(record: Record) -> bool:
    return _is_lock(unpack(record.meta))


def _attributes(record: Record) -> bool:
    data = unpack(record.meta)
    return isinstance(data, dict) and all(_is_texts(data.get(field, {})) for field in ("tg", "hd"))


def _bucket(record: Record) -> bool:
    return is_bucket(unpack(record.meta), record.bucket_id)


def _document(record: Record) -> bool:
    data = unpack(record.meta)
    if record.key == CLOCK_DOCUMENT.encode():
        ClockMark.of(data)
    return data is None or isinstance(data, dict)


_CHECKS: dict[int, Callable[[Record], bool]] = {
    Kind.PUT: _put,
    Kind.PART: _part,
    Kind.REMOVE: lambda record: len(record.meta) == 1,
    Kind.LOCK: _lock,
    Kind.ATTRIBUTES: _attributes,
    Kind.BUCKET: _bucket,
    Kind.DOCUMENT: _document,
    Kind.UPLOAD: lambda record: isinstance(unpack(record.meta), dict),
}


def is_bucket(data: Any, bucket_id: int) -> bool:
    """Return whether data is the state of that bucket."""
    return (
        isinstance(data, dict)
        and data.keys() == {"id", "t", "v", "d", "doc"}
        and data["id"] == bucket_id
        and type(data["t"]) is int
        and data["v"] in ("off", "enabled", "suspended")
        and data["d"] in ("strict", "relaxed")
        and isinstance(data["doc"], dict)
    )


def _is_lock(data: Any) -> bool:
    return data["m"] in (None, "GOVERNANCE", "COMPLIANCE") and type(data["u"]) is int and type(data["h"]) is bool


def _is_texts(data: Any) -> bool:
    return isinstance(data, dict) and all(isinstance(text, str) for pair in data.items() for text in pair)
