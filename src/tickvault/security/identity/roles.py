"""Verbs of roles.

Invariants: a role has a trust policy, which trusts those who had the names in it when it was written; sessions refer to
a role by its id, so that none of them is one of a namesake made later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tickvault.errors import ConflictError
from tickvault.security.identity import checks, links, shelf
from tickvault.security.identity.limits import ROLE_DURATION_S_MAX, ROLE_DURATION_S_MIN
from tickvault.security.identity.model import Role
from tickvault.security.identity.names import check_name, new_id
from tickvault.security.identity.principal_ids import principal_ids
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import POLICIES, ROLES


def create_role(
    registry: Registry,
    name: str,
    trust_policy: str,
    *,
    description: str = "",
    duration_s_max: int = ROLE_DURATION_S_MIN,
    tags: Mapping[str, str] | None = None,
    boundary: str | None = None,
) -> Role:
    """Make a role, which may do nothing yet.

    Parameters
    ----------
    trust_policy : str
        JSON: who may assume it. Who is named there must be there, and nobody made later under that name is meant.
    duration_s_max : int, optional
        Longest session, 3,600 to 43,200 seconds.
    tags : mapping of str to str, optional
        Policies see them as ``aws:PrincipalTag/KEY`` of its sessions.
    boundary : str, optional
        Managed policy beyond which nothing reaches that is attached later.

    Raises
    ------
    AlreadyExistsError
        The name is taken, perhaps in another case.
    InvalidInputError
        A value breaks a rule.
    """
    check_name("role", name)
    what = f"role {name}"
    role = Role(
        name=name,
        id=new_id("role"),
        created_ns=registry.clock.now_ns(),
        trust_policy=trust_policy,
        trusted=_trusted(registry, trust_policy, f"{what}, trust policy"),
        description=checks.check_description(description, what),
        duration_s_max=_check_duration(duration_s_max, what),
        tags=checks.check_tags(tags or {}, registry.limits.tags_max, what),
        boundary=None if boundary is None else links.policy_link(registry, boundary),
    )
    made = shelf.insert(registry, ROLES, role, registry.limits.roles_max)
    if made.boundary is not None:
        links.confirm(registry, POLICIES, made.boundary, lambda: shelf.remove(registry, ROLES, made))
    return made


def get_role(registry: Registry, name: str) -> Role:
    """Return a role; raises `NotFoundError`."""
    return shelf.fetch(registry, ROLES, name)


def list_roles(registry: Registry) -> list[Role]:
    """Return all roles, by name."""
    return shelf.every(registry, ROLES)


def update_role(
    registry: Registry,
    name: str,
    *,
    trust_policy: str | None = None,
    description: str | None = None,
    duration_s_max: int | None = None,
    tags: Mapping[str, str] | None = None,
    expect: int | None = None,
) -> Role:
    """Change what is given of a role; sessions under way go on, within its policies as they are then.

    Raises
    ------
    ConflictError
        It has another revision than `expect`.
    """
    what = f"role {name}"
    trusted = {} if trust_policy is None else _trusted(registry, trust_policy, f"{what}, trust policy")
    if description is not None:
        checks.check_description(description, what)
    if duration_s_max is not None:
        _check_duration(duration_s_max, what)
    new_tags = None if tags is None else checks.check_tags(tags, registry.limits.tags_max, what)

    def edit(role: Role) -> Role:
        return replace(
            role,
            trust_policy=role.trust_policy if trust_policy is None else trust_policy,
            trusted=role.trusted if trust_policy is None else trusted,
            description=role.description if description is None else description,
            duration_s_max=role.duration_s_max if duration_s_max is None else duration_s_max,
            tags=role.tags if new_tags is None else new_tags,
        )

    return shelf.change(registry, ROLES, name, edit, expect=expect)


def delete_role(registry: Registry, name: str, *, force: bool = False) -> None:
    """Delete a role; its sessions end.

    Parameters
    ----------
    force : bool, optional
        Also if policies are attached to it, or it has some of its own.

    Raises
    ------
    ConflictError
        It has policies: the message says which.
    """
    role = shelf.fetch(registry, ROLES, name)
    held = [*(link.name for link in role.policies), *role.inline_policies]
    if held and not force:
        raise ConflictError(
            f"deleting role {name}: holds policies: {', '.join(held)}; take them away first, or delete with force=True"
        )
    shelf.remove(registry, ROLES, role)
    registry.counted.pop("role", None)


def _trusted(registry: Registry, trust_policy: str, what: str) -> dict[str, str]:
    """Return the unique ids, by ARN, of those whom a trust policy names; raises `InvalidInputError` if it is none."""
    registry.check_policy(trust_policy, "trust", what)
    return principal_ids(registry.documents, registry.compile_policy(trust_policy, "trust"), what)


def _check_duration(duration_s: int, what: str) -> int:
    return checks.check_whole(duration_s, ROLE_DURATION_S_MIN, ROLE_DURATION_S_MAX, f"{what}, duration_s_max")
