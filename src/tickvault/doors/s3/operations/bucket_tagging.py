"""GetBucketTagging, PutBucketTagging and DeleteBucketTagging.

Invariants: a put replaces the whole set.

Source: Amazon S3 API Reference, GetBucketTagging, PutBucketTagging, DeleteBucketTagging.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required
from tickvault.doors.s3.tag_sets import BUCKET_TAG_COUNT_MAX, from_element, tagging_document


def get_bucket_tagging(context: Context, request: Request) -> Response:
    """Answer GetBucketTagging."""
    tags = context.bucket(request.bucket).info.documents.get("tagging")
    if not tags:
        raise S3Error("NoSuchTagSet", BucketName=request.bucket)
    return Response(200, {"Content-Type": "application/xml"}, tagging_document(tags))


async def put_bucket_tagging(context: Context, request: Request) -> Response:
    """Answer PutBucketTagging."""
    bucket = context.bucket(request.bucket)
    tags = from_element(await read_required(request, "Tagging"), BUCKET_TAG_COUNT_MAX)
    await context.in_thread(bucket.set_document, "tagging", tags or None)
    return Response(204)


async def delete_bucket_tagging(context: Context, request: Request) -> Response:
    """Answer DeleteBucketTagging."""
    bucket = context.bucket(request.bucket)
    await context.in_thread(bucket.set_document, "tagging", None)
    return Response(204)
