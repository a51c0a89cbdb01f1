"""Verbs of managed policies.

Invariants: a text is kept only after the compiler has taken it; a policy that somebody is attached to is not deleted; a
built-in one is neither changed nor deleted.
"""

from __future__ import annotations

from dataclasses import replace

from tickvault.errors import AccessDeniedError, AlreadyExistsError
from tickvault.security.identity import checks, links, shelf
from tickvault.security.identity.model import Link, ManagedPolicy
from tickvault.security.identity.names import check_name, new_id
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import GROUPS, POLICIES, ROLES, USERS


def create_policy(registry: Registry, name: str, text: str, *, description: str = "") -> ManagedPolicy:
    """Make a managed policy.

    Parameters
    ----------
    text : str
        JSON, at most 10,240 bytes.

    Raises
    ------
    InvalidInputError
        The name or the text breaks a rule.
    AlreadyExistsError
        The name is taken, perhaps in another case, or that of a built-in policy.
    """
    check_name("policy", name)
    if name.lower() in registry.built_in_names:
        raise AlreadyExistsError(f"policy {name}: is built in; choose another name")
    registry.check_policy(text, "identity", f"policy {name}")
    now_ns = registry.clock.now_ns()
    policy = ManagedPolicy(
        name=name,
        id=new_id("policy"),
        created_ns=now_ns,
        updated_ns=now_ns,
        text=text,
        description=checks.check_description(description, f"policy {name}"),
    )
    return shelf.insert(registry, POLICIES, policy, registry.limits.policies_max)


def get_policy(registry: Registry, name: str) -> ManagedPolicy:
    """Return a managed policy, also a built-in one; raises `NotFoundError`."""
    text = registry.built_in_policies.get(name)
    if text is not None:
        return ManagedPolicy(name=name, id=links.BUILT_IN_ID, created_ns=0, text=text, built_in=True)
    return shelf.fetch(registry, POLICIES, name)


def list_policies(registry: Registry) -> list[ManagedPolicy]:
    """Return all managed policies, the built-in ones first."""
    return [get_policy(registry, name) for name in sorted(registry.built_in_policies)] + shelf.every(registry, POLICIES)


def update_policy(
    registry: Registry, name: str, text: str, *, description: str | None = None, expect: int | None = None
) -> ManagedPolicy:
    """Replace the text of a managed policy, for all who are attached to it.

    Parameters
    ----------
    expect : int, optional
        Only if it has this `revision`, so that nobody's change is overwritten unseen.

    Raises
    ------
    ConflictError
        It has another revision.
    AccessDeniedError
        It is built in.
    """
    _refuse_built_in(registry, name)
    registry.check_policy(text, "identity", f"policy {name}")
    if description is not None:
        checks.check_description(description, f"policy {name}")

    def edit(policy: ManagedPolicy) -> ManagedPolicy:
        return replace(
            policy,
            text=text,
            description=policy.description if description is None else description,
            updated_ns=registry.clock.now_ns(),
            # A deletion under way finds another revision and looks again; a mark that was left behind is gone.
            closing=False,
        )

    return shelf.change(registry, POLICIES, name, edit, expect=expect)


def policy_holders(registry: Registry, name: str) -> list[str]:
    """Return who is attached to a managed policy: ``user alice``, ``boundary of role ingest``."""
    policy = get_policy(registry, name)
    return _holders(registry, Link(policy.name, policy.id))


def delete_policy(registry: Registry, name: str) -> None:
    """Delete a managed policy that nobody is attached to.

    Raises
    ------
    ConflictError
        Somebody is: the message says who.
    AccessDeniedError
        It is built in.
    """
    _refuse_built_in(registry, name)
    links.delete_unheld(registry, POLICIES, name, lambda link: _holders(registry, link))


def _holders(registry: Registry, link: Link) -> list[str]:
    held: list[str] = []
    for user in shelf.every(registry, USERS):
        held += [f"user {user.name}"] * (link in user.policies)
        held += [f"boundary of user {user.name}"] * (link == user.boundary)
    held += [f"group {group.name}" for group in shelf.every(registry, GROUPS) if link in group.policies]
    for role in shelf.every(registry, ROLES):
        held += [f"role {role.name}"] * (link in role.policies)
        held += [f"boundary of role {role.name}"] * (link == role.boundary)
    return held


def _refuse_built_in(registry: Registry, name: str) -> None:
    if name in registry.built_in_policies:
        raise AccessDeniedError(f"policy {name}: is built in, and neither changed nor deleted; make one of your own")
