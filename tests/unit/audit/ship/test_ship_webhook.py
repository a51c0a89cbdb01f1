"""Webhooks: signed, keyed, and acknowledged by 2xx."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from receivers import HttpReceiver, Reply, Request
from trails import HOSTILE, TRAIL, Trail, events_of, make, quick, secret_file, ship_all

from tickvault.audit.record import Category
from tickvault.audit.ship.config import sink_from
from tickvault.audit.ship.event import event_id
from tickvault.audit.ship.shipper import Shipper
from tickvault.audit.ship.sink import BatchRefused, Sink, SinkUnavailable
from tickvault.audit.ship.webhook import signature

KEY = "whsec-0123456789"


def sink_for(receiver: HttpReceiver, folder: Path, **settings: Any) -> Sink:
    values = {"name": "hook", "type": "webhook", "url": f"{receiver.url}/in?x=1", "insecure": True, **settings}
    return sink_from({**values, "secret_file": secret_file(folder, KEY)}).sink


class Hook:
    """Checks the signature by the text of the documentation, and drops what it has seen by the idempotency key."""

    def __init__(self, body: str = "json") -> None:
        self.is_array = body == "json"
        self.taken: list[dict[str, Any]] = []
        self.keys: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Reply:
        assert request.path == "/in?x=1"
        stamp, _, proof = request.headers["x-tickvault-signature"].partition(",")
        assert stamp.startswith("t=")
        assert abs(int(stamp[2:]) - time.time()) < 60
        expected = hmac.digest(KEY.encode(), stamp[2:].encode() + b"." + request.raw, "sha256").hex()
        assert hmac.compare_digest(proof, f"v1={expected}")
        assert hashlib.sha256().name == "sha256"
        assert request.headers["content-type"] == ("application/json" if self.is_array else "application/x-ndjson")
        key = request.headers["idempotency-key"]
        assert self.keys.setdefault(key, request.body) == request.body, "one key, one content"
        if self.is_array:
            self.taken += json.loads(request.body)
        else:
            assert request.body.endswith(b"\n")
            self.taken += [json.loads(line) for line in request.body[:-1].split(b"\n")]
        return Reply(204, text=b"")


@pytest.mark.parametrize("body", ["json", "ndjson"])
def test_a_trail_arrives_whole_and_signed(tmp_path: Path, body: str) -> None:
    hook, trail = Hook(body), Trail(250)
    trail.kept[10] = trail.kept[10]._replace(key=HOSTILE)
    with HttpReceiver(hook) as receiver:
        ship_all(
            Shipper("hook", trail, sink_for(receiver, tmp_path, body=body), str(tmp_path), quick(count_max=99)), trail
        )
    assert [event["event_id"] for event in hook.taken] == [event_id(TRAIL, n) for n in range(1, 251)]
    assert hook.taken[10]["key"] == HOSTILE
    assert set(hook.taken[0]) == {
        *("event_id", "trail_id", "sequence", "time", "time_ns", "clock_error_ns", "category", "action", "result"),
        *("status", "door", "identity", "source", "request_id", "bucket", "key", "version_id", "size_bytes"),
        *("vault_sequence", "detail"),
    }


def test_the_same_batch_has_the_same_key_and_another_selection_has_another(tmp_path: Path) -> None:
    hook, trail = Hook(), Trail(3)
    with HttpReceiver(hook) as receiver:
        sink = sink_for(receiver, tmp_path)
        events = events_of(sink, trail)
        sink.send(TRAIL, events)
        sink.send(TRAIL, events)
        sink.send(TRAIL, [events[0], events[2]])
        keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503])
def test_what_is_not_the_batches_fault_waits(tmp_path: Path, status: int) -> None:
    with HttpReceiver(lambda _: Reply(status, {"why": "so"}, {"Retry-After": "3", "Location": "/x"})) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkUnavailable, match=str(status)) as caught:
            sink.send(TRAIL, events_of(sink, Trail(2)))
        assert caught.value.retry_after_s == 3
        assert len(receiver.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_the_batches_fault_is_said(tmp_path: Path, status: int) -> None:
    with HttpReceiver(lambda _: Reply(status, {"why": "so"})) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(BatchRefused, match=str(status)):
            sink.send(TRAIL, events_of(sink, Trail(2)))


def test_only_some_categories_are_sent_where_the_settings_say_so(tmp_path: Path) -> None:
    hook, trail = Hook(), Trail(10)
    trail.kept[3] = make(4, category=Category.REFUSAL, result="AccessDenied", status=403)
    with HttpReceiver(hook) as receiver:
        values = {"name": "h", "type": "webhook", "url": f"{receiver.url}/in?x=1", "insecure": True}
        values |= {"secret_file": secret_file(tmp_path, KEY), "categories": ["refusal"], "poll_interval_s": 0.05}
        made = sink_from(values)
        ship_all(Shipper(made.name, trail, made.sink, str(tmp_path), made.options), trail)
    assert [event["sequence"] for event in hook.taken] == [4]


def test_a_url_that_is_a_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    with HttpReceiver(lambda _: Reply(500, {})) as receiver:
        path = secret_file(tmp_path, f"{receiver.url}/T0/B0/secret-part", "url")
        sink = sink_from({"name": "h", "type": "webhook", "url_file": path, "insecure": True}).sink
        with pytest.raises(SinkUnavailable) as caught:
            sink.send(TRAIL, events_of(sink, Trail(1)))
        assert receiver.requests[0].path == "/T0/B0/secret-part"
        assert "authorization" not in receiver.requests[0].headers
        assert "x-tickvault-signature" not in receiver.requests[0].headers
    assert "secret-part" not in str(caught.value)


def test_a_bearer_token_is_sent(tmp_path: Path) -> None:
    with HttpReceiver(lambda _: Reply(200, {})) as receiver:
        sink = sink_for(receiver, tmp_path, token_file=secret_file(tmp_path, "t0ken", "token"))
        sink.send(TRAIL, events_of(sink, Trail(1)))
        assert receiver.requests[0].headers["authorization"] == "Bearer t0ken"


def test_the_receiver_in_the_how_to_accepts_what_is_sent_and_nothing_else() -> None:
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "ship-the-audit-trail.md").read_text()
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "is_ours" in b]
    names: dict[str, Any] = {}
    exec(block, names)
    now, body = int(time.time()), b'[{"a":1}]'
    header = signature(KEY, now, body)
    assert names["is_ours"](header, body, KEY.encode())
    assert not names["is_ours"](header, body + b" ", KEY.encode())
    assert not names["is_ours"](header, body, b"another")
    assert not names["is_ours"](signature(KEY, now - 3600, body), body, KEY.encode())
