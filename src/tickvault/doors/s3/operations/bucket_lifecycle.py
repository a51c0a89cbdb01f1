"""GetBucketLifecycleConfiguration, PutBucketLifecycleConfiguration and DeleteBucketLifecycle.

Invariants: a configuration is taken whole or not at all, and only if the lifecycle runner can carry it out.

Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration,
DeleteBucketLifecycle.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.lifecycle_xml import from_element, to_document
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required
from tickvault.errors import InvalidInputError
from tickvault.objects.lifecycle import validate_lifecycle


def get_bucket_lifecycle(context: Context, request: Request) -> Response:
    """Answer GetBucketLifecycleConfiguration."""
    lifecycle = context.bucket(request.bucket).info.documents.get("lifecycle")
    if not lifecycle:
        raise S3Error("NoSuchLifecycleConfiguration", BucketName=request.bucket)
    headers = {
        "Content-Type": "application/xml",
        "x-amz-transition-default-minimum-object-size": "all_storage_classes_128K",
    }
    return Response(200, headers, to_document(lifecycle))


async def put_bucket_lifecycle(context: Context, request: Request) -> Response:
    """Answer PutBucketLifecycleConfiguration."""
    bucket = context.bucket(request.bucket)
    lifecycle = from_element(await read_required(request, "LifecycleConfiguration"))
    try:
        validate_lifecycle(lifecycle)
    except InvalidInputError as error:
        raise S3Error("InvalidArgument", str(error)) from None
    await context.in_thread(bucket.set_document, "lifecycle", lifecycle)
    return Response(200, {"x-amz-transition-default-minimum-object-size": "all_storage_classes_128K"})


async def delete_bucket_lifecycle(context: Context, request: Request) -> Response:
    """Answer DeleteBucketLifecycle."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_document, "lifecycle", None)
    return Response(204)
