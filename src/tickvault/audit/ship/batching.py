"""Which records go into the next batch.

Invariants: events are in the order of the trail and without a gap; a batch has a limit in events and in bytes, so that
memory is bounded whatever waits; a record that cannot be said to a receiver is a dead letter of its own and is never
left out in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.event import Event, event_id
from tickvault.audit.ship.sink import Sink
from tickvault.audit.ship.source import Source
from tickvault.errors import IntegrityError, InvalidInputError

_READ_COUNT_MAX = 500


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much goes to a receiver at once."""

    count_max: int = 500
    bytes_max: int = 1 << 20
    event_bytes_max: int = 256 << 10
    """A larger event is a dead letter."""


@dataclass(slots=True)
class Batch:
    """What is done with one stretch of the trail."""

    through: int
    """Last sequence of the stretch."""
    events: list[Event] = field(default_factory=list)
    dead: list[tuple[AuditRecord, str]] = field(default_factory=list)
    """Records that cannot be sent, with the reason."""
    bytes: int = 0


def next_batch(
    source: Source, sink: Sink, after_sequence: int, limits: BatchLimits, categories: frozenset[Category] | None
) -> Batch:
    """Return the batch that follows a sequence; `through` is that sequence at the end of the trail.

    Parameters
    ----------
    source : Source
        The trail.
    sink : Sink
        Makes the bytes of the events.
    after_sequence : int
        Last record that is done with.
    limits : BatchLimits
        Of this batch.
    categories : frozenset of Category, optional
        What the receiver is meant to have; None: everything.

    Raises
    ------
    IntegrityError
        The trail has a gap.
    """
    batch = Batch(after_sequence)
    while True:
        count = min(limits.count_max - len(batch.events), _READ_COUNT_MAX)
        records = source.records(batch.through, count)
        _check(records, batch.through, count)
        for record in records:
            if categories is None or record.category in categories:
                event = _event(source, sink, record, limits, batch)
                if event is not None:
                    if batch.events and batch.bytes + len(event.payload) > limits.bytes_max:
                        return batch
                    batch.events.append(event)
                    batch.bytes += len(event.payload)
            batch.through = record.sequence
        if len(records) < count or len(batch.events) >= limits.count_max or len(batch.dead) >= limits.count_max:
            return batch
        if batch.through - after_sequence >= 20 * _READ_COUNT_MAX:
            return batch  # nearly everything is left out: let the cursor move


def _event(source: Source, sink: Sink, record: AuditRecord, limits: BatchLimits, batch: Batch) -> Event | None:
    try:
        payload = sink.encode(source.trail_id, record)
    except (InvalidInputError, ValueError, TypeError, OverflowError) as error:
        batch.dead.append((record, f"cannot be said in the format of the receiver: {error}"))
        return None
    if payload is None:
        return None
    if len(payload) > limits.event_bytes_max:
        batch.dead.append((record, f"is {len(payload)} bytes as an event, at most {limits.event_bytes_max} are sent"))
        return None
    return Event(event_id(source.trail_id, record.sequence), record, payload)


def _check(records: Sequence[AuditRecord], after_sequence: int, count: int) -> None:
    if len(records) > count:
        raise IntegrityError(f"the trail gave {len(records)} records where at most {count} were asked for")
    for expected, record in enumerate(records, after_sequence + 1):
        if record.sequence != expected:
            raise IntegrityError(
                f"the trail gives record {record.sequence} where {expected} must follow; nothing is sent past a gap: "
                "verify the trail, and restore what is missing"
            )
