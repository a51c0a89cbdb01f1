"""Splunk's HTTP Event Collector, against a strict one made from its documentation.

"Format events for HTTP Event Collector", "About HTTP Event Collector Indexer Acknowledgment" and "Troubleshoot HTTP
Event Collector" (the codes) in Splunk Enterprise, "Getting Data In".
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from receivers import HttpReceiver, Reply, Request, pair, server_tls
from trails import HOSTILE, TIME_NS, TRAIL, Trail, events_of, make, quick, secret_file, ship_all, until

from tickvault.audit.ship import splunk as module
from tickvault.audit.ship.config import sink_from
from tickvault.audit.ship.event import event_id
from tickvault.audit.ship.shipper import FOLDER, Shipper
from tickvault.audit.ship.sink import BatchRefused, SinkUnavailable
from tickvault.audit.ship.splunk import SplunkSink
from tickvault.audit.ship.status import State

TOKEN = "2a7c1f0e-6d0b-4c0e-9a57-3f8f3bb0f1aa"
_ENVELOPE = {"time", "host", "source", "sourcetype", "index", "event", "fields"}


def documents_in(body: bytes) -> Iterator[dict[str, Any]]:
    """Objects one after the other, with white space between or none, as the collector takes them."""
    text, at = body.decode("utf-8"), 0
    decoder = json.JSONDecoder(parse_float=Decimal)
    while at < len(text):
        if text[at] in " \r\n\t":
            at += 1
            continue
        document, at = decoder.raw_decode(text, at)
        yield document


class Collector:
    """The collector's rules; `before` may answer in its place."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.indexed: list[dict[str, Any]] = []
        self.requests: dict[str, dict[int, bool]] = {}
        self.before: Callable[[Request, int], Reply | None] = lambda request, n: None
        self.acks_after = 1
        """Questions until an acknowledgement is true; 0: never."""
        self.bad: set[int] = set()
        self.token = TOKEN
        self.questions: dict[tuple[str, int], int] = {}
        self.count = 0

    def __call__(self, request: Request) -> Reply:
        self.count += 1
        early = self.before(request, self.count)
        if early is not None:
            return early
        assert request.method == "POST"
        scheme, _, token = request.headers["authorization"].partition(" ")
        if scheme != "Splunk":
            return Reply(401, {"text": "Invalid authorization", "code": 3})
        if token != self.token:
            return Reply(403, {"text": "Invalid token", "code": 4})
        if not request.body:
            return Reply(400, {"text": "No data", "code": 5})
        parts = urlsplit(request.path)
        if parts.path == "/services/collector/ack":
            return self._acks(request, parse_qs(parts.query))
        assert request.path == "/services/collector/event"
        assert request.headers["content-type"].startswith("application/json")
        channel = request.headers.get("x-splunk-request-channel", "")
        if self.acknowledges:
            if not channel:
                return Reply(400, {"text": "Data channel is missing", "code": 10})
            assert str(uuid.UUID(channel)) == channel
        taken = []
        for number, document in enumerate(documents_in(request.body)):
            self._check(document)
            if document["event"]["sequence"] in self.bad:
                self.indexed += taken  # what stands before is taken all the same
                return Reply(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number})
            taken.append(document)
        if not self.acknowledges:
            self.indexed += taken
            return Reply(200, {"text": "Success", "code": 0})
        acks = self.requests.setdefault(channel, {})
        ack_id = len(acks)
        acks[ack_id] = True
        self.indexed += taken
        return Reply(200, {"text": "Success", "code": 0, "ackId": ack_id})

    def _acks(self, request: Request, query: dict[str, list[str]]) -> Reply:
        if not self.acknowledges:
            return Reply(400, {"text": "ACK is disabled", "code": 14})
        (channel,) = query["channel"]
        answer = {}
        for ack_id in json.loads(request.body)["acks"]:
            assert type(ack_id) is int
            asked = self.questions[channel, ack_id] = self.questions.get((channel, ack_id), 0) + 1
            is_known = self.requests.get(channel, {}).get(ack_id, False)
            is_true = is_known and 0 < self.acks_after <= asked
            if is_true:
                self.requests[channel][ack_id] = False  # said once
            answer[str(ack_id)] = is_true
        return Reply(200, {"acks": answer})

    def _check(self, document: dict[str, Any]) -> None:
        assert set(document) <= _ENVELOPE, "the collector knows no other key"
        assert isinstance(document["time"], Decimal)
        assert isinstance(document["event"], dict)
        assert document["sourcetype"] == "tickvault:audit"
        assert all(isinstance(value, str) and value for value in document["fields"].values()), "flat text only"

    @property
    def ids(self) -> list[str]:
        return [document["event"]["event_id"] for document in self.indexed]


def sink_for(receiver: HttpReceiver, folder: Path, **settings: Any) -> SplunkSink:
    token = secret_file(folder, TOKEN, "hec-token")
    values = {"name": "siem", "type": "splunk", "url": receiver.url, "insecure": True, "token_file": token, **settings}
    sink = sink_from(values).sink
    assert isinstance(sink, SplunkSink)
    return sink


@pytest.fixture(autouse=True)
def _no_long_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ACK_POLL_S_MIN", 0.005)
    monkeypatch.setattr(module, "_ACK_POLL_S_MAX", 0.02)


def ids(count: int) -> list[str]:
    return [event_id(TRAIL, n) for n in range(1, count + 1)]


@pytest.mark.parametrize("acknowledge", [True, False])
@pytest.mark.parametrize("compress", [True, False])
def test_a_trail_arrives_whole_in_order_and_exactly_timed(tmp_path: Path, acknowledge: bool, compress: bool) -> None:
    collector, trail = Collector(acknowledges=acknowledge), Trail(700)
    trail.kept[41] = trail.kept[41]._replace(key=HOSTILE, detail={HOSTILE: HOSTILE})
    with HttpReceiver(collector) as receiver:
        sink = sink_for(receiver, tmp_path, acknowledge=acknowledge, gzip=compress, index="audit", host="desk")
        ship_all(Shipper("siem", trail, sink, str(tmp_path), quick(count_max=300)), trail)
        assert collector.ids == ids(700)
        assert receiver.connection_count == 1, "the connection is kept"
        first = receiver.requests[0]
        assert ("x-splunk-request-channel" in first.headers) == acknowledge
        assert (first.raw[:2] == b"\x1f\x8b") == compress
        assert (first.headers.get("content-encoding") == "gzip") == compress
    document = collector.indexed[0]
    assert document["time"] == Decimal(TIME_NS + 1) / 10**9, "to the nanosecond"
    assert (document["host"], document["index"], document["source"]) == ("desk", "audit", "tickvault")
    assert document["fields"] == {
        "event_id": event_id(TRAIL, 1),
        "trail_id": TRAIL,
        "action": "PutObject",
        "result": "ok",
        "category": "change",
        "bucket": "ticks",
    }
    assert document["event"]["key"] == "ES/1"
    assert collector.indexed[41]["event"]["key"] == HOSTILE
    assert collector.indexed[41]["event"]["detail"] == {HOSTILE: HOSTILE}


def test_over_tls_with_its_own_authority(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    collector, trail = Collector(), Trail(20)
    with HttpReceiver(collector, server_tls(certificate, key)) as receiver:
        sink = sink_for(receiver, tmp_path, ca_file=certificate, insecure=False)
        ship_all(Shipper("siem", trail, sink, str(tmp_path), quick()), trail)
    assert collector.ids == ids(20)


def test_a_late_acknowledgement_is_waited_for(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail(10)
    collector.acks_after = 6
    with HttpReceiver(collector) as receiver:
        ship_all(Shipper("siem", trail, sink_for(receiver, tmp_path), str(tmp_path), quick()), trail)
    assert collector.ids == ids(10), "nothing was sent twice"
    assert max(collector.questions.values()) == 6


def test_without_an_acknowledgement_it_is_sent_again_and_the_cursor_does_not_move(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail(10)
    collector.acks_after = 0
    with HttpReceiver(collector) as receiver:
        sink = sink_for(receiver, tmp_path)
        sink._options = module.SplunkOptions(ack_timeout_s=0.1)
        shipper = Shipper("siem", trail, sink, str(tmp_path), quick())
        shipper.start()
        until(lambda: shipper.status().failures_in_row >= 1)
        assert "acknowledged 1 requests not within" in shipper.status().last_error
        assert shipper.status().acknowledged_sequence == 0
        collector.acks_after = 1
        until(lambda: shipper.status().lag_count == 0)
        assert shipper.stop()
    assert list(dict.fromkeys(collector.ids)) == ids(10)
    assert len(collector.ids) > 10


def test_a_large_batch_goes_in_requests_of_a_megabyte_that_are_acknowledged_together(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail()
    for n in range(1, 121):
        trail.kept.append(make(n, detail={"reason": "x" * 20_000}))
    with HttpReceiver(collector) as receiver:
        sink = sink_for(receiver, tmp_path)
        sink.send(TRAIL, events_of(sink, trail))
        sizes = [len(r.body) for r in receiver.requests if r.path.endswith("/event")]
        questions = [json.loads(r.body)["acks"] for r in receiver.requests if "/ack" in r.path]
    assert len(sizes) == 3
    assert max(sizes) <= 1_000_000
    assert questions == [[0, 1, 2]]
    assert collector.ids == ids(120)


@pytest.mark.parametrize(
    ("status", "document", "said"),
    [
        (403, {"text": "Token disabled", "code": 1}, "the token is disabled"),
        (401, {"text": "Token is required", "code": 2}, "drops the Authorization header"),
        (401, {"text": "Invalid authorization", "code": 3}, "mend token_file"),
        (403, {"text": "Invalid token", "code": 4}, "the token is unknown"),
        (400, {"text": "Incorrect index", "code": 7, "invalid-event-number": 1}, "may not write to this index"),
        (500, {"text": "Internal server error", "code": 8}, "answered 500"),
        (503, {"text": "Server is busy", "code": 9}, "it is busy"),
        (400, {"text": "Data channel is missing", "code": 10}, "acknowledge: true"),
        (400, {"text": "ACK is disabled", "code": 14}, "acknowledge: false"),
        (200, {"text": "Success", "code": 0}, "no indexer acknowledgement"),
        (200, {"text": "?", "code": True, "ackId": "1"}, "answered 200"),
        (200, "no object", "answered 200"),
        (503, None, "answered 503"),
    ],
)
def test_what_is_not_the_events_fault_waits(tmp_path: Path, status: int, document: Any, said: str) -> None:
    collector, trail = Collector(), Trail(3)
    collector.before = lambda request, n: Reply(status, document) if n == 1 else None
    with HttpReceiver(collector) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkUnavailable, match=said) as caught:
            sink.send(TRAIL, events_of(sink, trail))
        assert TOKEN not in str(caught.value)
        sink.send(TRAIL, events_of(sink, trail))
    assert collector.ids == ids(3)


def test_a_busy_server_is_left_alone_as_long_as_it_asks(tmp_path: Path) -> None:
    busy = Reply(503, {"text": "Server is busy", "code": 9}, {"Retry-After": "17"})
    with HttpReceiver(lambda _: busy) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkUnavailable) as caught:
            sink.send(TRAIL, events_of(sink, Trail(1)))
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize("code", [6, 12, 13, 15])
def test_a_malformed_event_is_the_batches_fault_with_a_hint(tmp_path: Path, code: int) -> None:
    reply = Reply(400, {"text": "x", "code": code, "invalid-event-number": 2})
    with HttpReceiver(lambda _: reply) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(BatchRefused) as caught:
            sink.send(TRAIL, events_of(sink, Trail(5)))
    assert caught.value.good_count == 2


def test_one_event_that_splunk_will_not_take_blocks_no_other(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail(100)
    collector.bad = {37}
    with HttpReceiver(collector) as receiver:
        shipper = Shipper("siem", trail, sink_for(receiver, tmp_path), str(tmp_path), quick())
        ship_all(shipper, trail)
    assert list(dict.fromkeys(collector.ids)) == [n for n in ids(100) if n != event_id(TRAIL, 37)]
    (line,) = (tmp_path / FOLDER / "siem.dead.jsonl").read_text().splitlines()
    assert json.loads(line)["record"]["sequence"] == 37
    assert "Invalid data format" in json.loads(line)["reason"]


def test_a_token_that_is_rotated_is_read_anew_without_a_restart(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail(5)
    collector.token = "the-new-one"
    with HttpReceiver(collector) as receiver:
        shipper = Shipper("siem", trail, sink_for(receiver, tmp_path), str(tmp_path), quick())
        shipper.start()
        until(lambda: shipper.status().failures_in_row >= 2)
        assert "Invalid token" in shipper.status().last_error
        secret_file(tmp_path, "the-new-one", "hec-token")
        until(lambda: shipper.status().lag_count == 0)
        assert shipper.stop()
    assert collector.ids == ids(5), "no record was lost, and none buried"


@pytest.mark.parametrize("fault", ["cut", "cut in the middle", "503", "429", "restart"])
def test_through_faults_nothing_is_lost_and_order_is_kept(tmp_path: Path, fault: str) -> None:
    collector, trail = Collector(), Trail(60)

    def misbehave(request: Request, n: int) -> Reply | None:
        if n % 3 or n > 40:
            return None
        if fault in ("503", "429"):
            return Reply(int(fault), {"text": "busy", "code": 9}, {"Retry-After": "0"})
        if fault == "restart":
            collector.requests.clear()  # forgets what it had promised to acknowledge
            return Reply(does="cut")
        return Reply(200, {"text": "Success", "code": 0, "ackId": 0, "x": "y" * 100}, does=fault)

    collector.before = misbehave
    with HttpReceiver(collector) as receiver:
        sink = sink_for(receiver, tmp_path)
        sink._options = module.SplunkOptions(ack_timeout_s=0.1)
        ship_all(Shipper("siem", trail, sink, str(tmp_path), quick(count_max=7)), trail, 20)
    assert list(dict.fromkeys(collector.ids)) == ids(60)


def test_stop_is_prompt_while_an_acknowledgement_is_awaited(tmp_path: Path) -> None:
    collector, trail = Collector(), Trail(3)
    collector.acks_after = 0
    with HttpReceiver(collector) as receiver:
        shipper = Shipper("siem", trail, sink_for(receiver, tmp_path), str(tmp_path), quick())
        shipper.start()
        until(lambda: bool(collector.questions))
        assert shipper.status().state == State.SENDING
        assert shipper.stop(3)
    assert shipper.status().acknowledged_sequence == 0


def test_the_bytes_of_an_event_are_the_same_in_every_attempt_and_process(tmp_path: Path) -> None:
    with HttpReceiver(Collector()) as receiver:
        one, two = sink_for(receiver, tmp_path), sink_for(receiver, tmp_path)
        record = make(5, key=HOSTILE)
        assert one.encode(TRAIL, record) == two.encode(TRAIL, record)
        assert re.match(rb'{"time":1700000000\.123456794,', one.encode(TRAIL, record))
