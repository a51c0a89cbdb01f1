"""The actions that this store asks about, and what each is an action on.

Invariants: one name, one `Action`, whatever the case it is written in; every door asks for an action that stands
here; a policy may name others, which never match a request.

Source: Amazon S3 User Guide, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "Actions,
resources, and condition keys" of IAM and of STS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from tickvault.security.policy.patterns import Wildcard, tokenize

Level = Literal["service", "bucket", "object", "identity"]


class Action(NamedTuple):
    """Something that can be allowed."""

    name: str
    level: Level
    """What its resource is. service: ``arn:aws:s3:::*``; bucket: ``arn:aws:s3:::BUCKET``; object:
    ``arn:aws:s3:::BUCKET/KEY``; identity: ``arn:aws:iam::ACCOUNT:user/NAME`` and the like, or of all of them
    ``arn:aws:iam::ACCOUNT:*``."""


#: The resource of a request for an action of level ``service``.
SERVICE_RESOURCE = "arn:aws:s3:::*"

_S3_SERVICE = """
ListAllMyBuckets GetAccountPublicAccessBlock PutAccountPublicAccessBlock
"""

_S3_BUCKET = """
CreateBucket DeleteBucket GetBucketLocation
ListBucket ListBucketVersions ListBucketMultipartUploads
GetBucketVersioning PutBucketVersioning
GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus
GetBucketPublicAccessBlock PutBucketPublicAccessBlock
GetBucketAcl PutBucketAcl GetBucketOwnershipControls PutBucketOwnershipControls
GetBucketCORS PutBucketCORS
GetBucketTagging PutBucketTagging
GetLifecycleConfiguration PutLifecycleConfiguration
GetEncryptionConfiguration PutEncryptionConfiguration
GetBucketObjectLockConfiguration PutBucketObjectLockConfiguration
GetBucketNotification PutBucketNotification
GetBucketLogging PutBucketLogging
GetBucketWebsite PutBucketWebsite DeleteBucketWebsite
GetBucketRequestPayment PutBucketRequestPayment
GetAccelerateConfiguration PutAccelerateConfiguration
GetReplicationConfiguration PutReplicationConfiguration
GetInventoryConfiguration PutInventoryConfiguration
GetAnalyticsConfiguration PutAnalyticsConfiguration
GetMetricsConfiguration PutMetricsConfiguration
GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration
"""

_S3_OBJECT = """
GetObject GetObjectVersion GetObjectAttributes GetObjectVersionAttributes
PutObject DeleteObject DeleteObjectVersion
AbortMultipartUpload ListMultipartUploadParts
GetObjectAcl GetObjectVersionAcl PutObjectAcl PutObjectVersionAcl
GetObjectTagging GetObjectVersionTagging PutObjectTagging PutObjectVersionTagging
DeleteObjectTagging DeleteObjectVersionTagging
GetObjectRetention PutObjectRetention BypassGovernanceRetention
GetObjectLegalHold PutObjectLegalHold
RestoreObject GetObjectTorrent GetObjectVersionTorrent GetObjectVersionForReplication
ReplicateObject ReplicateDelete ReplicateTags ObjectOwnerOverrideToBucketOwner InitiateReplication
"""

_STS_SERVICE = "GetCallerIdentity"
_STS_IDENTITY = "AssumeRole GetSessionToken TagSession"

# AdministerIdentities, RevokeSessions, TidyIdentities and those of service accounts are ours.
_IAM_IDENTITY = """
AdministerIdentities RevokeSessions TidyIdentities
ListUsers ListRoles ListGroups ListPolicies GetAccountSummary GetAccountAuthorizationDetails SimulateCustomPolicy
CreateUser GetUser UpdateUser DeleteUser TagUser UntagUser ListUserTags
CreateAccessKey UpdateAccessKey DeleteAccessKey ListAccessKeys GetAccessKeyLastUsed
CreateServiceAccount GetServiceAccount UpdateServiceAccount DeleteServiceAccount ListServiceAccounts
CreateGroup GetGroup UpdateGroup DeleteGroup AddUserToGroup RemoveUserFromGroup ListGroupsForUser
CreateRole GetRole UpdateRole DeleteRole UpdateAssumeRolePolicy TagRole UntagRole ListRoleTags
CreatePolicy GetPolicy DeletePolicy
CreatePolicyVersion GetPolicyVersion DeletePolicyVersion ListPolicyVersions SetDefaultPolicyVersion
ListEntitiesForPolicy
AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies
AttachGroupPolicy DetachGroupPolicy ListAttachedGroupPolicies
AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies
PutUserPolicy GetUserPolicy DeleteUserPolicy ListUserPolicies
PutGroupPolicy GetGroupPolicy DeleteGroupPolicy ListGroupPolicies
PutRolePolicy GetRolePolicy DeleteRolePolicy ListRolePolicies
PutUserPermissionsBoundary DeleteUserPermissionsBoundary
PutRolePermissionsBoundary DeleteRolePermissionsBoundary
SimulatePrincipalPolicy
"""

# A library lies in the bucket library-NAME, and that bucket is its resource.
_TICKVAULT_BUCKET = "ReadLibrary WriteLibrary AppendRows"
_TICKVAULT_SERVICE = "ReadAudit ExportAudit VerifyAudit ManageKeys DestroyKey Compact Verify Backup"

_TABLE: tuple[tuple[str, Level, str], ...] = (
    ("s3", "service", _S3_SERVICE),
    ("s3", "bucket", _S3_BUCKET),
    ("s3", "object", _S3_OBJECT),
    ("sts", "service", _STS_SERVICE),
    ("sts", "identity", _STS_IDENTITY),
    ("iam", "identity", _IAM_IDENTITY),
    ("tickvault", "bucket", _TICKVAULT_BUCKET),
    ("tickvault", "service", _TICKVAULT_SERVICE),
)

#: Every action by its name in lower case.
ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        f"{service}:{name}".lower(): Action(f"{service}:{name}", level)
        for service, level, names in _TABLE
        for name in names.split()
    }
)


def action_pattern(text: str, place: str) -> Wildcard:
    """Return the pattern of an action; it is matched against names in lower case.

    Raises
    ------
    InvalidInputError
        It has too many wildcards.
    """
    tokens = tokenize(text.lower(), place, variables=False)
    return Wildcard([token for token in tokens if not isinstance(token, tuple)])


def find_action(name: str) -> Action | None:
    """Return an action by its name, in any case, None if there is none."""
    return ACTIONS.get(name.lower())


def expand(pattern: str) -> tuple[Action, ...]:
    """Return the actions that a name with wildcards stands for, in the order of the catalogue.

    >>> [action.name for action in expand("s3:*LegalHold")]
    ['s3:GetObjectLegalHold', 's3:PutObjectLegalHold']
    """
    compiled = action_pattern(pattern, f"the action {pattern[:64]!r}")
    return tuple(action for name, action in ACTIONS.items() if compiled.matches(name))
