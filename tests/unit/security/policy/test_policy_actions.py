"""The catalogue of actions."""

from __future__ import annotations

import fnmatch
import re

import pytest

from tickvault.errors import InvalidInputError
from tickvault.security.policy import ACTIONS, expand, find_action

NEEDED = """
s3:ListAllMyBuckets=service s3:CreateBucket=bucket s3:ListBucket=bucket s3:ListBucketVersions=bucket
s3:ListBucketMultipartUploads=bucket s3:GetBucketPolicy=bucket s3:PutBucketPolicy=bucket
s3:GetBucketPublicAccessBlock=bucket s3:PutBucketPublicAccessBlock=bucket s3:GetEncryptionConfiguration=bucket
s3:PutEncryptionConfiguration=bucket s3:GetBucketObjectLockConfiguration=bucket
s3:PutBucketObjectLockConfiguration=bucket s3:GetLifecycleConfiguration=bucket s3:PutLifecycleConfiguration=bucket
s3:GetBucketCORS=bucket s3:PutBucketCORS=bucket s3:GetBucketVersioning=bucket s3:PutBucketVersioning=bucket
s3:GetBucketTagging=bucket s3:GetBucketLocation=bucket s3:GetBucketAcl=bucket
s3:GetObject=object s3:GetObjectVersion=object s3:PutObject=object s3:DeleteObject=object s3:DeleteObjectVersion=object
s3:AbortMultipartUpload=object s3:ListMultipartUploadParts=object s3:GetObjectAttributes=object
s3:PutObjectRetention=object s3:GetObjectRetention=object s3:BypassGovernanceRetention=object
s3:PutObjectLegalHold=object s3:GetObjectLegalHold=object s3:GetObjectTagging=object s3:GetObjectVersionTagging=object
s3:PutObjectTagging=object s3:PutObjectVersionTagging=object s3:DeleteObjectTagging=object
sts:AssumeRole=identity sts:GetCallerIdentity=service
iam:CreateUser=identity iam:DeleteUser=identity iam:CreateAccessKey=identity iam:ListUsers=identity
iam:AdministerIdentities=identity iam:RevokeSessions=identity iam:TidyIdentities=identity
tickvault:ReadAudit=service tickvault:ExportAudit=service tickvault:VerifyAudit=service tickvault:ReadLibrary=bucket
tickvault:WriteLibrary=bucket tickvault:AppendRows=bucket tickvault:ManageKeys=service tickvault:DestroyKey=service
tickvault:Compact=service tickvault:Verify=service tickvault:Backup=service
"""


@pytest.mark.parametrize("entry", NEEDED.split())
def test_the_catalogue_has(entry: str) -> None:
    name, level = entry.split("=")
    for written in (name, name.upper(), name.lower()):
        action = find_action(written)
        assert action is not None
        assert action.name == name
        assert action.level == level


def test_names_are_well_formed_and_one_each() -> None:
    assert all(key == action.name.lower() for key, action in ACTIONS.items())
    assert all(re.fullmatch(r"(s3|sts|iam|tickvault):[A-Z][A-Za-z]+", action.name) for action in ACTIONS.values())
    assert find_action("s3:GetObjct") is None


@pytest.mark.parametrize(
    "pattern", ["*", "s3:*", "S3:get*", "s3:*Object", "s3:???Object", "*:Get*", "ec2:*", "s3:Get*Tag*"]
)
def test_expanding_against_fnmatch(pattern: str) -> None:
    expected = [a.name for a in ACTIONS.values() if fnmatch.fnmatchcase(a.name.lower(), pattern.lower())]
    assert [action.name for action in expand(pattern)] == expected
    assert bool(expected) == (pattern != "ec2:*")


def test_a_bomb_of_wildcards_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="wildcards"):
        expand("s3:" + "*a" * 1000)
