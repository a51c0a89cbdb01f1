"""Policies out of the box, by what someone does.

Each is an identity policy over the whole vault, to be attached as it is or copied and narrowed. Three of them deny as
well as allow, so that no second policy adds by accident what the duty excludes: a trader never touches locks and
policies, a compliance officer never writes or deletes data, an administrator never goes around a lock.

Invariants: no role but the compliance officer may bypass governance; none may do everything; what a role may is
tested against every action of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tickvault.errors import NotFoundError
from tickvault.security.policy.document import Policy, parse_policy
from tickvault.security.policy.limits import shown

_READ = [
    "s3:ListAllMyBuckets",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectAttributes",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersionTagging",
    "s3:GetObjectRetention",
    "s3:GetObjectLegalHold",
    "tickvault:ReadLibrary",
    "sts:GetCallerIdentity",
]

_ADD = [
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucketMultipartUploads",
    "tickvault:AppendRows",
]

_CHANGE = [
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
    "tickvault:WriteLibrary",
]

_TRAIL = ["tickvault:ReadAudit", "tickvault:ExportAudit", "tickvault:VerifyAudit"]

_LOCK = [
    "s3:PutObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:BypassGovernanceRetention",
    "s3:PutBucketObjectLockConfiguration",
]

_GOVERN = [
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutAccountPublicAccessBlock",
    "s3:PutBucketAcl",
    "s3:PutObjectAcl",
    "s3:PutObjectVersionAcl",
    "s3:PutBucketOwnershipControls",
]


_RIGHTS = [
    "iam:AdministerIdentities",
    "iam:Attach*Policy",
    "iam:CreatePolicy*",
    "iam:Delete*Policy*",
    "iam:Detach*Policy",
    "iam:Put*",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "s3:PutLifecycleConfiguration",
]


def _statement(sid: str, effect: str, actions: list[str], resource: str = "*") -> dict[str, Any]:
    return {"Sid": sid, "Effect": effect, "Action": actions, "Resource": resource}


_ROLES: Mapping[str, tuple[str, list[dict[str, Any]]]] = {
    "reader": (
        "Reads objects and market data.",
        [_statement("Read", "Allow", _READ)],
    ),
    "writer": (
        "Reads, writes and deletes objects, their versions and market data; changes no setting, lock or policy.",
        [_statement("Read", "Allow", _READ), _statement("Write", "Allow", [*_ADD, *_CHANGE])],
    ),
    "trader": (
        "Reads and adds objects and rows of market data; deletes and rewrites no rows, deletes nothing else, and "
        "changes no lock or policy. An object that it writes over stays only in buckets with versions.",
        [
            _statement("Read", "Allow", _READ),
            _statement("Add", "Allow", _ADD),
            _statement(
                "KeepHistory",
                "Deny",
                [
                    "s3:DeleteObject*",
                    "s3:ReplicateDelete",
                    "s3:PutBucketVersioning",
                    "s3:DeleteBucket",
                    # Everything but appending rewrites rows or removes them: write, update, correct, delete, prune.
                    "tickvault:WriteLibrary",
                    "tickvault:Compact",
                    "tickvault:DestroyKey",
                ],
            ),
            # A library's rows lie in objects of its bucket: to write over one is to rewrite them.
            _statement("LibrariesByTheirVerbs", "Deny", ["s3:PutObject"], "arn:aws:s3:::library-*/*"),
            _statement("NoLocksNoPolicies", "Deny", [*_LOCK, *_GOVERN, *_RIGHTS]),
        ],
    ),
    "compliance-officer": (
        "Sets and lifts locks and holds, reads everything and the trail; writes and deletes no data, and manages no "
        "keys but its own.",
        [
            _statement("ReadEverything", "Allow", [*_READ, "s3:Get*", "s3:List*", "iam:Get*", "iam:List*"]),
            _statement("Trail", "Allow", [*_TRAIL, "tickvault:Verify"]),
            _statement("Locks", "Allow", _LOCK),
            _statement(
                "OwnKeys",
                "Allow",
                ["iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey"],
                "arn:aws:iam::*:user/${aws:username}",
            ),
            _statement(
                "NoData",
                "Deny",
                [
                    "s3:PutObject",
                    "s3:DeleteObject*",
                    "s3:RestoreObject",
                    "s3:CreateBucket",
                    "s3:DeleteBucket",
                    "s3:PutLifecycleConfiguration",
                    "s3:Replicate*",
                    "tickvault:WriteLibrary",
                    "tickvault:AppendRows",
                    "tickvault:Compact",
                ],
            ),
            _statement("NoEncryptionKeys", "Deny", ["tickvault:ManageKeys", "tickvault:DestroyKey"]),
        ],
    ),
    "auditor": (
        "Reads records, how they are locked, and the trail; nothing else.",
        [
            _statement("Read", "Allow", [*_READ, "s3:GetBucketObjectLockConfiguration"]),
            _statement("Trail", "Allow", _TRAIL),
        ],
    ),
    "administrator": (
        "Everything, except to go around a lock.",
        [
            _statement("Everything", "Allow", ["*"]),
            _statement("NotAroundLocks", "Deny", ["s3:BypassGovernanceRetention"]),
        ],
    ),
}

#: What each role is for, by name.
ROLES: Mapping[str, str] = MappingProxyType({name: purpose for name, (purpose, _) in _ROLES.items()})


@lru_cache(maxsize=len(_ROLES))
def _made(name: str) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Id": name, "Statement": _ROLES[name][1]}, kind="identity")


def role_policy(name: str) -> Policy:
    """Return the policy of a role.

    Raises
    ------
    NotFoundError
        There is no role of that name.
    """
    if name not in _ROLES:
        raise NotFoundError(f"role {shown(name)}: there is none; there are {', '.join(_ROLES)}")
    return _made(name)
