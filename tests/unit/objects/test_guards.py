"""Every change passes the guards, and one that a guard refuses leaves nothing changed.

Object locks will stand there: a change that is not asked for is a hole in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine.commit import Change, Transaction
from tickvault.objects.bucket import Bucket
from tickvault.objects.entries import Kind
from tickvault.objects.lifecycle import run_lifecycle

DAY_NS = 86_400 * 10**9


class Guarded:
    """A bucket with something of everything in it."""

    def __init__(self, vault: tv.Vault, bucket: Bucket) -> None:
        self.vault = vault
        self.bucket = bucket
        self.old = bucket.put("k", b"old", tags={"a": "b"})
        self.new = bucket.put("k", b"new")
        self.upload = bucket.create_upload("up")
        self.part = bucket.put_part("up", self.upload.upload_id, 1, b"part")
        bucket.set_document(
            "lifecycle",
            {"rules": [{"status": "Enabled", "noncurrent_version_expiration": {"noncurrent_days": 1}}]},
        )
        vault.create_bucket("empty")

    def state(self) -> Any:
        page = self.bucket.list_versions_page()
        tags = [self.bucket.get_tags(item.key, version_id=item.version_id) for item in page.versions]
        uploads = self.bucket.list_uploads_page()
        parts = self.bucket.list_parts_page("up", self.upload.upload_id)
        return page, tags, uploads, parts, self.vault.buckets(), self.vault.store.engine.tail()


@pytest.fixture
def guarded(vault: tv.Vault, versioned: Bucket) -> Guarded:
    return Guarded(vault, versioned)


CHANGES: dict[str, tuple[Callable[[Guarded], Any], Kind]] = {
    "put": (lambda g: g.bucket.put("k", b"x"), Kind.PUT),
    "put large": (lambda g: g.bucket.put("k", b"x" * 300_000), Kind.PUT),
    "put many": (lambda g: g.bucket.put_many([("a", b"1"), ("b", b"2")]), Kind.PUT),
    "put conditional": (lambda g: g.bucket.put("fresh", b"x", if_none_match="*"), Kind.PUT),
    "delete marker": (lambda g: g.bucket.delete("k"), Kind.DELETE_MARKER),
    "delete version": (lambda g: g.bucket.delete("k", version_id=g.old.version_id), Kind.REMOVE),
    "delete current version": (lambda g: g.bucket.delete("k", version_id=g.new.version_id), Kind.REMOVE),
    "tags": (lambda g: g.bucket.set_tags("k", {"c": "d"}), Kind.ATTRIBUTES),
    "tags of a version": (lambda g: g.bucket.set_tags("k", {}, version_id=g.old.version_id), Kind.ATTRIBUTES),
    "headers": (lambda g: g.bucket.set_headers("k", {"x-amz-acl": "private"}), Kind.ATTRIBUTES),
    "copy": (lambda g: g.bucket.copy("k", "copy"), Kind.PUT),
    "copy onto itself": (lambda g: g.bucket.copy("k", "k", metadata={"n": "1"}), Kind.PUT),
    "create upload": (lambda g: g.bucket.create_upload("up"), Kind.UPLOAD),
    "part": (lambda g: g.bucket.put_part("up", g.upload.upload_id, 2, b"2"), Kind.PART),
    "complete": (
        lambda g: g.bucket.complete_upload("up", g.upload.upload_id, [(1, g.part.etag)]),
        Kind.PUT,
    ),
    "complete, at its second record": (
        lambda g: g.bucket.complete_upload("up", g.upload.upload_id, [(1, g.part.etag)]),
        Kind.UPLOAD_REMOVE,
    ),
    "abort": (lambda g: g.bucket.abort_upload("up", g.upload.upload_id), Kind.UPLOAD_REMOVE),
    "versioning": (lambda g: g.bucket.set_versioning("suspended"), Kind.BUCKET),
    "durability": (lambda g: g.bucket.set_durability("relaxed"), Kind.BUCKET),
    "document": (lambda g: g.bucket.set_document("cors", {}), Kind.BUCKET),
    "create bucket": (lambda g: g.vault.create_bucket("another"), Kind.BUCKET),
    "delete bucket": (lambda g: g.vault.delete_bucket("empty"), Kind.BUCKET_REMOVE),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_refused_change_leaves_nothing(guarded: Guarded, name: str) -> None:
    change, kind = CHANGES[name]
    asked: list[Change] = []

    def guard(txn: Transaction, seen: Change) -> None:
        asked.append(seen)
        if seen.kind == kind:
            raise tv.LockedError("locked until 2031-01-01")

    before = guarded.state()
    guarded.vault.store.engine.guards.append(guard)
    with pytest.raises(tv.LockedError, match="2031"):
        change(guarded)
    guarded.vault.store.engine.guards.clear()
    assert asked[-1].kind == kind
    assert guarded.state() == before
    change(guarded)
    assert guarded.vault.store.engine.tail() != before[-1]


def test_delete_many_reports_what_was_refused_and_does_the_rest(guarded: Guarded) -> None:
    def guard(txn: Transaction, seen: Change) -> None:
        if seen.aux == guarded.old.sequence:
            raise tv.LockedError("locked")

    guarded.bucket.put("a", b"1")
    guarded.vault.store.engine.guards.append(guard)
    first, second, third = guarded.bucket.delete_many(
        ["a", ("k", guarded.old.version_id), ("k", guarded.new.version_id)]
    )
    assert isinstance(first, tv.DeleteResult)
    assert isinstance(second, tv.LockedError)
    assert isinstance(third, tv.DeleteResult)
    assert [item.version_id for item in guarded.bucket.versions("k")] == [guarded.old.version_id]


def test_lifecycle_asks_too(guarded: Guarded, clock: Any) -> None:
    def guard(txn: Transaction, seen: Change) -> None:
        raise tv.LockedError("locked")

    before = guarded.state()
    clock.pass_days(3)
    guarded.vault.store.engine.guards.append(guard)
    (report,) = run_lifecycle(guarded.vault.store).buckets
    assert (report.refused_count, report.noncurrent_removed_count) == (1, 0)
    assert guarded.state() == before


def test_a_guard_sees_the_change_and_what_it_changes(guarded: Guarded, clock: Any) -> None:
    seen: list[tuple[Change, int]] = []

    def guard(txn: Transaction, change: Change) -> None:
        seen.append((change, txn.next_sequence()))

    guarded.vault.store.engine.guards.append(guard)
    info = guarded.bucket.put("k", b"x")
    guarded.bucket.delete("k", version_id=info.version_id)
    (put, next_sequence), (removal, _) = seen
    assert (put.kind, put.sequence, put.key, put.bucket_id) == (Kind.PUT, info.sequence, b"k", guarded.bucket.bucket_id)
    assert next_sequence == info.sequence
    assert put.time_ns == clock.time_ns == info.modified_ns
    assert (removal.kind, removal.aux) == (Kind.REMOVE, info.sequence)


def test_deleting_nothing_asks_nobody(bucket: Bucket) -> None:
    bucket.store.engine.guards.append(lambda txn, change: pytest.fail("nothing changes"))
    assert not bucket.delete("none").existed
    assert not bucket.delete("none", version_id="null").existed


def test_an_observer_hears_what_was_done(bucket: Bucket) -> None:
    heard: list[int] = []
    bucket.store.engine.observers.append(lambda txn, change: heard.append(change.kind))
    bucket.put("k", b"1")
    bucket.set_tags("k", {"a": "b"})
    bucket.delete("k")
    assert heard == [Kind.PUT, Kind.ATTRIBUTES, Kind.REMOVE]
