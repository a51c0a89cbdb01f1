"""Sinks from their settings.

Invariants: what can be known to be wrong is an error here, before anything is sent; secrets come from files only;
TLS is required unless the settings say ``insecure: true``.

Settings are a mapping for each sink, as JSON or TOML gives it; ``docs/how-to/ship-the-audit-trail.md`` has them all::

    {"name": "siem", "type": "splunk", "url": "https://splunk.example.com:8088", "token_file": "/etc/tickvault/hec"}
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from tickvault.audit.ship.backoff import Backoff
from tickvault.audit.ship.batching import BatchLimits
from tickvault.audit.ship.ecs import DATA_STREAM
from tickvault.audit.ship.elastic import ElasticSink
from tickvault.audit.ship.endpoint import Endpoint, parse_endpoint, tls_context
from tickvault.audit.ship.event import CATEGORY_NAMES
from tickvault.audit.ship.reading import Settings
from tickvault.audit.ship.rfc5424 import ENTERPRISE_ID
from tickvault.audit.ship.s3_access_log import Put, S3AccessLogSink
from tickvault.audit.ship.shipper import ShipOptions
from tickvault.audit.ship.sink import Sink
from tickvault.audit.ship.splunk import SplunkOptions, SplunkSink
from tickvault.audit.ship.syslog import MESSAGE_BYTES_MAX, REWIND_COUNT, SyslogSink
from tickvault.audit.ship.webhook import WebhookSink
from tickvault.errors import InvalidInputError

#: Gives the ``put(key, body)`` of a bucket.
OpenPut = Callable[[str], Put]

_SINKS_MAX = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_COMMON = (
    "name",
    "type",
    "categories",
    "batch_count_max",
    "batch_bytes_max",
    "poll_interval_s",
    "retry_wait_max_s",
    "dead_letters_in_row_max",
)
_CONNECTION = ("url", "insecure", "ca_file", "client_cert_file", "client_key_file", "timeout_s")
_ELASTIC = ("data_stream", "index", "username", "password_file", "gzip")
#: Every setting of every type.
KNOWN: dict[str, tuple[str, ...]] = {
    "splunk": (
        *(*_COMMON, *_CONNECTION, "token_file"),
        *("acknowledge", "ack_timeout_s", "index", "source", "sourcetype", "host", "gzip"),
    ),
    "elastic": (*_COMMON, *_CONNECTION, *_ELASTIC, "api_key_file"),
    "opensearch": (*_COMMON, *_CONNECTION, *_ELASTIC),
    "syslog": (
        *(*_COMMON, *_CONNECTION),
        *("payload", "hostname", "app_name", "enterprise_id", "message_bytes_max", "rewind_count"),
    ),
    "s3_access_log": (*_COMMON, "bucket", "prefix", "bucket_owner", "region"),
    "webhook": (*_COMMON, *_CONNECTION, "url_file", "secret_file", "token_file", "body"),
}
_HTTP = {"https": 443, "http": 80}
_SPLUNK = {"https": 8088, "http": 8088}
_SYSLOG = {"tls": 6514, "tcp": 601}  # RFC 5425 and RFC 6587


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """A sink, made from its settings."""

    name: str
    sink: Sink
    options: ShipOptions


def sinks_from(all_settings: Sequence[Mapping[str, Any]], open_put: OpenPut | None = None) -> list[SinkConfig]:
    """Return the sinks of a list of settings.

    Parameters
    ----------
    all_settings : sequence of mappings
        One for each sink.
    open_put : callable, optional
        Opens the bucket of an ``s3_access_log``.

    Raises
    ------
    InvalidInputError, NotFoundError, AccessDeniedError
        A setting is wrong, or a file that it names.
    """
    if isinstance(all_settings, Mapping | str | bytes) or not isinstance(all_settings, Sequence):
        raise InvalidInputError("the sinks: must be a list with the settings of each sink")
    if len(all_settings) > _SINKS_MAX:
        raise InvalidInputError(f"the sinks: at most {_SINKS_MAX}, these are {len(all_settings)}")
    sinks: dict[str, SinkConfig] = {}
    for values in all_settings:
        made = sink_from(values, open_put)
        if made.name in sinks:
            raise InvalidInputError(
                f"sink {made.name}: the name is taken by another sink; each needs a cursor of its own"
            )
        sinks[made.name] = made
    return list(sinks.values())


def sink_from(values: Mapping[str, Any], open_put: OpenPut | None = None) -> SinkConfig:
    """Return the sink of one mapping of settings; see `sinks_from`."""
    if not isinstance(values, Mapping):
        raise InvalidInputError(
            f"a sink: its settings must be a mapping of names to values, was {type(values).__name__}"
        )
    name = values.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            "a sink: name must be set to 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit; it names "
            "the sink's files"
        )
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in KNOWN:
        raise InvalidInputError(f"sink {name}: type must be one of {', '.join(KNOWN)}, was {kind!r}")
    settings = Settings(values, name, KNOWN[kind])
    try:
        sink = _make(kind, settings, open_put)
    except InvalidInputError as error:
        prefix = f"sink {name}: "
        raise InvalidInputError(str(error) if str(error).startswith(prefix) else f"{prefix}{error}") from None
    is_slow = isinstance(sink, SplunkSink) and settings.flag("acknowledge", True)
    return SinkConfig(name, sink, _options(settings, is_slow=is_slow))


def _make(kind: str, settings: Settings, open_put: OpenPut | None) -> Sink:
    match kind:
        case "splunk":
            return _splunk(settings)
        case "elastic" | "opensearch":
            return _elastic("elastic" if kind == "elastic" else "opensearch", settings)
        case "syslog":
            return _syslog(settings)
        case "webhook":
            return _webhook(settings)
        case _:
            return _s3_access_log(settings, open_put)


def _options(settings: Settings, *, is_slow: bool) -> ShipOptions:
    words = settings.words("categories", tuple(CATEGORY_NAMES.values()))
    # An indexer's acknowledgement takes seconds: more goes out in front of each.
    count, size = (5000, 4 << 20) if is_slow else (500, 1 << 20)
    limits = BatchLimits(
        count_max=settings.count("batch_count_max", count, 1, 10_000),
        bytes_max=settings.count("batch_bytes_max", size, 1 << 10, 16 << 20),
    )
    return ShipOptions(
        limits=limits,
        backoff=Backoff(cap_s=settings.seconds("retry_wait_max_s", 60.0, 1.0, 3600.0)),
        categories=None if words is None else frozenset(c for c, word in CATEGORY_NAMES.items() if word in words),
        poll_interval_s=settings.seconds("poll_interval_s", 1.0, 0.05, 3600.0),
        dead_letters_in_row_max=settings.count("dead_letters_in_row_max", 100, 1, 1_000_000),
    )


def _connection(settings: Settings, ports: dict[str, int]) -> tuple[Endpoint, ssl.SSLContext | None]:
    url, shown = settings.text("url", "", length_max=2048), True
    url_file = settings.secret("url_file")
    if url_file is not None:
        if url:
            raise settings.error("url_file", "set it or url, not both")
        url, shown = url_file.read(), False
    if not url:
        raise settings.error("url", "must be set")
    endpoint = parse_endpoint(url, ports, insecure=settings.flag("insecure", False), shown=shown)
    files = settings.path("ca_file"), settings.path("client_cert_file"), settings.path("client_key_file")
    if not endpoint.is_secure:
        if any(files):
            raise settings.error("url", f"{endpoint.scheme}:// has no TLS, and ca_file or client_cert_file is set")
        return endpoint, None
    return endpoint, tls_context(*files)


def _timeout_s(settings: Settings, default: float = 30.0) -> float:
    return settings.seconds("timeout_s", default, 0.1, 600.0)


def _splunk(settings: Settings) -> SplunkSink:
    endpoint, tls = _connection(settings, _SPLUNK)
    token = settings.secret("token_file", needed=True)
    assert token is not None
    options = SplunkOptions(
        acknowledge=settings.flag("acknowledge", True),
        index=settings.optional_text("index"),
        source=settings.text("source", "tickvault"),
        sourcetype=settings.text("sourcetype", "tickvault:audit"),
        host=settings.text("host", socket.gethostname()),
        gzip=settings.flag("gzip", True),
        ack_timeout_s=settings.seconds("ack_timeout_s", 300.0, 1.0, 3600.0),
    )
    return SplunkSink(endpoint, token, tls, options, timeout_s=_timeout_s(settings))


def _elastic(kind: Literal["elastic", "opensearch"], settings: Settings) -> ElasticSink:
    endpoint, tls = _connection(settings, _HTTP)
    if settings.has("data_stream") and settings.has("index"):
        raise settings.error("index", "set it or data_stream, not both")
    index = settings.optional_text("index")
    target = index or settings.text("data_stream", DATA_STREAM)
    if target != target.lower() or target.startswith(("-", "_", "+")) or any(c in target for c in '\\/*?"<>| ,#:'):
        raise settings.error("data_stream" if index is None else "index", f"is not a name for an index, was {target!r}")
    password = settings.secret("password_file")
    username = settings.text("username", "")
    if bool(username) != (password is not None) or ":" in username:
        raise settings.error("username", "must be set together with password_file, and hold no colon")
    return ElasticSink(
        endpoint,
        tls,
        kind=kind,
        target=target,
        operation="create" if index is None else "index",
        api_key=settings.secret("api_key_file") if kind == "elastic" else None,
        username=username,
        password=password,
        compress=settings.flag("gzip", True),
        timeout_s=_timeout_s(settings, 60.0),
    )


def _syslog(settings: Settings) -> SyslogSink:
    endpoint, tls = _connection(settings, _SYSLOG)
    if endpoint.target != "/":
        raise settings.error("url", "must be tls://host:port or tcp://host:port, without a path")
    return SyslogSink(
        endpoint,
        tls,
        payload=cast(Literal["cef", "json"], settings.one_of("payload", ("cef", "json"))),
        hostname=settings.text("hostname", socket.gethostname()),
        app_name=settings.text("app_name", "tickvault", length_max=48),
        enterprise_id=settings.count("enterprise_id", ENTERPRISE_ID, 1, 2**31 - 1),
        message_bytes_max=settings.count("message_bytes_max", MESSAGE_BYTES_MAX, 480, 256 << 10),
        rewind_count=settings.count("rewind_count", REWIND_COUNT, 0, 10_000),
        timeout_s=_timeout_s(settings),
    )


def _webhook(settings: Settings) -> WebhookSink:
    endpoint, tls = _connection(settings, _HTTP)
    return WebhookSink(
        endpoint,
        tls,
        secret=settings.secret("secret_file"),
        token=settings.secret("token_file"),
        body_format=cast(Literal["json", "ndjson"], settings.one_of("body", ("json", "ndjson"))),
        timeout_s=_timeout_s(settings),
    )


def _s3_access_log(settings: Settings, open_put: OpenPut | None) -> S3AccessLogSink:
    if open_put is None:
        raise settings.error("type", "s3_access_log needs a vault to write to, and none is open here")
    bucket = settings.text("bucket", length_max=63)
    return S3AccessLogSink(
        open_put(bucket),
        bucket,
        settings.text("prefix", ""),
        bucket_owner=settings.text("bucket_owner", "-"),
        region=settings.text("region", "-"),
    )
