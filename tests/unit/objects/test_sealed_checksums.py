"""Checksums of what is encrypted are sealed where the entity tag is drawn by lot: a stolen disk confirms no guess."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.errors import AccessDeniedError, InvalidInputError, StorageError
from tickvault.objects import entries, put
from tickvault.objects.auditing import description_digest
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption import checksums as sealing
from tickvault.objects.encryption.customer_key import CustomerKeyError
from tickvault.objects.encryption.key_uses import destroy_key
from tickvault.objects.get import with_checksums
from tickvault.security.cipher import AES_256_GCM, SM4_GCM, ValueCipher
from tickvault.vault import rebuild_index, restore

MIB = 1 << 20
KEY = bytes(range(32))
MODES = ("kms", "customer")


def body(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def checks(data: bytes) -> dict[str, str]:
    """Checksums of a body; what stands for the CRC-64 is as long and tells as much."""
    found = {"sha256": hashlib.sha256(data), "sha1": hashlib.sha1(data)}
    short = {"crc64nvme": hashlib.sha512(data).digest()[:8]}
    raw = {name: one.digest() for name, one in found.items()} | short
    return {name: base64.b64encode(value).decode() for name, value in raw.items()}


def forms(values: Mapping[str, str]) -> Iterator[bytes]:
    """Each checksum as it could stand somewhere."""
    for value in values.values():
        raw = base64.b64decode(value.partition("-")[0])
        yield from (value.encode(), raw, raw.hex().encode())


def everything(vault: tv.Vault) -> bytes:
    """All bytes of the vault: segments, index, audit trail."""
    vault.audit.catch_up()
    return b"".join(path.read_bytes() for path in sorted(Path(vault.path).rglob("*")) if path.is_file())


def asked(mode: str, suite: str = "aes-256-gcm") -> dict[str, Any]:
    return {"suite": suite, "customer_key": KEY} if mode == "customer" else {"suite": suite, "mode": mode}


def brought(mode: str) -> dict[str, Any]:
    return {"customer_key": KEY} if mode == "customer" else {}


def upload(bucket: Bucket, key: str, mode: str, bodies: list[bytes], suite: str = "aes-256-gcm") -> tv.ObjectInfo:
    begun = bucket.create_upload(key, checksum_algorithm="sha256", encryption=asked(mode, suite))
    parts = []
    for number, data in enumerate(bodies, 1):
        part = bucket.put_part(key, begun.upload_id, number, data, checksums=checks(data), **brought(mode))
        assert part.checksums == checks(data)
        parts.append((number, part.etag))
    listed = bucket.list_parts_page(key, begun.upload_id, **brought(mode)).parts
    assert [part.checksums for part in listed] == [checks(data) for data in bodies]
    whole = {"sha256": checks(b"".join(bodies))["sha256"] + f"-{len(bodies)}"}
    return bucket.complete_upload(
        key, begun.upload_id, parts, checksums=whole, checksum_type="COMPOSITE", **brought(mode)
    )


@pytest.mark.parametrize("suite", ["aes-256-gcm", "sm4-gcm"])
@pytest.mark.parametrize("mode", MODES)
def test_the_disk_has_no_checksum(vault: tv.Vault, mode: str, suite: str) -> None:
    plain, secret = vault.create_bucket("plain"), vault.create_bucket("secret", versioning=True)
    clear = body(100, 9)
    plain.put("k", clear, checksums=checks(clear))
    written = {}
    for number, size in enumerate((0, 1, 4096, 200_000, MIB)):
        data = body(size, 10 + number)
        made = secret.put(f"k{number}", data, checksums=checks(data), encryption=asked(mode, suite))
        assert (made.checksums, made.checksum_type) == (checks(data), "FULL_OBJECT")
        written[f"k{number}"] = data, made
    bodies = [body(5 * MIB, 30), body(1000, 31)]
    written["mp"] = b"".join(bodies), upload(secret, "mp", mode, bodies, suite)
    copied = secret.copy(
        "k2", "copy", encryption=asked(mode, suite), source_customer_key=brought(mode).get("customer_key")
    )
    written["copy"] = written["k2"][0], copied
    for key, (data, made) in written.items():
        head = secret.head(key, **brought(mode))
        assert head == made == secret.read(key, **brought(mode)).info == secret.get(key, **brought(mode)).info
        if key != "mp":
            assert head.checksums == checks(data)
        assert set(head.sealed_checksums) == set(made.checksums), "their names are no secret"
    assert [info.checksums for info in secret.list_page().objects if info.checksums] == []
    found = everything(vault)
    assert all(value.encode() in found for value in checks(clear).values()), "the search finds what is there"
    for data in [data for data, _ in written.values()] + bodies:
        assert not any(form in found for form in forms(checks(data)))
        # Nor has the trail a digest of it that whoever guesses could compute.
        assert description_digest(None, {}, checks(data), "FULL_OBJECT", {}).encode() not in found


def test_managed_keeps_them_in_the_clear_as_it_keeps_the_md5(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("managed", encryption="aes-256-gcm")
    data = body(100)
    info = bucket.put("k", data, checksums=checks(data))
    assert (info.checksums, info.sealed_checksums) == (checks(data), {})
    upload(bucket, "mp", "managed", [data])
    vault.store.keys.disable("default-aes-256-gcm")
    assert bucket.head("k") == info
    assert bucket.head("mp").checksums


def test_without_the_customers_key_there_are_none(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("raw")
    data = body(100)
    made = bucket.put("k", data, checksums=checks(data), encryption=asked("customer"))
    head = bucket.head("k")
    assert (head.checksums, head.checksum_type) == ({}, "FULL_OBJECT")
    assert head.sealed_checksums == made.sealed_checksums
    with pytest.raises(AccessDeniedError, match="is not the one"):
        bucket.head("k", customer_key=bytes(32))
    bucket.put("plain", data, checksums=checks(data))
    with pytest.raises(CustomerKeyError, match="leave customer_key out"):
        bucket.head("plain", customer_key=KEY)
    begun = bucket.create_upload("mp", encryption=asked("customer"))
    part = bucket.put_part("mp", begun.upload_id, 1, data, checksums=checks(data), customer_key=KEY)
    assert [one.checksums for one in bucket.list_parts_page("mp", begun.upload_id).parts] == [{}]
    for wrong in (bytes(32), KEY[::-1]):
        with pytest.raises(AccessDeniedError):
            bucket.list_parts_page("mp", begun.upload_id, customer_key=wrong)
        with pytest.raises(AccessDeniedError):
            bucket.complete_upload("mp", begun.upload_id, [(1, part.etag)], customer_key=wrong)
    with pytest.raises(CustomerKeyError, match="kept under the customer's key"):
        bucket.complete_upload("mp", begun.upload_id, [(1, part.etag)], checksums=checks(data))
    info = bucket.complete_upload("mp", begun.upload_id, [(1, part.etag)])
    assert (info.checksums, info.sealed_checksums) == ({}, {})
    plain = bucket.create_upload("other")
    part = bucket.put_part("other", plain.upload_id, 1, data)
    with pytest.raises(CustomerKeyError, match="leave customer_key out"):
        bucket.complete_upload("other", plain.upload_id, [(1, part.etag)], customer_key=KEY)


def test_a_destroyed_key_takes_them_with_it(vault: tv.Vault) -> None:
    vault.store.keys.create("desk")
    bucket = vault.create_bucket("desk", encryption={"suite": "aes-256-gcm", "key": "desk", "mode": "kms"})
    data = body(100)
    made = bucket.put("k", data, checksums=checks(data), metadata={"a": "b"})
    begun = bucket.create_upload("mp")
    bucket.put_part("mp", begun.upload_id, 1, data, checksums=checks(data))
    vault.store.keys.disable("desk")
    assert bucket.head("k") == made._replace(checksums={})
    vault.store.keys.enable("desk")
    assert bucket.head("k") == made
    destroy_key(vault.store, "desk", settle_s=0)
    assert bucket.head("k") == made._replace(checksums={})
    assert [part.checksums for part in bucket.list_parts_page("mp", begun.upload_id).parts] == [{}]
    report = vault.reconcile(everything=True)
    assert (report.findings, report.unread) == ([], 1)


def test_a_key_service_that_cannot_be_reached_fails_no_head(
    vault: tv.Vault, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = body(10)
    made = bucket.put("k", data, checksums=checks(data), encryption=asked("kms"))

    def unreachable(*_: object) -> bytes:
        raise StorageError("no route to the key service")

    monkeypatch.setattr(vault.store.keys, "unwrap", unreachable)
    assert bucket.head("k") == made._replace(checksums={})


def test_nobody_opens_them_before_they_are_asked_for(vault: tv.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read does not pay for them; and a door, which may be on an event loop, says itself when it can wait."""
    bucket = vault.create_bucket("raw", encryption=asked("kms"), versioning=True)
    data = body(100_000)
    small = bucket.put("small", data[:4096], checksums=checks(data[:4096]))
    large = bucket.put("large", data, checksums=checks(data))
    bucket.put("theirs", data, checksums=checks(data), encryption=asked("customer"))
    opened = []

    class Counting(sealing.ValueCipher):
        def __init__(self, *args: Any) -> None:
            opened.append(1)
            super().__init__(*args)

    monkeypatch.setattr(sealing, "ValueCipher", Counting)
    blobs = [bucket.get("small"), bucket.get("large"), bucket.get("theirs", customer_key=KEY)]
    assert bytes(bucket.get("large", start=5, end=9, version_id=large.version_id)) == data[5:9]
    assert bytes(bucket.read("large").bytes()) == data
    assert opened == []
    assert [blob.info.checksums for blob in blobs] == [checks(data[:4096]), checks(data), checks(data)]
    assert len(opened) == 3
    assert [blob.info.checksums for blob in blobs] == [checks(data[:4096]), checks(data), checks(data)]
    assert len(opened) == 3, "opened once"
    bucket.embedded = False
    unwrapped: list[object] = []
    monkeypatch.setattr(vault.store.keys, "unwrap", lambda *asked: unwrapped.append(asked))
    head = bucket.head("small")
    assert (head.checksums, unwrapped) == ({}, [])
    monkeypatch.undo()
    assert with_checksums(bucket, head) == small


def changed_metas(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Have records say something else than was written, checksums mended, as whoever edits a segment on purpose can."""
    decode = entries.decode_put_meta

    def changed(meta: bytes) -> entries.PutMeta:
        found = decode(meta)
        extras = dict(found.extras)
        if "sc" in extras:
            extras["sc"] = change(extras)
        return found._replace(extras=extras)

    monkeypatch.setattr(entries, "decode_put_meta", changed)


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_one_is_left_out_and_the_trail_tells(
    vault: tv.Vault, bucket: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never handed out; what else is known stays readable, as does the body, which has tags of its own."""
    data = body(100)
    made = bucket.put("k", data, checksums=checks(data), encryption=asked(mode))
    assert vault.reconcile(everything=True).ok
    good = made.sealed_checksums["sha1"]
    for wrong in (
        b"",
        good[:11],
        good[:-1],
        good + b"x",
        bytes([good[0] ^ 1]) + good[1:],
        good[:-1] + bytes([good[-1] ^ 1]),
        made.sealed_checksums["sha256"],
        "text",
        None,
    ):
        with monkeypatch.context() as patched:
            changed_metas(patched, lambda extras, wrong=wrong: {**extras["sc"], "sha1": wrong})
            expected = {name: value for name, value in checks(data).items() if name != "sha1"}
            assert bucket.head("k", **brought(mode)).checksums == expected
            assert bytes(bucket.get("k", **brought(mode))) == data
            if isinstance(wrong, bytes):
                assert [one.kind for one in vault.reconcile(everything=True).findings] == ["changed"]
    with monkeypatch.context() as patched:
        # Nor does a clear one beside them pass.
        decode = entries.decode_put_meta
        false = {"sha256": checks(b"other")["sha256"]}
        patched.setattr(
            entries,
            "decode_put_meta",
            lambda meta: (found := decode(meta))._replace(extras={**found.extras, "cs": false}),
        )
        assert bucket.head("k", **brought(mode)).checksums == checks(data)


@pytest.mark.parametrize("mode", MODES)
def test_those_of_another_object_do_not_open(bucket: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = body(100, 1), body(100, 2)
    made = {
        key: bucket.put(key, data, checksums=checks(data), encryption=asked(mode), content_type=key)
        for key, data in (("a", first), ("b", second))
    }
    changed_metas(monkeypatch, lambda extras: made["b" if extras["ct"] == "a" else "a"].sealed_checksums)
    for key in made:
        assert bucket.head(key, **brought(mode)).checksums == {}


@pytest.mark.parametrize("mode", MODES)
def test_those_of_another_part_do_not_open(bucket: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts of an upload share its data key, and so does the object that they become."""
    begun = bucket.create_upload("mp", encryption=asked(mode))
    sealed = {}
    etags = []
    decode = entries.decode_put_meta
    for number, data in enumerate((body(5 * MIB), body(10)), 1):
        part = bucket.put_part("mp", begun.upload_id, number, data, checksums=checks(data), **brought(mode))
        etags.append((number, part.etag))

    def noted(meta: bytes) -> entries.PutMeta:
        found = decode(meta)
        if "nr" in found.extras:
            sealed[found.extras["nr"]] = found.extras["sc"]
        return found

    with monkeypatch.context() as patched:
        patched.setattr(entries, "decode_put_meta", noted)
        bucket.list_parts_page("mp", begun.upload_id)
    assert set(sealed) == {1, 2}
    with monkeypatch.context() as patched:
        changed_metas(patched, lambda extras: sealed[3 - extras["nr"]])
        listed = bucket.list_parts_page("mp", begun.upload_id, **brought(mode)).parts
        assert [part.checksums for part in listed] == [{}, {}]
    info = bucket.complete_upload("mp", begun.upload_id, etags, checksums=checks(b"all"), **brought(mode))
    assert bucket.head("mp", **brought(mode)) == info
    changed_metas(monkeypatch, lambda extras: sealed[1])
    assert bucket.head("mp", **brought(mode)).checksums == {}


@pytest.mark.parametrize("mode", MODES)
def test_they_outlive_upkeep(vault: tv.Vault, mode: str, tmp_path: Path) -> None:
    """Rewrap, tags, compaction, backup, restore and a rebuilt index keep them; the trail agrees throughout."""
    bucket = vault.create_bucket("kept", versioning=True)
    bodies = [body(5 * MIB, 2), body(99, 3)]
    data = body(MIB)
    bucket.put("small", data[:50], checksums=checks(data[:50]), encryption=asked(mode))
    bucket.put("large", data, checksums=checks(data), encryption=asked(mode))
    upload(bucket, "mp", mode, bodies)
    for number in range(20):
        bucket.put("gone", body(100_000, number))
        bucket.delete("gone", version_id=bucket.head("gone").version_id)
    made = {key: bucket.head(key, **brought(mode)) for key in ("small", "large", "mp")}
    assert all(info.checksums for info in made.values())

    def same(found: Bucket) -> None:
        for key, info in made.items():
            head = found.head(key, **brought(mode))
            assert (head.checksums, head.sealed_checksums) == (info.checksums, info.sealed_checksums)
            assert head.checksum_type == info.checksum_type

    bucket.set_tags("small", {"a": "b"})
    vault.store.keys.rotate("default-aes-256-gcm")
    assert bucket.rewrap().rewrapped == 3
    same(bucket)
    assert vault.reconcile(everything=True).ok
    assert vault.verify().sound
    vault.compact(dead_ratio_min=0.0)
    same(bucket)
    assert vault.reconcile(everything=True).ok
    vault.backup(tmp_path / "backup")
    vault.close()
    rebuild_index(tmp_path / "data")
    restore(tmp_path / "backup", tmp_path / "restored")
    shutil.copytree(tmp_path / "data" / "security", tmp_path / "restored" / "security", dirs_exist_ok=True)
    for folder in ("data", "restored"):
        with tv.open(tmp_path / folder) as again:
            same(again.bucket("kept"))
            assert again.reconcile(everything=True).ok


def test_a_locked_version_and_many_checksums_fit(vault: tv.Vault) -> None:
    """What is sealed is longer than it was; room for it is reserved before the commit."""
    bucket = vault.create_bucket("locked", versioning=True)
    bucket.set_object_lock(("GOVERNANCE", 10))
    many = {f"algorithm-{number}": base64.b64encode(os.urandom(64)).decode() for number in range(200)}
    for mode in MODES:
        made = bucket.put("k", b"x", checksums=many, encryption=asked(mode))
        assert bucket.head("k", **brought(mode)) == made
        begun = bucket.create_upload("mp", encryption=asked(mode), metadata={"a": "b" * 1900})
        part = bucket.put_part("mp", begun.upload_id, 1, b"x", checksums=many, **brought(mode))
        info = bucket.complete_upload("mp", begun.upload_id, [(1, part.etag)], checksums=many, **brought(mode))
        assert bucket.head("mp", **brought(mode)).checksums == info.checksums == many
    assert vault.reconcile().ok


@pytest.mark.parametrize("mode", MODES)
def test_what_an_earlier_release_wrote_is_read(bucket: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept checksums in the clear in every mode."""
    data = body(100)
    with monkeypatch.context() as patched:
        patched.setattr(put, "seal_checksums", lambda mode, suite, data_key, extras: extras)
        bucket.put("k", data, checksums=checks(data), encryption=asked(mode))
    assert bucket.head("k").checksums == checks(data)


def test_a_data_key_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="must have 32 bytes"):
        ValueCipher(AES_256_GCM, bytes(16))
    assert repr(ValueCipher(SM4_GCM, bytes(16))) == "ValueCipher(sm4-gcm)"
