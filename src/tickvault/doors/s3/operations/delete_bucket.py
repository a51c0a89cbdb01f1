"""DeleteBucket: remove an empty bucket.

Invariants: a bucket that holds an object, a version or an unfinished upload stays.

Source: Amazon S3 API Reference, DeleteBucket.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.errors import NotEmptyError


async def delete_bucket(context: Context, request: Request) -> Response:
    """Answer DeleteBucket."""
    try:
        await context.in_thread(context.store.delete_bucket, request.bucket)
    except NotEmptyError:
        raise S3Error("BucketNotEmpty", BucketName=request.bucket) from None
    return Response(204)
