"""ListObjectsV2: a page of the current keys of a bucket.

Invariants: keys and common prefixes together never exceed ``max-keys``; they come in byte order of the UTF-8
keys; a page followed by its continuation misses nothing that was there all the time.

Source: Amazon S3 API Reference, ListObjectsV2.
"""

from __future__ import annotations

from collections.abc import Awaitable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.listing_parameters import (
    common_prefixes,
    contents,
    count,
    encoding_type,
    key_writer,
    owner_element,
    place_of,
    token_for,
)
from tickvault.doors.s3.message import Request, Response
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ListPage

#: Pages up to this many entries are read on the event loop: a thread would take longer than they do.
INLINE_COUNT_MAX = 16
EMPTY_PAGE = ListPage([], [], None)


def list_objects_v2(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Answer ListObjectsV2."""
    bucket = context.bucket(request.bucket)
    query = request.query
    if query["list-type"] != "2":
        raise S3Error(
            "InvalidArgument",
            "Invalid List Type specified in Request",
            ArgumentName="list-type",
            ArgumentValue=query["list-type"],
        )
    limit = count(query, "max-keys")
    key_writer(query)
    token = query.get("continuation-token")
    start_after = place_of(token) if token else query.get("start-after", "")
    if limit <= INLINE_COUNT_MAX:
        return _page(context, request, bucket, limit, start_after)
    return context.in_thread(_page, context, request, bucket, limit, start_after)


def _page(context: Context, request: Request, bucket: Bucket, limit: int, start_after: str) -> Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    write_key = key_writer(query)
    page = EMPTY_PAGE
    if limit:
        page = bucket.list_page(prefix=prefix, delimiter=delimiter, start_after=start_after, limit=limit, locks=False)
    owner = owner_element(context) if query.get("fetch-owner", "").lower() == "true" else ""
    token = query.get("continuation-token")
    following = page.next_start_after
    body = xml.document(
        "ListBucketResult",
        xml.tag("Name", bucket.name),
        f"<Prefix>{write_key(prefix)}</Prefix>",
        f"<Delimiter>{write_key(delimiter)}</Delimiter>" if delimiter else "",
        f"<StartAfter>{write_key(query['start-after'])}</StartAfter>" if query.get("start-after") else "",
        xml.tag("ContinuationToken", token),
        xml.tag("NextContinuationToken", token_for(following)) if following is not None else "",
        f"<KeyCount>{len(page.objects) + len(page.common_prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>",
        encoding_type(query),
        f"<IsTruncated>{'true' if following is not None else 'false'}</IsTruncated>",
        contents(page.objects, write_key, owner),
        common_prefixes(page.common_prefixes, write_key),
    )
    return Response(200, {"Content-Type": "application/xml", **bucket_region(context, bucket)}, body)


def bucket_region(context: Context, bucket: Bucket) -> dict[str, str]:
    """Return the ``x-amz-bucket-region`` header: where the bucket was made, else the region of the server."""
    return {"x-amz-bucket-region": str(bucket.info.documents.get("location") or context.region)}
