"""Policies in: from the text that AWS tools write to what can be asked.

Invariants: what is read is what was meant or an error: an element, an operator or a form that is not known is never
passed over; every fault names its place, such as ``Statement[3].Condition.IpAddress["aws:SourceIp"]``, the value and
what to do; a policy of a bucket is about that bucket alone; reading the canonical text again gives the same policy.

Source: IAM User Guide, "IAM JSON policy elements reference", "Grammar of the IAM JSON policy language"; Amazon S3
User Guide, "Policies and permissions in Amazon S3".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tickvault.errors import InvalidInputError
from tickvault.security.policy.arns import bucket_of
from tickvault.security.policy.canonical import canonical_json
from tickvault.security.policy.conditions import Condition, read_conditions
from tickvault.security.policy.index import StatementIndex
from tickvault.security.policy.limits import (
    ACTION_LENGTH_MAX,
    ID_LENGTH_MAX,
    POLICY_SIZE_MAX,
    RESOURCE_LENGTH_MAX,
    SID_LENGTH_MAX,
    STATEMENTS_MAX,
    VALUES_MAX,
    WARNINGS_MAX,
    PolicyKind,
    check_length,
    refuse,
    shown,
)
from tickvault.security.policy.oversight import can_apply, oversights
from tickvault.security.policy.principals import PrincipalElement, read_principal
from tickvault.security.policy.statement import Effect, Statement
from tickvault.security.policy.strict_json import JsonObject, Number, read_json

WITH_VARIABLES = "2012-10-17"
VERSIONS = (WITH_VARIABLES, "2008-10-17")

_ELEMENTS = ("Version", "Id", "Statement")
_STATEMENT_ELEMENTS = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)
_ACTION = re.compile(r"(?:\*|[A-Za-z0-9-]+):[A-Za-z0-9*?-]+|\*+", re.ASCII)
_SID = re.compile(r"[A-Za-z0-9]*", re.ASCII)


class Policy:
    """A policy, read and compiled. `parse_policy` makes it; it never changes."""

    __slots__ = ("_json", "id", "index", "kind", "statements", "version", "warnings")

    def __init__(
        self, kind: PolicyKind, version: str, policy_id: str | None, statements: tuple[Statement, ...], *, title: str
    ) -> None:
        self.kind = kind
        self.version = version
        self.id = policy_id
        self.statements = statements
        self.index = StatementIndex([("", self.statements)])
        """For decisions about one resource policy."""
        self.warnings = tuple(oversights(statements, variables=version == WITH_VARIABLES))[:WARNINGS_MAX]
        """What was read as written, but likely not meant."""
        self._json = canonical_json(version, policy_id, statements)
        size, size_max = len(self._json.encode("utf-8")), POLICY_SIZE_MAX[kind]
        if size > size_max:
            refuse(
                title, f"has {size:,} bytes without white space; the most is {size_max:,}. Split it, or use wildcards"
            )

    @property
    def identities(self) -> frozenset[str]:
        """The ARNs of users, roles, sessions of roles and service accounts that it names as principals."""
        elements = [statement.principal for statement in self.statements if statement.principal is not None]
        return frozenset[str]().union(*(element.identities for element in elements))

    def to_json(self) -> str:
        """Return the canonical text: elements in one order, no white space, values of conditions as texts."""
        return self._json

    def __repr__(self) -> str:
        return f"<Policy {self.kind}, {len(self.statements)} statements>"


def parse_policy(
    source: str | bytes | Mapping[str, Any],
    *,
    kind: PolicyKind,
    for_bucket: str | None = None,
    principal_ids: Mapping[str, str] | None = None,
) -> Policy:
    """Read a policy.

    Parameters
    ----------
    source : str, bytes or mapping
        JSON, or what JSON stands for.
    kind : {"identity", "bucket", "session", "trust"}
        What it will be attached to. Of a bucket or of a role's trust it must name principals, of an identity or a
        session it must not; a trust policy names no resource.
    for_bucket : str, optional
        The bucket that a bucket policy is for: every resource must lie in it.
    principal_ids : mapping of str to str, optional
        The unique ids, by ARN, of those whom the policy names. What it gives them it gives to nobody who has another
        id, or whose ARN is not there; what it denies them it denies to whoever has the name. None: names alone count.

    Raises
    ------
    InvalidInputError
        It is no policy of this kind; the message names the place.
    """
    if kind not in POLICY_SIZE_MAX:
        raise InvalidInputError(f"kind {shown(kind)}: it is one of {', '.join(POLICY_SIZE_MAX)}")
    title = f"{kind} policy"
    document = read_json(source, place=title)
    _check_elements(document, _ELEMENTS, title)
    version = document.get("Version", "2008-10-17")
    if not isinstance(version, str) or version not in VERSIONS:
        refuse(f"{title}: Version", f"must be {' or '.join(VERSIONS)}, was {shown(version)}")
    policy_id = _text(document["Id"], f"{title}: Id", ID_LENGTH_MAX) if "Id" in document else None
    if "Statement" not in document:
        refuse(f"{title}: Statement", "is missing; a policy has at least one statement")
    given = document["Statement"]
    listed = given if isinstance(given, list) else [given]
    if not listed:
        refuse(f"{title}: Statement", "is empty; a policy has at least one statement")
    if len(listed) > STATEMENTS_MAX:
        refuse(f"{title}: Statement", f"has {len(listed):,} statements; at most {STATEMENTS_MAX} are read")
    variables = version == WITH_VARIABLES
    statements: list[Statement] = []
    sids: dict[str, int] = {}
    for index, value in enumerate(listed):
        statement = _statement(
            value, index, title, kind=kind, for_bucket=for_bucket, variables=variables, principal_ids=principal_ids
        )
        if statement.sid and sids.setdefault(statement.sid, index) != index:
            refuse(
                f"{title}: Statement[{index}].Sid",
                f"{shown(statement.sid)} is also that of Statement[{sids[statement.sid]}]; each has its own",
            )
        statements.append(statement)
    return Policy(kind, version, policy_id, tuple(statements), title=title)


def _check_elements(value: JsonObject, known: tuple[str, ...], place: str) -> None:
    if value.repeated:
        refuse(place, f"the element {shown(value.repeated[0])} stands twice; it may stand once")
    for name in value:
        if name not in known:
            near = [element for element in known if element.lower() == name.lower()]
            what = f"write {near[0]}" if near else f"there are {', '.join(known)}"
            refuse(place, f"the element {shown(name)} is unknown; {what}")


def _text(value: Any, place: str, length_max: int) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        refuse(place, f"must be a text, was {shown(value)}")
    check_length(place, value, length_max)
    return value


def _texts(value: Any, place: str, length_max: int) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (_text(value, place, length_max),)
    if not value:
        refuse(place, "is empty; name at least one")
    if len(value) > VALUES_MAX:
        refuse(place, f"has {len(value):,} values; at most {VALUES_MAX} are read")
    return tuple(dict.fromkeys(_text(one, f"{place}[{index}]", length_max) for index, one in enumerate(value)))


def _one_of(value: JsonObject, place: str, plain: str, *, needed: bool) -> str | None:
    """Return which of an element and its Not form stands in a statement."""
    negated = f"Not{plain}"
    if plain in value and negated in value:
        refuse(place, f"has both {plain} and {negated}; it has one of them")
    if plain in value:
        return plain
    if negated in value:
        return negated
    if needed:
        refuse(place, f"has neither {plain} nor {negated}; add one")
    return None


def _statement(
    value: Any,
    index: int,
    title: str,
    *,
    kind: PolicyKind,
    for_bucket: str | None,
    variables: bool,
    principal_ids: Mapping[str, str] | None,
) -> Statement:
    place = f"{title}: Statement[{index}]"
    if not isinstance(value, JsonObject):
        refuse(place, f"must be an object, was {shown(value)}")
    _check_elements(value, _STATEMENT_ELEMENTS, place)
    sid = _read_sid(value.get("Sid", ""), f"{place}.Sid", kind)
    if "Effect" not in value:
        refuse(place, "has no Effect; add Allow or Deny")
    effect = _read_effect(value["Effect"], f"{place}.Effect")

    principal: PrincipalElement | None = None
    with_principal = kind in ("bucket", "trust")
    name = _one_of(value, place, "Principal", needed=with_principal)
    if name is not None:
        if not with_principal:
            refuse(f"{place}.{name}", f"has no place here: a policy of kind {kind} is about whom it is attached to")
        negated = name == "NotPrincipal"
        # The name alone counts where it takes something away: from one denied, or from one whom an Allow leaves out.
        ids = principal_ids if (effect == "Deny") == negated else None
        principal = read_principal(value[name], f"{place}.{name}", negated=negated, ids=ids)

    action_element = _one_of(value, place, "Action", needed=True)
    assert action_element is not None
    actions = _texts(value[action_element], f"{place}.{action_element}", ACTION_LENGTH_MAX)
    for action in actions:
        if not _ACTION.fullmatch(action):
            refuse(
                f"{place}.{action_element}",
                f"{shown(action)} is no action; it is '*' or has the form service:Name, such as s3:GetObject",
            )

    resource_element = _one_of(value, place, "Resource", needed=kind != "trust")
    resources: tuple[str, ...] = ()
    if resource_element is not None:
        if kind == "trust":
            refuse(
                f"{place}.{resource_element}", "has no place here: a trust policy is about the role that it belongs to"
            )
        resources = _texts(value[resource_element], f"{place}.{resource_element}", RESOURCE_LENGTH_MAX)
        if kind == "bucket":
            _check_bucket(resources, f"{place}.{resource_element}", for_bucket)

    conditions: tuple[Condition, ...] = ()
    if "Condition" in value:
        conditions = read_conditions(
            value["Condition"], f"{place}.Condition", deny=effect == "Deny", variables=variables
        )
    statement = Statement(
        index=index,
        sid=sid,
        effect=effect,
        principal=principal,
        actions=actions,
        not_action=action_element == "NotAction",
        resources=resources,
        not_resource=resource_element == "NotResource",
        conditions=conditions,
        place=place,
        variables=variables,
    )
    if kind == "bucket" and not can_apply(statement):
        refuse(
            place,
            f"none of its actions is one on its resources {shown(', '.join(resources))}: actions on the bucket need "
            "arn:aws:s3:::BUCKET, those on objects arn:aws:s3:::BUCKET/*",
        )
    return statement


def _read_sid(value: Any, place: str, kind: PolicyKind) -> str:
    sid = _text(value, place, SID_LENGTH_MAX)
    if kind == "bucket":
        if sid and not sid.isprintable():
            refuse(place, f"{shown(sid)} holds a character that cannot be printed")
    elif not _SID.fullmatch(sid):
        refuse(place, f"{shown(sid)} may hold letters and digits of ASCII only")
    return sid


def _read_effect(value: Any, place: str) -> Effect:
    if not isinstance(value, str) or value not in ("Allow", "Deny"):
        refuse(place, f"must be Allow or Deny, in this case of letters, was {shown(value)}")
    return "Allow" if value == "Allow" else "Deny"


def _check_bucket(resources: tuple[str, ...], place: str, for_bucket: str | None) -> None:
    for resource in resources:
        bucket = bucket_of(resource)
        wild = any(character in bucket for character in "*?$")
        if not bucket or wild or (for_bucket is not None and bucket != for_bucket):
            name = for_bucket or "BUCKET"
            refuse(
                place,
                f"{shown(resource)} is not of the policy's bucket; write arn:aws:s3:::{name} for the bucket and "
                f"arn:aws:s3:::{name}/* for its objects",
            )
