"""The compliance clock: it counts the time that passed, and nobody sets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.engine import EngineOptions
from tickvault.objects import entries
from tickvault.objects.documents import VaultDocuments
from tickvault.objects.entries import CLOCK_DOCUMENT, Kind
from tickvault.objects.lock.clock import JUMP_NS, RENEWAL_NS, ClockMark
from tickvault.seam.clock import SystemClock

DAY_NS = 86_400 * 10**9
HOUR_NS = 3600 * 10**9
MARK_KEY = entries.document_key(CLOCK_DOCUMENT)


class Machine:
    """A machine that can be started again, with the clock of the fixture."""

    def __init__(self, clock: Any, number: int = 1) -> None:
        self.clock = clock
        self.number = number

    def restart(self, *, off_days: float = 0.0) -> None:
        self.number += 1
        self.clock.time_ns += int(off_days * DAY_NS)
        self.clock.counted_ns = 0

    def boot_id(self) -> bytes:
        return self.number.to_bytes(16, "little")

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return int.from_bytes(os.urandom(8), "little") or 1


@pytest.fixture
def machine(clock: Any) -> Machine:
    return Machine(clock)


@pytest.fixture
def opening(tmp_path: Path, clock: Any, machine: Machine) -> Callable[[], tv.Vault]:
    # Without the upkeep's thread, which looks at the clock by itself.
    return lambda: tv.open(tmp_path / "data", clock=clock, host=machine, options=EngineOptions(background=False))


def locked_vault(opening: Callable[[], tv.Vault], days: int = 10) -> tuple[tv.Vault, str]:
    """A vault with one version that is kept for some days; return it and the version."""
    vault = opening()
    kept = vault.create_bucket("kept", retention=("COMPLIANCE", days))
    return vault, kept.put("k", b"v").version_id


def removable(vault: tv.Vault, version_id: str) -> bool:
    """Whether the version can be removed; it is if it can."""
    try:
        vault["kept"].delete("k", version_id=version_id)
    except tv.LockedError:
        assert vault["kept"].get("k", version_id=version_id) == b"v"
        return False
    return True


def mark_of(vault: tv.Vault) -> ClockMark:
    with vault.store.engine.snapshot() as snapshot:
        found = vault.store.lock_clock.mark(snapshot)
    assert found is not None
    return found


# -- time that passes


def test_a_vault_without_locks_has_no_clock(vault: tv.Vault) -> None:
    vault.create_bucket("plain").put("k", b"v")
    assert vault.store.lock_clock.reading() is None
    assert not vault.store.lock_clock.observe(age_ns=0)
    assert vault.store.engine.index.get(MARK_KEY) is None


def test_a_retention_ends_when_its_time_has_passed(opening: Any, clock: Any) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        clock.pass_days(9.99)
        assert not removable(vault, version_id)
        clock.pass_days(0.02)
        assert removable(vault, version_id)


@pytest.mark.parametrize("days", [1, 11, 36_500, -1, -10_000])
def test_setting_the_wall_clock_releases_nothing_and_keeps_nothing_longer(opening: Any, clock: Any, days: int) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        clock.set_forward_days(days)
        assert not removable(vault, version_id)
        clock.pass_days(9)
        assert not removable(vault, version_id)
        clock.pass_days(1.01)
        assert removable(vault, version_id)


def test_setting_it_forward_and_back_again(opening: Any, clock: Any) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        clock.set_forward_days(4000)
        vault.store.lock_clock.observe()
        clock.set_forward_days(-4000)
        vault.store.lock_clock.observe()
        assert not removable(vault, version_id)
        assert mark_of(vault).trusted_ns == clock.time_ns


def test_closing_and_opening_within_a_boot_goes_on_counting(opening: Any, clock: Any) -> None:
    vault, version_id = locked_vault(opening)
    vault.close()
    clock.set_forward_days(500)
    clock.pass_days(9)
    vault = opening()
    assert not removable(vault, version_id)
    vault.close()
    clock.pass_days(1.01)
    with opening() as vault:
        assert removable(vault, version_id)


def test_a_machine_that_slept_has_let_the_time_pass(opening: Any, clock: Any) -> None:
    """CLOCK_BOOTTIME counts it, CLOCK_MONOTONIC does not."""
    vault, version_id = locked_vault(opening)
    with vault:
        clock.pass_days(10.01)  # the wall clock and the count alike
        reading = vault.store.lock_clock.reading()
        assert reading is not None
        assert (reading.lag_ns, reading.jump_ns) == (0, 0)
        assert removable(vault, version_id)


def test_the_system_clock_counts_sleep_and_ignores_the_wall() -> None:
    import time

    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    counted = SystemClock().boottime_ns()
    assert 0 <= counted - before < 10**9


# -- the machine off, and other machines


def test_the_time_the_machine_was_off_does_not_count(opening: Any, clock: Any, machine: Machine) -> None:
    vault, version_id = locked_vault(opening)
    vault.close()
    machine.restart(off_days=30)
    with opening() as vault:
        assert not removable(vault, version_id)
        reading = vault.store.lock_clock.reading()
        assert reading is not None
        assert reading.lag_ns == 30 * DAY_NS
        assert reading.jump_ns == 0
        assert reading.wall_ns - reading.trusted_ns == 30 * DAY_NS
        clock.pass_days(10.01)
        assert removable(vault, version_id)


def test_a_message_says_why_it_is_not_over_although_the_wall_clock_says_so(opening: Any, machine: Machine) -> None:
    vault, version_id = locked_vault(opening)
    vault.close()
    machine.restart(off_days=30)
    with opening() as vault, pytest.raises(tv.LockedError, match=r"compliance clock stands at .* lock clock"):
        vault["kept"].delete("k", version_id=version_id)


def test_new_retentions_read_right_although_the_clock_lags(opening: Any, clock: Any, machine: Machine) -> None:
    vault, _ = locked_vault(opening)
    vault.close()
    machine.restart(off_days=30)
    with opening() as vault:
        info = vault["kept"].put("new", b"v")
        assert info.retain_until_ns == clock.time_ns + 10 * DAY_NS
        # And lasts no shorter than it says.
        clock.pass_days(10.01)
        with pytest.raises(tv.LockedError):
            vault["kept"].delete("new", version_id=info.version_id)
        clock.pass_days(30)
        vault["kept"].delete("new", version_id=info.version_id)


def test_a_wall_clock_that_was_set_back_while_the_machine_was_off(opening: Any, clock: Any, machine: Machine) -> None:
    vault, version_id = locked_vault(opening)
    vault.close()
    machine.restart(off_days=-20)
    with opening() as vault:
        mark = mark_of(vault)
        assert mark.lag_ns == 0
        assert mark.jump_ns == -20 * DAY_NS
        info = vault["kept"].put("new", b"v")
        assert info.retain_until_ns >= mark.trusted_ns + 10 * DAY_NS
        clock.pass_days(9.9)
        assert not removable(vault, version_id)


def test_carried_to_a_machine_that_has_run_for_a_year(opening: Any, clock: Any, machine: Machine) -> None:
    """The uptime of the other machine was taken for time that had passed since the mark was made, so that a vault
    carried there, or back and forth between two, lost its retentions in minutes.
    """
    vault, version_id = locked_vault(opening)
    vault.close()
    for _ in range(3):
        machine.number = 77
        clock.counted_ns += 365 * DAY_NS
        with opening() as vault:
            assert not removable(vault, version_id)
            clock.pass_days(0.5)
            assert not removable(vault, version_id)
        machine.number = 1
        with opening() as vault:
            assert not removable(vault, version_id)
    with opening() as vault:
        clock.pass_days(8.6)
        assert removable(vault, version_id)


def test_a_mark_is_never_older_than_an_hour_while_the_vault_is_open(opening: Any, clock: Any, machine: Machine) -> None:
    """What a machine that stops without warning adds to retentions."""
    vault, version_id = locked_vault(opening)
    with vault:
        for _ in range(24 * 10):
            clock.pass_days(1 / 24)
            assert vault.store.lock_clock.observe()
            assert not vault.store.lock_clock.observe()
        clock.pass_days(0.5 / 24)
        assert not vault.store.lock_clock.observe()
    assert RENEWAL_NS == HOUR_NS
    machine.restart()
    with opening() as vault:
        assert removable(vault, version_id)


# -- what is written down


@pytest.mark.parametrize("days", [1, -1, 400])
def test_a_clock_that_was_set_is_written_down(opening: Any, clock: Any, days: int) -> None:
    vault, _ = locked_vault(opening)
    with vault:
        clock.set_forward_days(days)
        reading = vault.store.lock_clock.reading()
        assert reading is not None
        assert reading.jump_ns == days * DAY_NS
        assert vault.store.lock_clock.observe()
        mark = mark_of(vault)
        assert mark.jump_ns == days * DAY_NS
        assert mark.offset_ns == days * DAY_NS
        assert not vault.store.lock_clock.observe()
        clock.set_forward_days(-days)
        assert vault.store.lock_clock.observe()
        assert mark_of(vault).jump_ns == -days * DAY_NS


def test_what_ntp_mends_is_not_a_jump(opening: Any, clock: Any) -> None:
    vault, _ = locked_vault(opening)
    with vault:
        clock.time_ns += JUMP_NS
        assert not vault.store.lock_clock.observe()
        vault.store.lock_clock.observe(age_ns=0)
        assert mark_of(vault).jump_ns == 0
        clock.time_ns += 1  # since the last mark
        assert not vault.store.lock_clock.observe()


def test_the_clock_survives_a_rebuild_compaction_and_a_backup(opening: Any, clock: Any, tmp_path: Path) -> None:
    vault, version_id = locked_vault(opening)
    clock.pass_days(5)
    vault.store.lock_clock.observe()
    vault.backup(tmp_path / "backup")
    vault.compact(dead_ratio_min=0)
    vault.close()
    tv.vault.open_store(tmp_path / "data", create=False, rebuild=True, clock=clock, host=Machine(clock)).close()
    tv.restore(tmp_path / "backup", tmp_path / "restored")
    with opening() as vault:
        assert mark_of(vault).trusted_ns == clock.time_ns
        assert not removable(vault, version_id)
        clock.pass_days(5.01)
        assert removable(vault, version_id)
    with tv.open(tmp_path / "restored", clock=clock, host=Machine(clock, 1)) as restored:
        assert not removable(restored, version_id)  # it lags, at worst


# -- a mark that is missing or damaged


def overwrite_index(vault: tv.Vault, key: bytes, value: bytes | None) -> None:
    """Change the index behind the vault's back, as somebody with the disk could."""
    engine = vault.store.engine
    engine.checkpoint(wait=True)
    for environment in (engine.index.index, engine.index.recent):
        txn = environment.begin(write=True)
        if value is None:
            txn.delete(key)
        elif environment is engine.index.index:
            txn.put(key, value)
        txn.commit()


def test_without_a_mark_nothing_is_released_and_none_is_made(opening: Any, clock: Any) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        overwrite_index(vault, MARK_KEY, None)
        assert vault.store.lock_clock.reading() is None
        clock.pass_days(5000)
        with pytest.raises(tv.LockedError):
            vault["kept"].delete("k", version_id=version_id)
        with pytest.raises(tv.IntegrityError, match="clock is missing"):
            vault.create_bucket("more", object_lock=True)
        with pytest.raises(tv.IntegrityError, match="clock is missing"):
            VaultDocuments(vault.store.engine).put(CLOCK_DOCUMENT, _mark(vault, trusted_ns=clock.time_ns))
        # The segments still have it.
        assert vault.verify().index_differences
        assert vault.store.lock_clock.reading() is not None


@pytest.mark.parametrize("value", [b"x" * 40, None])
def test_a_damaged_mark_releases_nothing(opening: Any, clock: Any, value: bytes | None) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        raw = vault.store.engine.index.get(MARK_KEY)
        assert raw is not None
        overwrite_index(vault, MARK_KEY, raw[:-1] + bytes([raw[-1] ^ 1]) if value is None else value)
        clock.pass_days(5000)
        with pytest.raises(tv.IntegrityError):
            vault["kept"].delete("k", version_id=version_id)
        with pytest.raises(tv.IntegrityError):
            vault.store.lock_clock.observe(age_ns=0)
        assert vault["kept"].get("k") == b"v"
        vault.verify()
        assert removable(vault, version_id)  # the time has passed, and that is known again


# -- a mark that somebody writes


def _mark(vault: tv.Vault, **changed: Any) -> dict[str, Any]:
    engine = vault.store.engine
    now = engine.clock.now_ns()
    made = ClockMark(now, engine.host.boot_id(), engine.clock.boottime_ns(), 0, 0)
    names = {"trusted_ns": "t", "boot_id": "b", "boottime_ns": "c", "offset_ns": "o", "lag_ns": "l", "jump_ns": "j"}
    return {**made.data(), **{names[name]: value for name, value in changed.items()}}


@pytest.mark.parametrize("ahead_ns", [2 * 10**9, DAY_NS, 2**62, -1, -DAY_NS])
def test_a_mark_cannot_be_set(opening: Any, clock: Any, ahead_ns: int) -> None:
    vault, version_id = locked_vault(opening)
    with vault:
        with pytest.raises(tv.LockedError, match="nobody sets it"):
            VaultDocuments(vault.store.engine).put(CLOCK_DOCUMENT, _mark(vault, trusted_ns=clock.time_ns + ahead_ns))
        with pytest.raises(tv.LockedError, match="nobody sets it"):
            _append(vault, _mark(vault, trusted_ns=clock.time_ns + ahead_ns))
        assert mark_of(vault).trusted_ns == clock.time_ns
        assert not removable(vault, version_id)


def test_a_mark_that_claims_to_be_older_would_run_ahead(opening: Any, clock: Any) -> None:
    """It said the right time and a count of zero, so that the time since the start of the machine was added to it."""
    vault, version_id = locked_vault(opening)
    with vault:
        with pytest.raises(tv.LockedError, match="nobody sets it"):
            _append(vault, _mark(vault, boottime_ns=0))
        with pytest.raises(tv.LockedError, match="nobody sets it"):
            _append(vault, _mark(vault, boot_id=bytes(16), boottime_ns=0))
        assert not removable(vault, version_id)


@pytest.mark.parametrize(
    "data", [None, {}, {"t": 1}, [1, 2], "mark", {"t": "1", "b": b"", "c": 0, "o": 0, "l": 0, "j": 0}]
)
def test_what_is_no_mark_cannot_take_its_place(opening: Any, data: Any) -> None:
    """A removed mark was refused with a TypeError, which the vault took for a fault of its own."""
    vault, version_id = locked_vault(opening)
    with vault:
        with pytest.raises(tv.InvalidInputError, match="no mark"):
            _append(vault, data)
        with pytest.raises(tv.InvalidInputError, match="no mark"):
            VaultDocuments(vault.store.engine).remove(CLOCK_DOCUMENT)
        assert not removable(vault, version_id)


def test_before_the_first_lock_it_cannot_be_set_ahead_of_the_wall_clock(vault: tv.Vault, clock: Any) -> None:
    with pytest.raises(tv.LockedError):
        _append(vault, _mark(vault, trusted_ns=clock.time_ns + DAY_NS))
    vault.create_bucket("kept", object_lock=True)
    assert mark_of(vault).trusted_ns == clock.time_ns


def _append(vault: tv.Vault, data: Any) -> None:
    def run(txn: Transaction) -> None:
        txn.strict = True
        txn.append(Kind.DOCUMENT, 0, CLOCK_DOCUMENT.encode(), entries.pack(data))

    vault.store.engine.commit(Operation(run, 1024))


# -- time namespaces, in which root may choose what CLOCK_BOOTTIME says

_COUNT = "import time; from tickvault.seam.clock import SystemClock; print(SystemClock().boottime_ns())"
_UNSHARE = textwrap.dedent(
    """
    import ctypes, os, time
    from tickvault.seam.clock import SystemClock
    before = {before}
    assert ctypes.CDLL(None).unshare(0x80) == 0
    with open("/proc/self/timens_offsets", "w") as file:
        file.write("boottime {seconds} 0\\n")
    if {fork} and os.fork():
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
    print(SystemClock().boottime_ns())
    """
)


def in_time_namespace(*command: str) -> int:
    """Run a program that prints what the clock counts; return by how much that is ahead of the truth."""
    import time

    if os.geteuid() != 0 or not shutil.which("unshare") or not os.path.exists("/proc/self/timens_offsets"):
        pytest.skip("NOT TESTED: needs root and time namespaces")
    truth = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("NOT TESTED: this container makes no time namespaces")
    assert done.returncode == 0, done.stderr
    return int(done.stdout) - truth


@pytest.mark.parametrize("seconds", ["100000000", "1000000"])
def test_a_process_in_another_time_namespace_counts_as_every_other(seconds: str) -> None:
    ahead_ns = in_time_namespace("unshare", "-T", "--boottime", seconds, sys.executable, "-c", _COUNT)
    assert 0 <= ahead_ns < 60 * 10**9


def test_a_fork_into_another_time_namespace_counts_as_every_other() -> None:
    script = _UNSHARE.format(before="SystemClock().boottime_ns()", seconds=100_000_000, fork=True)
    assert in_time_namespace(sys.executable, "-c", script) < 60 * 10**9


def test_a_process_that_made_a_namespace_for_its_children_counts_as_every_other() -> None:
    import time

    back = -int(time.clock_gettime(time.CLOCK_BOOTTIME) * 0.9)
    script = _UNSHARE.format(before="None", seconds=back, fork=False)
    assert in_time_namespace(sys.executable, "-c", script) < 60 * 10**9
