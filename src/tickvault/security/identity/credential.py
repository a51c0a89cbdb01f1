"""What a door learns of an access key: the secret to check a signature with, who it is, and which policies apply.

Invariants: a credential never changes and shows no secret; as long as nothing changed that it depends on, the same
object is found, so that what was compiled from its policies can be kept by `PolicyTexts.fingerprint`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tickvault.security.identity.secret import Secret

PrincipalKind = Literal["root", "user", "role", "service-account"]


class Principal(NamedTuple):
    """Who acts, as policies see it."""

    arn: str
    """Of a service account: that of its parent, so that whatever is denied to the parent by name is denied to it."""
    account_id: str
    user_name: str
    """``aws:username``; empty for the root and for sessions of roles, as at AWS."""
    user_id: str
    """``aws:userid``: of a session of a role ``ROLE-ID:SESSION-NAME``."""
    kind: PrincipalKind
    tags: Mapping[str, str]
    groups: tuple[str, ...]


class NamedPolicy(NamedTuple):
    """A policy text and where it comes from: ``policy/reader``, ``user/alice/INLINE``, ``session``."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """The policies that apply: allowed is what `identity` allows within `boundary` and within each of `session`."""

    identity: tuple[NamedPolicy, ...] = ()
    """Attached and inline, of the user and their groups, or of the role; of a service account: of its parent."""
    boundary: NamedPolicy | None = None
    session: tuple[NamedPolicy, ...] = ()
    """Each narrows: the policy of a session, the own policy of a service account."""
    fingerprint: bytes = field(init=False, repr=False)
    """SHA-256 of all of it: equal for equal policies."""

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for role, policies in (("i", self.identity), ("b", (self.boundary,)), ("s", self.session)):
            for policy in policies:
                if policy is not None:
                    for part in (role, *policy):
                        data = part.encode("utf-8", "surrogatepass")
                        digest.update(len(data).to_bytes(4, "little") + data)
        object.__setattr__(self, "fingerprint", digest.digest())

    @property
    def narrowed(self) -> bool:
        """Whether it holds less than its user or role does."""
        return bool(self.session)


class Anchor(NamedTuple):
    """Whom a session lives and dies with, and when it was issued as far as they are concerned."""

    kind: Literal["role", "user", "service-account"]
    name: str
    id: str
    issued_ns: int


class SessionFacts(NamedTuple):
    """What is special to a temporary credential."""

    name: str
    """Session name; empty for a session of a user."""
    role: str
    """Name of the role; empty for a session of a user."""
    issuer_arn: str
    """ARN of the role or user: ``aws:PrincipalArn``, and what a trust or bucket policy may name."""
    issued_ns: int
    """``aws:TokenIssueTime``."""
    anchors: tuple[Anchor, ...]
    """First what it is a session of, then those who began it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key that is valid now."""

    access_key_id: str
    secret: Secret
    principal: Principal
    policies: PolicyTexts
    expires_ns: int | None
    """First nanosecond at which it is no longer valid; None: does not expire."""
    service_account: str = ""
    """Name of the service account that signs; empty for others."""
    session: SessionFacts | None = None
    """None for a long-lived key."""
    identity_arn: str = ""
    """For the audit trail: as `Principal.arn`, but a service account's own."""
    owner_id: str = ""
    """Id of the user, role or service account."""

    @property
    def own_principal(self) -> Principal:
        """As `principal`, but a service account under its own ARN and id, for policies that name it.

        To be asked besides `principal`, never in its place: a policy that denies the parent by name does not name it.
        """
        if not self.service_account:
            return self.principal
        return self.principal._replace(arn=self.identity_arn, user_id=self.owner_id)
