"""The roles out of the box, each against every action of the catalogue."""

from __future__ import annotations

import pytest

from tickvault.errors import NotFoundError
from tickvault.security.policy import ACTIONS, ROLES, AccessRequest, PolicySet, Principal, Reason, role_policy

ACCOUNT = "123456789012"
ME = Principal(f"arn:aws:iam::{ACCOUNT}:user/me", ACCOUNT, "me", "AIDAME", "user")
RESOURCES = {
    "service": "arn:aws:s3:::*",
    "bucket": "arn:aws:s3:::library-us",
    "object": "arn:aws:s3:::us/a/b",
    "identity": f"arn:aws:iam::{ACCOUNT}:user/other",
}

READ = """
s3:ListAllMyBuckets s3:ListBucket s3:ListBucketVersions s3:GetBucketLocation s3:GetBucketVersioning s3:GetObject
s3:GetObjectVersion s3:GetObjectAttributes s3:GetObjectVersionAttributes s3:GetObjectTagging s3:GetObjectVersionTagging
s3:GetObjectRetention s3:GetObjectLegalHold tickvault:ReadLibrary sts:GetCallerIdentity
"""
ADD = """
s3:PutObject s3:PutObjectTagging s3:AbortMultipartUpload s3:ListMultipartUploadParts s3:ListBucketMultipartUploads
tickvault:AppendRows
"""
CHANGE = """
s3:DeleteObject s3:DeleteObjectVersion s3:PutObjectVersionTagging s3:DeleteObjectTagging s3:DeleteObjectVersionTagging
tickvault:WriteLibrary
"""
TRAIL = "tickvault:ReadAudit tickvault:ExportAudit tickvault:VerifyAudit"
LOCK = """
s3:PutObjectRetention s3:PutObjectLegalHold s3:BypassGovernanceRetention s3:PutBucketObjectLockConfiguration
"""


def every(*prefixes: str) -> str:
    return " ".join(action.name for action in ACTIONS.values() if action.name.startswith(prefixes))


MAY = {
    "reader": READ,
    "writer": READ + ADD + CHANGE,
    "trader": READ + ADD,
    "compliance-officer": " ".join(
        [READ, TRAIL, LOCK, "tickvault:Verify", every("s3:Get", "s3:List", "iam:Get", "iam:List")]
    ),
    "auditor": READ + TRAIL + " s3:GetBucketObjectLockConfiguration",
    "administrator": every("s3:", "sts:", "iam:", "tickvault:").replace("s3:BypassGovernanceRetention", ""),
}


def may(policies: PolicySet, action: str, resource: str | None = None) -> bool:
    level = ACTIONS[action.lower()].level
    return policies.decide(AccessRequest(ME, action, resource or RESOURCES[level])).allowed


def test_the_table_names_every_role() -> None:
    assert set(MAY) == set(ROLES)
    assert all(purpose.endswith(".") for purpose in ROLES.values())


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_what_the_table_says_and_nothing_else(role: str) -> None:
    policies = PolicySet({role: role_policy(role)})
    allowed = {action.name for action in ACTIONS.values() if may(policies, action.name)}
    assert allowed == set(MAY[role].split())
    assert role_policy(role).warnings == ()


def test_what_a_duty_excludes_no_second_role_adds() -> None:
    everything = role_policy("administrator")
    trader = PolicySet({"trader": role_policy("trader"), "administrator": everything})
    for action in ("s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:PutBucketPolicy", "iam:PutUserPolicy"):
        level = ACTIONS[action.lower()].level
        decision = trader.decide(AccessRequest(ME, action, RESOURCES[level]))
        assert decision.reason is Reason.EXPLICIT_DENY
    # No verb of a library removes or rewrites rows for a trader, whoever else they are; the rights of the vault that
    # make what was deleted unreadable or free its place do not either.
    both = PolicySet({"trader": role_policy("trader"), "writer": role_policy("writer"), "administrator": everything})
    for action in (
        "s3:DeleteObject",
        "s3:DeleteObjectTagging",
        "tickvault:WriteLibrary",
        "tickvault:Compact",
        "tickvault:DestroyKey",
    ):
        assert not may(both, action), action
    assert may(both, "tickvault:AppendRows")
    # Nor do they get at the rows as objects.
    assert may(both, "s3:PutObject") and not may(both, "s3:PutObject", "arn:aws:s3:::library-us/a/b")
    officer = PolicySet({"officer": role_policy("compliance-officer"), "writer": role_policy("writer")})
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "tickvault:AppendRows"):
        assert not may(officer, action)
    both = PolicySet({"officer": role_policy("compliance-officer"), "administrator": everything})
    assert not may(both, "s3:BypassGovernanceRetention")
    assert not may(both, "tickvault:DestroyKey")


def test_a_compliance_officer_manages_its_own_keys_only() -> None:
    officer = PolicySet({"officer": role_policy("compliance-officer")})
    for action in ("iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey"):
        assert may(officer, action, ME.arn)
        assert not may(officer, action, f"arn:aws:iam::{ACCOUNT}:user/other")
        assert not may(officer, action, f"arn:aws:iam::{ACCOUNT}:user/me2")


def test_an_unknown_role() -> None:
    with pytest.raises(NotFoundError, match="trader"):
        role_policy("traders")
