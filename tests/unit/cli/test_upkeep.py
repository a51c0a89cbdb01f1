"""verify, rebuild-index, compact, backup, restore and lifecycle from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]
BODY = b"\xa5" * 8192


@pytest.fixture
def kept(versioned: Type) -> Type:
    """A vault with versions, a large body, and something deleted."""
    for text in (b"one", b"two"):
        versioned("put", "-", "raw/a", "--metadata", "venue=XCME", stdin=text)
    versioned("put", "-", "raw/large", stdin=b"\x5a" * 700_000)
    versioned("put", "-", "raw/marked", stdin=BODY)
    versioned("rm", "raw/a")
    return versioned


def listing(tickvault: Type, vault: str = "data") -> list[dict[str, Any]]:
    return tickvault("ls", "raw", "--versions", "--json", "--vault", vault).json_lines


def flip_a_byte(vault: Path, pattern: bytes) -> None:
    for path in sorted((vault / "segments").iterdir()):
        place = path.read_bytes().find(pattern)
        if place >= 0:
            with path.open("r+b") as file:
                file.seek(place + len(pattern) // 2)
                file.write(b"\x00")
            return
    raise AssertionError("the pattern lies in no segment")


def test_a_sound_vault(kept: Type) -> None:
    record = kept("verify", "--json").json
    assert record["sound"] is True
    assert record["objects"] == 4
    assert record["damaged_objects"] == []
    assert "is sound" in kept("verify").stderr


def test_damage_is_named_and_fails(kept: Type, folder: Path) -> None:
    flip_a_byte(folder / "data", BODY)
    typed = kept("verify", status=8)
    assert any(line.startswith("raw/marked, version ") for line in typed.stdout.splitlines())
    assert "1 of 4 objects damaged" in typed.stderr
    record = kept("verify", "--json", status=8).json
    assert record["sound"] is False
    assert [(one["bucket"], one["key"]) for one in record["damaged_objects"]] == [("raw", "marked")]


def test_a_rebuilt_index_gives_the_same(kept: Type, folder: Path) -> None:
    before = listing(kept)
    first = [one for one in before if one["key"] == "a"][-1]
    for name in ("index", "recent"):
        shutil.rmtree(folder / "data" / name, ignore_errors=True)
    assert kept("rebuild-index", "--json").json["records"] > 0
    assert listing(kept) == before
    assert kept("get", "raw/a", "--version-id", first["version_id"]).stdout == "one"
    kept("verify")


def test_recovery_that_walks_around_damage_says_so(kept: Type, folder: Path) -> None:
    flip_a_byte(folder / "data", BODY)
    shutil.copytree(folder / "data", folder / "copy")  # a copy's index is not trusted, so it is replayed
    assert "recovery found 1 damaged place" in kept("ls", "raw", "--vault", "copy").stderr


def test_a_rebuild_tells_what_is_damaged(kept: Type, folder: Path) -> None:
    """Story: an index was built from a damaged segment, an older version showed, and `rebuild-index` exited with 0
    without a word; so did every command after it."""
    flip_a_byte(folder / "data", BODY)
    typed = kept("rebuild-index", status=8)
    assert "(object 'marked')" in typed.stdout
    assert "older version" in typed.stderr
    (place,) = kept("rebuild-index", "--json", status=8).json["damaged_places"]
    assert place in typed.stdout
    assert "recovery found 1 damaged place" in kept("ls", "raw").stderr
    assert "recovery found 1 damaged place" in kept("ls", "raw").stderr
    kept("verify", status=8)


def test_compaction_gives_space_back_and_changes_nothing(kept: Type, folder: Path) -> None:
    before = listing(kept)
    record = kept("compact", "--all", "--json").json
    assert record["segments_damaged"] == []
    assert "freed" in kept("compact").stderr
    assert listing(kept) == before
    assert kept("get", "raw/large").stdout_bytes == b"\x5a" * 700_000


def test_backup_and_restore(kept: Type, folder: Path) -> None:
    before = listing(kept)
    first = kept("backup", "kept-safe", "--json").json
    kept("put", "-", "raw/later", stdin=b"later")
    kept("backup", "kept-safe")
    kept("restore", "kept-safe", "restored")
    assert [one for one in listing(kept, "restored") if one["key"] != "later"] == before
    assert kept("get", "raw/later", "--vault", "restored").stdout == "later"
    assert first["bytes_copied"] == first["bytes_total"]
    kept("verify", "--vault", "restored")


def test_restore_never_writes_over_a_vault(kept: Type) -> None:
    kept("backup", "kept-safe")
    kept("restore", "kept-safe", "data", status=4)
    kept("verify")


def test_a_damaged_backup_is_not_restored(kept: Type, folder: Path) -> None:
    kept("backup", "kept-safe")
    flip_a_byte(folder / "kept-safe", BODY)
    kept("restore", "kept-safe", "restored", status=8)
    assert not (folder / "restored").exists() or list((folder / "restored").iterdir()) == []


def test_what_is_no_backup_is_not_restored(kept: Type, folder: Path) -> None:
    (folder / "empty").mkdir()
    assert kept("restore", "empty", "restored", status=None).status in {3, 9}
    assert not (folder / "restored").exists()


def test_lifecycle_runs(kept: Type) -> None:
    assert kept("lifecycle", "run", "--json").json["vault"] == "./data"
