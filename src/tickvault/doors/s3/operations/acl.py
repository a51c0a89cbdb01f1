"""GetBucketAcl, PutBucketAcl, GetObjectAcl and PutObjectAcl, for canned ACLs.

Invariants: private unless said otherwise; a public one is refused where the bucket blocks it; an ACL that is not one
of the canned ones is refused, never approximated.

Source: Amazon S3 API Reference, GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.
"""

from __future__ import annotations

from tickvault.doors.s3.canned_acl import object_acl, policy_document, recognise
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.object_headers import refuse_unsupported
from tickvault.doors.s3.operations.get_object import missing, requested_version
from tickvault.doors.s3.request_document import read_optional
from tickvault.errors import NotFoundError


def get_bucket_acl(context: Context, request: Request) -> Response:
    """Answer GetBucketAcl."""
    acl = context.bucket(request.bucket).info.documents.get("acl", "private")
    return Response(200, {"Content-Type": "application/xml"}, policy_document(context, str(acl)))


async def put_bucket_acl(context: Context, request: Request) -> Response:
    """Answer PutBucketAcl."""
    bucket = context.bucket(request.bucket)
    acl = await _requested(context, request)
    context.authorizer.check_acl(bucket.info, acl)
    await context.in_thread(bucket.set_document, "acl", None if acl == "private" else acl)
    return Response(200)


def get_object_acl(context: Context, request: Request) -> Response:
    """Answer GetObjectAcl."""
    bucket = context.bucket(request.bucket)
    version_id = requested_version(request)
    try:
        info = bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    headers = {"Content-Type": "application/xml"}
    if bucket.info.versioning != "off":
        headers["x-amz-version-id"] = info.version_id
    return Response(200, headers, policy_document(context, info.headers.get("x-amz-acl", "private")))


async def put_object_acl(context: Context, request: Request) -> Response:
    """Answer PutObjectAcl."""
    bucket = context.bucket(request.bucket)
    version_id = requested_version(request)
    acl = await _requested(context, request)
    context.authorizer.check_acl(bucket.info, acl)
    change = {"x-amz-acl": None if acl == "private" else acl}
    try:
        info = await context.in_thread(bucket.set_headers, request.key, change, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    return Response(200, {"x-amz-version-id": info.version_id} if bucket.info.versioning != "off" else {})


async def _requested(context: Context, request: Request) -> str:
    """Return the canned ACL a put names in its header or spells out in its body; one of both, not both."""
    refuse_unsupported(request.headers)
    canned = request.headers.get("x-amz-acl")
    policy = await read_optional(request, None)
    if canned is not None:
        if policy is not None:
            raise S3Error("UnexpectedContent", "This request does not support content")
        return object_acl(canned)
    if policy is None:
        raise S3Error(
            "MissingSecurityHeader",
            "Your request was missing a required header",
            MissingHeaderName="x-amz-acl",
        )
    return recognise(context.owner_id, policy)
