"""Listing, looking, removing and copying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]

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
