"""A power cut at any operation of a change leaves the old keyring or the new one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from simdisk import PowerCut, SimDisk

from tickvault.errors import DiskFullError, IntegrityError, NotFoundError, StorageError
from tickvault.security.keyring import Passphrase, create_keyring, open_keyring


def words() -> Passphrase:
    return Passphrase("correct horse battery staple", scrypt_n=1 << 10)


def cut(folder: Path, at: int, seed: int, *, lying: bool = False) -> tuple[bool, int]:
    """Cut the power at an operation; return whether the change was answered, and the generation that is found."""
    disk, path = SimDisk(), str(folder / f"keyring-{at}-{seed}-{lying}.json")
    create_keyring(path, words(), disk=disk).create_key("k")
    keyring = open_keyring(path, words(), disk=disk)
    assert keyring.generation == 2
    disk.lying = lying
    disk.cut_at = disk.operations + at
    answered = True
    try:
        keyring.rotate("k")
    except PowerCut:
        answered = False
    disk.off = True
    disk.crash(random.Random(seed))
    disk.lying = False
    found = open_keyring(path, words(), disk=disk)
    assert found.describe("k").versions == tuple(range(1, found.generation))
    generation = found.generation
    found.rotate("k")  # what the cut left lying about is in nobody's way
    assert open_keyring(path, words(), disk=disk).generation == generation + 1
    return answered, generation


def test_a_power_cut_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    outcomes = {(at, *cut(tmp_path, at, seed)) for at in range(1, 12) for seed in range(12)}
    assert {generation for _, _, generation in outcomes} == {2, 3}
    assert all(generation == 3 for _, answered, generation in outcomes if answered)
    assert any(answered for _, answered, _ in outcomes)


def test_the_simulation_would_notice_a_sync_that_lies(tmp_path: Path) -> None:
    lost = 0
    for seed in range(20):
        try:
            lost += cut(tmp_path, 99, seed, lying=True) != (True, 3)
        except (IntegrityError, NotFoundError):
            lost += 1
    assert lost


def test_a_disk_that_is_full_or_fails_changes_nothing(tmp_path: Path) -> None:
    disk, path = SimDisk(), str(tmp_path / "keyring.json")
    keyring = create_keyring(path, words(), disk=disk)
    keyring.create_key("k")
    disk.full = True
    with pytest.raises(DiskFullError):
        keyring.rotate("k")
    disk.full = False
    disk.fail_sync(1)
    with pytest.raises(StorageError):
        keyring.rotate("k")
    assert keyring.describe("k").versions == (1,)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["keyring.json", "keyring.json.lock"]
    assert keyring.rotate("k").versions == (1, 2)
