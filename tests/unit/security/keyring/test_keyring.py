from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BusyError,
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from tickvault.seam.disk import FileLock
from tickvault.security.keyring import (
    FileKeyService,
    KeyFile,
    Keyring,
    Passphrase,
    create_keyring,
    file_service,
    open_key_service,
    open_keyring,
    storing,
)
from tickvault.security.keyring.sealed_file import _spell

WORDS = "correct horse battery staple"


def words(text: str = WORDS) -> Passphrase:
    return Passphrase(text, scrypt_n=1 << 10)


def make(folder: Path, **options: Any) -> Keyring:
    return create_keyring(str(folder / "keyring.json"), words(), check_interval_s=0.0, **options)


def reopen(keyring: Keyring, **options: Any) -> Keyring:
    return open_keyring(keyring.path, words(), check_interval_s=0.0, **options)


def test_keys_are_there_again(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    made = keyring.create_key("orders", by="alice")
    keyring.create_key("cn", suite="sm4-gcm", by="bob")
    keyring.rotate("orders", by="carol")
    again = reopen(keyring)
    assert again.keyring_id == keyring.keyring_id
    assert again.generation == keyring.generation == 4
    assert again.keys() == keyring.keys()
    orders = again.describe("orders")
    assert (orders.state, orders.current_version, orders.versions) == ("enabled", 2, (1, 2))
    assert (orders.created_by, orders.changed_by, orders.created_ns) == ("alice", "carol", made.created_ns)
    assert again.describe("cn").suite == "sm4-gcm"
    assert (tmp_path / "keyring.json").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["keyring.json", "keyring.json.lock"]


def test_older_versions_read_and_the_newest_writes(tmp_path: Path) -> None:
    service = FileKeyService(make(tmp_path))
    service.create("k")
    old = service.wrap("k", b"d" * 32, b"here")
    service.rotate("k")
    new = service.wrap("k", b"d" * 32, b"here")
    assert (old[2:6], new[2:6]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert len(new) == 82
    other = FileKeyService(reopen(service.keyring))
    for each in (service, other):
        assert each.unwrap("k", old, b"here") == each.unwrap("k", memoryview(new), b"here") == b"d" * 32  # type: ignore[arg-type]


@pytest.mark.parametrize("suite", ["aes-256-gcm", "sm4-gcm"])
def test_a_blob_that_was_changed_or_moved_does_not_open(tmp_path: Path, suite: str) -> None:
    service = FileKeyService(make(tmp_path))
    for key_id in ("k", "other"):
        service.create(key_id, suite=suite)
    blob = service.wrap("k", b"d" * 16, b"here")
    for bit in range(len(blob) * 8):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        # A changed number of the key's version is a version that is not there.
        with pytest.raises(AccessDeniedError if 2 <= bit // 8 < 6 else IntegrityError):
            service.unwrap("k", bytes(changed), b"here")
    for cut in (b"", blob[:1], blob[:22], blob[:49], blob[:50], blob[:-1], blob + b"\0", bytes(2000)):
        with pytest.raises(IntegrityError):
            service.unwrap("k", cut, b"here")
    with pytest.raises(IntegrityError):
        service.unwrap("k", blob, b"there")
    with pytest.raises(IntegrityError):
        service.unwrap("other", blob, b"here")
    assert service.unwrap("k", blob, b"here") == b"d" * 16
    with pytest.raises(InvalidInputError, match="limit is 70000"):
        service.wrap("k", b"d", bytes(70_001))


def test_a_key_moved_to_another_id_by_import_does_not_open_what_was_wrapped_under_the_first(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    for key_id in ("one", "two"):
        keyring.create_key(key_id, material=bytes(range(32)))
    service = FileKeyService(keyring)
    with pytest.raises(IntegrityError):
        service.unwrap("two", service.wrap("one", b"d" * 32, b""), b"")


def test_a_disabled_key_refuses_until_it_is_enabled(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    service = FileKeyService(keyring)
    service.create("k")
    blob = service.wrap("k", b"d" * 32, b"")
    elsewhere = reopen(keyring)
    elsewhere.disable("k", by="alice")
    for call in (lambda: service.wrap("k", b"d", b""), lambda: service.unwrap("k", blob, b"")):
        with pytest.raises(AccessDeniedError, match=r"disabled at .* by alice; if it may be used again, enable it"):
            call()
    with pytest.raises(ConflictError, match="it is disabled"):
        keyring.rotate("k")
    elsewhere.enable("k")
    assert service.unwrap("k", blob, b"") == b"d" * 32


def test_a_destroyed_key_never_comes_back(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    service = FileKeyService(keyring)
    material = os.urandom(32)
    keyring.create_key("k", material=material)
    keyring.rotate("k")
    blob = service.wrap("k", b"d" * 32, b"")
    told = service.destroy("k", by="dan")
    assert (told.state, told.versions, told.current_version, told.changed_by) == ("destroyed", (), 0, "dan")
    for each in (service, FileKeyService(reopen(keyring))):
        with pytest.raises(AccessDeniedError, match=r"destroyed at .* by dan; what was encrypted"):
            each.unwrap("k", blob, b"")
        with pytest.raises(AccessDeniedError, match="new objects need another key"):
            each.wrap("k", b"d", b"")
        for again in (
            lambda each=each: each.create("k"),
            lambda each=each: each.keyring.create_key("k", material=material),
        ):
            with pytest.raises(AlreadyExistsError, match="never comes back"):
                again()
        for change in (each.rotate, each.keyring.enable, each.keyring.disable, each.destroy):
            with pytest.raises(ConflictError):
                change("k")
    assert reopen(keyring).snapshot().content.keys["k"].versions == ()
    assert service.keys()[0].created_ns == told.created_ns


def test_what_is_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    service = FileKeyService(make(tmp_path))
    service.create("k")
    blob = service.wrap("k", b"d" * 32, b"")
    with pytest.raises(AccessDeniedError, match="restore it from a backup"):
        service.unwrap("lost", blob, b"")
    with pytest.raises(AccessDeniedError, match="open the keyring that has it"):
        service.wrap("lost", b"d", b"")
    for call in (service.describe, service.rotate, service.destroy):
        with pytest.raises(NotFoundError, match="no key lost"):
            call("lost")
    with pytest.raises(AlreadyExistsError, match="rotate it"):
        service.create("k")
    for bad in ("", "a/b", "../k", "-k", "x" * 129, "ключ", "k\n", 5):
        with pytest.raises(InvalidInputError, match="key id"):
            service.create(bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="must have 32 bytes, has 16"):
        service.keyring.create_key("short", material=bytes(16))
    for who in ("x" * 257, "a\nb"):
        with pytest.raises(InvalidInputError, match="printable"):
            service.create("n", by=who)
    with pytest.raises(InvalidInputError, match="suites are"):
        service.create("n", suite="des")
    with pytest.raises(AlreadyExistsError):
        make(tmp_path)
    with pytest.raises(NotFoundError, match="no keyring"):
        open_keyring(str(tmp_path / "none"), words())


def test_another_process_sees_what_was_made_and_rotated(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    slow = FileKeyService(open_keyring(keyring.path, words(), check_interval_s=3600))
    fast = FileKeyService(keyring)
    fast.create("k")
    assert slow.unwrap("k", fast.wrap("k", b"one", b""), b"") == b"one"  # a miss looks again at once
    fast.rotate("k")
    assert slow.unwrap("k", fast.wrap("k", b"two", b""), b"") == b"two"
    fast.create("later")
    assert fast.unwrap("later", slow.wrap("later", b"three", b""), b"") == b"three"


def test_a_wrong_passphrase_is_not_damage(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    keyring.create_key("k")
    with pytest.raises(AccessDeniedError, match="the passphrase is not the one"):
        open_keyring(keyring.path, words("wrong horse battery"))
    key_path = tmp_path / "key"
    key_path.write_bytes(os.urandom(32))
    key_path.chmod(0o600)
    with pytest.raises(AccessDeniedError, match="protected by a 'passphrase'"):
        open_keyring(keyring.path, KeyFile(str(key_path)))
    # One spelling of a passphrase, whatever the keyboard composes.
    other = create_keyring(str(tmp_path / "other"), words("Schlüssel-Wort"))
    assert open_keyring(other.path, words("Schlu\u0308ssel-Wort")).keys() == []


def test_every_damaged_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    keyring.create_key("k")
    path = Path(keyring.path)
    good = path.read_bytes()
    secret = words()
    for bit in range(0, len(good) * 8, 7):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises((IntegrityError, FormatError)):
            open_keyring(keyring.path, secret)
    for length in range(0, len(good), 5):
        path.write_bytes(good[:length])
        with pytest.raises(IntegrityError, match="damaged or cut off"):
            open_keyring(keyring.path, secret)
    path.write_bytes(good + b" ")
    with pytest.raises(IntegrityError):
        open_keyring(keyring.path, secret)
    path.write_bytes(good)
    assert len(open_keyring(keyring.path, secret).keys()) == 1


def forge(path: Path, **changes: Any) -> None:
    """Change fields and mend the checksum, as someone without the passphrase can."""
    document = json.loads(path.read_bytes())
    document.update(changes)
    del document["sha256"]
    document["sha256"] = hashlib.sha256(_spell(document)).hexdigest()
    path.write_bytes(_spell(document, indent=1) + b"\n")


def test_a_change_on_purpose_is_noticed(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    keyring.create_key("k")
    path = Path(keyring.path)
    good = path.read_bytes()
    document = json.loads(good)
    sealed = bytearray(base64.b64decode(document["sealed"]))
    sealed[5] ^= 1
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (IntegrityError, "changed by someone", {"generation": 99}),
        (IntegrityError, "changed by someone", {"keyring_id": "0" * 32}),
        (IntegrityError, "changed by someone", {"sealed": base64.b64encode(sealed).decode()}),
        (IntegrityError, "changed by someone", {"sealed": ""}),
        (IntegrityError, "changed by someone", {"nonce": "00"}),
        (IntegrityError, "changed by someone", {"nonce": "not hexadecimal"}),
        (AccessDeniedError, "not the one", {"check": "0" * 32}),
        (FormatError, "lacks a field", {"check": "ü"}),
        (FormatError, "lacks a field", {"generation": True}),
        (FormatError, "lacks a field", {"generation": "2"}),
        (FormatError, "lacks a field", {"protection": []}),
        (FormatError, "lacks a field", {"more": 1}),
        (FormatError, "this release reads", {"version": 2}),
        (FormatError, "this release reads", {"format": "other"}),
    ]
    for kind, told, changes in cases:
        path.write_bytes(good)
        forge(path, **changes)
        with pytest.raises(kind, match=told):
            open_keyring(keyring.path, words())
    # A bomb for whoever derives the key: refused before any work.
    for change in (
        {"n": 1 << 30},
        {"n": 3000},
        {"n": 0},
        {"n": -1024},
        {"n": "1024"},
        {"n": True},
        {"n": 1024.0},
        {"r": 1 << 20},
        {"r": 0},
        {"p": 1 << 20},
        {"n": 1 << 20, "r": 16},
        {"salt": "00"},
        {"salt": None},
        {"salt": "xy"},
        {"kdf": "md5"},
    ):
        path.write_bytes(good)
        forge(path, protection={**document["protection"], **change})
        with pytest.raises(FormatError):
            open_keyring(keyring.path, words())
    for text in (b"", b"[]", b"5", b"{}", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"sha256": 5}', b"9" * 5000):
        path.write_bytes(text)
        with pytest.raises((IntegrityError, FormatError)):
            open_keyring(keyring.path, words())
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(FormatError, match="larger than"):
        open_keyring(keyring.path, words())


def test_an_older_file_is_noticed(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    keyring.create_key("k")
    path = Path(keyring.path)
    old = path.read_bytes()
    service = FileKeyService(keyring)
    blob = service.wrap("k", b"d", b"")
    service.destroy("k")
    seen = keyring.generation
    path.unlink()
    path.write_bytes(old)
    with pytest.raises(IntegrityError, match=f"generation {seen} was seen already"):
        service.unwrap("k", blob, b"")  # in the process that saw it
    with pytest.raises(IntegrityError, match="older copy"):
        reopen(keyring, lowest_generation=seen)
    assert reopen(keyring, lowest_generation=seen - 1).generation == seen - 1
    # Another keyring in its place.
    path.unlink()
    (tmp_path / "keyring.json.lock").unlink()
    fresh = create_keyring(keyring.path, words())
    for number in range(9):
        fresh.create_key(f"k{number}")
    with pytest.raises(AccessDeniedError, match="another keyring"):
        service.unwrap("k", blob, b"")
    # One of a lower generation, too, is no older copy; who does not know the id is told of both.
    with pytest.raises(AccessDeniedError, match="was replaced by another keyring"):
        reopen(keyring, lowest_generation=99, keyring_id=keyring.keyring_id)
    with pytest.raises(IntegrityError, match="an older copy was put in its place, or another keyring; keys may"):
        reopen(keyring, lowest_generation=99)
    with pytest.raises(IntegrityError, match="an older copy was put in its place; keys may"):
        reopen(fresh, lowest_generation=99, keyring_id=fresh.keyring_id)
    assert reopen(fresh, keyring_id=fresh.keyring_id).generation == 10
    path.unlink()
    with pytest.raises(AccessDeniedError, match=r"there is no keyring\. Put the keyring .* back"):
        service.unwrap("k", blob, b"")


def test_the_passphrase_can_be_changed(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    service = FileKeyService(keyring)
    service.create("k")
    blob = service.wrap("k", b"d" * 32, b"")
    elsewhere = reopen(keyring)
    key_path = tmp_path / "key"
    key_path.write_bytes(os.urandom(32))
    key_path.chmod(0o600)
    keyring.protect(KeyFile(str(key_path)))
    assert service.unwrap("k", blob, b"") == b"d" * 32
    keyring.rotate("k")
    with pytest.raises(AccessDeniedError, match="protected by a 'key_file'"):
        elsewhere.keys()
    opened = open_key_service("file", {"path": keyring.path, "key_file": str(key_path)})
    assert opened.unwrap("k", blob, b"") == b"d" * 32


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    for mode in (0o640, 0o604, 0o666, 0o610):
        path.chmod(mode)
        with pytest.raises(AccessDeniedError, match="chmod 600"):
            KeyFile(str(path))
    path.chmod(0o600)
    assert "key" in repr(KeyFile(str(path)))
    for size in (0, 31, 33, 4096):
        path.write_bytes(os.urandom(size))
        with pytest.raises(InvalidInputError, match=r"32|33"):
            KeyFile(str(path))
    path.write_bytes(bytes(32))
    with pytest.raises(InvalidInputError, match="not random"):
        KeyFile(str(path))
    with pytest.raises(NotFoundError):
        KeyFile(str(tmp_path / "none"))
    with pytest.raises((InvalidInputError, AccessDeniedError)):
        KeyFile(str(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(InvalidInputError, match="must be a file"):
        KeyFile(str(tmp_path / "pipe"))


def test_a_passphrase_has_limits(tmp_path: Path) -> None:
    for bad in ("short", "", "x" * 1025):
        with pytest.raises(InvalidInputError, match="8 to 1024"):
            Passphrase(bad)
    for n in (1000, 512, 1 << 21):
        with pytest.raises(InvalidInputError, match="power of two"):
            Passphrase(WORDS, scrypt_n=n)
    assert Passphrase(WORDS).fresh()["n"] >= 1 << 17
    path = tmp_path / "words"
    path.write_text(WORDS + "\n")
    path.chmod(0o600)
    keyring = make(tmp_path)
    keyring.create_key("k")
    options = {"path": keyring.path, "passphrase_file": str(path)}
    assert open_key_service("file", options).describe("k").state == "enabled"
    with pytest.raises(IntegrityError):
        open_key_service("file", {**options, "lowest_generation": "3"})
    for wrong in ({"path": keyring.path}, {**options, "key_file": "x"}, {**options, "lowest_generation": "-1"}):
        with pytest.raises(InvalidInputError):
            open_key_service("file", wrong)
    with pytest.raises(InvalidInputError, match="no option 'passphrase'"):
        open_key_service("file", {**options, "passphrase": WORDS})
    with pytest.raises(InvalidInputError, match="there are file, transit"):
        open_key_service("kms", {})
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidInputError, match="UTF-8"):
        Passphrase.from_file(str(path))


def rotate_often(path: str, count: int) -> None:
    keyring = open_keyring(path, words())
    for _ in range(count):
        keyring.rotate("k")


def test_processes_that_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    keyring.create_key("k")
    processes = [
        multiprocessing.get_context("fork").Process(target=rotate_often, args=(keyring.path, 8)) for _ in "abc"
    ]
    for process in processes:
        process.start()
    service = FileKeyService(keyring)
    while any(process.is_alive() for process in processes):
        assert service.unwrap("k", service.wrap("k", b"d", b"x"), b"x") == b"d"
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert keyring.describe("k").versions == tuple(range(1, 26))
    assert keyring.generation == 26


def test_threads_share_a_service(tmp_path: Path) -> None:
    service = FileKeyService(make(tmp_path))
    service.create("k")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(100):
                assert service.unwrap("k", service.wrap("k", b"d", b"%d" % number), b"%d" % number) == b"d"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        service.rotate("k")
    for thread in threads:
        thread.join()
    assert not failures


def test_a_wait_for_the_lock_ends(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    lock = FileLock(keyring.path + ".lock")
    assert lock.acquire()
    with pytest.raises(BusyError, match="another process"), storing.locked(keyring.path, wait_s=0.05):
        pytest.fail("the lock was held")
    lock.close()
    keyring.create_key("k")


def test_a_salt_wraps_a_limited_number_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_service, "WRAPS_PER_SALT_MAX", 3)
    monkeypatch.setattr(file_service, "DERIVED_COUNT_MAX", 2)
    service = FileKeyService(make(tmp_path))
    service.create("k")
    blobs = [service.wrap("k", b"d", b"") for _ in range(13)]
    assert 4 <= len({blob[:22] for blob in blobs}) <= 5
    assert {service.unwrap("k", blob, b"") for blob in blobs} == {b"d"}
    assert len(service._derived.unwrapping) <= 2


def test_a_key_has_a_limited_number_of_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickvault.security.keyring.key.VERSION_COUNT_MAX", 2)
    keyring = make(tmp_path)
    keyring.create_key("k")
    keyring.rotate("k")
    with pytest.raises(InvalidInputError, match="most there may be"):
        keyring.rotate("k")
    monkeypatch.setattr("tickvault.security.keyring.sealed_file.KEY_COUNT_MAX", 1)
    with pytest.raises(InvalidInputError, match="at most 1 keys"):
        keyring.create_key("two")
    assert [key.key_id for key in reopen(keyring).keys()] == ["k"]  # noqa: SIM118 -- not a dict


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        create_keyring(str(tmp_path / "none" / "keyring.json"), words())


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    keyring = make(tmp_path)
    material = bytes(range(100, 132))
    keyring.create_key("k", material=material)
    service = FileKeyService(keyring)
    snapshot = keyring.snapshot()
    key = snapshot.content.keys["k"]
    shown = [keyring, service, snapshot, snapshot.content, key, key.versions, key.describe(), words()]
    text = "".join(repr(each) + str(each) for each in shown)
    errors: list[BaseException] = []
    for call in (
        lambda: open_keyring(keyring.path, words("another secret word")),
        lambda: service.unwrap("k", bytes(82), b""),
        lambda: keyring.create_key("k", material=material),
        lambda: keyring.create_key("n", material=material + b"x"),
        lambda: Passphrase("Geheim!"),
    ):
        with pytest.raises(Exception) as caught:
            call()
        errors.append(caught.value)
    text += "".join(f"{error!r} {error.__cause__!r} {error.args!r}" for error in errors)
    for secret in (
        material.hex(),
        repr(material)[2:-1],
        base64.b64encode(material).decode(),
        WORDS,
        "another secret",
        "Geheim",
    ):
        assert secret not in text
    found = (tmp_path / "keyring.json").read_bytes()
    assert material not in found
    assert base64.b64encode(material) not in found
