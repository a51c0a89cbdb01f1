"""ListBuckets: all buckets of the vault, or a page of them.

Invariants: buckets are sorted by name; without ``max-buckets`` all are returned.

Source: Amazon S3 API Reference, ListBuckets.
"""

from __future__ import annotations

from collections.abc import Awaitable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.listing_parameters import count, owner_element, place_of, token_for
from tickvault.doors.s3.message import Request, Response

BUCKET_COUNT_MAX = 10_000


def list_buckets(context: Context, request: Request) -> Awaitable[Response]:
    """Answer ListBuckets."""
    if request.query.get("x-id") == "ListDirectoryBuckets":
        raise not_implemented("ListDirectoryBuckets")
    limit = count(request.query, "max-buckets", BUCKET_COUNT_MAX)
    if limit == 0:
        raise S3Error(
            "InvalidArgument",
            f"Argument max-buckets must be an integer between 1 and {BUCKET_COUNT_MAX}",
            ArgumentName="max-buckets",
            ArgumentValue="0",
        )
    token = request.query.get("continuation-token")
    return context.in_thread(_page, context, request, limit, place_of(token) if token else "")


def _page(context: Context, request: Request, limit: int, after: str) -> Response:
    query = request.query
    prefix, region = query.get("prefix", ""), query.get("bucket-region", "")
    buckets = [
        (info, str(info.documents.get("location") or context.region))
        for info in context.store.list_buckets()
        if info.name.startswith(prefix) and info.name > after
    ]
    if region:
        buckets = [pair for pair in buckets if pair[1] == region]
    page = buckets[:limit]
    content = "".join(
        f"<Bucket>{xml.tag('Name', info.name)}<CreationDate>{xml.timestamp(info.created_ns)}</CreationDate>"
        f"{xml.tag('BucketRegion', place)}</Bucket>"
        for info, place in page
    )
    body = xml.document(
        "ListAllMyBucketsResult",
        owner_element(context),
        f"<Buckets>{content}</Buckets>",
        xml.tag("Prefix", prefix or None),
        xml.tag("ContinuationToken", token_for(page[-1][0].name)) if len(buckets) > limit else "",
    )
    return Response(200, {"Content-Type": "application/xml"}, body)
