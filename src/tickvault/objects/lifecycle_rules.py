"""The rules of a lifecycle, as a bucket's ``lifecycle`` document holds them.

The document::

    {"rules": [{"id": "old-ticks", "status": "Enabled",
                "filter": {"prefix": "ES/", "tags": {"tier": "cold"}, "size_greater_than": 0, "size_less_than": 1024},
                "expiration": {"days": 30},
                "noncurrent_version_expiration": {"noncurrent_days": 7, "newer_noncurrent_versions": 3},
                "abort_incomplete_multipart_upload": {"days_after_initiation": 1}}]}

``expiration`` is one of ``{"days": n}``, ``{"date": "2030-01-01T00:00:00Z"}`` and
``{"expired_object_delete_marker": true}``.
All conditions of a filter must hold (S3's ``And``); delete markers and uploads have neither tags nor a size.

Invariants: a document that passes is carried out whole; nothing in it is ignored.

Source: Amazon S3 User Guide, "Lifecycle configuration elements"; Amazon S3 API Reference, LifecycleRule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tickvault.errors import InvalidInputError
from tickvault.objects import names
from tickvault.objects.entries import ENTRY_MARKER, Entry

#: The name under which `BucketInfo.documents` holds the rules.
DOCUMENT = "lifecycle"
RULE_COUNT_MAX = 1000
ID_LENGTH_MAX = 255
NEWER_NONCURRENT_VERSIONS_MAX = 100
DAY_NS = 86_400 * 1_000_000_000
_DAYS_MAX = 0x7FFFFFFF
_UNMARKED = {"tags", "size_greater_than", "size_less_than"}

_RULE_FIELDS = {
    "id",
    "status",
    "filter",
    "expiration",
    "noncurrent_version_expiration",
    "abort_incomplete_multipart_upload",
}
_FILTER_FIELDS = {"prefix", "tags", "size_greater_than", "size_less_than"}


def validate_lifecycle(document: Any) -> None:
    """Check a ``lifecycle`` document.

    Parameters
    ----------
    document : mapping
        In the form drawn above.

    Raises
    ------
    InvalidInputError
        It breaks a rule; the message names the rule and the value.
    """
    parse_rules(document)


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled rule, decoded."""

    prefix: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)
    size_greater_than: int | None = None
    size_less_than: int | None = None
    days: int | None = None
    date_ns: int | None = None
    expired_markers: bool = False
    noncurrent_days: int | None = None
    newer_noncurrent_versions: int = 0
    upload_days: int | None = None

    @property
    def expires(self) -> bool:
        """Whether the rule removes current versions."""
        return self.days is not None or self.date_ns is not None

    @property
    def judges_markers(self) -> bool:
        """Whether delete markers can match: they have no tags and no size."""
        return not self.tags and self.size_greater_than is None and self.size_less_than is None

    def due(self, created_ns: int, now_ns: int) -> bool:
        """Return whether a current version created then has expired."""
        if self.date_ns is not None:
            return now_ns >= self.date_ns
        return self.days is not None and now_ns >= due_ns(created_ns, self.days)

    def covers(self, key: bytes, entry: Entry, tags: Callable[[], Mapping[str, str]]) -> bool:
        """Return whether the filter matches a version; `tags` is only asked if all else holds."""
        if not key.startswith(self.prefix):
            return False
        if entry.flags & ENTRY_MARKER:
            return self.judges_markers
        if self.size_greater_than is not None and entry.size <= self.size_greater_than:
            return False
        if self.size_less_than is not None and entry.size >= self.size_less_than:
            return False
        if not self.tags:
            return True
        found = tags()
        return all(found.get(name) == value for name, value in self.tags.items())


def due_ns(since_ns: int, days: int) -> int:
    """Return when `days` days that began at `since_ns` are over: the midnight UTC after, int64 ns since the epoch.

    >>> day = 86_400 * 10**9
    >>> due_ns(day // 2, 3) == 4 * day
    True
    """
    return (since_ns // DAY_NS + days + 1) * DAY_NS


def _refuse(where: str, rule: str, value: object) -> InvalidInputError:
    return InvalidInputError(f"lifecycle: {where} {rule}, was {value!r}")


def _mapping(value: Any, where: str, allowed: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(where, "must be a mapping", value)
    for name in value:
        if name not in allowed:
            raise _refuse(where, f"may hold only {', '.join(sorted(allowed))}", name)
    return value


def _whole(value: Any, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _refuse(where, f"must be a whole number from {least} to {most}", value)
    return value


def parse_rules(document: Any) -> list[Rule]:
    """Return the enabled rules of a document; raises `InvalidInputError` if any rule is wrong."""
    rules = _mapping(document, "the document", {"rules"}).get("rules")
    if not isinstance(rules, list | tuple) or not 1 <= len(rules) <= RULE_COUNT_MAX:
        count = len(rules) if isinstance(rules, list | tuple) else rules
        raise _refuse("rules", f"must be a list of 1 to {RULE_COUNT_MAX} rules", count)
    enabled: list[Rule] = []
    seen: set[str] = set()
    for number, raw in enumerate(rules):
        where = f"rules[{number}]"
        rule = _mapping(raw, where, _RULE_FIELDS)
        rule_id = rule.get("id")
        if rule_id is not None:
            if not isinstance(rule_id, str) or len(rule_id) > ID_LENGTH_MAX:
                raise _refuse(f"{where}.id", f"must be a str of up to {ID_LENGTH_MAX} characters", rule_id)
            if rule_id in seen:
                raise _refuse(f"{where}.id", "must be unique", rule_id)
            seen.add(rule_id)
        if rule.get("status") not in ("Enabled", "Disabled"):
            raise _refuse(f"{where}.status", "must be 'Enabled' or 'Disabled'", rule.get("status"))
        parsed = _parse_rule(rule, where)
        if rule["status"] == "Enabled":
            enabled.append(parsed)
    return enabled


def _parse_rule(rule: Mapping[str, Any], where: str) -> Rule:
    made = _parse_filter(rule.get("filter"), f"{where}.filter")
    expiration = rule.get("expiration")
    noncurrent = rule.get("noncurrent_version_expiration")
    abort = rule.get("abort_incomplete_multipart_upload")
    if expiration is None and noncurrent is None and abort is None:
        raise _refuse(where, "needs at least one action", sorted(rule))
    if expiration is not None:
        made.update(_parse_expiration(expiration, f"{where}.expiration"))
        if made.get("expired_markers") and made.keys() & _UNMARKED:
            raise _refuse(
                f"{where}.filter", "cannot name tags or sizes with expired_object_delete_marker", sorted(made)
            )
    if noncurrent is not None:
        there = f"{where}.noncurrent_version_expiration"
        action = _mapping(noncurrent, there, {"noncurrent_days", "newer_noncurrent_versions"})
        made["noncurrent_days"] = _whole(action.get("noncurrent_days"), f"{there}.noncurrent_days", 1, _DAYS_MAX)
        newer = action.get("newer_noncurrent_versions")
        if newer is not None:
            made["newer_noncurrent_versions"] = _whole(
                newer, f"{there}.newer_noncurrent_versions", 1, NEWER_NONCURRENT_VERSIONS_MAX
            )
    if abort is not None:
        there = f"{where}.abort_incomplete_multipart_upload"
        action = _mapping(abort, there, {"days_after_initiation"})
        made["upload_days"] = _whole(
            action.get("days_after_initiation"), f"{there}.days_after_initiation", 1, _DAYS_MAX
        )
        if made.keys() & _UNMARKED:
            raise _refuse(f"{where}.filter", "cannot name tags or sizes for uploads, which have none", sorted(made))
    return Rule(**made)


def _parse_filter(raw: Any, where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    conditions = _mapping({} if raw is None else raw, where, _FILTER_FIELDS)
    prefix = conditions.get("prefix")
    if prefix is not None:
        if not isinstance(prefix, str):
            raise _refuse(f"{where}.prefix", "must be a str", prefix)
        try:
            made["prefix"] = prefix.encode()
        except UnicodeEncodeError:
            raise _refuse(f"{where}.prefix", "must be valid Unicode", prefix) from None
        if len(made["prefix"]) > names.KEY_BYTES_MAX:
            raise _refuse(f"{where}.prefix", f"has at most {names.KEY_BYTES_MAX} bytes", len(made["prefix"]))
    tags = conditions.get("tags")
    if tags is not None:
        if not isinstance(tags, Mapping):
            raise _refuse(f"{where}.tags", "must be a mapping", tags)
        if tags:
            made["tags"] = names.check_tags(tags)
    for name in ("size_greater_than", "size_less_than"):
        if conditions.get(name) is not None:
            made[name] = _whole(conditions[name], f"{where}.{name}", 0, 1 << 62)
    low, high = made.get("size_greater_than"), made.get("size_less_than")
    if low is not None and high is not None and high <= low:
        raise _refuse(f"{where}.size_less_than", f"must be larger than size_greater_than {low}", high)
    return made


def _parse_expiration(raw: Any, where: str) -> dict[str, Any]:
    action = _mapping(raw, where, {"days", "date", "expired_object_delete_marker"})
    given = {name: value for name, value in action.items() if value is not None}
    if len(given) != 1:
        raise _refuse(where, "takes exactly one of days, date, expired_object_delete_marker", sorted(given))
    if "days" in given:
        return {"days": _whole(given["days"], f"{where}.days", 1, _DAYS_MAX)}
    if "date" in given:
        return {"date_ns": _midnight_ns(given["date"], f"{where}.date")}
    if not isinstance(given["expired_object_delete_marker"], bool):
        raise _refuse(f"{where}.expired_object_delete_marker", "must be a bool", given["expired_object_delete_marker"])
    return {"expired_markers": given["expired_object_delete_marker"]}


def _midnight_ns(text: Any, where: str) -> int:
    rule = "must be a midnight UTC such as '2030-01-01T00:00:00Z'"
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _refuse(where, rule, text) from None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    if seconds % 86_400:
        raise _refuse(where, rule, text)
    return int(seconds) * 1_000_000_000
