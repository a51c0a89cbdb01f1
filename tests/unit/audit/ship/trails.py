"""A trail in memory, and records that are awkward on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.backoff import Backoff
from tickvault.audit.ship.batching import BatchLimits
from tickvault.audit.ship.event import Event, event_id
from tickvault.audit.ship.shipper import ShipOptions, Shipper
from tickvault.audit.ship.sink import Sink

TRAIL = "6f1c0b9e5d3a4c7f8e2b1a0d9c8b7a65"
TIME_NS = 1_700_000_000_123_456_789
HOSTILE = 'a b"c\\d|e=f]g\r\nh\tüñ€😀\x00\u2028CEF:0|x src=1.2.3.4'


def make(sequence: int, **changes: object) -> AuditRecord:
    record = AuditRecord(
        sequence=sequence,
        time_ns=TIME_NS + sequence,
        clock_error_ns=1500,
        category=Category.CHANGE,
        action="PutObject",
        result="ok",
        status=200,
        door="s3",
        identity="arn:aws:iam::000000000000:user/alice",
        source="192.0.2.3",
        request_id=f"REQ{sequence}",
        bucket="ticks",
        key=f"ES/{sequence}",
        version_id="null",
        size_bytes=4096,
        vault_sequence=1000 + sequence,
        detail={"sha256": "ab" * 32},
    )
    return record._replace(**changes)


class Trail:
    """A source that grows."""

    def __init__(self, count: int = 0, trail_id: str = TRAIL) -> None:
        self.trail_id = trail_id
        self.kept = [make(n) for n in range(1, count + 1)]
        self.read_count_max = 0

    @property
    def last_sequence(self) -> int:
        return len(self.kept)

    def records(self, after_sequence: int, limit: int) -> Sequence[AuditRecord]:
        found = self.kept[after_sequence : after_sequence + limit]
        self.read_count_max = max(self.read_count_max, len(found))
        return found

    def add(self, count: int = 1, **changes: object) -> None:
        for _ in range(count):
            self.kept.append(make(len(self.kept) + 1, **changes))


def events_of(sink: Sink, trail: Trail, count: int | None = None) -> list[Event]:
    made = []
    for record in trail.kept[:count]:
        payload = sink.encode(trail.trail_id, record)
        assert payload is not None
        made.append(Event(event_id(trail.trail_id, record.sequence), record, payload))
    return made


QUICK = ShipOptions(backoff=Backoff(0.01, 0.05), poll_interval_s=0.02, linger_s=0.0)


def quick(**changes: object) -> ShipOptions:
    limits = {name: changes.pop(name) for name in ("count_max", "bytes_max", "event_bytes_max") if name in changes}
    return ShipOptions(
        **{
            "limits": BatchLimits(**limits),  # type: ignore[arg-type]
            "backoff": QUICK.backoff,
            "poll_interval_s": 0.02,
            "linger_s": 0.0,
            **changes,  # type: ignore[arg-type]
        }
    )


def until(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.005)


def ship_all(shipper: Shipper, trail: Trail, timeout_s: float = 10.0) -> None:
    """Start, wait until everything is done with, stop."""
    shipper.start()
    try:
        until(lambda: shipper.status().acknowledged_sequence == trail.last_sequence, timeout_s)
    except AssertionError:
        raise AssertionError(f"not all was shipped: {shipper.status()}") from None
    finally:
        assert shipper.stop(), "the shipper did not stop in time"


def secret_file(folder: Path, text: str, name: str = "secret") -> str:
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)
