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

        report = reconcile(vault.store, lambda first: [one for one in records if one.sequence >= first])
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
    report = reconcile(vault.store, lambda first: [one for one in records if one.sequence >= first])
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
        assert (report.unread, report.not_looked_at, report.complete) == (0, 2, False)
        assert "was disabled" in report.why_not


@pytest.mark.parametrize("fault", ["gone", "another", "damaged", "older", "other key file"])
def test_keys_that_cannot_be_used_are_no_damage_and_no_success(tmp_path, fault):
    """A keyring that was gone passed, and with one that was damaged or old all objects were "not what was written"."""
    with tv.open(tmp_path / "other") as other:
        other.create_bucket("sealed", encryption="aes-256-gcm")
    ring, key = (tmp_path / "data" / "security" / name for name in ("keyring.json", "keyring.key"))
    with tv.open(tmp_path / "data") as vault:
        sealed = vault.create_bucket("sealed", encryption="aes-256-gcm")
        old = ring.read_bytes()
        for number in range(3):
            sealed.put(f"k{number}", b"x")
        sealed.put("theirs", b"x", encryption={"customer_key": bytes(range(32))})
        vault.create_bucket("plain").put("k", b"x")
        vault.store.keys.create("later")
        sealed.put("later", b"x", encryption={"key": "later"})
        vault.store.keys.destroy("later")
        report = vault.reconcile(everything=True)
        assert (report.findings, report.unread, report.not_looked_at, report.complete) == ([], 2, 0, True)
    if fault == "gone":
        ring.unlink()
    elif fault == "another":
        ring.write_bytes((tmp_path / "other" / "security" / "keyring.json").read_bytes())
    elif fault == "damaged":
        ring.write_bytes(ring.read_bytes()[:-20])
    elif fault == "older":
        ring.write_bytes(old)
    else:
        key.write_bytes((tmp_path / "other" / "security" / "keyring.key").read_bytes())
    with tv.open(tmp_path / "data") as vault:
        report = vault.reconcile(everything=True)
    assert (report.findings, report.versions, report.unread, report.bytes) == ([], 6, 1, 1)
    assert (report.not_looked_at, report.complete) == (4, False)
    assert "keyring" in report.why_not


def findings(vault, **options):
    return [(finding.kind, finding.key) for finding in vault.reconcile(**options).findings]


def test_a_whole_vault_that_was_swapped(tmp_path):
    """A stranger's attack: another vault's files, and this one's trail, passed."""
    import shutil

    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("kept", object_lock=True).put("a", b"x", legal_hold=True)
        vault.audit.catch_up()
    with tv.open(tmp_path / "other") as vault:
        vault.create_bucket("whatever")
    for name in ("segments", "index", "recent", "scrub"):
        shutil.rmtree(tmp_path / "data" / name, ignore_errors=True)
    for name in ("segments", "manifest", "format.json", "index", "recent"):
        source = tmp_path / "other" / name
        target = tmp_path / "data" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for name in ("identity.json", "control"):
        (tmp_path / "data" / name).unlink(missing_ok=True)
    with tv.open(tmp_path / "data") as vault:
        kinds_found = {kind for kind, _ in findings(vault)}
    assert {"vault", "missing"} <= kinds_found


def without_guards(vault, kind, key, meta, *, bucket_id, aux=0):
    """Append a record that no guard would let pass, as a patched process could."""
    engine = vault.store.engine
    guards, engine.guards = list(engine.guards), []
    try:
        engine.commit(Operation(lambda txn: txn.append(kind, bucket_id, key, meta, aux=aux), 4096))
    finally:
        engine.guards[:] = guards


def test_what_the_trail_itself_shows_to_be_against_the_rules(tmp_path):
    """Strangers' attacks: the follower signs whatever is in the journal, so its own records have to be judged."""
    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 100))
        weakened = bucket.put("weakened", b"x")
        removed = bucket.put("removed", b"x")
        data = entries.pack({"m": None, "u": 0, "h": False})
        without_guards(vault, Kind.LOCK, b"weakened", data, bucket_id=bucket.bucket_id, aux=weakened.sequence)
        bucket.delete("weakened", version_id=weakened.version_id)
        without_guards(vault, Kind.REMOVE, b"removed", b"\0", bucket_id=bucket.bucket_id, aux=removed.sequence)
        assert findings(vault) == [("lock", "weakened"), ("removed", "removed")]


def test_a_bucket_that_lost_its_lock_or_went(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        off = vault.create_bucket("off", object_lock=True)
        off.put("a", b"x", legal_hold=True)
        gone = vault.create_bucket("gone", object_lock=True)
        gone.put("b", b"x", legal_hold=True)
        from dataclasses import replace

        from tickvault.objects.state import encode_bucket

        info = replace(off.info, documents={})
        without_guards(vault, Kind.BUCKET, b"off", encode_bucket(info), bucket_id=off.bucket_id)
        without_guards(vault, Kind.BUCKET_REMOVE, b"gone", b"", bucket_id=gone.bucket_id)
        kinds_found = [(finding.kind, finding.bucket) for finding in vault.reconcile().findings]
        assert ("lock", "off") in kinds_found
        assert ("removed", "gone") in kinds_found


def test_a_removal_by_a_clock_that_was_ahead(tmp_path):
    """Whoever runs code in the vault's process can forge every clock that it asks; the time to come shows it."""

    class Clock:
        ahead = 0

        def now_ns(self):
            import time

            return time.time_ns() + self.ahead

        def monotonic_ns(self):
            import time

            return time.monotonic_ns()

        def boottime_ns(self):
            return self.monotonic_ns() + self.ahead

        def error_ns(self):
            return 0

    clock = Clock()
    with tv.open(tmp_path / "data", clock=clock) as vault:
        bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 100))
        version = bucket.put("a", b"x").version_id
    clock.ahead = 10 * 365 * 86_400 * 10**9
    with tv.open(tmp_path / "data", clock=clock) as vault:
        vault.bucket("kept").delete("a", version_id=version)
    with tv.open(tmp_path / "data") as vault:
        assert findings(vault) == [("clock", "lock/clock"), ("removed", "a")]


def test_a_null_version_that_was_locked_later(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("kept")
        bucket.put("null", b"x")
        bucket.set_versioning("enabled")
        bucket.set_object_lock()
        bucket.hold("null", "null", True)
        assert findings(vault) == []


def test_the_digest_of_a_locked_body_is_in_the_trail(tmp_path):
    """The entity tag alone (MD5) is no proof against whoever wrote the version with a collision in hand."""
    import hashlib

    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("kept", object_lock=True)
        bucket.put("small", b"x")
        bucket.put("large", b"y" * 400_000)
        bucket.put_many([("many", b"z")])
        told = {record.key: record.detail["sha256"] for record in vault.audit.query(action="PutObject")}
        assert told == {
            key: hashlib.sha256(body).hexdigest()
            for key, body in (("small", b"x"), ("large", b"y" * 400_000), ("many", b"z"))
        }
        upload = bucket.create_upload("parts")
        bodies = [b"p" * (5 << 20), b"q"]
        parts = [(n, bucket.put_part("parts", upload.upload_id, n, body).etag) for n, body in enumerate(bodies, 1)]
        bucket.complete_upload("parts", upload.upload_id, parts)
        (made,) = vault.audit.query(action="PutObject", key="parts")
        assert made.detail["sha256"] == hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in bodies)).hexdigest()
        assert vault.reconcile().ok


def test_beside_somebody_who_writes(tmp_path):
    import threading

    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("kept", retention=("GOVERNANCE", 1))
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                version = bucket.put(f"k{number % 50}", b"x").version_id
                if number % 3 == 0:
                    bucket.delete(f"k{number % 50}", version_id=version, bypass_governance=True)
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                assert vault.reconcile().ok, vault.reconcile().findings
        finally:
            stop.set()
            writer.join()


def edit_index(vault: tv.Vault, key: bytes, change) -> None:
    """Edit an entry of the index that is a document, below every guard, checksums and all."""
    engine = vault.store.engine
    txn = engine.index.recent.begin(write=True)
    raw = txn.get(key) or engine.index.get(key)
    found = entries.decode_document(key, raw)
    place = entries.Location(*found.location)
    txn.put(key, entries.encode_document(key, found.sequence, place, change(found.data)))
    txn.commit()


def test_settings_and_identities_that_somebody_edited(vault):
    bucket = vault.create_bucket("raw", encryption="aes-256-gcm")
    vault.identities.create_user("eve")
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}'
    vault.identities.put_inline_policy("none", text, user="eve")
    assert kinds(vault) == []
    vault.audit.catch_up()

    def allowed(data):
        assert "Deny" in data["inline_policies"]["none"]
        return {**data, "inline_policies": {"none": text.replace("Deny", "Allow")}}

    edit_index(vault, entries.document_key("iam/user/eve"), allowed)
    assert kinds(vault) == [("changed", "iam/user/eve")]
    vault.identities.put_inline_policy("none", text, user="eve")
    assert kinds(vault) == []
    edit_index(vault, entries.bucket_key("raw"), lambda data: {**data, "doc": {}})
    vault.store.engine.control.bump_settings()
    (finding,) = vault.reconcile().findings
    assert (finding.kind, finding.bucket) == ("changed", "raw")
    assert "settings" in finding.text
    assert bucket.name == "raw"


def test_a_document_that_vanished_and_one_that_nobody_wrote(vault):
    vault.identities.create_user("alice")
    vault.identities.create_user("bob")
    vault.identities.delete_user("bob")
    assert kinds(vault) == []
    vault.audit.catch_up()
    engine = vault.store.engine
    txn = engine.index.recent.begin(write=True)
    key = entries.document_key("iam/user/alice")
    raw = txn.get(key) or engine.index.get(key)
    found = entries.decode_document(key, raw)
    assert txn.delete(key)
    forged = entries.document_key("iam/user/mallory")
    txn.put(forged, entries.encode_document(forged, found.sequence, entries.Location(*found.location), found.data))
    txn.commit()
    assert sorted(kinds(vault)) == [("missing", "iam/user/alice"), ("unknown", "iam/user/mallory")]


def test_tags_and_headers_are_proven_as_they_were_set_last(vault):
    for name, options in (("kept", {"object_lock": True}), ("plain", {})):
        bucket = vault.create_bucket(name, **options)
        bucket.put("a", b"x", headers={"cache-control": "no-store"}, tags={"desk": "rates"})
        bucket.put("b", b"x", headers={"cache-control": "no-store"}, tags={"desk": "rates"})
        bucket.set_tags("b", {"desk": "fx"})
        bucket.set_headers("b", {"content-language": "en"})
        bucket.put("c", b"x")
        bucket.set_tags("c", {"desk": "fx"})
        bucket.set_tags("c", {})
        bucket.copy("b", "d")
    vault["kept"].hold("b", None, True)
    assert findings(vault, everything=True) == []


@pytest.mark.parametrize("field", ["tg", "hd"])
def test_attributes_that_somebody_edited(vault, field):
    bucket = vault.create_bucket("kept", object_lock=True)
    info = bucket.put("a", b"x", legal_hold=True)
    bucket.set_tags("a", {"desk": "rates"})
    bucket.put("b", b"x", headers={"cache-control": "no-store"}, tags={"desk": "rates"})
    assert findings(vault) == []

    key = entries.attributes_key(bucket.bucket_id, b"a", info.sequence)
    edit_index(vault, key, lambda data: {**data, field: {"forged": "yes"}})
    ((kind, text),) = [(finding.kind, finding.text) for finding in vault.reconcile().findings]
    assert kind == "changed"
    assert {"tg": "tags", "hd": "headers"}[field] in text


@pytest.mark.parametrize("field", ["tagged", "headers"])
def test_attributes_of_a_record_that_somebody_edited(vault, field):
    from tickvault.objects.reconciling import reconcile

    bucket = vault.create_bucket("kept", object_lock=True)
    bucket.put("b", b"x", headers={"cache-control": "no-store"}, tags={"desk": "rates"})
    # The trail says that something else was written: what is stored now is not that.
    records = [
        record._replace(detail={**record.detail, field: "0" * 32}) if field in record.detail else record
        for record in vault.audit.query()
    ]
    report = reconcile(vault.store, lambda first: [one for one in records if one.sequence >= first])
    assert [(finding.kind, finding.key) for finding in report.findings] == [("changed", "b")]


def test_the_time_of_a_delete_marker(vault):
    from tickvault.objects.reconciling import reconcile

    bucket = vault.create_bucket("kept", object_lock=True)
    bucket.put("a", b"x")
    bucket.delete("a")
    assert findings(vault) == []
    records = [
        record._replace(time_ns=record.time_ns + 1) if "delete_marker" in record.detail else record
        for record in vault.audit.query()
    ]
    report = reconcile(vault.store, lambda first: [one for one in records if one.sequence >= first])
    ((kind, text),) = [(finding.kind, finding.text) for finding in report.findings]
    assert kind == "changed"
    assert "time of the delete marker" in text


def test_a_compliance_clock_that_is_ahead(tmp_path):
    """Whoever writes the vault's files can write the clock's record, and wait for nothing."""
    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 365))
        bucket.put("a", b"x")
        assert findings(vault) == []
        mark = dict(vault.store.documents.get(entries.CLOCK_DOCUMENT).data)
        ahead = 3 * 365 * 86_400 * 10**9
        meta = entries.pack({**mark, "t": mark["t"] + ahead, "o": mark["o"] - ahead})
        without_guards(vault, Kind.DOCUMENT, entries.CLOCK_DOCUMENT.encode(), meta, bucket_id=0)
        ((kind, text),) = [(finding.kind, finding.text) for finding in vault.reconcile().findings]
        assert kind == "clock"
        assert "1,095 days ahead" in text
