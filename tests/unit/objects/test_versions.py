"""Version ids, the null version, and delete markers, as S3 has them.

Source: Amazon S3 User Guide, "Working with objects in a versioning-enabled bucket", "... versioning-suspended bucket".
"""

from __future__ import annotations

import pytest

import tickvault as tv
from tickvault.objects import versions
from tickvault.objects.bucket import Bucket


def history(bucket: Bucket, key: str = "k") -> list[tuple[str, bool, bool]]:
    return [(item.version_id, item.delete_marker, item.is_latest) for item in bucket.versions(key)]


def test_without_versions_there_is_only_the_null_version(bucket: Bucket) -> None:
    for number in range(3):
        assert bucket.put("k", b"%d" % number).version_id == "null"
    assert history(bucket) == [("null", False, True)]
    assert bucket.get("k", version_id="null") == b"2"
    assert bucket.delete("k") == ("k", None, False, True)
    assert bucket.delete("k") == ("k", None, False, False)
    assert history(bucket) == []


def test_without_versions_the_null_version_can_be_named_for_deletion(bucket: Bucket) -> None:
    bucket.put("k", b"1")
    assert bucket.delete("k", version_id="null") == ("k", "null", False, True)
    assert history(bucket) == []


def test_ids_are_unique_over_buckets_and_ordered(vault: tv.Vault, versioned: Bucket) -> None:
    other = vault.create_bucket("other", versioning=True)
    infos = [target.put("k", b"x") for _ in range(5) for target in (versioned, other)]
    infos += versioned.put_many([("k", b"1"), ("k", b"2")])
    ids = [info.version_id for info in infos]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids
    assert all(len(version_id) == 16 for version_id in ids)
    with pytest.raises(tv.VersionNotFoundError):
        versioned.get("k", version_id=infos[1].version_id)
    with pytest.raises(tv.VersionNotFoundError):
        versioned.get("another", version_id=infos[0].version_id)


def test_what_was_there_before_versions_becomes_the_null_version(bucket: Bucket) -> None:
    bucket.put("k", b"old")
    bucket.set_versioning("enabled")
    new = bucket.put("k", b"new")
    assert history(bucket) == [(new.version_id, False, True), ("null", False, False)]
    assert bucket.get("k", version_id="null") == b"old"


def test_suspended_writes_replace_the_null_version_only(versioned: Bucket) -> None:
    kept = versioned.put("k", b"kept")
    versioned.set_versioning("suspended")
    for body in (b"null 1", b"null 2"):
        assert versioned.put("k", body).version_id == "null"
    assert history(versioned) == [("null", False, True), (kept.version_id, False, False)]
    versioned.set_versioning("enabled")
    newest = versioned.put("k", b"newest")
    assert [item[0] for item in history(versioned)] == [newest.version_id, "null", kept.version_id]
    versioned.set_versioning("suspended")
    versioned.put("k", b"null 3")
    assert [item[0] for item in history(versioned)] == ["null", newest.version_id, kept.version_id]
    assert versioned.get("k", version_id="null") == b"null 3"


def test_a_delete_makes_a_marker_even_of_nothing(versioned: Bucket) -> None:
    result = versioned.delete("k")
    assert result.delete_marker
    assert not result.existed
    assert history(versioned) == [(result.version_id, True, True)]
    assert list(versioned.list()) == []


def test_a_marker_hides_and_its_removal_brings_back(versioned: Bucket) -> None:
    info = versioned.put("k", b"1", tags={"a": "b"})
    marker = versioned.delete("k")
    with pytest.raises(tv.NotFoundError) as caught:
        versioned.get("k")
    assert caught.value.delete_marker  # type: ignore[attr-defined]
    assert caught.value.version_id == marker.version_id  # type: ignore[attr-defined]
    with pytest.raises(tv.NotFoundError) as caught:
        versioned.head("k", version_id=marker.version_id)
    assert caught.value.delete_marker  # type: ignore[attr-defined]
    assert not versioned.head("k", version_id=info.version_id).is_latest
    assert versioned.delete("k", version_id=marker.version_id) == ("k", marker.version_id, True, True)
    assert versioned.get("k") == b"1"
    assert versioned.head("k").is_latest
    assert versioned.get_tags("k") == {"a": "b"}


def test_removing_the_current_version_brings_the_one_before_back(versioned: Bucket) -> None:
    first, second, third = (versioned.put("k", b"%d" % number) for number in range(3))
    versioned.delete("k", version_id=second.version_id)
    versioned.delete("k", version_id=third.version_id)
    assert versioned.get("k") == b"0"
    assert history(versioned) == [(first.version_id, False, True)]
    versioned.delete("k", version_id=first.version_id)
    assert history(versioned) == []
    assert not versioned.delete("k", version_id=first.version_id).existed


def test_removing_down_to_a_marker_leaves_the_marker_latest(versioned: Bucket) -> None:
    marker = versioned.delete("k")
    info = versioned.put("k", b"1")
    versioned.delete("k", version_id=info.version_id)
    assert history(versioned) == [(marker.version_id, True, True)]
    with pytest.raises(tv.NotFoundError):
        versioned.get("k")


def test_while_suspended_a_delete_replaces_the_null_version_by_a_null_marker(versioned: Bucket) -> None:
    kept = versioned.put("k", b"kept")
    versioned.set_versioning("suspended")
    versioned.put("k", b"null")
    result = versioned.delete("k")
    assert (result.version_id, result.delete_marker) == ("null", True)
    assert history(versioned) == [("null", True, True), (kept.version_id, False, False)]
    versioned.delete("k")
    assert len(history(versioned)) == 2
    versioned.delete("k", version_id="null")
    assert versioned.get("k") == b"kept"


def test_tags_belong_to_a_version(versioned: Bucket) -> None:
    first = versioned.put("k", b"1", tags={"n": "1"})
    second = versioned.put("k", b"2", tags={"n": "2"})
    versioned.set_tags("k", {"n": "one"}, version_id=first.version_id)
    assert versioned.get_tags("k", version_id=first.version_id) == {"n": "one"}
    assert versioned.get_tags("k", version_id=second.version_id) == {"n": "2"}
    marker = versioned.delete("k")
    for version_id in (None, marker.version_id):
        with pytest.raises(tv.NotFoundError):
            versioned.set_tags("k", {}, version_id=version_id)


def test_tags_of_the_null_version_go_with_it(bucket: Bucket) -> None:
    bucket.put("k", b"1")
    bucket.set_tags("k", {"a": "b"})
    bucket.put("k", b"2")
    assert bucket.get_tags("k") == {}
    bucket.set_tags("k", {"c": "d"})
    bucket.delete("k")
    bucket.put("k", b"3")
    assert bucket.get_tags("k") == {}


def test_versions_of_a_key_are_not_those_of_a_longer_one(versioned: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_PAGE_LENGTH", 3)
    for key in ("k", "k\x01", "kk", "k/"):
        for number in range(10):
            versioned.put(key, b"%d" % number)
    for key in ("k", "k\x01", "kk", "k/"):
        found = list(versioned.versions(key))
        assert [versioned.get(key, version_id=item.version_id) for item in found] == [
            b"%d" % number for number in reversed(range(10))
        ]
        assert [item.is_latest for item in found] == [True] + [False] * 9
    assert list(versioned.versions("none")) == []


def test_versions_may_change_while_they_are_read(versioned: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_PAGE_LENGTH", 2)
    infos = [versioned.put("k", b"%d" % number) for number in range(6)][::-1]
    found = versioned.versions("k")
    seen = [next(found), next(found)]
    versioned.put("k", b"later")
    versioned.delete("k", version_id=infos[0].version_id)
    versioned.delete("k", version_id=infos[3].version_id)
    seen += found
    assert [item.version_id for item in seen] == [infos[number].version_id for number in (0, 1, 2, 4, 5)]
