"""Verbs of users.

Invariants: whatever a user holds stands in one document, so that it is gone with it in one step; keys, service accounts
and sessions refer to a user by id, so that none of them serves a namesake made later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tickvault.errors import ConflictError, NotFoundError
from tickvault.security.identity import checks, links, pointers, shelf
from tickvault.security.identity.model import User
from tickvault.security.identity.names import check_name, new_id
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import GROUPS, POLICIES, SERVICE_ACCOUNTS, USERS


def create_user(
    registry: Registry, name: str, *, tags: Mapping[str, str] | None = None, boundary: str | None = None
) -> User:
    """Make a user, who may do nothing yet.

    Parameters
    ----------
    name : str
        1 to 64 characters of ``A-Z a-z 0-9 _ + = , . @ -``.
    tags : mapping of str to str, optional
        Policies see them as ``aws:PrincipalTag/KEY``.
    boundary : str, optional
        Managed policy beyond which nothing reaches that is attached later.

    Raises
    ------
    AlreadyExistsError
        The name is taken, perhaps in another case.
    ConflictError
        There are as many users as there may be.
    InvalidInputError
        The name or a tag breaks a rule.
    """
    check_name("user", name)
    user = User(
        name=name,
        id=new_id("user"),
        created_ns=registry.clock.now_ns(),
        tags=checks.check_tags(tags or {}, registry.limits.tags_max, f"user {name}"),
        boundary=None if boundary is None else links.policy_link(registry, boundary),
    )
    made = shelf.insert(registry, USERS, user, registry.limits.users_max)
    if made.boundary is not None:
        links.confirm(registry, POLICIES, made.boundary, lambda: shelf.remove(registry, USERS, made))
    return made


def get_user(registry: Registry, name: str) -> User:
    """Return a user; raises `NotFoundError`."""
    return shelf.fetch(registry, USERS, name)


def list_users(registry: Registry) -> list[User]:
    """Return all users, by name."""
    return shelf.every(registry, USERS)


def set_user_disabled(registry: Registry, name: str, disabled: bool) -> User:
    """Refuse, or accept again, all keys and sessions of a user and of their service accounts."""
    return shelf.change(registry, USERS, name, lambda user: replace(user, disabled=bool(disabled)))


def tag_user(registry: Registry, name: str, tags: Mapping[str, str]) -> User:
    """Add tags, or replace those of the same keys."""

    def edit(user: User) -> User:
        return replace(
            user, tags=checks.check_tags({**user.tags, **tags}, registry.limits.tags_max, f"user {user.name}")
        )

    checks.check_tags(tags, registry.limits.tags_max, f"user {name}")
    return shelf.change(registry, USERS, name, edit)


def untag_user(registry: Registry, name: str, keys: Iterable[str]) -> User:
    """Take tags away; a key that is not there is no error."""
    gone = frozenset(keys)

    def edit(user: User) -> User:
        return replace(user, tags={key: value for key, value in user.tags.items() if key not in gone})

    return shelf.change(registry, USERS, name, edit)


def add_user_to_group(registry: Registry, user: str, group: str) -> User:
    """Let a user have the policies of a group; one who is in it already stays so.

    Raises
    ------
    NotFoundError
        There is no such user or group.
    ConflictError
        The user is in as many groups as may be, or the group is being deleted.
    """
    link = links.group_link(registry, group)
    joined = False

    def join(each: User) -> User:
        nonlocal joined
        joined = link not in each.groups
        if not joined:
            return each
        others = tuple(other for other in each.groups if other.name != link.name)
        if len(others) >= registry.limits.groups_per_user_max:
            raise ConflictError(
                f"adding user {user} to group {group}: is in {len(others)} groups already, the limit is "
                f"{registry.limits.groups_per_user_max}; take them out of one first"
            )
        return replace(each, groups=(*others, link))

    def leave(each: User) -> User:
        return replace(each, groups=tuple(other for other in each.groups if other != link))

    changed = shelf.change(registry, USERS, user, join)
    if joined:
        links.confirm(registry, GROUPS, link, lambda: shelf.change(registry, USERS, user, leave))
    return changed


def remove_user_from_group(registry: Registry, user: str, group: str) -> User:
    """Take a user out of a group; one who is not in it stays so."""

    def leave(each: User) -> User:
        return replace(each, groups=tuple(link for link in each.groups if link.name != group))

    return shelf.change(registry, USERS, user, leave)


def delete_user(registry: Registry, name: str, *, force: bool = False) -> None:
    """Delete a user; their sessions end.

    Parameters
    ----------
    force : bool, optional
        Delete what the user holds too: keys, policies, memberships, service accounts.

    Raises
    ------
    ConflictError
        The user holds something: the message says what.
    """
    user = shelf.fetch(registry, USERS, name)
    accounts = [each for each in shelf.every(registry, SERVICE_ACCOUNTS) if each.parent_id == user.id]
    if not force:
        held = {
            "access keys": [key.id for key in user.access_keys],
            "groups": [link.name for link in user.groups],
            "policies": [*(link.name for link in user.policies), *user.inline_policies],
            "service accounts": [account.name for account in accounts],
        }
        told = "; ".join(f"{what}: {', '.join(each)}" for what, each in held.items() if each)
        if told:
            raise ConflictError(f"deleting user {name}: holds {told}; take them away first, or delete with force=True")
    # One step: from here on no key, session or service account of the user is found, whatever becomes of the rest.
    shelf.remove(registry, USERS, user)
    registry.counted.pop("user", None)
    pointers.drop(registry, user.access_keys)
    for account in accounts:
        try:
            shelf.remove(registry, SERVICE_ACCOUNTS, account)
        except (ConflictError, NotFoundError):
            continue  # `tidy` finds it
        pointers.drop(registry, account.access_keys)
