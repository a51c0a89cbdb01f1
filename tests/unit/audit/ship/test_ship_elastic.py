"""Elasticsearch and OpenSearch, against a strict cluster made from their documentation.

"Bulk API", "Data streams", "Create API key" (Elasticsearch 8), "Bulk" (OpenSearch), and the lists of allowed values of
the Elastic Common Schema.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from receivers import HttpReceiver, Reply, Request
from trails import HOSTILE, TRAIL, Trail, events_of, make, quick, secret_file, ship_all

from tickvault.audit.record import Category
from tickvault.audit.ship.config import sink_from
from tickvault.audit.ship.ecs import ecs_document, index_template, ip_address
from tickvault.audit.ship.event import event_id
from tickvault.audit.ship.shipper import FOLDER, Shipper
from tickvault.audit.ship.sink import BatchRefused, Sink, SinkRejected, SinkUnavailable

API_KEY = "VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw"
STREAM = "logs-tickvault.audit-default"

# elastic.co, ECS 8.17, "ECS Categorization Field: event.category" and "event.type".
ECS_TYPES = {
    "api": {"access", "admin", "allowed", "change", "creation", "deletion", "denied", "end", "info", "start", "user"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "file": {"access", "change", "creation", "deletion", "info"},
}


class Cluster:
    """Keeps documents by id, as `create` and `index` want it."""

    def __init__(self, target: str = STREAM, operation: str = "create") -> None:
        self.target, self.operation = target, operation
        self.documents: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.before: Callable[[Request, int], Reply | None] = lambda request, n: None
        self.item: Callable[[dict[str, Any], int], dict[str, Any] | None] = lambda document, n: None
        self.authorization = "ApiKey " + base64.b64encode(API_KEY.encode()).decode()
        self.count = self.writes = 0

    def __call__(self, request: Request) -> Reply:
        self.count += 1
        early = self.before(request, self.count)
        if early is not None:
            return early
        parts = urlsplit(request.path)
        assert parts.path == f"/{self.target}/_bulk"
        assert "items.*.status" in parse_qs(parts.query)["filter_path"][0]
        assert request.headers["content-type"] == "application/x-ndjson"
        if request.headers.get("authorization") != self.authorization:
            return Reply(401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}})
        assert request.body.endswith(b"\n"), "the final line must end with a newline"
        lines = request.body[:-1].split(b"\n")
        assert len(lines) % 2 == 0
        items = []
        for action_line, document_line in zip(lines[::2], lines[1::2], strict=True):
            action, document = json.loads(action_line), json.loads(document_line)
            assert list(action) == [self.operation], "a data stream takes create only"
            assert list(action[self.operation]) == ["_id"]
            items.append({self.operation: self._write(action[self.operation]["_id"], document)})
        reply = {"errors": any("error" in item[self.operation] for item in items), "items": items}
        return Reply(200, reply)

    def _write(self, document_id: str, document: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        said = self.item(document, self.writes)
        if said is not None:
            return {"_id": document_id, **said}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", document["@timestamp"])
        assert document["event"]["id"] == document_id
        if document_id in self.documents and self.operation == "create":
            reason = f"[{document_id}]: version conflict, document already exists (current version [1])"
            return {
                "_id": document_id,
                "status": 409,
                "error": {"type": "version_conflict_engine_exception", "reason": reason},
            }
        is_new = document_id not in self.documents
        self.documents[document_id] = document
        if is_new:
            self.order.append(document_id)
        return {"_id": document_id, "status": 201 if is_new else 200}


def sink_for(receiver: HttpReceiver, folder: Path, **settings: Any) -> Sink:
    values = {"name": "es", "type": "elastic", "url": receiver.url, "insecure": True, **settings}
    if values["type"] == "elastic" and "username" not in values:
        values["api_key_file"] = secret_file(folder, API_KEY, "api-key")
    return sink_from(values).sink


def ids(count: int) -> list[str]:
    return [event_id(TRAIL, n) for n in range(1, count + 1)]


@pytest.mark.parametrize("compress", [True, False])
def test_a_trail_arrives_whole_and_in_order(tmp_path: Path, compress: bool) -> None:
    cluster, trail = Cluster(), Trail(321)
    trail.kept[9] = trail.kept[9]._replace(key=HOSTILE)
    with HttpReceiver(cluster) as receiver:
        sink = sink_for(receiver, tmp_path, gzip=compress)
        ship_all(Shipper("es", trail, sink, str(tmp_path), quick(count_max=100)), trail)
        assert receiver.requests[0].headers.get("content-encoding") == ("gzip" if compress else None)
    assert cluster.order == ids(321)
    assert cluster.documents[event_id(TRAIL, 10)]["tickvault"]["key"] == HOSTILE


def test_an_index_is_written_by_index_and_an_encoded_key_or_a_password_is_taken(tmp_path: Path) -> None:
    cluster = Cluster("audit-2026", "index")
    encoded = base64.b64encode(API_KEY.encode()).decode()
    with HttpReceiver(cluster) as receiver:
        values = {"name": "es", "type": "elastic", "url": receiver.url, "insecure": True, "index": "audit-2026"}
        sink = sink_from({**values, "api_key_file": secret_file(tmp_path, encoded)}).sink
        events = events_of(sink, Trail(3))
        sink.send(TRAIL, events)
        sink.send(TRAIL, events)
        assert cluster.order == ids(3)
        cluster.authorization = "Basic " + base64.b64encode(b"audit:pa:ss").decode()
        for kind in ("elastic", "opensearch"):
            password = secret_file(tmp_path, "pa:ss", "password")
            made = sink_from({**values, "type": kind, "username": "audit", "password_file": password}).sink
            assert made.kind == kind
            made.send(TRAIL, events)


def test_what_is_there_already_is_a_success(tmp_path: Path) -> None:
    cluster, trail = Cluster(), Trail(10)
    with HttpReceiver(cluster) as receiver:
        sink = sink_for(receiver, tmp_path)
        sink.send(TRAIL, events_of(sink, trail, 6))
        sink.send(TRAIL, events_of(sink, trail))
    assert cluster.order == ids(10)


def test_an_answer_lost_on_the_way_makes_no_second_document(tmp_path: Path) -> None:
    cluster, trail = Cluster(), Trail(50)

    class LosesAnswers:
        def __call__(self, request: Request) -> Reply:
            reply = cluster(request)
            reply.does = "cut in the middle" if cluster.count % 2 else "answer"
            return reply

    with HttpReceiver(LosesAnswers()) as receiver:
        ship_all(Shipper("es", trail, sink_for(receiver, tmp_path), str(tmp_path), quick(count_max=20)), trail)
    assert cluster.order == ids(50)
    assert cluster.writes == 100


MAPPING = {"type": "document_parsing_exception", "reason": "failed to parse field [source.ip] of type [ip]"}


def test_a_document_that_does_not_fit_the_mapping_is_dead_and_the_others_are_taken(tmp_path: Path) -> None:
    cluster, trail = Cluster(), Trail(40)
    bad = {5, 6, 33}
    cluster.item = lambda d, n: {"status": 400, "error": MAPPING} if d["event"]["sequence"] in bad else None
    with HttpReceiver(cluster) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkRejected) as caught:
            sink.send(TRAIL, events_of(sink, trail, 10))
        assert set(caught.value.rejections) == {5, 6}
        assert "failed to parse field [source.ip]" in caught.value.rejections[5]
        ship_all(Shipper("es", trail, sink_for(receiver, tmp_path), str(tmp_path), quick()), trail)
    assert cluster.order == [event_id(TRAIL, n) for n in range(1, 41) if n not in bad]
    lines = (tmp_path / FOLDER / "es.dead.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"]["sequence"] for line in lines] == [5, 6, 33]


@pytest.mark.parametrize("status", [429, 503, 500, 403, 404, 409])
def test_one_event_that_was_not_taken_makes_the_batch_wait_and_no_letter_is_buried(tmp_path: Path, status: int) -> None:
    cluster, trail = Cluster(), Trail(10)
    busy = {"type": "es_rejected_execution_exception", "reason": "rejected execution of primary operation"}

    def item(document: dict[str, Any], n: int) -> dict[str, Any] | None:
        if document["event"]["sequence"] == 3:
            return {"status": 400, "error": MAPPING}
        return {"status": status, "error": busy} if n in (4, 7) else None

    cluster.item = item
    with HttpReceiver(cluster) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkUnavailable, match=f"2 of 10 events were not taken.*{status}"):
            sink.send(TRAIL, events_of(sink, trail))
        ship_all(Shipper("es", trail, sink, str(tmp_path), quick()), trail)
    assert set(cluster.order) == {event_id(TRAIL, n) for n in range(1, 11) if n != 3}


@pytest.mark.parametrize(
    "items",
    [
        [],
        None,
        "items",
        [{"create": {"_id": "x", "status": 201}}] * 2,
        [{"index": {"_id": event_id(TRAIL, n), "status": 201}} for n in (1, 2)],
        [{"create": {"_id": event_id(TRAIL, n), "status": 201}} for n in (2, 1)],
        [{"create": {"_id": event_id(TRAIL, 1), "status": 201}}],
        [{"create": {"_id": event_id(TRAIL, n), "status": 201}} for n in (1, 2, 3)],
        [{"create": {"_id": event_id(TRAIL, n)}} for n in (1, 2)],
        [{"create": {"_id": event_id(TRAIL, n), "status": 201, "error": {"type": "x"}}} for n in (1, 2)],
        [7, {"create": None}],
    ],
)
def test_an_answer_that_does_not_speak_of_these_events_is_not_believed(tmp_path: Path, items: Any) -> None:
    with HttpReceiver(lambda _: Reply(200, {"errors": False, "items": items})) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(SinkUnavailable):
            sink.send(TRAIL, events_of(sink, Trail(2)))


@pytest.mark.parametrize(("status", "error"), [(400, BatchRefused), (413, BatchRefused), (401, SinkUnavailable)])
def test_an_answer_to_the_whole_request(tmp_path: Path, status: int, error: type[Exception]) -> None:
    with HttpReceiver(lambda _: Reply(status, {"error": "x"})) as receiver:
        sink = sink_for(receiver, tmp_path)
        with pytest.raises(error, match=str(status)) as caught:
            sink.send(TRAIL, events_of(sink, Trail(2)))
    assert API_KEY not in str(caught.value)


def test_a_limit_on_the_request_is_found_by_sending_less(tmp_path: Path) -> None:
    cluster, trail = Cluster(), Trail(40)
    cluster.before = lambda request, n: Reply(413, {}) if len(request.body) > 12_000 else None
    with HttpReceiver(cluster) as receiver:
        ship_all(Shipper("es", trail, sink_for(receiver, tmp_path), str(tmp_path), quick()), trail)
    assert cluster.order == ids(40)
    assert not (tmp_path / FOLDER / "es.dead.jsonl").exists()


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for name, inner in value.items() for k, v in leaves(inner, f"{path}.{name}" if path else name).items()}


def mapped(template: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(properties: dict[str, Any], path: str) -> None:
        for name, mapping in properties.items():
            here = f"{path}.{name}" if path else name
            if "properties" in mapping:
                walk(mapping["properties"], here)
            else:
                found[here] = mapping["type"]

    walk(template["template"]["mappings"]["properties"], "")
    return found


RECORDS = [
    make(1),
    make(2, category=Category.READ, action="GetObject", source="2001:db8::7"),
    make(
        3, category=Category.REFUSAL, action="DeleteObjectVersion", result="AccessDenied", status=403, identity="AKIA1"
    ),
    make(
        4,
        category=Category.SYSTEM,
        action="TrailBegun",
        status=0,
        bucket="",
        key="",
        identity="",
        source="pid 7 of desk",
    ),
    make(5, action="PutBucketVersioning", key="", source="192.0.2.9:5050", detail={}),
    make(6, key=HOSTILE, identity="local:1000", detail={"a.b.c": HOSTILE, "": "x"}),
    make(7, category=Category.REFUSAL, action="GetObject", result="NoSuchKey", status=404),
    make(8, action="", result="", identity="arn:aws:sts::1:assumed-role/r/s"),
]


@pytest.mark.parametrize("kind", ["elastic", "opensearch"])
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.action)
def test_a_document_keeps_to_the_schema_and_to_the_template(kind: Any, record: Any) -> None:
    document = ecs_document(TRAIL, record, STREAM)
    types = mapped(index_template(kind))
    detail = document["tickvault"].pop("detail", {})
    assert detail == dict(record.detail)
    for path, value in leaves(document).items():
        assert path in types, f"{path} has no mapping"
        for one in value if isinstance(value, list) else [value]:
            match types[path]:
                case "long":
                    assert type(one) is int
                    assert -(2**63) <= one < 2**63
                case "ip":
                    assert re.fullmatch(r"[0-9a-f.:]+", one)
                case "date_nanos":
                    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", one)
                case _:
                    assert isinstance(one, str)
    event = document["event"]
    assert event["kind"] == "event"
    assert event["outcome"] == ("success" if record.result == "ok" else "failure")
    allowed = set().union(*(ECS_TYPES[category] for category in event["category"]))
    assert set(event["type"]) <= allowed
    kept = document["tickvault"]
    for name in ("sequence", "time_ns", "status", "size_bytes", "vault_sequence", "clock_error_ns"):
        assert kept[name] == getattr(record, name)
    for name in ("door", "identity", "source", "request_id", "bucket", "key", "version_id", "result", "action"):
        assert kept.get(name, "") == getattr(record, name)


def test_a_document_in_full() -> None:
    document = ecs_document(TRAIL, RECORDS[2], STREAM)
    assert document["@timestamp"] == "2023-11-14T22:13:20.123456792Z"
    assert document["event"] == {
        "id": f"{TRAIL}-3",
        "kind": "event",
        "category": ["api", "file"],
        "type": ["deletion", "denied"],
        "action": "DeleteObjectVersion",
        "outcome": "failure",
        "sequence": 3,
        "created": "2023-11-14T22:13:20.123456792Z",
        "provider": "tickvault",
        "module": "tickvault",
        "dataset": "tickvault.audit",
        "reason": "AccessDenied",
    }
    assert document["user"] == {"id": "AKIA1", "name": "AKIA1"}
    assert document["source"] == {"ip": "192.0.2.3", "address": "192.0.2.3"}
    assert document["http"] == {"request": {"id": "REQ3"}, "response": {"status_code": 403}}
    assert document["aws"] == {"s3": {"bucket": {"name": "ticks"}, "object": {"key": "ES/3"}}}
    assert document["data_stream"] == {"type": "logs", "dataset": "tickvault.audit", "namespace": "default"}
    assert document["related"] == {"user": ["AKIA1"], "ip": ["192.0.2.3"]}
    assert "data_stream" not in ecs_document(TRAIL, RECORDS[2], "audit")
    assert ecs_document(TRAIL, RECORDS[0])["user"] == {"id": "arn:aws:iam::000000000000:user/alice", "name": "alice"}


def test_addresses() -> None:
    assert ip_address("2001:db8::1") == ip_address("[2001:db8::1]") == ip_address("[2001:db8::1]:443") == "2001:db8::1"
    assert ip_address("192.0.2.1:80") == "192.0.2.1"
    assert ip_address("300.0.0.1") == ip_address("") == ip_address("pid 7 of 192.0.2.1") == ""


def test_the_templates_differ_where_the_two_do() -> None:
    elastic, opensearch = mapped(index_template("elastic")), mapped(index_template("opensearch"))
    assert {path: (elastic[path], opensearch[path]) for path in elastic if elastic[path] != opensearch[path]} == {
        "message": ("match_only_text", "text"),
        "tickvault.detail": ("flattened", "flat_object"),
        "data_stream.type": ("constant_keyword", "keyword"),
        "data_stream.dataset": ("constant_keyword", "keyword"),
        "data_stream.namespace": ("constant_keyword", "keyword"),
    }
    assert index_template("elastic")["data_stream"] == {}
    json.dumps(index_template("elastic"))
