"""Identities as documents.

Invariants: encoding and decoding are each other's inverse; a document says the version of its layout; secrets go in and
come out sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tickvault.security.documents import Document
from tickvault.security.identity.fields import VERSION, Fields
from tickvault.security.identity.model import (
    AccessKey,
    Group,
    KeyOwnerKind,
    Link,
    ManagedPolicy,
    Role,
    ServiceAccount,
    User,
)


def _links(links: Sequence[Link]) -> list[dict[str, str]]:
    return [link._asdict() for link in links]


def _boundary(fields: Fields) -> Link | None:
    links = fields.links("boundary")
    if len(links) > 1:
        raise fields.broken("boundary", "must hold at most one policy")
    return links[0] if links else None


def _encode_keys(keys: Sequence[AccessKey]) -> list[dict[str, Any]]:
    return [
        {
            "id": key.id,
            "created_ns": key.created_ns,
            "expires_ns": key.expires_ns,
            "disabled": key.disabled,
            "description": key.description,
            "sealed_secret": key.sealed_secret,
        }
        for key in keys
    ]


def _decode_keys(fields: Fields, kind: KeyOwnerKind, owner: str) -> tuple[AccessKey, ...]:
    return tuple(
        AccessKey(
            each.text("id"),
            kind,
            owner,
            each.integer("created_ns"),
            each.optional_integer("expires_ns"),
            each.truth("disabled"),
            each.text("description"),
            sealed_secret=each.blob("sealed_secret"),
        )
        for each in fields.items("access_keys")
    )


def encode_user(user: User) -> dict[str, Any]:
    """Return the document of a user."""
    return {
        "v": VERSION,
        "name": user.name,
        "id": user.id,
        "created_ns": user.created_ns,
        "tags": dict(user.tags),
        "groups": _links(user.groups),
        "policies": _links(user.policies),
        "inline_policies": dict(user.inline_policies),
        "boundary": _links([user.boundary] if user.boundary else []),
        "disabled": user.disabled,
        "access_keys": _encode_keys(user.access_keys),
        "sessions_valid_from_ns": user.sessions_valid_from_ns,
    }


def decode_user(document: Document) -> User:
    """Return the user of a document."""
    fields = Fields.of(document)
    return User(
        name=fields.text("name"),
        id=fields.text("id"),
        created_ns=fields.integer("created_ns"),
        tags=fields.texts("tags"),
        groups=fields.links("groups"),
        policies=fields.links("policies"),
        inline_policies=fields.texts("inline_policies"),
        boundary=_boundary(fields),
        disabled=fields.truth("disabled"),
        access_keys=_decode_keys(fields, "user", fields.text("name")),
        sessions_valid_from_ns=fields.integer("sessions_valid_from_ns"),
        revision=document.revision,
    )


def encode_group(group: Group) -> dict[str, Any]:
    """Return the document of a group."""
    return {
        "v": VERSION,
        "name": group.name,
        "id": group.id,
        "created_ns": group.created_ns,
        "policies": _links(group.policies),
        "inline_policies": dict(group.inline_policies),
        "closing": group.closing,
    }


def decode_group(document: Document) -> Group:
    """Return the group of a document."""
    fields = Fields.of(document)
    return Group(
        name=fields.text("name"),
        id=fields.text("id"),
        created_ns=fields.integer("created_ns"),
        policies=fields.links("policies"),
        inline_policies=fields.texts("inline_policies"),
        closing=fields.truth("closing"),
        revision=document.revision,
    )


def encode_policy(policy: ManagedPolicy) -> dict[str, Any]:
    """Return the document of a managed policy."""
    return {
        "v": VERSION,
        "name": policy.name,
        "id": policy.id,
        "created_ns": policy.created_ns,
        "updated_ns": policy.updated_ns,
        "text": policy.text,
        "description": policy.description,
        "closing": policy.closing,
    }


def decode_policy(document: Document) -> ManagedPolicy:
    """Return the managed policy of a document."""
    fields = Fields.of(document)
    return ManagedPolicy(
        name=fields.text("name"),
        id=fields.text("id"),
        created_ns=fields.integer("created_ns"),
        text=fields.text("text"),
        description=fields.text("description"),
        updated_ns=fields.integer("updated_ns"),
        closing=fields.truth("closing"),
        revision=document.revision,
    )


def encode_role(role: Role) -> dict[str, Any]:
    """Return the document of a role."""
    return {
        "v": VERSION,
        "name": role.name,
        "id": role.id,
        "created_ns": role.created_ns,
        "trust_policy": role.trust_policy,
        "trusted": dict(role.trusted),
        "description": role.description,
        "duration_s_max": role.duration_s_max,
        "tags": dict(role.tags),
        "policies": _links(role.policies),
        "inline_policies": dict(role.inline_policies),
        "boundary": _links([role.boundary] if role.boundary else []),
        "sessions_valid_from_ns": role.sessions_valid_from_ns,
    }


def decode_role(document: Document) -> Role:
    """Return the role of a document."""
    fields = Fields.of(document)
    return Role(
        name=fields.text("name"),
        id=fields.text("id"),
        created_ns=fields.integer("created_ns"),
        trust_policy=fields.text("trust_policy"),
        trusted=fields.texts("trusted"),
        description=fields.text("description"),
        duration_s_max=fields.integer("duration_s_max"),
        tags=fields.texts("tags"),
        policies=fields.links("policies"),
        inline_policies=fields.texts("inline_policies"),
        boundary=_boundary(fields),
        sessions_valid_from_ns=fields.integer("sessions_valid_from_ns"),
        revision=document.revision,
    )


def encode_service_account(account: ServiceAccount) -> dict[str, Any]:
    """Return the document of a service account."""
    return {
        "v": VERSION,
        "name": account.name,
        "id": account.id,
        "created_ns": account.created_ns,
        "parent": account.parent,
        "parent_id": account.parent_id,
        "policy": account.policy,
        "description": account.description,
        "disabled": account.disabled,
        "access_keys": _encode_keys(account.access_keys),
        "sessions_valid_from_ns": account.sessions_valid_from_ns,
    }


def decode_service_account(document: Document) -> ServiceAccount:
    """Return the service account of a document."""
    fields = Fields.of(document)
    return ServiceAccount(
        name=fields.text("name"),
        id=fields.text("id"),
        created_ns=fields.integer("created_ns"),
        parent=fields.text("parent"),
        parent_id=fields.text("parent_id"),
        policy=fields.optional_text("policy"),
        description=fields.text("description"),
        disabled=fields.truth("disabled"),
        access_keys=_decode_keys(fields, "service-account", fields.text("name")),
        sessions_valid_from_ns=fields.integer("sessions_valid_from_ns"),
        revision=document.revision,
    )
