"""Moving records from the rings of all processes into the trail.

Invariants: whoever drains holds the trail's lock (it has the writer); a record goes into exactly one block, also when
the process is killed in between; the ring of a living process is never removed, that of a dead one once it is empty.
What a ring holds and cannot be chained as it is becomes a record that says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from tickvault.audit.block import RECORDS_MAX, pack_body
from tickvault.audit.codec import encode
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ring import NEW_SUFFIX, Ring, Taken, open_ring, ring_paths
from tickvault.audit.trail import RINGS_FOLDER, TrailWriter
from tickvault.errors import FormatError, InvalidInputError, StorageError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import FileLock

UNREADABLE_ACTION = "UnreadableAuditRecord"
DAMAGED_ACTION = "DamagedAuditRing"
_SHOWN_BYTES = 512


class Drained(NamedTuple):
    """What a drain did."""

    records: int
    blocks: int
    rings_removed: int
    problems: Sequence[str]
    """Rings that could not be opened, in words."""


class Drain:
    """Drains all rings into the trail.

    Parameters
    ----------
    writer : TrailWriter
        Its folder's `rings` is drained.
    boot_id : bytes
        Of this boot, as `create_ring` was given it.
    own : Ring, optional
        This process's.
    """

    def __init__(
        self, writer: TrailWriter, boot_id: bytes, *, own: Ring | None = None, clock: Clock | None = None
    ) -> None:
        self._writer = writer
        self._folder = f"{writer.folder}/{RINGS_FOLDER}"
        self._boot_id = boot_id
        self._own = own
        self._clock = clock or SystemClock()
        self._others: dict[str, tuple[Ring, bytes]] = {}
        self._dead: set[str] = set()

    def drain(self, cursor: bytes | None = None, *, count_max: int = RECORDS_MAX, blocks_max: int = 64) -> Drained:
        """Append what waits in the rings to the trail.

        Parameters
        ----------
        cursor : bytes, optional
            For the blocks written; as for `TrailWriter.append`.
        count_max : int
            Most records of one block.
        blocks_max : int
            Most blocks, so that rings that fill as fast as they are drained do not keep the caller for ever.

        Raises
        ------
        StorageError
            The block in hand could not be written; its records stay in the rings.
        """
        # One place in the block is kept for what there may be to tell about each ring.
        if not 2 <= count_max <= RECORDS_MAX:
            raise InvalidInputError(f"count_max: must be 2 to {RECORDS_MAX}, was {count_max}")
        problems = self._find()
        records = blocks = 0
        while blocks < blocks_max:
            count = self._drain_block(cursor, count_max)
            if not count:
                break
            records, blocks = records + count, blocks + 1
        return Drained(records, blocks, self._remove_dead(), problems)

    def close(self) -> None:
        """Let go of the other processes' rings."""
        for ring, _ in self._others.values():
            ring.close()
        self._others.clear()
        self._dead.clear()

    def _find(self) -> list[str]:
        problems: list[str] = []
        own = self._own.path if self._own is not None else ""
        for path in ring_paths(self._folder):
            if path == own:
                continue
            if path not in self._others:
                try:
                    self._others[path] = open_ring(path)
                except FormatError as error:
                    problems.append(str(error))
                    continue
            # Once locked, its owner has ended, and nobody else looks: whoever drains holds the trail's lock.
            if path not in self._dead and self._others[path][0].lock():
                self._dead.add(path)
        return problems

    def _drain_block(self, cursor: bytes | None, count_max: int) -> int:
        payloads: list[bytes] = []
        noted: list[tuple[Ring, int]] = []
        rings = [(self._own, self._boot_id, True)] if self._own is not None else []
        rings += [(ring, boot, path in self._dead) for path, (ring, boot) in self._others.items()]
        for ring, boot, final in rings:
            room = count_max - len(payloads) - 1
            if room <= 0:
                break
            taken = ring.peek(room, final=final)
            payloads += taken.payloads
            if taken.damaged_bytes:
                payloads.append(self._damaged(ring, taken, boot))
            if taken.payloads or taken.damaged_bytes:
                noted.append((ring, taken.end))
        if not payloads:
            return 0
        self._append(payloads, cursor, noted)
        return len(payloads)

    def _append(self, payloads: list[bytes], cursor: bytes | None, noted: list[tuple[Ring, int]]) -> None:
        try:
            body = pack_body(payloads)
        except InvalidInputError:
            body = pack_body([self._readable(payload) for payload in payloads])
        noting = False

        def note(block_number: int) -> None:
            nonlocal noting
            noting = True
            for ring, end in noted:
                ring.taking(end, block_number)

        try:
            self._writer.append(body, cursor, noting=note)
        except BaseException:
            # Where the outcome is unknown the note stays: whoever opens the trail next finds out by it.
            if noting and not self._writer.outcome_unknown:
                for ring, _ in noted:
                    ring.untake()
            raise
        for ring, _ in noted:
            ring.took()

    def _readable(self, payload: bytes) -> bytes:
        try:
            pack_body([payload])
        except InvalidInputError as error:
            detail = {
                "reason": str(error),
                "size": str(len(payload)),
                "sha256": hashlib.sha256(payload).hexdigest(),
                "begins": payload[:_SHOWN_BYTES].hex(),
            }
            return self._system(UNREADABLE_ACTION, detail)
        return payload

    def _damaged(self, ring: Ring, taken: Taken, boot: bytes) -> bytes:
        detail = {"ring": os.path.basename(ring.path), "skipped_bytes": str(taken.damaged_bytes)}
        if boot != self._boot_id:
            detail["reason"] = "the machine went off while records waited"
        return self._system(DAMAGED_ACTION, detail)

    def _system(self, action: str, detail: dict[str, str]) -> bytes:
        now, source = self._clock.now_ns(), f"pid {os.getpid()}"
        return encode(
            AuditRecord(
                sequence=0,
                time_ns=now,
                clock_error_ns=-1,
                category=Category.SYSTEM,
                action=action,
                result="ok",
                status=0,
                door="system",
                identity="",
                source=source,
                request_id="",
                bucket="",
                key="",
                version_id="",
                size_bytes=0,
                vault_sequence=0,
                detail=detail,
            )
        )

    def _remove_dead(self) -> int:
        removed = 0
        for path in sorted(self._dead):
            ring, _ = self._others[path]
            if ring.waiting_bytes:
                continue
            os.unlink(path)
            ring.close()
            del self._others[path]
            self._dead.discard(path)
            removed += 1
        self._sweep()
        return removed

    def _sweep(self) -> None:
        """Remove what is left of rings whose process ended while it made them."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(NEW_SUFFIX):
                path = os.path.join(self._folder, name)
                try:
                    lock = FileLock(path)
                except StorageError:
                    continue  # no file, and so no ring that was being made
                if lock.acquire(wait=False):
                    try:
                        os.unlink(path)
                    except FileNotFoundError:
                        pass
                lock.close()
