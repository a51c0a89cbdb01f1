"""Object lock, a rule each: what keeps a version, what may change its lock, what a bucket with a lock may not do."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine.commit import Operation, Transaction
from tickvault.objects import entries
from tickvault.objects.bucket import Bucket
from tickvault.objects.entries import Kind
from tickvault.objects.lifecycle import run_lifecycle
from tickvault.objects.lock.guard import LOCK_DOCUMENT
from tickvault.objects.lock.retention import (
    DAYS_MAX,
    MODES,
    PRESETS,
    UNTIL_NS_MAX,
    YEARS_MAX,
    BucketLock,
    ObjectLock,
    add_period,
    bucket_lock,
    requested_lock,
    time_text,
    until_ns_of,
)
from tickvault.objects.model import ObjectInfo

DAY_NS = 86_400 * 10**9


@pytest.fixture
def locked(vault: tv.Vault) -> Bucket:
    """A bucket with object lock and no default."""
    return vault.create_bucket("locked", object_lock=True)


@pytest.fixture
def until(clock: Any) -> Callable[[float], int]:
    """The end of a retention of so many days from now."""
    return lambda days: clock.now_ns() + int(days * DAY_NS)


def lock_of(info: ObjectInfo) -> tuple[str | None, int, bool]:
    return info.retention_mode, info.retain_until_ns, info.legal_hold


def refused(call: Callable[[], Any], words: str = ".") -> None:
    with pytest.raises(tv.LockedError, match=words):
        call()


# -- what keeps a version


@pytest.mark.parametrize("mode", MODES)
def test_a_retained_version_is_not_deleted_before_its_time(locked: Bucket, clock: Any, until: Any, mode: str) -> None:
    info = locked.put("k", b"v", retention_mode=mode, retain_until=until(10))
    refused(lambda: locked.delete("k", version_id=info.version_id), f"{mode} mode until 2024-10-14")
    clock.pass_days(9.999)
    refused(lambda: locked.delete("k", version_id=info.version_id))
    assert locked.get("k") == b"v"
    clock.pass_days(0.001)
    assert locked.delete("k", version_id=info.version_id).existed


def test_bypassing_lifts_governance_and_nothing_else(locked: Bucket, until: Any) -> None:
    governed = locked.put("g", b"v", retention_mode="GOVERNANCE", retain_until=until(10))
    held = locked.put("h", b"v", retention_mode="GOVERNANCE", retain_until=until(10), legal_hold=True)
    complied = locked.put("c", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    refused(lambda: locked.delete("h", version_id=held.version_id, bypass_governance=True), "legal hold")
    refused(lambda: locked.delete("c", version_id=complied.version_id, bypass_governance=True), "COMPLIANCE")
    assert locked.delete("g", version_id=governed.version_id, bypass_governance=True).existed


def test_a_legal_hold_keeps_until_it_is_taken_off(locked: Bucket, clock: Any) -> None:
    info = locked.put("k", b"v", legal_hold=True)
    clock.pass_days(80_000)
    refused(lambda: locked.delete("k", version_id=info.version_id), "legal hold")
    assert not locked.hold("k", None, False).legal_hold
    assert locked.delete("k", version_id=info.version_id).existed


def test_hold_and_retention_know_nothing_of_each_other(locked: Bucket, clock: Any, until: Any) -> None:
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    assert lock_of(locked.hold("k", None, True)) == ("COMPLIANCE", until(10), True)
    assert lock_of(locked.retain("k", None, "COMPLIANCE", until(11))) == ("COMPLIANCE", until(11), True)
    assert lock_of(locked.hold("k", None, False)) == ("COMPLIANCE", until(11), False)
    refused(lambda: locked.delete("k", version_id=info.version_id))
    locked.hold("k", None, True)
    clock.pass_days(12)
    refused(lambda: locked.delete("k", version_id=info.version_id), "legal hold")
    locked.hold("k", None, False)
    locked.delete("k", version_id=info.version_id)


def test_a_lock_is_of_one_version(locked: Bucket, until: Any) -> None:
    first = locked.put("k", b"1", retention_mode="COMPLIANCE", retain_until=until(10))
    second = locked.put("k", b"2")
    assert lock_of(locked.head("k")) == (None, 0, False)
    assert locked.delete("k", version_id=second.version_id).existed
    assert locked.head("k").version_id == first.version_id
    refused(lambda: locked.delete("k", version_id=first.version_id))


def test_a_lock_may_be_set_on_a_version_that_is_not_current(locked: Bucket, until: Any) -> None:
    first = locked.put("k", b"1")
    locked.put("k", b"2")
    locked.delete("k")
    assert lock_of(locked.retain("k", first.version_id, "COMPLIANCE", until(1)))[0] == "COMPLIANCE"
    refused(lambda: locked.delete("k", version_id=first.version_id))
    with pytest.raises(tv.NotFoundError):
        locked.retain("k", None, "COMPLIANCE", until(1))


def test_delete_markers_hide_and_have_no_lock(locked: Bucket, until: Any) -> None:
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    marker = locked.delete("k")
    assert marker.delete_marker
    assert locked.get("k", version_id=info.version_id) == b"v"
    for call in (
        lambda: locked.retain("k", marker.version_id, "GOVERNANCE", until(1)),
        lambda: locked.hold("k", marker.version_id, True),
    ):
        with pytest.raises(tv.NotFoundError, match="delete marker"):
            call()
    assert locked.delete("k", version_id=marker.version_id).existed
    assert locked.get("k") == b"v"


def test_overwriting_makes_a_version_and_leaves_the_locked_one(locked: Bucket, until: Any) -> None:
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    locked.put("k", b"w")
    locked.copy("k", "k")
    assert locked.get("k", version_id=info.version_id) == b"v"
    assert len(list(locked.versions("k"))) == 3


def test_a_batch_of_deletes_refuses_what_is_locked_and_does_the_rest(locked: Bucket, until: Any) -> None:
    kept = locked.put("kept", b"v", retention_mode="COMPLIANCE", retain_until=until(1))
    held = locked.put("held", b"v", legal_hold=True)
    free = locked.put("free", b"v")
    results = locked.delete_many([(info.key, info.version_id) for info in (kept, free, held)])
    assert [type(result) for result in results] == [tv.LockedError, type(locked.delete("none")), tv.LockedError]
    assert {info.key for info in locked.list() if not isinstance(info, str)} == {"kept", "held"}


def test_tags_of_a_locked_version_may_change(locked: Bucket) -> None:
    info = locked.put("k", b"v", legal_hold=True)
    locked.set_tags("k", {"a": "b"})
    assert locked.head("k").tag_count == 1
    refused(lambda: locked.delete("k", version_id=info.version_id))


# -- what may change a retention


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bypass", [False, True])
def test_extending_is_allowed_to_anybody(locked: Bucket, until: Any, mode: str, bypass: bool) -> None:
    locked.put("k", b"v", retention_mode=mode, retain_until=until(10))
    assert locked.retain("k", None, mode, until(11), bypass_governance=bypass).retain_until_ns == until(11)
    assert locked.retain("k", None, mode, until(11), bypass_governance=bypass).retain_until_ns == until(11)


@pytest.mark.parametrize(
    ("mode", "days"), [("GOVERNANCE", 9), ("COMPLIANCE", 9), ("COMPLIANCE", 10), ("COMPLIANCE", 11), (None, None)]
)
def test_what_weakens_governance_needs_a_bypass(locked: Bucket, until: Any, mode: str | None, days: int | None) -> None:
    locked.put("k", b"v", retention_mode="GOVERNANCE", retain_until=until(10))
    end = None if days is None else until(days)
    refused(lambda: locked.retain("k", None, mode, end), "bypass_governance")
    assert lock_of(locked.head("k"))[:2] == ("GOVERNANCE", until(10))
    assert lock_of(locked.retain("k", None, mode, end, bypass_governance=True))[:2] == (mode, end or 0)


@pytest.mark.parametrize(
    ("mode", "days"), [("COMPLIANCE", 9.999), ("GOVERNANCE", 10), ("GOVERNANCE", 99), (None, None)]
)
@pytest.mark.parametrize("bypass", [False, True])
def test_compliance_can_only_be_extended(
    locked: Bucket, until: Any, mode: str | None, days: float | None, bypass: bool
) -> None:
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    end = None if days is None else until(days)
    refused(lambda: locked.retain("k", None, mode, end, bypass_governance=bypass), "only be extended")
    assert lock_of(locked.head("k", version_id=info.version_id))[:2] == ("COMPLIANCE", until(10))


def test_a_retention_that_is_over_may_be_changed_in_any_way(locked: Bucket, clock: Any, until: Any) -> None:
    locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(10))
    clock.pass_days(10)
    assert lock_of(locked.retain("k", None, "GOVERNANCE", until(1)))[:2] == ("GOVERNANCE", until(1))
    clock.pass_days(2)
    assert lock_of(locked.retain("k", None, None, None))[:2] == (None, 0)
    assert locked.head("k").locked


def test_lifting_what_is_not_there_is_no_error(locked: Bucket) -> None:
    locked.put("k", b"v")
    assert lock_of(locked.retain("k", None, None, None)) == (None, 0, False)
    assert lock_of(locked.hold("k", None, False)) == (None, 0, False)


def test_setting_a_lock_makes_no_version_and_changes_nothing_else(locked: Bucket, until: Any) -> None:
    before = locked.put("k", b"v", metadata={"a": "b"}, tags={"t": "u"}, content_type="text/csv")
    after = locked.retain("k", None, "GOVERNANCE", until(1))
    assert after._replace(retention_mode=None, retain_until_ns=0, locked=False) == locked.head("k")._replace(
        retention_mode=None, retain_until_ns=0, locked=False
    )
    assert (after.version_id, after.sequence, after.etag, after.modified_ns) == (
        before.version_id,
        before.sequence,
        before.etag,
        before.modified_ns,
    )
    assert len(list(locked.versions("k"))) == 1


@pytest.mark.parametrize("days", [-1, 0])
def test_a_new_retention_ends_in_the_future(locked: Bucket, until: Any, days: int) -> None:
    locked.put("k", b"v")
    for call in (
        lambda: locked.retain("k", None, "GOVERNANCE", until(days)),
        lambda: locked.put("k", b"w", retention_mode="GOVERNANCE", retain_until=until(days)),
        lambda: locked.create_upload("k", lock=ObjectLock("GOVERNANCE", until(days))),
        lambda: locked.copy("k", "l", retention_mode="GOVERNANCE", retain_until=until(days)),
    ):
        with pytest.raises(tv.InvalidInputError, match="must lie in the future"):
            call()
    assert len(list(locked.versions("k"))) == 1


# -- arguments


@pytest.mark.parametrize("mode", ["governance", "", "BOTH", 1, b"COMPLIANCE"])
def test_modes_that_are_none(locked: Bucket, until: Any, mode: Any) -> None:
    with pytest.raises(tv.InvalidInputError):
        locked.put("k", b"v", retention_mode=mode, retain_until=until(1))
    assert list(locked.versions("k")) == []


def test_a_retention_has_a_mode_and_an_end(locked: Bucket, until: Any) -> None:
    for arguments in ({"retention_mode": "COMPLIANCE"}, {"retain_until": until(1)}):
        with pytest.raises(tv.InvalidInputError, match="missing"):
            locked.put("k", b"v", **arguments)
    locked.put("k", b"v")
    with pytest.raises(tv.InvalidInputError, match="missing"):
        locked.retain("k", None, "COMPLIANCE", None)
    with pytest.raises(tv.InvalidInputError, match="missing"):
        locked.retain("k", None, None, until(1))


@pytest.mark.parametrize("on", [1, 0, "ON", None])
def test_a_hold_is_on_or_off(locked: Bucket, on: Any) -> None:
    locked.put("k", b"v")
    with pytest.raises(tv.InvalidInputError, match="True or False"):
        locked.hold("k", None, on)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2030, 1, 1),
        datetime(2030, 1, 1).date(),
        "2030-01-01",
        1.9e18,
        True,
        0,
        -1,
        UNTIL_NS_MAX + 1,
        2**63,
        datetime(2262, 4, 12, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(1969, 12, 31, tzinfo=UTC),
    ],
)
def test_ends_that_are_none(value: Any) -> None:
    with pytest.raises(tv.InvalidInputError):
        until_ns_of(value)


def test_ends(locked: Bucket) -> None:
    moment = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=9)))
    assert until_ns_of(moment) == int(moment.astimezone(UTC).timestamp()) * 10**9 + 123_456_000
    assert until_ns_of(UNTIL_NS_MAX) == UNTIL_NS_MAX
    assert time_text(UNTIL_NS_MAX) == "2262-04-11T23:47:16Z"
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=UNTIL_NS_MAX)
    assert locked.head("k").retain_until_ns == info.retain_until_ns == UNTIL_NS_MAX


@pytest.mark.parametrize(
    ("start", "years", "end"),
    [
        ("2024-02-29", 1, "2025-03-01"),
        ("2024-02-29", 4, "2028-02-29"),
        ("2024-02-29", 6, "2030-03-01"),
        ("2023-02-28", 1, "2024-02-28"),
        ("2023-12-31", 20, "2043-12-31"),
        ("2096-02-29", 4, "2100-03-01"),
    ],
)
def test_years_are_those_of_the_calendar(start: str, years: int, end: str) -> None:
    """29 February ends on 1 March, never before the year is over."""
    first, last = (until_ns_of(datetime.fromisoformat(f"{day}T12:34:56.789+00:00")) for day in (start, end))
    assert add_period(first + 7, 0, years) == last + 7


def test_periods_stop_where_time_does(vault: tv.Vault, clock: Any) -> None:
    assert add_period(UNTIL_NS_MAX - 1, 1, 0) == UNTIL_NS_MAX
    clock.time_ns = UNTIL_NS_MAX - DAY_NS
    info = vault.create_bucket("late", retention=("GOVERNANCE", 365)).put("k", b"v")
    assert info.retain_until_ns == UNTIL_NS_MAX


# -- defaults and presets


def test_a_default_is_given_to_each_new_version(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("kept", retention=("GOVERNANCE", 3))
    assert lock_of(bucket.put("k", b"v")) == ("GOVERNANCE", until(3), False)
    assert lock_of(bucket.head("k")) == ("GOVERNANCE", until(3), False)


def test_what_the_writer_names_is_taken_instead(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 30))
    assert lock_of(bucket.put("k", b"v", retention_mode="GOVERNANCE", retain_until=until(1)))[:2] == (
        "GOVERNANCE",
        until(1),
    )


def test_a_default_applies_although_the_writer_places_a_hold(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 30))
    info = bucket.put("k", b"v", legal_hold=True)
    assert lock_of(info) == ("COMPLIANCE", until(30), True) == lock_of(bucket.head("k"))


def test_a_default_is_in_whole_milliseconds_rounded_up(vault: tv.Vault, clock: Any) -> None:
    """As dates are on the wire, so that sending one back shortens nothing."""
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 1))
    clock.time_ns += 1
    clock.counted_ns += 1
    info = bucket.put("k", b"v")
    assert info.retain_until_ns == clock.time_ns - 1 + DAY_NS + 1_000_000


def test_a_changed_default_is_for_what_comes(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 30))
    old = bucket.put("old", b"v")
    bucket.set_object_lock(("GOVERNANCE", 1))
    assert lock_of(bucket.put("new", b"v"))[:2] == ("GOVERNANCE", until(1))
    bucket.set_object_lock()
    assert lock_of(bucket.put("newest", b"v")) == (None, 0, False)
    assert lock_of(bucket.head("old")) == lock_of(old) == ("COMPLIANCE", until(30), False)
    refused(lambda: bucket.delete("old", version_id=old.version_id, bypass_governance=True))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_presets(vault: tv.Vault, preset: str) -> None:
    years = {"sec-17a-4": 6, "cftc-1.31": 5, "mifid-ii": 5, "cn-securities": 20}[preset]
    bucket = vault.create_bucket("kept", retention=preset)
    assert bucket.info.object_lock == BucketLock("COMPLIANCE", years=years, preset=preset)
    assert bucket.info.versioning == "enabled"
    assert time_text(bucket.put("k", b"v").retain_until_ns) == f"{2024 + years}-10-04T12:00:00Z"


@pytest.mark.parametrize(
    "retention",
    [
        *["sox", "", ("COMPLIANCE",), ("X", 1), 5, {"mode": "COMPLIANCE"}],
        *[("COMPLIANCE", days) for days in (0, -1, DAYS_MAX + 1, 1.5, True, "1", 2**70)],
    ],
)
def test_defaults_that_are_none(vault: tv.Vault, retention: Any) -> None:
    with pytest.raises(tv.InvalidInputError):
        vault.create_bucket("kept", retention=retention)
    assert "kept" not in vault


def test_the_longest_defaults() -> None:
    assert bucket_lock(("GOVERNANCE", DAYS_MAX)).days == DAYS_MAX
    assert BucketLock.of({"mode": "COMPLIANCE", "years": YEARS_MAX}).years == YEARS_MAX
    for document in ({"mode": "COMPLIANCE", "years": YEARS_MAX + 1}, {"mode": None, "days": 1}, {"mode": "COMPLIANCE"}):
        with pytest.raises(tv.InvalidInputError):
            BucketLock.of(document)
    assert requested_lock(None, None, False) is None


# -- every way to write


def test_every_way_to_write_takes_the_default(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 2))
    large = bytes(300_000)
    made = [bucket.put("small", b"v"), bucket.put("large", large), bucket.put("file", io.BytesIO(b"f"))]
    made.append(bucket.put("large file", io.BytesIO(large)))
    made += bucket.put_many([("many", b"1"), ("many", b"2"), ("more", b"3")])
    with bucket.open_writer("stream") as writer:
        writer.write(large)
        made.append(writer.commit())
    made.append(bucket.copy("small", "copy"))
    upload = bucket.create_upload("parts")
    part = bucket.put_part("parts", upload.upload_id, 1, large)
    made.append(bucket.complete_upload("parts", upload.upload_id, [(1, part.etag)]))
    for info in made:
        assert lock_of(info) == ("COMPLIANCE", until(2), False), info.key
        assert info.locked
        assert lock_of(bucket.head(info.key, version_id=info.version_id)) == lock_of(info)
        refused(lambda info=info: bucket.delete(info.key, version_id=info.version_id))


def test_every_way_to_write_takes_what_is_asked_for(locked: Bucket, until: Any) -> None:
    asked = {"retention_mode": "COMPLIANCE", "retain_until": until(2), "legal_hold": True}
    lock = ObjectLock("COMPLIANCE", until(2), True)
    large = bytes(300_000)
    made = [locked.put("small", b"v", **asked), locked.put("large", large, **asked)]
    made.append(locked.put("file", io.BytesIO(large), **asked))
    with locked.open_writer("stream", lock=lock) as writer:
        writer.write(large)
        made.append(writer.commit())
    made.append(locked.store.commit(locked.put_operation("operation", b"v", lock=lock)))
    made.append(locked.copy("small", "copy", **asked))
    upload = locked.create_upload("parts", lock=lock)
    part = locked.put_part("parts", upload.upload_id, 1, large)
    made.append(locked.complete_upload("parts", upload.upload_id, [(1, part.etag)]))
    for info in made:
        assert lock_of(info) == ("COMPLIANCE", until(2), True), info.key
        assert lock_of(locked.head(info.key, version_id=info.version_id)) == lock_of(info)
        refused(lambda info=info: locked.delete(info.key, version_id=info.version_id))


def test_a_copy_does_not_inherit_the_lock(locked: Bucket, vault: tv.Vault, until: Any) -> None:
    locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(2), legal_hold=True)
    assert lock_of(locked.copy("k", "copy")) == (None, 0, False)
    plain = vault.create_bucket("plain")
    assert lock_of(locked.copy("k", "copy", dest_bucket=plain)) == (None, 0, False)
    assert plain.delete("copy").existed
    with pytest.raises(tv.InvalidInputError, match="no object lock"):
        locked.copy("k", "copy", dest_bucket=plain, legal_hold=True)


def test_an_upload_whose_retention_is_over_when_it_is_complete(locked: Bucket, clock: Any, until: Any) -> None:
    upload = locked.create_upload("k", lock=ObjectLock("GOVERNANCE", until(1)))
    part = locked.put_part("k", upload.upload_id, 1, b"v")
    clock.pass_days(2)
    with pytest.raises(tv.InvalidInputError, match="future"):
        locked.complete_upload("k", upload.upload_id, [(1, part.etag)])
    locked.abort_upload("k", upload.upload_id)


def test_a_locked_version_is_on_the_disk_however_the_bucket_writes(vault: tv.Vault, until: Any) -> None:
    bucket = vault.create_bucket("quick", object_lock=True, durability="relaxed")
    strict: list[bool] = []
    vault.store.engine.guards.append(lambda txn, change: strict.append(txn.strict))
    bucket.put("k", b"v")
    bucket.put("k", b"v", legal_hold=True)
    bucket.retain("k", None, "COMPLIANCE", until(1))
    assert strict == [False, True, True]
    vault.store.engine.guards.pop()


# -- buckets


def test_a_bucket_without_a_lock_takes_none(bucket: Bucket, versioned: Bucket, until: Any) -> None:
    for target in (bucket, versioned):
        target.put("k", b"v")
        for call in (
            lambda target=target: target.put("k", b"w", legal_hold=True),
            lambda target=target: target.put("k", b"w", retention_mode="GOVERNANCE", retain_until=until(1)),
            lambda target=target: target.retain("k", None, "GOVERNANCE", until(1)),
            lambda target=target: target.hold("k", None, True),
            lambda target=target: target.create_upload("k", lock=ObjectLock(legal_hold=True)),
        ):
            with pytest.raises(tv.InvalidInputError, match="no object lock"):
                call()
        assert target.get("k") == b"v"


def test_turning_it_on_needs_versions(bucket: Bucket, versioned: Bucket) -> None:
    with pytest.raises(tv.InvalidInputError, match="versioning"):
        bucket.set_object_lock()
    bucket.set_versioning("enabled")
    bucket.set_versioning("suspended")
    with pytest.raises(tv.InvalidInputError, match="versioning"):
        bucket.set_object_lock(("COMPLIANCE", 1))
    assert bucket.info.object_lock is None
    assert versioned.set_object_lock().object_lock == BucketLock()


def test_it_is_not_turned_on_behind_the_back_of_the_clock(versioned: Bucket, vault: tv.Vault) -> None:
    """As a document like others it made locks before the vault's clock was started, which then could never be."""
    document = BucketLock("COMPLIANCE", days=1).document()
    with pytest.raises(tv.InvalidInputError, match="has not been started"):
        versioned.set_document(LOCK_DOCUMENT, document)
    with pytest.raises(tv.InvalidInputError, match="has not been started"):
        vault.store.create_bucket("other", versioning=True, documents={LOCK_DOCUMENT: document})
    versioned.set_object_lock()
    versioned.hold("k", versioned.put("k", b"v").version_id, True)
    vault.create_bucket("other", object_lock=True)


def test_it_stays_on_and_so_do_versions(locked: Bucket) -> None:
    refused(lambda: locked.set_versioning("suspended"), "versioning stays enabled")
    refused(lambda: locked.set_document(LOCK_DOCUMENT, None), "cannot be turned off")
    with pytest.raises(tv.InvalidInputError):
        locked.set_document(LOCK_DOCUMENT, {"mode": "COMPLIANCE"})
    assert locked.info.object_lock == BucketLock()
    assert locked.set_versioning("enabled").versioning == "enabled"
    assert locked.set_document("tagging", [["a", "b"]]).object_lock == BucketLock()


def test_null_versions_from_before_it_was_turned_on(bucket: Bucket, until: Any) -> None:
    bucket.put("k", b"null")
    bucket.set_versioning("enabled")
    bucket.set_object_lock()
    assert lock_of(bucket.head("k")) == (None, 0, False)
    assert bucket.retain("k", "null", "COMPLIANCE", until(1)).version_id == "null"
    bucket.put("k", b"newer")
    refused(lambda: bucket.delete("k", version_id="null"))
    assert bucket.get("k", version_id="null") == b"null"
    # Nobody can write another null version over it.
    refused(lambda: bucket.set_versioning("suspended"))


@pytest.mark.parametrize("kind", [Kind.PUT, Kind.DELETE_MARKER])
@pytest.mark.parametrize("newer", [False, True])
def test_not_even_a_record_that_no_verb_makes_replaces_a_null_version(
    bucket: Bucket, until: Any, kind: Kind, newer: bool
) -> None:
    bucket.put("k", b"null")
    bucket.set_versioning("enabled")
    bucket.set_object_lock()
    bucket.retain("k", "null", "COMPLIANCE", until(1))
    if newer:
        bucket.put("k", b"newer")
    meta = entries.encode_put_meta(bytes(16), 0, 0) if kind is Kind.PUT else b""

    def run(txn: Transaction) -> None:
        txn.append(kind, bucket.bucket_id, b"k", meta)

    refused(lambda: bucket.store.engine.commit(Operation(run, 1024)), "overwrite")
    assert bucket.get("k", version_id="null") == b"null"


def test_a_bucket_that_holds_versions_is_not_deleted(locked: Bucket, vault: tv.Vault) -> None:
    info = locked.put("k", b"v")
    locked.delete("k")
    with pytest.raises(tv.NotEmptyError):
        vault.delete_bucket("locked")

    def run(txn: Transaction) -> None:
        txn.append(Kind.BUCKET_REMOVE, locked.bucket_id, b"locked", b"")

    refused(lambda: vault.store.engine.commit(Operation(run, 1024)), "holds versions")
    assert locked.get("k", version_id=info.version_id) == b"v"


def test_another_bucket_cannot_take_its_place(locked: Bucket, vault: tv.Vault) -> None:
    """A record of a bucket of that name, with another number, hid all that was locked in it."""
    locked.put("k", b"v", legal_hold=True)
    for bucket_id, inner in ((99, 99), (locked.bucket_id, 99)):
        meta = entries.pack({"id": inner, "t": 1, "v": "enabled", "d": "strict", "doc": dict(locked.info.documents)})

        def run(txn: Transaction, bucket_id: int = bucket_id, meta: bytes = meta) -> None:
            txn.append(Kind.BUCKET, bucket_id, b"locked", meta)

        refused(lambda run=run: vault.store.engine.commit(Operation(run, 2048)), "take its place")
    assert vault["locked"].get("k") == b"v"
    with pytest.raises(tv.AlreadyExistsError):
        vault.create_bucket("locked")


@pytest.mark.parametrize("ahead", [0, 1 << 40])
def test_what_calls_itself_a_copy_is_one(bucket: Bucket, vault: tv.Vault, until: Any, ahead: int) -> None:
    """Compaction copies records, and what it copies is not asked for a reason; so a record that only says that it is a
    copy, and says other than its original, passed.
    """
    bucket.put("null", b"null")
    bucket.set_versioning("enabled")
    bucket.set_object_lock()
    made = bucket.put("inline", b"v", retention_mode="COMPLIANCE", retain_until=until(30))
    null = bucket.retain("null", "null", "COMPLIANCE", until(30))
    weaker = ObjectLock("GOVERNANCE", until(1))
    etag = bytes.fromhex(made.etag)
    info = {"id": bucket.bucket_id, "t": 1, "v": "suspended", "d": "strict", "doc": {}}
    index = vault.store.engine.index

    def sequence_of(key: bytes) -> int:
        raw = index.get(key)
        assert raw is not None
        return entries.decode_document(key, raw).sequence

    clock_key = entries.document_key(entries.CLOCK_DOCUMENT)
    raw = index.get(clock_key)
    assert raw is not None
    mark = {**entries.decode_document(clock_key, raw).data, "t": until(40)}
    lock_key = entries.lock_key(bucket.bucket_id, b"null", null.sequence)
    forged: list[tuple[Kind, int, bytes, bytes, int, int]] = [
        (Kind.LOCK, bucket.bucket_id, b"null", entries.pack(weaker.data()), null.sequence, sequence_of(lock_key)),
        (Kind.BUCKET, bucket.bucket_id, b"raw", entries.pack(info), 0, sequence_of(entries.bucket_key("raw"))),
        (Kind.BUCKET_REMOVE, bucket.bucket_id, b"raw", b"", 0, 1),
        (Kind.DOCUMENT, 0, entries.CLOCK_DOCUMENT.encode(), entries.pack(mark), 0, sequence_of(clock_key)),
        (Kind.REMOVE, bucket.bucket_id, b"inline", bytes(1), made.sequence, 1),
        (Kind.REMOVE, bucket.bucket_id, b"null", b"\x01", 1 << 50, 1),
    ]
    if ahead:
        forged.append((Kind.PUT, bucket.bucket_id, b"null", entries.encode_put_meta(bytes(16), 0, 0), 0, 1))
        forged.append((Kind.DELETE_MARKER, bucket.bucket_id, b"null", b"", 0, 1))
    else:
        for meta in (
            entries.encode_put_meta(etag, 0, 1, (), {"lk": weaker.data()}),
            entries.encode_put_meta(etag, 0, 1),
            entries.encode_put_meta(etag, 0, 2, (), {"lk": ObjectLock("COMPLIANCE", until(30)).data()}),
        ):
            forged.append((Kind.PUT, bucket.bucket_id, b"inline", meta, 1, made.sequence))
    for kind, bucket_id, key, meta, aux, sequence in forged:

        def run(txn: Transaction, *record: Any, aux: int = aux, sequence: int = sequence + ahead) -> None:
            txn.append(*record, aux=aux, relocated_sequence=sequence)

        def forge(txn: Transaction, record: Any = (kind, bucket_id, key, meta), run: Any = run) -> None:
            run(txn, *record)

        with pytest.raises((tv.LockedError, tv.IntegrityError)):
            vault.store.engine.commit(Operation(forge, 4096))
    assert bucket.info.object_lock == BucketLock()
    for info_ in (made, null):
        assert bucket.head(info_.key, version_id=info_.version_id)[:16] == info_[:16]
        refused(lambda info_=info_: bucket.delete(info_.key, version_id=info_.version_id))
    vault.store.engine.checkpoint(wait=True)
    vault.compact(dead_ratio_min=0)
    assert vault.verify().sound


def test_an_empty_bucket_with_a_lock_may_go_and_come_back_without_one(locked: Bucket, vault: tv.Vault) -> None:
    vault.delete_bucket("locked")
    assert vault.create_bucket("locked").info.object_lock is None


# -- lifecycle


def test_lifecycle_leaves_what_is_locked_and_goes_on(vault: tv.Vault, locked: Bucket, clock: Any, until: Any) -> None:
    rule = {"id": "r", "status": "Enabled", "noncurrent_version_expiration": {"noncurrent_days": 1}}
    kept = locked.put("a", b"kept", retention_mode="COMPLIANCE", retain_until=until(30))
    locked.put("a", b"newer")
    free = locked.put("b", b"free")
    locked.put("b", b"newer")
    locked.set_document("lifecycle", {"rules": [rule]})
    clock.pass_days(3)
    report = run_lifecycle(vault.store)
    assert locked.get("a", version_id=kept.version_id) == b"kept"
    with pytest.raises(tv.VersionNotFoundError):
        locked.get("b", version_id=free.version_id)
    assert [one.error for one in report.buckets] == [None]
    clock.pass_days(30)
    run_lifecycle(vault.store)
    with pytest.raises(tv.VersionNotFoundError):
        locked.get("a", version_id=kept.version_id)


# -- damage


def overwrite_index(bucket: Bucket, key: bytes, value: bytes | None) -> None:
    """Change the index behind the vault's back, as somebody with the disk could."""
    engine = bucket.store.engine
    engine.checkpoint(wait=True)
    for environment in (engine.index.index, engine.index.recent):
        txn = environment.begin(write=True)
        if value is None:
            txn.delete(key)
        elif environment is engine.index.index:
            txn.put(key, value)
        txn.commit()


@pytest.mark.parametrize("lost", [False, True])
def test_a_lock_that_cannot_be_read_keeps_its_version(locked: Bucket, vault: tv.Vault, until: Any, lost: bool) -> None:
    """Where the index had lost it, setting a retention made a new lock, in its place and as one liked."""
    info = locked.put("k", b"v", retention_mode="COMPLIANCE", retain_until=until(30))
    index_key = entries.lock_key(locked.bucket_id, b"k", info.sequence)
    raw = vault.store.engine.index.get(index_key)
    assert raw is not None
    overwrite_index(locked, index_key, None if lost else raw[:-1] + bytes([raw[-1] ^ 1]))
    error = tv.LockedError if lost else tv.IntegrityError
    for call in (
        lambda: locked.delete("k", version_id=info.version_id),
        lambda: locked.delete("k", version_id=info.version_id, bypass_governance=True),
        lambda: locked.retain("k", None, None, None, bypass_governance=True),
        lambda: locked.retain("k", None, "GOVERNANCE", until(1)),
        lambda: locked.hold("k", None, False),
    ):
        with pytest.raises(error):
            call()
    if lost:
        assert locked.head("k").legal_hold
    assert locked.get("k") == b"v"
    assert vault.verify().index_differences == 1
    assert lock_of(locked.head("k"))[:2] == ("COMPLIANCE", until(30))
    assert locked.retain("k", None, "COMPLIANCE", until(31)).retain_until_ns == until(31)


def test_the_headers_of_a_locked_version_do_not_change(vault: tv.Vault) -> None:
    """Found by reading: `set_headers` made another content-disposition of a record that was to be kept as it is."""
    bucket = vault.create_bucket("headers", object_lock=True)
    bucket.put("a", b"x", headers={"cache-control": "no-store"}, legal_hold=True)
    with pytest.raises(tv.LockedError, match="headers"):
        bucket.set_headers("a", {"cache-control": "max-age=1"})
    bucket.set_headers("a", {"x-amz-acl": "public-read", "cache-control": "no-store"})
    bucket.hold("a", None, False)
    bucket.set_headers("a", {"cache-control": "max-age=1"})
    assert bucket.head("a").headers["cache-control"] == "max-age=1"
