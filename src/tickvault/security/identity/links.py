"""References from one identity to another, and how what is referred to is deleted.

Documents change one at a time, so that nothing keeps a policy from being deleted in the moment in which somebody is
attached to it. Therefore the one who deletes first marks it as closing, then looks who holds it, then removes it as it
was marked; the one who attaches first attaches, then looks whether it is closing or gone, and if so takes the
attachment back.

Invariants: whoever was attached before the mark is found by the deletion, and whoever is attached after it finds the
mark: never do both succeed. Who is killed in between leaves a mark, or an attachment to something that is gone; the
first is ended by deleting again or by changing the policy, the second refuses its holder (`Refusal.BROKEN`), since a
missing policy could have been one that denies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from tickvault.errors import BusyError, ConflictError, NotFoundError
from tickvault.security.identity import shelf
from tickvault.security.identity.limits import CHANGE_TRIES_MAX
from tickvault.security.identity.model import Group, Link, ManagedPolicy
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import GROUPS, POLICIES, Shelf

C = TypeVar("C", Group, ManagedPolicy)

BUILT_IN_ID = "built-in"
_HOLDERS_SHOWN_MAX = 5


def policy_link(registry: Registry, name: str) -> Link:
    """Return the reference to a managed policy; raises `NotFoundError`, `ConflictError` for one being deleted."""
    if name in registry.built_in_policies:
        return Link(name, BUILT_IN_ID)
    return _link(shelf.fetch(registry, POLICIES, name), "policy")


def group_link(registry: Registry, name: str) -> Link:
    """Return the reference to a group; raises `NotFoundError`, `ConflictError` for one being deleted."""
    return _link(shelf.fetch(registry, GROUPS, name), "group")


def _link(entity: Group | ManagedPolicy, noun: str) -> Link:
    if entity.closing:
        raise ConflictError(f"{noun} {entity.name}: is being deleted; if that was given up, delete or change it again")
    return Link(entity.name, entity.id)


def confirm(registry: Registry, kind: Shelf[C], link: Link, undo: Callable[[], object]) -> None:
    """Make sure that a reference just written does not lead to what is being deleted; else undo it and raise."""
    if link.id == BUILT_IN_ID:
        return
    entity = shelf.find(registry, kind, link.name)
    if entity is None or entity.id != link.id or entity.closing:
        undo()
        raise ConflictError(f"{kind.noun} {link.name}: was deleted meanwhile; nothing was changed")


def delete_unheld(registry: Registry, kind: Shelf[C], name: str, holders: Callable[[Link], list[str]]) -> None:
    """Delete a group or policy that nobody holds.

    Raises
    ------
    ConflictError
        Somebody holds it: the message says who.
    """
    for _ in range(CHANGE_TRIES_MAX):
        marked = shelf.change(registry, kind, name, lambda entity: replace(entity, closing=True))
        held = holders(Link(marked.name, marked.id))
        if held:
            try:
                shelf.change(registry, kind, name, lambda entity: replace(entity, closing=False))
            except NotFoundError:
                pass  # another found the last holder gone
            shown = ", ".join(held[:_HOLDERS_SHOWN_MAX]) + (", …" if len(held) > _HOLDERS_SHOWN_MAX else "")
            raise ConflictError(f"deleting {kind.noun} {name}: held by {len(held)}: {shown}; take it from them first")
        try:
            shelf.remove(registry, kind, marked)
        except ConflictError:
            continue  # changed since the mark: look again who holds it
        registry.counted.pop(kind.kind, None)
        return
    raise BusyError(f"deleting {kind.noun} {name}: others keep changing it; try again")
