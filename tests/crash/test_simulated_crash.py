"""Power cuts at every place, on a simulated disk: nothing acknowledged is lost, nothing half-done is seen.

A run is a list of lives of one vault.  In each life operations are carried out on the vault and on a plain model; the
life ends with a power cut (also in the middle of an operation, or of the recovery after the last cut), with the process
killed, or with an orderly close.  What the next opening shows must be one state of the model's history, not older than
the last one that was acknowledged as durable.  So a `relaxed` bucket may lose a tail of its writes and nothing else.

``TICKVAULT_CRASH_EXAMPLES`` sets how many runs Hypothesis tries.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from expected import State, difference, observe, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simdisk import SimDisk, SimHost, cut_after, power_off

from tickvault.engine import engine as engine_module
from tickvault.engine.compaction import compact
from tickvault.engine.engine import Engine, EngineOptions
from tickvault.errors import PreconditionFailedError, TickVaultError
from tickvault.objects.bucket import Bucket
from tickvault.objects.store import ObjectStore, open_store

EXAMPLES = int(os.environ.get("TICKVAULT_CRASH_EXAMPLES", "300"))

OPTIONS = EngineOptions(
    segment_size_first=32 * 1024,
    segment_size_max=64 * 1024,
    body_segment_size_max=2 * 1024 * 1024,
    background=False,
)
KEYS = ("a", "b", "b/c", "d" * 300)
SIZES = (0, 9, 700, 5000, 70_000)
#: name -> (versioning at the start, durability)
BUCKETS = {
    "plain": ("off", "strict"),
    "versioned": ("enabled", "strict"),
    "relaxed": ("off", "relaxed"),
    "relaxed-versioned": ("enabled", "relaxed"),
}


class LostWriteError(AssertionError):
    """The vault does not show what was acknowledged."""


class Life(NamedTuple):
    """What happens between two openings."""

    steps: list[tuple[str, int]]
    end: str = "power"
    """``power``: the machine goes off; ``kill``: the process; ``close``: neither."""
    cut: int | None = None
    """The end comes in the middle of the disk operation of this number, if there are so many."""
    recovery_cut: int | None = None
    """The power goes off once more in the next opening, at the disk operation of this number."""
    rebuild: bool = False
    """Afterwards, build the index from the segments alone and compare."""


class Machine:
    """One vault on one simulated disk, and what it has to show."""

    def __init__(self, folder: str, seed: int, disk: SimDisk | None = None) -> None:
        self.folder = os.path.join(folder, "vault")
        self.disk = disk or SimDisk()
        self.host = SimHost(seed)
        self.rng = random.Random(seed)
        self.history = [State()]
        self.durable = 0
        self.sequence_last = 0
        self.counter = 0
        self.durable_when_open = True
        self.store: ObjectStore
        self._boot()
        for name, (versioning, durability) in BUCKETS.items():
            self.store.create_bucket(name, versioning=versioning == "enabled", durability=durability)
        self._acknowledge(State({name: versioning for name, (versioning, _) in BUCKETS.items()}), durable=True)

    # -- lives

    def _boot(self, **arguments: bool) -> None:
        self.store = open_store(self.folder, options=OPTIONS, disk=self.disk, host=self.host, **arguments)

    def power_cut(self) -> None:
        power_off(self.store)
        self._lose_power()

    def _lose_power(self) -> None:
        self.disk.crash(self.rng)
        self.host.boot += 1

    def live(self, life: Life) -> None:
        """Carry out a life and open the vault again."""
        with cut_after(self.disk, life.cut):
            for name, argument in life.steps:
                self.step(name, argument)
        if life.end == "power":
            self.power_cut()
        elif life.end == "kill":
            self.disk.off = False
            power_off(self.store)
        elif not self.disk.off:
            self.store.close()
            self.durable = len(self.history) - 1
        else:
            self.power_cut()
        self.durable_when_open = life.end != "kill"
        booted = False
        with cut_after(self.disk, life.recovery_cut):
            self._boot()
            booted = True
        if not booted:
            self._lose_power()
            self._boot()
            self.durable_when_open = True
        self.check("after the end of a life" if life.end == "close" else f"after {life.end}")
        if life.rebuild:
            self.store.close()
            self.durable_when_open = True
            self._boot(rebuild=True)
            self.check("after a rebuild of the index")

    def check(self, when: str) -> None:
        """Raise `LostWriteError` unless the vault shows an allowed state; go on from that one."""
        try:
            seen = observe(self.store)
        except TickVaultError as error:
            raise LostWriteError(f"{when}: {type(error).__name__}: {error}") from error
        allowed = self.history[self.durable :]
        if not self.durable_when_open:
            # Killed in the middle of its last change, or after it.
            allowed = self.history[-2:]
        if not any(same(state, seen) for state in allowed):
            raise LostWriteError(
                f"{when}: none of {len(allowed)} states is seen; against the oldest:\n{difference(allowed[0], seen)}"
            )
        if self.durable_when_open:
            self.history, self.durable = [seen], 0
        elif not same(self.history[-1], seen):
            # The change in whose middle the process died was not made, and no replay or rebuild may bring it back.
            self.history.pop()
        damage = self.store.engine.report.damage
        if damage:
            raise LostWriteError(f"{when}: what was never durable is taken for damage: {damage}")

    # -- operations, on the vault and on the model

    def _acknowledge(self, state: State, *, durable: bool) -> None:
        self.history[-1] = state
        if durable:
            self.durable = len(self.history) - 1

    def _change(
        self,
        bucket: Bucket,
        after: Callable[[str | None], State],
        call: Callable[[], object],
        version_id: Callable[[object], str | None] = lambda _: None,
    ) -> object:
        """Do something that changes the vault: from now on its outcome is allowed, on return it is due."""
        self.history.append(after(None))
        try:
            result = call()
        except TickVaultError:
            self.history.pop()
            raise
        # What changes nothing writes nothing, and so syncs nothing that was relaxed before it.
        changed = self.history[-1] is not self.history[-2]
        self._acknowledge(after(version_id(result)), durable=changed and BUCKETS[bucket.name][1] == "strict")
        for info in result if isinstance(result, list) else [result]:
            sequence = getattr(info, "sequence", None)
            if sequence is not None:
                assert sequence > self.sequence_last, f"sequence {sequence} was given out before"
                self.sequence_last = sequence
        return result

    def step(self, name: str, argument: int) -> None:
        """Do operation `name`; `argument` chooses bucket, key and size."""
        argument, bucket_number = divmod(argument, len(BUCKETS))
        argument, key_number = divmod(argument, len(KEYS))
        bucket = self.store.bucket(list(BUCKETS)[bucket_number])
        getattr(self, f"_{name}")(bucket, KEYS[key_number], argument)

    def _body(self, argument: int) -> bytes:
        self.counter += 1
        return (b"%d," % self.counter * SIZES[-1])[: SIZES[argument % len(SIZES)]]

    def _put(self, bucket: Bucket, key: str, argument: int) -> None:
        body, now = self._body(argument), self.history[-1]
        self._change(
            bucket,
            lambda version_id: now.put(bucket.name, key, body, version_id),
            lambda: bucket.put(key, body),
            lambda info: info.version_id,
        )

    def _put_new(self, bucket: Bucket, key: str, argument: int) -> None:
        body, now = self._body(argument), self.history[-1]

        def call() -> object:
            return bucket.put(key, body, if_none_match=r"*")

        if now.current(bucket.name, key) is not None:
            with pytest.raises(PreconditionFailedError):
                call()
            return
        self._change(bucket, lambda vid: now.put(bucket.name, key, body, vid), call, lambda info: info.version_id)

    def _put_many(self, bucket: Bucket, _: str, argument: int) -> None:
        items = [(key, self._body(argument + number)) for number, key in enumerate(KEYS)]
        now = self.history[-1]

        def after(version_ids: list[str] | None) -> State:
            state = now
            for number, (key, body) in enumerate(items):
                state = state.put(bucket.name, key, body, version_ids[number] if version_ids else None)
            return state

        self._change(bucket, after, lambda: bucket.put_many(items), lambda infos: [info.version_id for info in infos])

    def _put_large(self, bucket: Bucket, key: str, argument: int) -> None:
        body, now = self._body(argument) + b"%d" % self.counter * 90_000, self.history[-1]
        self._change(
            bucket,
            lambda version_id: now.put(bucket.name, key, body, version_id),
            lambda: bucket.put(key, body),
            lambda info: info.version_id,
        )

    def _delete(self, bucket: Bucket, key: str, _: int) -> None:
        now = self.history[-1]
        self._change(
            bucket,
            lambda version_id: now.delete(bucket.name, key, version_id),
            lambda: bucket.delete(key),
            lambda result: result.version_id,
        )

    def _delete_version(self, bucket: Bucket, key: str, argument: int) -> None:
        now = self.history[-1]
        versions = now.objects.get((bucket.name, key), ())
        if versions:
            number = argument % len(versions)
            version_id = versions[number].version_id
            self._change(
                bucket,
                lambda _: now.delete_version(bucket.name, key, number),
                lambda: bucket.delete(key, version_id=version_id),
            )

    def _tag(self, bucket: Bucket, key: str, argument: int) -> None:
        now = self.history[-1]
        if now.current(bucket.name, key) is not None:
            tags = {"t": str(argument)} if argument % 3 else {}
            # Tagging answers with the version tagged, whose sequence is an old one.
            self._change(
                bucket,
                lambda _: now.tag(bucket.name, key, tags),
                lambda: bucket.set_tags(key, tags) and None,
            )

    def _suspend(self, bucket: Bucket, _: str, argument: int) -> None:
        now = self.history[-1]
        if now.versioning[bucket.name] != "off":
            state = "enabled" if argument % 2 else "suspended"
            after = State({**now.versioning, bucket.name: state}, now.objects, now.uploads)
            # Settings are strict whatever the bucket's objects are.
            self._change(bucket, lambda _: after, lambda: bucket.set_versioning(state))
            self.durable = len(self.history) - 1

    def _begin_upload(self, bucket: Bucket, key: str, _: int) -> None:
        now = self.history[-1]
        self._change(
            bucket,
            lambda upload_id: State(
                now.versioning, now.objects, {**now.uploads, upload_id or "?": (bucket.name, key, ())}
            ),
            lambda: bucket.create_upload(key),
            lambda info: info.upload_id,
        )

    def _an_upload(self, argument: int) -> tuple[str, Bucket, str, tuple[tuple[int, bytes], ...]] | None:
        uploads = sorted(self.history[-1].uploads.items())
        if not uploads:
            return None
        upload_id, (name, key, parts) = uploads[argument % len(uploads)]
        return upload_id, self.store.bucket(name), key, parts

    def _put_part(self, _: Bucket, __: str, argument: int) -> None:
        found = self._an_upload(argument)
        if found is None:
            return
        upload_id, bucket, key, parts = found
        number, body, now = argument % 2 + 1, self._body(argument), self.history[-1]
        parts = tuple(sorted({**dict(parts), number: hashlib.md5(body).digest()}.items()))
        self._change(
            bucket,
            lambda _: State(now.versioning, now.objects, {**now.uploads, upload_id: (bucket.name, key, parts)}),
            lambda: bucket.put_part(key, upload_id, number, body),
        )
        self.bodies = {**getattr(self, "bodies", {}), hashlib.md5(body).digest(): body}

    def _end_upload(self, _: Bucket, __: str, argument: int) -> None:
        found = self._an_upload(argument)
        if found is None:
            return
        upload_id, bucket, key, parts = found
        now = self.history[-1]
        rest = {other: upload for other, upload in now.uploads.items() if other != upload_id}
        without = State(now.versioning, now.objects, rest)
        known = getattr(self, "bodies", {})
        if argument % 3 and parts and parts[-1][1] in known:
            number, digest = parts[-1]
            self._change(
                bucket,
                lambda version_id: without.put(bucket.name, key, known[digest], version_id),
                lambda: bucket.complete_upload(key, upload_id, [(number, digest.hex())]),
                lambda info: info.version_id,
            )
        else:
            self._change(bucket, lambda _: without, lambda: bucket.abort_upload(key, upload_id))

    def _checkpoint(self, _: Bucket, __: str, ___: int) -> None:
        self.store.engine.checkpoint()
        self.durable = len(self.history) - 1

    def _sync(self, _: Bucket, __: str, ___: int) -> None:
        self.store.engine.sync()
        self.durable = len(self.history) - 1

    def _compact(self, _: Bucket, __: str, argument: int) -> None:
        compact(self.store.engine, dead_ratio_min=0.0 if argument % 2 else 0.3)
        self.durable = len(self.history) - 1


STEPS = (
    *("put",) * 6,
    *("put_new", "put_many", "put_large", "delete", "delete_version", "tag", "suspend"),
    *("begin_upload", "put_part", "put_part", "end_upload", "checkpoint", "sync", "compact"),
)

lives = st.lists(
    st.builds(
        Life,
        st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 16 * 30 - 1)), max_size=14),
        st.sampled_from(("power", "power", "power", "kill", "close")),
        st.none() | st.integers(1, 60),
        st.none() | st.integers(1, 25),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@contextmanager
def machine(seed: int, disk: SimDisk | None = None) -> Iterator[Machine]:
    """A machine on a folder in memory, where there is one: the disk is simulated anyway."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="tickvault-crash-", dir=memory)
    made = Machine(folder, seed, disk)
    try:
        yield made
    finally:
        if not made.store.engine.closed:
            power_off(made.store)
        shutil.rmtree(folder)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="TICKVAULT_CRASH_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(lives, st.integers(0, 2**32 - 1))
def test_nothing_acknowledged_is_lost(lives: list[Life], seed: int) -> None:
    with machine(seed) as vault:
        for life in lives:
            vault.live(life)


def test_tags_of_a_noncurrent_version_outlive_its_compaction() -> None:
    """Story: the copy of a noncurrent version, replayed after a power cut, made its index entry anew, and forgot that
    tags had been set on it."""
    versioned = list(BUCKETS).index("versioned")
    with machine(0) as vault:
        vault.live(Life([("put", versioned), ("tag", versioned + 16 * 14), ("compact", 16)]))
        vault.live(Life([("put", versioned), ("compact", 16)]))


def test_a_manifest_entry_of_a_killed_process_is_synced_before_one_is_put_behind_it() -> None:
    """Story: a process was killed between writing a manifest entry and syncing it. The next process put its own entry
    behind it; the power went off with the second entry on the disk and the first not, and the vault did not open."""
    steps = [("put", 0), ("put", 0), ("put", 16 * 4)]
    for kill in range(10, 15):
        for cut in range(10, 15):
            for seed in range(8):
                with machine(seed) as vault:
                    vault.live(Life(steps, "kill", kill))
                    vault.live(Life(steps, "power", cut))


def test_a_write_that_was_seen_not_to_be_made_stays_unmade() -> None:
    """Story: a process was killed between writing its batch and committing it. The vault opened without the batch, as
    it must; but its bytes were still behind the journal's end, and a rebuild of the index found them there."""
    for cut in range(1, 5):
        with machine(cut) as vault:
            vault.live(Life([("put", 0)], "kill", cut))
            vault.live(Life([], "close", rebuild=True))


def script(seed: int) -> list[tuple[str, int]]:
    """A mix of operations, the same for the same seed."""
    rng = random.Random(seed)
    return [(rng.choice(STEPS), rng.randrange(16 * 30)) for _ in range(25)]


def test_a_power_cut_at_every_single_disk_operation() -> None:
    """One fixed life, cut at each of its disk operations in turn: no place is missed by chance."""
    cut, ended = 1, False
    while not ended:
        with machine(cut) as vault:
            before = vault.disk.operations
            vault.live(Life(script(7), "power", cut))
            ended = vault.disk.operations - before < cut
        cut += 1
    assert cut > 50


def test_a_power_cut_at_every_single_disk_operation_of_recovery() -> None:
    """A life with relaxed writes lost over a segment's end, its recovery cut at each operation in turn."""
    fill = [("put", 2 + 16 * 3)] * 9 + [("put", 0)] + [("put", 2 + 16 * 3)] * 12
    cut, ended = 1, False
    while not ended:
        with machine(cut) as vault:
            vault.live(Life([*fill, ("put_part", 0)], "power", None, cut))
            vault.live(Life(fill, "power"))
            ended = cut > 40
        cut += 1


# -- the harness catches planted bugs


def lives_until_caught(plant: Callable[[Machine], None], steps: list[tuple[str, int]]) -> str | None:
    """Return what the harness says of a vault with a planted bug, None if ten power cuts did not show it."""
    for seed in range(10):
        with machine(seed) as vault:
            plant(vault)
            try:
                vault.live(Life(steps))
            except LostWriteError as caught:
                return str(caught)
    return None


STRICT_PUTS = [("put", 16 * 2 + 4 * number) for number in range(4)]
RELAXED_PUTS = [("put", 16 * 2 + 4 * number + 2) for number in range(4)]


def test_the_harness_finds_no_fault_without_a_planted_bug() -> None:
    assert lives_until_caught(lambda vault: None, STRICT_PUTS) is None
    assert lives_until_caught(lambda vault: None, [*RELAXED_PUTS, ("checkpoint", 0)]) is None


def test_the_harness_catches_a_disk_whose_sync_lies() -> None:
    def plant(vault: Machine) -> None:
        vault.disk.lying = True

    assert "states is seen" in (lives_until_caught(plant, STRICT_PUTS) or "")


def test_the_harness_catches_a_commit_without_its_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def plant(vault: Machine) -> None:
        monkeypatch.setattr(Engine, "sync_batch", lambda self, *arguments: None)

    assert "states is seen" in (lives_until_caught(plant, STRICT_PUTS) or "")


def test_the_harness_catches_a_checkpoint_that_does_not_sync_the_segments_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = engine_module.run_checkpoint

    def run_checkpoint(engine: Engine, *arguments: object, **named: object) -> int:
        engine.disk.lying = True
        try:
            return original(engine, *arguments, **named)
        finally:
            engine.disk.lying = False

    def plant(vault: Machine) -> None:
        monkeypatch.setattr(engine_module, "run_checkpoint", run_checkpoint)

    assert lives_until_caught(plant, [*RELAXED_PUTS, ("checkpoint", 0)]) is not None
