"""GetObjectAttributes: chosen facts of an object, without its bytes.

Invariants: only what was asked for is told; parts are listed with their sizes, their own checksums are not kept.

Source: Amazon S3 API Reference, GetObjectAttributes.
"""

from __future__ import annotations

from collections.abc import Awaitable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.conditions import http_date
from tickvault.doors.s3.context import PAGE_SIZE_MAX, PART_COUNT_MAX, Context
from tickvault.doors.s3.digests import element_name
from tickvault.doors.s3.encryption_headers import check_readable, read_customer_key
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import missing, requested_version
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.get import with_checksums
from tickvault.objects.model import ObjectInfo

_ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


def get_object_attributes(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Answer GetObjectAttributes."""
    bucket = context.bucket(request.bucket)
    version_id = requested_version(request)
    wanted = {name.strip() for name in request.headers.get("x-amz-object-attributes", "").split(",")} - {""}
    if not wanted or wanted - _ATTRIBUTES:
        raise S3Error(
            "InvalidArgument",
            "Invalid attribute name specified." if wanted else "The x-amz-object-attributes header is required.",
            ArgumentName="x-amz-object-attributes",
            ArgumentValue=request.headers.get("x-amz-object-attributes"),
        )
    limit = _whole_number(request, "x-amz-max-parts", PAGE_SIZE_MAX)
    after = _whole_number(request, "x-amz-part-number-marker", 0)
    try:
        info = bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    check_readable(request, info.encryption)
    if "Checksum" in wanted and info.sealed_checksums:
        if not context.store.keys.at_once:
            # Opening them asks a key service that is elsewhere, or not open yet.
            return context.in_thread(_opened, bucket, request, info, wanted, (after, limit))
        return _opened(bucket, request, info, wanted, (after, limit))
    return _answer(bucket, info, wanted, (after, limit))


def _opened(
    bucket: Bucket, request: Request, info: ObjectInfo, wanted: set[str], parts_asked: tuple[int, int]
) -> Response:
    """Answer with checksums that are sealed."""
    return _answer(bucket, with_checksums(bucket, info, read_customer_key(request)), wanted, parts_asked)


def _answer(bucket: Bucket, info: ObjectInfo, wanted: set[str], parts_asked: tuple[int, int]) -> Response:
    after, limit = parts_asked
    content = []
    if "ETag" in wanted:
        content.append(xml.tag("ETag", info.etag))
    if "Checksum" in wanted and info.checksums:
        values = "".join(xml.tag(element_name(name), value) for name, value in info.checksums.items())
        content.append(f"<Checksum>{values}{xml.tag('ChecksumType', info.checksum_type or 'FULL_OBJECT')}</Checksum>")
    if "ObjectParts" in wanted and info.part_sizes:
        content.append(_parts(info, after, min(limit, PAGE_SIZE_MAX)))
    if "StorageClass" in wanted:
        content.append(xml.tag("StorageClass", info.headers.get("x-amz-storage-class", "STANDARD")))
    if "ObjectSize" in wanted:
        content.append(xml.tag("ObjectSize", info.size))
    headers = {
        "Content-Type": "application/xml",
        "Last-Modified": http_date(info.modified_ns // 1_000_000_000),
    }
    if bucket.info.versioning != "off":
        headers["x-amz-version-id"] = info.version_id
    return Response(200, headers, xml.document("GetObjectAttributesResponse", *content))


def _whole_number(request: Request, name: str, default: int) -> int:
    text = request.headers.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return min(int(text), PART_COUNT_MAX)


def _parts(info: ObjectInfo, after: int, limit: int) -> str:
    sizes = info.part_sizes
    shown = sizes[after : after + limit]
    last = after + len(shown)
    truncated = last < len(sizes)
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>"
        for number, size in enumerate(shown, after + 1)
    )
    return (
        f"<ObjectParts><PartsCount>{len(sizes)}</PartsCount><PartNumberMarker>{after}</PartNumberMarker>"
        f"<NextPartNumberMarker>{last}</NextPartNumberMarker><MaxParts>{limit}</MaxParts>"
        f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>{parts}</ObjectParts>"
    )
