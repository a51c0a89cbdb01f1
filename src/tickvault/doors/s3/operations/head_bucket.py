"""HeadBucket: whether a bucket is there, and where.

Invariants: an unsigned request learns of a bucket only what its listing would tell.

Source: Amazon S3 API Reference, HeadBucket.
"""

from __future__ import annotations

from tickvault.doors.s3 import access
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.list_objects_v2 import bucket_region


def head_bucket(context: Context, request: Request) -> Response:
    """Answer HeadBucket."""
    bucket = context.bucket(request.bucket)
    if not request.access_key:
        access.check_list(bucket)
    headers = {"Content-Type": "application/xml", "x-amz-access-point-alias": "false"}
    headers.update(bucket_region(context, bucket))
    return Response(200, headers)
