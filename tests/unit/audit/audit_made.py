"""Trails for tests, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tickvault.audit.opening import open_trail
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.signing import Ed25519Signer
from tickvault.audit.trail import TrailWriter

T0 = 1_764_400_000_000_000_000
SIGNER = Ed25519Signer(bytes(range(32)))
OTHER_SIGNER = Ed25519Signer(bytes(range(1, 33)))


class StillClock:
    """Time that passes by one second a look."""

    def __init__(self) -> None:
        self.time_ns = T0

    def now_ns(self) -> int:
        self.time_ns += 1_000_000_000
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


class SameHost:
    """Randomness that repeats."""

    def boot_id(self) -> bytes:
        return bytes(16)

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return 0x0102030405060708


def record(number: int, **other: Any) -> AuditRecord:
    made = AuditRecord(
        sequence=0,
        time_ns=T0 + number,
        clock_error_ns=1500,
        category=Category.READ,
        action="GetObject",
        result="ok",
        status=200,
        door="s3",
        identity="arn:aws:iam::000000000000:user/alice",
        source="10.1.2.3",
        request_id=f"REQ{number:013d}",
        bucket="market",
        key=f"ticks/XNAS/{number}.tvc",
        version_id="",
        size_bytes=number * 10,
        vault_sequence=0,
    )
    return made._replace(**other)


def opened(folder: Path | str, **options: Any) -> TrailWriter:
    options.setdefault("signer", SIGNER)
    signer = options.pop("signer")
    return open_trail(str(folder), signer, clock=StillClock(), host=SameHost(), **options)


def made_trail(folder: Path | str, blocks: int = 5, per_block: int = 3, **options: Any) -> list[AuditRecord]:
    """Write a trail; return its records as they should be read, the key's record not included."""
    expected = []
    with opened(folder, **options) as writer:
        for block in range(blocks):
            records = [record(block * per_block + place) for place in range(per_block)]
            head = writer.append(records, b"cursor %d" % block)
            first = head.sequence - per_block + 1
            expected += [made._replace(sequence=first + place) for place, made in enumerate(records)]
    return expected
