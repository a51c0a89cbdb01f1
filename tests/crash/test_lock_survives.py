"""What was acknowledged as locked stays locked: after kill -9, power cuts, rebuilds, backups, and on a damaged disk.

``TICKVAULT_LOCK_CUTS`` sets how many power cuts are tried, ``TICKVAULT_LOCK_FLIPS`` how many bytes are flipped.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from simdisk import SimDisk, SimHost, cut_after, power_off

import tickvault as tv
from tickvault.engine.compaction import compact
from tickvault.engine.engine import EngineOptions
from tickvault.engine.record import Record, decode_record
from tickvault.objects import entries
from tickvault.objects.bucket import Bucket
from tickvault.objects.entries import Kind
from tickvault.objects.interpreter import ObjectInterpreter
from tickvault.objects.lock.guard import LockGuard
from tickvault.objects.store import ObjectStore, open_store

CUTS = int(os.environ.get("TICKVAULT_LOCK_CUTS", "25"))
FLIPS = int(os.environ.get("TICKVAULT_LOCK_FLIPS", "40"))
OPTIONS = EngineOptions(
    segment_size_first=32 * 1024, segment_size_max=64 * 1024, body_segment_size_max=2 << 20, background=False
)
DAY_NS = 86_400 * 10**9
FAR_NS = 4_102_444_800 * 10**9


class LostLockError(AssertionError):
    """A version that was acknowledged as locked is gone, or can be removed."""


class Kept(NamedTuple):
    """A version that was acknowledged as locked, and how at least."""

    bucket: str
    key: str
    version_id: str
    body: bytes
    mode: str | None = None
    until_ns: int = 0
    hold: bool = False


def check_kept(store: ObjectStore | tv.Vault, kept: Kept, *, readable: bool = True) -> None:
    """Try every verb that could remove or release the version."""
    bucket = store.bucket(kept.bucket)
    if readable:
        info = bucket.head(kept.key, version_id=kept.version_id)
        if info.retain_until_ns < kept.until_ns or (kept.hold and not info.legal_hold):
            raise LostLockError(f"{kept} is locked as {info}")
        assert bucket.get(kept.key, version_id=kept.version_id) == kept.body
    for bypass in (False, kept.mode != "GOVERNANCE" or kept.hold):
        try:
            gone = bucket.delete(kept.key, version_id=kept.version_id, bypass_governance=bypass)
        except (tv.LockedError, tv.IntegrityError):
            continue
        raise LostLockError(f"{kept}: {gone}")
    (result,) = bucket.delete_many([(kept.key, kept.version_id)])
    if not isinstance(result, tv.TickVaultError):
        raise LostLockError(f"{kept}: {result}")
    if kept.mode is not None:
        try:
            bucket.retain(kept.key, kept.version_id, None, None)
        except (tv.LockedError, tv.IntegrityError):
            return
        raise LostLockError(f"{kept}: its retention could be lifted")


# -- power cuts


class Machine:
    """A vault on a simulated disk, and the locks that were acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = str(folder / "vault")
        self.rng = random.Random(seed)
        self.disk, self.host = SimDisk(), SimHost(seed)
        self.kept: dict[tuple[str, str], Kept] = {}
        self.boot()
        # Also where a write is acknowledged before it is durable: a lock is not.
        self.store.create_bucket("strict", object_lock=True)
        self.store.create_bucket("relaxed", object_lock=True, durability="relaxed", retention=("COMPLIANCE", 9000))

    def boot(self, **arguments: bool) -> None:
        self.store = open_store(self.path, options=OPTIONS, disk=self.disk, host=self.host, **arguments)

    def live(self, steps: int) -> None:
        for number in range(steps):
            bucket = self.store.bucket(self.rng.choice(("strict", "relaxed")))
            self._step(bucket, f"k{self.rng.randrange(4)}", b"%d." % number * self.rng.choice((1, 50, 70_000)))

    def _step(self, bucket: Bucket, key: str, body: bytes) -> None:
        action = self.rng.choice(("put", "put", "retained", "held", "retain", "hold", "delete", "compact"))
        known = [kept for kept in self.kept.values() if kept.bucket == bucket.name]
        if action == "compact":
            self.store.engine.checkpoint(wait=True)
            compact(self.store.engine, dead_ratio_min=self.rng.choice((0.0, 0.3)))
        elif action == "delete":
            bucket.delete(key)
        elif action in ("retain", "hold") and known:
            old = self.rng.choice(known)
            if action == "retain":
                until_ns = max(old.until_ns, FAR_NS) + self.rng.randrange(1, 50) * DAY_NS
                mode = old.mode or "COMPLIANCE"
                bucket.retain(old.key, old.version_id, mode, until_ns)
                self.acknowledge(old._replace(mode=mode, until_ns=until_ns))
            else:
                bucket.hold(old.key, old.version_id, True)
                self.acknowledge(old._replace(hold=True))
        else:
            lock: dict[str, Any] = {}
            if action == "retained":
                lock = {"retention_mode": self.rng.choice(("COMPLIANCE", "GOVERNANCE")), "retain_until": FAR_NS}
            elif action == "held":
                lock = {"legal_hold": True}
            info = bucket.put(key, body, **lock)
            if info.locked:
                self.acknowledge(
                    Kept(
                        bucket.name,
                        key,
                        info.version_id,
                        body,
                        info.retention_mode,
                        info.retain_until_ns,
                        info.legal_hold,
                    )
                )

    def acknowledge(self, kept: Kept) -> None:
        self.kept[kept.bucket, kept.version_id] = kept

    def power_cut(self) -> None:
        power_off(self.store)
        self.disk.crash(self.rng)
        self.host.boot += 1

    def check(self) -> None:
        for kept in self.kept.values():
            check_kept(self.store, kept)


def run_with_cuts(folder: Path, seed: int) -> int:
    """Two lives of a vault, each cut off somewhere; return how many locks were acknowledged."""
    machine = Machine(folder, seed)
    for _ in range(2):
        with cut_after(machine.disk, machine.rng.randrange(5, 90)):
            machine.live(25)
        machine.power_cut()
        machine.boot()
        machine.check()
    machine.store.close()
    machine.boot(rebuild=True)
    machine.check()
    assert not machine.store.engine.report.damage
    machine.store.close()
    return len(machine.kept)


def test_no_power_cut_takes_a_lock(tmp_path: Path) -> None:
    count = 0
    for seed in range(CUTS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        count += run_with_cuts(folder, seed)
        shutil.rmtree(folder)
    assert count > 3 * CUTS


@pytest.mark.parametrize("planted", ["a sync that lies", "locks not strict", "the guard sleeps", "replay forgets"])
def test_the_harness_catches_a_planted_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    if planted == "a sync that lies":
        original_init = SimDisk.__init__

        def lying(self: SimDisk) -> None:
            original_init(self)
            self.lying = True

        monkeypatch.setattr(SimDisk, "__init__", lying)
    elif planted == "locks not strict":
        from tickvault.engine.commit import Transaction

        original_append = Transaction.append

        def lax(self: Any, kind: int, *rest: Any, **more: Any) -> Any:
            self.strict = self.strict and kind not in (Kind.LOCK, Kind.PUT)
            return original_append(self, kind, *rest, **more)

        monkeypatch.setattr(Transaction, "append", lax)
    elif planted == "the guard sleeps":
        monkeypatch.setattr(LockGuard, "_check_kept", lambda *arguments, **more: None)
    else:
        original_apply = ObjectInterpreter.apply

        def forgetful(self: Any, writer: Any, kind: int, *rest: Any) -> None:
            if kind != Kind.LOCK or hasattr(writer, "append"):
                original_apply(self, writer, kind, *rest)

        monkeypatch.setattr(ObjectInterpreter, "apply", forgetful)
    with pytest.raises((AssertionError, tv.TickVaultError, OSError)):
        for seed in range(60):
            folder = tmp_path / str(seed)
            folder.mkdir()
            run_with_cuts(folder, seed)


# -- kill -9

_WRITER = """
import itertools, json, os, sys
import tickvault as tv
bucket = tv.open(sys.argv[1])["kept"]
log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
for number in itertools.count():
    key, body = f"{os.getpid()}/{number}", b"%d" % number * 100
    info = bucket.put(key, body)
    if number % 3 == 0:
        info = bucket.hold(key, info.version_id, True)
    elif number % 3 == 1:
        info = bucket.retain(key, info.version_id, "COMPLIANCE", info.retain_until_ns + number)
    told = [key, info.version_id, number, info.retention_mode, info.retain_until_ns, info.legal_hold]
    os.write(log, json.dumps(told).encode() + b"\\n")
"""


def test_what_a_killed_writer_was_told_is_locked_stays_locked(tmp_path: Path) -> None:
    rng = random.Random(1)
    with tv.open(tmp_path / "vault") as vault:
        vault.create_bucket("kept", retention=("COMPLIANCE", 100))
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path / "vault", tmp_path / f"log{number}"])
            for number in range(2)
        ]
        deadline = time.monotonic() + 20
        sizes = [0, 0]
        while min(sizes) < 4000 and time.monotonic() < deadline:
            time.sleep(0.02)
            sizes = [_size(tmp_path / f"log{number}") for number in range(2)]
        time.sleep(rng.random() / 20)
        for writer in writers:
            writer.kill()
            writer.wait()
        with tv.open(tmp_path / "vault") as vault:
            count = 0
            for kept in _told(tmp_path):
                check_kept(vault, kept)
                count += 1
            assert count > 20
        for number in range(2):
            (tmp_path / f"log{number}").unlink()
    tv.rebuild_index(tmp_path / "vault")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _told(folder: Path) -> Iterator[Kept]:
    for number in range(2):
        for line in (folder / f"log{number}").read_bytes().split(b"\n")[:-1][-40:]:
            key, version_id, number_, mode, until_ns, hold = json.loads(line)
            yield Kept("kept", key, version_id, b"%d" % number_ * 100, mode, until_ns, hold)


# -- compaction, rebuild, backup, restore


def lock_every_way(vault: tv.Vault) -> list[Kept]:
    """Versions locked when they were written, and later, and longer than at first; null versions too."""
    bucket = vault.create_bucket("kept")
    bucket.put("null", b"null")
    bucket.set_versioning("enabled")
    bucket.set_object_lock()
    made = [
        bucket.put("inline", b"inline", retention_mode="COMPLIANCE", retain_until=FAR_NS),
        bucket.put("later", b"later"),
        bucket.put("extended", b"extended", retention_mode="GOVERNANCE", retain_until=time.time_ns() + 3 * 10**8),
        bucket.put("held", b"held"),
        bucket.put("large", b"large" * 70_000, retention_mode="COMPLIANCE", retain_until=FAR_NS),
    ]
    made[1] = bucket.retain("later", None, "COMPLIANCE", FAR_NS)
    made[2] = bucket.retain("extended", None, "GOVERNANCE", FAR_NS)
    made[3] = bucket.hold("held", None, True)
    made.append(bucket.retain("null", "null", "COMPLIANCE", FAR_NS))
    for key in ("inline", "later", "extended", "held", "null"):
        bucket.put(key, b"newer")
    return [
        Kept(
            "kept",
            info.key,
            info.version_id,
            b"large" * 70_000 if info.key == "large" else info.key.encode(),
            info.retention_mode,
            info.retain_until_ns,
            info.legal_hold,
        )
        for info in made
    ]


def check_all(vault: tv.Vault, kept: list[Kept]) -> None:
    for one in kept:
        check_kept(vault, one)


def test_a_lock_older_than_the_moved_copy_of_its_version(tmp_path: Path) -> None:
    """Compaction moves the version behind its LOCK record; a rebuild meets the lock first, and the version later."""
    path = tmp_path / "vault"
    with tv.open(path, options=OPTIONS) as vault:
        bucket = vault.create_bucket("kept", object_lock=True)
        scratch = vault.create_bucket("scratch")
        info = bucket.put("k", b"v")
        first, number = vault.store.engine.tail().segment_id, 0
        while vault.store.engine.tail().segment_id == first:
            number += 1
            scratch.put(f"dead/{number}", bytes(9_000))
        info = bucket.retain("k", None, "COMPLIANCE", FAR_NS)
        for dead in range(1, number):
            scratch.delete(f"dead/{dead}")
        for more in range(8):
            scratch.put(f"more/{more}", bytes(30_000))
        vault.compact(dead_ratio_min=0.5)
        put_at, lock_at = (
            entries.decode_entry(key, raw)[6:8] if key[:1] == b"O" else entries.decode_document(key, raw).location[:2]
            for key in (
                entries.object_key(bucket.bucket_id, b"k"),
                entries.lock_key(bucket.bucket_id, b"k", info.sequence),
            )
            if (raw := vault.store.engine.index.get(key)) is not None
        )
        assert put_at > lock_at
    tv.rebuild_index(path)
    with tv.open(path, options=OPTIONS) as vault:
        check_kept(vault, Kept("kept", "k", info.version_id, b"v", "COMPLIANCE", FAR_NS))
        report = vault.verify()
        assert report.sound
        assert report.index_differences == 0


def test_compaction_rebuild_backup_and_restore_keep_every_lock(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with tv.open(path, options=OPTIONS) as vault:
        kept = lock_every_way(vault)
        for number in range(8):
            vault["kept"].put(f"fill/{number}", bytes(30_000))
        vault.backup(tmp_path / "backup")
        for _ in range(2):
            vault.compact(dead_ratio_min=0)
            check_all(vault, kept)
        vault.backup(tmp_path / "later backup")
    tv.rebuild_index(path)
    for place in (path, _restored(tmp_path, "backup"), _restored(tmp_path, "later backup")):
        with tv.open(place, options=OPTIONS) as vault:
            check_all(vault, kept)
            assert vault.bucket("kept").info.object_lock is not None
            with pytest.raises(tv.LockedError):
                vault["kept"].set_versioning("suspended")
            assert vault.verify().sound


def _restored(folder: Path, name: str) -> Path:
    tv.restore(folder / name, folder / f"restored {name}")
    return folder / f"restored {name}"


def test_a_library_lives_in_a_bucket_with_object_lock(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    days = [16_000 * DAY_NS, 16_001 * DAY_NS]
    with tv.open(tmp_path / "vault") as vault:
        vault.create_bucket("library-eod", retention=("COMPLIANCE", 30))
        library = vault.library("eod")
        library.append("AAPL", "ohlcv-1d", {"ts_event": days, "open": [1.0, 2.0], "close": [1.0, 2.0]}, venue="XNAS")
        # A correction is new rows; what they replace stays.
        library.append("AAPL", "ohlcv-1d", {"ts_event": days, "open": [3.0, 4.0], "close": [3.0, 4.0]}, venue="XNAS")
        found = vault["library-eod"].list_versions_page(limit=1000).versions
        locked = [info for info in found if not info.delete_marker]
        assert locked
        for info in locked:
            assert vault["library-eod"].head(info.key, version_id=info.version_id).retention_mode == "COMPLIANCE"
            with pytest.raises(tv.LockedError):
                vault["library-eod"].delete(info.key, version_id=info.version_id)
        assert len(library.read("AAPL", "ohlcv-1d")) in (2, 4)
    with tv.open(tmp_path / "vault") as vault:
        assert len(vault.library("eod").read("AAPL", "ohlcv-1d")) in (2, 4)
        vault.compact(dead_ratio_min=0)
        assert vault.verify().sound


# -- damage


def records(raw: bytes) -> Iterator[tuple[int, Record]]:
    view = memoryview(raw)
    for at in range(4096, len(raw), 64):
        if raw[at + 4 : at + 6] == b"TV":
            record = decode_record(view, at, len(raw))
            if record is not None:
                yield at, record


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Kept]]:
    """A closed vault with versions that are locked in every way."""
    path = tmp_path_factory.mktemp("small") / "vault"
    with tv.open(path, options=OPTIONS) as vault:
        kept = lock_every_way(vault)
    time.sleep(0.3)  # the first retention of the one that was extended is over
    return path, kept


def test_no_flipped_byte_releases_a_version(small: tuple[Path, list[Kept]], tmp_path: Path) -> None:
    """In the records of versions, locks, buckets and the clock, the index being built anew from them."""
    path, kept = small
    file = min((path / "segments").glob("journal-*.seg"))
    raw = file.read_bytes()
    wanted = (Kind.PUT, Kind.LOCK, Kind.BUCKET, Kind.DOCUMENT)
    places = [at + byte for at, one in records(raw) if one.kind in wanted for byte in range(one.length)]
    rng = random.Random(FLIPS)
    refused = told = 0
    for number, place in enumerate(rng.sample(places, min(FLIPS, len(places)))):
        copy = tmp_path / str(number)
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("index", "recent", "reserve"))
        with (copy / "segments" / file.name).open("r+b") as opened:
            opened.seek(place)
            opened.write(bytes([raw[place] ^ 1 << rng.randrange(8)]))
        try:
            vault = tv.open(copy, options=OPTIONS)
        except tv.IntegrityError:
            refused += 1
            continue
        with vault:
            damage = bool(vault.store.engine.report.damage)
            told += damage
            for one in kept:
                try:
                    vault[one.bucket].head(one.key, version_id=one.version_id)
                except tv.NotFoundError:
                    assert damage, f"{one} is gone, and nobody says so: byte {place}"
                    continue
                except tv.IntegrityError:
                    pass
                check_kept(vault, one, readable=False)
            if "kept" in vault and vault["kept"].info.object_lock is not None:
                with pytest.raises((tv.LockedError, tv.IntegrityError)):
                    vault["kept"].set_versioning("suspended")
        shutil.rmtree(copy)
    assert told > FLIPS / 2


@pytest.mark.parametrize("name", ["index", "recent"])
def test_a_damaged_index_releases_nothing(small: tuple[Path, list[Kept]], tmp_path: Path, name: str) -> None:
    """Values of the index, each with a bit flipped: entries of versions and locks have checksums of their own."""
    path, kept = small
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    with tv.open(copy, options=OPTIONS) as vault:
        engine = vault.store.engine
        engine.checkpoint(wait=True)
        with engine.snapshot() as snapshot:
            values = {
                key: bytes(raw)
                for tag, end in ((b"L", b"M"), (b"O", b"P"), (b"V", b"W"))
                for key, raw in snapshot.scan(tag, end)
            }
        rng = random.Random(name)
        environment = engine.index.index if name == "index" else engine.index.recent
        for key, raw in values.items():
            for at in rng.sample(range(len(raw)), 5):
                _write(environment, key, raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :])
                for one in kept:
                    if one.key.encode() in key:
                        check_kept(vault, one, readable=False)
            _write(environment, key, None if name == "recent" else raw)
        check_all(vault, kept)


def _write(environment: Any, key: bytes, value: bytes | None) -> None:
    txn = environment.begin(write=True)
    if value is None:
        txn.delete(key)
    else:
        txn.put(key, value)
    txn.commit()


@pytest.mark.parametrize("filling", [bytes, random.Random(1).randbytes], ids=["zeros", "garbage"])
def test_a_lock_record_that_was_wiped_releases_nothing(
    small: tuple[Path, list[Kept]], tmp_path: Path, filling: Any
) -> None:
    """A bad sector takes the record of a hold that was placed later; the index is built anew."""
    path, kept = small
    copy = tmp_path / "copy"
    shutil.copytree(path, copy, ignore=shutil.ignore_patterns("index", "recent", "reserve"))
    file, at, record = next(
        (file, at, one)
        for file in sorted((copy / "segments").glob("journal-*.seg"))
        for at, one in records(file.read_bytes())
        if (one.kind, one.key) == (10, b"held")
    )
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(filling(record.length))
    with tv.open(copy, options=OPTIONS) as vault:
        assert vault.store.engine.report.damage
        check_kept(vault, next(one for one in kept if one.key == "held"), readable=False)
