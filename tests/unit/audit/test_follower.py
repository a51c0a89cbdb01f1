"""The follower: every change of a vault is in its trail, once, in order, with whoever made it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.audit.actor import Actor
from tickvault.audit.record import AuditRecord, Category
from tickvault.engine.attribution import calling
from tickvault.engine.engine import EngineOptions

SMALL = EngineOptions(segment_size_first=64 * 1024, segment_size_max=64 * 1024)


@pytest.fixture
def vault(tmp_path: Path):
    with tv.open(tmp_path / "data") as opened:
        yield opened


def changes(vault: tv.Vault, **options) -> list[AuditRecord]:
    return list(vault.audit.query(category=Category.CHANGE, **options))


def test_every_kind_of_change_is_told_in_s3s_words(vault):
    bucket = vault.create_bucket("raw", versioning=True)
    first = bucket.put("a", b"one")
    bucket.put("a", b"two")
    bucket.set_tags("a", {"desk": "rates"})
    bucket.delete("a")
    bucket.delete("a", version_id=first.version_id)
    bucket.copy("a", "b", version_id=next(v for v in bucket.versions("a") if not v.delete_marker).version_id)
    upload = bucket.create_upload("big")
    part = bucket.put_part("big", upload.upload_id, 1, b"x" * 300_000)
    bucket.complete_upload("big", upload.upload_id, [(1, part.etag)])
    other = bucket.create_upload("given-up")
    bucket.abort_upload("given-up", other.upload_id)
    bucket.set_durability("relaxed")
    vault.create_bucket("gone")
    vault.delete_bucket("gone")
    found = changes(vault)
    assert [(record.action, record.bucket, record.key) for record in found] == [
        ("CreateBucket", "raw", ""),
        ("PutObject", "raw", "a"),
        ("PutObject", "raw", "a"),
        ("PutObjectTagging", "raw", "a"),
        ("DeleteObject", "raw", "a"),
        ("DeleteObjectVersion", "raw", "a"),
        ("PutObject", "raw", "b"),
        ("CreateMultipartUpload", "raw", "big"),
        ("UploadPart", "raw", "big"),
        ("PutObject", "raw", "big"),
        ("CreateMultipartUpload", "raw", "given-up"),
        ("AbortMultipartUpload", "raw", "given-up"),
        ("PutBucketSettings", "raw", ""),
        ("CreateBucket", "gone", ""),
        ("DeleteBucket", "gone", ""),
    ]
    assert found[1].version_id == first.version_id
    assert found[1].detail["etag"] == first.etag
    assert found[9].size_bytes == 300_000
    sequences = [record.vault_sequence for record in found]
    assert sequences == sorted(set(sequences))


def test_locks_and_what_bypasses_them(vault):
    bucket = vault.create_bucket("kept", retention=("GOVERNANCE", 10))
    info = bucket.put("a", b"one")
    bucket.hold("a", None, True)
    with pytest.raises(tv.LockedError):
        bucket.delete("a", version_id=info.version_id, bypass_governance=True)
    bucket.hold("a", None, False)
    bucket.delete("a", version_id=info.version_id, bypass_governance=True)
    found = changes(vault, bucket="kept")
    assert [record.action for record in found] == [
        "CreateBucket",
        "PutObject",
        "PutObjectLegalHold",
        "PutObjectLegalHold",
        "DeleteObjectVersion",
    ]
    assert found[1].detail["retention_mode"] == "GOVERNANCE"
    assert [record.detail["legal_hold"] for record in found[1:4]] == ["off", "on", "off"]
    assert found[4].detail["bypass_governance"] == "true"
    (refusal,) = vault.audit.query(category=Category.REFUSAL)
    assert (refusal.action, refusal.result) == ("DeleteObjectVersion", "ObjectLocked")
    assert (refusal.bucket, refusal.key, refusal.version_id) == ("kept", "a", info.version_id)
    assert "legal hold" in refusal.detail["reason"]


def test_a_change_is_whose_it_is_also_in_a_group_commit(vault):
    bucket = vault.create_bucket("raw")

    def write(name: str) -> None:
        with calling(Actor("s3", f"user-{name}", "10.0.0.1", f"R{name}", "PutObject").caller()):
            for number in range(40):
                bucket.put(f"{name}/{number}", b"x")

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = changes(vault, action="PutObject")
    assert len(found) == 320
    for record in found:
        name = record.key.partition("/")[0]
        assert (record.identity, record.request_id, record.source) == (f"user-{name}", f"R{name}", "10.0.0.1")


def test_a_change_without_a_caller_is_this_process_s(vault):
    vault.create_bucket("raw")
    (record,) = changes(vault)
    assert record.door == "embedded"
    assert record.identity.startswith("local:")
    assert record.source.startswith("pid ")


def test_nothing_is_told_twice_and_nothing_is_left_out_over_many_segments(tmp_path):
    path = tmp_path / "data"
    written = 0
    for round_ in range(4):
        with tv.open(path, options=SMALL) as vault:
            bucket = vault.store.bucket("raw") if round_ else vault.create_bucket("raw")
            for number in range(200):
                bucket.put(f"{round_}/{number}", b"x" * 500)
            written += 200
            if round_ == 2:
                bucket.put_many([(f"many/{number}", b"y") for number in range(5000)])
                written += 5000
            if round_ % 2:
                vault.audit.catch_up()
    with tv.open(path, options=SMALL) as vault:
        found = changes(vault, action="PutObject")
        assert vault.audit.verify().ok
    assert len({record.key for record in found}) == len(found) == written
    assert [record.vault_sequence for record in found] == sorted(record.vault_sequence for record in found)


def test_compaction_waits_for_the_trail(tmp_path):
    with tv.open(tmp_path / "data", options=SMALL) as vault:
        bucket = vault.create_bucket("raw")
        for number in range(600):
            bucket.put(f"k{number % 10}", b"x" * 500)
        # As if the process that holds the trail had stopped: nobody has read anything yet.
        vault.audit.catch_up = lambda: None  # type: ignore[method-assign]
        from tickvault.engine.compaction import compact

        held = compact(vault.store.engine, dead_ratio_min=0)
        assert held.segments_retired == 0
        assert held.held_from == 0
        del vault.audit.catch_up
        freed = vault.compact(dead_ratio_min=0)
        assert freed.segments_retired > 0
        assert len(changes(vault, action="PutObject")) == 600


def test_moves_of_compaction_are_no_changes(tmp_path):
    with tv.open(tmp_path / "data", options=SMALL) as vault:
        bucket = vault.create_bucket("raw")
        for number in range(300):
            bucket.put(f"k{number}", b"x" * 500)
        before = len(changes(vault))
        assert vault.compact(dead_ratio_min=0).records_moved > 0
        assert len(changes(vault)) == before


def test_what_a_power_cut_could_take_back_is_not_told(tmp_path):
    """Else the trail would swear to a write that the vault then lacks."""
    with tv.open(tmp_path / "data", options=EngineOptions(background=False)) as vault:
        bucket = vault.create_bucket("raw", durability="relaxed")
        vault.audit.catch_up()
        bucket.put("later", b"x")
        vault.audit.follower().step()
        from tickvault.audit.query import query

        assert not [record for record in query(vault.audit.folder) if record.key == "later"]
        vault.store.engine.sync()
        assert [record.key for record in changes(vault, key="later")] == ["later"]


def test_the_clock_that_is_set_is_told(tmp_path):
    class Clock:
        def __init__(self) -> None:
            self.wall, self.counted = 1_800_000_000 * 10**9, 10**12

        def now_ns(self) -> int:
            return self.wall

        def monotonic_ns(self) -> int:
            return self.counted

        def boottime_ns(self) -> int:
            return self.counted

        def error_ns(self) -> int:
            return 7

    clock = Clock()
    with tv.open(tmp_path / "data", clock=clock) as vault:
        vault.create_bucket("kept", object_lock=True)
        clock.wall += 7 * 365 * 86_400 * 10**9
        assert vault.store.lock_clock.observe()
        clock.wall -= 7 * 365 * 86_400 * 10**9
        assert vault.store.lock_clock.observe()
        jumps = list(vault.audit.query(action="ClockSet"))
    assert [int(record.detail["jump_ns"]) // (86_400 * 10**9) for record in jumps] == [7 * 365, -7 * 365]
    assert jumps[0].clock_error_ns == 7


def test_an_older_vault_s_records_are_told_without_a_caller(tmp_path):
    with tv.open(tmp_path / "data", audit=False) as vault:
        vault.create_bucket("raw").put("a", b"x")
    assert not (tmp_path / "data" / "audit").exists()
    with tv.open(tmp_path / "data") as vault:
        found = changes(vault)
    assert [(record.action, record.door) for record in found] == [("CreateBucket", "unknown"), ("PutObject", "unknown")]


def test_a_backup_brings_the_trail_and_a_restored_vault_goes_on_with_it(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("raw")
        bucket.put("a", b"x")
        head = vault.audit.verify().head
        vault.backup(tmp_path / "backup")
        bucket.put("after", b"x")
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    with tv.open(tmp_path / "restored") as vault:
        vault.bucket("raw").put("b", b"y")
        report = vault.audit.verify(expected_head=head)
        assert report.ok, report.text()
        assert [record.key for record in changes(vault, action="PutObject")] == ["a", "b"]


def test_documents_are_told_by_name_and_not_by_content(vault):
    vault.store.documents.put("iam/user/alice", {"secret": "hunter2"})
    vault.store.documents.put("audit/settings", {"hash": "sha-256"})
    vault.store.documents.remove("iam/user/alice")
    found = changes(vault)
    assert [(record.action, record.key) for record in found] == [
        ("PutUser", "iam/user/alice"),
        ("PutDocument", "audit/settings"),
        ("DeleteUser", "iam/user/alice"),
    ]
    assert "hunter2" not in repr(found)


def test_a_forked_child_writes_and_records_for_itself(vault, tmp_path):
    import os

    bucket = vault.create_bucket("kept", retention=("COMPLIANCE", 1))
    version = bucket.put("a", b"x").version_id
    with pytest.raises(tv.LockedError):
        bucket.delete("a", version_id=version)
    vault.audit.catch_up()
    child = os.fork()
    if not child:
        try:
            bucket.put("child", b"x")
            try:
                bucket.delete("a", version_id=version)
            except tv.LockedError:
                os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    (record,) = changes(vault, key="child")
    assert record.source.startswith(f"pid {child} ")
    refusals = list(vault.audit.query(category=Category.REFUSAL))
    assert [record.source.split()[1] for record in refusals] == [str(os.getpid()), str(child)]


def test_reads_through_python_are_told_where_a_bucket_asks_for_it(vault, tmp_path):
    bucket, other = vault.create_bucket("raw"), vault.create_bucket("other")
    bucket.put_many([("a", b"four"), ("b", b"x" * 300)])
    other.put("c", b"y")
    bucket.get("a")
    assert not list(vault.audit.query(category=Category.READ))
    # Through another handle: every handle in every process notices.
    vault.bucket("raw").audit_reads(True)
    bucket.get("a")
    bucket.get("a", start=1, end=3)
    bucket.get_many(["a", "b"])
    bucket.get_ranges("b", [(0, 10), (20, 30)])
    bucket.read("b")
    bucket.head("a")
    list(bucket.list("pre"))
    other.get("c")
    found = list(vault.audit.query(category=Category.READ))
    assert [(record.action, record.key, record.size_bytes) for record in found] == [
        ("GetObject", "a", 4),
        ("GetObject", "a", 2),
        ("GetObject", "a", 4),
        ("GetObject", "b", 300),
        ("GetObject", "b", 20),
        ("GetObject", "b", 300),
        ("HeadObject", "a", 0),
        ("ListObjectsV2", "pre", 0),
    ]
    vault.bucket("raw").audit_reads(False)
    bucket.get("a")
    assert len(list(vault.audit.query(category=Category.READ))) == len(found)


def test_the_process_that_has_the_trail_lets_it_go(tmp_path):
    import subprocess
    import sys
    import time

    path = tmp_path / "data"
    with tv.open(path) as vault:
        vault.create_bucket("raw")
    script = (
        "import sys, time, tickvault as tv\n"
        "with tv.open(sys.argv[1]) as vault:\n"
        "    vault.audit.catch_up()\n"
        "    print('has it', flush=True)\n"
        "    for number in range(1000):\n"
        "        vault.bucket('raw').put(str(number), b'x')\n"
        "        time.sleep(0.02)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with tv.open(path) as vault:
            # It may be read and verified while the other has it, and is as of now.
            vault.bucket("raw").put("mine", b"x")
            assert [record.key for record in vault.audit.query(key="mine")] == ["mine"]
            began = time.monotonic()
            key_id = vault.audit.rotate_key()
            assert time.monotonic() - began < 5
            report = vault.audit.verify()
            assert report.ok, report.text()
            assert key_id in report.text()
            # And the other goes on with it, under the new key.
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with tv.open(path) as vault:
        assert vault.audit.verify().ok
        told = [record.key for record in vault.audit.query(action="PutObject")]
        assert len(told) == len(set(told))
        assert set(told) == {info.key for info in vault.bucket("raw").list()}


def test_maintenance_is_told(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("raw").put("a", b"x")
        vault.verify()
        vault.compact()
        vault.backup(tmp_path / "backup")
    tv.rebuild_index(tmp_path / "data")
    with tv.open(tmp_path / "data") as vault:
        done = [record.action for record in vault.audit.query(category=Category.SYSTEM)]
        assert done[-4:] == ["Verify", "Compact", "Backup", "RebuildIndex"]
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    with tv.open(tmp_path / "restored") as vault:
        (record,) = vault.audit.query(action="Restore")
        assert record.identity.startswith("local:")


def resident_of_segments(folder: Path) -> int:
    """Return the bytes of the vault's segments that this process has in its page table."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024 if ours else 0
        elif line.partition(" ")[0].count("-") == 1:
            ours = f"{folder}/segments/" in line
    return total


def test_following_large_writes_takes_no_memory_for_their_bodies(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        bucket = vault.create_bucket("raw", durability="relaxed")
        body = b"x" * 60_000
        for number in range(1_000):
            bucket.put(f"{number:04}", body)
        # A query follows until nothing is left to follow.
        assert sum(1 for _ in vault.audit.query(action="PutObject")) == 1_000
        held = resident_of_segments(tmp_path / "data")
        assert held < 16 << 20, f"{held >> 20} MiB of 57 MiB stay mapped"
        assert bucket.get("0500") == body


def test_a_bucket_that_was_removed_while_nobody_followed_has_its_name(tmp_path):
    """Its puts and deletes stood in the trail under a number, where no query by its name found them."""
    options = EngineOptions(background=False)
    with tv.open(tmp_path / "data", options=options) as vault:
        bucket = vault.create_bucket("scratch", durability="relaxed")
        bucket.put("told", b"1")
        vault.audit.catch_up()
        bucket.put("later", b"1")
        bucket.delete("told")
        bucket.delete("later")
        vault.delete_bucket("scratch")
        vault.create_bucket("scratch").put("anew", b"2")
        # As a process that dies here leaves it: the next to follow knows no bucket of that number.
        vault.store.auditor.follower().close()
        vault.store.auditor.enabled = False
    with tv.open(tmp_path / "data", options=options) as vault:
        told = [(record.action, record.key) for record in vault.audit.query(bucket="scratch")]
        assert told == [
            ("CreateBucket", ""),
            ("PutObject", "told"),
            ("PutObject", "later"),
            ("DeleteObject", "told"),
            ("DeleteObject", "later"),
            ("DeleteBucket", ""),
            ("CreateBucket", ""),
            ("PutObject", "anew"),
        ]
        assert vault.reconcile(everything=True).findings == []
