"""UploadPartCopy: a part whose bytes are those of a stored object, or of a range of it.

Invariants: the bytes are verified as they are read; memory stays constant.

Source: Amazon S3 API Reference, UploadPartCopy.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.conditions import check_copy_source
from tickvault.doors.s3.context import PUT_SIZE_MAX, Context
from tickvault.doors.s3.copy_source import CopySource, find_source
from tickvault.doors.s3.digests import element_name
from tickvault.doors.s3.encryption_headers import check_part, encryption_headers
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.multipart_checksums import part_algorithms
from tickvault.doors.s3.object_headers import refuse_on_part
from tickvault.doors.s3.ranges import copy_range, part_number
from tickvault.doors.s3.upload_stream import Sink
from tickvault.errors import ConflictError
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.stored import info_of
from tickvault.objects.model import PartInfo


async def upload_part_copy(context: Context, request: Request) -> Response:
    """Answer UploadPartCopy."""
    bucket = context.bucket(request.bucket)
    headers = request.headers
    refuse_on_part(headers)
    number = part_number(request.query.get("partNumber", ""))
    upload = bucket.upload_info(request.key, request.query["uploadId"])
    sealed = None if upload.encryption is None else info_of(upload.encryption)
    customer_key = check_part(request, sealed)
    source = find_source(context, request)
    check_copy_source(headers, source.info)
    start, end = 0, source.info.size
    if "x-amz-copy-source-range" in headers:
        start, end = copy_range(headers["x-amz-copy-source-range"], source.info.size)
    if end - start > PUT_SIZE_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=end - start, MaxSizeAllowed=PUT_SIZE_MAX)
    algorithms = part_algorithms(upload, None)
    part = await context.in_thread(
        _copy, source, (start, end), bucket, request, number, customer_key, algorithms=algorithms
    )
    answer = {"Content-Type": "application/xml", **encryption_headers(sealed, request)}
    if source.bucket.info.versioning != "off":
        answer["x-amz-copy-source-version-id"] = source.info.version_id
    values = (xml.tag(element_name(name), part.checksums[name]) for name in algorithms if name in part.checksums)
    body = xml.document(
        "CopyPartResult",
        f"<LastModified>{xml.timestamp(part.modified_ns)}</LastModified><ETag>&quot;{part.etag}&quot;</ETag>",
        *values,
    )
    return Response(200, answer, body)


def _copy(
    source: CopySource,
    span: tuple[int, int],
    bucket: Bucket,
    request: Request,
    number: int,
    customer_key: bytes | None,
    *,
    algorithms: tuple[str, ...],
) -> PartInfo:
    reader = source.bucket.read(source.key, version_id=source.version_id, customer_key=source.customer_key)
    if reader.info.sequence != source.info.sequence:
        raise ConflictError(f"copy {source.key}: the source was replaced while the request was checked; try again")
    upload_id = request.query["uploadId"]
    writer = bucket.open_part_writer(request.key, upload_id, number, span[1] - span[0], customer_key=customer_key)
    sink = Sink(writer, algorithms)
    try:
        for chunk in reader.chunks(*span):
            sink.consume(chunk)
        return bucket.store.commit(sink.seal(sink.checksums()))
    finally:
        sink.close()
