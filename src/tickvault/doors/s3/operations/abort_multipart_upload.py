"""AbortMultipartUpload: give up an upload and its parts.

Invariants: after the answer the upload is gone; an object of the same key is not touched.

Source: Amazon S3 API Reference, AbortMultipartUpload.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request, Response
from tickvault.errors import UploadNotFoundError


async def abort_multipart_upload(context: Context, request: Request) -> Response:
    """Answer AbortMultipartUpload."""
    if "x-amz-if-match-initiated-time" in request.headers:
        raise not_implemented("Header x-amz-if-match-initiated-time")
    bucket = context.bucket(request.bucket)
    upload_id = request.query["uploadId"]
    try:
        await context.in_thread(bucket.abort_upload, request.key, upload_id)
    except UploadNotFoundError:
        raise S3Error("NoSuchUpload", UploadId=upload_id) from None
    return Response(204)
