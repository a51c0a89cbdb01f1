"""What a change of an identity was, in the words of IAM, for the audit trail.

A document is written whole, and its record in the journal is all that the trail sees of a change. So each document
says beside its fields what was changed last: the action that IAM calls it by, and on what.

Invariants: it is told from what was there and what is there now, never from what was asked for, so that also what is
taken back is told; no secret, no text of a policy and no description is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tickvault.security.identity.names import Kind

#: Lists of names are cut here, in characters.
_LENGTH_MAX = 512

Change = tuple[str, dict[str, str]]
"""An action, as ``AttachUserPolicy``, and its details, as ``policy``."""

_NOTHING: Mapping[str, Any] = {}


def noun_of(kind: Kind) -> str:
    """Return what actions call a kind: ``ServiceAccount``."""
    return kind.title().replace("-", "")


def creation(kind: Kind, made: Mapping[str, Any]) -> Change:
    """Return how the making of an identity is told of."""
    told = {"parent": made.get("parent", ""), "tags": _pairs(made.get("tags", {}), {})}
    told["boundary"] = _boundary(made)
    return f"Create{noun_of(kind)}", _given(told)


def change(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """Return what makes one document of an identity another.

    Of several changes at once the first in the table below gives the action; all give details.
    """
    told: list[Change] = []
    noun = noun_of(kind)
    told += _of_keys(before, after)
    told += _of_links(before, after, "policies", f"Attach{noun}Policy", f"Detach{noun}Policy", "policy")
    told += _of_links(before, after, "groups", "AddUserToGroup", "RemoveUserFromGroup", "group")
    old, new = before.get("inline_policies", _NOTHING), after.get("inline_policies", _NOTHING)
    if put := [name for name in new if old.get(name) != new[name]]:
        told.append((f"Put{noun}Policy", {"policy": _joined(put)}))
    if gone := [name for name in old if name not in new]:
        told.append((f"Delete{noun}Policy", {"policy": _joined(gone)}))
    if _boundary(before) != _boundary(after) or before.get("boundary") != after.get("boundary"):
        verb = "Put" if _boundary(after) else "Delete"
        told.append((f"{verb}{noun}PermissionsBoundary", {"policy": _boundary(after) or _boundary(before)}))
    if before.get("sessions_valid_from_ns") != after.get("sessions_valid_from_ns"):
        told.append(("RevokeSessions", {"issued_before_ns": str(after["sessions_valid_from_ns"])}))
    if before.get("text") != after.get("text"):
        told.append(("CreatePolicyVersion", {}))
    told += _of_tags(noun, before, after)
    told.append((f"Update{noun}", _updated(kind, before, after)))
    details: dict[str, str] = {}
    for _, each in reversed(told):
        details.update(each)
    return told[0][0], _given(details)


def _of_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old = {key["id"]: key for key in before.get("access_keys", ())}
    new = {key["id"]: key for key in after.get("access_keys", ())}
    made, gone = [each for each in new if each not in old], [each for each in old if each not in new]
    changed = [each for each in new if each in old and new[each] != old[each]]
    if made:
        # A rotation makes one and ends another in one step.
        return [("CreateAccessKey", {"access_key": _joined(made), "in_place_of": _joined(changed)})]
    if gone:
        return [("DeleteAccessKey", {"access_key": _joined(gone)})]
    if changed:
        disabled = {str(new[each]["disabled"]).lower() for each in changed}
        return [("UpdateAccessKey", {"access_key": _joined(changed), "disabled": _joined(disabled)})]
    return []


def _of_links(
    before: Mapping[str, Any], after: Mapping[str, Any], field: str, added: str, removed: str, detail: str
) -> list[Change]:
    old, new = before.get(field, ()), after.get(field, ())
    if come := [link["name"] for link in new if link not in old]:
        return [(added, {detail: _joined(come)})]
    if gone := [link["name"] for link in old if link not in new]:
        return [(removed, {detail: _joined(gone)})]
    return []


def _of_tags(noun: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old, new = before.get("tags", _NOTHING), after.get("tags", _NOTHING)
    if put := _pairs(new, old):
        return [(f"Tag{noun}", {"tags": put})]
    if gone := [name for name in old if name not in new]:
        return [(f"Untag{noun}", {"tags": _joined(gone)})]
    return []


def _updated(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    fields = ["description", "duration_s_max", "trust_policy", *(["policy"] if kind == "service-account" else [])]
    told = {"changed": _joined(field for field in fields if before.get(field) != after.get(field))}
    for field in ("disabled", "closing"):
        if before.get(field) != after.get(field):
            told[field] = str(after[field]).lower()
    return told


def _boundary(document: Mapping[str, Any]) -> str:
    return _joined(link["name"] for link in document.get("boundary", ()))


def _pairs(new: Mapping[str, str], old: Mapping[str, str]) -> str:
    return _joined(f"{name}={value}" for name, value in new.items() if old.get(name) != value)


def _joined(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _LENGTH_MAX else text[: _LENGTH_MAX - 1] + "…"


def _given(details: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in details.items() if text}
