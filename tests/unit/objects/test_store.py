"""Opening, sharing, closing; buckets and their handles."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket


def test_opening_twice_shares_and_the_last_close_closes(tmp_path: Path) -> None:
    first = tv.open(tmp_path / "data")
    raw = first.create_bucket("raw")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    second, third = tv.open(os.path.relpath(tmp_path / "data")), tv.open(tmp_path / "link")
    assert first.store is second.store is third.store
    first.close()
    first.close()
    raw.put("k", b"1")
    assert second["raw"].get("k") == b"1"
    second.close()
    second.close()
    assert third["raw"].get("k") == b"1"
    third.close()
    with pytest.raises(tv.TickVaultError, match="closed"):
        raw.get("k")


def test_two_vaults_do_not_mix(tmp_path: Path) -> None:
    with tv.open(tmp_path / "one") as one, tv.open(tmp_path / "two") as two:
        one.create_bucket("raw").put("k", b"1")
        assert two.buckets() == []
        assert "raw" in one
        assert "raw" not in two


def test_opening_may_refuse_to_make(tmp_path: Path) -> None:
    with pytest.raises(tv.NotFoundError):
        tv.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(tv.TickVaultError):
        tv.open(tmp_path / "file")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(tv.TickVaultError):
        tv.open(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["precious.txt"]


AFTER_CLOSE: dict[str, Callable[[tv.Vault, Bucket], Any]] = {
    "get": lambda vault, raw: raw.get("k"),
    "get a range": lambda vault, raw: raw.get("k", start=1),
    "get a version": lambda vault, raw: raw.get("k", version_id="null"),
    "get many": lambda vault, raw: raw.get_many(["k"]),
    "get ranges": lambda vault, raw: raw.get_ranges("k", [(0, 1)]),
    "read": lambda vault, raw: raw.read("k"),
    "head": lambda vault, raw: raw.head("k"),
    "list": lambda vault, raw: list(raw.list()),
    "list versions": lambda vault, raw: raw.list_versions_page(),
    "versions": lambda vault, raw: list(raw.versions("k")),
    "list uploads": lambda vault, raw: raw.list_uploads_page(),
    "get tags": lambda vault, raw: raw.get_tags("k"),
    "set tags": lambda vault, raw: raw.set_tags("k", {}),
    "put": lambda vault, raw: raw.put("k", b""),
    "put large": lambda vault, raw: raw.put("k", bytes(300_000)),
    "put many": lambda vault, raw: raw.put_many([("k", b"")]),
    "open writer": lambda vault, raw: raw.open_writer("k"),
    "delete": lambda vault, raw: raw.delete("k"),
    "delete many": lambda vault, raw: raw.delete_many(["k"]),
    "copy": lambda vault, raw: raw.copy("k", "k2"),
    "create upload": lambda vault, raw: raw.create_upload("k"),
    "info": lambda vault, raw: raw.info,
    "settings": lambda vault, raw: raw.set_versioning("enabled"),
    "bucket": lambda vault, raw: vault.bucket("raw"),
    "contains": lambda vault, raw: "raw" in vault,
    "buckets": lambda vault, raw: vault.buckets(),
    "create bucket": lambda vault, raw: vault.create_bucket("new"),
    "delete bucket": lambda vault, raw: vault.delete_bucket("raw"),
    "submit": lambda vault, raw: vault.store.submit(raw.put_operation("k", b""), lambda operation: None),
}


@pytest.mark.parametrize("name", AFTER_CLOSE)
def test_after_close_every_call_says_that_it_is_closed(vault: tv.Vault, bucket: Bucket, name: str) -> None:
    """Reads once failed with ``'NoneType' object has no attribute 'begin'``."""
    bucket.put("k", b"12")
    vault.close()
    with pytest.raises(tv.TickVaultError, match="closed") as caught:
        AFTER_CLOSE[name](vault, bucket)
    assert not isinstance(caught.value, tv.PoisonedError)


def test_a_writer_that_outlives_the_vault_says_so(vault: tv.Vault, bucket: Bucket) -> None:
    writer = bucket.open_writer("k")
    writer.write(b"x" * 3_000_000)
    vault.close()
    with pytest.raises(tv.TickVaultError, match="closed"):
        writer.commit()
    writer.abort()


def test_a_listing_that_outlives_the_vault_says_so(vault: tv.Vault, bucket: Bucket) -> None:
    bucket.put_many([(f"k{number:04}", b"") for number in range(1500)])
    listing = bucket.list()
    next(listing)
    vault.close()
    with pytest.raises(tv.TickVaultError, match="closed"):
        list(listing)


def test_closing_waits_for_writers_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    vault = tv.open(tmp_path / "data")
    raw = vault.create_bucket("raw")
    acknowledged: list[str] = []

    def write(name: int) -> None:
        for number in range(10_000):
            try:
                raw.put(f"{name}/{number}", b"x")
            except tv.TickVaultError:
                return
            acknowledged.append(f"{name}/{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 50:
        pass
    vault.close()
    for thread in threads:
        thread.join()
    with tv.open(tmp_path / "data") as again:
        assert {item.key for item in again["raw"].list()} >= set(acknowledged)  # type: ignore[union-attr]


# -- buckets


def test_buckets_are_listed_by_name(vault: tv.Vault) -> None:
    for name in ("ccc", "aaa", "b.b", "b-b"):
        vault.create_bucket(name, versioning=name == "aaa", durability="relaxed" if name == "ccc" else "strict")
    infos = vault.buckets()
    assert [info.name for info in infos] == ["aaa", "b-b", "b.b", "ccc"]
    assert [info.versioning for info in infos] == ["enabled", "off", "off", "off"]
    assert [info.durability for info in infos] == ["strict", "strict", "strict", "relaxed"]
    assert len({info.bucket_id for info in infos}) == 4


def test_a_name_is_given_once(vault: tv.Vault, bucket: Bucket) -> None:
    bucket.put("k", b"1")
    with pytest.raises(tv.AlreadyExistsError, match="raw"):
        vault.create_bucket("raw", versioning=True)
    assert vault["raw"].info.versioning == "off"
    assert vault["raw"].get("k") == b"1"


def test_a_bucket_that_is_not_there(vault: tv.Vault) -> None:
    for verb in (vault.bucket, vault.__getitem__, vault.delete_bucket):
        with pytest.raises(tv.BucketNotFoundError, match="create it first"):
            verb("none")
    with pytest.raises(KeyError):
        vault["none"]


@pytest.mark.parametrize("what", ["object", "marker", "upload"])
def test_a_bucket_that_holds_anything_is_not_deleted(vault: tv.Vault, versioned: Bucket, what: str) -> None:
    undo: Callable[[], Any]
    if what == "upload":
        upload = versioned.create_upload("k")
        undo = lambda: versioned.abort_upload("k", upload.upload_id)  # noqa: E731
    else:
        info: Any = versioned.put("k", b"") if what == "object" else versioned.delete("k")
        undo = lambda: versioned.delete("k", version_id=info.version_id)  # noqa: E731
    with pytest.raises(tv.NotEmptyError):
        vault.delete_bucket("kept")
    undo()
    vault.delete_bucket("kept")
    assert vault.buckets() == []


def test_neighbours_do_not_keep_a_bucket_from_being_deleted(vault: tv.Vault) -> None:
    names = [f"bucket-{number}" for number in range(300)]
    for name in names:
        vault.create_bucket(name, durability="relaxed")
    for name in names[::2]:
        vault[name].put("k", b"1")
    for name in names[1::2]:
        vault.delete_bucket(name)
    assert [info.name for info in vault.buckets()] == sorted(names[::2])
    assert all(vault[name].get("k") == b"1" for name in names[::2])


STALE: list[Callable[[Bucket], Any]] = [
    lambda raw: raw.put("k", b"stale"),
    lambda raw: raw.put_many([("k", b"stale")]),
    lambda raw: raw.get("k"),
    lambda raw: raw.head("k"),
    lambda raw: raw.get_many(["k"]),
    lambda raw: raw.list_page(),
    lambda raw: raw.delete("k"),
    lambda raw: raw.set_tags("k", {}),
    lambda raw: raw.create_upload("k"),
    lambda raw: raw.set_versioning("enabled"),
    lambda raw: raw.info,
]


@pytest.mark.parametrize("made_anew", [False, True])
@pytest.mark.parametrize("number", range(len(STALE)))
def test_a_handle_of_a_deleted_bucket_reaches_no_other(vault: tv.Vault, made_anew: bool, number: int) -> None:
    """It once wrote into a new bucket of the same name, and read from the old one."""
    stale = vault.create_bucket("raw")
    vault.delete_bucket("raw")
    if made_anew:
        vault.create_bucket("raw").put("k", b"new", tags={"a": "b"})
    with pytest.raises(tv.NotFoundError):
        STALE[number](stale)
    if made_anew:
        assert vault["raw"].get("k") == b"new"
        assert vault["raw"].get_tags("k") == {"a": "b"}
        assert vault["raw"].info.versioning == "off"


def test_an_old_writer_does_not_reach_a_new_bucket(vault: tv.Vault) -> None:
    stale = vault.create_bucket("raw")
    writer = stale.open_writer("k")
    writer.write(b"x")
    vault.delete_bucket("raw")
    vault.create_bucket("raw")
    with pytest.raises(tv.BucketNotFoundError):
        writer.commit()
    assert list(vault["raw"].list()) == []


def test_settings_are_seen_through_every_handle(vault: tv.Vault, bucket: Bucket) -> None:
    other = vault["raw"]
    bucket.set_versioning("enabled")
    assert other.info.versioning == "enabled"
    assert other.put("k", b"").version_id != "null"
    other.set_document("cors", {"rules": [1, 2]})
    other.set_document("acl", "private")
    assert dict(bucket.info.documents) == {"cors": {"rules": [1, 2]}, "acl": "private"}
    bucket.set_document("cors", None)
    assert dict(other.info.documents) == {"acl": "private"}
    with pytest.raises(tv.InvalidInputError):
        bucket.set_document("bad", object())
    with pytest.raises(tv.InvalidInputError):
        bucket.set_document("large", "x" * (1 << 21))
    assert dict(other.info.documents) == {"acl": "private"}


class CountingDisk:
    """Counts the syncs of file contents."""

    def __init__(self) -> None:
        from tickvault.seam.disk import OsDisk

        self._disk = OsDisk()
        self.sync_count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def sync(self, fd: int) -> None:
        self.sync_count += 1
        self._disk.sync(fd)


def test_the_mode_at_the_commit_counts_not_the_one_the_handle_knew(tmp_path: Path) -> None:
    """A handle once kept writing relaxed after another had made its bucket strict."""
    from tickvault.engine.engine import EngineOptions

    disk = CountingDisk()
    with tv.open(tmp_path / "data", disk=disk, options=EngineOptions(background=False)) as vault:
        handle = vault.create_bucket("raw", durability="relaxed")

        def syncs(operation: Any) -> int:
            before = disk.sync_count
            vault.store.commit(operation)
            return disk.sync_count - before

        prepared = [handle.put_operation("k", b"%d" % number) for number in range(4)]
        assert syncs(prepared[0]) == 0
        vault["raw"].set_durability("strict")
        assert syncs(prepared[1]) == 1
        vault["raw"].set_durability("relaxed")
        assert syncs(prepared[2]) == 0
        assert handle.info.durability == "relaxed"


def test_relaxed_and_strict_writes_share_a_commit_and_all_are_synced(tmp_path: Path) -> None:
    disk = CountingDisk()
    with tv.open(tmp_path / "data", disk=disk) as vault:
        strict = vault.create_bucket("strict")
        relaxed = vault.create_bucket("relaxed", durability="relaxed")
        relaxed.put("k", b"1")
        before = disk.sync_count
        strict.put("k", b"1")
        assert disk.sync_count > before
        assert [item.key for item in relaxed.list()] == ["k"]  # type: ignore[union-attr]


def test_copies_cross_buckets(vault: tv.Vault, bucket: Bucket, versioned: Bucket) -> None:
    for size in (0, 10, 300_000):
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        bucket.put("k", body, metadata={"n": "1"}, content_type="a/b", tags={"a": "b"})
        info = bucket.copy("k", "copy", dest_bucket=versioned)
        assert info.version_id != "null"
        bucket.delete("k")
        assert versioned.get("copy") == body
        assert versioned.head("copy").metadata == {"n": "1"}
        assert versioned.get_tags("copy") == {"a": "b"}
    with pytest.raises(tv.NotFoundError):
        bucket.copy("none", "copy")


def test_a_copy_replaces_metadata_and_tags_when_told(bucket: Bucket) -> None:
    bucket.put("k", b"1", metadata={"n": "1"}, content_type="a/b", tags={"a": "b"})
    bucket.copy("k", "k", metadata={}, tags={})
    info = bucket.head("k")
    assert (info.metadata, info.content_type, info.tag_count) == ({}, None, 0)
