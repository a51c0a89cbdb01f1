"""The nouns: who there is, and what each holds.

Invariants: a value here never changes; it is what its document said at `revision`. Times are int64 nanoseconds since
the epoch, UTC. No field holds a secret in clear: those of access keys are sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tickvault.security.identity import names


class Link(NamedTuple):
    """A reference to a group or managed policy: a name, and the id it had, so that a namesake made later is not it."""

    name: str
    id: str


KeyOwnerKind = Literal["user", "service-account"]
HolderKind = Literal["user", "group", "role"]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-lived access key of a user or service account, without its secret."""

    id: str
    owner_kind: KeyOwnerKind
    owner: str
    """Name of the user or service account."""
    created_ns: int
    expires_ns: int | None = None
    disabled: bool = False
    description: str = ""
    last_used_ns: int | None = None
    """Up to an hour late; None: not used yet, or not yet written down."""
    sealed_secret: bytes = field(default=b"", repr=False, compare=False)

    def active(self, now_ns: int) -> bool:
        """Tell whether it counts against the limit of active keys."""
        return not self.disabled and (self.expires_ns is None or now_ns < self.expires_ns)


@dataclass(frozen=True, slots=True)
class User:
    """One who signs with access keys of their own."""

    name: str
    id: str
    created_ns: int
    tags: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[Link, ...] = ()
    policies: tuple[Link, ...] = ()
    """Managed policies attached."""
    inline_policies: Mapping[str, str] = field(default_factory=dict)
    """Text by name."""
    boundary: Link | None = None
    """Managed policy beyond which none of the others reaches."""
    disabled: bool = False
    access_keys: tuple[AccessKey, ...] = ()
    sessions_valid_from_ns: int = 0
    """Sessions issued before it are revoked."""
    revision: int = 0

    @property
    def arn(self) -> str:
        """``arn:aws:iam::000000000000:user/NAME``."""
        return names.arn("user", self.name)


@dataclass(frozen=True, slots=True)
class Group:
    """Policies that its members share; users say which groups they are in."""

    name: str
    id: str
    created_ns: int
    policies: tuple[Link, ...] = ()
    inline_policies: Mapping[str, str] = field(default_factory=dict)
    closing: bool = False
    """Being deleted: nobody may join."""
    revision: int = 0

    @property
    def arn(self) -> str:
        """``arn:aws:iam::000000000000:group/NAME``."""
        return names.arn("group", self.name)


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A named policy text that users, groups and roles are attached to."""

    name: str
    id: str
    created_ns: int
    text: str
    description: str = ""
    updated_ns: int = 0
    closing: bool = False
    """Being deleted: nobody may be attached."""
    built_in: bool = False
    """Comes with the software; cannot be changed or deleted."""
    revision: int = 0
    """Another at every change of the text."""

    @property
    def arn(self) -> str:
        """``arn:aws:iam::000000000000:policy/NAME``, also of a built-in one: nothing else can have its name."""
        return names.arn("policy", self.name)


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody may become for a while, if its trust policy lets them."""

    name: str
    id: str
    created_ns: int
    trust_policy: str
    trusted: Mapping[str, str] = field(default_factory=dict)
    """Unique ids, by ARN, of those whom the trust policy names, as they were when it was written."""
    description: str = ""
    duration_s_max: int = 3600
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[Link, ...] = ()
    inline_policies: Mapping[str, str] = field(default_factory=dict)
    boundary: Link | None = None
    sessions_valid_from_ns: int = 0
    """Sessions issued before it are revoked."""
    revision: int = 0

    @property
    def arn(self) -> str:
        """``arn:aws:iam::000000000000:role/NAME``."""
        return names.arn("role", self.name)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Keys for a program, which may do what its parent may and its own policy does not exclude."""

    name: str
    id: str
    created_ns: int
    parent: str
    """Name of the user."""
    parent_id: str
    policy: str | None = None
    """Narrows what the parent may; None: all of it."""
    description: str = ""
    disabled: bool = False
    access_keys: tuple[AccessKey, ...] = ()
    sessions_valid_from_ns: int = 0
    revision: int = 0

    @property
    def arn(self) -> str:
        """``arn:aws:iam::000000000000:service-account/NAME``; policies see that of the parent."""
        return names.arn("service-account", self.name)


Holder = User | Group | Role
"""What policies are attached to."""
KeyOwner = User | ServiceAccount
"""What has access keys."""
