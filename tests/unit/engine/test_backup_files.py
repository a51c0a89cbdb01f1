"""A backup whole: what it notes of itself and of the small files in it, and every one of them damaged."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.engine import backup_files


def rows(vault: tv.Vault, count: int, price: float) -> None:
    """Append live rows, and leave them as a process does that goes on."""
    with vault.library("live").writer("ES", "trades") as writer:
        for _ in range(count):
            writer.append(ts_event=time.time_ns(), price=price, size=1)


def prices(folder: Path) -> list[float]:
    with tv.open(folder) as vault:
        return [price / 1e9 for price in vault.library("live").read("ES", "trades").to_arrow()["price"].to_pylist()]


@pytest.fixture
def vault(tmp_path: Path):
    with tv.open(tmp_path / "data") as opened:
        opened.create_bucket("sealed", encryption="aes-256-gcm").put("k", b"secret")
        rows(opened, 20, 1.0)
        opened.backup(tmp_path / "backup")
        yield opened


def files_of(backup: Path) -> list[Path]:
    return sorted(path for path in backup.rglob("*") if path.is_file())


def test_every_file_of_a_backup_is_checked(vault, tmp_path):
    names = {path.relative_to(tmp_path / "backup").as_posix() for path in files_of(tmp_path / "backup")}
    assert {"backup.json", "manifest", "files/security/keyring.json", "files/audit/signing.key"} <= names
    assert any(name.startswith("files/journals/") for name in names)
    for name in sorted(names):
        raw = (tmp_path / "backup" / name).read_bytes()
        harms = {"cut": raw[:-1], "empty": b"", "first": bytes([raw[0] ^ 1]) + raw[1:], "gone": None}
        middle = len(raw) // 2
        harms["middle"] = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
        for harm, data in harms.items():
            damaged = tmp_path / "damaged"
            shutil.copytree(tmp_path / "backup", damaged)
            if data is None:
                (damaged / name).unlink()
            else:
                (damaged / name).write_bytes(data)
            expected = tv.NotFoundError if (name, harm) == ("backup.json", "gone") else tv.IntegrityError
            with pytest.raises(expected):
                tv.restore(damaged, tmp_path / "restored")
            assert not (tmp_path / "restored").exists(), (name, harm)
            shutil.rmtree(damaged)
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    assert prices(tmp_path / "restored") == [1.0] * 20
    shutil.copy(tmp_path / "data" / "security" / "keyring.key", tmp_path / "restored" / "security" / "keyring.key")
    with tv.open(tmp_path / "restored") as restored:
        assert bytes(restored["sealed"].get("k")) == b"secret"
        assert restored.audit.verify().ok


def test_every_bit_of_the_description_counts(vault, tmp_path):
    raw = (tmp_path / "backup" / "backup.json").read_bytes()
    for at in range(0, len(raw), 7):
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            same = json.loads(flipped) == json.loads(raw)
        except ValueError:
            same = False
        (tmp_path / "backup" / "backup.json").write_bytes(flipped)
        if same:
            continue
        with pytest.raises((tv.IntegrityError, tv.FormatError)):
            tv.restore(tmp_path / "backup", tmp_path / "restored")
        assert not (tmp_path / "restored").exists()


def test_live_rows_are_not_overwritten_by_a_copy_that_went_on(vault, tmp_path):
    """Rows that are appended live change no segment."""
    tv.restore(tmp_path / "backup", tmp_path / "copy")
    rows(vault, 7, 2.0)
    vault.backup(tmp_path / "backup")
    with tv.open(tmp_path / "copy") as copy:
        rows(copy, 3, 3.0)
        with pytest.raises(tv.FormatError, match="went on by itself"):
            copy.backup(tmp_path / "backup")
    rows(vault, 1, 4.0)
    vault.backup(tmp_path / "backup")
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    assert prices(tmp_path / "restored") == [1.0] * 20 + [2.0] * 7 + [4.0]


@pytest.mark.parametrize("at", ["place", "describe", "settle"])
def test_a_backup_that_was_interrupted_leaves_the_one_before(vault, tmp_path, at, monkeypatch):
    from tickvault.engine import backup

    rows(vault, 5, 2.0)
    vault["sealed"].put("later", b"x")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if at == "describe":
            patch.setattr(backup, "_write_description", dies)
        else:
            patch.setattr(backup_files, at, dies)
        with pytest.raises(KeyboardInterrupt):
            vault.backup(tmp_path / "backup")
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    # From the description on the new one counts.
    assert len(prices(tmp_path / "restored")) == (25 if at == "settle" else 20)
    rows(vault, 2, 3.0)
    vault.backup(tmp_path / "backup")
    tv.restore(tmp_path / "backup", tmp_path / "again")
    assert len(prices(tmp_path / "again")) == 27
    assert sorted(os.listdir(tmp_path / "backup")) == ["audit", "backup.json", "files", "manifest", "segments"]
