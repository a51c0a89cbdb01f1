"""Verbs of groups.

Invariants: a group with members is not deleted; a group made again under an old name has no members.
"""

from __future__ import annotations

from tickvault.security.identity import links, shelf
from tickvault.security.identity.model import Group, Link
from tickvault.security.identity.names import check_name, new_id
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import GROUPS, USERS


def create_group(registry: Registry, name: str) -> Group:
    """Make a group, without members and policies.

    Raises
    ------
    AlreadyExistsError
        The name is taken, perhaps in another case.
    """
    check_name("group", name)
    group = Group(name=name, id=new_id("group"), created_ns=registry.clock.now_ns())
    return shelf.insert(registry, GROUPS, group, registry.limits.groups_max)


def get_group(registry: Registry, name: str) -> Group:
    """Return a group; raises `NotFoundError`."""
    return shelf.fetch(registry, GROUPS, name)


def list_groups(registry: Registry) -> list[Group]:
    """Return all groups, by name."""
    return shelf.every(registry, GROUPS)


def group_members(registry: Registry, name: str) -> list[str]:
    """Return the names of the users in a group; raises `NotFoundError`."""
    group = shelf.fetch(registry, GROUPS, name)
    return _members(registry, Link(group.name, group.id))


def delete_group(registry: Registry, name: str) -> None:
    """Delete a group that nobody is in, with its inline policies.

    Raises
    ------
    ConflictError
        Users are in it: the message says who.
    """
    links.delete_unheld(registry, GROUPS, name, lambda link: [f"user {member}" for member in _members(registry, link)])


def _members(registry: Registry, link: Link) -> list[str]:
    return [user.name for user in shelf.every(registry, USERS) if link in user.groups]
