"""A bucket's lifecycle: S3's XML to the document the store keeps, and back.

Invariants: a rule that asks for more than the runner does, such as a transition to another storage class, is
refused, so that a bucket never has a rule that is not carried out.

Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.tag_sets import check
from tickvault.doors.s3.xml import Element, document, tag

RULE_COUNT_MAX = 1000
ID_LENGTH_MAX = 255
_NOT_OFFERED = ("Transition", "NoncurrentVersionTransition")


def from_element(root: Element) -> dict[str, Any]:
    """Return the ``lifecycle`` document of a LifecycleConfiguration.

    Raises
    ------
    S3Error
        ``MalformedXML``, ``InvalidArgument``, ``InvalidRequest``; ``NotImplemented`` for transitions.
    """
    rules = []
    names: set[str] = set()
    for element in root.children:
        if element.name != "Rule":
            raise S3Error("MalformedXML")
        rule = _rule(element)
        if rule["id"] in names:
            raise S3Error("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
        names.add(rule["id"])
        rules.append(rule)
    if not rules:
        raise S3Error("MalformedXML")
    if len(rules) > RULE_COUNT_MAX:
        raise S3Error("InvalidRequest", f"A lifecycle configuration may have at most {RULE_COUNT_MAX} rules")
    return {"rules": rules}


def _rule(element: Element) -> dict[str, Any]:
    for name in _NOT_OFFERED:
        if element.find(name) is not None:
            raise not_implemented(f"Lifecycle {name}")
    name = element.value("ID") or secrets.token_urlsafe(24)
    if len(name) > ID_LENGTH_MAX:
        raise S3Error("InvalidArgument", f"ID length should not exceed allowed limit of {ID_LENGTH_MAX}")
    status = element.value("Status")
    if status not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    rule: dict[str, Any] = {"id": name, "status": status, "filter": _filter(element)}
    expiration = element.find("Expiration")
    if expiration is not None:
        rule["expiration"] = _expiration(expiration)
    noncurrent = element.find("NoncurrentVersionExpiration")
    if noncurrent is not None:
        action: dict[str, int] = {"noncurrent_days": _positive(noncurrent, "NoncurrentDays")}
        if noncurrent.find("NewerNoncurrentVersions") is not None:
            action["newer_noncurrent_versions"] = _positive(noncurrent, "NewerNoncurrentVersions")
        rule["noncurrent_version_expiration"] = action
    abort = element.find("AbortIncompleteMultipartUpload")
    if abort is not None:
        if "tags" in rule["filter"]:
            raise S3Error("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags.")
        rule["abort_incomplete_multipart_upload"] = {"days_after_initiation": _positive(abort, "DaysAfterInitiation")}
    if len(rule) == 3:
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule")
    return rule


def _filter(rule: Element) -> dict[str, Any]:
    """Return a rule's filter; an old rule has a bare prefix instead of one."""
    element = rule.find("Filter")
    old_prefix = rule.raw("Prefix")
    if element is None:
        if old_prefix is None:
            raise S3Error("MalformedXML")
        return {"prefix": old_prefix} if old_prefix else {}
    if old_prefix is not None:
        raise S3Error("MalformedXML")
    both = element.find("And")
    inside = element if both is None else both
    if both is None and len(element.children) > 1:
        raise S3Error("MalformedXML")
    result: dict[str, Any] = {}
    prefix = inside.raw("Prefix")
    if prefix:
        result["prefix"] = prefix
    pairs = [(child.raw("Key") or "", child.raw("Value") or "") for child in inside.all("Tag")]
    if pairs:
        result["tags"] = check(pairs)
    for name, field in (
        ("ObjectSizeGreaterThan", "size_greater_than"),
        ("ObjectSizeLessThan", "size_less_than"),
    ):
        if inside.find(name) is not None:
            result[field] = _whole(inside, name)
    return result


def _expiration(element: Element) -> dict[str, Any]:
    days, date = element.value("Days"), element.value("Date")
    marker = element.value("ExpiredObjectDeleteMarker")
    if sum(value is not None for value in (days, date, marker)) != 1:
        raise S3Error("MalformedXML")
    if days is not None:
        return {"days": _positive(element, "Days")}
    if date is not None:
        return {"date": _midnight(date)}
    if marker not in ("true", "false"):
        raise S3Error("MalformedXML")
    return {"expired_object_delete_marker": marker == "true"}


def _midnight(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise S3Error("MalformedXML") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole(element: Element, name: str) -> int:
    text = element.value(name) or ""
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise S3Error("MalformedXML")
    return int(text)


def _positive(element: Element, name: str) -> int:
    number = _whole(element, name)
    if not 1 <= number <= 0x7FFFFFFF:
        raise S3Error("InvalidArgument", f"'{name}' for the action must be a positive integer")
    return number


def to_document(lifecycle: Mapping[str, Any]) -> bytes:
    """Return the LifecycleConfiguration of a ``lifecycle`` document."""
    return document("LifecycleConfiguration", *(_rule_element(rule) for rule in lifecycle["rules"]))


def _rule_element(rule: Mapping[str, Any]) -> str:
    parts = [
        tag("ID", rule.get("id")),
        _filter_element(rule.get("filter") or {}),
        tag("Status", rule["status"]),
    ]
    expiration = rule.get("expiration")
    if expiration:
        marker = expiration.get("expired_object_delete_marker")
        parts.append(
            f"<Expiration>{tag('Days', expiration.get('days'))}{tag('Date', expiration.get('date'))}"
            f"{tag('ExpiredObjectDeleteMarker', None if marker is None else str(marker).lower())}"
            "</Expiration>"
        )
    noncurrent = rule.get("noncurrent_version_expiration")
    if noncurrent:
        parts.append(
            f"<NoncurrentVersionExpiration>{tag('NoncurrentDays', noncurrent.get('noncurrent_days'))}"
            f"{tag('NewerNoncurrentVersions', noncurrent.get('newer_noncurrent_versions'))}"
            "</NoncurrentVersionExpiration>"
        )
    abort = rule.get("abort_incomplete_multipart_upload")
    if abort:
        parts.append(
            "<AbortIncompleteMultipartUpload>"
            f"{tag('DaysAfterInitiation', abort['days_after_initiation'])}</AbortIncompleteMultipartUpload>"
        )
    return f"<Rule>{''.join(parts)}</Rule>"


def _filter_element(conditions: Mapping[str, Any]) -> str:
    parts = []
    if "prefix" in conditions:
        parts.append(tag("Prefix", conditions["prefix"]))
    parts.extend(
        f"<Tag>{tag('Key', key)}{tag('Value', value)}</Tag>" for key, value in (conditions.get("tags") or {}).items()
    )
    if "size_greater_than" in conditions:
        parts.append(tag("ObjectSizeGreaterThan", conditions["size_greater_than"]))
    if "size_less_than" in conditions:
        parts.append(tag("ObjectSizeLessThan", conditions["size_less_than"]))
    if not parts:
        return "<Filter><Prefix></Prefix></Filter>"
    content = "".join(parts)
    return f"<Filter><And>{content}</And></Filter>" if len(parts) > 1 else f"<Filter>{content}</Filter>"
