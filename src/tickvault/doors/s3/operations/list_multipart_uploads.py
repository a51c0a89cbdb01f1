"""ListMultipartUploads: uploads that were begun and neither completed nor aborted.

Invariants: by key, then by upload id; both markers together name the place to go on from.

Source: Amazon S3 API Reference, ListMultipartUploads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.listing_parameters import (
    common_prefixes,
    count,
    encoding_type,
    key_writer,
    owner_element,
)
from tickvault.doors.s3.message import Request, Response
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import UploadInfo, UploadPage


def list_multipart_uploads(context: Context, request: Request) -> Awaitable[Response]:
    """Answer ListMultipartUploads."""
    bucket = context.bucket(request.bucket)
    limit = count(request.query, "max-uploads")
    key_writer(request.query)
    return context.in_thread(_page, context, request, bucket, limit)


def _page(context: Context, request: Request, bucket: Bucket, limit: int) -> Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker = query.get("key-marker", "")
    # S3 ignores an upload id marker without a key marker.
    upload_marker = query.get("upload-id-marker", "") if key_marker else ""
    write_key = key_writer(query)
    page = UploadPage([], [], None, None)
    if limit:
        page = bucket.list_uploads_page(
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            upload_id_marker=upload_marker,
            limit=limit,
        )
    owner = owner_element(context, "Initiator") + owner_element(context)
    following = page.next_key_marker
    body = xml.document(
        "ListMultipartUploadsResult",
        xml.tag("Bucket", bucket.name),
        f"<KeyMarker>{write_key(key_marker)}</KeyMarker>",
        f"<UploadIdMarker>{xml.escape(upload_marker)}</UploadIdMarker>",
        f"<NextKeyMarker>{write_key(following)}</NextKeyMarker>" if following is not None else "",
        xml.tag("NextUploadIdMarker", page.next_upload_id_marker or None),
        f"<Prefix>{write_key(prefix)}</Prefix>",
        f"<Delimiter>{write_key(delimiter)}</Delimiter>" if delimiter else "",
        encoding_type(query),
        f"<MaxUploads>{limit}</MaxUploads>",
        f"<IsTruncated>{'true' if following is not None else 'false'}</IsTruncated>",
        "".join(_upload(upload, write_key, owner) for upload in page.uploads),
        common_prefixes(page.common_prefixes, write_key),
    )
    return Response(200, {"Content-Type": "application/xml"}, body)


def _upload(upload: UploadInfo, write_key: Callable[[str], str], owner: str) -> str:
    algorithm = upload.checksum_algorithm.upper() if upload.checksum_algorithm else None
    storage_class = xml.escape(upload.headers.get("x-amz-storage-class", "STANDARD"))
    return (
        f"<Upload><Key>{write_key(upload.key)}</Key>{xml.tag('UploadId', upload.upload_id)}{owner}"
        f"<StorageClass>{storage_class}</StorageClass>"
        f"<Initiated>{xml.timestamp(upload.initiated_ns)}</Initiated>"
        f"{xml.tag('ChecksumAlgorithm', algorithm)}{xml.tag('ChecksumType', upload.checksum_type)}</Upload>"
    )
