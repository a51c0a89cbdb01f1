"""The keys of a vault: where they come from, what becomes of them, and who may not be left without one."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BusyError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    LockedError,
    NotFoundError,
)
from tickvault.objects.encryption.key_uses import destroy_key, uses_of_key
from tickvault.objects.encryption.opening_keys import parse_options
from tickvault.objects.entries import KEYRING_DOCUMENT
from tickvault.objects.lookup import require_version
from tickvault.security.keyring import FileKeyService, KeyFile, Passphrase, create_keyring, open_keyring
from tickvault.security.keyring.service import KeyDescription

DEFAULT = "default-aes-256-gcm"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("TICKVAULT_KEY", "TICKVAULT_TRANSIT"))]:
        monkeypatch.delenv(name)


def security(vault: tv.Vault) -> Path:
    return Path(vault.path) / "security"


# -- where they come from


def test_a_vault_makes_its_keyring_when_it_first_needs_one(vault: tv.Vault) -> None:
    vault.create_bucket("plain").put("k", b"x")
    assert vault.store.keys.list() == []
    assert not (security(vault) / "keyring.json").exists(), "a vault without encryption has no keys"
    vault.create_bucket("sealed", encryption="aes-256-gcm")
    assert [key.key_id for key in vault.store.keys.list()] == [DEFAULT]
    for name in ("keyring.json", "keyring.key"):
        assert stat.S_IMODE((security(vault) / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(security(vault).stat().st_mode) == 0o700
    state = vault.store.documents.get(KEYRING_DOCUMENT)
    assert state is not None
    assert state.data["generation"] == 2


def test_a_passphrase_or_a_key_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tmp_path / "words"
    words.write_text("correct horse battery staple\n")
    words.chmod(0o600)
    monkeypatch.setattr("tickvault.security.keyring.protection.SCRYPT_N", 1 << 10)
    monkeypatch.setenv("TICKVAULT_KEYRING_PASSPHRASE_FILE", str(words))
    monkeypatch.setenv("TICKVAULT_KEYRING", str(tmp_path / "ring.json"))
    with tv.open(tmp_path / "v") as vault:
        vault.create_bucket("sealed", encryption="aes-256-gcm").put("k", b"x")
        assert not security(vault).exists()
    monkeypatch.delenv("TICKVAULT_KEYRING_PASSPHRASE_FILE")
    with tv.open(tmp_path / "v") as vault:
        with pytest.raises(AccessDeniedError, match="TICKVAULT_KEYRING_PASSPHRASE_FILE"):
            vault["sealed"].get("k")
    key_file = tmp_path / "key"
    key_file.write_bytes(os.urandom(32))
    key_file.chmod(0o600)
    monkeypatch.setenv("TICKVAULT_KEYRING_KEY_FILE", str(key_file))
    with tv.open(tmp_path / "v") as vault:
        with pytest.raises(AccessDeniedError, match="protected by a 'passphrase'"):
            vault["sealed"].get("k")
    monkeypatch.setenv("TICKVAULT_KEYRING_PASSPHRASE_FILE", str(words))
    with tv.open(tmp_path / "v") as vault:
        with pytest.raises(InvalidInputError, match="both set"):
            vault["sealed"].get("k")
    monkeypatch.delenv("TICKVAULT_KEYRING_KEY_FILE")
    words.chmod(0o644)
    with tv.open(tmp_path / "v") as vault:
        with pytest.raises(AccessDeniedError, match="others can read it"):
            vault["sealed"].get("k")


def test_a_service_of_one_s_own(tmp_path: Path) -> None:
    keyring = create_keyring(str(tmp_path / "ring"), Passphrase("correct horse battery", scrypt_n=1 << 10))
    service = FileKeyService(keyring)
    with tv.open(tmp_path / "v", key_service=service) as vault:
        vault.create_bucket("sealed", encryption="sm4-gcm").put("k", b"x")
        found = keyring.keys()
        assert [key.key_id for key in found] == ["default-sm4-gcm"]
        with tv.open(tmp_path / "v", key_service=service) as again:
            assert bytes(again["sealed"].get("k")) == b"x"
        with pytest.raises(InvalidInputError, match="another key service"):
            tv.open(tmp_path / "v", key_service=FileKeyService(keyring))
    with pytest.raises(InvalidInputError, match="there is no key service 'nix'"):
        tv.open(tmp_path / "w", key_service="nix")


class Elsewhere:
    """A key service that counts how often it is asked, and can be out of reach."""

    def __init__(self) -> None:
        self.inner: FileKeyService | None = None
        self.asked: list[str] = []
        self.down = False
        self.threads: set[str] = set()

    def _ask(self, verb: str) -> FileKeyService:
        self.asked.append(verb)
        self.threads.add(threading.current_thread().name)
        if self.down:
            raise BusyError("the key service does not answer")
        assert self.inner is not None
        return self.inner

    def wrap(self, key_id: str, plaintext: bytes, binding: bytes) -> bytes:
        return self._ask("wrap").wrap(key_id, plaintext, binding)

    def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
        return self._ask("unwrap").unwrap(key_id, blob, binding)

    def describe(self, key_id: str) -> KeyDescription:
        return self._ask("describe").describe(key_id)

    def create(self, key_id: str, *, by: str = "") -> KeyDescription:
        return self._ask("create").create(key_id, by=by)

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        return self._ask("rotate").rotate(key_id, by=by)

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        return self._ask("destroy").destroy(key_id, by=by)


def test_a_service_elsewhere_is_asked_seldom_and_never_in_a_commit(tmp_path: Path) -> None:
    remote = Elsewhere()
    remote.inner = FileKeyService(create_keyring(str(tmp_path / "ring"), Passphrase("long words", scrypt_n=1 << 10)))
    with tv.open(tmp_path / "v", key_service=remote) as vault:
        bucket = vault.create_bucket("sealed", encryption="aes-256-gcm")
        for number in range(20):
            bucket.put(f"k{number}", b"x")
            assert bytes(bucket.get(f"k{number}")) == b"x"
        assert remote.asked.count("wrap") == 1
        assert remote.asked.count("unwrap") == 0, "what was made here is known here"
        assert bucket.read_resident("k1") is None, "an event loop does not wait for it"
        info = bucket.head("k1").encryption
        assert info is not None
        assert info.key_version == 0
        upload = bucket.create_upload("mp")
        part = bucket.put_part("mp", upload.upload_id, 1, b"p")
        bucket.complete_upload("mp", upload.upload_id, [(1, part.etag)])
    remote.asked.clear()
    with tv.open(tmp_path / "v", key_service=remote) as vault:
        remote.down = True
        with pytest.raises(BusyError, match="does not answer"):
            vault["sealed"].get("k1")
        assert vault["sealed"].head("k1").size == 1
        with pytest.raises(BusyError):
            vault["sealed"].put("new", b"x")
        remote.down = False
        assert bytes(vault["sealed"].get("k1")) == b"x"
        assert remote.asked.count("unwrap") == 2
        remote.down = True
        assert bytes(vault["sealed"].get("k2")) == b"x", "it is remembered for a while"
        remote.down = False
        vault.store.keys.rotate(DEFAULT)
        assert vault["sealed"].rewrap().rewrapped == 21
        assert bytes(vault["sealed"].get("mp")) == b"p"
        with pytest.raises(InvalidInputError, match="do it there"):
            vault.store.keys.disable(DEFAULT)


def test_options_of_a_service() -> None:
    assert parse_options("") == {}
    assert parse_options("a=b, c=d=e,") == {"a": "b", "c": "d=e"}
    for wrong in ("a", "=b", "a=1,a=2"):
        with pytest.raises(InvalidInputError, match="name=value"):
            parse_options(wrong)


def test_threads_and_processes_that_need_the_first_key_at_once(tmp_path: Path) -> None:
    with tv.open(tmp_path / "v") as vault:
        bucket = vault.create_bucket("raw")
        failures: list[BaseException] = []

        def put(number: int) -> None:
            try:
                bucket.put(f"k{number}", b"x", encryption="aes-256-gcm")
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with tv.open(tmp_path / "w") as mine:
                    mine.create_bucket(f"b-{number}", encryption="sm4-gcm").put("k", b"x")
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    with tv.open(tmp_path / "w") as vault:
        assert all(bytes(vault[f"b-{number}"].get("k")) == b"x" for number in range(3))


# -- what is missing, wrong or old


def test_a_keyring_that_is_missing_is_never_made_anew(vault: tv.Vault, tmp_path: Path) -> None:
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm")
    bucket.put("k", b"x")
    vault.create_bucket("plain").put("k", b"x")
    vault.close()
    (tmp_path / "data" / "security" / "keyring.json").rename(tmp_path / "ring")
    with tv.open(tmp_path / "data") as again:
        for way in (
            lambda: again["sealed"].get("k"),
            lambda: again["sealed"].put("k", b"y"),
            lambda: again["sealed"].create_upload("k"),
            lambda: again.create_bucket("another", encryption="aes-256-gcm"),
            again.store.keys.list,
        ):
            with pytest.raises(AccessDeniedError, match="there is no keyring") as caught:
                way()
            assert str(caught.value).count("Put the keyring") == 1
        assert bytes(again["plain"].get("k")) == b"x"
        assert again["sealed"].head("k").size == 1
        assert [info.key for info in again["sealed"].list()] == ["k"]  # type: ignore[union-attr]
        assert not (tmp_path / "data" / "security" / "keyring.json").exists()
        (tmp_path / "ring").rename(tmp_path / "data" / "security" / "keyring.json")
        assert bytes(again["sealed"].get("k")) == b"x"


def test_another_keyring_another_key_file_and_an_older_copy(vault: tv.Vault, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "security"
    vault.create_bucket("sealed", encryption="aes-256-gcm").put("k", b"x")
    vault.close()
    with tv.open(tmp_path / "other") as other:
        other.create_bucket("sealed", encryption="aes-256-gcm")
    good = {name: (folder / name).read_bytes() for name in ("keyring.json", "keyring.key")}

    def reading(error: type[Exception], match: str) -> None:
        with tv.open(tmp_path / "data") as again, pytest.raises(error, match=match):
            again["sealed"].get("k")

    shutil.copy(tmp_path / "other" / "security" / "keyring.key", folder / "keyring.key")
    reading(AccessDeniedError, "not the one it was sealed with")
    shutil.copy(tmp_path / "other" / "security" / "keyring.json", folder / "keyring.json")
    reading(AccessDeniedError, "was replaced by another keyring")
    for name, data in good.items():
        (folder / name).write_bytes(data)
    with tv.open(tmp_path / "data") as again:
        again.store.keys.rotate(DEFAULT)
        again["sealed"].put("l", b"y")
    newest = (folder / "keyring.json").read_bytes()
    (folder / "keyring.json").write_bytes(good["keyring.json"])
    reading(IntegrityError, "an older copy was put in its place")
    for damaged in (newest[:-20], b"", newest.replace(b"sealed", b"seeled"), b"{}"):
        (folder / "keyring.json").write_bytes(damaged)
        reading(Exception, "keyring.json: ")
    (folder / "keyring.json").write_bytes(newest)
    with tv.open(tmp_path / "data") as again:
        assert bytes(again["sealed"].get("k")) + bytes(again["sealed"].get("l")) == b"xy"


def test_the_vault_opens_and_lists_without_any_key(vault: tv.Vault, tmp_path: Path) -> None:
    vault.create_bucket("sealed", encryption="aes-256-gcm", versioning=True).put("k", b"x")
    vault.close()
    shutil.rmtree(tmp_path / "data" / "security")
    with tv.open(tmp_path / "data") as again:
        bucket = again["sealed"]
        assert bucket.head("k").encryption is not None
        assert bucket.list_page().objects[0].key == "k"
        assert bucket.delete("k").delete_marker
        assert again.verify().sound


# -- what becomes of them


def test_rotation_and_rewrap(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm", versioning=True)
    old = bucket.put("k", b"one", tags={"a": "1"})
    large = bucket.put("large", bytes(1 << 20))
    upload = bucket.create_upload("mp")
    part = bucket.put_part("mp", upload.upload_id, 1, b"part")
    bucket.complete_upload("mp", upload.upload_id, [(1, part.etag)])
    open_upload = bucket.create_upload("later")
    bucket.set_tags("k", {"b": "2"})
    vault.store.keys.rotate(DEFAULT)
    bucket.put("k", b"two")
    assert [bucket.head("k", version_id=v).encryption.key_version for v in (None, old.version_id)] == [2, 1]  # type: ignore[union-attr]
    before = {key: bucket.head(key) for key in ("large", "mp")}
    report = bucket.rewrap()
    assert (report.rewrapped, report.current, report.failed) == (3, 1, 0)
    assert bucket.rewrap().current == 4
    for key, version_id, body in (
        ("k", old.version_id, b"one"),
        ("k", None, b"two"),
        ("large", None, bytes(1 << 20)),
        ("mp", None, b"part"),
    ):
        assert bytes(bucket.get(key, version_id=version_id)) == body
        assert bucket.head(key, version_id=version_id).encryption.key_version == 2  # type: ignore[union-attr]
    for key, info in before.items():
        now = bucket.head(key)
        assert now._replace(encryption=None) == info._replace(encryption=None), "nothing but the key is another"
    assert bucket.get_tags("k", version_id=old.version_id) == {"b": "2"}
    bucket.set_tags("large", {"c": "3"})
    assert bucket.head("large").encryption.key_version == 2  # type: ignore[union-attr]
    assert bytes(bucket.get("large", version_id=large.version_id, end=5)) == bytes(5)
    assert [bytes(blob) for blob in bucket.get_many(["k", "mp"])] == [b"two", b"part"]
    part = bucket.put_part("later", open_upload.upload_id, 1, b"of the old version of the key")
    assert bucket.complete_upload("later", open_upload.upload_id, [(1, part.etag)]).encryption.key_version == 2  # type: ignore[union-attr]
    with pytest.raises(NotFoundError, match="there is no key nobody"):
        bucket.rewrap("nobody")


def test_a_rewrap_is_on_record_as_one(vault: tv.Vault) -> None:
    """It stood in the audit trail as PutObjectTagging, with and without tags, and a tagging after it had a key's id."""
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm", versioning=True)
    bucket.put("bare", b"one")
    tagged = bucket.put("tagged", b"two")
    bucket.set_tags("tagged", {"a": "1"})
    bucket.set_headers("bare", {"cache-control": "no-store"})
    vault.store.keys.create("next")
    bucket.rewrap("next")
    bucket.set_tags("tagged", {"b": "2", "c": "3"})
    bucket.rewrap(DEFAULT)
    vault.audit.catch_up()
    found = [
        (record.action, record.key, {name: record.detail[name] for name in ("tags", "key_id") if name in record.detail})
        for record in vault.audit.query(bucket="sealed")
        if record.action in ("RewrapObject", "PutObjectTagging", "PutObjectHeaders")
    ]
    assert found == [
        ("PutObjectTagging", "tagged", {"tags": "1"}),
        ("PutObjectHeaders", "bare", {}),
        ("RewrapObject", "bare", {"key_id": "next"}),
        ("RewrapObject", "tagged", {"key_id": "next"}),
        ("PutObjectTagging", "tagged", {"tags": "2"}),
        ("RewrapObject", "bare", {"key_id": DEFAULT}),
        ("RewrapObject", "tagged", {"key_id": DEFAULT}),
    ]
    (moved, _) = vault.audit.query(action="RewrapObject", key="tagged")
    assert moved.version_id == tagged.version_id
    report = vault.reconcile(everything=True)
    assert (report.findings, report.unread) == ([], 0)
    assert bucket.get_tags("tagged") == {"b": "2", "c": "3"}
    assert bucket.head("bare").headers == {"cache-control": "no-store"}


def test_what_was_wrapped_anew_outlives_a_rebuild_and_compaction(vault: tv.Vault, tmp_path: Path) -> None:
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm")
    bucket.put("k", b"x")
    vault.store.keys.create("next")
    assert bucket.rewrap("next").rewrapped == 1
    destroy_key(vault.store, DEFAULT, settle_s=0)
    vault.compact(dead_ratio_min=0.0)
    assert bytes(bucket.get("k")) == b"x"
    vault.close()
    tv.vault.rebuild_index(tmp_path / "data")
    with tv.open(tmp_path / "data") as again:
        assert again["sealed"].head("k").encryption.key_id == "next"
        assert bytes(again["sealed"].get("k")) == b"x"


def test_a_disabled_key_comes_back(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm")
    bucket.put("k", b"x")
    vault.store.keys.disable(DEFAULT)
    for way in (lambda: bucket.get("k"), lambda: bucket.read("k"), lambda: bucket.put("k", b"y")):
        with pytest.raises(AccessDeniedError, match="was disabled"):
            way()
    assert bucket.rewrap().current == 1
    vault.store.keys.enable(DEFAULT)
    assert bytes(bucket.get("k")) == b"x"
    actions = [record.action for record in vault.audit.query()]
    # In the order in which it was done, among the writes.
    assert [action for action in actions if action.endswith("Key")] == ["CreateKey", "DisableKey", "EnableKey"]
    disabled = next(record for record in vault.audit.query(action="DisableKey"))
    assert {key: disabled.detail[key] for key in ("key_id", "state", "version")} == {
        "key_id": DEFAULT, "state": "disabled", "version": "1",
    }  # fmt: skip


def test_what_another_process_does_to_a_key_is_noticed(vault: tv.Vault) -> None:
    bucket = vault.create_bucket("sealed", encryption="aes-256-gcm")
    bucket.put("k", b"x")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with tv.open(vault.path) as mine:
                mine.store.keys.disable(DEFAULT)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    time.sleep(1.1)
    with pytest.raises(AccessDeniedError, match="was disabled"):
        bucket.get("k")


# -- destruction


def test_a_destroyed_key_makes_versions_unreadable_and_nothing_else(vault: tv.Vault) -> None:
    vault.store.keys.create("mine")
    bucket = vault.create_bucket("sealed", encryption={"key": "mine"}, versioning=True)
    first = bucket.put("k", b"one")
    bucket.put("k", b"two")
    bucket.put("other", b"three", encryption={"key": DEFAULT})
    upload = bucket.create_upload("mp")
    uses = uses_of_key(vault.store, "mine")
    assert (uses.versions, uses.locked, uses.uploads, uses.buckets, uses.unreadable) == (2, 0, 1, 1, 0)
    report = destroy_key(vault.store, "mine", settle_s=0)
    assert (report.key.state, report.uses.versions) == ("destroyed", 2)
    for way in (
        lambda: bucket.get("k"),
        lambda: bucket.read("k", version_id=first.version_id).bytes(),
        lambda: bucket.get_many(["k"]),
        lambda: bucket.copy("k", "l"),
        lambda: bucket.put("new", b"x"),
        lambda: bucket.put_part("mp", upload.upload_id, 1, b""),
    ):
        with pytest.raises(AccessDeniedError, match="was destroyed"):
            way()
    with pytest.raises(AccessDeniedError, match=r"sealed/k version \w+: .*was destroyed"):
        bucket.get("k")
    assert bytes(bucket.get("other")) == b"three"
    assert [info.key for info in bucket.list_page().objects] == ["k", "other"]
    assert bucket.head("k").size == 3
    assert [info.size for info in bucket.versions("k")] == [3, 3]
    assert bucket.rewrap().failed == 2
    bucket.delete("k", version_id=first.version_id)
    bucket.abort_upload("mp", upload.upload_id)
    bucket.delete("k")
    with pytest.raises(ConflictError, match="is destroyed"):
        destroy_key(vault.store, "mine", settle_s=0)
    with pytest.raises(AlreadyExistsError, match="never comes back"):
        vault.store.keys.create("mine")
    with pytest.raises(NotFoundError):
        destroy_key(vault.store, "nobody", settle_s=0)
    bucket.set_encryption("aes-256-gcm")
    assert bytes(bucket.get(bucket.put("new", b"x").key)) == b"x"


def test_a_key_that_a_locked_version_needs_is_not_destroyed(vault: tv.Vault, clock: Any) -> None:
    vault.store.keys.create("mine")
    bucket = vault.create_bucket("kept", encryption={"key": "mine"}, object_lock=True)
    until = clock.time_ns + 2 * 86_400 * 10**9
    held = bucket.put("held", b"x", legal_hold=True)
    bucket.put("retained", b"x", retention_mode="GOVERNANCE", retain_until=until)
    bucket.put("free", b"x")
    with pytest.raises(LockedError, match=r"2 locked version\(s\) need it, such as kept/held version"):
        destroy_key(vault.store, "mine", settle_s=0)
    bucket.hold("held", held.version_id, False)
    with pytest.raises(LockedError, match=r"1 locked version\(s\) need it, such as kept/retained"):
        destroy_key(vault.store, "mine", settle_s=0)
    assert all(bytes(bucket.get(key)) == b"x" for key in ("held", "retained", "free")), "a refusal changes nothing"
    assert vault.store.keys.describe("mine").state == "enabled"
    vault.store.keys.create("next")
    assert bucket.rewrap("next").rewrapped == 3, "locked versions can be moved to another key"
    report = destroy_key(vault.store, "mine", settle_s=0)
    assert report.uses.versions == 0
    assert all(bytes(bucket.get(key)) == b"x" for key in ("held", "retained", "free"))
    clock.pass_days(3)
    assert destroy_key(vault.store, "next", settle_s=0).uses.versions == 3


def test_a_lock_that_comes_at_the_last_moment(vault: tv.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the destruction somebody places a hold: the look in the commit finds it."""
    vault.store.keys.create("mine")
    bucket = vault.create_bucket("kept", encryption={"key": "mine"}, object_lock=True)
    info = bucket.put("k", b"x")
    bucket.put("old", b"x", legal_hold=True, encryption={"key": DEFAULT})
    monkeypatch.setattr(
        "tickvault.objects.encryption.key_uses.time.sleep", lambda seconds: bucket.hold("k", info.version_id, True)
    )
    with pytest.raises(LockedError, match="k version"):
        destroy_key(vault.store, "mine")
    assert vault.store.keys.describe("mine").state == "enabled"
    assert bytes(bucket.get("k")) == b"x"


def test_a_damaged_record_may_need_the_key(vault: tv.Vault) -> None:
    vault.store.keys.create("mine")
    bucket = vault.create_bucket("kept", encryption={"key": "mine"}, object_lock=True)
    bucket.put("k", b"x" * 500, legal_hold=True)
    with vault.store.engine.snapshot() as snapshot:
        entry, _ = require_version(snapshot, "kept", bucket.bucket_id, b"k", None)
    path = Path(vault.path) / "segments" / f"journal-{entry.segment_id:010d}.seg"
    with path.open("r+b") as file:
        file.seek(entry.offset + 90)
        byte = file.read(1)[0]
        file.seek(entry.offset + 90)
        file.write(bytes((byte ^ 1,)))
    assert uses_of_key(vault.store, "mine").unreadable == 1
    with pytest.raises(LockedError):
        destroy_key(vault.store, "mine", settle_s=0)


def test_the_keyring_says_who(vault: tv.Vault) -> None:
    vault.store.keys.create("mine")
    found = vault.store.keys.describe("mine")
    assert found.created_by == f"local:{os.geteuid()}"
    folder = security(vault)
    opened = open_keyring(str(folder / "keyring.json"), KeyFile(str(folder / "keyring.key")))
    assert opened.describe("mine") == found
