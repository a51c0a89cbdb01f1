"""An audit record as a document of the Elastic Common Schema, and the index template for such documents.

Invariants: a document follows from the trail and the record alone; every field of the record stands in it whole, under
``tickvault``, whatever of it has a name in the schema too; values of the categorisation fields are allowed ones.

Sources: Elastic Common Schema 8.17, "Event Fields", "Categorization Fields", "User", "Source", "HTTP", "Related";
``aws.s3.*`` as Elastic's AWS integration names them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Literal

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.event import clean, record_fields

ECS_VERSION = "8.17.0"
DATASET = "tickvault.audit"
#: Elastic's naming scheme of data streams: type, dataset, namespace.
DATA_STREAM = "logs-tickvault.audit-default"

_STREAM_NAME = re.compile(r"([a-z]+)-([^-]{1,100})-([^-]{1,100})")
_READING = ("Get", "Head", "List", "Select", "Read", "Open", "Verify")
_REMOVING = ("Delete", "Abort", "Expire", "Remove")
_MAKING = ("Create", "Complete", "Copy", "Post", "Restore", "Upload")
_OF_AN_OBJECT = ("Object", "Part", "Upload")
_DENYING = {"AccessDenied", "ObjectLocked", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed"}


def ecs_document(trail_id: str, record: AuditRecord, data_stream: str = "") -> dict[str, Any]:
    """Return the document of a record.

    Parameters
    ----------
    trail_id : str
        Of the trail.
    record : AuditRecord
        What happened.
    data_stream : str
        Where it goes; a name in Elastic's scheme fills the ``data_stream`` fields.
    """
    fields = record_fields(trail_id, record)
    failed = record.result != "ok"
    event: dict[str, Any] = {
        "id": fields.pop("event_id"),
        "kind": "event",
        "category": _categories(record),
        "type": _types(record),
        "action": fields["action"],
        "outcome": "failure" if failed else "success",
        "sequence": record.sequence,
        "created": fields["time"],
        "provider": "tickvault",
        "module": "tickvault",
        "dataset": DATASET,
    }
    document: dict[str, Any] = {
        "@timestamp": fields.pop("time"),
        "ecs": {"version": ECS_VERSION},
        "message": _message(record),
        "event": event,
        "service": {"type": "tickvault"},
        "tickvault": {name: value for name, value in fields.items() if value not in ("", {})},
    }
    if failed:
        event["reason"] = fields["result"]
        document["error"] = {"code": fields["result"]}
    _add_who(document, record)
    _add_request(document, record)
    if scheme := _STREAM_NAME.fullmatch(data_stream):
        document["data_stream"] = dict(zip(("type", "dataset", "namespace"), scheme.groups(), strict=True))
    return document


def _add_who(document: dict[str, Any], record: AuditRecord) -> None:
    related: dict[str, list[str]] = {}
    if record.identity:
        identity = clean(record.identity)
        # The last part of an ARN is the name; an access key and `local:UID` are their own names.
        name = identity.rsplit("/", 1)[-1] if identity.startswith("arn:") else identity
        document["user"] = {"id": identity, "name": name}
        related["user"] = sorted({identity, name})
    if address := ip_address(record.source):
        document["source"] = {"ip": address, "address": clean(record.source)}
        related["ip"] = [address]
    elif record.source:
        document["source"] = {"address": clean(record.source)}
    if related:
        document["related"] = related


def _add_request(document: dict[str, Any], record: AuditRecord) -> None:
    http: dict[str, Any] = {}
    if record.request_id:
        http["request"] = {"id": clean(record.request_id)}
    if record.status:
        http["response"] = {"status_code": record.status}
    if http:
        document["http"] = http
    if record.bucket:
        s3: dict[str, Any] = {"bucket": {"name": clean(record.bucket)}}
        if record.key:
            s3["object"] = {"key": clean(record.key)}
        document["aws"] = {"s3": s3}


def ip_address(source: str) -> str:
    """Return the IP address in a record's `source`, with or without a port; empty where there is none.

    >>> ip_address("192.0.2.3:4711"), ip_address("[2001:db8::1]:80"), ip_address("pid 7 of desk")
    ('192.0.2.3', '2001:db8::1', '')
    """
    for candidate in (source, source.rpartition(":")[0], source.rpartition(":")[0].strip("[]"), source.strip("[]")):
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return ""


def _categories(record: AuditRecord) -> list[str]:
    if record.category == Category.SYSTEM:
        return ["configuration"]
    if any(noun in record.action for noun in _OF_AN_OBJECT) and "Configuration" not in record.action:
        return ["api", "file"]
    return ["api", "configuration"]


def _types(record: AuditRecord) -> list[str]:
    if record.category == Category.SYSTEM:
        return ["info"]
    action = record.action
    if action.startswith(_READING) or record.category == Category.READ:
        kind = "access"
    elif action.startswith(_REMOVING):
        kind = "deletion"
    elif action.startswith(_MAKING) or action == "PutObject":
        kind = "creation"
    else:
        kind = "change"
    if record.result in _DENYING or record.status in (401, 403):
        return [kind, "denied"]
    return [kind, "allowed"] if record.result == "ok" else [kind]


def _message(record: AuditRecord) -> str:
    where = "/".join(part for part in (record.bucket, record.key) if part)
    who = record.identity or "anonymous"
    return clean(" ".join(part for part in (who, record.action, where, record.result) if part))


def index_template(kind: Literal["elastic", "opensearch"], data_stream: str = DATA_STREAM) -> dict[str, Any]:
    """Return the body for ``PUT _index_template/tickvault-audit``.

    Times are ``date_nanos``, so that no digit is lost; ``tickvault.detail`` has no fields of its own, so that a detail
    never breaks or swells the mapping (``flattened`` in Elasticsearch, ``flat_object`` in OpenSearch 2.7).
    """
    keyword = {"type": "keyword"}
    text = {"type": "match_only_text" if kind == "elastic" else "text"}
    long = {"type": "long"}
    nanos = {"type": "date_nanos"}
    names = ("trail_id", "category", "action", "result", "door", "identity", "source", "request_id", "bucket", "key")
    counts = ("sequence", "time_ns", "clock_error_ns", "status", "size_bytes", "vault_sequence")
    event_names = ("id", "kind", "category", "type", "action", "outcome", "provider", "module", "dataset", "reason")
    properties: dict[str, Any] = {
        "@timestamp": nanos,
        "message": text,
        "ecs": _object(version=keyword),
        "event": _object(sequence=long, created=nanos, **dict.fromkeys(event_names, keyword)),
        "error": _object(code=keyword),
        "service": _object(type=keyword),
        "user": _object(id=keyword, name=keyword),
        "source": _object(ip={"type": "ip"}, address=keyword),
        "related": _object(user=keyword, ip={"type": "ip"}),
        "http": _object(request=_object(id=keyword), response=_object(status_code=long)),
        "aws": _object(s3=_object(bucket=_object(name=keyword), object=_object(key=keyword))),
        "tickvault": _object(
            version_id=keyword,
            detail={"type": "flattened" if kind == "elastic" else "flat_object"},
            **dict.fromkeys(names, keyword),
            **dict.fromkeys(counts, long),
        ),
    }
    stream_kind = {"type": "constant_keyword"} if kind == "elastic" else keyword
    properties["data_stream"] = _object(type=stream_kind, dataset=stream_kind, namespace=stream_kind)
    return {
        "index_patterns": [data_stream],
        "data_stream": {},
        "priority": 500,  # above the built-in templates for logs-*-*
        "template": {"mappings": {"dynamic": False, "date_detection": False, "properties": properties}},
        "_meta": {"description": "Audit records of TickVault"},
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}
