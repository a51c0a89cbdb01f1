"""How fast the trail is on this machine; for a benchmark to print beside its limits.

Invariants: each figure is the best of its rounds, so that a neighbour on the machine does not count; what is measured
is the way that a vault takes, with nothing left out; nothing is kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from tickvault.audit.codec import decode, encode
from tickvault.audit.opening import open_trail
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ring import create_ring
from tickvault.audit.signing import Ed25519Signer
from tickvault.audit.verify import verify
from tickvault.seam.disk import OsDisk


class Figures(NamedTuple):
    """What was measured."""

    record_bytes: int
    encode_us: float
    decode_us: float
    put_us: float
    """Of a record into a ring."""
    appended_per_s: float
    """Records a second, encoded, chained, signed and synced, by one thread."""
    append_us: float
    """Of one block."""
    sync_us: float
    """The limit beside it: the same bytes written and synced, and nothing else."""
    verified_per_s: float
    """Records a second, on all cores."""


def typical_record(number: int) -> AuditRecord:
    """Return a record as an S3 GET makes it."""
    return AuditRecord(
        sequence=0,
        time_ns=1_764_400_000_000_000_000 + number * 1000,
        clock_error_ns=150_000,
        category=Category.READ,
        action="GetObject",
        result="ok",
        status=200,
        door="s3",
        identity="arn:aws:iam::000000000000:user/alice",
        source="10.20.30.40",
        request_id=f"{number:016X}",
        bucket="market",
        key=f"ticks/XNAS/2026/11/27/AAPL/part-{number:08d}.tvc",
        version_id="",
        size_bytes=4096,
        vault_sequence=0,
    )


def measure(folder: str, *, block_records: int = 512, blocks: int = 200, rounds: int = 3) -> Figures:
    """Measure in a folder that is made below the given one, and removed.

    Parameters
    ----------
    folder : str
        On the disk that is meant.
    block_records : int
        Records of a block.
    blocks : int
        Of a round.
    """
    place = tempfile.mkdtemp(prefix="audit-measure-", dir=folder)
    try:
        records = [typical_record(number) for number in range(block_records)]
        payloads = [encode(record) for record in records]
        encode_s = _best(rounds, lambda: [encode(record) for record in records])
        decode_s = _best(rounds, lambda: [decode(payload) for payload in payloads])
        with open_trail(f"{place}/audit", Ed25519Signer.generate()) as writer:
            append_s = _best(rounds, lambda: [writer.append(records) for _ in range(blocks)])
        reports = [verify(f"{place}/audit") for _ in range(rounds)]
        return Figures(
            record_bytes=len(payloads[0]),
            encode_us=encode_s / block_records * 1e6,
            decode_us=decode_s / block_records * 1e6,
            put_us=_put_s(place, payloads, rounds) * 1e6,
            appended_per_s=block_records * blocks / append_s,
            append_us=append_s / blocks * 1e6,
            sync_us=_sync_s(place, sum(map(len, payloads)), blocks, rounds) * 1e6,
            verified_per_s=max(report.records / report.seconds for report in reports),
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _best(rounds: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _put_s(place: str, payloads: list[bytes], rounds: int) -> float:
    ring = create_ring(f"{place}/rings", bytes(16))
    try:
        times = []
        for _ in range(rounds * 20):
            started = time.perf_counter()
            for payload in payloads:
                ring.put(payload)
            times.append((time.perf_counter() - started) / len(payloads))
            ring.taking(ring.peek(len(payloads), final=True).end, 1)
            ring.took()
        return min(times)
    finally:
        ring.close()


def _sync_s(place: str, size: int, count: int, rounds: int) -> float:
    disk, data = OsDisk(), os.urandom(size)
    fd = disk.open(f"{place}/bare", create=True)
    try:
        times = []
        for round_number in range(rounds):
            started = time.perf_counter()
            for number in range(round_number * count, (round_number + 1) * count):
                disk.write_synced(fd, [data], number * size)
            times.append((time.perf_counter() - started) / count)
        return min(times)
    finally:
        disk.close(fd)
