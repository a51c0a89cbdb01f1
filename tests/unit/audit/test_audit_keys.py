from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from audit_made import OTHER_SIGNER, SIGNER, made_trail, opened, record
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import tickvault.audit.signing as signing
from tickvault.audit.block import FLAG_KEYS, pack_body
from tickvault.audit.codec import encode
from tickvault.audit.keyfile import (
    KEY_FILE,
    SIGNERS_FILE,
    load_signer,
    make_next_signer,
    next_signer,
    promote_next_signer,
    read_signers,
)
from tickvault.audit.keys import PinnedKey, key_record
from tickvault.audit.signing import Ed25519Signer, PublicKey, public_key, verifier_of
from tickvault.audit.verify import verify
from tickvault.errors import AccessDeniedError, FormatError, InvalidInputError, NotFoundError

KEYS = [SIGNER.public_key]


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    signer = load_signer(str(tmp_path))
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_signer(str(tmp_path)).public_key == signer.public_key
    assert os.listdir(tmp_path) == [KEY_FILE]
    assert b"BEGIN PRIVATE KEY" in path.read_bytes()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_signer(str(tmp_path))
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(AccessDeniedError, match="chmod 600"):
        load_signer(str(tmp_path))


def test_what_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"text", b"\xff" * 100, other, SIGNER.private_pem()[:-40]):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(FormatError, match="Ed25519") as caught:
            load_signer(str(tmp_path))
        assert "PRIVATE KEY" not in str(caught.value)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InvalidInputError, match="4096"):
        load_signer(str(tmp_path))
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(InvalidInputError, match="must be a file"):
        load_signer(str(tmp_path))


def test_a_signer_does_not_show_its_key() -> None:
    secret = bytes(range(32)).hex()
    assert secret not in repr(SIGNER) + str(SIGNER)
    assert SIGNER.public_key.key_id.hex() in repr(SIGNER)


def test_the_key_in_the_trail_and_beside_it(tmp_path: Path) -> None:
    made_trail(tmp_path)
    assert read_signers(str(tmp_path / SIGNERS_FILE)) == [PinnedKey(SIGNER.public_key, 1)]
    report = verify(str(tmp_path), public_keys=KEYS)
    assert report.ok
    assert report.keys == [(SIGNER.public_key, 1)]
    fault = verify(str(tmp_path), public_keys=[OTHER_SIGNER.public_key]).fault
    assert (fault.kind, fault.block_number) == ("signature", 1)
    assert not verify(str(tmp_path), public_keys=[]).ok


def test_another_signer_is_refused(tmp_path: Path) -> None:
    made_trail(tmp_path)
    with pytest.raises(InvalidInputError, match=SIGNER.public_key.key_id.hex()):
        opened(tmp_path, signer=OTHER_SIGNER)


def test_rotation_is_signed_by_the_key_before(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append([record(1)])
        writer.rotate(OTHER_SIGNER)
        assert writer.rotate(OTHER_SIGNER) == writer.head
        writer.append([record(2)])
    with pytest.raises(InvalidInputError):
        opened(tmp_path)
    with opened(tmp_path, signer=OTHER_SIGNER) as writer:
        writer.append([record(3)])
    report = verify(str(tmp_path), public_keys=KEYS)
    assert report.ok
    assert report.keys == [(SIGNER.public_key, 1), (OTHER_SIGNER.public_key, 3)]
    pinned = [PinnedKey(SIGNER.public_key, 1), PinnedKey(OTHER_SIGNER.public_key, 3)]
    assert read_signers(str(tmp_path / SIGNERS_FILE)) == pinned
    assert verify(str(tmp_path), public_keys=pinned).ok
    # A list that was kept before the rotation: the chain itself tells what followed.
    assert verify(str(tmp_path), public_keys=pinned[:1]).ok


@pytest.fixture
def rotated(tmp_path: Path) -> tuple[Path, list[PinnedKey]]:
    """A copy of a trail made before its key was rotated, with one block, and the keys as they were after it."""
    with opened(tmp_path / "trail") as writer:
        writer.append([record(1)])
        shutil.copytree(tmp_path / "trail", tmp_path / "copy")
        writer.rotate(OTHER_SIGNER)
        writer.append([record(2)])
    return tmp_path / "copy", read_signers(str(tmp_path / "trail" / SIGNERS_FILE))


def test_a_key_that_was_replaced_signs_no_more(rotated: tuple[Path, list[PinnedKey]]) -> None:
    """The story: a copy made before a rotation was gone on with under the old key, and the kept list let it pass."""
    copy, pinned = rotated
    fault = verify(str(copy), public_keys=pinned).fault
    assert (fault.kind, fault.block_number) == ("shorter", 3)
    with opened(copy) as writer:
        for number in range(3):
            writer.append([record(number)])
    # Without the kept list nothing tells, nor with one that is older.
    assert verify(str(copy)).ok
    assert verify(str(copy), public_keys=pinned[:1]).ok
    fault = verify(str(copy), public_keys=pinned).fault
    assert (fault.kind, fault.block_number) == ("signature", 3)
    assert (
        f"must be signed by key {OTHER_SIGNER.public_key.key_id.hex()}, which the keys you gave name from" in fault.what
    )


def test_a_rotation_made_again_by_the_old_key(rotated: tuple[Path, list[PinnedKey]]) -> None:
    copy, pinned = rotated
    with opened(copy) as writer:
        writer.rotate(OTHER_SIGNER)
        writer._signer = SIGNER
        writer._append_body(1, pack_body([encode(key_record(SIGNER.public_key, 5))]), None, FLAG_KEYS)
    fault = verify(str(copy), public_keys=pinned).fault
    assert fault.block_number == 4
    assert "introduces itself, and the keys you gave name another block for that" in fault.what


def test_another_key_in_the_place_of_the_next_one(tmp_path: Path) -> None:
    """Neither a block too early nor a key in between is believed against a list that says where each key begins."""
    third = Ed25519Signer(bytes(range(2, 34)))
    with opened(tmp_path) as writer:
        writer.append([record(1)])
        writer.rotate(third)
        writer.append([record(2)])
        writer.rotate(OTHER_SIGNER)
    first, second, last = read_signers(str(tmp_path / SIGNERS_FILE))
    assert [first.first_block, second.first_block, last.first_block] == [1, 3, 5]
    assert verify(str(tmp_path), public_keys=[last, first, second]).ok
    fault = verify(str(tmp_path), public_keys=[first, last]).fault
    assert fault.block_number == 4
    assert f"signed by key {SIGNER.public_key.key_id.hex()}, which the keys you gave name from block 1 on" in fault.what
    # Entries without a block say only that the key may introduce itself.
    assert verify(str(tmp_path), public_keys=[first.key, second.key]).ok


def test_the_old_key_signs_no_more_after_a_rotation(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.rotate(OTHER_SIGNER)
        writer._signer = SIGNER
        writer.append([record(2)])
    fault = verify(str(tmp_path)).fault
    assert (fault.kind, fault.block_number) == ("signature", 3)


def test_a_record_that_only_looks_like_a_key_introduces_none(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append([key_record(OTHER_SIGNER.public_key, 5)])
        writer._signer = OTHER_SIGNER
        writer.append([record(2)])
    assert verify(str(tmp_path)).fault.block_number == 3


def test_a_lost_key(tmp_path: Path) -> None:
    made_trail(tmp_path)
    with opened(tmp_path, signer=OTHER_SIGNER, key_lost=True) as writer:
        writer.append([record(2)])
    with opened(tmp_path, signer=OTHER_SIGNER) as writer:
        writer.append([record(3)])
    fault = verify(str(tmp_path)).fault
    assert fault.kind == "signature"
    assert "introduces itself" in fault.what
    assert not verify(str(tmp_path), public_keys=KEYS).ok
    assert verify(str(tmp_path), public_keys=[*KEYS, OTHER_SIGNER.public_key]).ok
    first, second = read_signers(str(tmp_path / SIGNERS_FILE))
    # It introduced itself, so it signed that very block; elsewhere it may not.
    assert second == PinnedKey(OTHER_SIGNER.public_key, 7)
    assert verify(str(tmp_path), public_keys=[first, second]).ok
    assert verify(str(tmp_path), public_keys=[first, second.key]).ok
    assert verify(str(tmp_path), public_keys=[first]).fault.block_number == 7
    for number in (6, 8):
        assert verify(str(tmp_path), public_keys=[first, second._replace(first_block=number)]).fault.block_number <= 7


def test_a_block_of_keys_with_a_broken_key(tmp_path: Path) -> None:
    broken = key_record(SIGNER.public_key, 5)._replace(detail={"algorithm": "ed25519", "public_key": "zz"})
    with opened(tmp_path) as writer:
        writer._append_body(1, pack_body([encode(broken)]), None, FLAG_KEYS)
    fault = verify(str(tmp_path)).fault
    assert (fault.kind, fault.block_number) == ("changed", 2)


def test_the_way_of_a_new_key_file(tmp_path: Path) -> None:
    folder = str(tmp_path)
    signer = load_signer(folder)
    assert next_signer(folder) is None
    with opened(tmp_path, signer=signer) as writer:
        new = make_next_signer(folder)
        assert make_next_signer(folder).public_key == new.public_key
        writer.rotate(new)
    # Killed here, the next opener finds the key that the trail names in the file of the next one.
    assert next_signer(folder).public_key == new.public_key
    promote_next_signer(folder)
    assert next_signer(folder) is None
    opened(tmp_path, signer=load_signer(folder)).close()
    assert load_signer(folder).public_key == new.public_key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"signers": 5}',
        b'{"signers": [{"algorithm": "ed25519"}]}',
        b'{"signers": ["x"]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_list_of_keys_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="no list of public keys"):
        read_signers(str(path))


@pytest.mark.parametrize("number", [0, -1, True, 1.0, "1", 1 << 64, [1]])
def test_a_list_of_keys_with_a_first_block_that_is_none(tmp_path: Path, number: object) -> None:
    entry = {"algorithm": "ed25519", "public_key": SIGNER.public_key.key.hex()}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"signers": [entry | {"first_block": number}]}))
    with pytest.raises(FormatError, match="'first_block' must be the number of a block"):
        read_signers(str(path))
    path.write_text(json.dumps({"signers": [entry]}))
    assert read_signers(str(path)) == [PinnedKey(SIGNER.public_key)]


def test_the_lists_of_two_trails_in_one(tmp_path: Path) -> None:
    keys = [signer.public_key.key.hex() for signer in (SIGNER, OTHER_SIGNER)]
    entries = [{"algorithm": "ed25519", "public_key": key, "first_block": 1} for key in keys]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"signers": entries}))
    with pytest.raises(FormatError, match="of each trail in a file of its own"):
        read_signers(str(path))


def test_keys_that_are_none() -> None:
    for algorithm, key in (("ed25519", "00"), ("rsa", "00" * 32), ("ed25519", "x"), ("sm2", ""), ("sm2", "00" * 600)):
        with pytest.raises(FormatError):
            public_key(algorithm, key)
    with pytest.raises(NotFoundError):
        read_signers("/nowhere/keys.json")


def test_signers_from_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Toy:
        """A signer whose signatures anybody can make, under SM2's name."""

        public_key = PublicKey("sm2", b"toy key")

        def sign(self, digest: bytes) -> bytes:
            return b"toy" + digest

        def verify(self, digest: bytes, signature: bytes) -> bool:
            return signature == b"toy" + digest

    class Provider:
        algorithm = "sm2"

        def open_signer(self, folder: str, settings: dict[str, str]) -> Toy:
            assert settings == {"slot": "1"}
            return Toy()

        def verifier(self, key: bytes) -> Toy:
            assert key == b"toy key"
            return Toy()

    class Point:
        name = "toy"

        def load(self) -> type[Provider]:
            return Provider

    with pytest.raises(InvalidInputError, match="must be one of ed25519"):
        load_signer(str(tmp_path), kind="toy")
    with pytest.raises(InvalidInputError, match="no installed package"):
        verifier_of(PublicKey("sm2", b"another key"))
    monkeypatch.setattr(signing, "entry_points", lambda group: [Point()] if group == "tickvault.signers" else [])
    signer = load_signer(str(tmp_path), kind="toy", settings={"slot": "1"})
    with opened(tmp_path, signer=signer, hash_algorithm="sm3") as writer:
        writer.append([record(1)])
    assert verify(str(tmp_path)).ok
    entry = json.loads((tmp_path / SIGNERS_FILE).read_bytes())["signers"][0]
    assert entry["algorithm"] == "sm2"


def test_generated_keys_differ() -> None:
    assert Ed25519Signer.generate().public_key != Ed25519Signer.generate().public_key
