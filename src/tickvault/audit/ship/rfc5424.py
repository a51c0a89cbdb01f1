"""A syslog message by RFC 5424, and its frame by RFC 6587 (TCP) and RFC 5425 (TLS): octet counting.

Invariants: header fields hold printable ASCII within their lengths, "-" where nothing is known; parameter values are
UTF-8 with ``"``, ``\\`` and ``]`` escaped; a message holds no line break, so that a receiver that splits at lines sees
one; the length in front of a frame counts bytes, not characters.

The message carries no byte order mark: receivers hand it to parsers of CEF and JSON, which take none (RFC 5424, 6.4,
calls this MSG-ANY).
"""

from __future__ import annotations

import re

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.event import clean, event_id, rfc3339

#: "log audit" (RFC 5424, table 1).
FACILITY = 13
#: The number that RFC 5612 keeps for documentation; set the one of your enterprise.
ENTERPRISE_ID = 32473
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NO_TOKEN = re.compile("[^!-~]")
_WARNING, _NOTICE, _INFORMATIONAL = 4, 5, 6


def priority(record: AuditRecord) -> int:
    """Return the PRI of a record: facility 13 and how grave it is."""
    if record.category == Category.REFUSAL or record.result != "ok":
        severity = _WARNING
    else:
        severity = _INFORMATIONAL if record.category == Category.READ else _NOTICE
    return FACILITY * 8 + severity


def message(
    trail_id: str,
    record: AuditRecord,
    text: str,
    *,
    hostname: str = "",
    app_name: str = "tickvault",
    enterprise_id: int = ENTERPRISE_ID,
) -> bytes:
    """Return a message, without a frame.

    Parameters
    ----------
    trail_id : str
        Of the trail.
    record : AuditRecord
        Gives priority, time, message id and the structured data.
    text : str
        The message itself, on one line.
    hostname, app_name : str
        Of this machine and this program.
    enterprise_id : int
        Private enterprise number behind the id of the structured data.
    """
    header = (
        f"<{priority(record)}>1",
        rfc3339(record.time_ns, 6),  # TIME-SECFRAC has six digits; the rest stands in the parameter `timeNs`
        _token(hostname, 255),
        _token(app_name, 48),
        "-",
        _token(record.action, 32),
    )
    parameters = {
        "eventId": event_id(trail_id, record.sequence),
        "sequence": str(record.sequence),
        "timeNs": str(record.time_ns),
        "action": record.action,
        "result": record.result,
    }
    said = " ".join(f'{name}="{_parameter(value)}"' for name, value in parameters.items())
    return f"{' '.join(header)} [tickvault@{enterprise_id} {said}] {text}".encode()


def frame(message_bytes: bytes) -> bytes:
    """Return a message with its length in front (RFC 5425, 4.3)."""
    return b"%d %s" % (len(message_bytes), message_bytes)


def _token(text: str, length_max: int) -> str:
    return _NO_TOKEN.sub("?", text)[:length_max] or "-"


def _parameter(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return _CONTROL.sub("\ufffd", escaped)
