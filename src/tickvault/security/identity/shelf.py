"""Reading and changing the document of an identity.

Invariants: a change is made to what is there now or not at all: of two at once, the second is made again on the result
of the first; nothing is written over a document that was not read; a document holds the identity that its name says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from tickvault.errors import AlreadyExistsError, BusyError, ConflictError, IntegrityError, NotFoundError
from tickvault.security.documents import CHANGE_FIELD, Document
from tickvault.security.identity import changes, stored
from tickvault.security.identity.limits import CHANGE_TRIES_MAX, NS
from tickvault.security.identity.model import Group, ManagedPolicy, Role, ServiceAccount, User
from tickvault.security.identity.names import NAME_LENGTH_MAX, Kind, document_name, document_prefix
from tickvault.security.identity.registry import Registry

E = TypeVar("E", User, Group, ManagedPolicy, Role, ServiceAccount)

# A count is a listing of all documents of a kind: not one for each of many creations in a row.
_COUNT_AGE_NS_MAX = 10 * NS


@dataclass(frozen=True, slots=True)
class Shelf(Generic[E]):
    """One kind of identity and its documents."""

    kind: Kind
    encode: Callable[[E], dict[str, Any]]
    decode: Callable[[Document], E]

    @property
    def noun(self) -> str:
        """What messages call it."""
        return self.kind.replace("-", " ")

    def read(self, document: Document) -> E:
        """Return the identity of a document; raises `IntegrityError` if it is another's."""
        entity = self.decode(document)
        if document_name(self.kind, entity.name) != document.name:
            raise IntegrityError(f"document {document.name}: holds {self.noun} {entity.name!r}; run: tickvault verify")
        return entity


USERS: Shelf[User] = Shelf("user", stored.encode_user, stored.decode_user)
GROUPS: Shelf[Group] = Shelf("group", stored.encode_group, stored.decode_group)
POLICIES: Shelf[ManagedPolicy] = Shelf("policy", stored.encode_policy, stored.decode_policy)
ROLES: Shelf[Role] = Shelf("role", stored.encode_role, stored.decode_role)
SERVICE_ACCOUNTS: Shelf[ServiceAccount] = Shelf(
    "service-account", stored.encode_service_account, stored.decode_service_account
)


def find(registry: Registry, shelf: Shelf[E], name: str) -> E | None:
    """Return an identity, None if there is none of exactly that name."""
    # What cannot be a name is the name of nobody, and no document is asked for by it.
    if not isinstance(name, str) or len(name) > NAME_LENGTH_MAX:
        return None
    document = registry.documents.get(document_name(shelf.kind, name))
    if document is None:
        return None
    entity = shelf.read(document)
    return entity if entity.name == name else None


def fetch(registry: Registry, shelf: Shelf[E], name: str) -> E:
    """Return an identity; raises `NotFoundError`."""
    entity = find(registry, shelf, name)
    if entity is None:
        raise _missing(shelf, name)
    return entity


def every(registry: Registry, shelf: Shelf[E]) -> list[E]:
    """Return all identities of a kind, by name."""
    return [shelf.read(document) for document in registry.documents.list(document_prefix(shelf.kind))]


def insert(registry: Registry, shelf: Shelf[E], entity: E, count_max: int) -> E:
    """Write a new identity.

    Raises
    ------
    AlreadyExistsError
        The name is taken, perhaps in another case.
    ConflictError
        There are as many as there may be. Creations in the same seconds in several processes may exceed it by a few.
    """
    count, counted_ns = registry.counted.get(shelf.kind, (0, -_COUNT_AGE_NS_MAX))
    now_ns = registry.clock.monotonic_ns()
    if count >= count_max or now_ns - counted_ns >= _COUNT_AGE_NS_MAX:
        count, counted_ns = len(registry.documents.list(document_prefix(shelf.kind))), now_ns
    if count >= count_max:
        raise ConflictError(
            f"creating {shelf.noun} {entity.name}: there are {count} already, the limit is {count_max}; delete some"
        )
    encoded = shelf.encode(entity)
    said = {**encoded, CHANGE_FIELD: list(changes.creation(shelf.kind, encoded))}
    try:
        revision = registry.documents.put(document_name(shelf.kind, entity.name), said, expect=0)
    except ConflictError:
        raise AlreadyExistsError(
            f"{shelf.noun} {entity.name}: there is one of that name already (names do not differ by case only)"
        ) from None
    registry.counted[shelf.kind] = (count + 1, counted_ns)
    return replace(entity, revision=revision)


def change(registry: Registry, shelf: Shelf[E], name: str, edit: Callable[[E], E], *, expect: int | None = None) -> E:
    """Replace an identity by what `edit` makes of it.

    Parameters
    ----------
    edit : callable
        Called again on a newer state when another changed it meanwhile; what it raises ends the change. An equal
        result is not written.
    expect : int, optional
        Change only this revision.

    Raises
    ------
    NotFoundError
        There is none of that name.
    ConflictError
        It has another revision than `expect`.
    BusyError
        Others kept changing it.
    """
    for _ in range(CHANGE_TRIES_MAX):
        entity = fetch(registry, shelf, name)
        if expect is not None and entity.revision != expect:
            raise ConflictError(
                f"{shelf.noun} {name}: has revision {entity.revision}, expected was {expect}; read it again, then "
                "decide"
            )
        changed = edit(entity)
        before, after = shelf.encode(entity), shelf.encode(changed)
        # Compared as documents: equality of the values leaves the sealed secrets out.
        if before == after:
            return entity
        said = {**after, CHANGE_FIELD: list(changes.change(shelf.kind, before, after))}
        try:
            revision = registry.documents.put(document_name(shelf.kind, name), said, expect=entity.revision)
        except ConflictError:
            continue
        return replace(changed, revision=revision)
    raise BusyError(f"{shelf.noun} {name}: others keep changing it; nothing was done, try again")


def remove(registry: Registry, shelf: Shelf[E], entity: E) -> None:
    """Remove an identity as it was read.

    Raises
    ------
    NotFoundError
        It is gone.
    ConflictError
        It was changed since.
    """
    try:
        there = registry.documents.remove(document_name(shelf.kind, entity.name), expect=entity.revision)
    except ConflictError:
        if find(registry, shelf, entity.name) is None:
            raise _missing(shelf, entity.name) from None
        raise ConflictError(
            f"deleting {shelf.noun} {entity.name}: it was changed meanwhile; look at it again, then decide"
        ) from None
    if not there:
        raise _missing(shelf, entity.name)


def _missing(shelf: Shelf[E], name: str) -> NotFoundError:
    shown = name[:128] if isinstance(name, str) else name
    return NotFoundError(
        f"{shelf.noun} {shown!a}: there is none of that name; `tickvault iam {shelf.kind} list` shows those there are"
    )
