"""Who wins: the order of policies, of each kind of principal."""

from __future__ import annotations

from typing import Any

import pytest

from tickvault.errors import InvalidInputError
from tickvault.security.policy import (
    ANONYMOUS,
    AccessRequest,
    Decision,
    Policy,
    PolicySet,
    Principal,
    Reason,
    parse_policy,
)

ACCOUNT = "123456789012"
ALICE = Principal(f"arn:aws:iam::{ACCOUNT}:user/alice", ACCOUNT, "alice", "AIDAALICE", "user")
BOB = Principal(f"arn:aws:iam::{ACCOUNT}:user/bob", ACCOUNT, "bob", "AIDABOB", "user")
ROOT = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "", ACCOUNT, "root")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/quant"
SESSION = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/quant/s1", ACCOUNT, "", "AROAQUANT:s1", "role")
ROBOT = Principal(f"arn:aws:iam::{ACCOUNT}:service-account/robot", ACCOUNT, "robot", "SA1", "service-account")
KEY = "arn:aws:s3:::bucket/key"


def statement(effect: str = "Allow", action: Any = "s3:*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def identity(*statements: dict[str, Any]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements)}, kind="identity")


def bucket(*statements: dict[str, Any]) -> Policy:
    both = ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]
    listed = [{"Principal": "*", **entry, "Resource": both} for entry in statements]
    return parse_policy({"Version": "2012-10-17", "Statement": listed}, kind="bucket", for_bucket="bucket")


def named(principal: Any, effect: str = "Allow", action: Any = "s3:*", **more: Any) -> Policy:
    return bucket(statement(effect, action, Principal=principal, **more))


def decide(
    policies: PolicySet, who: Principal = ALICE, bucket_policy: Policy | None = None, action: str = "s3:GetObject",
    resource: str = KEY, **context: str,
) -> Decision:  # fmt: skip
    given = {f"aws:{key}": value for key, value in context.items()}
    return policies.decide(AccessRequest(who, action, resource, given), bucket_policy)


NONE = PolicySet()
ALL = PolicySet({"all": identity(statement())})


def test_nothing_allows_nothing() -> None:
    for who in (ALICE, SESSION, ROBOT, ANONYMOUS):
        assert decide(NONE, who) == Decision(False, Reason.NO_ALLOW)


def test_an_identity_policy_allows_and_is_named() -> None:
    policies = PolicySet({"a": identity(statement(action="s3:PutObject")), "b": identity(statement(Sid="here"))})
    assert decide(policies) == Decision(True, Reason.IDENTITY_ALLOW, "b", "here")
    unnamed = PolicySet({"a": identity(statement("Deny", "s3:PutObject"), statement())})
    assert decide(unnamed) == Decision(True, Reason.IDENTITY_ALLOW, "a", "Statement[1]")


def test_actions_have_no_case_and_resources_have() -> None:
    policies = PolicySet({"a": identity(statement(action="S3:getOBJECT", resource="arn:aws:s3:::bucket/Key"))})
    assert decide(policies, action="s3:GetObject", resource="arn:aws:s3:::bucket/Key").allowed
    assert not decide(policies, action="s3:GetObject", resource="arn:aws:s3:::bucket/key").allowed
    assert not decide(policies, action="s3:GetObjectVersion", resource="arn:aws:s3:::bucket/Key").allowed


def test_not_action_and_not_resource() -> None:
    policies = PolicySet(
        {"a": identity({"Effect": "Allow", "NotAction": ["s3:Delete*", "iam:*"],
                        "NotResource": ["arn:aws:s3:::secret", "arn:aws:s3:::secret/*"]})}
    )  # fmt: skip
    assert decide(policies).allowed
    assert not decide(policies, action="s3:DeleteObject").allowed
    assert not decide(policies, resource="arn:aws:s3:::secret/x").allowed
    assert not decide(policies, resource="arn:aws:s3:::secret", action="s3:ListBucket").allowed
    assert decide(policies, resource="arn:aws:s3:::secrets/x").allowed


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    deny = identity(statement("Deny", Sid="no"))
    session_deny = parse_policy({"Statement": [statement(), statement("Deny", Sid="no")]}, kind="session")
    both = identity(statement(), statement("Deny", Sid="no"))
    cases = [
        (PolicySet({"all": identity(statement()), "deny": deny}), None, "deny"),
        (PolicySet({"all": identity(statement())}, boundary=both), None, "permissions boundary"),
        (PolicySet({"all": identity(statement())}, sessions=[session_deny]), None, "session policy"),
        (ALL, named("*", "Deny", Sid="no"), "bucket policy"),
    ]
    for policies, bucket_policy, where in cases:
        for who in (ALICE, SESSION):
            expected = Decision(False, Reason.EXPLICIT_DENY, where, "no")
            assert decide(policies, who, bucket_policy) == expected
    # A grant of the bucket does not help against a Deny of the identity's own.
    assert not decide(PolicySet({"deny": deny}), ALICE, named({"AWS": ALICE.arn})).allowed


def test_a_boundary_limits_identity_policies() -> None:
    policies = PolicySet({"all": identity(statement())}, boundary=identity(statement(action="s3:Get*")))
    assert decide(policies).allowed
    assert decide(policies, action="s3:PutObject").reason is Reason.NOT_IN_BOUNDARY
    alone = PolicySet(boundary=identity(statement()))
    assert decide(alone).reason is Reason.NO_ALLOW


def test_session_policies_limit_each_further() -> None:
    def session(action: str) -> Policy:
        return parse_policy({"Statement": [statement(action=action)]}, kind="session")

    policies = PolicySet({"all": identity(statement())}, sessions=[session("s3:Get*"), session("s3:*Object")])
    assert decide(policies, SESSION).allowed
    assert decide(policies, SESSION, action="s3:GetObjectVersion").reason is Reason.NOT_IN_SESSION
    assert decide(policies, SESSION, action="s3:PutObject").reason is Reason.NOT_IN_SESSION
    assert not decide(PolicySet(sessions=[session("s3:*")]), SESSION).allowed


NARROW = {"boundary": identity(statement(action="s3:PutObject"))}
NARROW_SESSION = {"sessions": [parse_policy({"Statement": [statement(action="s3:PutObject")]}, kind="session")]}


@pytest.mark.parametrize(
    ("who", "principal", "alone", "boundary", "session"),
    [
        # who asks, whom the bucket policy names; is that enough: alone, beside a boundary, beside a session policy
        (ALICE, "*", True, True, True),
        (ALICE, {"AWS": "*"}, True, True, True),
        (ALICE, {"AWS": ALICE.arn}, True, True, False),
        (ALICE, {"AWS": ACCOUNT}, False, False, False),
        (ALICE, {"AWS": ROOT.arn}, False, False, False),
        (ALICE, {"AWS": BOB.arn}, False, False, False),
        (ALICE, {"Service": "alice"}, False, False, False),
        (ALICE, {"CanonicalUser": ALICE.arn}, False, False, False),
        (SESSION, "*", True, True, True),
        (SESSION, {"AWS": SESSION.arn}, True, True, True),
        (SESSION, {"AWS": ROLE}, True, False, False),
        (SESSION, {"AWS": [ROLE, SESSION.arn]}, True, True, True),
        (SESSION, {"AWS": ACCOUNT}, False, False, False),
        (SESSION, {"AWS": SESSION.arn + "0"}, False, False, False),
        (ANONYMOUS, "*", True, True, True),
        (ANONYMOUS, {"AWS": [ACCOUNT, ALICE.arn, ROLE]}, False, False, False),
    ],
)
def test_how_a_bucket_policy_names_the_principal(
    who: Principal, principal: Any, alone: bool, boundary: bool, session: bool
) -> None:
    policy = named(principal)
    assert decide(NONE, who, policy).allowed is alone
    assert decide(PolicySet(**NARROW), who, policy).allowed is boundary
    assert decide(PolicySet(**NARROW_SESSION), who, policy).allowed is session


def test_an_account_in_a_bucket_policy_denies_its_users_but_allows_through_their_own_policies_only() -> None:
    assert not decide(ALL, ALICE, named({"AWS": ACCOUNT}, "Deny")).allowed
    assert decide(ALL, ALICE, named({"AWS": ACCOUNT})).policy == "all"


def not_principal(effect: str, *arns: str) -> Policy:
    entry = {
        "Effect": effect,
        "NotPrincipal": {"AWS": list(arns)},
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    return parse_policy({"Statement": [entry]}, kind="bucket", for_bucket="bucket")


def test_not_principal_exempts_those_it_names() -> None:
    deny = not_principal("Deny", ALICE.arn, ROLE, ROOT.arn)
    assert decide(ALL, ALICE, deny).allowed
    assert decide(ALL, SESSION, deny).allowed
    assert decide(ALL, ROOT, deny).allowed
    assert not decide(ALL, BOB, deny).allowed  # the account's root exempts the root only
    assert not decide(ALL, ROOT, not_principal("Deny", ALICE.arn)).allowed
    assert decide(NONE, ANONYMOUS, not_principal("Allow", ALICE.arn)).allowed
    assert not decide(NONE, ALICE, not_principal("Allow", ALICE.arn)).allowed


def test_anonymous_has_the_bucket_policy_only() -> None:
    assert not decide(ALL, ANONYMOUS).allowed
    assert decide(NONE, ANONYMOUS, named("*")).allowed
    only_tls = named("*", Condition={"Bool": {"aws:SecureTransport": "true"}})
    assert decide(NONE, ANONYMOUS, only_tls, SecureTransport="true").allowed
    assert not decide(NONE, ANONYMOUS, only_tls, SecureTransport="false").allowed
    assert not decide(NONE, ANONYMOUS, only_tls).allowed


def test_the_root_is_stopped_by_an_explicit_deny_of_a_bucket_policy_only() -> None:
    assert decide(NONE, ROOT) == Decision(True, Reason.ROOT)
    assert decide(NONE, ROOT, action="iam:DeleteUser", resource=ALICE.arn).allowed
    locked = named("*", "Deny")
    assert not decide(NONE, ROOT, locked).allowed
    assert not decide(NONE, ROOT, named({"AWS": ROOT.arn}, "Deny")).allowed
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        assert decide(NONE, ROOT, locked, action=action, resource="arn:aws:s3:::bucket").allowed
        assert not decide(ALL, ALICE, locked, action=action, resource="arn:aws:s3:::bucket").allowed
    assert not decide(NONE, ROOT, locked, action="s3:GetBucketAcl", resource="arn:aws:s3:::bucket").allowed
    assert decide(NONE, ROOT, named({"AWS": ALICE.arn}, "Deny")).allowed


def test_a_service_account_may_what_its_parent_and_its_own_policies_allow() -> None:
    parent = PolicySet({"all": identity(statement(action=["s3:Get*", "s3:PutObject"]))})
    own = PolicySet.service_account(
        parent, ALICE, {"own": identity(statement(action=["s3:GetObject", "s3:DeleteObject"]))}
    )
    heir = PolicySet.service_account(parent, ALICE)
    assert decide(own, ROBOT) == Decision(True, Reason.IDENTITY_ALLOW, "own", "Statement[0]")
    assert decide(own, ROBOT, action="s3:PutObject").reason is Reason.NO_ALLOW
    assert decide(own, ROBOT, action="s3:DeleteObject").reason is Reason.NOT_IN_PARENT
    assert decide(heir, ROBOT, action="s3:PutObject").allowed
    assert not decide(heir, ROBOT, action="s3:DeleteObject").allowed
    assert not decide(PolicySet.service_account(parent, ALICE, {}), ROBOT).allowed


def test_a_bucket_policy_cannot_lift_a_service_account_above_its_parent() -> None:
    own = PolicySet.service_account(NONE, ALICE, {"own": identity(statement())})
    assert not decide(own, ROBOT, named({"AWS": ROBOT.arn})).allowed
    assert decide(own, ROBOT, named({"AWS": ALICE.arn})).allowed
    assert decide(PolicySet.service_account(ALL, ALICE, {}), ROBOT, named({"AWS": ROBOT.arn})).allowed
    assert decide(own, ROBOT, named({"AWS": ALICE.arn}, "Deny")).reason is Reason.EXPLICIT_DENY
    everything = PolicySet.service_account(ALL, ALICE, {"own": identity(statement())})
    assert decide(everything, ROBOT).allowed
    assert not decide(everything, ROBOT, named({"AWS": ROBOT.arn}, "Deny")).allowed
    assert not decide(everything, ROBOT, named({"AWS": ALICE.arn}, "Deny")).allowed


def test_a_service_account_of_the_root() -> None:
    own = PolicySet.service_account(NONE, ROOT, {"own": identity(statement(action="s3:Get*"))})
    assert decide(own, ROBOT).allowed
    assert not decide(own, ROBOT, action="s3:PutObject").allowed
    # What nobody can take from the root can be taken from its robots.
    locked = named("*", "Deny")
    assert not decide(own, ROBOT, locked, action="s3:GetBucketPolicy", resource="arn:aws:s3:::bucket").allowed


def test_a_service_account_that_signs_as_its_parent_is_narrowed_by_its_own_policy() -> None:
    as_alice = ALICE._replace(kind="service-account")
    own = identity(statement(action="s3:Get*"), statement("Deny", "s3:GetObjectVersion"))
    policies = PolicySet({"all": identity(statement())}, sessions=[own])
    assert decide(policies, as_alice).allowed
    assert not decide(policies, as_alice, action="s3:PutObject").allowed
    assert not decide(policies, as_alice, action="s3:GetObjectVersion").allowed
    granted = PolicySet(sessions=[own])
    assert decide(granted, as_alice, named({"AWS": ALICE.arn})).allowed
    assert not decide(granted, as_alice, named({"AWS": ALICE.arn}), action="s3:PutObject").allowed
    assert not decide(policies, as_alice, named({"AWS": ALICE.arn}, "Deny")).allowed


def test_variables_are_those_of_who_asks() -> None:
    home = PolicySet({"home": identity(statement(resource="arn:aws:s3:::bucket/home/${aws:username}/*"))})
    assert decide(home, ALICE, resource="arn:aws:s3:::bucket/home/alice/x").allowed
    assert not decide(home, ALICE, resource="arn:aws:s3:::bucket/home/bob/x").allowed
    assert decide(home, BOB, resource="arn:aws:s3:::bucket/home/bob/x").allowed
    assert not decide(home, SESSION, resource="arn:aws:s3:::bucket/home//x").allowed
    tagged = ALICE._replace(tags={"Desk": "fx"})
    desk = PolicySet({"desk": identity(statement(resource="arn:aws:s3:::${aws:PrincipalTag/desk}-data/*"))})
    assert decide(desk, tagged, resource="arn:aws:s3:::fx-data/x").allowed
    assert not decide(desk, ALICE, resource="arn:aws:s3:::fx-data/x").allowed
    assert not decide(desk, ALICE._replace(tags={"Desk": "*"}), resource="arn:aws:s3:::fx-data/x").allowed


def test_an_unreadable_value_denies() -> None:
    deny = named("*", "Deny", Condition={"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    assert not decide(ALL, ALICE, deny, SourceIp="localhost").allowed
    allow = named("*", Condition={"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    assert not decide(NONE, ALICE, allow, SourceIp="localhost").allowed
    assert decide(NONE, ALICE, allow, SourceIp="192.0.2.1").allowed


def test_actions_that_are_none_are_decided_and_not_remembered() -> None:
    for index in range(100):
        assert decide(ALL, action=f"s3:Invented{index}").allowed
    remembered = ALL.identity._by_action
    assert not any("invented" in action for action in remembered)


# -- roles


ASSUME = {"action": "sts:AssumeRole", "resource": ROLE}


def trust(principal: Any, effect: str = "Allow", **more: Any) -> Policy:
    entry = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more}
    return parse_policy({"Version": "2012-10-17", "Statement": [entry]}, kind="trust")


def assume(policies: PolicySet, who: Principal, policy: Policy) -> Decision:
    return policies.decide_role(AccessRequest(who, "sts:AssumeRole", ROLE), policy)


MAY_ASSUME = PolicySet({"a": identity(statement(action="sts:AssumeRole", resource=ROLE))})


def test_a_role_is_assumed_by_whom_its_trust_policy_names() -> None:
    assert assume(NONE, ALICE, trust({"AWS": ALICE.arn})).allowed
    assert assume(MAY_ASSUME, BOB, trust({"AWS": ALICE.arn})).reason is Reason.NOT_TRUSTED
    for everyone in ({"AWS": ACCOUNT}, "*"):
        assert not assume(NONE, ALICE, trust(everyone)).allowed
        assert assume(MAY_ASSUME, ALICE, trust(everyone)).allowed
        assert not assume(NONE, ANONYMOUS, trust(everyone)).allowed
    assert not assume(NONE, ROOT, trust({"AWS": ALICE.arn})).allowed
    assert assume(NONE, ROOT, trust({"AWS": ACCOUNT})).allowed


def test_an_allow_never_takes_away_from_whom_another_names() -> None:
    # "*" beside his ARN once made a user need a policy of his own: a second Allow took away what the first gave.
    own = {"Effect": "Allow", "Principal": {"AWS": ALICE.arn}, "Action": "sts:AssumeRole"}
    account = {**own, "Principal": {"AWS": ACCOUNT}}
    everyone = {**own, "Principal": "*"}
    for entries in (
        [{**own, "Principal": {"AWS": [ALICE.arn, "*"]}}],
        [{**own, "Principal": {"AWS": ["*", ACCOUNT, ALICE.arn]}}],
        [own, everyone],
        [everyone, own],
        [account, own, everyone],
    ):
        policy = parse_policy({"Version": "2012-10-17", "Statement": entries}, kind="trust")
        assert assume(NONE, ALICE, policy).allowed
        assert not assume(NONE, BOB, policy).allowed
        assert assume(MAY_ASSUME, BOB, policy).allowed
        assert not assume(NONE, ANONYMOUS, policy).allowed
    # One whose name a condition keeps out is one of everyone, and no more.
    narrowed = {**own, "Condition": {"StringEquals": {"sts:ExternalId": "x"}}}
    policy = parse_policy({"Version": "2012-10-17", "Statement": [narrowed, everyone]}, kind="trust")
    assert not assume(NONE, ALICE, policy).allowed
    assert assume(MAY_ASSUME, ALICE, policy).allowed


def test_a_role_of_a_name_that_was_anothers_is_one_of_its_account() -> None:
    element = {"AWS": [ROLE, ACCOUNT]}
    for effect, expected in (("Allow", True), ("Deny", False)):
        entry = {"Effect": effect, "Principal": element, "Action": "sts:AssumeRole"}
        both = [entry] if effect == "Allow" else [entry, {**entry, "Effect": "Allow", "Principal": "*"}]
        policy = parse_policy(
            {"Version": "2012-10-17", "Statement": both}, kind="trust", principal_ids={ROLE: "AROAGONE"}
        )
        assert assume(MAY_ASSUME, SESSION, policy).allowed is expected


def test_conditions_of_a_trust_policy() -> None:
    policy = trust({"AWS": ALICE.arn}, Condition={"StringEquals": {"sts:ExternalId": "x"}})
    for external_id, expected in (("x", True), ("y", False)):
        request = AccessRequest(ALICE, "sts:AssumeRole", ROLE, {"sts:ExternalId": external_id})
        assert NONE.decide_role(request, policy).allowed is expected


def test_denies_and_limits_hold_for_roles_too() -> None:
    assert not assume(MAY_ASSUME, ALICE, trust({"AWS": ACCOUNT}, "Deny")).allowed
    deny = PolicySet({"d": identity(statement("Deny", "sts:AssumeRole"))})
    assert not assume(deny, ALICE, trust({"AWS": ALICE.arn})).allowed
    assert not assume(PolicySet(**NARROW_SESSION), ALICE, trust({"AWS": ALICE.arn})).allowed
    robot = PolicySet.service_account(MAY_ASSUME, ALICE, {"own": identity(statement(action="s3:*"))})
    assert not assume(robot, ROBOT, trust({"AWS": ACCOUNT})).allowed
    assert assume(PolicySet.service_account(MAY_ASSUME, ALICE), ROBOT, trust({"AWS": ACCOUNT})).allowed
    assert (
        assume(PolicySet.service_account(NONE, ALICE), ROBOT, trust({"AWS": ROBOT.arn})).reason is Reason.NOT_IN_PARENT
    )


# -- wrong kinds


def test_a_policy_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="kind bucket"):
        PolicySet({"x": named("*")})
    with pytest.raises(InvalidInputError, match="kind identity"):
        decide(NONE, ALICE, identity(statement()))
    with pytest.raises(InvalidInputError, match="permissions boundary"):
        PolicySet(boundary=named("*"))
    with pytest.raises(InvalidInputError, match="trust policy"):
        assume(NONE, ALICE, named("*"))
    with pytest.raises(InvalidInputError, match="at most 256"):
        PolicySet({str(index): identity(statement()) for index in range(257)})


# -- none is passed over


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
@pytest.mark.parametrize("tail", ["/{}/*", "/*/{}/*", "/{}/a?c"])
def test_each_of_many_statements_has_its_say(effect: str, tail: str) -> None:
    """Statements are looked up by bucket and passed over by a part of their resource: none at the wrong time."""
    names = [f"team{index:02}" for index in range(30)]
    for head in ("arn:aws:s3:::bucket", "arn:aws:s3:::*"):
        listed = [statement(effect, resource=head + tail.format(name), Sid=name) for name in names]
        both = [statement(), *listed] if effect == "Deny" else listed
        policies = PolicySet({"first": identity(*both[:17]), "second": identity(*both[17:])})
        for name in names:
            resource = "arn:aws:s3:::bucket" + tail.format(name).replace("*", "x").replace("?", "b")
            assert decide(policies, resource=resource).sid == name
        assert decide(policies, resource="arn:aws:s3:::bucket/team30/abc").allowed is (effect == "Deny")


def test_a_statement_about_several_resources_is_found_by_each() -> None:
    resources = ["arn:aws:s3:::one/*", "arn:aws:s3:::two/a", "arn:aws:s3:::two/b*c", "arn:aws:s3:::th*/x"]
    policies = PolicySet({"a": identity(statement(resource=resources))})
    for place in ("one/k", "two/a", "two/bxc", "three/x"):
        assert decide(policies, resource=f"arn:aws:s3:::{place}").allowed
    for place in ("one", "two/ab", "two/bx", "three/y", "four/x"):
        assert not decide(policies, resource=f"arn:aws:s3:::{place}").allowed
