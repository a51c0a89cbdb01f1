"""Holding the stored versions against the audit trail: what checksums cannot tell."""

from __future__ import annotations

import pytest

import tickvault as tv
from tickvault.engine.commit import Operation
from tickvault.objects import entries
from tickvault.objects.entries import Kind


@pytest.fixture
def vault(tmp_path):
    with tv.open(tmp_path / "data") as opened:
        yield opened


def kinds(vault: tv.Vault, **options) -> list[tuple[str, str]]:
    return [(finding.kind, finding.key) for finding in vault.reconcile(**options).findings]


def test_what_is_as_it_was_written(vault):
    kept = vault.create_bucket("kept", retention=("GOVERNANCE", 1))
    raw = vault.create_bucket("raw", versioning=True)
    for bucket in (kept, raw):
        bucket.put("small", b"x")
        bucket.put("empty", b"")
        bucket.put("large", b"y" * 600_000)
        gone = bucket.put("gone", b"z")
        bucket.delete("gone", version_id=gone.version_id, bypass_governance=True)
        bucket.delete("small")
        bucket.copy("large", "copy")
        upload = bucket.create_upload("parts")
        parts = [(n, bucket.put_part("parts", upload.upload_id, n, b"p" * (5 << 20)).etag) for n in (1, 2)]
        bucket.complete_upload("parts", upload.upload_id, parts)
        bucket.set_tags("large", {"a": "b"})
    kept.hold("large", None, True)
    kept.retain("copy", None, "GOVERNANCE", 4 * 10**18)
    vault.create_bucket("plain").put("a", b"1")
    vault.bucket("plain").put("a", b"2")
    vault.bucket("plain").delete("a")
    report = vault.reconcile()
    assert report.ok, report.findings
    # small, empty, large, copy, parts
    assert report.versions == 5
    everything = vault.reconcile(everything=True)
    assert everything.ok, everything.findings
    assert everything.versions == 10


def test_a_version_that_vanished(vault):
    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 1))
    info = bucket.put("a", b"x")
    vault.audit.catch_up()
    engine = vault.store.engine
    # As if somebody had edited the index, below every guard.
    txn = engine.index.recent.begin(write=True)
    assert txn.delete(entries.object_key(bucket.bucket_id, b"a"))
    txn.commit()
    assert kinds(vault) == [("missing", "a")]
    assert info.version_id in vault.reconcile().findings[0].text


def test_a_lock_that_was_weakened(vault):
    bucket = vault.create_bucket("kept", object_lock=True)
    info = bucket.put("a", b"x", legal_hold=True)
    vault.audit.catch_up()
    engine = vault.store.engine
    guards, engine.guards = list(engine.guards), []
    held = vault.audit.enabled
    try:
        # A release that knows no guard, or a patched one: it can append what no guard would let pass.
        data = entries.pack({"m": None, "u": 0, "h": False})
        engine.commit(
            Operation(lambda txn: txn.append(Kind.LOCK, bucket.bucket_id, b"a", data, aux=info.sequence), 1024)
        )
    finally:
        engine.guards[:] = guards
        vault.audit.enabled = held
    # It is in the trail too, as a change of the lock, with whoever did it: nothing is hidden, and nothing differs.
    assert vault.reconcile().ok
    (change,) = vault.audit.query(action="PutObjectRetention")
    assert change.detail["legal_hold"] == "off"


def test_a_version_that_the_trail_never_saw(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("kept", object_lock=True).put("known", b"x")
        vault.audit.catch_up()
        known = vault.audit.head()
    # A copy of the trail from before is put back after more was written, by a process that skips the journal's place.
    assert known is not None
    with tv.open(tmp_path / "data") as vault:
        vault.bucket("kept").put("later", b"y")
        vault.audit.catch_up()
        records = [record for record in vault.audit.query() if record.key != "later"]
        from tickvault.objects.reconciling import reconcile

        report = reconcile(vault.store, records)
        assert [(finding.kind, finding.key) for finding in report.findings] == [("unknown", "later")]


def test_bytes_that_are_not_those_written(vault):
    bucket = vault.create_bucket("kept", object_lock=True)
    bucket.put("a", b"x" * 100)
    bucket.put("b", b"y" * 600_000)
    from tickvault.objects.reconciling import reconcile

    records = []
    for record in vault.audit.query():
        if record.key in ("a", "b") and "etag" in record.detail:
            # The trail says something else was written: what is stored now is not that.
            record = record._replace(detail={**record.detail, "etag": "0" * 32})
        records.append(record)
    report = reconcile(vault.store, records)
    assert [(finding.kind, finding.key) for finding in report.findings] == [("changed", "a"), ("changed", "b")]


def test_encrypted_versions(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.store.keys.create("desk")
        sealed = vault.create_bucket("sealed", object_lock=True, encryption="aes-256-gcm")
        managed = vault.create_bucket(
            "managed", object_lock=True, encryption={"suite": "aes-256-gcm", "key": "desk", "mode": "kms"}
        )
        for bucket in (sealed, managed):
            bucket.put("small", b"x" * 100, legal_hold=True)
            bucket.put("large", b"y" * 600_000)
        report = vault.reconcile()
        assert report.ok, report.findings
        assert (report.versions, report.unread) == (4, 0)
        vault.store.keys.disable("desk")
        report = vault.reconcile()
        assert report.ok, report.findings
        assert report.unread == 2
