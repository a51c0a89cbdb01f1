"""Which rights each operation takes: the one table.

Invariants: every operation of the router has a row; the rights of a row that apply must all be allowed; a row speaks
of the head of a request only, so that it can be asked before the body is there.

Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations"; Service Authorization Reference,
"Actions, resources, and condition keys for Amazon S3".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from tickvault.doors.s3.lock_headers import HOLD, MODE, UNTIL

if TYPE_CHECKING:
    from tickvault.doors.s3.authorization.ask import Ask

On = Literal["service", "bucket", "object", "source"]


class Need(NamedTuple):
    """One right that an operation takes."""

    action: str
    on: On = "object"
    """What it must be allowed on: all of S3, the bucket, the object, or the source of a copy."""
    version_action: str = ""
    """The action in its place where a version is named."""
    when: Callable[[Ask], bool] | None = None
    """Taken only where this holds."""


def _tagged(ask: Ask) -> bool:
    return bool(ask.headers.get("x-amz-tagging"))


def _retained(ask: Ask) -> bool:
    return MODE in ask.headers or UNTIL in ask.headers


def _held(ask: Ask) -> bool:
    return HOLD in ask.headers


def _compared(ask: Ask) -> bool:
    # Whether the condition holds tells what is stored.
    return "if-match" in ask.headers


def _with_acl(ask: Ask) -> bool:
    return any(name == "x-amz-acl" or name.startswith("x-amz-grant-") for name in ask.headers)


def _copies_tags(ask: Ask) -> bool:
    return ask.headers.get("x-amz-tagging-directive", "").upper() != "REPLACE" and ask.source_tagged


def _copy_tagged(ask: Ask) -> bool:
    replaces = ask.headers.get("x-amz-tagging-directive", "").upper() == "REPLACE"
    return _tagged(ask) if replaces else ask.source_tagged


def _locks_bucket(ask: Ask) -> bool:
    return ask.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"


def _owned(ask: Ask) -> bool:
    return "x-amz-object-ownership" in ask.headers


_LOCKED = (Need("s3:PutObjectRetention", when=_retained), Need("s3:PutObjectLegalHold", when=_held))
_WITH_ACL = Need("s3:PutObjectAcl", when=_with_acl)
_COMPARED = Need("s3:GetObject", when=_compared)
_WRITE = (Need("s3:PutObject"), Need("s3:PutObjectTagging", when=_tagged), *_LOCKED, _WITH_ACL, _COMPARED)
_READ_SOURCE = Need("s3:GetObject", "source", "s3:GetObjectVersion")
_READ = (Need("s3:GetObject", version_action="s3:GetObjectVersion"),)
_LIST = (Need("s3:ListBucket", "bucket"),)


def _bucket(action: str) -> tuple[Need, ...]:
    return (Need(f"s3:{action}", "bucket"),)


def _object(action: str, version_action: str = "") -> tuple[Need, ...]:
    return (Need(f"s3:{action}", version_action=version_action and f"s3:{version_action}"),)


#: Operation -> the rights that it takes.
TABLE: Mapping[str, tuple[Need, ...]] = MappingProxyType(
    {
        # The service and buckets.
        "list_buckets": (Need("s3:ListAllMyBuckets", "service"),),
        "create_bucket": (
            *_bucket("CreateBucket"),
            Need("s3:PutBucketAcl", "bucket", when=_with_acl),
            Need("s3:PutBucketOwnershipControls", "bucket", when=_owned),
            Need("s3:PutBucketObjectLockConfiguration", "bucket", when=_locks_bucket),
            Need("s3:PutBucketVersioning", "bucket", when=_locks_bucket),
        ),
        "head_bucket": _LIST,
        "delete_bucket": _bucket("DeleteBucket"),
        "get_bucket_location": _bucket("GetBucketLocation"),
        "get_bucket_versioning": _bucket("GetBucketVersioning"),
        "put_bucket_versioning": _bucket("PutBucketVersioning"),
        "get_bucket_tagging": _bucket("GetBucketTagging"),
        "put_bucket_tagging": _bucket("PutBucketTagging"),
        "delete_bucket_tagging": _bucket("PutBucketTagging"),
        "get_bucket_cors": _bucket("GetBucketCORS"),
        "put_bucket_cors": _bucket("PutBucketCORS"),
        "delete_bucket_cors": _bucket("PutBucketCORS"),
        "get_bucket_lifecycle": _bucket("GetLifecycleConfiguration"),
        "put_bucket_lifecycle": _bucket("PutLifecycleConfiguration"),
        "delete_bucket_lifecycle": _bucket("PutLifecycleConfiguration"),
        "get_bucket_acl": _bucket("GetBucketAcl"),
        "put_bucket_acl": _bucket("PutBucketAcl"),
        "get_bucket_encryption": _bucket("GetEncryptionConfiguration"),
        "put_bucket_encryption": _bucket("PutEncryptionConfiguration"),
        "delete_bucket_encryption": _bucket("PutEncryptionConfiguration"),
        "get_bucket_policy": _bucket("GetBucketPolicy"),
        "put_bucket_policy": _bucket("PutBucketPolicy"),
        "delete_bucket_policy": _bucket("DeleteBucketPolicy"),
        "get_bucket_policy_status": _bucket("GetBucketPolicyStatus"),
        "get_public_access_block": _bucket("GetBucketPublicAccessBlock"),
        "put_public_access_block": _bucket("PutBucketPublicAccessBlock"),
        "delete_public_access_block": _bucket("PutBucketPublicAccessBlock"),
        "get_object_lock_configuration": _bucket("GetBucketObjectLockConfiguration"),
        "put_object_lock_configuration": _bucket("PutBucketObjectLockConfiguration"),
        # Listings.
        "list_objects": _LIST,
        "list_objects_v2": _LIST,
        "list_object_versions": _bucket("ListBucketVersions"),
        "list_multipart_uploads": _bucket("ListBucketMultipartUploads"),
        # Objects.
        "get_object": _READ,
        "head_object": _READ,
        "get_object_attributes": (
            *_READ,
            *_object("GetObjectAttributes", "GetObjectVersionAttributes"),
        ),
        "put_object": _WRITE,
        "post_object": _WRITE,
        "copy_object": (
            _READ_SOURCE,
            Need("s3:GetObjectTagging", "source", "s3:GetObjectVersionTagging", when=_copies_tags),
            Need("s3:PutObject"),
            Need("s3:PutObjectTagging", when=_copy_tagged),
            *_LOCKED,
            _WITH_ACL,
            _COMPARED,
        ),
        "delete_object": (*_object("DeleteObject", "DeleteObjectVersion"), _COMPARED),
        # Each key of it is asked about once the list is there.
        "delete_objects": (),
        "get_object_tagging": _object("GetObjectTagging", "GetObjectVersionTagging"),
        "put_object_tagging": _object("PutObjectTagging", "PutObjectVersionTagging"),
        "delete_object_tagging": _object("DeleteObjectTagging", "DeleteObjectVersionTagging"),
        "get_object_acl": _object("GetObjectAcl", "GetObjectVersionAcl"),
        "put_object_acl": _object("PutObjectAcl", "PutObjectVersionAcl"),
        "get_object_retention": _object("GetObjectRetention"),
        "put_object_retention": _object("PutObjectRetention"),
        "get_object_legal_hold": _object("GetObjectLegalHold"),
        "put_object_legal_hold": _object("PutObjectLegalHold"),
        # Multipart uploads.
        "create_multipart_upload": _WRITE,
        "upload_part": _object("PutObject"),
        "upload_part_copy": (_READ_SOURCE, Need("s3:PutObject")),
        "complete_multipart_upload": (Need("s3:PutObject"), _COMPARED),
        "abort_multipart_upload": _object("AbortMultipartUpload"),
        "list_parts": _object("ListMultipartUploadParts"),
        # What is not offered says so to those who may list the bucket.
        "unconfigured_bucket": _LIST,
        "unsupported": _LIST,
    }
)

#: Operations that read what a canned ACL may open to everyone -> whose ACL.
OPENED_BY_ACL: Mapping[str, Literal["bucket", "object"]] = MappingProxyType(
    {
        "list_objects": "bucket",
        "list_objects_v2": "bucket",
        "head_bucket": "bucket",
        "get_object": "object",
        "head_object": "object",
    }
)

BYPASS_HEADER = "x-amz-bypass-governance-retention"
#: Operations that may go around a GOVERNANCE retention; without the right they are as if they had not asked.
BYPASSING = frozenset({"delete_object", "put_object_retention"})

#: Operations whose bodies hold what conditions may speak of -> beginnings of the keys, in lower case.
KEYS_IN_BODY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "put_object_tagging": ("s3:requestobjecttag",),
        "put_object_retention": ("s3:object-lock-",),
        "put_object_legal_hold": ("s3:object-lock-",),
        "put_object_acl": ("s3:x-amz-acl",),
        "put_bucket_acl": ("s3:x-amz-acl",),
    }
)
