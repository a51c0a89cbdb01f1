"""The audit trail, shipped: to Splunk, Elasticsearch, OpenSearch, syslog, S3 access logs and webhooks.

The trail is written first, by the vault, and is the truth. A `Shipper` reads it behind the writers, from a durable
cursor, and sends every record at least once and in order. How a record looks to a receiver is the receiver's sink:
`splunk`, `elastic` (with `ecs`), `syslog` (with `rfc5424` and `cef`), `s3_access_log`, `webhook`. `config` makes sinks
from settings.

Invariants: nothing here is ever waited for by a writer; a receiver that is down loses nothing; see each module's own.
"""

from tickvault.audit.ship.config import SinkConfig, sink_from, sinks_from
from tickvault.audit.ship.cursor import Cursor
from tickvault.audit.ship.ecs import index_template
from tickvault.audit.ship.shipper import ShipOptions, Shipper
from tickvault.audit.ship.sink import BatchRefused, Sink, SinkError, SinkRejected, SinkUnavailable
from tickvault.audit.ship.source import Source
from tickvault.audit.ship.status import ShipStatus, State

__all__ = [
    "BatchRefused",
    "Cursor",
    "ShipOptions",
    "ShipStatus",
    "Shipper",
    "Sink",
    "SinkConfig",
    "SinkError",
    "SinkRejected",
    "SinkUnavailable",
    "Source",
    "State",
    "index_template",
    "sink_from",
    "sinks_from",
]
