"""Where objects and files are, as a command line names them."""

from __future__ import annotations

import os

import pytest

from tickvault.cli.get import parse_span
from tickvault.cli.options import parse_pairs
from tickvault.cli.places import Place, parse_object, parse_place, path_below
from tickvault.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("raw", Place("raw", "")),
        ("raw/", Place("raw", "")),
        ("raw/a", Place("raw", "a")),
        ("raw//a", Place("raw", "/a")),
        ("raw/a/../b", Place("raw", "a/../b")),
        ("raw/键", Place("raw", "键")),
    ],
)
def test_the_first_slash_parts_bucket_and_key(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "/", "/a"])
def test_a_place_without_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no bucket"):
        parse_place(text)


@pytest.mark.parametrize("text", ["raw", "raw/"])
def test_an_object_needs_a_key(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no object"):
        parse_object(text)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/", ".", "..", "", "a\0b", "a/./b"])
def test_a_key_never_leads_out_of_the_folder(name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot become a file"):
        path_below("folder", name)


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a/b\t/c", "\x7f", "\x9b2J"])
def test_a_name_cannot_steer_the_terminal(name: str) -> None:
    """The story: a key with ESC or a line break became a file name as it was."""
    with pytest.raises(InvalidInputError, match="control character") as caught:
        path_below("folder", name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "a/b/c", "..a", "a..", "...", "-", "~", "a b", "ä"])
def test_any_other_key_becomes_a_file(name: str) -> None:
    assert path_below("folder", name) == os.path.join("folder", *name.split("/"))


@pytest.mark.parametrize("text", ["1", "a:b", "5:3", "-1:3", "1:2:3", "٣:", "1-3", ""])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--range"):
        parse_span(text)


@pytest.mark.parametrize("pair", ["venue", "=XCME", ""])
def test_a_pair_needs_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(InvalidInputError, match="NAME=VALUE"):
        parse_pairs([pair], "--metadata")


def test_a_name_comes_once() -> None:
    with pytest.raises(InvalidInputError, match="twice"):
        parse_pairs(["a=1", "a=2"], "--tag")
