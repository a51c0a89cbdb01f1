"""From an access key id to its owner.

A key stands in the document of its owner. A second document, named by the key's id, points there, so that a door finds
one among 10,000 users by two reads. It is written before the key and removed after it: the owner decides, and a pointer
that was left behind by a crash leads nowhere.

Invariants: a pointer holds no secret and is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tickvault.errors import ConflictError
from tickvault.security.documents import Document
from tickvault.security.identity import names
from tickvault.security.identity.fields import VERSION, Fields
from tickvault.security.identity.model import AccessKey, KeyOwnerKind
from tickvault.security.identity.registry import Registry

PREFIX = names.document_prefix("key")
_TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class Pointer:
    """Whose key it is."""

    owner_kind: KeyOwnerKind
    owner: str
    owner_id: str
    created_ns: int


def document_name(key_id: str) -> str:
    """Return the name of a pointer's document; unlike names of users, ids do not differ by case only."""
    return PREFIX + key_id


def read(document: Document) -> Pointer:
    """Return what a pointer says."""
    fields = Fields.of(document)
    return Pointer(
        fields.key_owner("owner_kind"), fields.text("owner"), fields.text("owner_id"), fields.integer("created_ns")
    )


def write_new(registry: Registry, pointer: Pointer) -> str:
    """Write a pointer under an id that nobody has; return the id."""
    data = {
        "v": VERSION,
        "owner_kind": pointer.owner_kind,
        "owner": pointer.owner,
        "owner_id": pointer.owner_id,
        "created_ns": pointer.created_ns,
    }
    for _ in range(_TRIES_MAX):
        key_id = names.new_access_key_id()
        try:
            registry.documents.put(document_name(key_id), data, expect=0)
        except ConflictError:
            continue
        return key_id
    raise AssertionError("80 bits of randomness repeat")


def drop(registry: Registry, keys: Iterable[AccessKey]) -> None:
    """Remove the pointers of keys that are gone."""
    for key in keys:
        registry.documents.remove(document_name(key.id))
