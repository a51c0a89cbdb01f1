"""CreateMultipartUpload: begin an object that arrives in parts.

Invariants: what the object will keep besides its bytes is fixed here; the checksum named here is the one
every part must have.

Source: Amazon S3 API Reference, CreateMultipartUpload.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.encryption_headers import encryption_headers
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.multipart_checksums import upload_checksum
from tickvault.doors.s3.operations.put_object import write_options
from tickvault.objects.encryption.stored import info_of


async def create_multipart_upload(context: Context, request: Request) -> Response:
    """Answer CreateMultipartUpload."""
    bucket = context.bucket(request.bucket)
    algorithm, kind = upload_checksum(request.headers)
    options = write_options(request)
    if "lock" in options and bucket.info.object_lock is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration", BucketName=request.bucket)
    options.pop("if_match", None)
    options.pop("if_none_match", None)
    upload = await context.in_thread(
        bucket.create_upload, request.key, checksum_algorithm=algorithm, checksum_type=kind, **options
    )
    headers = {"Content-Type": "application/xml"}
    if algorithm is not None and kind is not None:
        headers["x-amz-checksum-algorithm"] = algorithm.upper()
        headers["x-amz-checksum-type"] = kind
    if upload.encryption is not None:
        headers.update(encryption_headers(info_of(upload.encryption), request))
    body = xml.document(
        "InitiateMultipartUploadResult",
        xml.tag("Bucket", bucket.name),
        xml.tag("Key", request.key),
        xml.tag("UploadId", upload.upload_id),
    )
    return Response(200, headers, body)
