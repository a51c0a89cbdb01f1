"""A syslog server, over TLS (RFC 5425) or plain TCP (RFC 6587), with octet counting.

Invariants: syslog has no acknowledgement. What stands in for it: a batch counts as taken when the other side's TCP has
acknowledged its last byte and the connection is still open; on every new connection the last messages of the one before
are sent again (`rewind_count`), and so they are when the vault starts, because they may have been in a buffer of a
receiver that died. So loss needs a receiver that dies with more than the window unread; duplicates carry the same id.

Sources: RFC 5424, RFC 5425 (port 6514, close_notify), RFC 6587 (section 3.4.1).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Literal

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship import rfc5424
from tickvault.audit.ship.cef import cef_line
from tickvault.audit.ship.endpoint import Endpoint
from tickvault.audit.ship.event import Event, record_fields, to_json
from tickvault.audit.ship.http_client import in_words
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.wire import Interrupt, Wire
from tickvault.errors import InvalidInputError

#: RFC 5425, 4.3.1: receivers must take 2048 bytes and should take 8192.
MESSAGE_BYTES_MAX = 8192
REWIND_COUNT = 100
_GOODBYE_S = 0.5
_DETAIL_WHEN_TIGHT = (1000, 200, 0)


class SyslogSink:
    """One syslog server.

    Parameters
    ----------
    endpoint : Endpoint
        Scheme ``tls`` or ``tcp``.
    tls : SSLContext, optional
        For ``tls``.
    payload : {"cef", "json"}
        What the message holds.
    hostname, app_name, enterprise_id
        As in `rfc5424.message`.
    message_bytes_max : int
        A longer message loses its detail, and if that is not enough its record is a dead letter.
    rewind_count : int
        Messages to send again on a new connection, 0: none.
    timeout_s : float
        Of a connect, and of a batch.
    """

    kind = "syslog"

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        *,
        payload: Literal["cef", "json"] = "cef",
        hostname: str = "",
        app_name: str = "tickvault",
        enterprise_id: int = rfc5424.ENTERPRISE_ID,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        rewind_count: int = REWIND_COUNT,
        timeout_s: float = 30.0,
    ) -> None:
        self.rewind_count = rewind_count
        self._endpoint, self._tls, self._timeout_s = endpoint, tls, timeout_s
        self._is_cef = payload == "cef"
        self._hostname, self._app_name, self._enterprise_id = hostname, app_name, enterprise_id
        self._message_bytes_max = message_bytes_max
        self._interrupt = Interrupt()
        self._wire: Wire | None = None
        # At most `rewind_count` messages of `message_bytes_max` bytes.
        self._recent: deque[bytes] = deque(maxlen=rewind_count)

    def encode(self, trail_id: str, record: AuditRecord) -> bytes:
        """Return one message, in its frame."""
        said = self._message(trail_id, record, None)
        for detail_max in _DETAIL_WHEN_TIGHT:
            if len(said) <= self._message_bytes_max:
                break
            said = self._message(trail_id, record, detail_max)
        if len(said) > self._message_bytes_max:
            raise InvalidInputError(
                f"syslog: the message has {len(said)} bytes also without its detail, the receiver takes "
                f"{self._message_bytes_max}; raise message_bytes_max here and there"
            )
        return rfc5424.frame(said)

    def _message(self, trail_id: str, record: AuditRecord, detail_max: int | None) -> bytes:
        if self._is_cef:
            text = cef_line(trail_id, record, **({} if detail_max is None else {"detail_max": detail_max}))
        else:
            fields = record_fields(trail_id, record)
            if detail_max is not None:  # half a JSON object is none: all of it or nothing
                fields["detail"] = {"cut": "the message was too long; see the trail"}
            text = to_json(fields).decode()
        return rfc5424.message(
            trail_id,
            record,
            text,
            hostname=self._hostname,
            app_name=self._app_name,
            enterprise_id=self._enterprise_id,
        )

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """Send messages; return when the other side's TCP has all of them."""
        self._interrupt.check()
        frames = [event.payload for event in events]
        try:
            again = self._connect()
            assert self._wire is not None
            self._wire.sendall(b"".join([*again, *frames]))
            self._wire.drain()
            if not self._wire.is_quiet():
                # A syslog server never says anything: this is its end, or an alert of TLS.
                raise ConnectionResetError
        except OSError as error:
            self._drop()
            self._interrupt.check()
            raise SinkUnavailable(f"{self._endpoint.shown}: {in_words(error, self._timeout_s)}") from error
        except BaseException:
            self._drop()
            raise
        self._recent.extend(frames)

    def _connect(self) -> list[bytes]:
        """See that there is a connection; return what has to be sent again on it."""
        if self._wire is not None:
            if self._wire.is_quiet():
                self._wire.deadline = time.monotonic() + self._timeout_s
                return []
            self._drop()
        endpoint = self._endpoint
        self._wire = Wire(endpoint.host, endpoint.port, self._tls, self._interrupt, self._timeout_s)
        return list(self._recent)

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.close()

    def interrupt(self) -> None:
        """Cut what is under way."""
        self._interrupt.set()

    def close(self) -> None:
        """End the connection with ``close_notify``, so that the receiver knows that nothing is missing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.end(_GOODBYE_S)
