"""What a receiver is to the shipper: something that takes events, and says how it went.

Invariants: `Sink.send` returns only after the receiver has acknowledged every event, by the strongest acknowledgement
that its protocol has; whatever else happens is one of the three errors here, and each of them says in words what
failed and what to do. A sink belongs to one thread; only `interrupt` may be called from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship.event import Event
from tickvault.errors import TickVaultError


class SinkError(TickVaultError):
    """A receiver did not take a batch."""


class SinkUnavailable(SinkError):  # noqa: N818 -- a state of the receiver, and not the record's fault
    """Nothing counts as taken; the same batch is sent again later.

    Also for what only a person can mend at the receiver or in the settings (a token, an index that is not there):
    the records are not to blame, so that they wait.

    Parameters
    ----------
    message : str
        What failed and what to do.
    retry_after_s : float, optional
        The receiver's own wish for how long to wait, seconds.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SinkRejected(SinkError):  # noqa: N818 -- said of records
    """Some events will never be taken; every other event of the batch was acknowledged.

    Parameters
    ----------
    rejections : mapping of int to str
        The receiver's reason for each rejected sequence.
    """

    def __init__(self, rejections: Mapping[int, str]) -> None:
        first = next(iter(rejections))
        super().__init__(f"{len(rejections)} events rejected, the first of them {first}: {rejections[first]}")
        self.rejections = dict(rejections)


class BatchRefused(SinkError):  # noqa: N818 -- said of a batch
    """The batch as a whole was refused, for something in it: its size, or one event of it.

    The shipper sends it again in smaller parts; an event that is refused alone is dead.

    Parameters
    ----------
    message : str
        The receiver's reason.
    good_count : int, optional
        How many events at the front the receiver seems to have had no complaint about. A hint: Splunk counts from 0
        in some of its answers and from 1 in others.
    """

    def __init__(self, message: str, good_count: int | None = None) -> None:
        super().__init__(message)
        self.good_count = good_count


class Sink(Protocol):
    """A receiver of audit events."""

    @property
    def kind(self) -> str:
        """The ``type`` of its settings: ``splunk``, ``elastic``, …"""

    @property
    def rewind_count(self) -> int:
        """Records to send again at the start, for a protocol without acknowledgements; else 0."""

    def encode(self, trail_id: str, record: AuditRecord) -> bytes | None:
        """Return the bytes of one event; None for a record that this receiver is not meant to have.

        Raises
        ------
        InvalidInputError
            The record cannot be said in this receiver's format; it goes to the dead letters.
        """

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """Send events, at least one, in order; return when all of them are acknowledged.

        Raises
        ------
        SinkUnavailable, SinkRejected, BatchRefused
        """

    def interrupt(self) -> None:
        """Make a `send` that is under way in another thread fail soon, and every later one at once."""

    def close(self) -> None:
        """Give up the connection, in the protocol's polite way where it has one; it does not wait long."""
