"""May this principal do this to that? The one place where it is decided.

The order, as in AWS with a single account:

1. A Deny that matches, in any policy, is the end.
2. The root of the vault is allowed; the others need an Allow: of their identity policies, or of the bucket policy.
3. An Allow of the identity policies counts within the permissions boundary and within every session policy.
4. An Allow of the bucket policy counts by how it names the principal:

   ============================================  =======================================================
   ``Principal``                                 the Allow
   ============================================  =======================================================
   ``*``                                         is enough
   the ARN of a role's session                   is enough: neither boundary nor session policies limit it
   the ARN of a user or a service account        is enough without an identity policy, and the boundary does
                                                 not limit it; session policies do
   the ARN of the session's role                 is enough without an identity policy; the boundary and the
                                                 session policies limit it
   the account                                   adds nothing: it leaves the matter to the identity policies
   ============================================  =======================================================

5. A service account may do what its parent may and its own policies allow.
6. What nothing allowed is denied.

Invariants: an explicit Deny wins over every Allow, except that nobody can lock the root out of reading, replacing and
deleting a bucket policy; a policy that is added to a session, or a boundary, never makes more possible; a service
account is never allowed what its parent is not; a decision depends on nothing but the request and the policies.

Source: IAM User Guide, "Policy evaluation logic", "Policy evaluation for requests within a single account",
"Permissions boundaries for IAM entities".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from tickvault.errors import InvalidInputError
from tickvault.security.policy.document import Policy
from tickvault.security.policy.index import ForAction, StatementIndex
from tickvault.security.policy.limits import POLICIES_MAX, PolicyKind
from tickvault.security.policy.principals import Named, Principal
from tickvault.security.policy.question import AccessRequest, Question

BUCKET_POLICY = "bucket policy"
TRUST_POLICY = "trust policy"
BOUNDARY = "permissions boundary"
SESSION_POLICY = "session policy"

#: What a Deny in a bucket policy cannot take from the root, or a slip in a policy would lock a bucket for ever.
ROOT_KEEPS = frozenset({"s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy"})


class Reason(StrEnum):
    """Why a decision is what it is."""

    EXPLICIT_DENY = "a statement denies it"
    NO_ALLOW = "nothing allows it"
    NOT_IN_BOUNDARY = "the permissions boundary does not allow it"
    NOT_IN_SESSION = "a session policy does not allow it"
    NOT_IN_PARENT = "the parent of the service account may not do it"
    NOT_TRUSTED = "the role's trust policy does not name the principal"
    ROOT = "the root of the vault may"
    IDENTITY_ALLOW = "a policy of the identity allows it"
    RESOURCE_ALLOW = "the policy of the resource allows it"


class Decision(NamedTuple):
    """The answer, and the statement that gave it."""

    allowed: bool
    reason: Reason
    policy: str = ""
    """Name of the policy, ``""`` if no statement decided."""
    sid: str = ""
    """``Sid`` of the statement, else its place, such as ``Statement[2]``."""


class PolicySet:
    """The policies of one principal, compiled.

    Parameters
    ----------
    policies : mapping of str to Policy
        Identity policies by name: its own and those of its groups.
    boundary : Policy, optional
        Permissions boundary: the most that `policies` can allow.
    sessions : sequence of Policy
        Session policies; each limits further.

    Raises
    ------
    InvalidInputError
        A policy is of another kind, or there are too many.
    """

    __slots__ = ("_inherits", "boundary", "identity", "parent", "parent_principal", "sessions")

    def __init__(
        self,
        policies: Mapping[str, Policy] | None = None,
        *,
        boundary: Policy | None = None,
        sessions: Sequence[Policy] = (),
    ) -> None:
        named = dict(policies or {})
        if len(named) + len(sessions) > POLICIES_MAX:
            raise InvalidInputError(
                f"{len(named) + len(sessions):,} policies of one principal; at most {POLICIES_MAX}: merge some"
            )
        for name, policy in named.items():
            _check_kind(policy, name, "identity")
        for policy in sessions:
            _check_kind(policy, SESSION_POLICY, "session", "identity")
        if boundary is not None:
            _check_kind(boundary, BOUNDARY, "identity")
        self.identity = StatementIndex((name, policy.statements) for name, policy in named.items())
        self.boundary = None if boundary is None else StatementIndex([(BOUNDARY, boundary.statements)])
        self.sessions = tuple(StatementIndex([(SESSION_POLICY, policy.statements)]) for policy in sessions)
        self.parent: PolicySet | None = None
        self.parent_principal: Principal | None = None
        self._inherits = False

    @classmethod
    def service_account(
        cls, parent: PolicySet, parent_principal: Principal, policies: Mapping[str, Policy] | None = None
    ) -> PolicySet:
        """Return the policies of a service account that bucket policies can name by an ARN of its own.

        One that signs as its parent, under its parent's ARN with the kind ``service-account``, needs no more than
        ``PolicySet(parent's policies, boundary=…, sessions=[its own policy])``.

        Parameters
        ----------
        policies : mapping of str to Policy, optional
            What it may do of what its parent may; None: all of it.
        """
        made = cls(policies)
        made.parent = parent
        made.parent_principal = parent_principal
        made._inherits = policies is None
        return made

    def decide(self, request: AccessRequest, bucket_policy: Policy | None = None) -> Decision:
        """Decide a request.

        Parameters
        ----------
        bucket_policy : Policy, optional
            That of the bucket that the resource lies in.
        """
        if self.parent is not None and self.parent_principal is not None:
            of_parent = self.parent.decide(request._replace(principal=self.parent_principal), bucket_policy)
            if not of_parent.allowed:
                reason = Reason.EXPLICIT_DENY if of_parent.reason is Reason.EXPLICIT_DENY else Reason.NOT_IN_PARENT
                return Decision(False, reason, of_parent.policy, of_parent.sid)
        question = Question(request)
        resource: ForAction | None = None
        if bucket_policy is not None:
            _check_kind(bucket_policy, BUCKET_POLICY, "bucket")
            resource = bucket_policy.index.for_action(question.action)
        denied = self._denied(question, resource, BUCKET_POLICY)
        if denied is not None:
            return denied
        identity = self._identity_allow(question)
        if identity is not None:
            limited = self._limits(question)
            if limited is None:
                return identity
        grant, by = (Named.NOT, None) if resource is None else question.granted_by(resource)
        if by is not None:
            allowed = Decision(True, Reason.RESOURCE_ALLOW, BUCKET_POLICY, by.statement.name)
            held = self._grant_limits(question, grant)
            if held is None:
                return allowed
            if grant > Named.ACCOUNT:
                return held
        if identity is None:
            return Decision(False, Reason.NO_ALLOW)
        return limited or Decision(False, Reason.NO_ALLOW)

    def decide_role(self, request: AccessRequest, trust_policy: Policy) -> Decision:
        """Decide whether a role may be assumed: ``sts:AssumeRole`` on the role's ARN.

        The trust policy must allow it. If it names the principal, or the role whose session it is, that is enough
        within the boundary and the session policies; if it names the account or everyone, the principal's own
        policies must allow it too. Nobody assumes a role without a signature.
        """
        _check_kind(trust_policy, TRUST_POLICY, "trust")
        if self.parent is not None and self.parent_principal is not None:
            of_parent = self.parent.decide_role(request._replace(principal=self.parent_principal), trust_policy)
            if not of_parent.allowed:
                reason = Reason.EXPLICIT_DENY if of_parent.reason is Reason.EXPLICIT_DENY else Reason.NOT_IN_PARENT
                return Decision(False, reason, of_parent.policy, of_parent.sid)
        question = Question(request)
        trust = trust_policy.index.for_action(question.action)
        denied = self._denied(question, trust, TRUST_POLICY)
        if denied is not None:
            return denied
        grant, by = question.trusted_by(trust)
        if by is None or question.principal.kind == "anonymous":
            return Decision(False, Reason.NOT_TRUSTED)
        if grant in (Named.ACCOUNT, Named.EVERYONE) or self.parent is not None:
            identity = self._identity_allow(question)
            if identity is None:
                return Decision(False, Reason.NO_ALLOW)
            return self._limits(question) or identity
        return self._grant_limits(question, grant) or Decision(
            True, Reason.RESOURCE_ALLOW, TRUST_POLICY, by.statement.name
        )

    def keys_read(self, action: str, bucket_policy: Policy | None = None) -> tuple[str, ...] | None:
        """Return the keys of the request that a decision can depend on, None if one of them is a time.

        Parameters
        ----------
        action : str
            In lower case.
        """
        keys: tuple[str, ...] = ()
        indexes = [self.identity, *self.sessions]
        if self.boundary is not None:
            indexes.append(self.boundary)
        if bucket_policy is not None:
            indexes.append(bucket_policy.index)
        for index in indexes:
            found = index.for_action(action).keys
            if found is None:
                return None
            keys += found
        return keys

    def _denied(self, question: Question, resource: ForAction | None, resource_name: str) -> Decision | None:
        action = question.action
        if resource is not None:
            entry = question.denied_by(resource)
            if entry is not None and not (question.principal.kind == "root" and action in ROOT_KEEPS):
                return Decision(False, Reason.EXPLICIT_DENY, resource_name, entry.statement.name)
        entry = question.denied_by(self.identity.for_action(action))
        if entry is None and self.boundary is not None:
            entry = question.denied_by(self.boundary.for_action(action))
        if entry is None:
            for session in self.sessions:
                entry = question.denied_by(session.for_action(action))
                if entry is not None:
                    break
        return None if entry is None else Decision(False, Reason.EXPLICIT_DENY, entry.policy, entry.statement.name)

    def _identity_allow(self, question: Question) -> Decision | None:
        kind = question.principal.kind
        if kind == "root":
            return Decision(True, Reason.ROOT)
        if kind == "anonymous":
            return None
        if self._inherits:
            return Decision(True, Reason.IDENTITY_ALLOW)
        entry = question.allowed_by(self.identity.for_action(question.action))
        return entry and Decision(True, Reason.IDENTITY_ALLOW, entry.policy, entry.statement.name)

    def _limits(self, question: Question, *, boundary: bool = True) -> Decision | None:
        limit = self.boundary if boundary else None
        if limit is not None and question.allowed_by(limit.for_action(question.action)) is None:
            return Decision(False, Reason.NOT_IN_BOUNDARY, BOUNDARY)
        for session in self.sessions:
            if question.allowed_by(session.for_action(question.action)) is None:
                return Decision(False, Reason.NOT_IN_SESSION, SESSION_POLICY)
        return None

    def _grant_limits(self, question: Question, grant: Named) -> Decision | None:
        """Return what stands against a grant of a resource policy, None if it is enough."""
        if grant is Named.EVERYONE:
            return None
        if grant is Named.ITSELF:
            # A session of a role that is named itself was granted on purpose, whatever the role may.
            return None if question.principal.kind == "role" else self._limits(question, boundary=False)
        if grant is Named.ROLE:
            return self._limits(question)
        return Decision(False, Reason.NO_ALLOW)


def _check_kind(policy: Policy, name: str, *kinds: PolicyKind) -> None:
    if policy.kind not in kinds:
        raise InvalidInputError(
            f"{name} is a policy of kind {policy.kind}, and must be of kind {' or '.join(kinds)}; read it as that"
        )
