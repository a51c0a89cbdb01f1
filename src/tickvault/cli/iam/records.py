"""Identities as JSON objects and as lines.

Invariants: no record holds a secret, sealed or not; the names of fields are those of the Python API.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tickvault.cli import terminal
from tickvault.errors import InvalidInputError

if TYPE_CHECKING:
    from tickvault.security.identity import AccessKey, Group, ManagedPolicy, Role, ServiceAccount, User

#: Largest policy file that is read; what a policy may have is less.
FILE_SIZE_MAX = 64 * 1024
_POLICY_TEXTS = ("trust_policy", "policy")


def key_record(key: AccessKey) -> dict[str, Any]:
    """Return an access key without its secret."""
    return {
        "access_key": key.id,
        "owner_kind": key.owner_kind,
        "owner": key.owner,
        "disabled": key.disabled,
        "description": key.description,
        "created_ns": key.created_ns,
        "expires_ns": key.expires_ns,
        "last_used_ns": key.last_used_ns,
    }


def user_record(user: User) -> dict[str, Any]:
    """Return a user."""
    return {
        "user": user.name,
        "arn": user.arn,
        "id": user.id,
        "disabled": user.disabled,
        "groups": [link.name for link in user.groups],
        "policies": [link.name for link in user.policies],
        "inline_policies": sorted(user.inline_policies),
        "boundary": user.boundary.name if user.boundary else None,
        "access_keys": [key.id for key in user.access_keys],
        "tags": dict(user.tags),
        "created_ns": user.created_ns,
    }


def group_record(group: Group, members: Iterable[str] | None = None) -> dict[str, Any]:
    """Return a group, with its members where they were asked for."""
    record: dict[str, Any] = {
        "group": group.name,
        "arn": group.arn,
        "id": group.id,
        "policies": [link.name for link in group.policies],
        "inline_policies": sorted(group.inline_policies),
        "created_ns": group.created_ns,
    }
    return record if members is None else {**record, "members": list(members)}


def role_record(role: Role) -> dict[str, Any]:
    """Return a role."""
    return {
        "role": role.name,
        "arn": role.arn,
        "id": role.id,
        "description": role.description,
        "trust_policy": role.trust_policy,
        "duration_s_max": role.duration_s_max,
        "policies": [link.name for link in role.policies],
        "inline_policies": sorted(role.inline_policies),
        "boundary": role.boundary.name if role.boundary else None,
        "tags": dict(role.tags),
        "created_ns": role.created_ns,
    }


def policy_record(policy: ManagedPolicy, *, text: bool = False) -> dict[str, Any]:
    """Return a managed policy, with its text where it was asked for."""
    record: dict[str, Any] = {
        "policy": policy.name,
        "arn": policy.arn,
        "built_in": policy.built_in,
        "description": policy.description,
        "created_ns": policy.created_ns,
        "revision": policy.revision,
    }
    return {**record, "text": policy.text} if text else record


def account_record(account: ServiceAccount) -> dict[str, Any]:
    """Return a service account."""
    return {
        "service_account": account.name,
        "arn": account.arn,
        "id": account.id,
        "user": account.parent,
        "disabled": account.disabled,
        "description": account.description,
        "policy": account.policy,
        "access_keys": [key.id for key in account.access_keys],
        "created_ns": account.created_ns,
    }


def show(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: a JSON object, or a line for each of its fields that says something."""
    if as_json:
        terminal.answer_json(record)
        return
    for name, value in record.items():
        label = name.removesuffix("_ns").replace("_", " ")
        if name in _POLICY_TEXTS and value:
            terminal.answer(f"{label}:")
            terminal.answer(pretty_policy(value))
        elif value not in (None, "", [], {}):
            terminal.answer(f"{label:<16}  {terminal.printable(_said(name, value))}")


def pretty_policy(text: str) -> str:
    """Return the text of a policy as it is read best."""
    return json.dumps(json.loads(text), indent=2)


def _said(name: str, value: Any) -> str:
    if name.endswith("_ns"):
        return terminal.format_time(value)
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def show_list(records: Iterable[Mapping[str, Any]], lines: Iterable[str], *, as_json: bool) -> None:
    """Print many things: a JSON object each, or a line each."""
    if as_json:
        for record in records:
            terminal.answer_json(record)
    else:
        for line in lines:
            terminal.answer(terminal.printable(line))


def read_policy(path: str) -> str:
    """Return the text of a policy file, of stdin for ``-``; the vault says what is wrong in it."""
    import click

    with click.open_file(path, "rb") as file:
        data: bytes = file.read(FILE_SIZE_MAX + 1)
    if len(data) > FILE_SIZE_MAX:
        raise InvalidInputError(f"{path}: is larger than {FILE_SIZE_MAX} bytes, which no policy is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path}: is not UTF-8 text") from None
