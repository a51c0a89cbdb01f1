"""GetBucketLocation: the region a bucket was made in.

Invariants: us-east-1 is written as an empty constraint, as S3 does.

Source: Amazon S3 API Reference, GetBucketLocation.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response


def get_bucket_location(context: Context, request: Request) -> Response:
    """Answer GetBucketLocation."""
    bucket = context.bucket(request.bucket)
    region = str(bucket.info.documents.get("location") or context.region)
    content = "" if region == "us-east-1" else xml.escape(region)
    return Response(200, {"Content-Type": "application/xml"}, xml.document("LocationConstraint", content))
