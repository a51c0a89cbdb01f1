"""Records and batches come back as they were written, and no flipped bit passes."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.engine.record import (
    ALIGNMENT,
    FRAME_SIZE,
    HEADER_SIZE,
    EncodedRecord,
    aligned,
    batch_intact,
    batch_records,
    batch_seed,
    decode_batch_header,
    decode_record,
    encode_batch_header,
    encode_record,
    frame_checksums,
)

VAULT_ID = bytes(range(16))
U64 = st.integers(0, 2**64 - 1)

bodies = st.binary(max_size=300) | st.sampled_from(
    (FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE, 3 * FRAME_SIZE + 17)
).map(lambda size: random.Random(size).randbytes(size))

records = st.fixed_dictionaries(
    {
        "kind": st.integers(1, 255),
        "sequence": U64,
        "bucket_id": st.integers(0, 2**32 - 1),
        "key": st.binary(max_size=1100),
        "meta": st.binary(max_size=200),
        "body": bodies,
        "time_ns": st.integers(-(2**63), 2**63 - 1),
        "aux": U64,
    }
)


def whole(record: EncodedRecord) -> bytes:
    return b"".join(record.pieces())


def batch_of(encoded: list[EncodedRecord], *, offset: int = 4096, strict: bool = True) -> tuple[bytes, int]:
    """Return (bytes of a segment with one batch at `offset`, end of the batch)."""
    length = HEADER_SIZE + sum(record.length for record in encoded)
    head = encode_batch_header(
        batch_seed(VAULT_ID, 7, offset), 11, 10, 3, 99, 1_700_000_000_000_000_000, length, encoded, strict
    )
    return bytes(offset) + head + b"".join(map(whole, encoded)), offset + length


@given(records)
def test_a_record_comes_back(fields: dict) -> None:
    encoded = encode_record(**fields)
    raw = whole(encoded)
    assert len(raw) == encoded.length == aligned(encoded.length)
    found = decode_record(memoryview(b"\xaa" * ALIGNMENT + raw), ALIGNMENT, ALIGNMENT + len(raw))
    assert found is not None
    assert found.intact
    assert found.length == encoded.length
    for name, value in fields.items():
        assert getattr(found, name) == value


@given(records)
def test_frame_checksums_computed_before_give_the_same_record(fields: dict) -> None:
    if len(fields["body"]) > FRAME_SIZE:
        assert whole(encode_record(**fields, frames=frame_checksums(fields["body"]))) == whole(encode_record(**fields))


@given(records, st.data())
def test_a_record_cut_short_is_none(fields: dict, data: st.DataObject) -> None:
    raw = whole(encode_record(**fields))
    limit = data.draw(st.integers(0, len(raw) - 1))
    assert decode_record(memoryview(raw), 0, limit) is None


@given(st.binary(min_size=HEADER_SIZE, max_size=4 * HEADER_SIZE))
def test_noise_is_no_record_and_no_batch(noise: bytes) -> None:
    found = decode_record(memoryview(noise), 0, len(noise))
    assert found is None or not found.intact
    assert decode_batch_header(memoryview(noise), 0, len(noise), batch_seed(VAULT_ID, 1, 0)) is None


@given(st.lists(records, min_size=1, max_size=5), st.booleans())
def test_a_batch_comes_back(several: list[dict], strict: bool) -> None:
    raw, end = batch_of([encode_record(**fields) for fields in several], strict=strict)
    view = memoryview(raw)
    batch = decode_batch_header(view, 4096, len(view), batch_seed(VAULT_ID, 7, 4096))
    assert batch is not None
    assert (batch.batch_id, batch.previous_batch_id, batch.epoch, batch.last_sequence) == (11, 10, 3, 99)
    assert batch.offset + batch.length == end
    assert bool(batch.flags) == strict
    assert batch_intact(view, batch)
    found = [record for _, record in batch_records(view, batch)]
    assert [(record.key, bytes(record.body)) for record in found] == [(f["key"], f["body"]) for f in several]


@given(st.lists(records, min_size=1, max_size=2))
def test_a_batch_at_another_place_is_none(several: list[dict]) -> None:
    """The bytes of a journal stored as an object must not pass for a journal."""
    raw, _ = batch_of([encode_record(**fields) for fields in several])
    view = memoryview(raw)
    for seed in (
        batch_seed(VAULT_ID, 8, 4096),
        batch_seed(VAULT_ID, 7, 4096 + ALIGNMENT),
        batch_seed(bytes(16), 7, 4096),
    ):
        assert decode_batch_header(view, 4096, len(view), seed) is None


def flips_unseen(several: list[dict], bits: list[int] | None = None) -> list[tuple[int, int]]:
    """Return (byte, bit) of every flip in a batch after which it still passes for sound."""
    pristine, end = batch_of([encode_record(**fields) for fields in several])
    raw = bytearray(pristine)
    view = memoryview(raw)
    seed = batch_seed(VAULT_ID, 7, 4096)
    unseen = []
    for number in range((end - 4096) * 8) if bits is None else bits:
        byte, bit = divmod(number, 8)
        raw[4096 + byte] ^= 1 << bit
        batch = decode_batch_header(view, 4096, len(view), seed)
        if batch is not None and batch_intact(view, batch):
            unseen.append((byte, bit))
        raw[4096 + byte] ^= 1 << bit
    return unseen


def test_every_flipped_bit_of_a_small_batch_is_noticed() -> None:
    """Story: the checksum of a record began at its sequence, so that a flipped bit in `kind` or `flags`, which stand
    before it, made a put a removal, and a rebuild of the index lost the object without a word."""
    one = {
        "kind": 1,
        "sequence": 5,
        "bucket_id": 1,
        "key": b"ES/1",
        "meta": b"meta",
        "time_ns": 17,
        "aux": 2,
    }
    several = [{**one, "body": b"x" * 64}, {**one, "sequence": 6, "kind": 3, "body": b""}]
    assert flips_unseen(several) == []


def test_a_flipped_bit_in_the_padding_after_a_body_changes_nothing_that_is_read() -> None:
    fields = {"kind": 1, "sequence": 5, "bucket_id": 1, "key": b"k", "meta": b"m", "time_ns": 1, "aux": 0}
    raw = bytearray(whole(encode_record(**fields, body=b"y" * 10)))
    raw[-1] ^= 1
    found = decode_record(memoryview(raw), 0, len(raw))
    assert found is not None
    assert found.intact
    assert found.body == b"y" * 10


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_flipped_bits_of_any_batch_are_noticed(several: list[dict], rng: random.Random) -> None:
    # Bodies that fill their last 64 bytes: the padding after others is covered by no checksum, and never read.
    for fields in several:
        fields["body"] = fields["body"][: len(fields["body"]) & -ALIGNMENT]
    _, end = batch_of([encode_record(**fields) for fields in several])
    assert flips_unseen(several, [rng.randrange((end - 4096) * 8) for _ in range(40)]) == []
