"""When a bucket policy is public, and what the block does about it."""

from __future__ import annotations

from typing import Any

import pytest

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.policy import (
    ANONYMOUS,
    NO_BLOCK,
    Policy,
    Principal,
    PublicAccessBlock,
    is_public,
    parse_policy,
    role_policy,
)

ALICE = Principal("arn:aws:iam::123456789012:user/alice", "123456789012", "alice", "AIDA1", "user")


def policy(**change: Any) -> Policy:
    entry = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **change}
    listed = [{name: value for name, value in entry.items() if value is not None}]
    return parse_policy({"Version": "2012-10-17", "Statement": listed}, kind="bucket", for_bucket="b")


def with_condition(operator: str, key: str, value: Any) -> Policy:
    return policy(Condition={operator: {key: value}})


@pytest.mark.parametrize(
    "principal", ["*", {"AWS": "*"}, {"AWS": ["123456789012", "*"]}], ids=str
)  # fmt: skip
def test_everyone_is_the_public(principal: Any) -> None:
    assert is_public(policy(Principal=principal))
    assert not is_public(policy(Principal=principal, Effect="Deny"))


@pytest.mark.parametrize(
    "principal", [{"AWS": "123456789012"}, {"AWS": ALICE.arn}, {"Service": "x.amazonaws.com"}], ids=str
)
def test_named_principals_are_not(principal: Any) -> None:
    assert not is_public(policy(Principal=principal))


def test_allowing_all_but_some_is_public() -> None:
    assert is_public(policy(Principal=None, NotPrincipal={"AWS": ALICE.arn}))


@pytest.mark.parametrize(
    ("operator", "key", "value", "public"),
    [
        ("IpAddress", "aws:SourceIp", "192.0.2.0/24", False),
        ("IpAddress", "AWS:sourceip", "192.0.2.0/24", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/7", True),
        ("IpAddress", "aws:SourceIp", "0.0.0.0/0", True),
        ("IpAddress", "aws:SourceIp", "0.0.0.0/1", True),
        ("IpAddress", "aws:SourceIp", ["192.0.2.0/24", "0.0.0.0/1"], True),
        ("IpAddress", "aws:SourceIp", "::ffff:0.0.0.0/96", True),
        ("IpAddress", "aws:SourceIp", "2001:db8::/32", False),
        ("IpAddress", "aws:SourceIp", "2001:d00::/31", True),
        ("IpAddress", "aws:SourceIp", "::/0", True),
        ("IpAddressIfExists", "aws:SourceIp", "192.0.2.0/24", True),
        ("ForAllValues:IpAddress", "aws:SourceIp", "192.0.2.0/24", True),
        ("NotIpAddress", "aws:SourceIp", "192.0.2.0/24", True),
        ("StringEquals", "aws:SourceVpc", "vpc-1", False),
        ("StringEquals", "aws:SourceVpce", ["vpce-1", "vpce-2"], False),
        ("StringLike", "aws:SourceVpc", "vpc-*", True),
        ("StringLike", "aws:SourceVpc", "vpc-1", False),
        ("StringNotEquals", "aws:SourceVpc", "vpc-1", True),
        ("StringEqualsIfExists", "aws:SourceVpc", "vpc-1", True),
        ("ForAnyValue:StringEquals", "aws:PrincipalOrgID", "o-1", False),
        ("StringEquals", "aws:userid", "AIDA1", False),
        ("StringLike", "aws:userid", "AROA1:*", True),
        ("StringEquals", "aws:userid", "${aws:userid}", True),
        ("ArnEquals", "aws:PrincipalArn", ALICE.arn, False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/*", True),
        ("StringEquals", "s3:x-amz-server-side-encryption-aws-kms-key-id", "k", False),
        ("StringEquals", "aws:UserAgent", "mine", True),
        ("StringLike", "aws:Referer", "https://example.com/", True),
        ("Bool", "aws:SecureTransport", "true", True),
        ("Null", "aws:SourceVpc", "false", True),
    ],
)
def test_conditions_that_fix_someone(operator: str, key: str, value: Any, public: bool) -> None:
    assert is_public(with_condition(operator, key, value)) is public


def test_one_public_statement_makes_the_policy_public() -> None:
    entry = {
        "Effect": "Allow",
        "Principal": {"AWS": ALICE.arn},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
    }
    mixed = parse_policy({"Statement": [entry, {**entry, "Sid": "open", "Principal": "*"}]}, kind="bucket")
    assert is_public(mixed)
    with pytest.raises(AccessDeniedError, match="open is public"):
        PublicAccessBlock().check_policy(mixed)
    NO_BLOCK.check_policy(mixed)
    PublicAccessBlock().check_policy(policy(Principal={"AWS": ALICE.arn}))


def test_a_restricted_bucket_lets_nobody_in_without_a_signature() -> None:
    public = policy()
    restricted = PublicAccessBlock(False, False, False, True)
    assert restricted.policy_for(ANONYMOUS, public) is None
    assert restricted.policy_for(ALICE, public) is public
    assert NO_BLOCK.policy_for(ANONYMOUS, public) is public
    assert restricted.policy_for(ANONYMOUS, None) is None
    fixed = with_condition("IpAddress", "aws:SourceIp", "192.0.2.0/24")
    assert restricted.policy_for(ANONYMOUS, fixed) is fixed


def test_only_a_bucket_policy_can_be_public() -> None:
    with pytest.raises(InvalidInputError, match="kind identity"):
        is_public(role_policy("reader"))
