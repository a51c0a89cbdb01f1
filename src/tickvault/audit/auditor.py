"""The audit of one open vault in one process: what goes into the trail from here, and what can be asked of it.

Changes need nothing: they are in the journal, and the follower reads them there.  Reads and refusals go through this
process's ring; where it is full, whoever records drains it first, and waits if another process holds the trail.

Invariants: a record that was accepted is in the ring or in the trail before the answer it is about is sent; one that
cannot be kept is an error to whoever asked, and never dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tickvault.audit.actor import Actor, process_actor
from tickvault.audit.codec import encode
from tickvault.audit.record import AuditRecord, Category
from tickvault.engine.attribution import NOBODY, Caller, set_process_caller
from tickvault.errors import BusyError, IntegrityError, InvalidInputError, LockedError, TickVaultError

if TYPE_CHECKING:
    from tickvault.audit.described import Describe
    from tickvault.audit.export import ExportReport
    from tickvault.audit.follower import Follower
    from tickvault.audit.head import Head
    from tickvault.audit.report import VerifyReport
    from tickvault.audit.ring import Ring
    from tickvault.audit.trail import TrailWriter
    from tickvault.engine.engine import Engine

log = logging.getLogger("tickvault.audit")

FOLDER = "audit"
#: How long a record waits for room in a full ring before the request is refused, seconds.
_ROOM_WAIT_S = 5.0
#: Between two looks of the upkeep at what is to be chained, nanoseconds.
_ROUND_NS = 10**9
#: In the background others wait for the interpreter: a pause follows every few records.
_PAUSE_S = 0.001
#: Steps of one round, so that a close is not kept waiting.
_STEPS_MAX = 16
#: Between two questions to the kernel about the error of its clock.
_CLOCK_ERROR_NS = 10**9


class Auditor:
    """The audit trail of an open vault.

    Parameters
    ----------
    engine : Engine
        Of the vault.
    describe : callable
        What a record of the journal means.
    bucket_names : callable
        Names of the buckets by id, as of now.
    settings : callable
        The vault's settings of the audit, as of now: ``hash``.
    save_settings : callable
        Writes them.
    """

    def __init__(
        self,
        engine: Engine,
        describe: Describe,
        bucket_names: Callable[[], dict[int, str]],
        settings: Callable[[], Mapping[str, Any]],
        save_settings: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self.folder = os.path.join(engine.path, FOLDER)
        self.enabled = True
        """Off only for measuring what it costs."""
        self.now_ns = engine.clock.now_ns
        self._engine = engine
        self._describe = describe
        self._bucket_names = bucket_names
        self._settings = settings
        self._save_settings = save_settings
        self._lock = threading.Lock()
        self._ring: Ring | None = None
        self._follower: Follower | None = None
        self._round_ns = engine.clock.monotonic_ns()
        self._error: tuple[int, int] = (0, -1)
        self._failure: str = ""
        self._closed = False
        self._pid = os.getpid()
        engine.rounds.append(self.round)
        engine.holds.append(self.first_unread_segment)
        engine.on_refusal = self._refused
        _auditors.add(self)

    # -- recording

    def record(
        self,
        actor: Actor,
        category: Category,
        *,
        action: str = "",
        result: str = "ok",
        status: int = 0,
        bucket: str = "",
        key: str = "",
        version_id: str = "",
        size_bytes: int = 0,
        detail: Mapping[str, str] | None = None,
    ) -> None:
        """Put a record of a read or a refusal on its way into the trail.

        Raises
        ------
        BusyError
            There is no room, and the process that holds the trail makes none: the request is to be refused.
        """
        if not self.enabled:
            return
        now_ns = self.now_ns()
        payload = encode(
            AuditRecord(
                0, now_ns, self.clock_error_ns(now_ns), category, action or actor.action, result, status, actor.door,
                actor.identity, actor.source, actor.request_id, bucket, key, version_id, size_bytes, 0, detail or {},
            )
        )  # fmt: skip
        self.put(payload)

    def put(self, payload: bytes) -> None:
        """Put an encoded record on its way into the trail; raises as `record` does."""
        ring = self._ring
        if ring is None:
            ring = self._make_ring()
        if not ring.put(payload):
            self._make_room(ring, payload)

    def clock_error_ns(self, now_ns: int) -> int:
        """Return the largest error of the wall clock, at most a second old at `now_ns`; -1 where nobody knows."""
        asked_ns, error_ns = self._error
        if not 0 <= now_ns - asked_ns < _CLOCK_ERROR_NS:
            error_ns = self._engine.clock.error_ns()
            self._error = now_ns, error_ns
        return error_ns

    def _make_ring(self) -> Ring:
        from tickvault.audit.ring import create_ring
        from tickvault.audit.trail import RINGS_FOLDER

        with self._lock:
            if self._ring is None:
                ring = create_ring(os.path.join(self.folder, RINGS_FOLDER), self._engine.host.boot_id())
                if self._follower is not None:
                    # Made before there was a ring: it finds it from now on.
                    self._follower.close(for_good=False)
                    self._follower.ring = ring
                ring.on_filling = self._fill
                self._ring = ring
            return self._ring

    def _fill(self) -> None:
        """Have the ring emptied before the second is over."""
        self._round_ns = 0
        self._engine.upkeep.wake()

    def _make_room(self, ring: Ring, payload: bytes) -> None:
        deadline = time.monotonic() + _ROOM_WAIT_S
        while True:
            self.follower().step()
            if ring.put(payload):
                return
            if time.monotonic() > deadline:
                raise BusyError(
                    "the audit ring is full and the process that writes the audit trail does not empty it; the request "
                    "was refused, because what cannot be audited is not done. Look for a stopped or hanging process"
                )
            time.sleep(0.001)

    def _refused(self, caller: Caller, error: LockedError) -> None:
        """Record that a guard refused a change; what a door asked for, the door records."""
        actor = Actor.of(caller.who) if caller.who else process_actor()
        if actor.door in ("system", "s3"):
            # The door tells of what its requests asked for; lifecycle rules ask again and again, and report themselves.
            return
        bucket, key, version_id = error.where
        self.record(
            actor,
            Category.REFUSAL,
            action=actor.action or error.action,
            result="ObjectLocked",
            bucket=bucket,
            key=key,
            version_id=version_id,
            detail={"reason": str(error)},
        )

    # -- chaining

    def follower(self) -> Follower:
        """Return the follower of this process; making it costs the import of what signs."""
        if self._follower is None:
            from tickvault.audit.follower import Follower

            with self._lock:
                if self._follower is None:
                    self._follower = Follower(
                        self._engine,
                        self.folder,
                        self._describe,
                        self._bucket_names,
                        hash_algorithm=lambda: str(self._settings().get("hash", "sha-256")),
                    )
                    self._follower.ring = self._ring
        return self._follower

    def round(self) -> None:
        """Chain what has gathered; called about once a second by the upkeep."""
        now_ns = self._engine.clock.monotonic_ns()
        if not self.enabled or self._closed or now_ns - self._round_ns < _ROUND_NS:
            return
        try:
            follower = self.follower()
            for _ in range(_STEPS_MAX):
                progress = follower.step(pause=_pause)
                if progress is None or not progress.behind or self._closed:
                    break
            self._failure = ""
        except Exception as error:
            # What was committed stays in the journal, and whoever asks for the trail meets the error again.
            if str(error) != self._failure and not self._closed:
                log.exception("the audit trail of %s cannot be written", self._engine.path)
            self._failure = str(error)
        self._round_ns = self._engine.clock.monotonic_ns()

    def catch_up(self) -> None:
        """Chain everything that was committed and recorded until now.

        Raises
        ------
        BusyError
            Another process holds the trail, and does not get there in time.
        """
        engine = self._engine
        engine.ready()
        if engine.unsynced:
            engine.sync()
        tail = engine.tail()
        deadline = time.monotonic() + _ROOM_WAIT_S
        follower = self.follower()
        while True:
            progress = follower.step(records_max=1 << 16)
            if progress is not None:
                if not progress.behind:
                    return
                deadline = time.monotonic() + _ROOM_WAIT_S
            elif self._told(tail.segment_id, tail.offset) and (self._ring is None or self._ring.waiting_bytes == 0):
                return
            elif time.monotonic() > deadline:
                raise BusyError(
                    f"another process writes the audit trail in {self.folder} and has not come to what was committed "
                    f"within {_ROOM_WAIT_S:g} s; try again"
                )
            else:
                time.sleep(0.01)

    def _told(self, segment_id: int, offset: int) -> bool:
        found = self._last_position()
        return found is not None and found >= (segment_id, offset)

    def _last_position(self) -> tuple[int, int] | None:
        from tickvault.audit.follower import read_position

        position = read_position(self.folder)
        return None if position is None else position[:2]

    def first_unread_segment(self) -> int:
        """Return the first journal segment that compaction must leave for the trail."""
        if not self.enabled:
            return 1 << 62
        found = self._last_position()
        return 0 if found is None else found[0]

    def close(self) -> None:
        """Let the trail go; what is in the ring, whoever comes next chains."""
        if os.getpid() != self._pid:
            return
        self._closed = True
        if self._follower is not None:
            try:
                if self.enabled and not self._engine.control.poisoned:
                    self._follower.step()
            except (OSError, TickVaultError):
                pass  # it is in the journal and in the ring
            self._follower.close()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._ring = None
        self._pid = os.getpid()
        if self._follower is not None:
            self._follower.after_fork()
        if self.enabled:
            set_process_caller(process_actor().caller())

    # -- asking

    def head(self) -> Head | None:
        """Return the head of the trail, to be kept elsewhere: whoever has it notices an older or shorter trail."""
        self.catch_up()
        from tickvault.audit.verify import read_head

        return read_head(self.folder)

    def verify(self, **options: Any) -> VerifyReport:
        """Check the whole chain; see `audit.verify.verify`."""
        from tickvault.audit.verify import verify

        unable = ""
        try:
            self.catch_up()
        except (IntegrityError, InvalidInputError) as error:
            unable = str(error)
        report = verify(self.folder, **options)
        if unable and report.ok:
            # Nothing can be added to a broken trail: what is broken, the report says by itself.
            report.warnings.insert(0, f"nothing can be added to it: {unable}")
        return report

    def query(self, **options: Any) -> Iterator[AuditRecord]:
        """Iterate over records of the trail; see `audit.query.query`."""
        self.catch_up()
        from tickvault.audit.query import query

        return query(self.folder, **options)

    def rotate_key(self) -> str:
        """Let a new key sign from now on, in a block that the present key signs; return the new key's id.

        The old private key is gone then; its public one stays in the trail and in ``signers.json``.
        """
        from tickvault.audit.keyfile import make_next_signer, promote_next_signer

        def rotate(writer: TrailWriter) -> str:
            signer = make_next_signer(self.folder)
            writer.rotate(signer)
            promote_next_signer(self.folder, self._engine.disk)
            return str(signer.public_key.key_id.hex())

        return self.follower().with_writer(rotate)

    def set_hash(self, algorithm: str) -> None:
        """Choose what links the blocks from now on: ``sha-256``, or ``sm3`` (GB/T 32905)."""
        if algorithm not in ("sha-256", "sm3"):
            raise InvalidInputError(f"the hash of the audit trail is 'sha-256' or 'sm3', not {algorithm!r}")
        follower = self.follower()
        follower.close(for_good=False)
        self._save_settings({**self._settings(), "hash": algorithm})
        # Whoever has the trail lets it go, and the next to open it goes by the new setting.
        follower.with_writer(lambda writer: None)

    def timestamp(self, url: str) -> Head:
        """Have a time-stamping authority (RFC 3161) confirm the present head, and keep its token in the trail."""
        from tickvault.audit.rfc3161 import timestamp

        self.catch_up()
        return self.follower().with_writer(lambda writer: timestamp(writer, url))

    def restart(self, reason: str, *, even_if_sound: bool = False) -> str:
        """Put a broken trail aside, whole, and begin a new one that names it; return the folder it was moved to.

        The new trail tells of everything that is still in the journal. That the old one was left is in its first
        records, and whoever kept a head of the old one notices.

        Raises
        ------
        InvalidInputError
            There is no reason, or the trail is sound and `even_if_sound` was not said.
        """
        from tickvault.audit.restarting import set_aside

        if not reason.strip():
            raise InvalidInputError("give the reason why the trail is begun anew: it is the first thing in the new one")
        if not even_if_sound and self._goes_on():
            raise InvalidInputError(
                "the audit trail is sound, and goes on: there is nothing to put aside. To begin a new one all the "
                "same, which no head that was kept will fit, say even_if_sound=True "
                "(tickvault audit restart --even-if-sound)"
            )
        follower = self.follower()
        follower.close(for_good=False)
        folder, detail = set_aside(self.folder, self._engine.clock.now_ns())
        actor = process_actor()
        begun = follower.system_record("TrailRestarted", {**detail, "reason": reason.strip()[:512]})
        record = begun._replace(identity=actor.identity, source=actor.source)
        follower.with_writer(lambda writer: writer.append([record]))
        return folder

    def _goes_on(self) -> bool:
        """Return whether the trail is whole and can be added to."""
        from tickvault.audit.verify import verify

        try:
            self.catch_up()
        except (IntegrityError, InvalidInputError):
            return False
        return verify(self.folder).ok

    def export(self, destination: str | os.PathLike[str], **options: Any) -> ExportReport:
        """Write a bundle that an auditor verifies without this store; see `audit.export.export`."""
        self.catch_up()
        from tickvault.audit.export import export

        return export(self.folder, os.fspath(destination), **options)


def _pause() -> None:
    time.sleep(_PAUSE_S)


def begin_attribution(*, enabled: bool) -> None:
    """Name this process for changes that nobody else is named for."""
    set_process_caller(process_actor().caller() if enabled else NOBODY)


_auditors: weakref.WeakSet[Auditor] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for auditor in list(_auditors):
        auditor._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
