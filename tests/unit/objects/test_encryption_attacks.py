"""Whoever can write to the segments, and mend every checksum, gets an error out of the vault and never data.

The forger here has no key. It appends records by the engine's own means, so that all checksums hold, and names the
sequence numbers it likes, as only who edits the files could.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c

import tickvault as tv
from tickvault.engine.bodies import Extent
from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.record import FRAME_SIZE, Record, frame_checksums
from tickvault.errors import AccessDeniedError, IntegrityError, TickVaultError
from tickvault.objects import entries
from tickvault.objects.bucket import Bucket
from tickvault.objects.entries import Kind
from tickvault.objects.lookup import read_record, require_version

MIB = 1 << 20
SECRET = b"what the other object says"


@pytest.fixture
def sealed(vault: tv.Vault) -> Bucket:
    return vault.create_bucket("sealed", encryption="aes-256-gcm", versioning=True)


def record_of(bucket: Bucket, key: str, version_id: str | None = None) -> Record:
    engine = bucket.store.engine
    with engine.snapshot() as snapshot:
        entry, _ = require_version(snapshot, bucket.name, bucket.bucket_id, key.encode(), version_id)
        return read_record(engine.segments, entry, key.encode(), bucket.bucket_id)[0]


def forge(bucket: Bucket, key: str, meta: bytes, body: Any, *, sequence: int | None, versioned: bool = True) -> str:
    """Put a record of one's own in the journal; `sequence` None makes a new version. Returns the version id."""

    def run(txn: Transaction) -> int:
        made = txn.append(
            Kind.PUT,
            bucket.bucket_id,
            key.encode(),
            meta,
            bytes(body),
            aux=entries.AUX_VERSIONED if versioned else 0,
            relocated_sequence=sequence,
        )
        return made[0]

    return f"{bucket.store.engine.commit(Operation(run, 1 << 20)):016x}"


def with_extras(meta: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    put = entries.decode_put_meta(meta)
    extras = dict(put.extras)
    change(extras)
    return entries.encode_put_meta(put.etag, put.etag_parts, put.size, put.extents, extras)


def refused(bucket: Bucket, key: str, version_id: str | None = None) -> TickVaultError:
    """Read by every way there is; each must be an error."""
    ways: list[Callable[[], object]] = [
        lambda: bucket.get(key, version_id=version_id),
        lambda: bucket.get(key, start=1, end=2, version_id=version_id),
        lambda: bytes(bucket.read(key, version_id=version_id).bytes()),
        lambda: list(bucket.read(key, version_id=version_id).chunks()),
        lambda: bucket.get_ranges(key, [(0, 1)], version_id=version_id),
        lambda: bucket.copy(key, "stolen", version_id=version_id),
    ]
    if version_id is None:
        ways.append(lambda: bucket.get_many([key]))
        ways.append(lambda: bucket.get_many([key] * 40))
    for way in ways:
        with pytest.raises((IntegrityError, AccessDeniedError)) as caught:
            way()
    return caught.value


def test_the_forger_can_forge_what_is_not_encrypted(vault: tv.Vault) -> None:
    """The harness works: without encryption the same forgery is taken for the object."""
    plain = vault.create_bucket("plain", versioning=True)
    plain.put("secret", SECRET)
    record = record_of(plain, "secret")
    forge(plain, "mine", record.meta, record.body, sequence=None)
    assert bytes(plain.get("mine")) == SECRET


def test_a_record_under_another_key_or_version(sealed: Bucket, vault: tv.Vault) -> None:
    sealed.put("secret", SECRET)
    mine = sealed.put("mine", b"x" * len(SECRET))
    record = record_of(sealed, "secret")
    # another key, a new version of the same key, the place of a version that is there, another bucket
    refused(sealed, "mine", forge(sealed, "mine", record.meta, record.body, sequence=None))
    refused(sealed, "secret", forge(sealed, "secret", record.meta, record.body, sequence=None))
    forge(sealed, "mine", record.meta, record.body, sequence=mine.sequence)
    refused(sealed, "mine", mine.version_id)
    other = vault.create_bucket("other", versioning=True)
    refused(other, "secret", forge(other, "secret", record.meta, record.body, sequence=None))
    forge(other, "secret", record.meta, record.body, sequence=record.sequence)
    refused(other, "secret")


def test_an_older_version_in_the_newer_ones_place(sealed: Bucket) -> None:
    old = sealed.put("k", b"sell")
    new = sealed.put("k", b"hold")
    record = record_of(sealed, "k", old.version_id)
    forge(sealed, "k", record.meta, record.body, sequence=new.sequence)
    refused(sealed, "k")
    again = forge(sealed, "k", record.meta, record.body, sequence=None)
    refused(sealed, "k", again)
    assert bytes(sealed.get("k", version_id=old.version_id)) == b"sell"


def test_a_wrapped_key_of_another_object(sealed: Bucket) -> None:
    sealed.put("secret", SECRET)
    mine = sealed.put("mine", b"y" * len(SECRET))
    stolen, own = record_of(sealed, "secret"), record_of(sealed, "mine")
    wrapped = entries.decode_put_meta(stolen.meta).extras["en"]["w"]
    swapped = with_extras(own.meta, lambda extras: extras.update(en={**extras["en"], "w": wrapped}))
    for meta, body in ((swapped, own.body), (swapped, stolen.body), (own.meta, stolen.body), (stolen.meta, own.body)):
        forge(sealed, "mine", meta, body, sequence=mine.sequence)
        refused(sealed, "mine")


@pytest.mark.parametrize("size", [100, 70_000])
def test_a_body_cut_off_lengthened_or_changed(sealed: Bucket, size: int) -> None:
    info = sealed.put("k", os.urandom(size))
    record = record_of(sealed, "k")
    body = bytes(record.body)
    put = entries.decode_put_meta(record.meta)
    for changed in (body[:-1], body[:-17], body + b"\0", b"", body[:10], body[1:] + b"\0", bytes(len(body))):
        forge(sealed, "k", record.meta, changed, sequence=info.sequence)
        refused(sealed, "k")
    for claimed in (0, size - 1, size + 1, 1 << 62):
        meta = entries.encode_put_meta(put.etag, 0, claimed, (), put.extras)
        forge(sealed, "k", meta, body, sequence=info.sequence)
        refused(sealed, "k")
    forge(sealed, "k", record.meta, body, sequence=info.sequence)
    assert len(sealed.get("k")) == size


@pytest.mark.parametrize(
    "entry",
    [
        {"w": b""},
        {"w": b"\1" * 22},
        {"w": bytes(82)},
        {"s": 2},
        {"s": 99},
        {"k": "default-sm4-gcm"},
        {"k": "nobody"},
        {"k": "../../etc/passwd"},
        {"m": 2},
        {"m": 2, "c": bytes(32)},
        {"m": 7},
        {"m": -1},
        {"p": b""},
        {"p": bytes(18)},
        {"p": bytes(180_000)},
    ],
    ids=str,
)
def test_an_entry_that_says_something_else(sealed: Bucket, entry: dict[str, Any]) -> None:
    info = sealed.put("k", SECRET)
    record = record_of(sealed, "k")
    meta = with_extras(record.meta, lambda extras: extras.update(en={**extras["en"], **entry}))
    forge(sealed, "k", meta, record.body, sequence=info.sequence)
    for way in (lambda: sealed.get("k"), lambda: sealed.read("k").bytes(), lambda: sealed.get_many(["k"])):
        with pytest.raises(TickVaultError):
            way()


def test_a_record_that_says_it_is_not_encrypted(sealed: Bucket) -> None:
    """Ciphertext is not handed out as if it were the body, and plain bytes are not if the index says otherwise."""
    info = sealed.put("k", SECRET)
    record = record_of(sealed, "k")
    meta = with_extras(record.meta, lambda extras: extras.pop("en"))
    forge(sealed, "k", meta, record.body, sequence=info.sequence)
    with pytest.raises(IntegrityError):
        sealed.get("k")


def test_a_key_that_was_wrapped_anew_for_another_version(sealed: Bucket, vault: tv.Vault) -> None:
    sealed.put("a", SECRET)
    sealed.put("b", SECRET)
    vault.store.keys.rotate("default-aes-256-gcm")
    sealed.rewrap()
    assert bytes(sealed.get("a")) == SECRET
    later = {}
    for key in ("a", "b"):
        with vault.store.engine.snapshot() as snapshot:
            sequence = sealed.head(key).sequence
            index_key = entries.attributes_key(sealed.bucket_id, key.encode(), sequence)
            later[key] = entries.decode_document(index_key, snapshot.get(index_key) or b"").data["rw"]

    def run(txn: Transaction) -> None:
        for meta in ({"rw": later["b"]}, {"rw": {"k": "nobody", "w": b""}}):
            txn.append(Kind.ATTRIBUTES, sealed.bucket_id, b"a", entries.pack(meta), aux=sealed.head("a").sequence)

    vault.store.engine.commit(Operation(run, 4096))
    # What it was written with still opens it: nobody makes a version unreadable by writing beside it.
    assert bytes(sealed.get("a")) == SECRET
    assert bytes(sealed.read("a").bytes()) == SECRET


class Large:
    """Two objects in body segments, and a forger who writes into the segments themselves."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.mine, self.other = os.urandom(MIB), os.urandom(MIB)
        self.info = bucket.put("mine", self.mine)
        bucket.put("other", self.other)
        self.record = record_of(bucket, "mine")
        self.put = entries.decode_put_meta(self.record.meta)
        self.foreign = entries.decode_put_meta(record_of(bucket, "other").meta)

    def stored(self, extent: Extent) -> bytearray:
        view = self.bucket.store.engine.segments.view(extent.segment_id, extent.end)
        return bytearray(view[extent.offset : extent.table_offset])

    def write(self, body: bytes) -> None:
        """Put other stored bytes in the object's place, with their checksums, and refer to them."""
        (extent,) = self.put.extents
        table = frame_checksums(body)
        engine = self.bucket.store.engine
        fd = engine.segments.fd(extent.segment_id)
        engine.disk.pwritev(fd, [body, table], extent.offset)
        self.refer([extent._replace(length=len(body), table_crc=int(crc32c(table)))])

    def refer(self, extents: list[Extent]) -> None:
        meta = entries.encode_put_meta(self.put.etag, 0, self.put.size, extents, self.put.extras)
        forge(self.bucket, "mine", meta, b"", sequence=self.info.sequence)


def test_frames_in_the_segment_exchanged_with_their_checksums_mended(sealed: Bucket) -> None:
    large = Large(sealed)
    (own,), (foreign,) = large.put.extents, large.foreign.extents
    body, other = large.stored(own), large.stored(foreign)
    large.write(bytes(body))
    assert bytes(sealed.get("mine")) == large.mine, "the forger's checksums are right"
    swapped = body.copy()
    swapped[:FRAME_SIZE], swapped[FRAME_SIZE : 2 * FRAME_SIZE] = body[FRAME_SIZE : 2 * FRAME_SIZE], body[:FRAME_SIZE]
    grafted = body.copy()
    grafted[FRAME_SIZE : 2 * FRAME_SIZE] = other[FRAME_SIZE : 2 * FRAME_SIZE]
    flipped = body.copy()
    flipped[5 * FRAME_SIZE + 9] ^= 1
    for changed in (swapped, grafted, flipped, other):
        large.write(bytes(changed))
        with pytest.raises(IntegrityError, match="does not open"):
            sealed.get("mine")
        with pytest.raises(IntegrityError):
            list(sealed.read("mine").chunks())
    # What was not touched is still read, and what comes before damage too.
    large.write(bytes(flipped))
    assert bytes(sealed.get("mine", start=0, end=65_520)) == large.mine[:65_520]
    chunks = sealed.read("mine").chunks(chunk_size=65_520)
    assert bytes(next(chunks)) == large.mine[:65_520]


def test_extents_of_another_object_or_too_few_of_them(sealed: Bucket) -> None:
    large = Large(sealed)
    (own,), (foreign,) = large.put.extents, large.foreign.extents
    table = frame_checksums(bytes(large.stored(own)[:FRAME_SIZE]))
    for extents in ([foreign], [own, own], [own, foreign], []):
        large.refer(extents)
        refused(sealed, "mine")
    short = own._replace(length=FRAME_SIZE, table_crc=int(crc32c(table)))
    large.refer([short])
    refused(sealed, "mine")


def test_parts_reordered_dropped_or_of_an_earlier_try(sealed: Bucket, vault: tv.Vault) -> None:
    upload = sealed.create_upload("mp")
    bodies = {1: b"a" * (5 * MIB), 2: b"b" * (5 * MIB), 3: b"c" * (5 * MIB)}
    tried: dict[int, list[Any]] = {number: [] for number in bodies}
    for attempt in range(2):
        for number, data in bodies.items():
            part = sealed.put_part("mp", upload.upload_id, number, data if attempt else data.swapcase())
            with vault.store.engine.snapshot() as snapshot:
                index_key = entries.part_key(int(upload.upload_id[:16], 16), number)
                entry = entries.decode_entry(index_key, snapshot.get(index_key) or b"")
                record, _ = read_record(vault.store.engine.segments, entry, b"mp", sealed.bucket_id)
            tried[number].append((part, entries.decode_put_meta(record.meta)))
    info = sealed.complete_upload("mp", upload.upload_id, [(n, tried[n][1][0].etag) for n in bodies])
    record = record_of(sealed, "mp")
    put = entries.decode_put_meta(record.meta)
    own = {number: tried[number][1][1] for number in bodies}

    def salts(*metas: Any, numbers: tuple[int, ...]) -> bytes:
        return b"".join(
            number.to_bytes(2, "big") + meta.extras["en"]["n"] for number, meta in zip(numbers, metas, strict=True)
        )

    def forged(metas: list[Any], numbers: tuple[int, ...]) -> None:
        extents = [extent for meta in metas for extent in meta.extents]
        sizes = [meta.size for meta in metas]
        extras = {**put.extras, "ps": sizes, "en": {**put.extras["en"], "p": salts(*metas, numbers=numbers)}}
        meta = entries.encode_put_meta(put.etag, 3, sum(sizes), extents, extras)
        forge(sealed, "mp", meta, b"", sequence=info.sequence)

    forged([own[1], own[2], own[3]], (1, 2, 3))
    assert bytes(sealed.get("mp", end=3)) == b"aaa", "the forgery of what is right is right"
    for metas, numbers in (
        ([own[2], own[1], own[3]], (2, 1, 3)),
        ([own[2], own[1], own[3]], (1, 2, 3)),
        ([own[1], own[2]], (1, 2)),
        ([own[1], own[1], own[3]], (1, 1, 3)),
        ([tried[1][0][1], own[2], own[3]], (1, 2, 3)),
    ):
        forged(metas, numbers)
        refused(sealed, "mp")
    # The order of the extents alone, under the right names.
    meta = entries.encode_put_meta(put.etag, 3, put.size, put.extents[::-1], put.extras)
    forge(sealed, "mp", meta, b"", sequence=info.sequence)
    refused(sealed, "mp")


def test_an_upload_s_key_is_no_object_s_key(sealed: Bucket, vault: tv.Vault) -> None:
    upload = sealed.create_upload("k")
    sequence = int(upload.upload_id[:16], 16)
    en = upload.encryption
    assert en is not None
    for size in (0, 16):
        meta = entries.encode_put_meta(bytes(16), 0, size, (), {"en": dict(en)})
        refused(sealed, "k", forge(sealed, "k", meta, bytes(size + 16), sequence=sequence))


def test_a_vault_s_objects_are_not_another_vault_s(tmp_path: Path) -> None:
    """The same bucket id, key and sequence, and the keyring too: but not the vault."""
    with tv.open(tmp_path / "a") as first:
        bucket = first.create_bucket("sealed", encryption="aes-256-gcm", versioning=True)
        bucket.put("k", SECRET)
        record = record_of(bucket, "k")
    with tv.open(tmp_path / "b") as second:
        bucket = second.create_bucket("sealed", versioning=True)
        shutil.copytree(tmp_path / "a" / "security", tmp_path / "b" / "security", dirs_exist_ok=True)
        version_id = forge(bucket, "k", record.meta, record.body, sequence=record.sequence)
        refused(bucket, "k", version_id)


def test_a_flipped_bit_is_damage_and_named_as_such(sealed: Bucket, vault: tv.Vault) -> None:
    sealed.put("k", SECRET)
    with vault.store.engine.snapshot() as snapshot:
        entry, _ = require_version(snapshot, "sealed", sealed.bucket_id, b"k", None)
    path = Path(vault.path) / "segments" / f"journal-{entry.segment_id:010d}.seg"

    def flip(at: int) -> None:
        with path.open("r+b") as file:
            file.seek(entry.offset + at)
            byte = file.read(1)[0]
            file.seek(entry.offset + at)
            file.write(bytes((byte ^ 4,)))

    for at in (70, 100, 150, record_of(sealed, "k").body_offset + 5):
        flip(at)
        with pytest.raises(IntegrityError, match="damaged in segment"):
            sealed.get("k")
        with pytest.raises(IntegrityError, match="damaged in segment"):
            sealed.get_many(["k"])
        assert [one.key for one in vault.verify(heal=False).damaged_objects] == ["k"]
        flip(at)
        assert bytes(sealed.get("k")) == SECRET


def test_what_finds_edited_ciphertext_is_named(sealed: Bucket, vault: tv.Vault) -> None:
    """The error said to run `tickvault verify`, which opens nothing encrypted and called the vault sound."""
    info = sealed.put("secret", SECRET)
    record = record_of(sealed, "secret")
    edited = bytearray(record.body)
    edited[3] ^= 1
    forge(sealed, "secret", record.meta, edited, sequence=info.sequence)
    told = str(refused(sealed, "secret"))
    assert "run tickvault audit verify --objects --everything" in told
    assert "run tickvault verify" not in told
    assert vault.verify().sound, "its checksum was mended"
    kinds = [(finding.kind, finding.key) for finding in vault.reconcile(everything=True).findings]
    assert ("unreadable", "secret") in kinds or ("changed", "secret") in kinds
