"""From an access key to who may do what: what a door asks for each request.

A lookup that was made before costs a dictionary, a comparison of revisions and the clock. When any document changed,
the documents that the answer came from are looked at again, and only if one of those changed it is made anew.

Invariants: no answer is older than the last change that was acknowledged before the question; an end in time is
checked at every lookup, to the nanosecond; a refusal is never cached; only keys that exist and tokens that are genuine
take room in the cache.
"""

from __future__ import annotations

import hmac
import logging

from tickvault.errors import BusyError, TickVaultError
from tickvault.security.identity import effective, keys, pointers, token
from tickvault.security.identity.credential import (
    Anchor,
    Credential,
    NamedPolicy,
    PolicyTexts,
    Principal,
    SessionFacts,
)
from tickvault.security.identity.last_used import Uses
from tickvault.security.identity.limits import CLOCK_TOLERANCE_S, NS
from tickvault.security.identity.model import KeyOwner, ServiceAccount, User
from tickvault.security.identity.names import (
    ACCESS_KEY_ID_LENGTH,
    ACCESS_KEY_PREFIX,
    ACCOUNT_ID,
    ROOT_ARN,
    SESSION_KEY_PREFIX,
)
from tickvault.security.identity.reading import Dependencies, Reading, unchanged
from tickvault.security.identity.refusal import CredentialRefusedError, Refusal
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.secret import Secret

log = logging.getLogger("tickvault.identity")

CACHED_MAX = 16_384
#: What keeps going wrong is logged this often, not at each request.
_TOLD_EVERY_NS = 60 * NS
_READ_TRIES_MAX = 32
_NEVER_NS = 2**63 - 1


class _Entry:
    """An answer, and for how long it stands."""

    __slots__ = ("credential", "dependencies", "expires_ns", "not_before_ns", "noted", "revision", "token")

    def __init__(self, credential: Credential, revision: int, dependencies: Dependencies, token: bytes | None) -> None:
        self.credential = credential
        self.revision = revision
        self.dependencies = dependencies
        self.token = token
        session = credential.session
        self.not_before_ns = -_NEVER_NS if session is None else session.issued_ns - CLOCK_TOLERANCE_S * NS
        self.expires_ns = _NEVER_NS if credential.expires_ns is None else credential.expires_ns
        self.noted = session is None and credential.principal.kind != "root"


class Lookup:
    """The cache of one handle; any thread may ask it."""

    def __init__(self, registry: Registry, uses: Uses) -> None:
        self._registry = registry
        self._revision = registry.documents.revision
        self._now_ns = registry.clock.now_ns
        self._uses = uses
        self._entries: dict[str, _Entry] = {}
        self._told_at_ns = -_NEVER_NS

    def find(self, access_key_id: str, session_token: str | None = None) -> Credential:
        """Return what is known of an access key; raises `CredentialRefusedError`."""
        entry = self._entries.get(access_key_id)
        if entry is None or entry.revision != self._revision():
            entry = self._renewed(access_key_id, session_token, entry)
        now_ns = self._now_ns()
        if entry.token is None:
            if session_token is not None:
                raise _bad_token(access_key_id)
            if now_ns < entry.expires_ns:
                if entry.noted:
                    self._uses.latest[access_key_id] = now_ns
                return entry.credential
            raise _expired(access_key_id)
        if session_token is None:
            raise _unknown(access_key_id)
        if not hmac.compare_digest(entry.token, session_token.encode("utf-8", "surrogatepass")):
            raise _bad_token(access_key_id)
        if entry.not_before_ns <= now_ns < entry.expires_ns:
            return entry.credential
        raise _expired(access_key_id) if now_ns >= entry.expires_ns else _bad_token(access_key_id)

    def _renewed(self, access_key_id: str, session_token: str | None, entry: _Entry | None) -> _Entry:
        """Return an entry that holds now: the one there is if nothing of it changed."""
        documents = self._registry.documents
        if entry is not None:
            revision = self._revision()
            if unchanged(documents, entry.dependencies):
                entry.revision = revision
                return entry
            # What was known is wrong now; what is true may be a refusal.
            self._entries.pop(access_key_id, None)
        for _ in range(_READ_TRIES_MAX):
            revision = self._revision()
            reading = Reading(documents)
            refused: CredentialRefusedError | None = None
            try:
                credential = self._read(reading, access_key_id, session_token)
            except CredentialRefusedError as error:
                refused = error
            if self._revision() != revision and not unchanged(documents, reading.dependencies()):
                continue
            if refused is not None:
                raise refused
            genuine = None if session_token is None else session_token.encode()
            made = _Entry(credential, revision, reading.dependencies(), genuine)
            self._keep(access_key_id, made)
            return made
        raise BusyError(f"access key {access_key_id:.128}: what it may do keeps changing; try again")

    def _keep(self, access_key_id: str, entry: _Entry) -> None:
        if len(self._entries) >= CACHED_MAX:
            # The oldest quarter at once; what of it is asked for again is read again.
            for each in list(self._entries)[: CACHED_MAX // 4]:
                self._entries.pop(each, None)
        self._entries[access_key_id] = entry

    def _read(self, reading: Reading, access_key_id: str, session_token: str | None) -> Credential:
        root = self._registry.root
        if root is not None and access_key_id == root.access_key:
            if session_token is not None:
                raise _bad_token(access_key_id)
            return _root(root.access_key, root.secret_key)
        if not isinstance(access_key_id, str) or len(access_key_id) != ACCESS_KEY_ID_LENGTH:
            raise _unknown(access_key_id)
        if access_key_id.startswith(ACCESS_KEY_PREFIX):
            if session_token is not None:
                raise _bad_token(access_key_id)
            return self._read_key(reading, access_key_id)
        if access_key_id.startswith(SESSION_KEY_PREFIX) and session_token is not None:
            return self._read_session(reading, access_key_id, session_token)
        raise _unknown(access_key_id)

    def _read_key(self, reading: Reading, access_key_id: str) -> Credential:
        document = reading.document(pointers.document_name(access_key_id)) if access_key_id.isalnum() else None
        if document is None:
            raise _unknown(access_key_id)
        pointer = pointers.read(document)
        owner: KeyOwner | None
        owner = reading.user(pointer.owner) if pointer.owner_kind == "user" else reading.service_account(pointer.owner)
        if owner is None or owner.id != pointer.owner_id:
            raise _unknown(access_key_id)
        key = next((each for each in owner.access_keys if each.id == access_key_id), None)
        user = owner if isinstance(owner, User) else _parent(reading, owner)
        if key is None or user is None:
            raise _unknown(access_key_id)
        if key.disabled or owner.disabled or user.disabled:
            who = "it" if key.disabled else f"its {'owner' if owner.disabled else 'parent'}"
            raise CredentialRefusedError(Refusal.DISABLED, f"access key {access_key_id}: {who} is disabled")
        if key.expires_ns is not None and self._now_ns() >= key.expires_ns:
            raise _expired(access_key_id)
        try:
            secret = keys.secret_of(self._registry, owner, key)
        except TickVaultError as error:
            raise self._unreadable(access_key_id, error) from error
        principal = effective.principal_of_user(user)
        if isinstance(owner, ServiceAccount):
            narrowing = [] if owner.policy is None else [NamedPolicy(f"service-account/{owner.name}", owner.policy)]
            return Credential(
                access_key_id,
                secret,
                principal._replace(kind="service-account"),
                effective.policies_of_user(self._registry, reading, user, narrowing),
                key.expires_ns,
                service_account=owner.name,
                identity_arn=owner.arn,
                owner_id=owner.id,
            )
        policies = effective.policies_of_user(self._registry, reading, user, ())
        return Credential(
            access_key_id, secret, principal, policies, key.expires_ns, identity_arn=user.arn, owner_id=user.id
        )

    def _read_session(self, reading: Reading, access_key_id: str, session_token: str) -> Credential:
        try:
            claims = token.decode(self._registry, session_token)
        except TickVaultError as error:
            raise self._unreadable(access_key_id, error) from error
        if claims is None or claims.access_key_id != access_key_id:
            raise _bad_token(access_key_id)
        if self._now_ns() >= claims.expires_ns:
            raise _expired(access_key_id)
        for anchor in claims.anchors:
            if not _holds(reading, anchor):
                raise CredentialRefusedError(
                    Refusal.REVOKED,
                    f"access key {access_key_id}: the session was revoked, or {anchor.kind} {anchor.name} is gone or "
                    "disabled; begin a new one",
                )
        narrowing = [] if claims.session_policy is None else [NamedPolicy("session", claims.session_policy)]
        subject = claims.anchors[0]
        if subject.kind == "role":
            role = reading.role(subject.name)
            assert role is not None, "an anchor that holds is there"
            principal = effective.principal_of_role(role, claims.session_name)
            policies = effective.policies_of_role(self._registry, reading, role, narrowing)
            issuer_arn = role.arn
        else:
            user = reading.user(subject.name)
            assert user is not None, "an anchor that holds is there"
            principal = effective.principal_of_user(user)
            policies = effective.policies_of_user(self._registry, reading, user, narrowing)
            issuer_arn = user.arn
        role_name = subject.name if subject.kind == "role" else ""
        facts = SessionFacts(claims.session_name, role_name, issuer_arn, claims.issued_ns, claims.anchors)
        return Credential(
            access_key_id,
            claims.secret,
            principal,
            policies,
            claims.expires_ns,
            session=facts,
            identity_arn=principal.arn,
            owner_id=subject.id,
        )

    def _unreadable(self, access_key_id: str, error: TickVaultError) -> CredentialRefusedError:
        """Return the refusal of a key that the vault itself cannot open, and tell whoever runs it."""
        now_ns = self._registry.clock.monotonic_ns()
        if now_ns - self._told_at_ns >= _TOLD_EVERY_NS:
            self._told_at_ns = now_ns
            log.error("access key %s, and perhaps others, cannot be opened: %s", ascii(access_key_id)[1:-1], error)
        return CredentialRefusedError(Refusal.UNREADABLE, f"access key {access_key_id!a:.140}: {error}")


def _parent(reading: Reading, account: ServiceAccount) -> User | None:
    user = reading.user(account.parent)
    return user if user is not None and user.id == account.parent_id else None


def _holds(reading: Reading, anchor: Anchor) -> bool:
    """Tell whether what a session lives with is the same as then, enabled, and has not revoked it."""
    if anchor.kind == "role":
        role = reading.role(anchor.name)
        return role is not None and role.id == anchor.id and anchor.issued_ns >= role.sessions_valid_from_ns
    owner: KeyOwner | None
    owner = reading.user(anchor.name) if anchor.kind == "user" else reading.service_account(anchor.name)
    return (
        owner is not None
        and owner.id == anchor.id
        and not owner.disabled
        and anchor.issued_ns >= owner.sessions_valid_from_ns
    )


def _root(access_key_id: str, secret_key: str) -> Credential:
    principal = Principal(ROOT_ARN, ACCOUNT_ID, "", ACCOUNT_ID, "root", {}, ())
    return Credential(
        access_key_id, Secret(secret_key), principal, PolicyTexts(), None, identity_arn=ROOT_ARN, owner_id=ACCOUNT_ID
    )


def _unknown(access_key_id: str) -> CredentialRefusedError:
    return CredentialRefusedError(Refusal.UNKNOWN, f"access key {access_key_id!a:.140}: there is none of that id")


def _expired(access_key_id: str) -> CredentialRefusedError:
    return CredentialRefusedError(Refusal.EXPIRED, f"access key {access_key_id}: has expired")


def _bad_token(access_key_id: str) -> CredentialRefusedError:
    return CredentialRefusedError(
        Refusal.INVALID_TOKEN, f"access key {access_key_id!a:.140}: the session token is not one of this key and vault"
    )
