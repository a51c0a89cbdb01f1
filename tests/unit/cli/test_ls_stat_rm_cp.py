"""Listing, looking, removing and copying."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[bytes]"]

KEYS = ["ES-mini", "ES/1", "ES/2", "NQ/1", "top"]


@pytest.fixture
def filled(raw: Type) -> Type:
    for key in KEYS:
        raw("put", "-", f"raw/{key}", stdin=key.encode())
    return raw


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["raw"], ["ES-mini", "ES/", "NQ/", "top"]),
        (["raw", "--recursive"], KEYS),
        (["raw/ES"], ["ES-mini", "ES/"]),
        (["raw/ES/"], ["ES/1", "ES/2"]),
        (["raw", "--delimiter", "-"], ["ES-", "ES/1", "ES/2", "NQ/1", "top"]),
        (["raw", "-r", "--start-after", "ES/1"], ["ES/2", "NQ/1", "top"]),
        (["raw/none"], []),
    ],
)
def test_listing(filled: Type, arguments: list[str], names: list[str]) -> None:
    assert filled("ls", *arguments).stdout.splitlines() == names
    lines = filled("ls", *arguments, "--json").json_lines
    assert [line.get("key", line.get("prefix")) for line in lines] == names
    assert [line.rsplit("  ")[-1] for line in filled("ls", "-l", *arguments).stdout.splitlines()] == names


def test_listing_crosses_pages(raw: Type, folder: Path) -> None:
    names = sorted(f"{n:05d}" for n in range(2500))
    (folder / "many").mkdir()
    for name in names:
        (folder / "many" / name).touch()
    raw("put", "-r", "many", "raw/")
    assert raw("ls", "raw").stdout.splitlines() == names
    assert [line["key"] for line in raw("ls", "raw", "--versions", "--json").json_lines] == names
    assert raw("rm", "-r", "raw").stderr == "removed 2,500 objects\n"
    assert raw("ls", "raw").stdout == ""


def test_ls_without_a_bucket_lists_buckets(raw: Type) -> None:
    raw("bucket", "create", "other")
    assert raw("ls").stdout.splitlines() == ["other", "raw"]
    assert raw("bucket", "list").stdout.splitlines() == ["other", "raw"]
    assert [line["bucket"] for line in raw("ls", "--json").json_lines] == ["other", "raw"]


def test_a_key_cannot_steer_the_terminal(raw: Type) -> None:
    raw("put", "-", "raw/a\x1b[2Jb", stdin=b"x")
    assert raw("ls", "raw").stdout == "a\\x1b[2Jb\n"
    assert raw("ls", "raw", "--json").json["key"] == "a\x1b[2Jb"


def test_versions(versioned: Type) -> None:
    for text in (b"one", b"two"):
        versioned("put", "-", "raw/a", stdin=text)
    versioned("rm", "raw/a")
    marker, second, first = versioned("ls", "raw", "--versions", "--json").json_lines
    assert marker["delete_marker"]
    assert [second["size"], first["size"]] == [3, 3]
    versioned("get", "raw/a", status=3)
    assert versioned("get", "raw/a", "--version-id", first["version_id"]).stdout == "one"
    assert versioned("get", "raw/a", "--version-id", second["version_id"]).stdout == "two"
    assert "delete marker" in versioned("ls", "raw", "--versions", "-l").stdout
    versioned("rm", "raw/a", "--version-id", marker["version_id"])
    assert versioned("get", "raw/a").stdout == "two"
    versioned("rm", "-r", "--versions", "raw/")
    assert versioned("ls", "raw", "--versions").stdout == ""


def test_stat_of_a_bucket(versioned: Type) -> None:
    detail = versioned("stat", "raw", "--json").json
    assert detail["versioning"] == "enabled"
    assert detail["durability"] == "strict"
    assert "enabled" in versioned("stat", "raw").stdout


def test_stat_of_nothing(raw: Type) -> None:
    raw("stat", "raw/none", status=3)
    raw("stat", "none", status=3)


def test_rm_of_nothing_is_an_error_unless_forced(raw: Type) -> None:
    assert "none" in raw("rm", "raw/none", status=3).stderr
    raw("rm", "--force", "raw/none")


def test_rm_of_nothing_makes_no_delete_marker(versioned: Type) -> None:
    assert "raw/none" in versioned("rm", "raw/none", status=3).stderr
    assert versioned("ls", "raw", "--versions").stdout == ""
    versioned("put", "-", "raw/a", stdin=b"x")
    assert "no version 'bad'" in versioned("rm", "raw/a", "--version-id", "bad", status=3).stderr
    versioned("rm", "raw/a")
    versioned("rm", "raw/a", status=3)


def test_rm_recursive_takes_a_prefix(filled: Type) -> None:
    assert filled("rm", "-r", "--dry-run", "raw/ES/").stdout.splitlines() == ["raw/ES/1", "raw/ES/2"]
    assert filled("ls", "-r", "raw").stdout.splitlines() == KEYS
    removed = filled("rm", "-r", "raw/ES/", "--json").json_lines
    assert [line["key"] for line in removed] == ["ES/1", "ES/2"]
    assert filled("ls", "-r", "raw").stdout.splitlines() == ["ES-mini", "NQ/1", "top"]


def test_rm_of_a_whole_bucket_has_to_be_meant(filled: Type) -> None:
    filled("rm", "raw", status=2)
    assert filled("ls", "-r", "raw").stdout.splitlines() == KEYS


def test_bucket_delete(filled: Type) -> None:
    assert "raw" in filled("bucket", "delete", "raw", status=5).stderr
    assert filled("bucket", "delete", "raw", "--recursive", "--json").json["versions_removed"] == len(KEYS)
    filled("bucket", "delete", "raw", status=3)


def test_bucket_create_twice(raw: Type) -> None:
    raw("bucket", "create", "raw", status=4)


@pytest.mark.parametrize("name", ["UPPER", "a", "with_underscore", "10.0.0.1"])
def test_bucket_names_follow_the_rule(tickvault: Type, name: str) -> None:
    tickvault("bucket", "create", name, status=2)


def test_only_bucket_create_makes_a_vault(tickvault: Type, folder: Path) -> None:
    for line in ("ls", "put - raw/a", "verify", "compact", "stat raw", "lifecycle run"):
        assert "./data" in tickvault(*line.split(), stdin=b"", status=3).stderr
    assert list(folder.iterdir()) == []


def test_option_or_environment_name_the_vault(tickvault: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    tickvault("bucket", "create", "raw", "--vault", "elsewhere")
    tickvault("ls", status=3)
    monkeypatch.setenv("TICKVAULT_VAULT", "elsewhere")
    assert tickvault("ls").stdout == "raw\n"


def test_cp_keeps_what_belongs_to_the_object(raw: Type) -> None:
    raw("bucket", "create", "archive")
    raw("put", "-", "raw/a", "--metadata", "venue=XCME", "--content-type", "text/csv", stdin=b"x")
    raw("cp", "raw/a", "archive/")
    detail = raw("stat", "archive/a", "--json").json
    assert detail["metadata"] == {"venue": "XCME"}
    assert detail["content_type"] == "text/csv"
    assert raw("cp", "raw/a", "raw/b", "--json").json["key"] == "b"


def test_cp_recursive_between_prefixes(filled: Type) -> None:
    filled("cp", "-r", "raw/ES/", "raw/ES/copy/")
    names = filled("ls", "-r", "raw/ES/").stdout.splitlines()
    assert names == ["ES/1", "ES/2", "ES/copy/1", "ES/copy/2"]


def test_cp_to_and_from_files(filled: Type, folder: Path) -> None:
    (folder / "local.csv").write_text("csv")
    filled("cp", "./local.csv", "raw/in/")
    assert filled("cp", "raw/in/local.csv", "-").stdout == "csv"
    filled("cp", "raw/in/local.csv", "./out/")
    assert (folder / "out" / "local.csv").read_text() == "csv"
    filled("cp", "-", "raw/piped", stdin=b"piped")
    assert filled("get", "raw/piped").stdout == "piped"


def test_cp_of_two_local_places_is_explained(raw: Type) -> None:
    assert "BUCKET/KEY" in raw("cp", "./a", "./b", status=2).stderr


def test_a_key_never_leads_out_of_the_folder(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/../../outside", stdin=b"x")
    assert "cannot become a file" in raw("cp", "-r", "raw/", "./in", status=2).stderr
    assert not (folder.parent / "outside").exists()


def test_cp_recursive_goes_on_past_what_cannot_be_copied(raw: Type, folder: Path) -> None:
    """The story: one key that is no file name ended the copy of a whole bucket, at the first of them."""
    for key in ("../x", "a", "a/b", "a/b/c", "z//y", "zz"):
        raw("put", "-", f"raw/{key}", stdin=key.encode())
    typed = raw("cp", "-r", "raw/", "./in", status=2)
    assert sorted(path.name for path in (folder / "in").rglob("*")) == ["a", "zz"]
    assert (folder / "in" / "zz").read_text() == "zz"
    words = typed.stderr.splitlines()
    assert words[:2] == ["copied 2 objects to ./in", "skipped 4:"]
    assert [line.split(": ")[0] for line in words[2:]] == ["  raw/../x", "  raw/a/b", "  raw/a/b/c", "  raw/z//y"]
    assert "cannot become a file" in words[2]
    assert "have to be a folder" in words[3]
    lines = raw("cp", "-r", "raw/", "./in", "--json", status=2).json_lines
    assert [line["skipped"] for line in lines if "skipped" in line] == ["raw/../x", "raw/a/b", "raw/a/b/c", "raw/z//y"]
    assert [line["key"] for line in lines if "key" in line] == ["a", "zz"]


def test_cp_recursive_saves_what_is_sound_beside_damage(raw: Type, folder: Path) -> None:
    for key in ("a", "b", "c"):
        raw("put", "-", f"raw/{key}", stdin=f"body of {key}".encode())
    (segment,) = (folder / "data" / "segments").glob("*.seg")
    held = segment.read_bytes()
    segment.write_bytes(held.replace(b"body of b", b"body 0f b"))
    typed = raw("cp", "-r", "raw/", "./in", status=8)
    assert "  raw/b: " in typed.stderr
    assert sorted(path.name for path in (folder / "in").iterdir()) == ["a", "c"]
    raw("bucket", "create", "archive")
    assert "copied 2 objects" in raw("cp", "-r", "raw/", "archive/", status=8).stderr


def test_cp_recursive_of_a_folder_skips_what_cannot_become_an_object(raw: Type, folder: Path) -> None:
    (folder / "tree" / ("d" * 250)).mkdir(parents=True)
    deep = folder / "tree" / ("d" * 250)
    for _ in range(3):
        deep = deep / ("d" * 250)
    deep.mkdir(parents=True)
    (deep / ("f" * 100)).write_text("the key would be longer than 1,024 bytes")
    (folder / "tree" / "z").write_text("z")
    typed = raw("cp", "-r", "./tree", "raw/", status=2)
    assert "copied 1 object" in typed.stderr
    assert "1024 bytes" in typed.stderr
    assert raw("ls", "-r", "raw").stdout == "z\n"


def test_cp_recursive_with_several_reasons_ends_with_1(raw: Type, folder: Path) -> None:
    for key in ("../x", "n" * 300, "ok"):
        raw("put", "-", f"raw/{key}", stdin=b"x")
    typed = raw("cp", "-r", "raw/", "./in", status=1)
    assert "skipped 2:" in typed.stderr
    assert "file name too long" in typed.stderr


def test_cp_recursive_from_or_to_a_bucket_that_is_not_there_copies_nothing(filled: Type) -> None:
    filled("cp", "-r", "none/", "./in", status=3)
    filled("cp", "-r", "raw/", "none/", status=3)


def test_cp_recursive_does_not_follow_links_in_its_destination(raw: Type, folder: Path) -> None:
    """The story: ``cp -r raw/ ./out/`` wrote through a symbolic link inside of out/, and so outside of it."""
    for key in ("a", "dead", "file", "link/a", "link/b/c", "sub/link/a", "z"):
        raw("put", "-", f"raw/{key}", stdin=b"new")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("old")
    (folder / "out" / "sub").mkdir(parents=True)
    (folder / "out" / "link").symlink_to(outside)
    (folder / "out" / "sub" / "link").symlink_to("../../outside")
    (folder / "out" / "file").symlink_to(outside / "kept")
    (folder / "out" / "dead").symlink_to(outside / "made")
    typed = raw("cp", "-r", "raw/", "./out/", status=2)
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "old"
    words = typed.stderr.splitlines()
    assert words[:2] == ["copied 2 objects to ./out/", "skipped 5:"]
    assert [line.split(": ")[0].strip() for line in words[2:]] == [
        f"raw/{key}" for key in ("dead", "file", "link/a", "link/b/c", "sub/link/a")
    ]
    assert all("symbolic link" in line for line in words[2:])
    assert ((folder / "out" / "a").read_text(), (folder / "out" / "z").read_text()) == ("new", "new")


def test_cp_recursive_into_a_link_that_was_named(raw: Type, folder: Path) -> None:
    raw("put", "-", "raw/a/b", stdin=b"x")
    (folder / "real").mkdir()
    (folder / "out").symlink_to("real")
    raw("cp", "-r", "raw/", "./out")
    assert (folder / "real" / "a" / "b").read_text() == "x"


def test_cp_recursive_leaves_alone_what_is_no_file(raw: Type, folder: Path) -> None:
    """The story: a named pipe in the destination held the copy up for as long as nobody read from it."""
    for key in ("folder", "ok", "pipe"):
        raw("put", "-", f"raw/{key}", stdin=b"x")
    (folder / "out" / "folder").mkdir(parents=True)
    os.mkfifo(folder / "out" / "pipe")
    typed = raw("cp", "-r", "raw/", "./out", status=2)
    assert "is a pipe or a device" in typed.stderr
    assert "is a folder" in typed.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["folder", "ok", "pipe"]


def test_cp_recursive_replaces_files_and_makes_folders(raw: Type, folder: Path) -> None:
    keys = ["a", "b/1", "b/2", "b/c/1", "b/c/d/1", "b/d", "c/1"]
    for key in keys:
        raw("put", "-", f"raw/{key}", stdin=key.encode())
    (folder / "out" / "b").mkdir(parents=True)
    (folder / "out" / "b" / "1").write_text("old")
    before = len(os.listdir("/proc/self/fd"))
    lines = raw("cp", "-r", "raw/", "./out", "--json").json_lines
    assert len(os.listdir("/proc/self/fd")) == before
    assert [line["file"] for line in lines] == [f"./out/{key}" for key in keys]
    assert {key: (folder / "out" / key).read_text() for key in keys} == {key: key for key in keys}
    assert len([path for path in (folder / "out").rglob("*") if path.is_file()]) == len(keys)


def test_cp_recursive_skips_names_with_control_characters(raw: Type, folder: Path) -> None:
    """The story: a key with ESC became a file whose name cleared the screen of whoever listed the folder."""
    raw("put", "-", "raw/a\x1b[2Jb", stdin=b"x")
    raw("put", "-", "raw/ok", stdin=b"x")
    typed = raw("cp", "-r", "raw/", "./out", status=2)
    assert "it holds a control character" in typed.stderr
    assert "\x1b" not in typed.stderr
    assert [path.name for path in (folder / "out").iterdir()] == ["ok"]
    raw("cp", "raw/a\x1b[2Jb", "./by-name")
    assert (folder / "by-name").read_text() == "x"


def without_override() -> None:
    """Let a process of root, too, write only where the mode of a folder says so."""
    pr_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def test_cp_recursive_into_a_folder_that_cannot_be_written_stops_at_once(raw: Type, start: Start, folder: Path) -> None:
    """The story: each of ten thousand objects was skipped by itself, since none could be written into the folder."""
    for key in ("a", "b", "c/d"):
        raw("put", "-", f"raw/{key}", stdin=b"x")
    (folder / "out").mkdir(mode=0o555)
    process = start("cp", "-r", "raw/", "./out", preexec_fn=without_override)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (11, b"", b"tickvault: ./out/a: permission denied\n")
    # A folder inside of it says nothing of the others.
    (folder / "out").chmod(0o755)
    (folder / "out" / "c").mkdir(mode=0o555)
    process = start("cp", "-r", "raw/", "./out", preexec_fn=without_override)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 11
    assert stderr.decode().splitlines() == [
        "copied 2 objects to ./out",
        "skipped 1:",
        "  raw/c/d: permission denied",
    ]
