r"""An audit record as a line of the Common Event Format (ArcSight CEF, version 0).

Invariants: a line never holds a line break; ``\`` and ``|`` are escaped in the header, ``\``, ``=`` and line breaks in
the extension (and ``|`` there is not), as the format wants; no value is longer than the dictionary allows its key, and
what does not fit is an error, but for the detail, which is cut and ends with ``…``.

Source: "Common Event Format Configuration Guide" and "Implementing ArcSight Common Event Format", CEF 0: "Header
Information", "Character Encoding", "ArcSight Extension Dictionary".
"""

from __future__ import annotations

import re

from tickvault._version import __version__
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.ecs import ip_address
from tickvault.audit.ship.event import category_name, clean, event_id, to_json
from tickvault.errors import InvalidInputError

_CUSTOM_MAX = 4000
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: Longest value of each key in use, characters.
_LENGTHS_MAX = {
    "act": 63,
    "outcome": 63,
    "reason": 1023,
    "suser": 1023,
    "shost": 1023,
    "cat": 1023,
    "externalId": 40,
    "deviceExternalId": 255,
    "flexString1": 1023,
    **{f"cs{n}": _CUSTOM_MAX for n in range(1, 7)},
}


def cef_line(trail_id: str, record: AuditRecord, *, detail_max: int = _CUSTOM_MAX) -> str:
    """Return the line of a record.

    Parameters
    ----------
    trail_id : str
        Of the trail.
    record : AuditRecord
        What happened.
    detail_max : int
        Characters of the detail that are kept; 0: none.

    Raises
    ------
    InvalidInputError
        A value is longer than the format allows.
    """
    header = (
        "CEF:0",
        "TickVault",
        "TickVault",
        __version__,
        _header(record.action),
        _header(f"{record.action} {record.result}"),
        str(_severity(record)),
    )
    return "|".join((*header, _extension(_fields(trail_id, record, detail_max))))


def _fields(trail_id: str, record: AuditRecord, detail_max: int) -> dict[str, str]:
    failed = record.result != "ok"
    fields = {
        "rt": str(record.time_ns // 10**6),
        "externalId": str(record.sequence),
        "deviceExternalId": trail_id,
        "cat": category_name(record),
        "act": record.action,
        "outcome": "failure" if failed else "success",
        "reason": record.result if failed else "",
        "suser": record.identity,
    }
    address = ip_address(record.source)
    if ":" in address:
        fields |= {"c6a2": address, "c6a2Label": "Source IPv6 Address"}
    else:
        fields["src" if address else "shost"] = address or record.source
    for key, label, value in (
        ("cs1", "bucket", record.bucket),
        ("cs2", "key", record.key),
        ("cs3", "versionId", record.version_id),
        ("cs4", "door", record.door),
        ("cs5", "detail", _detail(record, detail_max)),
        ("cs6", "eventId", event_id(trail_id, record.sequence)),
        ("flexString1", "requestId", record.request_id),
        ("cn1", "vaultSequence", str(record.vault_sequence or "")),
        ("cn2", "sizeBytes", str(record.size_bytes)),
        ("cn3", "httpStatus", str(record.status or "")),
    ):
        if value:
            fields |= {f"{key}Label": label, key: value}
    return fields


def _detail(record: AuditRecord, length_max: int) -> str:
    if not record.detail or not length_max:
        return ""
    text = to_json({clean(name): clean(value) for name, value in record.detail.items()}).decode()
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def _severity(record: AuditRecord) -> int:
    """0 to 3 is low, 4 to 6 medium, 7 and 8 high."""
    if record.category == Category.REFUSAL or record.result != "ok":
        return 6
    return {Category.READ: 1, Category.CHANGE: 3, Category.SYSTEM: 4}.get(record.category, 3)


def _extension(fields: dict[str, str]) -> str:
    said = []
    for key, value in fields.items():
        if not value:
            continue
        length_max = _LENGTHS_MAX.get(key, _CUSTOM_MAX)
        if len(value) > length_max:
            raise InvalidInputError(f"CEF: {key} may have {length_max} characters, this one has {len(value)}")
        said.append(f"{key}={_value(value)}")
    return " ".join(said)


def _value(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
    return _printable(escaped)


def _header(text: str) -> str:
    return _printable(clean(text).replace("\\", "\\\\").replace("|", "\\|"))


def _printable(text: str) -> str:
    """Return the text with U+FFFD for control characters, which the format has no escape for."""
    return _CONTROL.sub("\ufffd", text)
