"""ListObjects, the first version: pages go on from a marker, which is a key.

Invariants: as for ListObjectsV2; a ``NextMarker`` is given only with a delimiter, as in S3, since without one
it is the last key.

Source: Amazon S3 API Reference, ListObjects.
"""

from __future__ import annotations

from collections.abc import Awaitable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.listing_parameters import (
    common_prefixes,
    contents,
    count,
    encoding_type,
    key_writer,
    owner_element,
)
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.list_objects_v2 import EMPTY_PAGE, INLINE_COUNT_MAX, bucket_region
from tickvault.objects.bucket import Bucket


def list_objects(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Answer ListObjects."""
    bucket = context.bucket(request.bucket)
    limit = count(request.query, "max-keys")
    key_writer(request.query)
    if limit <= INLINE_COUNT_MAX:
        return _page(context, request, bucket, limit)
    return context.in_thread(_page, context, request, bucket, limit)


def _page(context: Context, request: Request, bucket: Bucket, limit: int) -> Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    marker = query.get("marker", "")
    write_key = key_writer(query)
    page = EMPTY_PAGE
    if limit:
        page = bucket.list_page(prefix=prefix, delimiter=delimiter, start_after=marker, limit=limit, locks=False)
    following = page.next_start_after
    body = xml.document(
        "ListBucketResult",
        xml.tag("Name", bucket.name),
        f"<Prefix>{write_key(prefix)}</Prefix><Marker>{write_key(marker)}</Marker>",
        f"<NextMarker>{write_key(following)}</NextMarker>" if delimiter and following is not None else "",
        f"<MaxKeys>{limit}</MaxKeys>",
        f"<Delimiter>{write_key(delimiter)}</Delimiter>" if delimiter else "",
        encoding_type(query),
        f"<IsTruncated>{'true' if following is not None else 'false'}</IsTruncated>",
        contents(page.objects, write_key, owner_element(context)),
        common_prefixes(page.common_prefixes, write_key),
    )
    return Response(200, {"Content-Type": "application/xml", **bucket_region(context, bucket)}, body)
