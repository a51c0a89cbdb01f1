"""Which right each verb takes, so that every door asks for the same one.

The verbs of this package ask nobody: the Python API of a process that can read the vault's files is the vault's owner.
A door, and a command that acts for somebody, asks first::

    for check in required("create_access_key", caller, user="alice"):
        policies.decide(caller, check.action, check.resource, check.context)

Invariants: every verb that reads or changes identities has its row; a narrowed credential (a session policy, a service
account with a policy of its own) changes no identity, since it could give itself back what was taken from it; a
caller's own rights, and keys of others, take `ADMINISTER` besides the action, so that no right to one action makes an
administrator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.identity import names
from tickvault.security.identity.credential import Credential

#: Held by administrators, through ``iam:*``.
ADMINISTER = "iam:AdministerIdentities"
ADMINISTER_RESOURCE = f"arn:aws:iam::{names.ACCOUNT_ID}:*"

Target = Literal["user", "group", "role", "policy", "service-account", "key", "holder", "session-holder", "none"]
When = Literal["never", "own", "others"]


class Requirement(NamedTuple):
    """What one verb takes."""

    action: str
    """AWS's name of it; ``{Holder}`` is User, Group or Role."""
    target: Target
    """What the resource is the ARN of; `holder`: of the user, group or role named; `session-holder`: of the user,
    role or service account; `key`: of the key's owner."""
    changes: bool = True
    administer: When = "never"
    """When `ADMINISTER` is asked besides. `own`: for what the caller's rights hang on; `others`: for all else."""


class Check(NamedTuple):
    """One question to the policies of the caller."""

    action: str
    resource: str
    context: Mapping[str, str]


REQUIREMENTS: dict[str, Requirement] = {
    "create_user": Requirement("iam:CreateUser", "user"),
    "get_user": Requirement("iam:GetUser", "user", changes=False),
    "list_users": Requirement("iam:ListUsers", "none", changes=False),
    "set_user_disabled": Requirement("iam:UpdateUser", "user", administer="own"),
    "tag_user": Requirement("iam:TagUser", "user", administer="own"),
    "untag_user": Requirement("iam:UntagUser", "user", administer="own"),
    "delete_user": Requirement("iam:DeleteUser", "user"),
    "add_user_to_group": Requirement("iam:AddUserToGroup", "group", administer="own"),
    "remove_user_from_group": Requirement("iam:RemoveUserFromGroup", "group", administer="own"),
    "create_group": Requirement("iam:CreateGroup", "group"),
    "get_group": Requirement("iam:GetGroup", "group", changes=False),
    "group_members": Requirement("iam:GetGroup", "group", changes=False),
    "list_groups": Requirement("iam:ListGroups", "none", changes=False),
    "delete_group": Requirement("iam:DeleteGroup", "group"),
    "create_policy": Requirement("iam:CreatePolicy", "policy"),
    "get_policy": Requirement("iam:GetPolicy", "policy", changes=False),
    "list_policies": Requirement("iam:ListPolicies", "none", changes=False),
    "policy_holders": Requirement("iam:ListEntitiesForPolicy", "policy", changes=False),
    "update_policy": Requirement("iam:CreatePolicyVersion", "policy", administer="own"),
    "delete_policy": Requirement("iam:DeletePolicy", "policy"),
    "attach_policy": Requirement("iam:Attach{Holder}Policy", "holder", administer="own"),
    "detach_policy": Requirement("iam:Detach{Holder}Policy", "holder", administer="own"),
    "put_inline_policy": Requirement("iam:Put{Holder}Policy", "holder", administer="own"),
    "delete_inline_policy": Requirement("iam:Delete{Holder}Policy", "holder", administer="own"),
    "set_boundary": Requirement("iam:Put{Holder}PermissionsBoundary", "holder", administer="own"),
    "create_role": Requirement("iam:CreateRole", "role"),
    "get_role": Requirement("iam:GetRole", "role", changes=False),
    "list_roles": Requirement("iam:ListRoles", "none", changes=False),
    "update_role": Requirement("iam:UpdateRole", "role", administer="own"),
    "delete_role": Requirement("iam:DeleteRole", "role"),
    "create_service_account": Requirement("iam:CreateServiceAccount", "user", administer="others"),
    "get_service_account": Requirement("iam:GetServiceAccount", "service-account", changes=False),
    "list_service_accounts": Requirement("iam:ListServiceAccounts", "none", changes=False),
    "update_service_account": Requirement("iam:UpdateServiceAccount", "service-account", administer="others"),
    "drop_service_account_policy": Requirement("iam:UpdateServiceAccount", "service-account", administer="others"),
    "set_service_account_disabled": Requirement("iam:UpdateServiceAccount", "service-account"),
    "delete_service_account": Requirement("iam:DeleteServiceAccount", "service-account"),
    "create_access_key": Requirement("iam:CreateAccessKey", "key", administer="others"),
    "rotate_access_key": Requirement("iam:CreateAccessKey", "key", administer="others"),
    "set_access_key_disabled": Requirement("iam:UpdateAccessKey", "key", administer="others"),
    "delete_access_key": Requirement("iam:DeleteAccessKey", "key", administer="others"),
    "get_access_key": Requirement("iam:GetAccessKeyLastUsed", "key", changes=False),
    "list_access_keys": Requirement("iam:ListAccessKeys", "key", changes=False),
    "unreadable_access_keys": Requirement("iam:ListAccessKeys", "key", changes=False),
    "reset_sealing_key": Requirement("iam:UpdateAccessKey", "none", administer="others"),
    "assume_role": Requirement("sts:AssumeRole", "role", changes=False),
    "get_session_token": Requirement("sts:GetSessionToken", "none", changes=False),
    "revoke_sessions": Requirement("iam:RevokeSessions", "session-holder"),
    "tidy": Requirement("iam:TidyIdentities", "none"),
}


def required_action(verb: str, *, holder: Literal["user", "group", "role"] = "user") -> str:
    """Return the action that a verb takes; `holder` is what a policy is given to.

    Examples
    --------
    >>> required_action("create_access_key")
    'iam:CreateAccessKey'
    >>> required_action("attach_policy", holder="group")
    'iam:AttachGroupPolicy'
    """
    return _requirement(verb).action.replace("{Holder}", holder.capitalize())


def required(
    verb: str,
    caller: Credential,
    *,
    user: str | None = None,
    group: str | None = None,
    role: str | None = None,
    policy: str | None = None,
    service_account: str | None = None,
    parent: str | None = None,
) -> tuple[Check, ...]:
    """Return what must all be allowed for a caller to use a verb; none for the root.

    Parameters
    ----------
    user, group, role, policy, service_account : str, optional
        What the verb is given; of a key, its owner.
    parent : str, optional
        The user under whom the service account named is; a door that does not know it leaves it out, and the account
        counts as somebody else's.

    Raises
    ------
    AccessDeniedError
        The caller is narrowed and the verb changes identities.
    InvalidInputError
        There is no such verb, or what its resource hangs on was not named.
    """
    requirement = _requirement(verb)
    if caller.principal.kind == "root":
        return ()
    if requirement.changes and caller.policies.narrowed:
        raise AccessDeniedError(
            f"{verb}: {caller.identity_arn} is narrowed by {caller.policies.session[0].name}, and a narrowed "
            "credential changes no identity; use the user's own key"
        )
    named = {"user": user, "group": group, "role": role, "policy": policy, "service-account": service_account}
    kind, name = _target(verb, requirement, named)
    holder: Literal["user", "group", "role"] = kind if kind in ("user", "group", "role") else "user"  # type: ignore[assignment]
    action = required_action(verb, holder=holder)
    if verb == "set_boundary" and policy is None:
        action = action.replace("Put", "Delete")
    context: dict[str, str] = {}
    if policy is not None and verb in ("attach_policy", "detach_policy"):
        context["iam:PolicyARN"] = names.arn("policy", policy)
    if policy is not None and verb in ("create_user", "create_role", "set_boundary"):
        context["iam:PermissionsBoundary"] = names.arn("policy", policy)
    resource = ADMINISTER_RESOURCE if kind == "none" else names.arn(kind, name)
    asked = Check(action, resource, context)
    own = _is_own(caller, named, parent)
    if requirement.administer == ("own" if own else "others"):
        return asked, Check(ADMINISTER, ADMINISTER_RESOURCE, context)
    return (asked,)


def _requirement(verb: str) -> Requirement:
    requirement = REQUIREMENTS.get(verb)
    if requirement is None:
        raise InvalidInputError(f"verb {verb!a:.80}: there is none of that name")
    return requirement


def _target(verb: str, requirement: Requirement, named: Mapping[str, str | None]) -> tuple[str, str]:
    kinds: tuple[str, ...]
    match requirement.target:
        case "none":
            return "none", ""
        case "holder":
            kinds = ("user", "group", "role")
        case "session-holder":
            kinds = ("user", "role", "service-account")
        case "key":
            kinds = ("user", "service-account")
        case kind:
            kinds = (kind,)
    found = [(kind, name) for kind in kinds if (name := named[kind]) is not None]
    if len(found) != 1:
        raise InvalidInputError(f"{verb}: name one of {', '.join(kinds)}; {len(found)} were named")
    return found[0]


def _is_own(caller: Credential, named: Mapping[str, str | None], parent: str | None) -> bool:
    """Tell whether the caller is what a verb is about, or a member or holder of it."""
    me = caller.principal.user_name
    if me and me in (named["user"], parent):
        return True
    if named["service-account"] is not None and named["service-account"] == caller.service_account:
        return True
    if named["user"] is None and named["group"] in caller.principal.groups:
        return True
    if caller.session is not None and named["role"] is not None and named["role"] == caller.session.role:
        return True
    if named["policy"] is None or any(named[kind] is not None for kind in ("user", "group", "role")):
        return False
    held = [*caller.policies.identity, *([caller.policies.boundary] if caller.policies.boundary else [])]
    return f"policy/{named['policy']}" in (each.name for each in held)
