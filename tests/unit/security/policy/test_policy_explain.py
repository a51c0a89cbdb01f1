"""Why a decision is what it is, in words."""

from __future__ import annotations

from tickvault.security.policy import AccessRequest, PolicySet, Principal, explain, parse_policy

ALICE = Principal("arn:aws:iam::123456789012:user/alice", "123456789012", "alice", "AIDA1", "user")
IDENTITY = parse_policy(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Lists", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
            {"Sid": "Else", "Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::other/*"},
            {"Sid": "Office", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
             "Condition": {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "198.51.100.0/24"]},
                           "Bool": {"aws:SecureTransport": "true"}}},
            {"Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::b/*"},
        ],
    },
    kind="identity",
)  # fmt: skip
BUCKET = parse_policy(
    {
        "Statement": [
            {"Sid": "Bob", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/bob"},
             "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"},
            {"Sid": "Account", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:*",
             "Resource": "arn:aws:s3:::b/*"},
        ],
    },
    kind="bucket",
)  # fmt: skip


def test_every_statement_and_what_keeps_it_from_matching() -> None:
    request = AccessRequest(ALICE, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:SourceIp": "203.0.113.9"})
    told = explain(PolicySet({"desk": IDENTITY}), request, BUCKET)
    assert not told.decision.allowed
    parts = {finding.sid: (finding.policy, finding.matched, finding.part) for finding in told.findings}
    assert parts == {
        "Bob": ("bucket policy", False, "principal"),
        "Account": ("bucket policy", True, ""),
        "Lists": ("desk", False, "action"),
        "Else": ("desk", False, "resource"),
        "Office": ("desk", False, "condition"),
        "Statement[3]": ("desk", False, "action"),
    }
    text = told.text()
    assert text.splitlines()[0] == f"{ALICE.arn} asks s3:GetObject on arn:aws:s3:::b/k"
    assert text.splitlines()[1] == "DENIED: nothing allows it"
    assert "IpAddress aws:SourceIp '192.0.2.0/24', '198.51.100.0/24' (the request has '203.0.113.9')" in text
    assert "leaves it to the policies of the identity" in text
    assert "Principal 'arn:aws:iam::123456789012:user/bob' is not about" in text


def test_the_verdict_is_that_of_decide_and_names_its_statement() -> None:
    context = {"aws:SourceIp": "192.0.2.7", "aws:SecureTransport": "true"}
    request = AccessRequest(ALICE, "s3:GetObject", "arn:aws:s3:::b/k", context)
    policies = PolicySet({"desk": IDENTITY})
    told = explain(policies, request)
    assert told.decision == policies.decide(request)
    assert "ALLOWED: a policy of the identity allows it (desk, Office)" in told.text()
    missing = explain(policies, request._replace(context={"aws:SourceIp": "192.0.2.7"})).text()
    assert "Bool aws:SecureTransport 'true' (the request has none) does not hold" in missing


def test_boundary_session_and_parent_are_told_apart() -> None:
    robot = Principal("arn:aws:iam::123456789012:service-account/r", "123456789012", "r", "SA1", "service-account")
    session = parse_policy({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}, kind="session")
    parent = PolicySet({"desk": IDENTITY}, boundary=IDENTITY, sessions=[session])
    told = explain(
        PolicySet.service_account(parent, ALICE, {"own": IDENTITY}),
        AccessRequest(robot, "s3:GetObject", "arn:aws:s3:::b/k"),
    )
    sources = [finding.policy for finding in told.findings]
    assert sources == ["own"] * 4 + ["parent: desk"] * 4 + ["parent: permissions boundary"] * 4 + [
        "parent: session policy"
    ]
    assert "the parent of the service account may not do it" in told.text()


def test_whether_a_role_may_be_assumed() -> None:
    role = "arn:aws:iam::123456789012:role/quant"
    entry = {"Sid": "All", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    trust = parse_policy({"Statement": [entry]}, kind="trust")
    request = AccessRequest(ALICE, "sts:AssumeRole", role)
    told = explain(PolicySet({"desk": IDENTITY}), request, trust_policy=trust)
    assert told.decision == PolicySet({"desk": IDENTITY}).decide_role(request, trust)
    assert not told.decision.allowed
    assert (told.findings[0].policy, told.findings[0].sid, told.findings[0].matched) == ("trust policy", "All", True)


def test_no_policies_at_all() -> None:
    assert (
        explain(PolicySet(), AccessRequest(ALICE, "s3:GetObject", "arn:aws:s3:::b/k"))
        .text()
        .endswith("no policy has a say in it")
    )


def test_hostile_values_are_shown_short_and_escaped() -> None:
    request = AccessRequest(ALICE, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:SourceIp": "\x1b[31m" + "9" * 10_000})
    text = explain(PolicySet({"desk": IDENTITY}), request).text()
    assert "\x1b" not in text
    assert len(text) < 3_000
