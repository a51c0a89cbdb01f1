"""Is a bucket policy public, and what a bucket does about it.

A policy is public if one of its Allows is: it names everyone and nothing in its conditions ties it to fixed values.
A value with a wildcard or a variable is not fixed, and neither is a range of addresses so wide that it is the
Internet: wider than /8 for IPv4, than /32 for IPv6.

Invariants: in doubt a policy is public; a condition counts only if a request without the key fails it; a Deny never
makes a policy less public, as S3 does not weigh it either.

Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of 'public'".
"""

from __future__ import annotations

from typing import NamedTuple

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.policy.conditions import Condition
from tickvault.security.policy.document import Policy
from tickvault.security.policy.operators import parse_network
from tickvault.security.policy.principals import Principal
from tickvault.security.policy.statement import Statement

PREFIX_LENGTH_MIN = {4: 8, 6: 32}
"""Shortest prefix of a range of addresses that still counts as fixed, by version of IP."""

#: Keys, in lower case, that tie a statement to someone when their values are fixed.
FIXING_KEYS = frozenset(
    {
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    }
)

_FIXING_OPERATORS = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"})


class PublicAccessBlock(NamedTuple):
    """The four settings of a bucket."""

    block_public_acls: bool = True
    """Refuse to set an ACL that is public."""
    ignore_public_acls: bool = True
    """Act as if no ACL were public."""
    block_public_policy: bool = True
    """Refuse to set a bucket policy that is public."""
    restrict_public_buckets: bool = True
    """If the bucket policy is public, let nobody in without a signature."""

    def check_policy(self, policy: Policy) -> None:
        """Raise unless the bucket may be given this policy.

        Raises
        ------
        AccessDeniedError
            The policy is public and `block_public_policy` is set.
        """
        if self.block_public_policy:
            found = public_statement(policy)
            if found is not None:
                raise AccessDeniedError(
                    f"bucket policy: {found.name} is public, and the bucket's BlockPublicPolicy refuses that; name the "
                    "principals, add a condition with fixed values, or turn BlockPublicPolicy off"
                )

    def policy_for(self, principal: Principal, policy: Policy | None) -> Policy | None:
        """Return the bucket policy as it counts for a principal: none for anonymous, if access is restricted."""
        if policy is not None and self.restrict_public_buckets and principal.kind == "anonymous" and is_public(policy):
            return None
        return policy


#: What a bucket without the settings does.
NO_BLOCK = PublicAccessBlock(False, False, False, False)


def is_public(policy: Policy) -> bool:
    """Tell whether a bucket policy gives access to the public."""
    return public_statement(policy) is not None


def public_statement(policy: Policy) -> Statement | None:
    """Return the first statement that makes a bucket policy public, None if none does."""
    if policy.kind != "bucket":
        raise InvalidInputError(f"a policy of kind {policy.kind} cannot be public; only that of a bucket can")
    for statement in policy.statements:
        if statement.effect == "Allow" and _names_everyone(statement) and not any(map(_fixes, statement.conditions)):
            return statement
    return None


def _names_everyone(statement: Statement) -> bool:
    element = statement.principal
    assert element is not None, "a policy of a bucket names principals"
    return element.everyone or element.negated


def _fixes(condition: Condition) -> bool:
    """Tell whether a condition admits only requests with fixed values of a key that ties them to someone."""
    # IfExists and ForAllValues let a request through that has no such key.
    if condition.operator.endswith("IfExists") or condition.quantifier == "ForAllValues":
        return False
    if condition.key_folded == "aws:sourceip":
        return condition.base == "IpAddress" and all(map(_is_narrow, condition.values))
    if condition.key_folded not in FIXING_KEYS or condition.base not in _FIXING_OPERATORS:
        return False
    return all(_is_fixed(condition, value) for value in condition.values)


def _is_fixed(condition: Condition, value: str) -> bool:
    if "${" in value:
        return False
    if condition.base in ("StringEquals", "StringEqualsIgnoreCase"):
        return True
    return "*" not in value and "?" not in value


def _is_narrow(value: str) -> bool:
    network = parse_network(value)
    return network.prefix_length >= PREFIX_LENGTH_MIN[network.version]
