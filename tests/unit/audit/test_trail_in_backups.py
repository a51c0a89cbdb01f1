"""A backup is of one moment: what its trail tells is what its segments hold, whatever goes on while it is taken."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import tickvault as tv


@pytest.fixture
def vault(tmp_path: Path):
    with tv.open(tmp_path / "data") as opened:
        opened.create_bucket("kept", object_lock=True)
        for number in range(20):
            opened["kept"].put(f"before/{number}", os.urandom(300_000))
        yield opened


def backed_up(vault: tv.Vault, target: Path, meanwhile: Callable[[], None] = lambda: None) -> Path:
    """Back up, and do something while the segments are copied."""
    done: list[int] = []

    def progress(_done: int, _total: int, _unit: str) -> None:
        if not done:
            done.append(1)
            meanwhile()

    vault.backup(target, progress=progress)
    assert done
    return target


def check_sound(folder: Path) -> None:
    with tv.open(folder) as restored:
        assert restored.audit.verify().ok
        report = restored.reconcile(everything=True)
        assert report.findings == []
        system = [record.action for record in restored.audit.query() if record.category.name == "SYSTEM"]
        assert not {"JournalDamaged", "TrailGap", "JournalBehindTrail"} & set(system)


def test_changes_made_while_a_backup_is_taken_are_in_it_nowhere(vault, tmp_path):
    bucket = vault["kept"]
    first = bucket.put("removed", b"x")

    def meanwhile() -> None:
        bucket.put("late", b"late")
        bucket.delete("removed", version_id=first.version_id)
        # More than a block takes in one commit: its first blocks have the cursor of the time before.
        bucket.put_many([(f"many/{number}", b"m") for number in range(5_000)])
        vault.audit.catch_up()
        assert sum(1 for _ in vault.audit.query(action="PutObject")) == 5_022

    target = backed_up(vault, tmp_path / "backup", meanwhile)
    tv.restore(target, tmp_path / "restored")
    check_sound(tmp_path / "restored")
    with tv.open(tmp_path / "restored") as restored:
        assert "late" not in [item.key for item in restored["kept"].list()]
        assert bytes(restored["kept"].get("removed")) == b"x"
        told = Counter(record.key for record in restored.audit.query(action="PutObject"))
        assert set(told) == {"removed", *(f"before/{number}" for number in range(20))}
        assert set(told.values()) == {1}
    # The next backup takes what came since, and fits too.
    backed_up(vault, target)
    tv.restore(target, tmp_path / "again")
    check_sound(tmp_path / "again")
    with tv.open(tmp_path / "again") as restored:
        assert sum(1 for _ in restored.audit.query(action="PutObject")) == 5_022


def test_a_large_commit_just_before_the_end_is_told_once(vault, tmp_path):
    vault["kept"].put_many([(f"many/{number}", b"m") for number in range(9_000)])
    target = backed_up(vault, tmp_path / "backup", lambda: vault["kept"].put("late", b"l"))
    tv.restore(target, tmp_path / "restored")
    check_sound(tmp_path / "restored")
    with tv.open(tmp_path / "restored") as restored:
        told = Counter(record.key for record in restored.audit.query(action="PutObject"))
        assert len(told) == 9_020
        assert set(told.values()) == {1}


def test_a_key_that_is_rotated_meanwhile_is_told(vault, tmp_path):
    with pytest.raises(tv.BusyError, match="rotated while the backup ran; run it again"):
        backed_up(vault, tmp_path / "backup", vault_rotation(vault))
    backed_up(vault, tmp_path / "backup")
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    check_sound(tmp_path / "restored")


def vault_rotation(vault: tv.Vault) -> Callable[[], None]:
    def rotate() -> None:
        vault["kept"].put("late", b"l")
        vault.audit.catch_up()
        vault.audit.rotate_key()

    return rotate


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (flip, "is not what was backed up"),
        (cut, "is cut off"),
        (Path.unlink, "is missing"),
        (lambda path: shutil.rmtree(path.parent), "is missing"),
    ],
)
def test_a_trail_that_is_damaged_in_the_backup_leaves_no_vault(vault, tmp_path, harm, told):
    target = backed_up(vault, tmp_path / "backup")
    harm(target / "audit" / "trail-00000001")
    with pytest.raises(tv.IntegrityError, match=f"{told}.*--without-trail"):
        tv.restore(target, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
    tv.restore(target, tmp_path / "restored", trail=False)
    with tv.open(tmp_path / "restored") as restored:
        assert len(list(restored["kept"].list())) == 20
        assert restored.audit.verify().ok
        (record,) = restored.audit.query(action="Restore")
        assert record.detail["trail"] == "left out"


def test_a_trail_that_was_begun_anew_is_copied_anew(vault, tmp_path):
    target = backed_up(vault, tmp_path / "backup")
    before = (target / "audit" / "trail-00000001").read_bytes()
    vault.audit.restart("a test", even_if_sound=True)
    vault["kept"].put("later", b"x")
    backed_up(vault, target)
    after = (target / "audit" / "trail-00000001").read_bytes()
    assert after[:96] != before[:96]
    tv.restore(target, tmp_path / "restored")
    with tv.open(tmp_path / "restored") as restored:
        assert restored.audit.verify().ok


def test_a_copy_that_went_on_by_itself_does_not_take_the_backup_over(vault, tmp_path):
    target = backed_up(vault, tmp_path / "backup")
    tv.restore(target, tmp_path / "restored")
    with tv.open(tmp_path / "restored") as restored:
        restored["kept"].put("only-here", b"x", retention_mode="COMPLIANCE", retain_until=2_000_000_000 * 10**9)
        backed_up(restored, target)
    vault["kept"].put("only-there", b"y")
    with pytest.raises(tv.FormatError, match=r"went on by itself.*choose another folder"):
        vault.backup(target)
    tv.restore(target, tmp_path / "again")
    with tv.open(tmp_path / "again") as again:
        assert bytes(again["kept"].get("only-here")) == b"x"


def test_a_backup_of_the_same_vault_after_compaction_goes_on(vault, tmp_path):
    loose = vault.create_bucket("loose")
    target = backed_up(vault, tmp_path / "backup")
    for number in range(3):
        loose.put("k", bytes([number]) * 400_000)
    backed_up(vault, target)
    vault.compact(dead_ratio_min=0.01)
    loose.put("k2", b"x")
    backed_up(vault, target)
    tv.restore(target, tmp_path / "restored")
    check_sound(tmp_path / "restored")


def test_what_only_the_trail_has_is_not_overwritten_by_a_copy_that_went_on(vault, tmp_path):
    """Reads and refusals change no segment: two vaults with equal objects can have different trails."""
    target = backed_up(vault, tmp_path / "backup")
    tv.restore(target, tmp_path / "restored")
    vault.verify()
    backed_up(vault, target)
    with tv.open(tmp_path / "restored") as restored, pytest.raises(tv.FormatError, match="went on by itself"):
        restored.backup(target)
    tv.restore(target, tmp_path / "again")
    with tv.open(tmp_path / "again") as again:
        assert len(list(again.audit.query(action="Verify"))) == 1
    backed_up(vault, target)


def test_a_trail_that_was_left_out_is_told_of_first(vault, tmp_path):
    target = backed_up(vault, tmp_path / "backup")
    tv.restore(target, tmp_path / "restored", trail=False)
    with tv.open(tmp_path / "restored") as restored:
        actions = [record.action for record in restored.audit.query()]
        assert actions[:3] == ["AddAuditSigner", "TrailBegun", "Restore"]
        assert restored.reconcile(everything=True).findings == []
