"""Which policies apply to a user, a role, a service account.

Invariants: a group or policy that is referred to and missing refuses the identity, since it could have held a denial;
so does one of the same name and another id.
"""

from __future__ import annotations

from collections.abc import Iterable

from tickvault.security.identity.credential import NamedPolicy, PolicyTexts, Principal
from tickvault.security.identity.links import BUILT_IN_ID
from tickvault.security.identity.model import Holder, Link, Role, User
from tickvault.security.identity.names import ACCOUNT_ID, assumed_role_arn
from tickvault.security.identity.reading import Reading
from tickvault.security.identity.refusal import CredentialRefusedError, Refusal
from tickvault.security.identity.registry import Registry


def policies_of_user(registry: Registry, reading: Reading, user: User, session: Iterable[NamedPolicy]) -> PolicyTexts:
    """Return the policies of a user and of their groups, each once, narrowed by those of `session`."""
    found = _of_holder(registry, reading, "user", user)
    for link in user.groups:
        group = reading.group(link.name)
        if group is None or group.id != link.id:
            raise _broken(f"user {user.name}", f"group {link.name}")
        found.update(_of_holder(registry, reading, "group", group))
    return PolicyTexts(_named(found), _boundary(registry, reading, "user", user), tuple(session))


def policies_of_role(registry: Registry, reading: Reading, role: Role, session: Iterable[NamedPolicy]) -> PolicyTexts:
    """Return the policies of a role, narrowed by those of `session`."""
    found = _of_holder(registry, reading, "role", role)
    return PolicyTexts(_named(found), _boundary(registry, reading, "role", role), tuple(session))


def principal_of_user(user: User) -> Principal:
    """Return a user as policies see them."""
    groups = tuple(link.name for link in user.groups)
    return Principal(user.arn, ACCOUNT_ID, user.name, user.id, "user", user.tags, groups)


def principal_of_role(role: Role, session_name: str) -> Principal:
    """Return a session of a role as policies see it."""
    return Principal(
        assumed_role_arn(role.name, session_name), ACCOUNT_ID, "", f"{role.id}:{session_name}", "role", role.tags, ()
    )


def _of_holder(registry: Registry, reading: Reading, kind: str, holder: Holder) -> dict[str, str]:
    found = {f"policy/{link.name}": _text(registry, reading, f"{kind} {holder.name}", link) for link in holder.policies}
    found.update((f"{kind}/{holder.name}/{name}", text) for name, text in holder.inline_policies.items())
    return found


def _boundary(registry: Registry, reading: Reading, kind: str, holder: User | Role) -> NamedPolicy | None:
    link = holder.boundary
    if link is None:
        return None
    return NamedPolicy(f"policy/{link.name}", _text(registry, reading, f"{kind} {holder.name}", link))


def _text(registry: Registry, reading: Reading, who: str, link: Link) -> str:
    if link.id == BUILT_IN_ID:
        text = registry.built_in_policies.get(link.name)
        if text is None:
            raise _broken(who, f"built-in policy {link.name}")
        return text
    policy = reading.policy(link.name)
    if policy is None or policy.id != link.id:
        raise _broken(who, f"policy {link.name}")
    return policy.text


def _named(found: dict[str, str]) -> tuple[NamedPolicy, ...]:
    return tuple(NamedPolicy(name, text) for name, text in found.items())


def _broken(who: str, what: str) -> CredentialRefusedError:
    return CredentialRefusedError(
        Refusal.BROKEN, f"{who}: refers to {what}, which is gone; take it from them, or attach it again"
    )
