"""Listings are in the byte order of the keys, whatever the keys are, and pages neither repeat nor leave out."""

from __future__ import annotations

import random
from typing import Any

import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket

TRICKY = [
    "a",
    "a\x01",
    "a ",
    "a!",
    "a-",
    "a.",
    "a/",
    "a//",
    "a/b",
    "a/b/",
    "a/b/c",
    "a0",
    "aa",
    "ab",
    "b",
    "é",
    "z",
    "~",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ufffd",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    " ",
    "/",
    "//",
    "%2F",
    "x" * 1023,
    "x" * 1024,
    "x" * 1023 + "/",
    "日本/東京",
    "日本/",
]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    shuffled = TRICKY.copy()
    random.Random(5).shuffle(shuffled)
    bucket.put_many([(key, key.encode()) for key in shuffled[::2]])
    # One half comes from `index`, the other from `recent`.
    bucket.store.engine.checkpoint()
    bucket.put_many([(key, key.encode()) for key in shuffled[1::2]])
    return bucket


def names(items: Any) -> list[str]:
    return [item if isinstance(item, str) else item.key for item in items]


def paged(bucket: Bucket, limit: int, **arguments: str) -> list[str]:
    found: list[str] = []
    while True:
        page = bucket.list_page(limit=limit, **arguments)
        assert len(page.objects) + len(page.common_prefixes) <= limit
        found += sorted([*names(page.objects), *page.common_prefixes], key=str.encode)
        if page.next_start_after is None:
            return found
        assert len(page.objects) + len(page.common_prefixes) == limit
        arguments["start_after"] = page.next_start_after


def test_the_order_is_that_of_the_bytes(filled: Bucket) -> None:
    assert names(filled.list()) == sorted(TRICKY, key=str.encode)


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
@pytest.mark.parametrize("delimiter", ["", "/", "//", "本", "x"])
def test_pages_add_up_to_the_whole(filled: Bucket, limit: int, delimiter: str) -> None:
    assert paged(filled, limit, delimiter=delimiter) == names(filled.list(delimiter=delimiter))


@pytest.mark.parametrize(
    ("prefix", "delimiter", "expected"),
    [
        ("a", "/", ["a", "a\x01", "a ", "a!", "a-", "a.", "a/", "a0", "aa", "ab"]),
        ("a/", "/", ["a/", "a//", "a/b", "a/b/"]),
        ("a/b", "/", ["a/b", "a/b/"]),
        ("a/b/", "/", ["a/b/", "a/b/c"]),
        ("a//", "/", ["a//"]),
        ("", "a", ["/", "//", " ", "%2F", "a"]),
        ("日", "/", ["日本/"]),
        ("日本/", "/", ["日本/", "日本/東京"]),
        ("none", "/", []),
        ("x" * 1024, "/", ["x" * 1024]),
        ("x" * 1025, "", []),
        ("/", "/", ["/", "//"]),
    ],
)
def test_prefix_and_delimiter(filled: Bucket, prefix: str, delimiter: str, expected: list[str]) -> None:
    found = names(filled.list(prefix=prefix, delimiter=delimiter))
    if not prefix:
        found = found[:5]
        expected = sorted(expected, key=str.encode)
    assert found == expected


def test_a_common_prefix_is_a_str_and_an_object_an_info(bucket: Bucket) -> None:
    bucket.put_many([("d/1", b""), ("d/2", b""), ("e", b"123")])
    prefix, info = bucket.list(delimiter="/")
    assert prefix == "d/"
    assert isinstance(info, tv.ObjectInfo)
    assert (info.key, info.size) == ("e", 3)


@pytest.mark.parametrize(
    ("start_after", "expected"),
    [
        ("", ["a/", "b", "c/"]),
        ("a", ["a/", "b", "c/"]),
        ("a/", ["b", "c/"]),
        ("a/1", ["a/", "b", "c/"]),
        ("a/2", ["b", "c/"]),
        ("b", ["c/"]),
        ("c/", []),
        ("zzz", []),
    ],
)
def test_start_after(bucket: Bucket, start_after: str, expected: list[str]) -> None:
    """A common prefix stands for all its keys; a key under it does not."""
    bucket.put_many([(key, b"") for key in ("a/1", "a/2", "b", "c/1")])
    assert names(bucket.list(delimiter="/", start_after=start_after)) == expected


def test_a_marker_shorter_than_the_delimiter(versioned: Bucket) -> None:
    """A marker one byte shorter than the delimiter was once taken for a common prefix, and its versions left out."""
    old = versioned.put("a/b/c", b"1")
    new = versioned.put("a/b/c", b"2")
    versioned.put("a/b/c!", b"3")
    page = versioned.list_versions_page(key_marker="a/b/c", version_id_marker=new.version_id, delimiter="日本")
    assert page.versions[0].version_id == old.version_id
    assert names(versioned.list(start_after="a/b/c", delimiter="日本")) == ["a/b/c!"]


def test_limits(filled: Bucket) -> None:
    assert filled.list_page(limit=0).objects == []
    for limit in (-1, 100_001):
        for verb in (filled.list_page, filled.list_versions_page, filled.list_uploads_page):
            with pytest.raises(tv.InvalidInputError, match="limit"):
                verb(limit=limit)
    assert filled.list_page(limit=len(TRICKY)).next_start_after is None


def test_a_common_prefix_costs_one_seek(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from tickvault.engine import index

    bucket.put_many([(f"{letter}/{number:04}", b"") for letter in "abc" for number in range(1000)])
    bucket.store.engine.checkpoint()
    seen = 0
    original = index.MergedScan.__call__

    def counted(self: Any, start: bytes, end: bytes) -> Any:
        nonlocal seen
        for item in original(self, start, end):
            seen += 1
            yield item

    monkeypatch.setattr(index.MergedScan, "__call__", counted)
    assert names(bucket.list(delimiter="/")) == ["a/", "b/", "c/"]
    assert seen < 10


def test_a_listing_reads_current_keys_only(versioned: Bucket) -> None:
    for number in range(3):
        versioned.put("k", b"%d" % number)
    versioned.put("deleted", b"")
    versioned.delete("deleted")
    assert names(versioned.list()) == ["k"]


def test_a_listing_may_be_read_while_keys_change(bucket: Bucket) -> None:
    bucket.put_many([(f"k{number:05}", b"") for number in range(2500)])
    seen = []
    for number, item in enumerate(bucket.list()):
        seen.append(item.key)  # type: ignore[union-attr]
        if number % 100 == 0:
            bucket.delete(f"k{number:05}")
            bucket.put(f"a{number}", b"")
    assert seen == [f"k{number:05}" for number in range(2500)]


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_versions_page_by_key_then_newest_first(versioned: Bucket, limit: int) -> None:
    for key in ("a", "a/b", "a\x01", "é"):
        for number in range(3):
            versioned.put(key, b"%d" % number)
    versioned.delete("a")
    versioned.set_versioning("suspended")
    versioned.put("é", b"null")
    found = []
    markers: dict[str, str] = {}
    while True:
        page = versioned.list_versions_page(limit=limit, **markers)
        found += [(item.key, item.sequence, item.is_latest) for item in page.versions]
        if page.next_key_marker is None:
            break
        assert len(page.versions) == limit
        markers = {"key_marker": page.next_key_marker, "version_id_marker": page.next_version_id_marker or ""}
    assert found == sorted(found, key=lambda item: (item[0].encode(), -item[1]))
    assert len(found) == 14
    assert [item[2] for item in found].count(True) == 4


def test_a_version_marker_needs_a_key_marker(versioned: Bucket) -> None:
    with pytest.raises(tv.InvalidInputError, match="key_marker"):
        versioned.list_versions_page(version_id_marker="null")
    with pytest.raises(tv.InvalidInputError, match="no version id"):
        versioned.list_versions_page(key_marker="a", version_id_marker="nonsense")


def test_a_version_marker_that_is_gone_repeats_nothing_before_it(versioned: Bucket) -> None:
    infos = [versioned.put("a", b"%d" % number) for number in range(4)][::-1]
    page = versioned.list_versions_page(limit=2)
    versioned.delete("a", version_id=infos[1].version_id)
    rest = versioned.list_versions_page(
        key_marker=page.next_key_marker or "", version_id_marker=page.next_version_id_marker or ""
    )
    assert [item.version_id for item in rest.versions] == [info.version_id for info in infos[2:]]
