"""ListParts: the parts of an upload that have arrived.

Invariants: by number; a part is listed once it is durable; its checksums, where they are sealed under a customer's key,
only to who brings that key.

Source: Amazon S3 API Reference, ListParts.
"""

from __future__ import annotations

from collections.abc import Awaitable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import PART_COUNT_MAX, Context
from tickvault.doors.s3.digests import element_name
from tickvault.doors.s3.encryption_headers import read_customer_key
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.listing_parameters import count, owner_element
from tickvault.doors.s3.message import Request, Response
from tickvault.errors import UploadNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import PartInfo, PartPage


def list_parts(context: Context, request: Request) -> Awaitable[Response]:
    """Answer ListParts."""
    bucket = context.bucket(request.bucket)
    limit = count(request.query, "max-parts")
    marker = 0
    if request.query.get("part-number-marker"):
        marker = count(request.query, "part-number-marker", PART_COUNT_MAX)
    return context.in_thread(_page, context, request, bucket, limit, marker)


def _page(context: Context, request: Request, bucket: Bucket, limit: int, marker: int) -> Response:
    upload_id = request.query["uploadId"]
    try:
        upload = bucket.upload_info(request.key, upload_id)
        page = PartPage([], None)
        if limit:
            page = bucket.list_parts_page(
                request.key,
                upload_id,
                part_number_marker=marker,
                limit=limit,
                customer_key=read_customer_key(request),
            )
    except UploadNotFoundError:
        raise S3Error("NoSuchUpload", UploadId=upload_id) from None
    following = page.next_part_number_marker
    last = page.parts[-1].part_number if page.parts else 0
    body = xml.document(
        "ListPartsResult",
        xml.tag("Bucket", bucket.name),
        xml.tag("Key", request.key),
        xml.tag("UploadId", upload_id),
        owner_element(context, "Initiator"),
        owner_element(context),
        xml.tag("StorageClass", upload.headers.get("x-amz-storage-class", "STANDARD")),
        f"<PartNumberMarker>{marker}</PartNumberMarker>",
        f"<NextPartNumberMarker>{following if following is not None else last}</NextPartNumberMarker>",
        f"<MaxParts>{limit}</MaxParts>",
        f"<IsTruncated>{'true' if following is not None else 'false'}</IsTruncated>",
        xml.tag("ChecksumAlgorithm", upload.checksum_algorithm.upper() if upload.checksum_algorithm else None),
        xml.tag("ChecksumType", upload.checksum_type),
        "".join(_part(part, upload.checksum_algorithm) for part in page.parts),
    )
    return Response(200, {"Content-Type": "application/xml"}, body)


def _part(part: PartInfo, algorithm: str | None) -> str:
    shown = {name: value for name, value in part.checksums.items() if algorithm in (None, name)}
    return (
        f"<Part><PartNumber>{part.part_number}</PartNumber>"
        f"<LastModified>{xml.timestamp(part.modified_ns)}</LastModified><ETag>&quot;{part.etag}&quot;</ETag>"
        f"<Size>{part.size}</Size>"
        f"{''.join(xml.tag(element_name(name), value) for name, value in shown.items())}</Part>"
    )
