"""Names keep S3's rules, and a broken rule is told with the name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b.c", "1abc", "a" * 63, "my-bucket.2024"])
def test_bucket_names_that_s3_takes(vault: tv.Vault, name: str) -> None:
    assert vault.create_bucket(name).name == name
    assert name in vault


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 64,
        "Abc",
        "a_b",
        "-abc",
        "abc-",
        ".abc",
        "abc.",
        "a..b",
        "a.-b",
        "a-.b",
        "192.168.1.1",
        "xn--abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc\n",
        "été",
        "a/b",
        "../abc",
        None,
        7,
    ],
)
def test_bucket_names_that_s3_refuses(vault: tv.Vault, name: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match="bucket name"):
        vault.create_bucket(name)
    assert vault.buckets() == []


@pytest.mark.parametrize(
    "key",
    ["a", "/", "//", " ", "a b", ".", "..", "../x", "é", "日本", "\U0010ffff", "\x01", "a\nb", "x" * 1024, "é" * 512],
)
def test_any_key_of_1_to_1024_bytes_is_kept_as_it_is(bucket: Bucket, key: str) -> None:
    bucket.put(key, key.encode())
    assert bucket.get(key) == key.encode()
    assert [item.key for item in bucket.list()] == [key]  # type: ignore[union-attr]
    assert [item.key for item in bucket.versions(key)] == [key]
    assert bucket.delete(key).existed


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "1 to 1024 bytes"),
        ("x" * 1025, "this one is 1025 bytes"),
        ("é" * 513, "this one is 1026 bytes"),
        ("a\0b", "NUL"),
        ("\ud800", "not valid Unicode"),
        (b"bytes", "a str, not bytes"),
        (None, "a str, not NoneType"),
    ],
)
def test_keys_that_are_refused_by_every_verb(bucket: Bucket, key: Any, words: str) -> None:
    verbs: list[Callable[[], object]] = [
        lambda: bucket.put(key, b""),
        lambda: bucket.put_many([("good", b""), (key, b"")]),
        lambda: bucket.open_writer(key),
        lambda: bucket.get(key),
        lambda: bucket.get_many([key]),
        lambda: bucket.get_ranges(key, [(0, 1)]),
        lambda: bucket.head(key),
        lambda: bucket.delete(key),
        lambda: bucket.copy("good", key),
        lambda: bucket.copy(key, "good"),
        lambda: bucket.get_tags(key),
        lambda: bucket.set_tags(key, {}),
        lambda: bucket.create_upload(key),
        lambda: list(bucket.versions(key)),
    ]
    bucket.put("good", b"")
    for verb in verbs:
        with pytest.raises(tv.InvalidInputError, match=words):
            verb()
    assert isinstance(bucket.delete_many([key])[0], tv.InvalidInputError)
    assert [item.key for item in bucket.list()] == ["good"]  # type: ignore[union-attr]


@pytest.mark.parametrize("argument", ["prefix", "delimiter", "start_after"])
def test_a_listing_refuses_what_no_key_can_hold(bucket: Bucket, argument: str) -> None:
    with pytest.raises(tv.InvalidInputError):
        list(bucket.list(**{argument: "\ud800"}))


def test_metadata_has_lower_case_names_and_2_kib(bucket: Bucket) -> None:
    bucket.put("a", b"", metadata={"Venue": "XCME", "x": "é"})
    assert bucket.head("a").metadata == {"venue": "XCME", "x": "é"}
    bucket.put("a", b"", metadata={"n": "v" * 2047})
    with pytest.raises(tv.InvalidInputError, match="2049 bytes; at most 2048"):
        bucket.put("a", b"", metadata={"n": "v" * 2048})
    for wrong in ({"": "v"}, {"n": 1}, {1: "v"}):
        with pytest.raises(tv.InvalidInputError, match="metadata maps"):
            bucket.put("a", b"", metadata=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "tags",
    [
        {str(number): "" for number in range(11)},
        {"": "v"},
        {"k" * 129: "v"},
        {"k": "v" * 257},
        {"aws:k": "v"},
        {"AWS:k": "v"},
        {"k": 1},
        {1: "v"},
    ],
)
def test_tags_beyond_the_limits_are_refused(bucket: Bucket, tags: Any) -> None:
    bucket.put("a", b"", tags={"k": "v"})
    for verb in (
        lambda: bucket.put("a", b"", tags=tags),
        lambda: bucket.set_tags("a", tags),
        lambda: bucket.create_upload("a", tags=tags),
        lambda: bucket.copy("a", "b", tags=tags),
    ):
        with pytest.raises(tv.InvalidInputError, match="tag"):
            verb()
    assert bucket.get_tags("a") == {"k": "v"}


def test_tags_at_the_limits_are_kept(bucket: Bucket) -> None:
    tags = {f"{number}{'k' * 127}": "v" * 256 for number in range(10)}
    bucket.put("a", b"", tags=tags)
    assert bucket.get_tags("a") == tags
    bucket.put("b", b"")
    assert bucket.set_tags("b", tags).tag_count == 10
    assert bucket.set_tags("b", {}).tag_count == 0


@pytest.mark.parametrize("data", ["text", None, 3, 1.5, ["a"]])
def test_data_that_is_no_buffer_is_refused(bucket: Bucket, data: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match="data"):
        bucket.put("a", data)


@pytest.mark.parametrize("value", ["on", "", None, "Enabled"])
def test_settings_name_what_they_take(bucket: Bucket, vault: tv.Vault, value: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match="versioning is"):
        bucket.set_versioning(value)
    with pytest.raises(tv.InvalidInputError, match="durability is"):
        bucket.set_durability(value)
    with pytest.raises(tv.InvalidInputError, match="durability is"):
        vault.create_bucket("other", durability=value)


@pytest.mark.parametrize(
    "version_id",
    [
        "",
        "x",
        "null ",
        "0" * 15,
        "0" * 17,
        "-000000000000001",
        "+000000000000001",
        "0x00000000000001",
        " 00000000000001",
    ],
)
def test_a_version_id_that_is_none_of_ours_is_just_not_there(versioned: Bucket, version_id: str) -> None:
    versioned.put("a", b"1")
    for verb in (versioned.get, versioned.head, versioned.get_tags):
        with pytest.raises(tv.VersionNotFoundError):
            verb("a", version_id=version_id)
    assert not versioned.delete("a", version_id=version_id).existed


def test_a_version_id_has_one_spelling(versioned: Bucket) -> None:
    info = next(versioned.put("a", b"1") for _ in range(10))
    while info.version_id == info.version_id.upper():
        info = versioned.put("a", b"1")
    with pytest.raises(tv.VersionNotFoundError):
        versioned.get("a", version_id=info.version_id.upper())
