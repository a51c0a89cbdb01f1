"""What an operation still asks once it was decided that it may run: may this one know, may this version be read?

Invariants: what no policy allowed is read only where the canned ACL of the very version opens it to everyone; whether a
key exists is told only to those who may list the bucket.

Source: S3 User Guide, "Access control list (ACL) overview"; Amazon S3 API Reference, GetObject, "Permissions".
"""

from __future__ import annotations

from tickvault.doors.s3.canned_acl import is_public
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo


def check_told(request: Request, bucket: Bucket) -> None:
    """Raise ``AccessDenied`` unless the one who asks may know which keys the bucket has."""
    if request.authorizer is None or not request.authorizer.may_list(request, bucket):
        raise S3Error("AccessDenied")


def check_read(request: Request, info: ObjectInfo) -> None:
    """Raise ``AccessDenied`` where the ACL of the version decides and does not open it."""
    if request.acl_decides and not is_public(info.headers.get("x-amz-acl")):
        raise S3Error("AccessDenied")
