"""Lifecycle rules do what S3's do: no more, not earlier, and never against a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine.commit import Change, Transaction
from tickvault.objects import lifecycle_walk
from tickvault.objects.bucket import Bucket
from tickvault.objects.entries import Kind
from tickvault.objects.lifecycle import BucketLifecycle, run_lifecycle, validate_lifecycle

DAY_NS = 86_400 * 10**9


def set_rules(bucket: Bucket, *rules: dict[str, Any]) -> None:
    numbered = [{"id": f"rule-{number}", "status": "Enabled", **rule} for number, rule in enumerate(rules)]
    validate_lifecycle({"rules": numbered})
    bucket.set_document("lifecycle", {"rules": numbered})


def run(bucket: Bucket) -> BucketLifecycle:
    (report,) = run_lifecycle(bucket.store).buckets
    assert report.bucket == bucket.name
    assert report.error is None
    return report


def keys(bucket: Bucket) -> list[str]:
    return [item.key for item in bucket.list()]  # type: ignore[union-attr]


# -- current versions


def test_days_end_at_midnight_not_at_the_hour(bucket: Bucket, clock: Any) -> None:
    bucket.put("a", b"12345")
    set_rules(bucket, {"expiration": {"days": 2}})
    clock.pass_days(2.49)
    assert run(bucket) == BucketLifecycle("raw")
    clock.pass_days(0.02)
    assert run(bucket) == BucketLifecycle("raw", expired_count=1, removed_size_bytes=5)
    assert keys(bucket) == []


def test_a_date_expires_everything_from_then_on(bucket: Bucket, clock: Any) -> None:
    bucket.put("old", b"")
    set_rules(bucket, {"expiration": {"date": "2024-10-05T00:00:00Z"}})
    assert clock.time_ns == 20_000 * DAY_NS + DAY_NS // 2  # 2024-10-04 at noon
    assert run(bucket).expired_count == 0
    clock.pass_days(0.5)
    bucket.put("new", b"")
    assert run(bucket).expired_count == 2


def test_a_bucket_with_versions_gets_a_marker_and_keeps_the_bytes(versioned: Bucket, clock: Any) -> None:
    info = versioned.put("a", b"12345")
    set_rules(versioned, {"expiration": {"days": 1}})
    clock.pass_days(2)
    assert run(versioned) == BucketLifecycle("kept", marker_made_count=1)
    assert keys(versioned) == []
    assert versioned.get("a", version_id=info.version_id) == b"12345"
    assert run(versioned).marker_made_count == 0


def test_where_versions_are_suspended_the_null_version_is_replaced(versioned: Bucket, clock: Any) -> None:
    kept = versioned.put("a", b"kept")
    versioned.set_versioning("suspended")
    versioned.put("a", b"null version")
    set_rules(versioned, {"expiration": {"days": 1}})
    clock.pass_days(2)
    assert run(versioned) == BucketLifecycle("kept", marker_made_count=1, removed_size_bytes=12)
    assert [(item.version_id, item.delete_marker) for item in versioned.versions("a")] == [
        ("null", True),
        (kept.version_id, False),
    ]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"prefix": "logs/"}, {"logs/small", "logs/tagged"}),
        ({"tags": {"tier": "cold"}}, {"logs/tagged", "data/tagged"}),
        ({"tags": {"tier": "cold", "owner": "x"}}, {"data/tagged"}),
        ({"size_greater_than": 3}, {"data/large"}),
        ({"size_less_than": 3}, {"data/empty"}),
        ({"size_greater_than": 0, "size_less_than": 4}, {"logs/small", "logs/tagged", "data/tagged"}),
        ({"prefix": "data/", "tags": {"tier": "cold"}, "size_less_than": 4}, {"data/tagged"}),
        ({}, {"logs/small", "logs/tagged", "data/tagged", "data/large", "data/empty"}),
    ],
)
def test_all_conditions_of_a_filter_must_hold(
    bucket: Bucket, clock: Any, condition: dict[str, Any], expected: set[str]
) -> None:
    bucket.put("logs/small", b"123")
    bucket.put("logs/tagged", b"123", tags={"tier": "cold"})
    bucket.put("data/tagged", b"123")
    bucket.set_tags("data/tagged", {"tier": "cold", "owner": "x"})
    bucket.put("data/large", b"12345", tags={"tier": "hot"})
    bucket.put("data/empty", b"")
    before = set(keys(bucket))
    set_rules(bucket, {"filter": condition, "expiration": {"days": 1}})
    clock.pass_days(3)
    assert run(bucket).expired_count == len(expected)
    assert before - set(keys(bucket)) == expected


def test_several_rules_each_do_their_part(bucket: Bucket, clock: Any) -> None:
    for key in ("a/1", "a/b/1", "c/1", "d/1"):
        bucket.put(key, b"1")
    set_rules(
        bucket,
        {"filter": {"prefix": "a/b/"}, "expiration": {"days": 1}},
        {"filter": {"prefix": "a/"}, "expiration": {"days": 5}},
        {"filter": {"prefix": "c/"}, "expiration": {"days": 1}},
        {"filter": {"prefix": "d/"}, "expiration": {"days": 1}, "status": "Disabled"},
    )
    clock.pass_days(3)
    assert run(bucket).expired_count == 2
    assert keys(bucket) == ["a/1", "d/1"]
    clock.pass_days(5)
    assert run(bucket).expired_count == 1


def test_many_objects_go_page_by_page(bucket: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_walk, "_PAGE_LENGTH", 7)
    monkeypatch.setattr(lifecycle_walk, "_BATCH_LENGTH", 3)
    bucket.put_many([(f"k{number:03}", b"x") for number in range(50)])
    clock.pass_days(3)
    bucket.put_many([(f"k{number:03}", b"x") for number in range(0, 50, 5)])
    set_rules(bucket, {"expiration": {"days": 1}})
    assert run(bucket).expired_count == 40
    assert keys(bucket) == [f"k{number:03}" for number in range(0, 50, 5)]


# -- noncurrent versions


def noncurrent(days: int, newer: int | None = None, **more: Any) -> dict[str, Any]:
    action = {"noncurrent_days": days} | ({} if newer is None else {"newer_noncurrent_versions": newer})
    return {"noncurrent_version_expiration": action, **more}


def test_noncurrent_days_count_from_the_successor(versioned: Bucket, clock: Any) -> None:
    versioned.put("a", b"first")
    clock.pass_days(100)
    versioned.put("a", b"second")
    set_rules(versioned, noncurrent(2))
    clock.pass_days(2.4)
    assert run(versioned).noncurrent_removed_count == 0
    clock.pass_days(0.2)
    assert run(versioned) == BucketLifecycle("kept", noncurrent_removed_count=1, removed_size_bytes=5)
    assert [item.size for item in versioned.versions("a")] == [6]


def test_a_delete_marker_is_a_successor_too(versioned: Bucket, clock: Any) -> None:
    versioned.put("a", b"first")
    clock.pass_days(50)
    versioned.delete("a")
    set_rules(versioned, noncurrent(1))
    assert run(versioned).noncurrent_removed_count == 0
    clock.pass_days(2)
    assert run(versioned).noncurrent_removed_count == 1
    # The current marker is not noncurrent, and no rule speaks of markers.
    assert [item.delete_marker for item in versioned.versions("a")] == [True]


@pytest.mark.parametrize("page_length", [2, 3, 1000])
def test_the_newest_noncurrent_versions_are_retained(
    versioned: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch, page_length: int
) -> None:
    monkeypatch.setattr(lifecycle_walk, "_PAGE_LENGTH", page_length)
    for key in ("a", "b"):
        for number in range(6):
            versioned.put(key, b"%d" % number)
    versioned.put("c", b"only one")
    versioned.put("deleted", b"0")
    versioned.put("deleted", b"1")
    versioned.delete("deleted")
    set_rules(versioned, noncurrent(1, 2))
    clock.pass_days(3)
    assert run(versioned).noncurrent_removed_count == 6
    for key in ("a", "b"):
        found = list(versioned.versions(key))
        assert [versioned.get(key, version_id=item.version_id) for item in found] == [b"5", b"4", b"3"]
    assert len(list(versioned.versions("deleted"))) == 3
    assert run(versioned).noncurrent_removed_count == 0


def test_filters_look_at_the_noncurrent_version_itself(versioned: Bucket, clock: Any) -> None:
    versioned.put("a", b"cold", tags={"tier": "cold"})
    versioned.put("a", b"hot", tags={"tier": "hot"})
    versioned.put("a", b"current", tags={"tier": "cold"})
    set_rules(versioned, noncurrent(1, filter={"tags": {"tier": "cold"}}))
    clock.pass_days(3)
    assert run(versioned).noncurrent_removed_count == 1
    assert [item.size for item in versioned.versions("a")] == [7, 3]


def test_markers_have_neither_tags_nor_size(versioned: Bucket, clock: Any) -> None:
    versioned.put("a", b"1")
    versioned.delete("a")
    versioned.put("a", b"22")
    set_rules(versioned, noncurrent(1, filter={"size_less_than": 100}))
    clock.pass_days(3)
    assert run(versioned).noncurrent_removed_count == 1
    assert [item.delete_marker for item in versioned.versions("a")] == [False, True]


# -- delete markers


def test_a_marker_alone_is_removed(versioned: Bucket, clock: Any) -> None:
    versioned.delete("alone")
    versioned.put("hiding", b"1")
    versioned.delete("hiding")
    set_rules(versioned, {"expiration": {"expired_object_delete_marker": True}})
    assert run(versioned) == BucketLifecycle("kept", marker_removed_count=1)
    assert list(versioned.versions("alone")) == []
    assert len(list(versioned.versions("hiding"))) == 2


def test_a_marker_alone_expires_with_days_too(versioned: Bucket, clock: Any) -> None:
    versioned.delete("alone")
    set_rules(versioned, {"expiration": {"days": 3}})
    clock.pass_days(3)
    assert run(versioned).marker_removed_count == 0
    clock.pass_days(1)
    assert run(versioned).marker_removed_count == 1


def test_the_last_version_and_its_marker_go_in_one_run(versioned: Bucket, clock: Any) -> None:
    versioned.put("a", b"1")
    versioned.delete("a")
    set_rules(versioned, noncurrent(1, expiration={"expired_object_delete_marker": True}))
    clock.pass_days(3)
    report = run(versioned)
    assert (report.noncurrent_removed_count, report.marker_removed_count) == (1, 1)
    assert versioned.list_versions_page().versions == []


def test_two_markers_are_not_alone(versioned: Bucket) -> None:
    versioned.delete("a")
    versioned.delete("a")
    set_rules(versioned, {"expiration": {"expired_object_delete_marker": True}})
    assert run(versioned).marker_removed_count == 0


# -- uploads


def test_unfinished_uploads_are_aborted(bucket: Bucket, clock: Any) -> None:
    old = bucket.create_upload("in/old")
    bucket.put_part("in/old", old.upload_id, 1, b"x" * 100)
    bucket.put_part("in/old", old.upload_id, 2, b"x" * 50)
    other = bucket.create_upload("out/old")
    clock.pass_days(5)
    new = bucket.create_upload("in/new")
    set_rules(bucket, {"filter": {"prefix": "in/"}, "abort_incomplete_multipart_upload": {"days_after_initiation": 3}})
    assert run(bucket) == BucketLifecycle("raw", upload_aborted_count=1, removed_size_bytes=150)
    left = bucket.list_uploads_page().uploads
    assert [item.upload_id for item in left] == [new.upload_id, other.upload_id]
    with pytest.raises(tv.UploadNotFoundError):
        bucket.put_part("in/old", old.upload_id, 3, b"late")


# -- what happens meanwhile


def meanwhile(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], method: str = "_remove_batch"
) -> None:
    """Let `change` happen between the look and the commit of a run."""
    original = getattr(lifecycle_walk.BucketWalk, method)

    def changed_first(self: Any, batch: Any, removal: Any) -> None:
        nonlocal original
        monkeypatch.setattr(lifecycle_walk.BucketWalk, method, original)
        change()
        original(self, batch, removal)

    monkeypatch.setattr(lifecycle_walk.BucketWalk, method, changed_first)


def test_an_object_overwritten_meanwhile_stays(bucket: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a", b"old")
    bucket.put("b", b"old")
    set_rules(bucket, {"expiration": {"days": 1}})
    clock.pass_days(3)
    meanwhile(bucket, monkeypatch, lambda: bucket.put("a", b"old"))
    report = run(bucket)
    assert (report.expired_count, report.changed_count) == (1, 1)
    assert keys(bucket) == ["a"]


def test_tags_changed_meanwhile_count(bucket: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a", b"", tags={"tier": "cold"})
    bucket.put("b", b"")
    bucket.set_tags("b", {"tier": "cold"})
    set_rules(bucket, {"filter": {"tags": {"tier": "cold"}}, "expiration": {"days": 1}})
    clock.pass_days(3)
    meanwhile(bucket, monkeypatch, lambda: (bucket.set_tags("a", {}), bucket.set_tags("b", {"tier": "hot"})))
    assert run(bucket).changed_count == 2
    assert keys(bucket) == ["a", "b"]


def test_a_version_that_became_current_meanwhile_stays(
    versioned: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor goes, it is current again, and noncurrent again by a put of today."""
    first = versioned.put("a", b"1")
    second = versioned.put("a", b"2")
    set_rules(versioned, noncurrent(1))
    clock.pass_days(3)

    def change() -> None:
        versioned.delete("a", version_id=second.version_id)
        versioned.put("a", b"3")

    meanwhile(versioned, monkeypatch, change)
    assert run(versioned).changed_count == 1
    assert versioned.get("a", version_id=first.version_id) == b"1"


def test_retention_counts_what_is_there_at_the_commit(
    versioned: Bucket, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [versioned.put("a", b"%d" % number) for number in range(4)]
    set_rules(versioned, noncurrent(1, 2))
    clock.pass_days(3)
    meanwhile(versioned, monkeypatch, lambda: versioned.delete("a", version_id=infos[2].version_id))
    assert run(versioned).changed_count == 1
    assert len(list(versioned.versions("a"))) == 3


def test_a_marker_that_hides_something_meanwhile_stays(versioned: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    versioned.delete("a")
    set_rules(versioned, {"expiration": {"expired_object_delete_marker": True}})
    meanwhile(versioned, monkeypatch, lambda: versioned.put("a", b"1"))
    assert run(versioned).changed_count == 1
    assert len(list(versioned.versions("a"))) == 2


def test_a_guard_refuses_and_the_run_goes_on(bucket: Bucket, versioned: Bucket, clock: Any) -> None:
    """An object lock will stand where this guard stands."""
    bucket.put_many([("a", b"1"), ("locked", b"22"), ("z", b"333")])
    versioned.put("locked", b"1")
    versioned.put("locked", b"2")
    versioned.delete("locked/marker")
    versioned.create_upload("locked")
    rules = {"expiration": {"days": 1}, "abort_incomplete_multipart_upload": {"days_after_initiation": 1}}
    set_rules(bucket, {**rules, **noncurrent(1)})
    set_rules(versioned, {**rules, **noncurrent(1)})
    clock.pass_days(3)
    asked: list[int] = []

    def guard(txn: Transaction, change: Change) -> None:
        if change.key.startswith(b"locked"):
            asked.append(change.kind)
            raise tv.LockedError(f"{change.key!r} is locked")

    bucket.store.engine.guards.append(guard)
    kept, raw = run_lifecycle(bucket.store).buckets
    assert raw == BucketLifecycle("raw", expired_count=2, removed_size_bytes=4, refused_count=1)
    assert kept == BucketLifecycle("kept", refused_count=4)
    assert keys(bucket) == ["locked"]
    assert asked == [Kind.DELETE_MARKER, Kind.REMOVE, Kind.REMOVE, Kind.UPLOAD_REMOVE, Kind.REMOVE]


def test_a_wrong_document_stops_only_its_own_bucket(bucket: Bucket, versioned: Bucket, clock: Any) -> None:
    bucket.put("a", b"1")
    set_rules(bucket, {"expiration": {"days": 1}})
    versioned.set_document("lifecycle", {"rules": [{"status": "Enabled", "expiration": {"weeks": 1}}]})
    clock.pass_days(3)
    kept, raw = run_lifecycle(bucket.store).buckets
    assert kept.error is not None
    assert "weeks" in kept.error
    assert raw.expired_count == 1


def test_progress_and_totals(bucket: Bucket, versioned: Bucket, clock: Any) -> None:
    for one in (bucket, versioned):
        one.put("a", b"1")
        set_rules(one, {"expiration": {"days": 1}})
    told: list[tuple[int, int, str]] = []
    now_ns = clock.time_ns + 3 * DAY_NS
    report = run_lifecycle(bucket.store, now_ns, lambda *seen: told.append(seen))
    assert told == [(0, 2, "buckets"), (1, 2, "buckets"), (2, 2, "buckets")]
    assert report.now_ns == now_ns
    assert report.change_count == 2


def test_the_rules_survive_a_reopening_and_a_rebuild(bucket: Bucket, vault: tv.Vault, clock: Any) -> None:
    bucket.put("a", b"1")
    set_rules(bucket, {"expiration": {"days": 1}})
    vault.close()
    tv.vault.rebuild_index(vault.path)
    clock.pass_days(3)
    with tv.open(vault.path, clock=clock) as again:
        assert run(again["raw"]).expired_count == 1
    tv.vault.rebuild_index(vault.path)
    with tv.open(vault.path, clock=clock) as again:
        assert keys(again["raw"]) == []
