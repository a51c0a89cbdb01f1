"""Somebody's rights on an open vault: who it is, what the policies say, and the refusal.

For the Python API: `tickvault.open(path, identity=…)` and `Vault.as_identity` give handles that ask before each verb.
It keeps honest code honest, and the audit trail true; a process that can read the vault's files is bound by nothing in
it (`docs/reference/identities.md`).

Invariants: rights are those of now, for every question, of the one whom it was opened for: whoever has the name later
is another; what is refused has changed nothing and is in the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tickvault.audit.actor import Actor, process_actor
from tickvault.audit.record import Category
from tickvault.errors import AccessDeniedError, InvalidInputError, NotFoundError
from tickvault.objects.bucket_rules import BucketRules
from tickvault.objects.condition_keys import Values, moment_keys
from tickvault.objects.identities import Rights, open_identities, rights_named
from tickvault.objects.model import BucketInfo
from tickvault.security.identity import CredentialRefusedError, Refusal
from tickvault.security.policy import AccessRequest

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

_ARN = "arn:aws:s3:::"
SERVICE = f"{_ARN}*"

#: Given the keys that policies read, in lower case, and an action: what conditions see.
KeysOf = Callable[[frozenset[str], str], Mapping[str, Values]]


class Authority:
    """The rights of one identity.

    Parameters
    ----------
    store : ObjectStore
        The vault.
    identity : str
        An access key, or the ARN of a user, a role or a service account.
    session_token : str, optional
        Of temporary credentials.

    Raises
    ------
    AccessDeniedError
        There is no such identity, or it was disabled or has expired.
    InvalidInputError
        It is neither an access key nor an ARN, or an ARN with a session token.
    """

    def __init__(self, store: ObjectStore, identity: str, session_token: str | None = None) -> None:
        if not isinstance(identity, str) or not identity:
            raise InvalidInputError(f"identity is an access key or an ARN, not {identity!r}")
        self._store = store
        self._identities = open_identities(store)
        self._identity = identity
        self._session_token = session_token
        self._rules = BucketRules()
        self._bound_to: str | None = None
        rights = self.rights()
        # An ARN is a name, and names are given again; ids are not.
        self._bound_to = rights.principal.user_id
        own = process_actor()
        self.actor = Actor(own.door, rights.principal.arn, own.source)
        self.caller = self.actor.caller()
        self.name = self.actor.identity or rights.principal.kind
        """What messages call it."""

    def rights(self) -> Rights:
        """Return what it may do now.

        Raises
        ------
        CredentialRefusedError
            It is disabled, has ended or is gone, whoever has its name now.
        """
        try:
            rights = rights_named(self._identities, self._identity, self._session_token)
        except NotFoundError as error:
            raise CredentialRefusedError(Refusal.UNKNOWN, str(error.args[0])) from None
        if self._bound_to is not None and rights.principal.user_id != self._bound_to:
            raise CredentialRefusedError(
                Refusal.UNKNOWN,
                f"{self._identity}: the one whom this handle was opened for is gone, and another has the name; open "
                "the vault again to act as that one",
            )
        return rights

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        return self._store.engine.clock.now_ns() / 1_000_000_000

    def refusal_of(
        self, action: str, resource: str, bucket: BucketInfo | None = None, keys: KeysOf | None = None
    ) -> str:
        """Return an empty text if it may, else why not.

        Parameters
        ----------
        keys : callable, optional
            Given the keys that policies read, in lower case, and the action, what conditions see.
        """
        rights = self.rights()
        rules = None if bucket is None else self._rules.of(bucket)
        policy = None if rules is None else rules.block.policy_for(rights.principal, rules.policy)
        reads = rights.keys_read if rules is None else rights.keys_read | rules.keys_read
        context = moment_keys(self.now_s()) if keys is None else keys(reads, action)
        decision = rights.policies.decide(AccessRequest(rights.principal, action, resource, context), policy)
        if decision.allowed:
            return ""
        where = f" in {decision.policy}" if decision.policy else ""
        who = rights.principal.arn or rights.principal.kind
        return f"{who} may not {action} on {resource}: {decision.reason.value}{where}"

    def check(
        self,
        action: str,
        resource: str,
        *,
        bucket: BucketInfo | None = None,
        key: str = "",
        version_id: str | None = None,
        keys: KeysOf | None = None,
    ) -> None:
        """Raise `AccessDeniedError`, and have it in the audit trail, unless it may.

        The record is of the bucket and the key that are given; without a bucket, of those that the resource names.
        """
        refused: CredentialRefusedError | None = None
        try:
            why = self.refusal_of(action, resource, bucket, keys)
        except CredentialRefusedError as error:
            refused, why = error, str(error)
        if not why:
            return
        name, resource_key = _named(resource) if bucket is None else (bucket.name, "")
        self._store.auditor.record(
            self.actor,
            Category.REFUSAL,
            action=action.partition(":")[2],
            result="AccessDenied",
            bucket=name,
            key=key or resource_key,
            version_id=version_id or "",
            detail={"reason": why},
        )
        if refused is not None:
            raise refused
        raise AccessDeniedError(f"{why}; ask for a policy that allows it (tickvault iam simulate explains)")


def _named(resource: str) -> tuple[str, str]:
    """Return the bucket and the key of an ARN; empty where it is of all of them, or of something else."""
    if resource == SERVICE or not resource.startswith(_ARN):
        return "", ""
    name, _, key = resource.removeprefix(_ARN).partition("/")
    return name, key


def bucket_arn(name: str) -> str:
    """Return the ARN of a bucket."""
    return f"{_ARN}{name}"


def object_arn(bucket: str, key: str) -> str:
    """Return the ARN of an object."""
    return f"{_ARN}{bucket}/{key}"
