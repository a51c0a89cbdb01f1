"""Bytes into a vault and out again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]

#: Empty, small, just inside and just beyond what rides in a commit, and more than one frame of a large body.
SIZES = [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024 + 17]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_as_it_was(raw: Type, folder: Path, size: int) -> None:
    body = os.urandom(size)
    (folder / "in.bin").write_bytes(body)
    stored = raw("put", "in.bin", "raw/a", "--json").json
    assert stored["size"] == size
    assert stored["etag"] == hashlib.md5(body).hexdigest()
    raw("get", "raw/a", "out.bin")
    assert (folder / "out.bin").read_bytes() == body
    assert raw("get", "raw/a").stdout_bytes == body
    assert raw("get", "raw/a", "-").stdout_bytes == body


@pytest.mark.parametrize("size", SIZES)
def test_standard_input(raw: Type, size: int) -> None:
    body = os.urandom(size)
    raw("put", "-", "raw/a", stdin=body)
    assert raw("get", "raw/a").stdout_bytes == body


def test_standard_input_needs_a_name(raw: Type) -> None:
    typed = raw("put", "-", "raw/a/", stdin=b"x", status=2)
    assert "standard input has no name" in typed.stderr


def test_words_go_to_stderr(raw: Type, folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    typed = raw("put", "a", "raw/")
    assert typed.stdout == ""
    assert "stored raw/a" in typed.stderr


def test_several_files_take_their_names(raw: Type, folder: Path) -> None:
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    lines = raw("put", "a", "b", "c", "raw/day/", "--json").json_lines
    assert [line["key"] for line in lines] == ["day/a", "day/b", "day/c"]
    assert raw("get", "raw/day/b").stdout == "b"


def test_several_files_need_a_folder(raw: Type, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_text(name)
    typed = raw("put", "a", "b", "raw/day", status=2)
    assert "raw/day/" in typed.stderr


def test_a_folder_of_many_files(raw: Type, folder: Path) -> None:
    tree = {f"{i % 7}/{i}": str(i) * i for i in range(200)}
    for name, text in tree.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(text)
    lines = raw("put", "--recursive", "tree", "raw/copy", "--json").json_lines
    assert sorted(line["key"] for line in lines) == sorted(f"copy/{name}" for name in tree)
    raw("cp", "--recursive", "raw/copy/", "./back")
    back = folder / "back"
    assert {str(path.relative_to(back)): path.read_text() for path in back.rglob("*/*")} == tree


def test_a_folder_needs_recursive(raw: Type, folder: Path) -> None:
    (folder / "tree").mkdir()
    assert "--recursive" in raw("put", "tree", "raw/", status=2).stderr


def test_a_missing_file_is_named(raw: Type) -> None:
    typed = raw("put", "nowhere.csv", "raw/a", status=3)
    assert typed.stderr == "tickvault: no local file 'nowhere.csv'\n"


def test_swapped_arguments_are_explained(raw: Type, folder: Path) -> None:
    (folder / "in.bin").write_bytes(b"x")
    typed = raw("put", "raw/a", "in.bin", status=3)
    assert "tickvault put in.bin raw/a" in typed.stderr


def test_metadata_tags_and_type_are_kept(raw: Type) -> None:
    options = "--metadata venue=XCME --metadata note=a=b --tag desk=rates --content-type text/csv"
    raw("put", "-", "raw/a", *options.split(), stdin=b"x")
    detail = raw("stat", "raw/a", "--json").json
    assert detail["metadata"] == {"venue": "XCME", "note": "a=b"}
    assert detail["tags"] == {"desk": "rates"}
    assert detail["content_type"] == "text/csv"
    shown = raw("stat", "raw/a").stdout
    assert "metadata.venue" in shown
    assert "XCME" in shown


def test_conditions(raw: Type) -> None:
    raw("put", "-", "raw/a", "--if-none-match", "*", stdin=b"one")
    raw("put", "-", "raw/a", "--if-none-match", "*", stdin=b"two", status=5)
    etag = raw("stat", "raw/a", "--json").json["etag"]
    raw("put", "-", "raw/a", "--if-match", "0" * 32, stdin=b"two", status=5)
    raw("put", "-", "raw/a", "--if-match", etag, stdin=b"two")
    assert raw("get", "raw/a").stdout == "two"


@pytest.mark.parametrize(
    ("span", "expected"),
    [("0:5", b"01234"), ("5:", b"56789"), (":3", b"012"), ("8:100", b"89"), ("10:", b"")],
)
def test_ranges(raw: Type, span: str, expected: bytes) -> None:
    raw("put", "-", "raw/a", stdin=b"0123456789")
    assert raw("get", "raw/a", "--range", span).stdout_bytes == expected


def test_a_range_beyond_the_end_is_refused(raw: Type) -> None:
    raw("put", "-", "raw/a", stdin=b"0123456789")
    assert "the object ends at 10" in raw("get", "raw/a", "--range", "11:", status=2).stderr


def test_get_of_nothing(raw: Type, folder: Path) -> None:
    typed = raw("get", "raw/none", "out", status=3)
    assert "none" in typed.stderr
    assert not (folder / "out").exists()
    raw("get", "elsewhere/none", "out", status=3)


def test_a_failed_get_leaves_the_file_alone(raw: Type, folder: Path) -> None:
    (folder / "out").write_text("precious")
    raw("get", "raw/none", "out", status=3)
    assert (folder / "out").read_text() == "precious"
    assert [path.name for path in folder.glob("*.partial")] == []


def test_a_damaged_object_is_never_written(raw: Type, folder: Path) -> None:
    body = b"\xa5" * 300_000
    raw("put", "-", "raw/a", stdin=body)
    _flip_a_byte_of(folder / "data", b"\xa5" * 4096)
    (folder / "out").write_text("precious")
    typed = raw("get", "raw/a", "out", status=8)
    assert "a" in typed.stderr
    assert (folder / "out").read_text() == "precious"
    assert sorted(path.name for path in folder.iterdir()) == ["data", "out"]


def test_verify_names_a_damaged_object(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/good", stdin=b"fine")
    raw("put", "-", "raw/bad", stdin=b"\xa5" * 8192)
    raw("verify")
    _flip_a_byte_of(folder / "data", b"\xa5" * 4096)
    typed = raw("verify", status=8)
    assert "raw/bad" in typed.stdout
    assert "raw/good" not in typed.stdout


def test_a_pipe_is_written_to_and_not_replaced(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/a", stdin=b"x")
    raw("get", "raw/a", "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_link_is_followed(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/a", stdin=b"x")
    (folder / "real").write_text("old")
    (folder / "link").symlink_to("real")
    raw("get", "raw/a", "link")
    assert (folder / "link").is_symlink()
    assert (folder / "real").read_text() == "x"


def test_json_and_the_object_do_not_share_stdout(raw: Type) -> None:
    raw("put", "-", "raw/a", stdin=b"x")
    assert "name a FILE" in raw("get", "raw/a", "--json", status=2).stderr


def _flip_a_byte_of(vault: Path, pattern: bytes) -> None:
    for path in sorted(path for path in vault.rglob("*") if path.is_file()):
        content = path.read_bytes()
        place = content.find(pattern)
        if place >= 0 and "segments" in path.parts:
            with path.open("r+b") as file:
                file.seek(place + len(pattern) // 2)
                file.write(b"\x5a")
            return
    raise AssertionError("the body lies in no segment")


def test_get_into_a_folder_that_is_not_there(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/a", stdin=b"x")
    for target in ("nosuch/a", "nosuch/"):
        assert raw("get", "raw/a", target, status=11).stderr == "tickvault: nosuch: no such folder\n"
    assert not (folder / "nosuch").exists()
