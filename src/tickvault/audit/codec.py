"""An audit record as bytes, and back.

Invariants: whatever a record holds, it can be written: a text that is too long is cut and says so, a number out of
range is clamped, and both set a bit in `marks`; what was written decodes to the same record (but for `sequence`, which
is the record's place in the trail and not stored); the layout needs nothing but `struct` and UTF-8 to be read.

`docs/formats/audit-trail.md` draws the layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from struct import Struct, error
from typing import Any, NamedTuple

from tickvault.audit.record import AuditRecord, Category
from tickvault.errors import FormatError

RECORD_VERSION = 1

#: version, category, marks, status, number of details, time, clock error, size, vault sequence, then the lengths of
#: the nine texts, and zeros.
HEAD = Struct("<BBHHHqqQq9Hxx")
DETAIL_LENGTHS = Struct("<HH")

#: The texts in the order they are stored, and the most bytes of UTF-8 each may take.
TEXTS = ("action", "result", "door", "identity", "source", "request_id", "bucket", "key", "version_id")
TEXT_SIZES_MAX = (128, 128, 128, 512, 512, 512, 512, 1024, 512)
DETAIL_COUNT_MAX = 32
DETAIL_NAME_SIZE_MAX = 128
DETAIL_VALUE_SIZE_MAX = 1536
RECORD_SIZE_MAX = 65_536

#: Bits of `marks`; bits 0–8 say that the text of that place in `TEXTS` was cut.
MARK_DETAIL_CUT = 1 << 9
MARK_NOT_UTF8 = 1 << 10
"""A text holds lone surrogates (as Python shows bytes that were no UTF-8): stored as three bytes each."""
MARK_CLAMPED = 1 << 15
"""A number was out of range, or no number, and the closest one stands in its place."""

_FAST_SIZE = min(TEXT_SIZES_MAX[3:])
_SHORT_SIZE = TEXT_SIZES_MAX[0]
_FAST_TABLES = [Struct(f"<{2 * count}H") for count in range(9)]
_pack, _unpack = HEAD.pack, HEAD.unpack_from
_HEAD_SIZE = HEAD.size
_CATEGORIES = {int(category): category for category in Category}
_READ = int(Category.READ)
_NO_DETAIL: Mapping[str, str] = {}


def encode(record: AuditRecord) -> bytes:
    """Return a record as bytes. Never fails on a record's content, whatever it is."""
    (
        _,
        time_ns,
        clock_error_ns,
        category,
        action,
        result,
        status,
        door,
        identity,
        source,
        request_id,
        bucket,
        key,
        version_id,
        size_bytes,
        vault_sequence,
        detail,
    ) = record
    try:
        table = b""
        if detail:
            flat = [text for item in detail.items() for text in item]
            table = _FAST_TABLES[len(detail)].pack(*map(len, flat))
            more = "".join(flat)
            if not more.isascii() or len(more) > DETAIL_VALUE_SIZE_MAX or max(map(len, detail)) > DETAIL_NAME_SIZE_MAX:
                return _encode_any(record)
        text = "".join((action, result, door, identity, source, request_id, bucket, key, version_id))
        a, r, d = len(action), len(result), len(door)
        # In ASCII, and this short as a whole, no text can break its limit, and letters are bytes.
        if text.isascii() and len(text) <= _FAST_SIZE and a + r + d <= _SHORT_SIZE and category in _CATEGORIES:
            head = _pack(
                RECORD_VERSION, category, 0, status, len(detail), time_ns, clock_error_ns, size_bytes, vault_sequence,
                a, r, d, len(identity), len(source), len(request_id), len(bucket), len(key), len(version_id),
            )  # fmt: skip
            if table:
                return b"".join((head, text.encode("ascii"), table, more.encode("ascii")))
            return head + text.encode("ascii")
    except (TypeError, AttributeError, IndexError, error):
        pass  # not what the type says: the careful way below writes it all the same
    return _encode_any(record)


class Detail(NamedTuple):
    """Details as they stand at the end of a record."""

    number: int
    """How many."""
    data: bytes


NO_DETAIL = Detail(0, b"")


def encode_detail(detail: Mapping[str, str]) -> Detail | None:
    """Return details for `encode_read`, None for some that have to be cut."""
    table, texts, cut = _encode_detail(detail)
    data = b"".join((*table, *texts))
    return None if cut or not data.isascii() else Detail(len(table), data)


def encode_read(
    time_ns: int,
    clock_error_ns: int,
    status: int,
    size_bytes: int,
    action: str,
    door: str,
    identity: str,
    source: str,
    request_id: str,
    bucket: str,
    key: str,
    version_id: str,
    detail: Detail,
) -> bytes | None:
    """Return the record of a read that ended well, None where only `encode` can write it: of other letters, or long.

    It is made for every GET of a door: what `encode` gives, without making the record first.
    """
    text = f"{action}ok{door}{identity}{source}{request_id}{bucket}{key}{version_id}"
    a, d = len(action), len(door)
    if not text.isascii() or len(text) > _FAST_SIZE or a + 2 + d > _SHORT_SIZE:
        return None
    head = _pack(
        RECORD_VERSION, _READ, 0, status, detail.number, time_ns, clock_error_ns, size_bytes, 0,
        a, 2, d, len(identity), len(source), len(request_id), len(bucket), len(key), len(version_id),
    )  # fmt: skip
    return head + text.encode("ascii") + detail.data


def _encode_any(record: AuditRecord) -> bytes:
    marks = 0
    pieces: list[bytes] = []
    for place, (name, size_max) in enumerate(zip(TEXTS, TEXT_SIZES_MAX, strict=True)):
        value = getattr(record, name)
        raw = value.encode() if type(value) is str and value.isascii() else _utf8(value)
        if len(raw) > size_max:
            raw = _cut(raw, size_max)
            marks |= 1 << place
        pieces.append(raw)
    table, texts, cut = _encode_detail(record.detail) if record.detail else ([], [], False)
    if cut:
        marks |= MARK_DETAIL_CUT
    time_ns, clock_error_ns, vault_sequence = record.time_ns, record.clock_error_ns, record.vault_sequence
    category, status, size_bytes = int_of(record.category), record.status, record.size_bytes
    try:
        head = _pack(
            RECORD_VERSION, category if category in _CATEGORIES else -1, 0, status, len(table), time_ns,
            clock_error_ns, size_bytes, vault_sequence, *map(len, pieces),
        )  # fmt: skip
    except error:
        marks |= MARK_CLAMPED
        category = category if category in _CATEGORIES else Category.SYSTEM
        head = _pack(
            RECORD_VERSION, category, 0, _clamped(status, 0, 0xFFFF), len(table), _signed(time_ns),
            _signed(clock_error_ns), _clamped(size_bytes, 0, (1 << 64) - 1), _signed(vault_sequence),
            *map(len, pieces),
        )  # fmt: skip
    body = b"".join((*pieces, *table, *texts))
    if not body.isascii() and not all(map(_is_utf8, (*pieces, *texts))):
        marks |= MARK_NOT_UTF8
    return head[:2] + marks.to_bytes(2, "little") + head[4:] + body


def _encode_detail(detail: Any) -> tuple[list[bytes], list[bytes], bool]:
    if not isinstance(detail, Mapping):
        detail = {"detail": detail}
    table: list[bytes] = []
    texts: list[bytes] = []
    cut = False
    items = list(detail.items())
    if len(items) > DETAIL_COUNT_MAX:
        kept = DETAIL_COUNT_MAX - 1
        rest = b"\0".join(_utf8(text) for item in items[kept:] for text in item)
        digest = hashlib.sha256(rest).hexdigest()[:16]
        items[kept:] = [("…", f"[cut {len(items) - kept} details, sha256 {digest}]")]
        cut = True
    for name, value in items:
        raw_name, raw_value = _utf8(name), _utf8(value)
        if len(raw_name) > DETAIL_NAME_SIZE_MAX:
            raw_name, cut = _cut(raw_name, DETAIL_NAME_SIZE_MAX), True
        if len(raw_value) > DETAIL_VALUE_SIZE_MAX:
            raw_value, cut = _cut(raw_value, DETAIL_VALUE_SIZE_MAX), True
        table.append(DETAIL_LENGTHS.pack(len(raw_name), len(raw_value)))
        texts += (raw_name, raw_value)
    return table, texts, cut


def _utf8(value: object) -> bytes:
    """Return a text as UTF-8, lone surrogates as three bytes each; of what is no text, the text that shows it."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("utf-8", "surrogateescape")
    elif value is None:
        return b""
    elif not isinstance(value, str):
        try:
            value = str(value)
        except Exception:  # a record about a broken object is still a record
            value = f"<{type(value).__name__}>"
    return str(value).encode("utf-8", "surrogatepass")


def _cut(raw: bytes, size_max: int) -> bytes:
    """Return the beginning of a text and a mark that tells how much is missing and what the whole text hashed to."""
    digest = hashlib.sha256(raw).hexdigest()[:16]
    mark = f"…[cut of {len(raw)} bytes, sha256 {digest}]".encode()
    end = size_max - len(mark)
    while end > 0 and raw[end] & 0xC0 == 0x80:  # not in the middle of a character
        end -= 1
    return raw[:end] + mark


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def int_of(value: object) -> int:
    """Return a number, 0 for what is none."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def _clamped(value: object, low: int, high: int) -> int:
    return max(low, min(high, int_of(value)))


def _signed(value: object) -> int:
    return _clamped(value, -(1 << 63), (1 << 63) - 1)


def decode(payload: bytes | memoryview, sequence: int = 0) -> AuditRecord:
    """Return the record that bytes hold.

    Parameters
    ----------
    payload : bytes-like
        One record, exactly.
    sequence : int
        Its place in the trail.

    Raises
    ------
    FormatError
        The bytes are not a record of a version this release knows.
    """
    raw = payload if type(payload) is bytes else bytes(payload)
    size = len(raw)
    if size < _HEAD_SIZE or raw[0] != RECORD_VERSION:
        found = f"version {raw[0]}" if raw else "nothing"
        raise FormatError(
            f"audit record {sequence}: must be version {RECORD_VERSION} and at least {_HEAD_SIZE} bytes, was {found} "
            f"of {size} bytes; read it with the release that wrote it"
        )
    (
        _,
        category,
        marks,
        status,
        detail_count,
        time_ns,
        clock_error_ns,
        size_bytes,
        vault_sequence,
        *lengths,
    ) = _unpack(raw)
    if category not in _CATEGORIES:
        raise FormatError(f"audit record {sequence}: category must be 1 to 4, was {category}")
    texts: list[str] = []
    end = _HEAD_SIZE
    whole = size - _HEAD_SIZE == sum(lengths)
    if whole and not marks & MARK_NOT_UTF8:
        try:
            text = raw[_HEAD_SIZE:].decode("ascii")
        except UnicodeDecodeError:
            pass
        else:
            start = 0
            for length in lengths:
                texts.append(text[start : start + length])
                start += length
            end = size
    if not texts:
        for length in lengths:
            start, end = end, end + length
            texts.append(_text(raw[start:end]))
    detail = _NO_DETAIL
    if detail_count:
        detail, end = _decode_detail(raw, end, detail_count)
    if end != size:
        raise FormatError(f"audit record {sequence}: its lengths add up to {end} bytes, but it has {size}")
    action, result, door, identity, source, request_id, bucket, key, version_id = texts
    return AuditRecord(
        sequence, time_ns, clock_error_ns, _CATEGORIES[category], action, result, status, door, identity, source,
        request_id, bucket, key, version_id, size_bytes, vault_sequence, detail,
    )  # fmt: skip


def _decode_detail(raw: bytes, at: int, count: int) -> tuple[dict[str, str], int]:
    end = at + count * DETAIL_LENGTHS.size
    if count > DETAIL_COUNT_MAX or end > len(raw):
        raise FormatError(f"audit record: {count} details do not fit into {len(raw) - at} bytes")
    detail: dict[str, str] = {}
    for name_size, value_size in DETAIL_LENGTHS.iter_unpack(raw[at:end]):
        middle = end + name_size
        detail[_text(raw[end:middle])] = _text(raw[middle : middle + value_size])
        end = middle + value_size
    return detail, end


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "surrogateescape")
