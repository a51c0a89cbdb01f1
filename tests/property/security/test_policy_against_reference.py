"""The compiled decision against the plain one, and laws that hold for any policies."""

from __future__ import annotations

from typing import Any

import policy_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.security.policy import (
    ANONYMOUS,
    AccessRequest,
    DecisionCache,
    Policy,
    PolicySet,
    Principal,
    Reason,
    explain,
    parse_policy,
)
from tickvault.security.policy.keys import full_context
from tickvault.security.policy.principals import role_arn

ACCOUNT = "123456789012"
USERS = [
    Principal(f"arn:aws:iam::{ACCOUNT}:user/al", ACCOUNT, "al", "AIDA1", "user", {"desk": "fx"}),
    Principal(f"arn:aws:iam::{ACCOUNT}:user/b*", ACCOUNT, "b*", "AIDA2", "user"),
]
SESSION = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/quant/s", ACCOUNT, "", "AROA1:s", "role", {"desk": "eq"})
ROOT = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "", ACCOUNT, "root")
PRINCIPALS = [*USERS, SESSION, ROOT, ANONYMOUS]

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:PutBucketPolicy", "s3:DeleteObjectVersion"]
ACTION_PATTERNS = ["*", "s3:*", "s3:Get*", "S3:putobject", "s3:?utObject", "s3:*Bucket*", "s3:ListBucket", "iam:*"]
TAILS = [
    "",
    "/*",
    "/a/*",
    "/a/b",
    "/*/b",
    "/?/*",
    "/${aws:username}/*",
    "/${aws:PrincipalTag/desk, 'none'}/*",
    "/${*}/b",
]
BUCKETS = ["one", "two"]
KEYS = ["", "/a/b", "/al/b", "/b*/b", "/bx/b", "/fx/c", "/none/c", "/*/b", "/b"]


def some(values: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)


OF_TEXT = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase"]
VALUES: dict[str, tuple[list[str], list[str], list[str]]] = {
    # key: operators, values in policies, values in requests
    "s3:prefix": (OF_TEXT, ["a/*", "a/b", "A/B", "*", "", "${aws:username}/*"], ["a/b", "al/c", "", "b*/x"]),
    "s3:max-keys": (
        ["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"],
        ["1", "10"],
        ["1", "5", "10"],
    ),
    "aws:SourceIp": (
        ["IpAddress", "NotIpAddress"],
        ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"],
        ["10.9.9.9", "192.0.2.1", "2001:db8::1"],
    ),
    "aws:SecureTransport": (["Bool"], ["true", "false"], ["true", "false"]),
    "aws:CurrentTime": (
        ["DateLessThan", "DateGreaterThan"],
        ["2030-01-01T00:00:00Z", "2031-01-01T00:00:00+05:30"],
        ["2029-12-31T23:59:59Z", "2030-12-31T18:29:59Z", "2030-12-31T18:30:00Z"],
    ),
    "aws:username": (OF_TEXT, ["al", "AL", "b*", "${*}*", "a?"], []),
}  # fmt: skip
TAGS = ["red", "green", "blue"]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    block: dict[str, dict[str, Any]] = {}
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["plain", "null", "set"]))
        if kind == "null":
            operator, key, values = (
                "Null",
                draw(st.sampled_from(list(VALUES))),
                draw(st.sampled_from(["true", "false"])),
            )
        elif kind == "set":
            operator = draw(st.sampled_from(["ForAllValues:", "ForAnyValue:"])) + draw(st.sampled_from(OF_TEXT[:4]))
            operator += draw(st.sampled_from(["", "IfExists"]))
            key, values = "s3:RequestObjectTagKeys", draw(some([*TAGS, "*e*"]))
        else:
            key = draw(st.sampled_from(list(VALUES)))
            operator = draw(st.sampled_from(VALUES[key][0])) + draw(st.sampled_from(["", "", "IfExists"]))
            values = draw(some(VALUES[key][1]))
        block.setdefault(operator, {})[key] = values
    return {"Condition": block} if block else {}


NAMES = ["*", ACCOUNT, ROOT.arn, USERS[0].arn, SESSION.arn, role_arn(SESSION), f"arn:aws:iam::{ACCOUNT}:user/other"]


@st.composite
def statements(draw: st.DrawFn, bucket: str | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    entry[draw(st.sampled_from(["Action", "Action", "Action", "NotAction"]))] = draw(some(ACTION_PATTERNS))
    if bucket is None:
        patterns = [f"arn:aws:s3:::{name}{tail}" for name in (*BUCKETS, "*", "o?e") for tail in TAILS] + ["*"] * 9
    else:
        patterns = [f"arn:aws:s3:::{bucket}{tail}" for tail in TAILS]
        entry[draw(st.sampled_from(["Principal", "Principal", "NotPrincipal"]))] = {"AWS": draw(some(NAMES))}
    entry[draw(st.sampled_from(["Resource", "Resource", "Resource", "NotResource"]))] = draw(some(patterns))
    return entry | draw(conditions())


VERSIONS = st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17"])


def documents(bucket: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda version, listed: {"Version": version, "Statement": listed},
        VERSIONS,
        st.lists(statements(bucket), min_size=1, max_size=4),
    )


@st.composite
def requests(draw: st.DrawFn) -> AccessRequest:
    bucket = draw(st.sampled_from(BUCKETS))
    context: dict[str, Any] = {}
    for key, (_, _, values) in VALUES.items():
        if values and draw(st.booleans()):
            context[draw(st.sampled_from([key, key.upper()]))] = draw(st.sampled_from(values))
    if draw(st.booleans()):
        context["s3:RequestObjectTagKeys"] = tuple(draw(st.lists(st.sampled_from(TAGS), max_size=2)))
    resource = f"arn:aws:s3:::{bucket}{draw(st.sampled_from(KEYS))}"
    return AccessRequest(draw(st.sampled_from(PRINCIPALS)), draw(st.sampled_from(ACTIONS)), resource, context)


def read(document: dict[str, Any], kind: Any) -> Policy | None:
    """Return the policy, None for one that is refused as its actions do not fit its resources."""
    try:
        return parse_policy(document, kind=kind)
    except ValueError as error:
        assert "none of its actions" in str(error), error
        return None


def asked(request: AccessRequest) -> dict[str, Any]:
    who = request.principal
    named = {"kind": who.kind, "arn": who.arn, "account": who.account_id, "role": role_arn(who)}
    context = full_context(who, request.context)
    return {"who": named, "action": request.action, "resource": request.resource, "context": context}


counts = {"allowed": 0, "denied": 0}


@settings(max_examples=300, deadline=None)
@given(
    requests(), st.lists(documents(), max_size=2), st.none() | documents(), st.lists(documents(), max_size=2), st.data()
)
def compare(
    request: AccessRequest, identity: list[Any], boundary: Any, sessions: list[Any], data: st.DataObject
) -> None:
    bucket = data.draw(st.none() | documents(request.resource[13:16]))
    bucket_policy = read(bucket, "bucket") if bucket else None
    if bucket_policy is None:
        bucket = None
    policies = PolicySet(
        {str(index): parse_policy(document, kind="identity") for index, document in enumerate(identity)},
        boundary=None if boundary is None else parse_policy(boundary, kind="identity"),
        sessions=[parse_policy(document, kind="identity") for document in sessions],
    )
    expected = reference.decide(asked(request), identity, boundary, sessions, bucket)
    decision = policies.decide(request, bucket_policy)
    assert decision.allowed is expected, explain(policies, request, bucket_policy).text()
    counts["allowed" if expected else "denied"] += 1

    cache = DecisionCache()
    assert cache.decide(policies, request, bucket_policy, generation=1) == decision
    assert cache.decide(policies, request, bucket_policy, generation=1) == decision
    # A statement that matches is what the verdict names.
    told = explain(policies, request, bucket_policy)
    assert told.decision == decision
    if decision.sid:
        effect = "Allow" if decision.allowed else "Deny"
        assert any(
            (f.policy, f.sid, f.effect, f.matched) == (decision.policy, decision.sid, effect, True)
            for f in told.findings
        )


def test_the_compiled_decision_is_the_plain_one() -> None:
    compare()
    # If one answer hardly came up, the comparison compared nothing.
    assert min(counts.values()) > sum(counts.values()) // 50, counts


def policy_set(identity: list[Any], **more: Any) -> PolicySet:
    named = {str(index): parse_policy(document, kind="identity") for index, document in enumerate(identity)}
    return PolicySet(named, **more)


@settings(max_examples=100, deadline=None)
@given(requests(), st.lists(documents(), min_size=1, max_size=2), documents())
def test_a_deny_that_matches_is_the_end(request: AccessRequest, identity: list[Any], deny: Any) -> None:
    denying = {**deny, "Statement": [{**entry, "Effect": "Deny"} for entry in deny["Statement"]]}
    matched = bool(reference.found(denying, "Deny", asked(request)))
    decision = policy_set([*identity, denying]).decide(request)
    if matched:
        assert decision.reason is Reason.EXPLICIT_DENY
    else:
        assert decision == policy_set(identity).decide(request)


@settings(max_examples=100, deadline=None)
@given(requests(), st.lists(documents(), max_size=2), documents())
def test_neither_a_session_policy_nor_a_boundary_adds_anything(
    request: AccessRequest, identity: list[Any], limit: Any
) -> None:
    base = policy_set(identity).decide(request).allowed
    policy = parse_policy(limit, kind="identity")
    limited = policy_set(identity, sessions=[policy]).decide(request).allowed
    bounded = policy_set(identity, boundary=policy).decide(request).allowed
    assert limited <= base
    assert bounded <= base
    # Allowing everything beside it widens up to the base, no further.
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    wide = parse_policy({**limit, "Statement": [*limit["Statement"], everything]}, kind="identity")
    assert limited <= policy_set(identity, sessions=[wide]).decide(request).allowed <= base


@settings(max_examples=100, deadline=None)
@given(requests(), st.lists(documents(), max_size=2), st.lists(documents(), max_size=2), st.data())
def test_a_service_account_never_exceeds_its_parent(
    request: AccessRequest, identity: list[Any], own: list[Any], data: st.DataObject
) -> None:
    bucket = data.draw(st.none() | documents(request.resource[13:16]))
    bucket_policy = read(bucket, "bucket") if bucket else None
    parent = policy_set(identity)
    robot = Principal(f"arn:aws:iam::{ACCOUNT}:service-account/r", ACCOUNT, "al", "SA1", "service-account")
    account = PolicySet.service_account(
        parent, request.principal, {str(i): parse_policy(d, kind="identity") for i, d in enumerate(own)}
    )
    mine = account.decide(request._replace(principal=robot), bucket_policy).allowed
    assert mine <= parent.decide(request, bucket_policy).allowed


@settings(max_examples=60, deadline=None)
@given(documents("one"), documents())
def test_the_canonical_text_means_the_same(bucket: Any, identity: Any) -> None:
    for document, kind in ((bucket, "bucket"), (identity, "identity")):
        policy = read(document, kind)
        if policy is not None:
            again = parse_policy(policy.to_json(), kind=kind)  # type: ignore[arg-type]
            assert again.to_json() == policy.to_json()
            assert [s.keys_read for s in again.statements] == [s.keys_read for s in policy.statements]
