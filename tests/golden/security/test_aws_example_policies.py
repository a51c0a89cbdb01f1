"""Policies in the manner of AWS's documentation, decided as the documentation says.

The situations are those of the Amazon S3 User Guide, "Examples of Amazon S3 bucket policies" and "Identity-based policy
examples for Amazon S3", and of the IAM User Guide, "IAM policy elements: Variables and tags", "Policy evaluation for
requests within a single account" and "Condition operators"; the texts are our own.
"""

from __future__ import annotations

from typing import Any

import pytest

from tickvault.security.policy import ANONYMOUS, AccessRequest, PolicySet, Principal, is_public, parse_policy

ACCOUNT = "111122223333"


def user(name: str, **tags: str) -> Principal:
    return Principal(f"arn:aws:iam::{ACCOUNT}:user/{name}", ACCOUNT, name, f"AIDA{name.upper()}", "user", tags)


CARLOS = user("carlossalazar")
DAVE = user("Dave")
EXAMPLE = "arn:aws:s3:::amzn-s3-demo-bucket"


def asks(action: str, resource: str, who: Principal = DAVE, **context: Any) -> AccessRequest:
    return AccessRequest(
        who, action, resource, {key.replace("__", ":").replace("_", "-"): v for key, v in context.items()}
    )


def allowed(request: AccessRequest, identity: list[Any] | None = None, bucket: list[Any] | None = None) -> bool:
    policies = PolicySet()
    if identity is not None:
        policies = PolicySet({"p": parse_policy({"Version": "2012-10-17", "Statement": identity}, kind="identity")})
    bucket_policy = None
    if bucket is not None:
        bucket_policy = parse_policy({"Version": "2012-10-17", "Statement": bucket}, kind="bucket")
    return policies.decide(request, bucket_policy).allowed


def test_carlos_and_the_bucket_policy_that_denies_him_too() -> None:
    """Policy evaluation within a single account: either policy suffices, and a Deny of either ends it."""
    mine = f"arn:aws:s3:::amzn-s3-demo-bucket-{CARLOS.user_name}-logs"
    identity = [
        {"Sid": "AllowS3ListRead", "Effect": "Allow", "Resource": "arn:aws:s3:::*",
         "Action": ["s3:GetBucketLocation", "s3:GetAccountPublicAccessBlock", "s3:ListAllMyBuckets"]},
        {"Sid": "AllowS3Self", "Effect": "Allow", "Action": ["s3:*"],
         "Resource": ["arn:aws:s3:::amzn-s3-demo-bucket-${aws:username}-logs/*",
                      "arn:aws:s3:::amzn-s3-demo-bucket-${aws:username}-logs"]},
        {"Sid": "DenyS3Logs", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*log*"},
    ]  # fmt: skip
    assert not allowed(asks("s3:PutObject", f"{mine}/f", CARLOS), identity)  # the name holds "log": denied after all
    assert allowed(asks("s3:PutObject", f"{mine}/f", CARLOS), identity[:2])
    assert not allowed(asks("s3:PutObject", f"{mine}/f", DAVE), identity[:2])
    only_carlos = [
        {"Effect": "Allow", "Principal": {"AWS": CARLOS.arn}, "Action": "s3:*", "Resource": [mine, f"{mine}/*"]}
    ]
    assert allowed(asks("s3:PutObject", f"{mine}/f", CARLOS), None, only_carlos)
    assert not allowed(asks("s3:PutObject", f"{mine}/f", CARLOS), identity, only_carlos)


def test_a_home_folder_for_each_user() -> None:
    identity = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [EXAMPLE],
         "Condition": {"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}}},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
         "Resource": [f"{EXAMPLE}/home/${{aws:username}}/*"]},
    ]  # fmt: skip
    assert allowed(asks("s3:ListBucket", EXAMPLE, s3__prefix="home/Dave/x"), identity)
    assert not allowed(asks("s3:ListBucket", EXAMPLE, s3__prefix="home/"), identity)
    assert not allowed(asks("s3:ListBucket", EXAMPLE), identity)
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/home/Dave/a"), identity)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/home/dave/a"), identity)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/home/Dave"), identity)


def test_uploads_that_must_be_encrypted_with_a_key() -> None:
    bucket = [
        {"Sid": "DenyObjectsThatAreNotSSEKMS", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
         "Resource": f"{EXAMPLE}/*",
         "Condition": {"Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "true"}}},
    ]  # fmt: skip
    everything = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    key = {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:111122223333:key/1"}
    with_key = AccessRequest(DAVE, "s3:PutObject", f"{EXAMPLE}/x", key)
    assert allowed(with_key, everything, bucket)
    assert not allowed(with_key._replace(context={}), everything, bucket)
    assert not allowed(with_key, None, bucket)


def test_a_bucket_owner_demands_full_control_of_uploads() -> None:
    bucket = [
        {"Sid": "PolicyForAllowUploadWithACL", "Effect": "Allow", "Principal": {"AWS": DAVE.arn},
         "Action": "s3:PutObject", "Resource": f"{EXAMPLE}/*",
         "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}},
    ]  # fmt: skip
    assert allowed(asks("s3:PutObject", f"{EXAMPLE}/x", s3__x_amz_acl="bucket-owner-full-control"), None, bucket)
    assert not allowed(asks("s3:PutObject", f"{EXAMPLE}/x", s3__x_amz_acl="private"), None, bucket)
    assert not allowed(asks("s3:PutObject", f"{EXAMPLE}/x"), None, bucket)


def test_tags_of_objects() -> None:
    """Allow reading what is tagged environment: production; uploads must have tag keys of a list."""
    bucket = [
        {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
         "Resource": f"{EXAMPLE}/*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/environment": "production"}}},
        {"Effect": "Allow", "Principal": {"AWS": DAVE.arn}, "Action": "s3:PutObjectTagging", "Resource": f"{EXAMPLE}/*",
         "Condition": {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": ["Owner", "CreationDate"]}}},
    ]  # fmt: skip
    tagged = {"s3:ExistingObjectTag/environment": "production"}
    assert allowed(AccessRequest(ANONYMOUS, "s3:GetObject", f"{EXAMPLE}/x", tagged), None, bucket)
    assert not allowed(AccessRequest(ANONYMOUS, "s3:GetObject", f"{EXAMPLE}/x"), None, bucket)

    def tagging(*keys: str) -> AccessRequest:
        return AccessRequest(DAVE, "s3:PutObjectTagging", f"{EXAMPLE}/x", {"s3:RequestObjectTagKeys": keys})

    assert allowed(tagging("Owner"), None, bucket)
    assert allowed(tagging("Owner", "Other"), None, bucket)
    assert not allowed(tagging("Other"), None, bucket)
    assert not allowed(tagging(), None, bucket)


def test_only_https() -> None:
    bucket = [
        {"Sid": "RestrictToTLSRequestsOnly", "Action": "s3:*", "Effect": "Deny", "Resource": [EXAMPLE, f"{EXAMPLE}/*"],
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}, "Principal": "*"},
    ]  # fmt: skip
    everything = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", aws__SecureTransport="true"), everything, bucket)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x", aws__SecureTransport="false"), everything, bucket)
    assert not allowed(asks("s3:ListBucket", EXAMPLE, aws__SecureTransport="false"), everything, bucket)
    assert not is_public(parse_policy({"Statement": bucket}, kind="bucket"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", True),
        ("192.0.2.188", False),
        ("203.0.113.1", False),
        ("2001:db8:1234:5678::1", True),
        ("2001:db8:1234:5678:abcd::1", False),
        ("2001:db8:ffff::1", False),
    ],
)
def test_addresses_of_both_versions(address: str, expected: bool) -> None:
    bucket = [
        {"Sid": "AllowIPmix", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{EXAMPLE}/*",
         "Condition": {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:DB8:1234:5678::/64"]},
                       "NotIpAddress": {"aws:SourceIp": ["192.0.2.128/25", "2001:DB8:1234:5678:ABCD::/80"]}}},
    ]  # fmt: skip
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", ANONYMOUS, aws__SourceIp=address), None, bucket) is expected


def test_a_website_that_may_link() -> None:
    bucket = [
        {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
         "Resource": f"{EXAMPLE}/*",
         "Condition": {"StringLike": {"aws:Referer": ["https://www.example.com/*", "https://example.com/*"]}}},
    ]  # fmt: skip
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", ANONYMOUS, aws__Referer="https://example.com/a"), None, bucket)
    assert not allowed(
        asks("s3:GetObject", f"{EXAMPLE}/x", ANONYMOUS, aws__Referer="https://example.org/"), None, bucket
    )
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x", ANONYMOUS), None, bucket)
    assert is_public(parse_policy({"Version": "2012-10-17", "Statement": bucket}, kind="bucket"))


def test_retention_between_limits() -> None:
    """Object Lock: at most ten days may be set."""
    bucket = [
        {"Sid": "SetRetentionLimits", "Effect": "Deny", "Principal": "*", "Action": ["s3:PutObjectRetention"],
         "Resource": f"{EXAMPLE}/*",
         "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}},
    ]  # fmt: skip
    everything = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    for days, expected in (("10", True), ("11", False), ("many", False)):
        request = asks("s3:PutObjectRetention", f"{EXAMPLE}/x", s3__object_lock_remaining_retention_days=days)
        assert allowed(request, everything, bucket) is expected


def test_listings_of_a_prefix_with_at_most_ten_keys() -> None:
    identity = [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": EXAMPLE,
         "Condition": {"StringEquals": {"s3:prefix": ["projects", ""]},
                       "NumericLessThanEquals": {"s3:max-keys": "10"}}},
    ]  # fmt: skip
    for prefix, keys, expected in (
        ("projects", "10", True),
        ("", "1", True),
        ("projects", "11", False),
        ("x", "1", False),
    ):
        context = {"s3:prefix": prefix, "s3:max-keys": keys}
        assert allowed(AccessRequest(DAVE, "s3:ListBucket", EXAMPLE, context), identity) is expected
    assert not allowed(asks("s3:ListBucket", EXAMPLE, s3__prefix="projects"), identity)


def test_a_tag_of_the_user_must_equal_the_tag_of_the_object() -> None:
    """Policy variables with no value: an inverted operator holds against it, so a user without a team is denied."""
    identity = [
        {"Sid": "AllowForMatchingTag", "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{EXAMPLE}/*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/Team": "${aws:PrincipalTag/Team}"}}},
        {"Sid": "DenyForNoTag", "Effect": "Deny", "Action": "s3:GetObject", "Resource": f"{EXAMPLE}/*",
         "Condition": {"StringNotEquals": {"s3:ExistingObjectTag/Team": "${aws:PrincipalTag/Team}"}}},
    ]  # fmt: skip
    of_blue = {"s3:ExistingObjectTag/Team": "blue"}
    for who, expected in ((user("a", Team="blue"), True), (user("b", Team="red"), False), (user("c"), False)):
        assert allowed(AccessRequest(who, "s3:GetObject", f"{EXAMPLE}/x", of_blue), identity) is expected


def test_default_values_of_variables() -> None:
    identity = [
        {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": f"{EXAMPLE}/${{aws:PrincipalTag/team, 'company-wide'}}/*",
        }
    ]
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/company-wide/x", user("a")), identity)
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/yellow/x", user("a", team="yellow")), identity)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/company-wide/x", user("a", team="yellow")), identity)


def test_access_between_two_dates() -> None:
    identity = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*",
         "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2020-04-01T00:00:00Z"},
                       "DateLessThan": {"aws:CurrentTime": "2020-06-30T23:59:59Z"}}},
    ]  # fmt: skip
    for time, expected in (
        ("2020-05-01T00:00:00Z", True), ("2020-04-01T00:00:00Z", False), ("2020-07-01T00:00:00Z", False)
    ):  # fmt: skip
        assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", aws__CurrentTime=time), identity) is expected


def test_temporary_credentials_are_told_by_their_time_of_issue() -> None:
    identity = [
        {"Effect": "Deny", "Action": "s3:*", "Resource": "*",
         "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2030-01-01T00:00:00Z"}}},
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"Null": {"aws:TokenIssueTime": "false"}}},
    ]  # fmt: skip
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x"), identity)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x", aws__TokenIssueTime="2029-12-31T00:00:00Z"), identity)
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", aws__TokenIssueTime="2030-01-02T00:00:00Z"), identity)


def test_everyone_but_two_is_denied_by_their_arn() -> None:
    """The way that IAM recommends in place of NotPrincipal."""
    bucket = [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [EXAMPLE, f"{EXAMPLE}/*"],
         "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [DAVE.arn, f"arn:aws:iam::{ACCOUNT}:role/quant"]}}},
    ]  # fmt: skip
    everything = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    session = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/quant/s", ACCOUNT, "", "AROA1:s", "role")
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x"), everything, bucket)
    assert allowed(asks("s3:GetObject", f"{EXAMPLE}/x", session), everything, bucket)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x", CARLOS), everything, bucket)
    assert not allowed(asks("s3:GetObject", f"{EXAMPLE}/x", ANONYMOUS), everything, bucket)
