"""Elasticsearch and OpenSearch, through ``_bulk``.

Invariants: a document's ``_id`` is the event's id, so that one that is sent again meets itself; the answer is believed
only if it speaks of each event, in order and by its id; an event is done with when its own item says so (created,
updated, or there already), dead when its item says that it can never be taken, and waits in every other case.

Sources: Elasticsearch 8 REST API, "Bulk API", "Data streams" (they take ``create`` only), "Create API key" (the form of
``Authorization: ApiKey``); OpenSearch, "Bulk", "Data streams".
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from tickvault.audit.record import AuditRecord
from tickvault.audit.ship.ecs import DATA_STREAM, ecs_document
from tickvault.audit.ship.endpoint import Endpoint
from tickvault.audit.ship.event import Event, event_id, to_json
from tickvault.audit.ship.http_client import Answer, HttpClient, unavailable
from tickvault.audit.ship.secret import SecretFile
from tickvault.audit.ship.sink import BatchRefused, SinkRejected, SinkUnavailable
from tickvault.audit.ship.wire import Interrupt
from tickvault.errors import InvalidInputError

_FILTER = "filter_path=errors,items.*._id,items.*.status,items.*.error.type,items.*.error.reason"
_CONFLICT = "version_conflict_engine_exception"


class ElasticSink:
    """One data stream or index of one cluster.

    Parameters
    ----------
    endpoint : Endpoint
        A node or a load balancer; a path stands before ``/_bulk``.
    tls : SSLContext, optional
        None: without TLS.
    kind : {"elastic", "opensearch"}
        Which of the two; OpenSearch has no API keys.
    target : str
        Data stream or index.
    operation : {"create", "index"}
        ``create`` for a data stream; ``index`` writes a document again when its event is sent again.
    api_key : SecretFile, optional
        An API key: ``id:api_key``, or the two already encoded, as Kibana shows them.
    username, password : str and SecretFile, optional
        Basic authentication.
    timeout_s : float
        Of one request, seconds.
    """

    rewind_count = 0

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        *,
        kind: Literal["elastic", "opensearch"] = "elastic",
        target: str = DATA_STREAM,
        operation: Literal["create", "index"] = "create",
        api_key: SecretFile | None = None,
        username: str = "",
        password: SecretFile | None = None,
        compress: bool = True,
        timeout_s: float = 60.0,
    ) -> None:
        if kind == "opensearch" and api_key is not None:
            raise InvalidInputError("api_key_file: OpenSearch has no API keys; set username and password_file")
        if api_key is not None and password is not None:
            raise InvalidInputError("api_key_file and password_file: set one of them")
        self._kind = kind
        self._interrupt = Interrupt()
        self._client = HttpClient(endpoint, tls, self._interrupt, timeout_s=timeout_s)
        self._data_stream, self._operation = target, operation
        self._target = f"{endpoint.target.rstrip('/')}/{quote(target, safe='')}/_bulk?{_FILTER}"
        self._api_key, self._username, self._password = api_key, username, password
        self._compress = compress

    @property
    def kind(self) -> str:
        """``elastic`` or ``opensearch``."""
        return self._kind

    def encode(self, trail_id: str, record: AuditRecord) -> bytes:
        """Return the two lines of one event: the action with its id, and the document."""
        action = {self._operation: {"_id": event_id(trail_id, record.sequence)}}
        return to_json(action) + b"\n" + to_json(ecs_document(trail_id, record, self._data_stream)) + b"\n"

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """Send one bulk request, and judge the answer item by item."""
        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/json", **self._authorization()}
        body = b"".join(event.payload for event in events)
        answer = self._client.post(self._target, body, headers, compress=self._compress)
        if answer.status in (400, 413):
            raise BatchRefused(f"{self._client.endpoint.shown} answered {answer.status} {answer.said}")
        if answer.status != 200:
            raise unavailable(self._client.endpoint, answer)
        self._judge(events, _items(answer), answer)

    def _authorization(self) -> dict[str, str]:
        if self._api_key is not None:
            key = self._api_key.read()
            return {"Authorization": f"ApiKey {_base64(key) if ':' in key else key}"}
        if self._password is not None:
            return {"Authorization": f"Basic {_base64(f'{self._username}:{self._password.read()}')}"}
        return {}

    def _judge(self, events: Sequence[Event], items: Sequence[Any], answer: Answer) -> None:
        if len(items) != len(events):
            raise unavailable(
                self._client.endpoint,
                answer,
                f"it answered for {len(items)} of {len(events)} events: see what is there",
            )
        rejections: dict[int, str] = {}
        waiting: list[str] = []
        for event, item in zip(events, items, strict=True):
            said = item.get(self._operation) if isinstance(item, dict) else None
            if not isinstance(said, dict) or said.get("_id") != event.event_id:
                raise unavailable(self._client.endpoint, answer, "it answered for events that were not sent")
            verdict, reason = self._verdict(said)
            if verdict == "dead":
                rejections[event.record.sequence] = reason
            elif verdict == "wait":
                waiting.append(f"{event.event_id}: {reason}")
        if waiting:
            # The whole batch again, also what was rejected: what is there already says so.
            raise SinkUnavailable(
                f"{self._client.endpoint.shown}: {len(waiting)} of {len(events)} events were not taken and are sent "
                f"again; the first, {waiting[0]}"
            )
        if rejections:
            raise SinkRejected(rejections)

    def _verdict(self, said: Mapping[str, Any]) -> tuple[Literal["done", "dead", "wait"], str]:
        status = said.get("status")
        error = said.get("error")
        kind = str(error.get("type", "")) if isinstance(error, dict) else ""
        reason = f"{status} {kind}: {error.get('reason', '') if isinstance(error, dict) else error}"
        if status in (200, 201) and not error:
            return "done", ""
        if status == 409 and self._operation == "create" and kind == _CONFLICT:
            return "done", ""
        # A cluster says 400 also for what only its settings forbid; the shipper stops burying after a number in a row.
        return ("dead" if status in (400, 413) else "wait"), reason

    def interrupt(self) -> None:
        """Cut what is under way."""
        self._interrupt.set()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _items(answer: Answer) -> list[Any]:
    try:
        items = json.loads(answer.body)["items"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return items if isinstance(items, list) else []
