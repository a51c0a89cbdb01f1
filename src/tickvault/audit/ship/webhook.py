"""Any receiver that takes JSON over HTTPS: a POST for each batch, signed.

Invariants: a 2xx answer, received whole, is the acknowledgement; the signature covers the bytes as they are sent and
the time of the attempt, so that an old request cannot be played again; the idempotency key names the batch, and the
same key never carries other records.

The signature is ``X-TickVault-Signature: t=SECONDS,v1=HEX``, where HEX is HMAC-SHA-256 (RFC 2104, FIPS 180-4) of
``SECONDS``, a full stop and the body, under the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Sequence
from typing import Literal

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship.endpoint import Endpoint
from tickvault.audit.ship.event import Event, record_fields, to_json
from tickvault.audit.ship.http_client import HttpClient, unavailable
from tickvault.audit.ship.secret import SecretFile
from tickvault.audit.ship.sink import BatchRefused
from tickvault.audit.ship.wire import Interrupt
from tickvault.seam.clock import Clock, SystemClock

SIGNATURE_HEADER = "X-TickVault-Signature"
_OF_THE_BATCH = {400, 413, 415, 422}


def signature(secret: str, time_s: int, body: bytes) -> str:
    """Return the value of the signature header.

    >>> signature("secret", 1_700_000_000, b"[]")[:30]
    't=1700000000,v1=74f76d8933679a'
    """
    digest = hmac.new(secret.encode(), f"{time_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={time_s},v1={digest}"


class WebhookSink:
    """One URL.

    Parameters
    ----------
    endpoint : Endpoint
        Where to.
    tls : SSLContext, optional
        None: without TLS.
    secret : SecretFile, optional
        Key of the signature; without it nothing is signed.
    token : SecretFile, optional
        Sent as ``Authorization: Bearer``.
    body_format : {"json", "ndjson"}
        One array, or a line for each event.
    timeout_s : float
        Of one request, seconds.
    """

    kind = "webhook"
    rewind_count = 0

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        *,
        secret: SecretFile | None = None,
        token: SecretFile | None = None,
        body_format: Literal["json", "ndjson"] = "json",
        timeout_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._interrupt = Interrupt()
        self._client = HttpClient(endpoint, tls, self._interrupt, timeout_s=timeout_s)
        self._secret, self._token = secret, token
        self._is_array = body_format == "json"
        self._clock = clock or SystemClock()

    def encode(self, trail_id: str, record: AuditRecord) -> bytes:
        """Return the record as one JSON object."""
        return to_json(record_fields(trail_id, record))

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """POST one batch."""
        payloads = [event.payload for event in events]
        body = b"[" + b",".join(payloads) + b"]" if self._is_array else b"\n".join(payloads) + b"\n"
        headers = {
            "Content-Type": "application/json" if self._is_array else "application/x-ndjson",
            # The count, too: records that this receiver does not get may lie between the first and the last.
            "Idempotency-Key": f"{events[0].event_id}-{events[-1].record.sequence}-{len(events)}",
        }
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._secret.read(), self._clock.now_ns() // 10**9, body)
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read()}"
        answer = self._client.post(self._client.endpoint.target, body, headers)
        if 200 <= answer.status < 300:
            return
        if answer.status in _OF_THE_BATCH:
            raise BatchRefused(f"{self._client.endpoint.shown} answered {answer.status} {answer.said}")
        raise unavailable(self._client.endpoint, answer)

    def interrupt(self) -> None:
        """Cut what is under way."""
        self._interrupt.set()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
