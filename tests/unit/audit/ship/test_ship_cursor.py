"""The cursor of a sink: durable, whole, and never believed beyond what it can prove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trails import TRAIL, Trail

from tickvault.audit.ship import cursor as module
from tickvault.audit.ship.cursor import Cursor
from tickvault.errors import FormatError, IntegrityError, InvalidInputError, StorageError
from tickvault.seam.disk import Buffer, OsDisk, SyncError


def saved(folder: Path, sequence: int = 7) -> Path:
    path = folder / "siem.json"
    cursor = Cursor.load(str(path), "siem", Trail(10))
    cursor.advance(sequence, 2)
    return path


def test_a_cursor_begins_at_the_beginning_and_is_found_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "siem.json"
    assert Cursor.load(str(path), "siem", Trail(10)).sequence == 0
    assert not path.exists()
    saved(tmp_path)
    again = Cursor.load(str(path), "siem", Trail(10))
    assert (again.sequence, again.dead_letter_count, again.trail_id) == (7, 2, TRAIL)
    assert [p.name for p in tmp_path.iterdir()] == ["siem.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_cursor_of_another_trail_or_ahead_of_it_or_of_another_sink_says_what_to_do(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(InvalidInputError, match=r"belongs to the trail .* remove the file"):
        Cursor.load(str(path), "siem", Trail(10, "another"))
    with pytest.raises(InvalidInputError, match=r"record 7 was acknowledged, and the trail ends at 6.*backup"):
        Cursor.load(str(path), "siem", Trail(6))
    with pytest.raises(InvalidInputError, match="belongs to the sink 'siem'"):
        Cursor.load(str(path), "other", Trail(10))
    assert Cursor.load(str(path), "siem", Trail(7)).sequence == 7


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole) - 1)]
    damaged += [
        whole[:n] + bytes([whole[n] ^ 1 << bit]) + whole[n + 1 :] for n in range(len(whole)) for bit in range(8)
    ]
    damaged += [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 4000, whole + whole, b"{" + b" " * 5000 + whole[1:]]
    for data in damaged:
        try:
            document = module._document_of(data, "c.json")
        except IntegrityError as error:
            assert "remove the" in str(error)
        else:  # white space, or what means the same in JSON
            assert document["sequence"] == 7, data
            assert json.loads(data) == json.loads(whole), data
    path.write_bytes(whole[:-9] + b"8" + whole[-8:])
    with pytest.raises(IntegrityError, match="would skip records"):
        Cursor.load(str(path), "siem", Trail(10))


def test_another_format_and_wrong_types_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path)
    cursor = Cursor(str(path), "siem", TRAIL)
    cursor.sequence = "7"  # type: ignore[assignment]
    cursor.save()
    with pytest.raises(FormatError, match="wrong type"):
        Cursor.load(str(path), "siem", Trail(10))
    path.write_bytes(module._line({"format": 2, "sink": "siem", "trail": TRAIL, "sequence": 1, "dead_letters": 0}))
    with pytest.raises(FormatError, match="has format 2"):
        Cursor.load(str(path), "siem", Trail(10))


class FailingDisk(OsDisk):
    """Fails at one call."""

    def __init__(self, call: str) -> None:
        self.call = call

    def _fail(self, call: str) -> None:
        if call == self.call:
            raise SyncError(f"{call}: input/output error")

    def pwritev(self, fd: int, buffers: list[Buffer], offset: int) -> None:  # type: ignore[override]
        self._fail("write")
        super().pwritev(fd, buffers, offset)

    def sync(self, fd: int) -> None:
        self._fail("sync")
        super().sync(fd)

    def rename(self, source: str, target: str) -> None:
        self._fail("rename")
        super().rename(source, target)

    def sync_directory(self, path: str) -> None:
        self._fail("directory")
        super().sync_directory(path)


@pytest.mark.parametrize("call", ["write", "sync", "rename", "directory"])
def test_a_save_that_fails_leaves_the_old_cursor_or_the_new_one(tmp_path: Path, call: str) -> None:
    path = saved(tmp_path)
    disk = FailingDisk(call)
    cursor = Cursor.load(str(path), "siem", Trail(10), disk)
    with pytest.raises(StorageError):
        cursor.advance(9)
    assert cursor.sequence == 9, "acknowledged is acknowledged in this process"
    assert Cursor.load(str(path), "siem", Trail(10)).sequence == (9 if call == "directory" else 7)
    disk.call = ""
    cursor.save()
    assert Cursor.load(str(path), "siem", Trail(10)).sequence == 9


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 50), max_size=20))
def test_a_cursor_never_goes_back_but_by_a_rewind(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    path = tmp_path_factory.mktemp("cursor") / "c.json"
    trail = Trail(2000)
    cursor = Cursor.load(str(path), "c", trail)
    for step in steps:
        cursor.advance(cursor.sequence + step)
        assert Cursor.load(str(path), "c", trail).sequence == cursor.sequence
    cursor.rewind(10)
    assert cursor.sequence == max(0, sum(steps) - 10)
    with pytest.raises(AssertionError):
        cursor.advance(cursor.sequence - 1)
