"""Temporary credentials: begun, and revoked.

Invariants: nothing is stored of a session; it lives with its anchors: its role (or user), and those who began it, link
by link, as long as each is the same, enabled, and has not revoked what was issued then; a session of a session of a
role lasts an hour at most, and a chain has a largest length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.identity import checks, names, shelf, token
from tickvault.security.identity.credential import Anchor, Credential
from tickvault.security.identity.limits import (
    CHAIN_LENGTH_MAX,
    CHAINED_DURATION_S_MAX,
    NS,
    SESSION_DURATION_S_DEFAULT,
    SESSION_DURATION_S_MAX,
    SESSION_DURATION_S_MIN,
    USER_SESSION_DURATION_S_MAX,
)
from tickvault.security.identity.model import Role, ServiceAccount, User
from tickvault.security.identity.refusal import CredentialRefusedError, Refusal
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.secret import Secret
from tickvault.security.identity.shelf import ROLES, SERVICE_ACCOUNTS, USERS

R = TypeVar("R", User, Role, ServiceAccount)


class TrustRequest(NamedTuple):
    """The question whether somebody may assume a role."""

    trust_policy: str
    caller: Credential
    role: Role
    action: str
    """``sts:AssumeRole``."""
    resource: str
    """ARN of the role."""
    context: Mapping[str, str]
    """``sts:RoleSessionName``, ``sts:ExternalId`` if given, and what the door knows of the request."""


TrustDecider = Callable[[TrustRequest], bool]
"""Judges the trust policy together with the policies of the caller, as AWS does."""


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials."""

    access_key_id: str
    secret: Secret
    session_token: Secret
    issued_ns: int
    expires_ns: int
    arn: str
    """Of whoever acts with it."""
    principal_id: str
    """``aws:userid`` of it."""


def assume_role(
    registry: Registry,
    caller: Credential,
    role: str,
    session_name: str,
    *,
    decide: TrustDecider,
    duration_s: int | None = None,
    session_policy: str | None = None,
    external_id: str | None = None,
    context: Mapping[str, str] | None = None,
) -> Session:
    """Begin a session of a role (AWS STS API Reference, "AssumeRole").

    Parameters
    ----------
    caller : Credential
        As `find` returned it for the request.
    session_name : str
        2 to 64 characters; stands in the ARN of the session.
    decide : callable
        Answers whether the caller may.
    duration_s : int, optional
        900 up to the role's maximum; an hour at most for a caller who is a session of a role. Default an hour.
    session_policy : str, optional
        JSON, up to 2,048 bytes: narrows what the role may.
    external_id : str, optional
        ``sts:ExternalId`` for the trust policy.
    context : mapping of str to str, optional
        More condition keys: ``aws:SourceIp``, …

    Raises
    ------
    AccessDeniedError
        The caller may not, or there is no such role: neither tells which.
    InvalidInputError
        A value breaks a rule.
    """
    # Before the role is read: whoever revokes sessions after this moment means this one too.
    now_ns = registry.clock.now_ns()
    names.check_session_name(session_name)
    _check_alive(caller, now_ns)
    if caller.principal.kind == "root":
        raise AccessDeniedError(f"assuming role {role!a:.140}: the root cannot, as at AWS; use a user")
    chained = caller.session is not None and caller.session.role != ""
    what = f"session {session_name}"
    if session_policy is not None:
        registry.check_policy(session_policy, "session", f"{what}, session policy")
    if external_id is not None and not 2 <= len(external_id) <= 1224:
        raise InvalidInputError(f"{what}, external_id: must have 2 to 1,224 characters, had {len(external_id)}")
    longest = CHAINED_DURATION_S_MAX if chained else SESSION_DURATION_S_MAX
    duration_s = SESSION_DURATION_S_DEFAULT if duration_s is None else duration_s
    checks.check_whole(duration_s, SESSION_DURATION_S_MIN, longest, f"{what}, duration_s")
    found = shelf.find(registry, ROLES, role) if isinstance(role, str) else None
    asked = {**(context or {}), "sts:RoleSessionName": session_name}
    if external_id is not None:
        asked["sts:ExternalId"] = external_id
    if found is None or not decide(TrustRequest(found.trust_policy, caller, found, "sts:AssumeRole", found.arn, asked)):
        raise AccessDeniedError(
            f"assuming role {role!a:.140}: {caller.identity_arn} may not; the role's trust policy must name the "
            "caller, and the caller's policies must not exclude it"
        )
    if duration_s > found.duration_s_max:
        raise InvalidInputError(
            f"{what}, duration_s: role {role} allows {found.duration_s_max} seconds, asked were {duration_s}"
        )
    anchors = (Anchor("role", found.name, found.id, now_ns), *_anchors_of(caller, now_ns))
    if sum(anchor.kind == "role" for anchor in anchors) > CHAIN_LENGTH_MAX:
        raise InvalidInputError(f"{what}: {CHAIN_LENGTH_MAX} roles were assumed one from another, more may not be")
    return _issue(
        registry,
        anchors,
        session_name=session_name,
        now_ns=now_ns,
        duration_s=duration_s,
        session_policy=session_policy,
        arn=names.assumed_role_arn(found.name, session_name),
        principal_id=f"{found.id}:{session_name}",
    )


def get_session_token(
    registry: Registry,
    caller: Credential,
    *,
    duration_s: int = SESSION_DURATION_S_MAX,
    session_policy: str | None = None,
) -> Session:
    """Begin a session of a user, for a program that should not hold the user's key.

    Parameters
    ----------
    caller : Credential
        A user's, found by an access key: not a session, a service account or the root.
    duration_s : int, optional
        900 to 129,600; default 43,200.
    session_policy : str, optional
        Narrows what the user may.
    """
    now_ns = registry.clock.now_ns()
    _check_alive(caller, now_ns)
    if caller.principal.kind != "user" or caller.session is not None:
        raise AccessDeniedError(
            f"session of {caller.identity_arn}: only a user with an access key may begin one of themselves"
        )
    name = caller.principal.user_name
    if session_policy is not None:
        registry.check_policy(session_policy, "session", f"session of user {name}, session policy")
    checks.check_whole(
        duration_s, SESSION_DURATION_S_MIN, USER_SESSION_DURATION_S_MAX, f"session of user {name}, duration_s"
    )
    return _issue(
        registry,
        _anchors_of(caller, now_ns),
        session_name="",
        now_ns=now_ns,
        duration_s=duration_s,
        session_policy=session_policy,
        arn=caller.principal.arn,
        principal_id=caller.principal.user_id,
    )


def revoke_sessions(
    registry: Registry,
    *,
    role: str | None = None,
    user: str | None = None,
    service_account: str | None = None,
    issued_before_ns: int | None = None,
) -> int:
    """End sessions of a role, or all that a user or service account began, whatever their role.

    Parameters
    ----------
    issued_before_ns : int, optional
        Only those issued before it; default: before now. An earlier revocation stays.

    Returns
    -------
    int
        Sessions issued before this time are refused.
    """
    now_ns = registry.clock.now_ns()
    before_ns = now_ns if issued_before_ns is None else issued_before_ns
    checks.check_whole(before_ns, 0, now_ns, "revoking sessions, issued_before_ns")

    def revoke(entity: R) -> R:
        return replace(entity, sessions_valid_from_ns=max(entity.sessions_valid_from_ns, before_ns))

    match (role, user, service_account):
        case (str(), None, None):
            return shelf.change(registry, ROLES, role, revoke).sessions_valid_from_ns
        case (None, str(), None):
            return shelf.change(registry, USERS, user, revoke).sessions_valid_from_ns
        case (None, None, str()):
            return shelf.change(registry, SERVICE_ACCOUNTS, service_account, revoke).sessions_valid_from_ns
    raise InvalidInputError("revoking sessions: name one of role, user and service_account")


def _check_alive(caller: Credential, now_ns: int) -> None:
    if caller.expires_ns is not None and now_ns >= caller.expires_ns:
        raise CredentialRefusedError(Refusal.EXPIRED, f"access key {caller.access_key_id}: has expired")


def _anchors_of(caller: Credential, now_ns: int) -> tuple[Anchor, ...]:
    """Return what a session begun by `caller` lives with."""
    if caller.session is not None:
        # With the times they had: revoking the first session of a chain ends those begun from it.
        return caller.session.anchors
    user = Anchor("user", caller.principal.user_name, caller.principal.user_id, now_ns)
    if caller.service_account:
        return (Anchor("service-account", caller.service_account, caller.owner_id, now_ns), user)
    return (user,)


def _issue(
    registry: Registry,
    anchors: tuple[Anchor, ...],
    *,
    session_name: str,
    now_ns: int,
    duration_s: int,
    session_policy: str | None,
    arn: str,
    principal_id: str,
) -> Session:
    claims = token.Claims(
        access_key_id=names.new_access_key_id(names.SESSION_KEY_PREFIX),
        secret=Secret(names.new_secret()),
        session_name=session_name,
        issued_ns=now_ns,
        expires_ns=now_ns + duration_s * NS,
        session_policy=session_policy,
        anchors=anchors,
    )
    text = token.encode(registry, claims)
    return Session(claims.access_key_id, claims.secret, Secret(text), now_ns, claims.expires_ns, arn, principal_id)
