"""GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy and GetBucketPolicyStatus.

Invariants: a policy is taken whole or not at all, and only one that can be decided by; one that is public is refused
where the bucket's BlockPublicPolicy says so; the root can always read, replace and delete it.

Source: Amazon S3 API Reference, the operations of those names.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.objects.bucket_rules import POLICY_DOCUMENT, block_of
from tickvault.security.policy import is_public, parse_policy
from tickvault.security.policy.limits import SOURCE_SIZE_MAX


def get_bucket_policy(context: Context, request: Request) -> Response:
    """Answer GetBucketPolicy."""
    return Response(200, {"Content-Type": "application/json"}, _text(context, request).encode())


async def put_bucket_policy(context: Context, request: Request) -> Response:
    """Answer PutBucketPolicy."""
    bucket = context.bucket(request.bucket)
    try:
        source = await request.body.read(SOURCE_SIZE_MAX)
    except S3Error as error:
        if error.code == "EntityTooLarge":
            raise S3Error("MalformedPolicy", "Policy exceeds the maximum allowed document size.") from None
        raise
    if not source:
        raise S3Error("MissingRequestBodyError")
    try:
        policy = parse_policy(bytes(source), kind="bucket", for_bucket=request.bucket)
    except InvalidInputError as error:
        raise S3Error("MalformedPolicy", str(error)) from None
    try:
        block_of(bucket.info).check_policy(policy)
    except AccessDeniedError as error:
        raise S3Error("AccessDenied", str(error)) from None
    try:
        await context.in_thread(bucket.set_document, POLICY_DOCUMENT, policy.to_json())
    except InvalidInputError as error:
        raise S3Error("MalformedPolicy", f"Invalid principal in policy: {error}") from None
    return Response(204)


async def delete_bucket_policy(context: Context, request: Request) -> Response:
    """Answer DeleteBucketPolicy."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_document, POLICY_DOCUMENT, None)
    return Response(204)


def get_bucket_policy_status(context: Context, request: Request) -> Response:
    """Answer GetBucketPolicyStatus."""
    public = is_public(parse_policy(_text(context, request), kind="bucket"))
    body = xml.document("PolicyStatus", xml.tag("IsPublic", "true" if public else "false"))
    return Response(200, {"Content-Type": "application/xml"}, body)


def _text(context: Context, request: Request) -> str:
    text = context.bucket(request.bucket).info.documents.get(POLICY_DOCUMENT)
    if text is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=request.bucket)
    return str(text)
