"""The log that Amazon S3 would have written: server access logs, as objects under a prefix.

Invariants: a line has all 27 fields of the format, in its order, with ``-`` for what is not known: nothing is made up;
no field but the quoted ones and the time holds a space, a quotation mark or a bracket; the name of an object follows
from its first and last record, so that the same batch written again replaces itself. The objects' own writes are left
out (each would make the next object), and nothing else is.

Source: Amazon S3 User Guide, "Amazon S3 server access log format" and "Enabling Amazon S3 server access logging" (log
object key format ``TargetPrefixYYYY-mm-DD-HH-MM-SS-UniqueString``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.ecs import ip_address
from tickvault.audit.ship.event import Event, clean, event_id
from tickvault.audit.ship.s3_operations import operation
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.wire import Interrupt
from tickvault.errors import InvalidInputError, TickVaultError

# Not strftime's names, which follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SAFE = "!$&'()*+,-./:;=@_~"
_OWN_NAME = r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{8}\d+X\d+"
_PREFIX_MAX = 900

Put = Callable[[str, bytes], object]


class S3AccessLogSink:
    """A prefix in a bucket.

    Parameters
    ----------
    put : callable
        ``put(key, body)`` stores an object and returns when it is durable.
    bucket : str
        Where `put` stores, to know the log's own writes.
    prefix : str
        Target prefix, such as ``logs/``.
    bucket_owner, region : str
        Fields that no record knows; ``-`` without them.
    """

    kind = "s3_access_log"
    rewind_count = 0

    def __init__(self, put: Put, bucket: str, prefix: str = "", *, bucket_owner: str = "-", region: str = "-") -> None:
        if len(prefix.encode()) > _PREFIX_MAX:
            raise InvalidInputError(f"prefix: may have {_PREFIX_MAX} bytes, this one has {len(prefix.encode())}")
        self._put, self._bucket, self._prefix = put, bucket, prefix
        self._bucket_owner, self._region = _field(bucket_owner), _field(region)
        self._own_name = re.compile(re.escape(prefix) + _OWN_NAME)
        self._interrupt = Interrupt()

    def encode(self, trail_id: str, record: AuditRecord) -> bytes | None:
        """Return one line; None for the write of a log object."""
        is_own = (
            record.category == Category.CHANGE
            and record.action == "PutObject"
            and record.bucket == self._bucket
            and self._own_name.fullmatch(record.key) is not None
        )
        return None if is_own else access_log_line(trail_id, record, self._bucket_owner, self._region).encode()

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        """Write one object."""
        self._interrupt.check()
        first, last = events[0].record, events[-1].record
        body = b"".join(event.payload + b"\n" for event in events)
        try:
            self._put(object_key(self._prefix, trail_id, first, last), body)
        except (TickVaultError, OSError) as error:
            raise SinkUnavailable(f"writing the access log to bucket {self._bucket}: {error}") from error

    def interrupt(self) -> None:
        """Refuse later sends; a write under way is a matter of the vault, and short."""
        self._interrupt.set()

    def close(self) -> None:
        """Nothing is held open."""


def object_key(prefix: str, trail_id: str, first: AuditRecord, last: AuditRecord) -> str:
    """Return the key of the object with these records; the time is that of the last one, not that of the attempt."""
    at = datetime.fromtimestamp(last.time_ns // 10**9, UTC)
    trail = hashlib.sha256(trail_id.encode()).hexdigest()[:8].upper()
    return f"{prefix}{at:%Y-%m-%d-%H-%M-%S}-{trail}{first.sequence}X{last.sequence}"


def access_log_line(trail_id: str, record: AuditRecord, bucket_owner: str = "-", region: str = "-") -> str:
    """Return the line of a record, without a line break.

    The host id (``x-amz-id-2``) is the id of the event. Fields of the connection (cipher suite, user agent, …) come
    from `detail`, where the door put them there.
    """
    detail = record.detail
    size = str(record.size_bytes) if record.size_bytes else "-"
    is_read = record.category == Category.READ
    fields = (
        bucket_owner,
        _field(record.bucket),
        _time(record.time_ns),
        ip_address(record.source) or "-",
        _field(record.identity),
        _field(record.request_id),
        operation(record.action),
        quote(clean(record.key), safe=_SAFE) or "-",
        _quoted(detail.get("request_uri", "")),
        f"{record.status}" if record.status else "-",
        "-" if record.result == "ok" else _field(record.result),
        size if is_read else "-",  # bytes sent
        size if record.result == "ok" else "-",  # object size
        "-",  # total time
        "-",  # turn-around time
        _quoted(detail.get("referer", "")),
        _quoted(detail.get("user_agent", "")),
        "-" if record.version_id in ("", "null") else _field(record.version_id),
        _field(event_id(trail_id, record.sequence)),
        _field(detail.get("signature_version", "")),
        _field(detail.get("cipher_suite", "")),
        _field(detail.get("authentication_type", "")),
        _field(detail.get("host_header", "")),
        _field(detail.get("tls_version", "")),
        _field(detail.get("access_point_arn", "")),
        _field(detail.get("acl_required", "")),
        region,
    )
    return " ".join(fields)


def _time(time_ns: int) -> str:
    at = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"[{at.day:02d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000]"


def _field(text: str) -> str:
    """Return a field without quotes: what would end it is percent-encoded."""
    return "".join(c if "!" <= c <= "~" and c not in '"%[]' else quote(c) for c in clean(text)) or "-"


def _quoted(text: str) -> str:
    return '"' + ("".join(c if " " <= c <= "~" and c != '"' else quote(c) for c in clean(text)) or "-") + '"'
