"""How a shipper is doing, for a person or a monitor to read.

Invariants: a status is a snapshot, taken without waiting for the receiver; times are wall-clock nanoseconds, 0: never.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a shipper is doing."""

    NEW = "new"
    """Not started."""
    STANDBY = "standby"
    """Another process ships for this sink; this one takes over when that ends."""
    IDLE = "idle"
    """Everything was acknowledged."""
    SENDING = "sending"
    RETRYING = "retrying"
    """The receiver does not take events now; `ShipStatus.last_error` says why."""
    HALTED = "halted"
    """The cursor and the trail do not fit, or the trail cannot be read: a person has to look. Tried again."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ShipStatus:
    """Where one sink stands."""

    name: str
    kind: str
    state: State
    acknowledged_sequence: int
    """Last record of the trail that is done with."""
    lag_count: int
    """Records of the trail that are not; -1 where the trail cannot tell."""
    sent_count: int
    """Events acknowledged since the start of this process; one sent twice counts twice."""
    dead_letter_count: int
    """Records ever put among the dead letters."""
    failures_in_row: int
    last_error: str
    """In words; empty: there was none since the start."""
    last_error_ns: int
    last_success_ns: int
    next_attempt_ns: int
    """When the next attempt is due while `state` is ``retrying`` or ``halted``, else 0."""
