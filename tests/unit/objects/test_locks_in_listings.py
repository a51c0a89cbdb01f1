"""Listings tell what `head` tells of locks."""

from __future__ import annotations

import pytest

from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo


def lock_of(info: ObjectInfo) -> tuple[object, ...]:
    return info.key, info.version_id, info.retention_mode, info.retain_until_ns, info.legal_hold, info.locked


@pytest.fixture
def locked(vault, clock) -> Bucket:
    bucket = vault.create_bucket("kept", object_lock=True)
    until = clock.now_ns() + 10**15
    bucket.put("a", b"1", retention_mode="GOVERNANCE", retain_until=until)
    bucket.put("a", b"2", retention_mode="COMPLIANCE", retain_until=until)
    bucket.put("b", b"3", legal_hold=True)
    bucket.put("b", b"4")
    bucket.put("c", b"5", legal_hold=True)
    bucket.delete("c")
    bucket.put("d", b"6", legal_hold=True)
    bucket.hold("d", None, False)
    return bucket


def test_listings_show_locks(locked):
    expected = [
        lock_of(locked.head(info.key, version_id=info.version_id))
        for info in locked.list_versions_page().versions
        if not info.delete_marker
    ]
    assert sum(bool(mode or hold) for _, _, mode, _, hold, _ in expected) == 4
    shown = [lock_of(info) for info in locked.list_versions_page().versions if not info.delete_marker]
    assert shown == expected
    by_key = [lock_of(info) for key in "abcd" for info in locked.versions(key) if not info.delete_marker]
    assert by_key == expected
    heads = [lock_of(locked.head(key)) for key in "abd"]
    assert [lock_of(info) for info in locked.list()] == heads
    assert [lock_of(info) for info in locked.list_page(prefix="a").objects] == heads[:1]


def test_a_page_without_locks(locked):
    assert not any(info.locked for info in locked.list_page(locks=False).objects)
    assert not any(info.locked for info in locked.list_versions_page(locks=False).versions)
