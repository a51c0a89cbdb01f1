"""The compliance clock: what time it is for retention, whoever sets the clock of the machine.

A retention ends when so much time has *passed*, and passing time is what a machine can know of itself: its kernel
counts it from the start (CLOCK_BOOTTIME), and no one can set that count.  The vault keeps a high-water mark: a time,
and the boot and the count at which it was true.  Within that boot the trusted time is the mark plus what was counted
since.  After another start of the machine, or on another machine, it is the mark, which is renewed when the vault is
opened there: for how long the vault was closed, only the wall clock could tell, and it is not believed.  Nor is what
the machine counted before: it may have been running, elsewhere, when the mark was made, and a vault carried back and
forth between two machines would grow old by the uptime of each.

So the trusted time is never ahead of the truth, whatever the wall clock is set to, forward or back.  It lags by the
time from the last mark of one boot to the first of the next, and a retention lasts that much longer (NetApp's SnapLock
calls the same a ComplianceClock).
How far the wall clock is off is kept too, and a change of it beyond `JUMP_NS` is written down and audited.

Invariants: trusted time never goes back; no wall time moves it; without a readable mark nothing is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import Reader
from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.objects import entries
from tickvault.objects.entries import CLOCK_DOCUMENT, DAMAGED_DOCUMENT, Kind

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

#: The wall clock may drift, and be mended by NTP, this far without being called set: nanoseconds.
JUMP_NS = 60 * 10**9
#: The mark is renewed so often: what a machine that stops without warning adds to retentions, at most.
RENEWAL_NS = 3600 * 10**9
_KEY = entries.document_key(CLOCK_DOCUMENT)


@dataclass(frozen=True, slots=True)
class ClockMark:
    """A trusted time, and when it was true."""

    trusted_ns: int
    boot_id: bytes
    boottime_ns: int
    """CLOCK_BOOTTIME of that boot at `trusted_ns`."""
    offset_ns: int
    """Wall clock less trusted time when it was written."""
    lag_ns: int
    """Wall clock less trusted time when this boot was first seen, not below 0: how long the machine was off, if the
    wall clock was right then. New retentions count from the trusted time plus this, so that they read right."""
    jump_ns: int = 0
    """By how much the wall clock had been set since the mark before; 0 if it was not."""

    def data(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {
            "t": self.trusted_ns,
            "b": self.boot_id,
            "c": self.boottime_ns,
            "o": self.offset_ns,
            "l": self.lag_ns,
            "j": self.jump_ns,
        }

    @staticmethod
    def of(data: Mapping[str, Any]) -> ClockMark:
        """Return what was stored; raises `InvalidInputError` for what cannot be a mark."""
        try:
            mark = ClockMark(data["t"], data["b"], data["c"], data["o"], data["l"], data["j"])
        except (KeyError, TypeError):
            mark = None
        if (
            mark is None
            or not isinstance(mark.boot_id, bytes)
            or any(
                type(number) is not int
                for number in (mark.trusted_ns, mark.boottime_ns, mark.offset_ns, mark.lag_ns, mark.jump_ns)
            )
        ):
            raise InvalidInputError("this is no mark of a compliance clock; nobody but the vault writes one")
        return mark


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the compliance clock says, beside the wall clock."""

    trusted_ns: int
    wall_ns: int
    lag_ns: int
    """By how much the trusted time lags because the machine was off."""
    jump_ns: int
    """By how much the wall clock is off from where it would be, had nobody set it since this boot was first seen."""


class ComplianceClock:
    """The compliance clock of one vault, as one process reads it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._boot_id = engine.host.boot_id()
        self._seen: tuple[bytes, ClockMark] | None = None

    def mark(self, reader: Reader) -> ClockMark | None:
        """Return the mark, None in a vault that never had a lock.

        Raises
        ------
        IntegrityError
            Its record is damaged.
        """
        raw = reader.get(_KEY)
        if raw is None:
            return None
        seen = self._seen
        if seen is None or seen[0] != raw:
            data = entries.decode_document(_KEY, raw).data
            if not isinstance(data, dict) or DAMAGED_DOCUMENT in data:
                raise IntegrityError(
                    "the record of the vault's compliance clock is damaged: nothing that is retained can be released; "
                    "run `tickvault verify`, and restore a backup"
                )
            seen = self._seen = (raw, ClockMark.of(data))
        return seen[1]

    def advanced_ns(self, mark: ClockMark) -> int:
        """Return the trusted time now that a mark gives, whether or not it is the vault's."""
        return self._advanced(mark)

    def of_this_boot(self, mark: ClockMark) -> bool:
        """Return whether a mark says that it was made in this boot: of another, nobody here can tell what it gives."""
        return mark.boot_id == self._boot_id

    def trusted_ns(self, reader: Reader) -> int:
        """Return the trusted time; 0 without a mark, so that nothing is released."""
        mark = self.mark(reader)
        return 0 if mark is None else self._advanced(mark)

    def stamp_ns(self, reader: Reader) -> int:
        """Return the time that new retentions count from: what the trusted time would be, had the machine not been off.

        Never earlier than the trusted time, so no retention is shorter than it says.
        """
        mark = self.mark(reader)
        if mark is None:
            return self._engine.clock.now_ns()
        return self._advanced(mark) + self._lag(mark)

    def reading(self) -> ClockReading | None:
        """Return what the clock says now; None in a vault that never had a lock."""
        with self._engine.snapshot() as snapshot:
            mark = self.mark(snapshot)
        if mark is None:
            return None
        trusted, wall, lag = self._advanced(mark), self._engine.clock.now_ns(), self._lag(mark)
        return ClockReading(trusted, wall, lag, wall - trusted - lag)

    def _advanced(self, mark: ClockMark) -> int:
        if mark.boot_id != self._boot_id:
            return mark.trusted_ns
        return mark.trusted_ns + max(0, self._engine.clock.boottime_ns() - mark.boottime_ns)

    def _lag(self, mark: ClockMark) -> int:
        if mark.boot_id == self._boot_id:
            return mark.lag_ns
        return max(0, self._engine.clock.now_ns() - self._advanced(mark))

    # -- writing the mark

    def ensure(self) -> None:
        """Make the mark if there is none, from the wall clock: the first lock of a vault begins its time."""
        with self._engine.snapshot() as snapshot:
            if self.mark(snapshot) is not None:
                return

        def run(txn: Transaction) -> None:
            if self.mark(txn) is None:
                for _ in txn.scan(b"L", b"M"):
                    # A new mark would take the wall clock's word for it.
                    raise IntegrityError(
                        "there are locks, but the record of the vault's compliance clock is missing: nothing that is "
                        "retained can be released; restore a backup"
                    )
                self._append(txn, ClockMark(txn.now_ns, self._boot_id, self._engine.clock.boottime_ns(), 0, 0))

        self._engine.commit(Operation(run, 1024))

    def observe(self, *, age_ns: int = RENEWAL_NS) -> bool:
        """Renew the mark if it is due: so old, of another boot, or the wall clock was set; return whether it was.

        Called when the vault is opened and closed, and about once a minute in between.
        """
        with self._engine.snapshot() as snapshot:
            mark = self.mark(snapshot)
        if mark is None or not self._due(mark, age_ns):
            return False

        def run(txn: Transaction) -> bool:
            found = self.mark(txn)
            if found is None or not self._due(found, age_ns):
                return False
            trusted, wall = self._advanced(found), txn.now_ns
            same_boot = found.boot_id == self._boot_id
            jump = self._jump(found, trusted, wall)
            lag = found.lag_ns if same_boot else max(0, wall - trusted)
            boottime = self._engine.clock.boottime_ns()
            self._append(txn, ClockMark(trusted, self._boot_id, boottime, wall - trusted, lag, jump))
            return True

        return self._engine.commit(Operation(run, 1024))

    def _jump(self, mark: ClockMark, trusted_ns: int, wall_ns: int) -> int:
        """Return by how much the wall clock was set since a mark of the same boot; 0 within what NTP mends."""
        moved = wall_ns - trusted_ns - mark.offset_ns
        if mark.boot_id != self._boot_id:
            # While the machine was off the wall clock runs on, and only a step back is surely one.
            moved = min(0, moved)
        return moved if abs(moved) > JUMP_NS else 0

    def _due(self, mark: ClockMark, age_ns: int) -> bool:
        if mark.boot_id != self._boot_id:
            return True
        trusted = self._advanced(mark)
        if trusted - mark.trusted_ns >= age_ns:
            return True
        return self._jump(mark, trusted, self._engine.clock.now_ns()) != 0

    def _append(self, txn: Transaction, mark: ClockMark) -> None:
        txn.strict = True
        txn.append(Kind.DOCUMENT, 0, CLOCK_DOCUMENT.encode(), entries.pack(mark.data()))
