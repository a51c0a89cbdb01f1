"""HeadBucket: whether a bucket is there, and where.

Invariants: it takes the right to list the bucket, and tells no more than that it is there.

Source: Amazon S3 API Reference, HeadBucket.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.list_objects_v2 import bucket_region


def head_bucket(context: Context, request: Request) -> Response:
    """Answer HeadBucket."""
    bucket = context.bucket(request.bucket)
    headers = {"Content-Type": "application/xml", "x-amz-access-point-alias": "false"}
    headers.update(bucket_region(context, bucket))
    return Response(200, headers)
