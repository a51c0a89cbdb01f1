"""Users, groups, policies, roles, service accounts, access keys and temporary credentials.

`Identities` is the handle. A door calls `Identities.find`; who administers calls the other verbs; `required` tells
which right each of them takes.

Invariants: secrets are kept sealed and shown once; who was deleted or disabled is refused from the next lookup on, in
every process; nothing that is referred to and missing is taken for nothing.
"""

from tickvault.security.identity.credential import (
    Anchor,
    Credential,
    NamedPolicy,
    PolicyTexts,
    Principal,
    SessionFacts,
)
from tickvault.security.identity.identities import Identities
from tickvault.security.identity.keys import NewAccessKey
from tickvault.security.identity.limits import Limits
from tickvault.security.identity.model import AccessKey, Group, Link, ManagedPolicy, Role, ServiceAccount, User
from tickvault.security.identity.refusal import CredentialRefusedError, Refusal
from tickvault.security.identity.registry import PolicyCompiler
from tickvault.security.identity.requirements import (
    ADMINISTER,
    REQUIREMENTS,
    Check,
    Requirement,
    required,
    required_action,
)
from tickvault.security.identity.sealer import FileSealer, Sealer, VaultSealer
from tickvault.security.identity.sealing import SealingReset, anything_sealed
from tickvault.security.identity.secret import Secret
from tickvault.security.identity.sessions import Session, TrustDecider, TrustRequest

__all__ = [
    "ADMINISTER",
    "REQUIREMENTS",
    "AccessKey",
    "Anchor",
    "Check",
    "Credential",
    "CredentialRefusedError",
    "FileSealer",
    "Group",
    "Identities",
    "Limits",
    "Link",
    "ManagedPolicy",
    "NamedPolicy",
    "NewAccessKey",
    "PolicyCompiler",
    "PolicyTexts",
    "Principal",
    "Refusal",
    "Requirement",
    "Role",
    "Sealer",
    "SealingReset",
    "Secret",
    "ServiceAccount",
    "Session",
    "SessionFacts",
    "TrustDecider",
    "TrustRequest",
    "User",
    "VaultSealer",
    "anything_sealed",
    "required",
    "required_action",
]
