"""Splunk: the HTTP Event Collector, with indexer acknowledgement.

Invariants: with acknowledgement (the default) an event counts as taken only when the indexer says that it is indexed;
without it, when the collector has received it, which Splunk's documentation says can still be lost. The bytes of an
event do not depend on the attempt. One channel a process: an acknowledgement of another one is never taken for ours.

Sources: Splunk Enterprise, "Getting Data In": "Format events for HTTP Event Collector", "About HTTP Event Collector
Indexer Acknowledgment", "Troubleshoot HTTP Event Collector" (the table of codes).
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship.endpoint import Endpoint
from tickvault.audit.ship.event import Event, epoch_seconds, record_fields, to_json
from tickvault.audit.ship.http_client import Answer, HttpClient, unavailable
from tickvault.audit.ship.secret import SecretFile
from tickvault.audit.ship.sink import BatchRefused, SinkUnavailable
from tickvault.audit.ship.wire import Interrupt

#: Of one request; Splunk's own limit was 1 MB in old releases.
REQUEST_BYTES_MAX = 1_000_000
#: Fields that Splunk indexes beside the event, for fast searches (``tstats``); they must be flat text.
INDEXED_FIELDS = ("event_id", "trail_id", "action", "result", "category", "bucket")

# Codes that speak of an event, by the table in "Troubleshoot HTTP Event Collector".
# 6 invalid data format, 12 event field is required, 13 event field cannot be blank, 15 error in indexed fields.
_OF_AN_EVENT = {6, 12, 13, 15}
_ADVICE = {
    1: "the token is disabled: enable it in Splunk",
    2: "no token was seen: see that nothing between drops the Authorization header",
    3: "the token is not understood: mend token_file",
    4: "the token is unknown: mend token_file, which is read anew",
    7: "the token may not write to this index: mend index, or the token's list of indexes",
    10: "the token wants a channel: set acknowledge: true",
    11: "the channel is not valid",
    14: "the token has no indexer acknowledgement: enable it in Splunk, or set acknowledge: false",
}
_ACK_POLL_S_MIN, _ACK_POLL_S_MAX = 0.1, 10.0
_ACK_POLL_FAILURES_MAX = 3


@dataclass(frozen=True, slots=True)
class SplunkOptions:
    """How events stand in Splunk."""

    acknowledge: bool = True
    """Wait until the indexer has each event; the token must have indexer acknowledgement enabled."""
    index: str | None = None
    """None: the token's default index."""
    source: str = "tickvault"
    sourcetype: str = "tickvault:audit"
    host: str = ""
    """``host`` of the events; empty: left to Splunk."""
    gzip: bool = True
    ack_timeout_s: float = 300.0
    """After this the events are sent again. Splunk says: wait five minutes."""


class SplunkSink:
    """One token of one collector.

    Parameters
    ----------
    endpoint : Endpoint
        The collector; a path stands before ``/services/collector``.
    token : SecretFile
        The token.
    tls : SSLContext, optional
        None: without TLS.
    options : SplunkOptions, optional
        Index, source type, acknowledgement.
    timeout_s : float
        Of one request, seconds.
    """

    kind = "splunk"
    rewind_count = 0

    def __init__(
        self,
        endpoint: Endpoint,
        token: SecretFile,
        tls: ssl.SSLContext | None,
        options: SplunkOptions | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        self._options = options or SplunkOptions()
        self._interrupt = Interrupt()
        self._client = HttpClient(endpoint, tls, self._interrupt, timeout_s=timeout_s)
        self._token = token
        self._channel = str(uuid.uuid4())
        self._base = endpoint.target.rstrip("/")
        described: dict[str, Any] = {"source": self._options.source, "sourcetype": self._options.sourcetype}
        if self._options.host:
            described["host"] = self._options.host
        if self._options.index is not None:
            described["index"] = self._options.index
        self._described = to_json(described)[1:-1]

    def encode(self, trail_id: str, record: AuditRecord) -> bytes:
        """Return the event in the collector's envelope; the time with nine decimals, which no float could carry."""
        event = record_fields(trail_id, record)
        fields = {name: event[name] for name in INDEXED_FIELDS if event[name]}
        return b'{"time":%s,%s,"event":%s,"fields":%s}' % (
            epoch_seconds(record.time_ns).encode(),
            self._described,
            to_json(event),
            to_json(fields),
        )

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """Send events in requests of `REQUEST_BYTES_MAX`, and wait until the indexer has all of them."""
        headers = self._headers()
        ack_ids: list[int] = []
        sent = 0
        for part in _parts(events):
            target = f"{self._base}/services/collector/event"
            answer = self._client.post(
                target, b"\n".join(event.payload for event in part), headers, compress=self._options.gzip
            )
            document = self._judge(answer, sent)
            sent += len(part)
            if self._options.acknowledge:
                ack_id = document.get("ackId")
                if type(ack_id) is not int:
                    raise unavailable(self._client.endpoint, answer, _ADVICE[14])
                ack_ids.append(ack_id)
        if ack_ids:
            self._await(set(ack_ids), headers)

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Splunk {self._token.read()}", "Content-Type": "application/json; charset=utf-8"}
        if self._options.acknowledge:
            headers["X-Splunk-Request-Channel"] = self._channel
        return headers

    def _judge(self, answer: Answer, sent_before: int) -> dict[str, Any]:
        """Return the document of a success; raise what an answer means otherwise."""
        document = _document(answer)
        code = document.get("code")
        if answer.status == 200 and code == 0:
            return document
        if answer.status == 413 or code == 27:
            raise BatchRefused(f"{self._client.endpoint.shown}: the request is too large ({answer.said})")
        if answer.status == 400 and code in _OF_AN_EVENT:
            number = document.get("invalid-event-number")
            good = sent_before + number if type(number) is int and number >= 0 else None
            raise BatchRefused(f"{self._client.endpoint.shown} answered {answer.said}", good)
        raise unavailable(self._client.endpoint, answer, _ADVICE.get(code, "") if type(code) is int else "")

    def _await(self, waiting: set[int], headers: dict[str, str]) -> None:
        """Ask until the indexer has acknowledged every request; each true answer is given once, and then forgotten."""
        give_up_at = time.monotonic() + self._options.ack_timeout_s
        pause = _ACK_POLL_S_MIN
        target = f"{self._base}/services/collector/ack?channel={quote(self._channel)}"
        failures = 0
        while True:
            try:
                waiting = self._ask(target, waiting, headers)
                failures = 0
            except SinkUnavailable:
                # One question without an answer is no reason to send everything again.
                failures += 1
                if failures > _ACK_POLL_FAILURES_MAX:
                    raise
            if not waiting:
                return
            if time.monotonic() + pause > give_up_at:
                raise SinkUnavailable(
                    f"{self._client.endpoint.shown}: the indexer acknowledged {len(waiting)} requests not within "
                    f"{self._options.ack_timeout_s:g} s; they are sent again. See whether its queues are full"
                )
            self._interrupt.wait(pause)
            pause = min(pause * 2, _ACK_POLL_S_MAX)

    def _ask(self, target: str, waiting: set[int], headers: dict[str, str]) -> set[int]:
        """Return those of the requests that are not indexed yet."""
        answer = self._client.post(target, to_json({"acks": sorted(waiting)}), headers)
        acks = _document(answer).get("acks")
        if answer.status != 200 or not isinstance(acks, dict):
            raise unavailable(self._client.endpoint, answer)
        return {ack_id for ack_id in waiting if acks.get(str(ack_id)) is not True}

    def interrupt(self) -> None:
        """Cut what is under way."""
        self._interrupt.set()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _parts(events: Sequence[Event]) -> Iterator[list[Event]]:
    part: list[Event] = []
    size = 0
    for event in events:
        if part and size + len(event.payload) + 1 > REQUEST_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event.payload) + 1
    if part:
        yield part


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
