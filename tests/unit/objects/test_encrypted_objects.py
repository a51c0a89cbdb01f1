"""Objects in encrypted buckets are the same to whoever reads them, and not the same on the disk."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import tickvault as tv
from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.objects.bucket import Bucket
from tickvault.vault import rebuild_index, restore

MIB = 1 << 20
FRAME = 65_520
#: Around one frame, around what rides in the commit, and well beyond.
SIZES = (0, 1, 4096, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7)


@pytest.fixture(params=["aes-256-gcm", "sm4-gcm"])
def sealed(vault: tv.Vault, request: pytest.FixtureRequest) -> Bucket:
    return vault.create_bucket("sealed", encryption=request.param, versioning=True)


def body(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def stored_bytes(vault: tv.Vault) -> bytes:
    """Everything that the vault's segments hold."""
    return b"".join(path.read_bytes() for path in sorted((Path(vault.path) / "segments").glob("*.seg")))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(sealed: Bucket, size: int) -> None:
    data = body(size)
    info = sealed.put("k", data)
    assert (info.size, info.etag) == (size, hashlib.md5(data).hexdigest())
    assert bytes(sealed.get("k")) == data
    reader = sealed.read("k")
    assert b"".join(reader.chunks(chunk_size=100_000)) == data
    assert bytes(reader.bytes()) == data
    assert sealed.head("k") == info == sealed.get("k").info == reader.info
    assert info.encryption is not None
    assert (info.encryption.mode, info.encryption.key_version) == ("managed", 1)


def test_ranges_are_those_of_the_plaintext(sealed: Bucket) -> None:
    data = body(5 * FRAME + 11)
    sealed.put("k", data)
    small = body(3000)
    sealed.put("s", small)
    for start, end in ((0, 1), (FRAME - 1, FRAME + 1), (FRAME, 2 * FRAME), (7, None), (len(data), None), (9, 9)):
        assert bytes(sealed.get("k", start=start, end=end)) == data[start:end]
    assert [bytes(blob) for blob in sealed.get_ranges("k", [(0, 5), (2 * FRAME - 3, 4 * FRAME)])] == [
        data[:5],
        data[2 * FRAME - 3 : 4 * FRAME],
    ]
    assert bytes(sealed.get("s", start=10, end=20)) == small[10:20]
    with pytest.raises(InvalidInputError, match="does not lie within"):
        sealed.get("s", start=3001)
    assert b"".join(sealed.read("k").chunks(100, 4 * FRAME + 5, chunk_size=1)) == data[100 : 4 * FRAME + 5]


def test_a_blob_cannot_be_written_to(sealed: Bucket) -> None:
    """A buffer that a library filled is writable; what is handed out is not."""
    for size in (100, FRAME + 1, 2 * MIB):
        sealed.put("k", body(size))
        for blob in (sealed.get("k"), sealed.read("k").blob(), sealed.get("k", start=3)):
            assert memoryview(blob).readonly
            assert not np.asarray(blob).flags.writeable
        assert all(chunk.readonly for chunk in sealed.read("k").chunks())


def test_the_disk_has_no_plaintext(vault: tv.Vault, sealed: Bucket) -> None:
    words = b"the desk buys at the open and sells at the close; "
    vault.create_bucket("open").put("k", words)
    assert stored_bytes(vault).count(words) == 1, "the search finds what is there"
    for number, count in enumerate((1, 100, 10_000)):
        sealed.put(f"k{number}", words * count)
    sealed.put_many([("m", words * 10)])
    upload = sealed.create_upload("mp")
    part = sealed.put_part("mp", upload.upload_id, 1, words * 10_000)
    sealed.complete_upload("mp", upload.upload_id, [(1, part.etag)])
    sealed.copy("k2", "copy")
    assert stored_bytes(vault).count(words) == 1


def test_many_at_once(sealed: Bucket, vault: tv.Vault) -> None:
    items = [(f"k{number}", body(number * 997 % 200_000, number)) for number in range(60)]
    made = sealed.put_many(items)
    assert [info.etag for info in made] == [hashlib.md5(data).hexdigest() for _, data in items]
    assert all(info.encryption is not None for info in made)
    assert [bytes(blob) for blob in sealed.get_many([key for key, _ in items])] == [data for _, data in items]
    sealed.set_encryption(None)
    sealed.put("k7", b"open again")
    mixed = sealed.get_many([key for key, _ in items])
    assert bytes(mixed[7]) == b"open again"
    assert bytes(mixed[8]) == items[8][1]


def test_files_and_writers(sealed: Bucket) -> None:
    for size in (1000, 2 * MIB + 3):
        data = body(size)
        sealed.put("f", io.BytesIO(data))
        assert bytes(sealed.get("f")) == data
    with sealed.open_writer("w", 10) as writer:
        for start in range(0, len(data), 77_777):
            writer.write(data[start : start + 77_777])
        info = writer.commit()
    assert info.etag == hashlib.md5(data).hexdigest()
    assert bytes(sealed.get("w")) == data
    with sealed.open_writer("empty") as writer:
        assert writer.commit().size == 0
    assert bytes(sealed.get("empty")) == b""
    with sealed.open_writer("given up") as writer:
        writer.write(data)
    assert "given up" not in {info.key for info in sealed.list()}


def test_an_upload_strings_its_parts_together(sealed: Bucket) -> None:
    parts = {2: body(5 * MIB, 2), 3: body(6 * MIB + 1, 3), 9: body(100, 9)}
    upload = sealed.create_upload("mp", metadata={"a": "b"})
    sealed.put_part("mp", upload.upload_id, 3, b"an earlier try")
    etags = [(number, sealed.put_part("mp", upload.upload_id, number, data).etag) for number, data in parts.items()]
    listed = sealed.list_parts_page("mp", upload.upload_id).parts
    assert [(part.part_number, part.size) for part in listed] == [(n, len(data)) for n, data in parts.items()]
    info = sealed.complete_upload("mp", upload.upload_id, etags)
    whole = b"".join(parts.values())
    joined = hashlib.md5(b"".join(hashlib.md5(data).digest() for data in parts.values())).hexdigest()
    assert (info.size, info.etag) == (len(whole), f"{joined}-3")
    assert sealed.head("mp") == info
    assert bytes(sealed.get("mp")) == whole
    edge = len(parts[2])
    for start, end in ((0, 10), (edge - 5, edge + 5), (edge, edge + 1), (len(whole) - 150, None)):
        assert bytes(sealed.get("mp", start=start, end=end)) == whole[start:end]
    assert b"".join(sealed.read("mp").chunks(edge - 1000, len(whole) - 1)) == whole[edge - 1000 : -1]


def test_a_copy_is_encrypted_as_its_own_bucket_says(vault: tv.Vault, sealed: Bucket) -> None:
    plain = vault.create_bucket("plain")
    for size in (100, MIB):
        data = body(size)
        sealed.put("k", data)
        copied = sealed.copy("k", "k", dest_bucket=plain)
        assert copied.encryption is None
        assert bytes(plain.get("k")) == data
        back = plain.copy("k", "back", dest_bucket=sealed)
        assert back.encryption is not None
        assert back.etag == copied.etag
        assert bytes(sealed.get("back")) == data
        there = plain.copy("k", "x", encryption={"suite": "sm4-gcm"})
        assert there.encryption is not None
        assert there.encryption.suite == "sm4-gcm"


def test_a_setting_is_of_what_is_written_from_then_on(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("turned", versioning=True)
    first = bucket.put("k", b"plain")
    upload = bucket.create_upload("mp")
    assert bucket.info.encryption is None
    bucket.set_encryption("sm4-gcm")
    second = bucket.put("k", b"sealed")
    bucket.set_encryption({"suite": "aes-256-gcm"})
    third = bucket.put("k", b"sealed otherwise")
    part = bucket.put_part("mp", upload.upload_id, 1, b"begun before")
    assert bucket.complete_upload("mp", upload.upload_id, [(1, part.etag)]).encryption is None
    bucket.set_encryption(None)
    fourth = bucket.put("k", b"plain again")
    found = [info.encryption.suite if info.encryption else None for info in (first, second, third, fourth)]
    assert found == [None, "sm4-gcm", "aes-256-gcm", None]
    for info, data in ((first, b"plain"), (second, b"sealed"), (third, b"sealed otherwise"), (fourth, b"plain again")):
        assert bytes(bucket.get("k", version_id=info.version_id)) == data
    with pytest.raises(InvalidInputError, match="suite"):
        bucket.set_encryption("rot13")
    with pytest.raises(AccessDeniedError, match="there is no key nobody"):
        bucket.set_encryption({"key": "nobody"})
    with pytest.raises(InvalidInputError, match="'managed' or 'kms'"):
        bucket.set_encryption({"customer_key": bytes(32)})
    with pytest.raises(InvalidInputError, match="not one with") as caught:
        bucket.put("k", b"", encryption={"costumer_key": b"secret of mine"})
    assert "secret of mine" not in str(caught.value)


def test_only_a_managed_etag_tells_of_the_bytes(vault: tv.Vault) -> None:
    vault.store.keys.create("mine")
    bucket = vault.create_bucket("kms", encryption={"suite": "aes-256-gcm", "key": "mine", "mode": "kms"})
    for size in (10, MIB):
        data = body(size)
        made = [bucket.put("a", data), bucket.put("b", data), bucket.put_many([("c", data[:10])])[0]]
        assert hashlib.md5(data).hexdigest() not in {info.etag for info in made}
        assert len({info.etag for info in made}) == 3
        assert all(bucket.head(info.key).etag == info.etag for info in made)
    operation = bucket.put_operation("d", b"x", etag=hashlib.md5(b"x").hexdigest())
    assert vault.store.commit(operation).etag != hashlib.md5(b"x").hexdigest()


def test_conditions_tags_headers_and_versions_need_no_key(vault: tv.Vault, sealed: Bucket) -> None:
    info = sealed.put("k", b"one", tags={"a": "1"})
    sealed.put("k", b"two", if_match=info.etag)
    vault.store.keys.disable(info.encryption.key_id)  # type: ignore[union-attr]
    assert sealed.get_tags("k", version_id=info.version_id) == {"a": "1"}
    sealed.set_tags("k", {"b": "2"}, version_id=info.version_id)
    sealed.set_headers("k", {"cache-control": "no-cache"}, version_id=info.version_id)
    assert sealed.head("k", version_id=info.version_id).headers == {"cache-control": "no-cache"}
    assert [one.size for one in sealed.versions("k")] == [3, 3]
    sealed.delete("k", version_id=info.version_id)
    vault.store.keys.enable(info.encryption.key_id)  # type: ignore[union-attr]
    sealed.set_tags("k", {"c": "3"})
    assert bytes(sealed.get("k")) == b"two"


def test_upkeep_moves_ciphertext(vault: tv.Vault, sealed: Bucket, tmp_path: Path) -> None:
    """Verify, compaction, backup, restore and a rebuild need no key, and change nothing that has one."""
    data = {f"k{number}": body(size, number) for number, size in enumerate(SIZES)}
    for key, one in data.items():
        sealed.put(key, b"older" * 1000)
        first = sealed.head(key).version_id
        sealed.put(key, one)
        sealed.delete(key, version_id=first)
    sequences = {key: sealed.head(key).sequence for key in data}
    os.rename(tmp_path / "data" / "security", tmp_path / "elsewhere")
    vault.store.keys.close()
    assert vault.verify().sound
    vault.compact(dead_ratio_min=0.0)
    vault.backup(tmp_path / "backup")
    with pytest.raises(AccessDeniedError, match="keyring"):
        sealed.get("k1")
    vault.close()
    rebuild_index(tmp_path / "data")
    restore(tmp_path / "backup", tmp_path / "restored")
    os.rename(tmp_path / "elsewhere", tmp_path / "data" / "security")
    for folder in ("data", "restored"):
        if folder == "restored":
            shutil.copytree(tmp_path / "data" / "security", tmp_path / folder / "security", dirs_exist_ok=True)
        with tv.open(tmp_path / folder) as again:
            bucket = again.bucket("sealed")
            for key, one in data.items():
                assert bytes(bucket.get(key)) == one
                assert bucket.head(key).sequence == sequences[key]


def test_resident_is_asked_of_what_is_stored(sealed: Bucket) -> None:
    data = body(MIB)
    sealed.put("k", data)
    reader = sealed.read_resident("k")
    assert reader is not None
    slow = reader.info.encryption is not None and reader.info.encryption.suite == "sm4-gcm"
    assert reader.resident(0, 1000)
    assert reader.resident() is not slow
    assert bytes(reader.bytes(5, 1000)) == data[5:1000]


def test_what_was_written_by_another_opening_is_read(tmp_path: Path) -> None:
    with tv.open(tmp_path / "v") as first:
        first.create_bucket("sealed", encryption="aes-256-gcm").put("k", b"body")
    with tv.open(tmp_path / "v") as second:
        assert bytes(second.bucket("sealed").get("k")) == b"body"
        assert second.bucket("sealed").put("l", b"").encryption is not None


def test_the_journal_and_the_python_face_say_what_they_take(vault: tv.Vault) -> None:
    for wrong in (7, b"aes-256-gcm", ["aes-256-gcm"], {"suite": "x"}, {"mode": "x"}, {"customer_key": b"short"}):
        with pytest.raises((InvalidInputError, AccessDeniedError)):
            vault.create_bucket("never", encryption=wrong)  # type: ignore[arg-type]
    assert vault.buckets() == []


def test_a_backup_has_the_keyring_and_not_what_opens_it(vault: tv.Vault, sealed: Bucket, tmp_path: Path) -> None:
    """A lost backup tells nothing; with the key file, which is kept elsewhere, a restored one tells all."""
    sealed.put("k", b"body")
    vault.backup(tmp_path / "backup")
    vault.store.keys.rotate(sealed.info.encryption.key_id)  # type: ignore[union-attr]
    sealed.put("l", b"later")
    vault.backup(tmp_path / "backup")
    assert os.listdir(tmp_path / "backup" / "files" / "security") == ["keyring.json"]
    restore(tmp_path / "backup", tmp_path / "restored")
    with tv.open(tmp_path / "restored") as again:
        with pytest.raises(AccessDeniedError, match=r"keyring\.key: there is no such file"):
            again.bucket("sealed").get("k")
        shutil.copy(tmp_path / "data" / "security" / "keyring.key", tmp_path / "restored" / "security")
        assert bytes(again.bucket("sealed").get("k")) == b"body"
        assert bytes(again.bucket("sealed").get("l")) == b"later"


def test_a_key_file_elsewhere_in_a_fresh_vault(tmp_path, monkeypatch):
    """Found by following the compliance checklist in another order: the vault's folder of secrets was not there yet."""
    import os

    key = tmp_path / "apart.key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    monkeypatch.setenv("TICKVAULT_KEYRING_KEY_FILE", str(key))
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("sealed", encryption="aes-256-gcm").put("a", b"x")
    with tv.open(tmp_path / "data") as vault:
        assert vault.bucket("sealed").get("a") == b"x"
