"""HeadObject: what GetObject would answer, without the bytes.

Invariants: status and headers equal those of GetObject for the same request; no body is ever sent, also with
an error.

Source: Amazon S3 API Reference, HeadObject.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import missing, prepare_read, requested_version
from tickvault.errors import NotFoundError


def head_object(context: Context, request: Request) -> Response:
    """Answer HeadObject."""
    bucket, settings = context.find_bucket(request.bucket)
    version_id = requested_version(request)
    try:
        info = bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    status, start, end, headers = prepare_read(settings, request, info)
    return Response(status, headers, b"", end - start)
