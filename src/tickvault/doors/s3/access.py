"""Who may read without a signature.

Invariants: an unsigned request reads what a canned ACL opens to everyone, on a server that was told to answer
unsigned requests, and nothing else; it cannot learn whether a key exists unless it may list the bucket.

Source: S3 User Guide, "Access control list (ACL) overview".
"""

from __future__ import annotations

from tickvault.doors.s3.canned_acl import is_public
from tickvault.doors.s3.errors import S3Error
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo


def check_list(bucket: Bucket) -> None:
    """Raise ``AccessDenied`` unless anyone may list the bucket."""
    if not is_public(bucket.info.documents.get("acl")):
        raise S3Error("AccessDenied")


def check_read(info: ObjectInfo) -> None:
    """Raise ``AccessDenied`` unless anyone may read the object."""
    if not is_public(info.headers.get("x-amz-acl")):
        raise S3Error("AccessDenied")
