"""What is damaged in a vault is told: by a backup, by a restored vault, and after a recovery that went around it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import tickvault as tv


def flip(path: Path, needle: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(needle) + len(needle) // 2] ^= 0x40
    path.write_bytes(raw)


def only(folder: Path, kind: str) -> Path:
    (found,) = (folder / "segments").glob(f"{kind}-*.seg")
    return found


def make(folder: Path) -> dict[str, bytes]:
    bodies = {f"k{number}": os.urandom(500) for number in range(20)} | {"large": os.urandom(400_000)}
    with tv.open(folder) as vault:
        bucket = vault.create_bucket("raw")
        for key, body in bodies.items():
            bucket.put(key, body)
        bucket.put("last", b"the very last record" * 20)
    return bodies


@pytest.mark.parametrize("kind", ["body", "journal"])
def test_a_backup_of_a_damaged_vault_keeps_the_earlier_one(tmp_path: Path, kind: str) -> None:
    """Story: a byte flipped, and the next incremental backup put the damaged file in the place of the sound one."""
    vault_dir, backup = tmp_path / "vault", tmp_path / "backup"
    bodies = make(vault_dir)
    with tv.open(vault_dir) as vault:
        vault.backup(backup)
    flip(only(vault_dir, kind), bodies["large"][:1000] if kind == "body" else bodies["k7"])
    with tv.open(vault_dir) as vault:
        with pytest.raises(tv.IntegrityError, match="large" if kind == "body" else "k7"):
            vault.backup(backup)
        with pytest.raises(tv.IntegrityError):
            vault.backup(tmp_path / "another")
    tv.restore(backup, tmp_path / "restored")
    with tv.open(tmp_path / "restored") as vault:
        assert vault.verify().sound
        for key, body in bodies.items():
            assert vault["raw"].get(key) == body


def test_a_second_backup_copies_only_what_is_new(tmp_path: Path) -> None:
    make(tmp_path / "vault")
    with tv.open(tmp_path / "vault") as vault:
        first = vault.backup(tmp_path / "backup")
        vault["raw"].put("one", b"more")
        second = vault.backup(tmp_path / "backup")
    assert first.bytes_copied > 400_000
    assert second.bytes_copied < 100_000


def test_a_damaged_last_record_is_told_by_the_backup(tmp_path: Path) -> None:
    """Story: it was taken for the torn tail of a crash, and the restored vault was sound without it."""
    make(tmp_path / "vault")
    flip(only(tmp_path / "vault", "journal"), b"the very last record" * 20)
    with tv.open(tmp_path / "vault") as vault, pytest.raises(tv.IntegrityError, match="last"):
        vault.backup(tmp_path / "backup")


def test_a_backup_into_the_vault_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "vault")
    with tv.open(tmp_path / "vault") as vault, pytest.raises(tv.InvalidInputError, match="in the vault itself"):
        vault.backup(tmp_path / "vault" / "backup")


def test_damage_that_a_recovery_went_around_stays_told(tmp_path: Path) -> None:
    """Story: a copy with a journal cut short opened as an empty vault; whoever came second was told it was sound."""
    make(tmp_path / "vault")
    shutil.copytree(tmp_path / "vault", tmp_path / "copy")
    os.truncate(only(tmp_path / "copy", "journal"), 8192)
    with tv.open(tmp_path / "copy") as vault:
        assert not vault.verify().sound
    with tv.open(tmp_path / "copy") as vault:
        report = vault.verify()
        assert report.noted_damage
        assert not report.sound
    (tmp_path / "copy" / "damage.txt").unlink()
    with tv.open(tmp_path / "copy") as vault:
        assert vault.verify().sound


@pytest.mark.parametrize("name", ["index", "recent"])
def test_an_index_cut_short_is_made_again(tmp_path: Path, name: str) -> None:
    """Story: reading a page beyond the end of the mapped file killed the process."""
    bodies = make(tmp_path / "vault")
    os.truncate(tmp_path / "vault" / name / "data.mdb", 8192)
    with tv.open(tmp_path / "vault") as vault:
        for key, body in bodies.items():
            assert vault["raw"].get(key) == body
        assert vault.verify().sound
