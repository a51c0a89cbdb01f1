from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tickvault.audit
from tickvault.audit.codec import (
    DETAIL_COUNT_MAX,
    MARK_CLAMPED,
    MARK_DETAIL_CUT,
    MARK_NOT_UTF8,
    RECORD_SIZE_MAX,
    TEXT_SIZES_MAX,
    TEXTS,
    decode,
    encode,
)
from tickvault.audit.jsonl import as_line, as_mapping
from tickvault.audit.record import AuditRecord, Category
from tickvault.errors import FormatError


def _stand_alone() -> ModuleType:
    path = Path(tickvault.audit.__file__).parent / "standalone" / "verify_bundle.py"
    spec = importlib.util.spec_from_file_location("verify_bundle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Written apart from the codec, from the format's page: the second opinion.
REFERENCE = _stand_alone()

any_text = st.one_of(st.text(st.characters(), max_size=30), st.text("abc/é€😀\0\ud800\udcff", max_size=30))
signed = st.integers(-(1 << 63), (1 << 63) - 1)
records = st.builds(
    AuditRecord,
    sequence=st.just(7),
    time_ns=signed,
    clock_error_ns=signed,
    category=st.sampled_from(Category),
    action=st.text(max_size=30),
    result=any_text,
    status=st.integers(0, 0xFFFF),
    door=st.text(max_size=30),
    identity=any_text,
    source=any_text,
    request_id=any_text,
    bucket=any_text,
    key=any_text,
    version_id=any_text,
    size_bytes=st.integers(0, (1 << 64) - 1),
    vault_sequence=signed,
    detail=st.dictionaries(st.text(max_size=20), any_text, max_size=12),
)


def marks(payload: bytes) -> int:
    return struct.unpack_from("<H", payload, 2)[0]


def plain(**other: Any) -> AuditRecord:
    made = AuditRecord(
        7, 1, -1, Category.READ, "GetObject", "ok", 200, "s3", "me", "there", "r", "bucket", "key", "v", 1, 0
    )
    return made._replace(**other)


@given(records)
def test_what_was_written_is_read(record: AuditRecord) -> None:
    payload = encode(record)
    assert decode(payload, 7) == record
    assert decode(memoryview(payload), 7) == record
    assert len(payload) <= RECORD_SIZE_MAX


@given(records)
def test_the_stand_alone_reading_agrees(record: AuditRecord) -> None:
    payload = encode(record)
    mapping = as_mapping(record)
    assert list(REFERENCE.record_of(payload, 7).items()) == list(mapping.items())
    assert json.loads(as_line(record)) == json.loads(json.dumps(mapping))


@given(records, st.integers(0, 300), st.integers(1, 255))
def test_changed_bytes_are_read_or_refused_and_never_fail_otherwise(record: AuditRecord, place: int, flip: int) -> None:
    raw = bytearray(encode(record))
    raw[place % len(raw)] ^= flip
    for piece in (bytes(raw), bytes(raw[: place % len(raw)])):
        try:
            ours: Any = as_mapping(decode(piece, 7))
        except FormatError:
            ours = None
        try:
            theirs = REFERENCE.record_of(piece, 7)
        except REFERENCE.Fault:
            theirs = None
        assert ours == theirs


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    try:
        decode(b"\x01\x02" + raw)
    except FormatError:
        pass


anything = st.one_of(
    st.none(), st.integers(), st.floats(), st.binary(max_size=40), any_text, st.lists(st.integers(), max_size=3),
    st.builds(object),
)  # fmt: skip


@settings(max_examples=200)
@given(st.tuples(*[anything] * 17))
def test_a_record_of_anything_can_be_written(values: tuple[Any, ...]) -> None:
    record = AuditRecord(*values)
    found = decode(encode(record))
    for name in TEXTS:
        value = getattr(record, name)
        if isinstance(value, str):
            assert getattr(found, name) == value


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_object_that_cannot_be_shown() -> None:
    assert decode(encode(plain(key=_Unprintable()))).key == "<_Unprintable>"


@pytest.mark.parametrize(
    ("place", "name", "size_max"), [(i, *x) for i, x in enumerate(zip(TEXTS, TEXT_SIZES_MAX, strict=True))]
)
def test_a_text_too_long_is_cut_and_says_so(place: int, name: str, size_max: int) -> None:
    for letter in ("x", "é", "€", "😀"):
        fitting = letter * (size_max // len(letter.encode()))
        assert getattr(decode(encode(plain(**{name: fitting}))), name) == fitting
        assert marks(encode(plain(**{name: fitting}))) == 0
        long = letter * 5000
        payload = encode(plain(**{name: long}))
        assert marks(payload) == 1 << place
        found = getattr(decode(payload), name)
        assert len(found.encode()) <= size_max
        assert f"[cut of {len(long.encode())} bytes, sha256 " in found
        assert long.startswith(found[: found.index("…")])
        # Two long texts that begin alike are told apart.
        assert found != getattr(decode(encode(plain(**{name: long + "y"}))), name)


def test_details_are_bounded() -> None:
    many = {f"name{number}": "value" for number in range(1000)}
    payload = encode(plain(detail=many))
    found = decode(payload).detail
    assert marks(payload) == MARK_DETAIL_CUT
    assert len(found) == DETAIL_COUNT_MAX
    assert "cut 969 details" in found["…"]
    payload = encode(plain(detail={"n" * 500: "v" * 100_000}))
    assert marks(payload) == MARK_DETAIL_CUT
    assert len(payload) < 2000
    worst = dict.fromkeys((f"{number}" + "é" * 5000 for number in range(1000)), "😀" * 5000)
    payload = encode(AuditRecord(*["😀" * 50_000] * 16, worst))
    assert len(payload) <= RECORD_SIZE_MAX
    decode(payload)


def test_numbers_out_of_range_are_clamped_and_marked() -> None:
    payload = encode(plain(size_bytes=1 << 70, time_ns=-(1 << 70), status=-5, category=99))
    found = decode(payload)
    assert marks(payload) == MARK_CLAMPED
    assert (found.size_bytes, found.time_ns, found.status) == ((1 << 64) - 1, -(1 << 63), 0)
    assert found.category is Category.SYSTEM


def test_bytes_that_are_no_utf8() -> None:
    key = b"caf\xe9/\xff".decode("utf-8", "surrogateescape")
    payload = encode(plain(key=key))
    assert marks(payload) == MARK_NOT_UTF8
    assert decode(payload).key == key
    assert decode(encode(plain(key=b"caf\xe9/\xff"))).key == key
