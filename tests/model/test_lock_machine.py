"""A bucket with object lock against S3's rules in plain Python: what they keep is kept, what they allow succeeds.

The machine puts, copies, deletes, retains, holds, lets lifecycle rules run, compacts, verifies, rebuilds, lets time
pass, sets the wall clock, and starts the machine again.  After each step every version of the model is there, with
its bytes and its lock, and no other.  ``TICKVAULT_MODEL_EXAMPLES`` sets how many runs are made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import tickvault as tv
from tickvault.engine.engine import EngineOptions
from tickvault.objects.lifecycle import run_lifecycle
from tickvault.objects.lock.clock import ComplianceClock
from tickvault.objects.lock.guard import LOCK_DOCUMENT, LockGuard
from tickvault.objects.model import ObjectInfo
from tickvault.objects.store import open_store

EXAMPLES = int(os.environ.get("TICKVAULT_MODEL_EXAMPLES", "20"))
OPTIONS = EngineOptions(segment_size_first=64 * 1024, segment_size_max=256 * 1024, background=False)
DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS + DAY_NS // 2
LIFECYCLE = {"rules": [{"id": "old", "status": "Enabled", "noncurrent_version_expiration": {"noncurrent_days": 1}}]}

keys = st.sampled_from(["a", "a", "b", "c/d"])
modes = st.sampled_from(["GOVERNANCE", "COMPLIANCE"])
periods = st.sampled_from([0.5, 1, 2, 5, 30])
which = st.integers(0, 5)


class Clock:
    """What the machine shows (anybody may set it), and what it counts (nobody may)."""

    def __init__(self) -> None:
        self.wall_ns = START_NS
        self.counted_ns = 10**15

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        return self.counted_ns

    def error_ns(self) -> int:
        return -1


class Host:
    boot = 1

    def boot_id(self) -> bytes:
        return self.boot.to_bytes(16, "little")

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return int.from_bytes(os.urandom(8), "little") or 1


@dataclass
class Version:
    """What the model knows of a version, or of a delete marker, whose body is None."""

    version_id: str
    body: bytes | None
    mode: str | None = None
    until_ns: int = 0
    hold: bool = False


class LockMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="tickvault-lock-")
        self.clock = Clock()
        self.host = Host()
        self.versions: dict[str, list[Version]] = {}
        """Oldest first."""
        self.default: tuple[str, int] | None = None
        self.trusted_ns = START_NS
        """The truth, less the time the machine was off."""
        self.lag_ns = 0
        self.number = 0
        self._open()

    def _open(self) -> None:
        self.vault = tv.open(self.folder + "/v", options=OPTIONS, clock=self.clock, host=self.host)
        if "kept" in self.vault:
            self.bucket = self.vault["kept"]

    def teardown(self) -> None:
        self.vault.close()
        shutil.rmtree(self.folder)

    # -- the rules of S3

    def locked(self, version: Version) -> bool:
        return version.hold or (version.mode is not None and self.trusted_ns < version.until_ns)

    def removable(self, version: Version, *, bypass: bool) -> bool:
        yields = version.mode == "GOVERNANCE" and bypass and not version.hold
        return version.body is None or yields or not self.locked(version)

    def retainable(self, version: Version, mode: str | None, until_ns: int, *, bypass: bool) -> type[Exception] | None:
        """Return what is raised, None if the retention may be set."""
        if (mode, until_ns) == (version.mode, version.until_ns):
            return None
        if mode is not None and until_ns <= self.trusted_ns + self.lag_ns:
            return tv.InvalidInputError
        if version.mode is None or self.trusted_ns >= version.until_ns:
            return None
        if mode == version.mode and until_ns >= version.until_ns:
            return None
        return None if version.mode == "GOVERNANCE" and bypass else tv.LockedError

    def default_retention(self) -> tuple[str | None, int]:
        if self.default is None:
            return None, 0
        until_ns = self.trusted_ns + self.lag_ns + self.default[1] * DAY_NS
        return self.default[0], -(-until_ns // 10**6) * 10**6

    def pick(self, key: str, number: int, *, markers: bool = False) -> Version | None:
        found = [version for version in self.versions.get(key, []) if markers or version.body is not None]
        return found[-1 - number % len(found)] if found else None

    def body(self) -> bytes:
        self.number += 1
        return b"%d" % self.number * (70_000 if self.number % 7 == 0 else 1)

    def added(self, key: str, info: ObjectInfo, body: bytes, mode: str | None, until_ns: int, hold: bool) -> None:
        assert (info.retention_mode, info.retain_until_ns, info.legal_hold) == (mode, until_ns, hold)
        self.versions.setdefault(key, []).append(Version(info.version_id, body, mode, until_ns, hold))

    # -- the beginning

    @initialize(before=st.lists(keys, max_size=3), default=st.none() | st.tuples(modes, st.integers(1, 3)))
    def begin(self, before: list[str], default: tuple[str, int] | None) -> None:
        if before:
            self.bucket = self.vault.create_bucket("kept")
            for key in before:
                body = self.body()
                self.bucket.put(key, body)
                self.versions[key] = [Version("null", body)]
            self.bucket.set_versioning("enabled")
            self.bucket.set_object_lock(default)
        else:
            self.bucket = self.vault.create_bucket("kept", object_lock=True, retention=default)
        self.default = default

    # -- writing

    @rule(key=keys, mode=st.none() | modes, days=periods, hold=st.booleans())
    def put(self, key: str, mode: str | None, days: float, hold: bool) -> None:
        body = self.body()
        until_ns = 0 if mode is None else self.trusted_ns + self.lag_ns + int(days * DAY_NS)
        info = self.bucket.put(
            key, body, retention_mode=mode, retain_until=until_ns if mode is not None else None, legal_hold=hold
        )
        self.added(key, info, body, *((mode, until_ns) if mode is not None else self.default_retention()), hold)

    @rule(chosen=st.lists(keys, min_size=1, max_size=3))
    def put_many(self, chosen: list[str]) -> None:
        items = [(key, self.body()) for key in chosen]
        items = [(key, body[:1000]) for key, body in items]
        for (key, body), info in zip(items, self.bucket.put_many(items), strict=True):
            self.added(key, info, body, *self.default_retention(), False)

    @rule(key=keys, onto=keys, number=which)
    def copy(self, key: str, onto: str, number: int) -> None:
        version = self.pick(key, number)
        if version is not None and version.body is not None:
            info = self.bucket.copy(key, onto, version_id=version.version_id)
            self.added(onto, info, version.body, *self.default_retention(), False)

    @rule(default=st.none() | st.tuples(modes, st.integers(1, 3)))
    def set_default(self, default: tuple[str, int] | None) -> None:
        self.bucket.set_object_lock(default)
        self.default = default

    # -- removing

    @rule(key=keys)
    def delete(self, key: str) -> None:
        result = self.bucket.delete(key)
        assert result.delete_marker
        assert result.version_id is not None
        self.versions.setdefault(key, []).append(Version(result.version_id, None))

    @rule(key=keys, number=which, bypass=st.booleans(), together=st.booleans())
    def delete_version(self, key: str, number: int, bypass: bool, together: bool) -> None:
        version = self.pick(key, number, markers=True)
        if version is None:
            return
        may = self.removable(version, bypass=bypass)
        if together:
            (result,) = self.bucket.delete_many([(key, version.version_id)], bypass_governance=bypass)
            assert isinstance(result, tv.LockedError) is not may
        elif may:
            assert self.bucket.delete(key, version_id=version.version_id, bypass_governance=bypass).existed
        else:
            with pytest.raises(tv.LockedError):
                self.bucket.delete(key, version_id=version.version_id, bypass_governance=bypass)
        if may:
            self.versions[key].remove(version)

    @rule()
    def lifecycle(self) -> None:
        self.bucket.set_document("lifecycle", LIFECYCLE)
        assert [one.error for one in run_lifecycle(self.vault.store).buckets] == [None]
        self.bucket.set_document("lifecycle", None)
        there = self.listed()
        for key, versions in self.versions.items():
            for version in versions[:-1]:
                if (key, version.version_id) not in there:
                    assert self.removable(version, bypass=False), f"a rule removed {key} {version}"
            self.versions[key] = [
                version for version in versions if version is versions[-1] or (key, version.version_id) in there
            ]

    # -- locks

    @rule(key=keys, number=which, mode=st.none() | modes, days=periods, bypass=st.booleans(), same=st.booleans())
    def retain(self, key: str, number: int, mode: str | None, days: float, bypass: bool, same: bool) -> None:
        version = self.pick(key, number)
        if version is None:
            return
        until_ns = 0 if mode is None else self.trusted_ns + int(days * DAY_NS)
        if same and mode is not None and version.until_ns:
            until_ns = version.until_ns
        error = self.retainable(version, mode, until_ns, bypass=bypass)
        arguments = (key, version.version_id, mode, None if mode is None else until_ns)
        if error is None:
            self.bucket.retain(*arguments, bypass_governance=bypass)
            version.mode, version.until_ns = mode, until_ns
        else:
            with pytest.raises(error):
                self.bucket.retain(*arguments, bypass_governance=bypass)

    @rule(key=keys, number=which, on=st.booleans())
    def hold(self, key: str, number: int, on: bool) -> None:
        version = self.pick(key, number)
        if version is not None:
            assert self.bucket.hold(key, version.version_id, on).legal_hold is on
            version.hold = on

    @rule()
    def what_is_refused_to_everybody(self) -> None:
        with pytest.raises(tv.LockedError):
            self.bucket.set_versioning("suspended")
        with pytest.raises(tv.LockedError):
            self.bucket.set_document(LOCK_DOCUMENT, None)
        if any(self.versions.values()):
            with pytest.raises(tv.NotEmptyError):
                self.vault.delete_bucket("kept")

    # -- time

    @rule(days=st.sampled_from([0.01, 0.5, 1, 3, 40]))
    def time_passes(self, days: float) -> None:
        self.clock.wall_ns += int(days * DAY_NS)
        self.clock.counted_ns += int(days * DAY_NS)
        self.trusted_ns += int(days * DAY_NS)

    @rule(days=st.sampled_from([-400, -3, 3, 400]), noticed=st.booleans())
    def somebody_sets_the_wall_clock(self, days: int, noticed: bool) -> None:
        self.clock.wall_ns = min(max(START_NS // 2, self.clock.wall_ns + days * DAY_NS), 2 * START_NS)
        if noticed:
            self.vault.store.lock_clock.observe()

    @rule(days=st.sampled_from([0, 2, 50]))
    def the_machine_starts_again(self, days: int) -> None:
        self.vault.close()
        self.host.boot += 1
        self.clock.counted_ns = 60 * 10**9
        self.clock.wall_ns += days * DAY_NS
        self._open()
        self.lag_ns = max(0, self.clock.wall_ns - self.trusted_ns)

    @rule(days=st.sampled_from([0, 2]))
    def reopen(self, days: int) -> None:
        self.vault.close()
        self.time_passes(days)
        self._open()

    # -- upkeep

    @rule()
    def compact(self) -> None:
        self.vault.store.engine.checkpoint(wait=True)
        assert not self.vault.compact(dead_ratio_min=0).segments_damaged

    @rule()
    def rebuild(self) -> None:
        self.vault.close()
        path = self.folder + "/v"
        open_store(path, create=False, rebuild=True, options=OPTIONS, clock=self.clock, host=self.host).close()
        self._open()

    @rule(heal=st.booleans())
    def verify(self, heal: bool) -> None:
        report = self.vault.verify(heal=heal)
        assert report.sound
        assert report.index_differences == 0

    # -- what must be so

    def listed(self) -> dict[tuple[str, str], ObjectInfo]:
        return {(info.key, info.version_id): info for info in self.bucket.list_versions_page(limit=1000).versions}

    @invariant()
    def every_version_is_there_with_its_bytes_and_its_lock(self) -> None:
        if not hasattr(self, "bucket"):
            return
        there = self.listed()
        known = {(key, one.version_id): one for key, versions in self.versions.items() for one in versions}
        assert {name: info.delete_marker for name, info in there.items()} == {
            name: one.body is None for name, one in known.items()
        }
        for (key, version_id), version in known.items():
            if version.body is None:
                continue
            assert self.bucket.get(key, version_id=version_id) == version.body
            info = self.bucket.head(key, version_id=version_id)
            assert (info.retention_mode, info.retain_until_ns, info.legal_hold) == (
                version.mode,
                version.until_ns,
                version.hold,
            )


def run_machine(examples: int, **more: Any) -> None:
    run_state_machine_as_test(
        LockMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


def test_a_bucket_with_object_lock_keeps_what_s3_says() -> None:
    run_machine(EXAMPLES)


@pytest.mark.parametrize(
    "planted", ["removals unguarded", "shortening allowed", "the wall clock counts", "replay forgets"]
)
def test_the_machine_catches_a_planted_bug(monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    if planted == "removals unguarded":
        monkeypatch.setattr(LockGuard, "_check_removal", lambda *arguments: None)
    elif planted == "shortening allowed":
        monkeypatch.setattr(LockGuard, "_check_lock", lambda *arguments: None)
    elif planted == "the wall clock counts":
        monkeypatch.setattr(ComplianceClock, "_advanced", lambda self, mark: self._engine.clock.now_ns())
    else:
        from tickvault.objects.interpreter import ObjectInterpreter

        original = ObjectInterpreter.apply

        def forgetful(self: Any, writer: Any, kind: int, *rest: Any) -> None:
            # Right in a commit, which gives a `Transaction`; a replay loses every lock that was set later.
            if kind != 10 or hasattr(writer, "append"):
                original(self, writer, kind, *rest)

        monkeypatch.setattr(ObjectInterpreter, "apply", forgetful)
    with pytest.raises((AssertionError, tv.TickVaultError, BaseExceptionGroup, pytest.fail.Exception)):
        run_machine(100, phases=[Phase.generate], database=None, derandomize=True)
