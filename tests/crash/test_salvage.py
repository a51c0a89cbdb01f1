"""A damaged place in a segment costs what lies there and nothing else, also when the index is made anew.

What is read after a rebuild is right, or an error, or told: never an older version in silence.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickvault as tv
from tickvault.engine.engine import EngineOptions
from tickvault.objects.bucket import Bucket

OPTIONS = EngineOptions(segment_size_first=256 * 1024, segment_size_max=256 * 1024, background=False)
RECORD_FIELDS = {"crc": 0, "magic": 4, "kind": 6, "flags": 7, "sequence": 8, "length": 16, "bucket": 20}
RECORD_FIELDS |= {"header": 24, "key length": 28, "meta length": 32, "frames": 36, "body length": 40, "aux": 56}
#: Behind the header: in the key "price".
RECORD_FIELDS |= {"key": 66}


def journal(folder: Path) -> Path:
    return min((folder / "segments").glob("journal-*.seg"))


def overwrite(folder: Path, offset: int, data: bytes) -> None:
    with journal(folder).open("r+b") as file:
        file.seek(offset)
        file.write(data)


def flip(folder: Path, offset: int, bit: int = 0) -> None:
    overwrite(folder, offset, bytes([journal(folder).read_bytes()[offset] ^ 1 << bit]))


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy whose index is made anew when it is opened."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "vault"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("index", "recent", "reserve"))
        yield copy


def record_of(raw: bytes, key: str, size: int) -> int:
    """Return the offset of the last record of a key with a body of that size."""
    name = key.encode()
    return max(
        at
        for at in range(4096, len(raw), 64)
        if raw[at + 4 : at + 6] == b"TV"
        and raw[at + 64 : at + 64 + len(name)] == name
        and int.from_bytes(raw[at + 28 : at + 30], "little") == len(name)
        and int.from_bytes(raw[at + 40 : at + 48], "little") == size
    )


def outcome(bucket: Bucket, key: str) -> object:
    """Return the bytes of an object, or the class of the error."""
    try:
        return bytes(bucket.get(key))
    except tv.IntegrityError as error:
        assert key in str(error)
        return tv.IntegrityError
    except tv.NotFoundError:
        return tv.NotFoundError


def keys_of(bucket: Bucket) -> list[str]:
    return [info.key for info in bucket.list() if not isinstance(info, str)]


@pytest.mark.parametrize("versioning", [False, True])
@pytest.mark.parametrize("delete", [False, True])
def test_a_damaged_record_brings_no_older_version_back(tmp_path: Path, *, delete: bool, versioning: bool) -> None:
    """Story: one bit of the header of the record that overwrote "price" flipped, the index was built anew, and get gave
    the old price; one bit of a delete's record, and the object was back. Nobody was told."""
    folder = tmp_path / "vault"
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw", versioning=versioning)
        raw.put("price", b"old")
        if delete:
            raw.delete("price")
        else:
            raw.put_many([("price", b"new"), *((f"n{number}", b"sound") for number in range(20))])
        raw.put("after", b"sound")
    others = ["after"] + ([] if delete else [f"n{number}" for number in range(20)])
    at = record_of(journal(folder).read_bytes(), "price", 0 if delete else 3)
    for field, offset in RECORD_FIELDS.items():
        for bit in (0, 1, 3, 7):
            with copied(folder) as copy:
                flip(copy, at + offset, bit)
                with tv.open(copy, options=OPTIONS) as vault:
                    bucket = vault["raw"]
                    assert outcome(bucket, "price") is tv.IntegrityError, f"{field}, bit {bit}"
                    assert {outcome(bucket, key) for key in others} == {b"sound"}
                    assert keys_of(bucket) == sorted(["price", *others])
                    assert len(vault.store.engine.report.damage) == 1
                    assert not vault.verify().sound
                    bucket.put("price", b"newer")
                    assert outcome(bucket, "price") == b"newer"
                    bucket.delete("price")
                    assert outcome(bucket, "price") is tv.NotFoundError


def test_a_sound_record_after_a_damaged_one_counts(tmp_path: Path) -> None:
    """The damaged record has no say over what was written later."""
    folder = tmp_path / "vault"
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put("price", b"old")
        raw.put("price", b"newer")
        raw.put("price", b"newest")
    for offset in RECORD_FIELDS.values():
        with copied(folder) as copy:
            flip(copy, record_of(journal(copy).read_bytes(), "price", 5) + offset)
            with tv.open(copy, options=OPTIONS) as vault:
                assert outcome(vault["raw"], "price") == b"newest"


def numbered(key: str) -> bytes:
    return b"body %d" % int(key[1:])


NUMBERED = [f"k{number:03d}" for number in range(500)]


def test_a_record_that_cannot_be_made_out_costs_no_other_and_is_told(tmp_path: Path) -> None:
    """Story: of 500 objects written in one batch 499 sound ones were lost with the one that was damaged."""
    with tv.open(tmp_path, options=OPTIONS) as vault:
        vault.create_bucket("raw").put_many((key, numbered(key)) for key in NUMBERED)
    for number in (0, 100, 101, 102, 499):
        key = NUMBERED[number]
        overwrite(tmp_path, record_of(journal(tmp_path).read_bytes(), key, len(numbered(key))), b"\xff" * 100)
    tv.rebuild_index(tmp_path)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        lost = [key for key in NUMBERED if outcome(vault["raw"], key) != numbered(key)]
        assert lost == ["k000", "k100", "k101", "k102", "k499"]
        assert len(vault.store.engine.report.damage) == 3, "later openings do not tell"
    with copied(tmp_path) as copy, tv.open(copy, options=OPTIONS) as vault:
        assert vault.store.engine.report.damage, "a copy does not tell"


def test_what_was_noted_is_forgotten_once_a_scrub_finds_it_mended(tmp_path: Path) -> None:
    with tv.open(tmp_path, options=OPTIONS) as vault:
        vault.create_bucket("raw").put("price", b"sound")
    sound = journal(tmp_path).read_bytes()
    flip(tmp_path, record_of(sound, "price", 5) + 66)
    tv.rebuild_index(tmp_path)
    overwrite(tmp_path, 0, sound)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        assert vault.store.engine.report.damage
    tv.rebuild_index(tmp_path)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        assert not vault.store.engine.report.damage
        assert vault.verify().sound
        assert outcome(vault["raw"], "price") == b"sound"


def test_a_key_that_is_no_text_never_enters_the_index(tmp_path: Path) -> None:
    """Story: a flipped key byte was no UTF-8; list raised UnicodeDecodeError, and `tickvault ls` spoke of a bug."""
    with tv.open(tmp_path, options=OPTIONS) as vault:
        vault.create_bucket("raw").put_many((key, numbered(key)) for key in NUMBERED)
    overwrite(tmp_path, record_of(journal(tmp_path).read_bytes(), "k007", 6) + 64, b"\xff\xfe")
    tv.rebuild_index(tmp_path)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        assert keys_of(vault["raw"]) == [key for key in NUMBERED if key != "k007"]
        assert len(vault["raw"].list_versions_page().versions) == 499
        assert vault.store.engine.report.damage


def test_a_damaged_batch_header_costs_none_of_its_records(tmp_path: Path) -> None:
    """Story: a flipped byte in the header of a batch took every object of the batch with it."""
    with tv.open(tmp_path, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put("a", b"old")
        raw.put_many((key, numbered(key)) for key in NUMBERED)
        raw.put("a", b"new")
        raw.put("b", b"last")
    data = journal(tmp_path).read_bytes()
    heads = [at for at in range(4096, len(data), 64) if data[at : at + 4] == b"TVB1"]
    assert len(heads) == 5
    for head in heads[1:-1]:
        flip(tmp_path, head + 20)
    tv.rebuild_index(tmp_path)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        raw = vault["raw"]
        assert (outcome(raw, "a"), outcome(raw, "b")) == (b"new", b"last")
        assert all(outcome(raw, key) == numbered(key) for key in NUMBERED)
        assert vault.store.engine.report.damage


def nested(folder: Path, seed: int) -> dict[str, bytes]:
    """Make a vault whose bodies hold batches and records of a twin that used the very keys and sequences."""
    rng = random.Random(seed)
    twin = folder.with_name("twin")
    with tv.open(twin, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        for _ in range(2):
            raw.put_many((f"s{number:02d}", rng.randbytes(rng.randrange(200))) for number in range(6))
    stored = journal(twin).read_bytes()[4096:16384]
    objects: dict[str, bytes] = {}
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        for first in (0, 6):
            items = []
            for number in range(first, first + 6):
                start = 64 * rng.randrange(10)
                items.append((f"s{number:02d}", stored[start : start + rng.randrange(64, 8_000)]))
            raw.put_many(items)
            objects.update(items)
    return objects


@pytest.mark.parametrize("seed", range(5))
def test_records_inside_a_body_are_not_taken_for_records_of_the_batch(tmp_path: Path, seed: int) -> None:
    """A segment stored as an object holds sound records at aligned places, here with the very sequences looked for."""
    folder = tmp_path / "vault"
    objects = nested(folder, seed)
    raw = journal(folder).read_bytes()
    rng = random.Random(seed)
    for key, content in objects.items():
        at = record_of(raw, key, len(content))
        for damage in (b"\xff" * 64, bytes(64), None, None):
            with copied(folder) as copy:
                if damage is None:
                    flip(copy, at + 16 + rng.randrange(4), rng.randrange(8))
                else:
                    overwrite(copy, at, damage)
                with tv.open(copy, options=OPTIONS) as vault:
                    assert vault.store.engine.report.damage
                    for other, expected in objects.items():
                        found = outcome(vault["raw"], other)
                        allowed = (expected,) if other != key else (tv.IntegrityError, tv.NotFoundError)
                        assert found in allowed, f"{other} after damage to {key}: {found!r:.50}"


def test_damage_in_the_segments_does_not_keep_the_index_from_being_mended(tmp_path: Path) -> None:
    """Story: one damaged place, and verify said "2,441 wrong index entries; nothing is mended": it took all that stood
    in batches whose headers were hit for wrong, and mended nothing of what was."""
    with tv.open(tmp_path, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put_many((key, numbered(key)) for key in NUMBERED)
        raw.put("price", b"old")
        raw.put("price", b"new")
        raw.put("gone", b"")
        raw.delete("gone")
        raw.put("later", b"sound")
        data = journal(tmp_path).read_bytes()
        heads = [at for at in range(4096, len(data), 64) if data[at : at + 4] == b"TVB1"]
        flip(tmp_path, heads[1] + 20)
        overwrite(tmp_path, record_of(data, "price", 3), b"\xff" * 70)
        overwrite(tmp_path, record_of(data, "gone", 0), b"\xff" * 70)
        report = vault.verify()
        assert report.index_differences == 0, "the index is right"
        assert [found.key for found in report.damaged_objects] == ["price"]
        assert outcome(raw, "price") is tv.IntegrityError
        assert outcome(raw, "gone") is tv.NotFoundError
        # What was lost or damaged in the index and stands behind the damage is mended.
        with vault.store.engine.index.recent.begin(write=True) as txn:
            txn.delete(b"O\0\0\0\x01later")
        assert outcome(raw, "later") is tv.NotFoundError
        report = vault.verify()
        assert (report.index_differences, report.healed) == (1, 1)
        assert outcome(raw, "later") == b"sound"


def test_an_older_version_whose_body_is_gone_is_told_by_verify(tmp_path: Path) -> None:
    """Story: the record of a newer version could not be made out, the older one showed, and its body segment had been
    compacted away: verify ended with SegmentGoneError."""
    with tv.open(tmp_path, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put("large", bytes(300_000))
    with tv.open(tmp_path, options=OPTIONS) as vault:
        vault["raw"].put("large", b"new" * 100_000)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        assert vault.compact(dead_ratio_min=0.5).segments_retired == 1
        vault["raw"].put("after", b"sound")
    data = journal(tmp_path).read_bytes()
    overwrite(tmp_path, record_of(data, "large", 0), b"\xff" * 70)
    tv.rebuild_index(tmp_path)
    with tv.open(tmp_path, options=OPTIONS) as vault:
        assert outcome(vault["raw"], "large") is tv.IntegrityError
        assert [found.key for found in vault.verify().damaged_objects] == ["large"]


# -- anything, anywhere


SMALL = [f"o{number:02d}" for number in range(24)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], int]:
    """A vault in which everything was overwritten or deleted once: (folder, what is there, end of the journal)."""
    folder = tmp_path_factory.mktemp("salvage") / "vault"
    content: dict[str, bytes] = {}
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put_many((key, b"old " + key.encode()) for key in SMALL)
        for number, key in enumerate(SMALL):
            if number % 4 == 0:
                raw.delete(key)
            elif number % 4 == 1:
                raw.put(key, b"new " + key.encode() * number * 3, metadata={"n": str(number)})
                content[key] = b"new " + key.encode() * number * 3
        rest = [key for number, key in enumerate(SMALL) if number % 4 > 1]
        raw.put_many((key, b"many " + key.encode() * 30) for key in rest)
        content |= {key: b"many " + key.encode() * 30 for key in rest}
        end = vault.store.engine.tail().offset
        # A batch with a damaged header counts only if another follows it.
        raw.put("the last", b"")
    return folder, content, end


def check(copy: Path, content: dict[str, bytes], *, exactly: bool, hits_max: int) -> None:
    """Look at a damaged copy: with `exactly`, no older version may show, damage told or not."""
    try:
        vault = tv.open(copy, options=OPTIONS)
    except tv.IntegrityError as error:
        assert "journal" in str(error)
        return
    with vault:
        damage = vault.store.engine.report.damage
        try:
            bucket = vault["raw"]
        except tv.BucketNotFoundError:
            assert damage
            return
        keys = set(keys_of(bucket))
        wrong = 0
        for key in SMALL:
            expected: object = content.get(key, tv.NotFoundError)
            found = outcome(bucket, key)
            if found == expected:
                continue
            wrong += 1
            assert damage, f"{key}: {found!r:.40} without a word"
            assert found is tv.IntegrityError or not exactly, f"{key}: {found!r:.40}"
            assert found in (tv.IntegrityError, tv.NotFoundError, b"old " + key.encode()), f"{key}: {found!r:.40}"
            assert (key in keys) == (found is not tv.NotFoundError)
        assert wrong <= hits_max
        before = {key: outcome(bucket, key) for key in SMALL}
        vault.verify()
        assert {key: outcome(bucket, key) for key in SMALL} == before
    tv.rebuild_index(copy)
    with tv.open(copy, options=OPTIONS) as vault:
        assert {key: outcome(vault["raw"], key) for key in SMALL} == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_shows_no_older_version(
    small: tuple[Path, dict[str, bytes], int], data: st.DataObject
) -> None:
    """One object at most answers with an error; all others are there, and nothing old or deleted comes back."""
    folder, content, end = small
    with copied(folder) as copy:
        flip(copy, data.draw(st.integers(0, end - 1)), data.draw(st.integers(0, 7)))
        check(copy, content, exactly=True, hits_max=1)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_some_bytes_overwritten_anywhere_cost_what_they_hit(
    small: tuple[Path, dict[str, bytes], int], data: st.DataObject
) -> None:
    """Bytes that are replaced may hide whose record it was: then an older version may show, and it is told."""
    folder, content, end = small
    with copied(folder) as copy:
        count = data.draw(st.integers(1, 3))
        for _ in range(count):
            length = data.draw(st.integers(1, 64))
            overwrite(
                copy, data.draw(st.integers(4096, end - 64)), data.draw(st.binary(min_size=length, max_size=length))
            )
        check(copy, content, exactly=False, hits_max=4 * count)
