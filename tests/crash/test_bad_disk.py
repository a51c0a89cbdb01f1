"""Disks that fail: an I/O error at a sync, no space, no permission to write."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from peer import OPTIONS, PeerError, body_of, peer
from simdisk import SimDisk
from test_simulated_crash import Machine, machine, script

import tickvault as tv
from tickvault.objects.store import open_store

ROOT = os.geteuid() == 0


# -- an I/O error at a sync


def run_until_refused(vault: Machine, seed: int) -> Exception | None:
    """Carry out operations until one is refused; return its error."""
    for name, argument in script(seed):
        try:
            vault.step(name, argument)
        except tv.TickVaultError as error:
            return error
    return None


@pytest.mark.parametrize("after", ["close", "power cut"])
def test_a_failed_sync_at_any_place_refuses_writes_and_loses_nothing(after: str) -> None:
    """Stories: a poisoned vault could not be opened again, because the checkpoint of its recovery was refused, too;
    a sync that failed while a segment was made for a large body did not poison the vault; and batches in a segment
    after that of the last good sync were believed."""
    refused = 0
    for number in range(1, 60):
        with machine(number) as vault:
            vault.disk.fail_sync(number)
            error = run_until_refused(vault, 40 + number % 7)
            if error is None:
                continue
            refused += 1
            assert isinstance(error, tv.PoisonedError), f"sync {number}: {error!r}"
            with pytest.raises(tv.PoisonedError, match=r"opened again|open it again|reopen"):
                vault.store.bucket("plain").put("later", b"x")
            if after == "close":
                vault.store.close()
            else:
                vault.power_cut()
            vault._boot()
            vault.check(f"after {after} after sync {number} failed")
            vault.store.bucket("plain").put("again", b"x")
            vault.power_cut()
            vault._boot()
            assert vault.store.bucket("plain").get("again") == b"x"
    assert refused > 20


def test_after_a_failed_sync_every_process_refuses_writes_and_reads_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    disk = SimDisk()
    store = open_store(folder, options=OPTIONS, disk=disk)
    raw = store.create_bucket("raw")
    raw.put("before", body_of("before", 1000))
    with peer(folder) as other:
        other.ask("put", "raw", "theirs", 10)
        disk.fail_sync(1)
        with pytest.raises(tv.PoisonedError):
            raw.put("lost", b"x")
        with pytest.raises(PeerError, match=r"PoisonedError.*refuses writes"):
            other.ask("put", "raw", "refused", 10)
        with pytest.raises(tv.PoisonedError):
            raw.put("refused", b"x")
        assert raw.get("before") == body_of("before", 1000)
        assert other.ask("get", "raw", "before") == body_of("before", 1000).decode()
        assert other.ask("keys", "raw") == ["before", "theirs"]
        store.close()
        # As long as one process has it open, nobody trusts what the kernel may have forgotten.
        with peer(folder) as third, pytest.raises(PeerError, match="PoisonedError"):
            third.ask("put", "raw", "refused", 10)
    with tv.open(folder, options=OPTIONS) as vault:
        assert [info.key for info in vault["raw"].list()] == ["before", "theirs"]
        assert vault["raw"].put("again", b"x").sequence > 3


def test_relaxed_writes_that_were_synced_outlive_a_failed_sync(tmp_path: Path) -> None:
    """Story: the sync of relaxed writes was not noted as a good one, so that after a failed sync they were cut off."""
    disk = SimDisk()
    store = open_store(tmp_path / "vault", options=OPTIONS, disk=disk)
    relaxed = store.create_bucket("relaxed", durability="relaxed")
    strict = store.create_bucket("strict")
    relaxed.put("synced", b"x")
    store.engine.sync()
    relaxed.put("not synced", b"x")
    disk.fail_sync(1)
    with pytest.raises(tv.PoisonedError):
        strict.put("lost", b"x")
    store.close()
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        assert [info.key for info in vault["relaxed"].list()] == ["synced"]
        assert list(vault["strict"].list()) == []


# -- no space


def test_on_a_full_disk_reads_and_deletes_go_on_and_space_makes_it_whole(tmp_path: Path) -> None:
    disk = SimDisk()
    store = open_store(tmp_path / "vault", options=OPTIONS, disk=disk)
    raw = store.create_bucket("raw")
    raw.put("first", b"x" * 100)
    disk.full = True
    written = ["first"]
    with pytest.raises(tv.DiskFullError, match="no space"):
        for number in range(1000):
            raw.put(f"k{number}", b"x" * 5000)
            written.append(f"k{number}")
    with pytest.raises(tv.DiskFullError):
        raw.put("large", b"x" * 300_000)
    for key in written:
        assert len(raw.get(key)) in (100, 5000)
    assert raw.delete(written[-1]).existed
    disk.full = False
    raw.put("after", b"x" * 5000)
    raw.put("large", b"x" * 300_000)
    store.close()
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        assert sorted(info.key for info in vault["raw"].list()) == sorted([*written[:-1], "after", "large"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    options = ["-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)]
    if not ROOT or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_file_system_that_fills_up(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    with tv.open(small_disk / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw")
    # In a process of its own: a page that cannot be had would kill it.
    with peer(small_disk / "vault") as other:
        count = other.ask("fill", "raw", "large", 300_000)
        small = other.ask("fill", "raw", "small", 3000)
        assert count > 5
        assert small > 5
        assert other.ask("check", "raw", [f"large{number}" for number in range(count)], 300_000) == count
        assert other.ask("check", "raw", [f"small{number}" for number in range(small)], 3000) == small
        assert len(other.ask("keys", "raw")) == count + small
        assert other.ask("delete", "raw", "small0") is True
        ballast.unlink()
        other.ask("put", "raw", "after", 300_000)
        assert other.ask("get", "raw", "after").startswith("after")
    with tv.open(small_disk / "vault", options=OPTIONS) as vault:
        assert len(list(vault["raw"].list())) == count + small


def test_a_full_file_system_and_many_readers_at_once(small_disk: Path) -> None:
    """Story: LMDB's table of readers is a hole in its lock file; the page for the 63rd reader could not be had on a
    full disk, and the signal for that killed the process."""
    with tv.open(small_disk / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw").put("k", b"x")
    with peer(small_disk / "vault") as other:
        with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        assert other.ask("hold", 200) == 200
        assert other.ask("get", "raw", "k") == "x"
        other.ask("release")


def test_a_vault_is_opened_on_a_full_file_system(small_disk: Path) -> None:
    with tv.open(small_disk / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw").put("k", b"x" * 1000)
    with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with peer(small_disk / "vault") as other:
        assert other.ask("keys", "raw") == ["k"]


# -- no permission


def test_a_file_system_mounted_read_only_is_refused_with_words(small_disk: Path) -> None:
    """The story: who wanted to read only was not told that reading needs write access, too, nor what to do."""
    with tv.open(small_disk / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw").put("k", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(tv.StorageError, match=r"read-only.* reading needs write access .*restore a backup elsewhere"):
        tv.open(small_disk / "vault", options=OPTIONS)
    with pytest.raises(tv.StorageError, match=r"read-only|Read-only"):
        tv.open(small_disk / "new", options=OPTIONS)


def test_a_folder_this_user_may_not_write_to_is_refused_with_words() -> None:
    # Not below pytest's own folder, which only its owner may enter.
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    folder = place / "vault"
    with tv.open(folder, options=OPTIONS) as vault:
        vault.create_bucket("raw").put("k", b"x")
    folder.chmod(0o555)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if ROOT:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            tv.open(folder, options=OPTIONS)
        except tv.StorageError as error:
            status = 0 if "read-only" in str(error) or "ermission" in str(error) else 2
        finally:
            os._exit(status)
    refused = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    shutil.rmtree(place)
    assert refused


def test_a_seeded_mix_of_full_and_free_loses_nothing() -> None:
    """Space comes and goes while all kinds of operations run; what was refused has changed nothing."""
    for seed in range(12):
        rng = random.Random(seed)
        with machine(seed) as vault:
            for name, argument in script(seed) + script(seed + 100):
                vault.disk.full = rng.random() < 0.5
                with suppress(tv.DiskFullError):
                    vault.step(name, argument)
            vault.disk.full = False
            vault.power_cut()
            vault._boot()
            vault.check("after a disk that was full at times")
