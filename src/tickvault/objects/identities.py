"""The identities of a vault, and what each of them may do.

`open_identities` makes the handle of a store: its documents keep the identities, ``security/sealing.key`` in its
folder seals their secrets. `rights_of` compiles the policies of a credential, `decide_trust` judges a role's trust.

Invariants: a vault without identities gets no sealing key; policies that cannot be read give no rights at all, since
one of them could have denied; rights never outlive the credential that they were compiled for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickvault.errors import BusyError, InvalidInputError, NotFoundError
from tickvault.security.credentials import Credentials
from tickvault.security.identity import (
    Credential,
    CredentialRefusedError,
    Identities,
    Limits,
    NamedPolicy,
    PolicyTexts,
    Refusal,
    Role,
    Secret,
    TrustRequest,
    VaultSealer,
    anything_sealed,
    effective,
    names,
)
from tickvault.security.identity.names import ACCESS_KEY_ID_LENGTH
from tickvault.security.identity.reading import Reading, unchanged
from tickvault.security.policy import (
    ANONYMOUS,
    ROLES,
    AccessRequest,
    Policy,
    PolicyKind,
    PolicySet,
    Principal,
    parse_policy,
    role_policy,
)

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

#: Compiled sets of policies kept, at most; equal policies share one.
_COMPILED_MAX = 1024
_READ_TRIES_MAX = 32
_KINDS: dict[str, PolicyKind] = {"identity": "identity", "session": "session", "trust": "trust"}


def open_identities(store: ObjectStore, *, root: Credentials | None = None, limits: Limits | None = None) -> Identities:
    """Return the identities of a vault.

    Parameters
    ----------
    store : ObjectStore
        Open; its documents keep them.
    root : Credentials, optional
        The root key pair, where it is to be found among the access keys.
    limits : Limits, optional
    """
    return Identities(
        store.documents,
        VaultSealer(store.path, lambda: anything_sealed(store.documents)),
        lambda text, kind: parse_policy(text, kind=_KINDS[kind]).identities,
        vault_id=store.engine.vault_id.hex(),
        root=root,
        limits=limits,
        clock=store.engine.clock,
        built_in_policies={name: role_policy(name).to_json() for name in ROLES},
    )


@dataclass(frozen=True, slots=True)
class Rights:
    """Who somebody is to policies, and the policies, compiled."""

    principal: Principal
    policies: PolicySet
    keys_read: frozenset[str] = frozenset()
    """Keys of requests, in lower case, that any of the policies reads."""
    is_root: bool = False


#: What an unsigned request has: nothing but what others give it.
ANONYMOUS_RIGHTS = Rights(ANONYMOUS, PolicySet())

_compiled: dict[tuple[bytes, bool], tuple[PolicySet, dict[str, Policy], frozenset[str]]] = {}


def rights_of(credential: Credential) -> Rights:
    """Return what a credential may do, compiled once for equal policies.

    Raises
    ------
    CredentialRefusedError
        A policy of it cannot be read, so that what it may do is unknown.
    """
    principal = Principal(*credential.own_principal)
    if principal.kind == "root":
        return Rights(principal, PolicySet(), is_root=True)
    is_account = bool(credential.service_account)
    texts = credential.policies
    found = _compiled.get((texts.fingerprint, is_account))
    if found is None:
        try:
            found = _compile(texts, is_account=is_account)
        except InvalidInputError as error:
            raise CredentialRefusedError(
                Refusal.BROKEN, f"{credential.identity_arn}: a policy cannot be read: {error}"
            ) from None
        if len(_compiled) >= _COMPILED_MAX:
            _compiled.clear()
        _compiled[texts.fingerprint, is_account] = found
    held, own, keys = found
    if not is_account:
        return Rights(principal, held, keys)
    parent = Principal(*credential.principal._replace(kind="user"))
    # Asked as its parent and as itself: what denies either of them by name stops it.
    return Rights(principal, PolicySet.service_account(held, parent, own or None), keys)


def trust_of(role: Role) -> Policy:
    """Return a role's trust policy, which trusts those who had the names in it when it was written."""
    return parse_policy(role.trust_policy, kind="trust", principal_ids=role.trusted)


def decide_trust(request: TrustRequest) -> bool:
    """Decide whether somebody may assume a role: its trust policy and their own policies together."""
    rights = rights_of(request.caller)
    trust = trust_of(request.role)
    asked = AccessRequest(rights.principal, request.action, request.resource, request.context)
    return rights.policies.decide_role(asked, trust).allowed


def rights_named(identities: Identities, identity: str, session_token: str | None = None) -> Rights:
    """Return what somebody may do who is named as people name them: an access key, an ARN or ``anonymous``.

    Raises
    ------
    NotFoundError, CredentialRefusedError
        There is no such identity; its key is disabled or has expired.
    InvalidInputError
        It is neither, or there is a session token beside an ARN.
    """
    if identity == "anonymous" or identity.startswith("arn:"):
        if session_token is not None:
            # Passed over in silence, the one whom the token is of would act with the rights of another.
            raise InvalidInputError(
                f"{identity!a:.140} takes no session token: a token belongs to the access key of temporary "
                "credentials; name that access key, or leave the token out"
            )
        return rights_by_arn(identities, identity)
    if len(identity) != ACCESS_KEY_ID_LENGTH:
        raise InvalidInputError(
            f"{identity!a:.140} is neither an access key nor an ARN; a user is {names.arn('user', 'NAME')}, a role "
            f"{names.arn('role', 'NAME')}; the root's key pair is for the S3 door only, and needs no identity here"
        )
    return rights_of(identities.find(identity, session_token))


def rights_by_arn(identities: Identities, arn: str) -> Rights:
    """Return what the identity of an ARN may do, whether or not it has an access key: to find out beforehand.

    Parameters
    ----------
    arn : str
        Of the root, a user, a role (as a session of it would act), a session of a role or a service account;
        ``anonymous`` is an unsigned request.

    Raises
    ------
    NotFoundError
        There is no such identity.
    CredentialRefusedError
        It, or the user of a service account, is disabled.
    """
    if arn == "anonymous":
        return ANONYMOUS_RIGHTS
    if arn == names.ROOT_ARN:
        return Rights(Principal(arn, names.ACCOUNT_ID, "", names.ACCOUNT_ID, "root"), PolicySet(), is_root=True)
    documents = identities.documents
    for _ in range(_READ_TRIES_MAX):
        revision, reading = documents.revision(), Reading(documents)
        try:
            found = rights_of(_stand_in(identities, reading, arn))
        except (NotFoundError, CredentialRefusedError):
            if documents.revision() == revision or unchanged(documents, reading.dependencies()):
                raise
            continue
        if documents.revision() == revision or unchanged(documents, reading.dependencies()):
            return found
    raise BusyError(f"{arn[:140]!a}: what it may do keeps changing; try again")


def _stand_in(identities: Identities, reading: Reading, arn: str) -> Credential:
    """Return what a credential of an identity would say, but for the key."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        name, _, session = name.partition("/")
    else:
        session = "simulated"
    account = owner_id = ""
    if arn == names.arn("user", name) and (user := reading.user(name)) is not None:
        if user.disabled:
            raise CredentialRefusedError(Refusal.DISABLED, f"user {name} is disabled")
        who = effective.principal_of_user(user)
        texts = effective.policies_of_user(identities, reading, user, ())
    elif arn in (names.arn("role", name), names.assumed_role_arn(name, session)) and (role := reading.role(name)):
        who = effective.principal_of_role(role, session)
        texts = effective.policies_of_role(identities, reading, role, ())
    elif arn == names.arn("service-account", name) and (found := reading.service_account(name)) is not None:
        user = reading.user(found.parent)
        if user is None or user.id != found.parent_id:
            raise NotFoundError(f"service account {name}: its user {found.parent} is gone")
        if found.disabled or user.disabled:
            whose = "it" if found.disabled else f"its user {user.name}"
            raise CredentialRefusedError(Refusal.DISABLED, f"service account {name}: {whose} is disabled")
        narrowing = [] if found.policy is None else [NamedPolicy(f"service-account/{name}", found.policy)]
        who = effective.principal_of_user(user)._replace(kind="service-account")
        texts = effective.policies_of_user(identities, reading, user, narrowing)
        account, owner_id = name, found.id
    else:
        raise NotFoundError(
            f"{arn[:140]!a}: there is no such identity; write arn:aws:iam::{names.ACCOUNT_ID}:user/NAME, …:role/NAME, "
            "…:service-account/NAME, …:root, or anonymous"
        )
    return Credential("", Secret(""), who, texts, None, service_account=account, identity_arn=arn, owner_id=owner_id)


def _compile(texts: PolicyTexts, *, is_account: bool) -> tuple[PolicySet, dict[str, Policy], frozenset[str]]:
    identity = {each.name: parse_policy(each.text, kind="identity") for each in texts.identity}
    boundary = None if texts.boundary is None else parse_policy(texts.boundary.text, kind="identity")
    # The own policy of a service account names what it may, as an identity's does, within what its parent may.
    narrowing = {
        each.name: parse_policy(each.text, kind="identity" if is_account else "session") for each in texts.session
    }
    held = PolicySet(identity, boundary=boundary, sessions=() if is_account else tuple(narrowing.values()))
    every = [*identity.values(), *narrowing.values(), *([] if boundary is None else [boundary])]
    return held, narrowing if is_account else {}, keys_read(every)


def keys_read(policies: Iterable[Policy]) -> frozenset[str]:
    """Return the keys of requests, in lower case, that policies read."""
    return frozenset(key for policy in policies for statement in policy.statements for key in statement.keys_read)
