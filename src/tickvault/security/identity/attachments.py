"""Policies given to users, groups and roles, and taken away.

Invariants: an entity has at most `Limits.policies_per_entity_max` of them, attached and inline together; giving what is
there, and taking what is not, changes nothing and is no error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from tickvault.errors import ConflictError, InvalidInputError, NotFoundError
from tickvault.security.identity import links, shelf
from tickvault.security.identity.limits import INLINE_SIZE_TOTAL_MAX
from tickvault.security.identity.model import Group, Holder, HolderKind, Link, Role, User
from tickvault.security.identity.names import check_name
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import GROUPS, POLICIES, ROLES, USERS

H = TypeVar("H", User, Group, Role)


class _Edit(Protocol):
    def __call__(self, holder: H, /) -> H: ...


def attach_policy(
    registry: Registry, policy: str, *, user: str | None = None, group: str | None = None, role: str | None = None
) -> None:
    """Attach a managed policy to a user, group or role: name one of them.

    Raises
    ------
    NotFoundError
        There is no such policy, or no such entity.
    ConflictError
        The entity has as many policies as may be, or the policy is being deleted.
    """
    kind, name = _holder(user, group, role)
    link = links.policy_link(registry, policy)
    attached = False

    def attach(holder: H) -> H:
        nonlocal attached
        attached = link not in holder.policies
        if not attached:
            return holder
        kept: tuple[Link, ...] = tuple(each for each in holder.policies if each.name != link.name)
        _check_count(registry, f"{kind} {name}", len(kept) + len(holder.inline_policies))
        return replace(holder, policies=(*kept, link))

    def detach(holder: H) -> H:
        return replace(holder, policies=tuple(each for each in holder.policies if each != link))

    _change(registry, kind, name, attach)
    if attached:
        links.confirm(registry, POLICIES, link, lambda: _change(registry, kind, name, detach))


def detach_policy(
    registry: Registry, policy: str, *, user: str | None = None, group: str | None = None, role: str | None = None
) -> None:
    """Take a managed policy away from a user, group or role; raises `NotFoundError` if there is no such entity."""
    kind, name = _holder(user, group, role)

    def detach(holder: H) -> H:
        return replace(holder, policies=tuple(link for link in holder.policies if link.name != policy))

    _change(registry, kind, name, detach)


def put_inline_policy(
    registry: Registry,
    policy: str,
    text: str,
    *,
    user: str | None = None,
    group: str | None = None,
    role: str | None = None,
) -> None:
    """Give a user, group or role a policy of its own, or replace the one of that name.

    Raises
    ------
    InvalidInputError
        The name or the text breaks a rule.
    ConflictError
        The entity has as many policies as may be, or its inline policies are too large together.
    """
    kind, name = _holder(user, group, role)
    check_name("policy", policy)
    registry.check_policy(text, "identity", f"inline policy {policy} of {kind} {name}")

    def put(holder: H) -> H:
        inline = {**holder.inline_policies, policy: text}
        if policy not in holder.inline_policies:
            _check_count(registry, f"{kind} {name}", len(holder.policies) + len(holder.inline_policies))
        size = sum(len(each.encode("utf-8", "surrogatepass")) for each in inline.values())
        if size > INLINE_SIZE_TOTAL_MAX:
            raise ConflictError(
                f"{kind} {name}: inline policies would have {size} bytes together, the limit is "
                f"{INLINE_SIZE_TOTAL_MAX}; make managed policies of them"
            )
        return replace(holder, inline_policies=inline)

    _change(registry, kind, name, put)


def delete_inline_policy(
    registry: Registry, policy: str, *, user: str | None = None, group: str | None = None, role: str | None = None
) -> None:
    """Take an inline policy away; raises `NotFoundError` if it is not there."""
    kind, name = _holder(user, group, role)

    def delete(holder: H) -> H:
        if policy not in holder.inline_policies:
            raise NotFoundError(f"{kind} {name}: has no inline policy {policy[:128]!a}")
        rest = {each: text for each, text in holder.inline_policies.items() if each != policy}
        return replace(holder, inline_policies=rest)

    _change(registry, kind, name, delete)


def set_boundary(registry: Registry, policy: str | None, *, user: str | None = None, role: str | None = None) -> None:
    """Bound what a user or role may do by a managed policy; None: no longer.

    Raises
    ------
    NotFoundError
        There is no such policy, or no such entity.
    """
    kind, name = _holder(user, None, role)
    link = None if policy is None else links.policy_link(registry, policy)
    before: Link | None = None

    def bound(holder: H) -> H:
        nonlocal before
        if isinstance(holder, Group):
            raise InvalidInputError("boundary: a group has none")
        before = holder.boundary
        return replace(holder, boundary=link)

    def unbound(holder: H) -> H:
        if isinstance(holder, Group) or holder.boundary != link:
            return holder
        return replace(holder, boundary=before)

    _change(registry, kind, name, bound)
    if link is not None and before != link:
        links.confirm(registry, POLICIES, link, lambda: _change(registry, kind, name, unbound))


def _holder(user: str | None, group: str | None, role: str | None) -> tuple[HolderKind, str]:
    named: list[tuple[HolderKind, str]] = []
    if user is not None:
        named.append(("user", user))
    if group is not None:
        named.append(("group", group))
    if role is not None:
        named.append(("role", role))
    if len(named) != 1:
        raise InvalidInputError(f"policy: name one of user=, group= and role=; {len(named)} were named")
    return named[0]


def _change(registry: Registry, kind: HolderKind, name: str, edit: _Edit) -> Holder:
    if kind == "user":
        return shelf.change(registry, USERS, name, edit)
    if kind == "group":
        return shelf.change(registry, GROUPS, name, edit)
    return shelf.change(registry, ROLES, name, edit)


def _check_count(registry: Registry, holder: str, count: int) -> None:
    if count >= registry.limits.policies_per_entity_max:
        raise ConflictError(
            f"{holder}: has {count} policies already, attached and inline, the limit is "
            f"{registry.limits.policies_per_entity_max}; take one away first"
        )
