"""Who asks, and whom a bucket policy or a trust policy names.

Invariants: nobody is matched by a part of a name, or gains by the name of one who is gone; an anonymous request is
matched by ``*`` alone; an entry that this store cannot have (a service, a federation) matches nobody.

An ARN here is one of ``arn:aws:iam::ACCOUNT:root``, ``…:user/NAME``, ``…:role/NAME``, ``…:service-account/NAME`` and,
for a session of a role, ``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``.

Source: IAM User Guide, "AWS JSON policy elements: Principal", "AWS JSON policy elements: NotPrincipal".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tickvault.security.policy.limits import PRINCIPAL_LENGTH_MAX, VALUES_MAX, check_length, refuse, shown
from tickvault.security.policy.strict_json import JsonObject

PrincipalType = Literal["root", "user", "role", "service-account", "anonymous"]

_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ROOT_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root", re.ASCII)
_IDENTITY_ARN = re.compile(
    r"arn:aws[a-z-]*:(?:iam::\d{12}:(?:user|role|service-account)|sts::\d{12}:(?:assumed-role|federated-user))"
    r"/[\w+=,.@/-]+",
    re.ASCII,
)
_SESSION_ARN = re.compile(r"(arn:aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+")
_FOREIGN = ("Service", "Federated", "CanonicalUser")
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Principal(NamedTuple):
    """Who makes a request."""

    arn: str
    """Of a role's session the session's; of a service account its own, or its parent's (see `PolicySet`)."""
    account_id: str
    """Twelve digits; ``""`` for anonymous."""
    user_name: str
    user_id: str
    """What ``aws:userid`` says: of a user the unique id, of a role ``ROLE_ID:SESSION``."""
    kind: PrincipalType
    tags: Mapping[str, str] = _NO_TAGS
    groups: tuple[str, ...] = ()
    """For whoever gathers the policies; no element of a policy names a group."""


ANONYMOUS = Principal("", "", "", "anonymous", "anonymous")


def role_arn(principal: Principal) -> str:
    """Return the ARN of the role whose session a principal is, ``""`` for any other."""
    return _role_of(principal.arn) if principal.kind == "role" else ""


@lru_cache(maxsize=1024)
def _role_of(session_arn: str) -> str:
    # Roles have no path here, so the session's ARN tells the role's.
    match = _SESSION_ARN.fullmatch(session_arn)
    return f"{match[1]}:iam::{match[2]}:role/{match[3]}" if match else session_arn


class Named(IntEnum):
    """How an element names a principal, from least to most."""

    NOT = 0
    ACCOUNT = 1
    """By its account, which leaves it to the identity's own policies."""
    ROLE = 2
    """By the role that the session is of."""
    ITSELF = 3
    """By its own ARN."""
    EVERYONE = 4


class PrincipalElement:
    """The value of ``Principal`` or ``NotPrincipal``."""

    __slots__ = ("_accounts", "_arns", "_ids", "everyone", "foreign", "given", "negated")

    def __init__(
        self, given: Mapping[str, Sequence[str]], *, negated: bool, ids: Mapping[str, str] | None = None
    ) -> None:
        names = given.get("AWS", ())
        self._ids = ids
        self.given = given
        self.negated = negated
        self.everyone = "*" in names
        self.foreign = tuple(f"{kind} {name}" for kind in _FOREIGN for name in given.get(kind, ()))
        roots = (_ROOT_ARN.fullmatch(name) for name in names)
        self._accounts = frozenset(name for name in names if _ACCOUNT.fullmatch(name)).union(
            match[1] for match in roots if match
        )
        self._arns = frozenset(names)

    def naming(self, principal: Principal) -> Named:
        """Tell how the listed names name a principal, whether they stand in ``Principal`` or ``NotPrincipal``."""
        return Named.EVERYONE if self.everyone else self._by_name(principal)

    def _by_name(self, principal: Principal) -> Named:
        """Tell how the names but ``*`` name a principal."""
        if principal.kind == "anonymous":
            return Named.NOT
        if principal.arn in self._arns and self._is_meant(principal.arn, principal):
            return Named.ITSELF
        of_role = role_arn(principal)
        # A role of another's name is still named by its account.
        if of_role in self._arns and principal.kind == "role" and self._is_meant(of_role, principal):
            return Named.ROLE
        if principal.account_id in self._accounts:
            return Named.ITSELF if principal.kind == "root" else Named.ACCOUNT
        return Named.NOT

    @property
    def identities(self) -> frozenset[str]:
        """The ARNs of users, roles, sessions of roles and service accounts among the names."""
        return frozenset(name for name in self._arns if _IDENTITY_ARN.fullmatch(name))

    def _is_meant(self, name: str, principal: Principal) -> bool:
        """Tell whether a principal is the one that had a name when the policy was written."""
        if self._ids is None or principal.kind == "root":
            return True
        return self._ids.get(name) == principal.user_id.partition(":")[0]

    def matched(self, principal: Principal) -> Named:
        """Tell whether, and how closely, the statement is about a principal."""
        named = self.naming(principal)
        if not self.negated:
            return named
        # An account in NotPrincipal exempts its root only; its users are exempted by their own names.
        return Named.EVERYONE if named <= Named.ACCOUNT else Named.NOT

    def trusting(self, principal: Principal) -> Named:
        """As `matched`, for an Allow of a trust policy: a principal's own name counts, though ``*`` stand beside it.

        There ``*`` leaves the matter to the policies of the identity, and a name is enough by itself.
        """
        if self.everyone and not self.negated:
            named = self._by_name(principal)
            return named if named > Named.ACCOUNT else Named.EVERYONE
        return self.matched(principal)

    def to_json(self) -> str | dict[str, str | list[str]]:
        """Return the canonical form."""
        if self.given == {"AWS": ("*",)}:
            return "*"
        return {kind: names[0] if len(names) == 1 else list(names) for kind, names in self.given.items()}


def read_principal(value: Any, place: str, *, negated: bool, ids: Mapping[str, str] | None = None) -> PrincipalElement:
    """Return the element that a JSON value is.

    Parameters
    ----------
    ids : mapping of str to str, optional
        Of those named, by ARN: the unique ids that they must have; None: whoever has the name is meant.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    if value == "*" and isinstance(value, str):
        return PrincipalElement({"AWS": ("*",)}, negated=negated)
    if not isinstance(value, JsonObject):
        refuse(
            place,
            f'must be "*" or an object such as {{"AWS": "arn:aws:iam::123456789012:user/NAME"}}, was {shown(value)}',
        )
    if value.repeated:
        refuse(place, f"the name {shown(value.repeated[0])} stands twice; put its values into one list")
    if not value:
        refuse(place, "is empty; name at least one principal")
    given: dict[str, tuple[str, ...]] = {}
    for kind, names in value.items():
        inner = f"{place}.{kind}" if kind.isidentifier() else f"{place}[{shown(kind)}]"
        if kind != "AWS" and kind not in _FOREIGN:
            refuse(inner, f"no such kind of principal; there are AWS, {', '.join(_FOREIGN)}, in this case of letters")
        listed = [names] if isinstance(names, str) else names
        if not isinstance(listed, list) or not listed:
            refuse(inner, f"must be a text or a list of texts, not empty, was {shown(names)}")
        if len(listed) > VALUES_MAX:
            refuse(inner, f"has {len(listed):,} values; at most {VALUES_MAX} are read")
        for index, name in enumerate(listed):
            _check_name(kind, name, f"{inner}[{index}]" if isinstance(names, list) else inner)
        given[kind] = tuple(dict.fromkeys(listed))
    return PrincipalElement(given, negated=negated, ids=ids)


def _check_name(kind: str, name: Any, place: str) -> None:
    if not isinstance(name, str) or not name or not name.isprintable():
        refuse(place, f"must be a text, was {shown(name)}")
    check_length(place, name, PRINCIPAL_LENGTH_MAX)
    if kind != "AWS" or name == "*":
        return
    if _ACCOUNT.fullmatch(name) or _ROOT_ARN.fullmatch(name) or _IDENTITY_ARN.fullmatch(name):
        return
    if "*" in name or "?" in name or "${" in name:
        refuse(
            place,
            f"{shown(name)} names a principal in part; a wildcard or a variable stands in no name of a principal. "
            'Write "*", and a condition on aws:PrincipalArn',
        )
    refuse(
        place,
        f"{shown(name)} is no principal; it must be '*', an account of twelve digits, or an ARN such as "
        "arn:aws:iam::123456789012:user/NAME or …:role/NAME",
    )
