"""ListObjectVersions: every version and delete marker, by key, newest first.

Invariants: versions and markers stand in one order, as the store keeps them; both markers together name the
place to go on from.

Source: Amazon S3 API Reference, ListObjectVersions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.listing_parameters import (
    common_prefixes,
    count,
    encoding_type,
    key_writer,
    owner_element,
)
from tickvault.doors.s3.message import Request, Response
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo, VersionPage


def list_object_versions(context: Context, request: Request) -> Awaitable[Response]:
    """Answer ListObjectVersions."""
    bucket = context.bucket(request.bucket)
    query = request.query
    key_writer(query)
    limit = count(query, "max-keys")
    if "version-id-marker" in query and not query.get("key-marker"):
        raise S3Error(
            "InvalidArgument",
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=query["version-id-marker"],
        )
    return context.in_thread(_page, context, request, bucket, limit)


def _page(context: Context, request: Request, bucket: Bucket, limit: int) -> Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    write_key = key_writer(query)
    page = VersionPage([], [], None, None)
    if limit:
        page = bucket.list_versions_page(
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            version_id_marker=version_marker,
            limit=limit,
            locks=False,
        )
    owner = owner_element(context)
    truncated = page.next_key_marker is not None
    body = xml.document(
        "ListVersionsResult",
        xml.tag("Name", bucket.name),
        f"<Prefix>{write_key(prefix)}</Prefix><KeyMarker>{write_key(key_marker)}</KeyMarker>",
        f"<VersionIdMarker>{xml.escape(version_marker)}</VersionIdMarker>",
        f"<NextKeyMarker>{write_key(page.next_key_marker)}</NextKeyMarker>" if page.next_key_marker is not None else "",
        xml.tag("NextVersionIdMarker", page.next_version_id_marker or None),
        f"<MaxKeys>{limit}</MaxKeys>",
        f"<Delimiter>{write_key(delimiter)}</Delimiter>" if delimiter else "",
        encoding_type(query),
        f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>",
        "".join(_version(info, write_key, owner) for info in page.versions),
        common_prefixes(page.common_prefixes, write_key),
    )
    return Response(200, {"Content-Type": "application/xml"}, body)


def _version(info: ObjectInfo, write_key: Callable[[str], str], owner: str) -> str:
    start = (
        f"<Key>{write_key(info.key)}</Key><VersionId>{xml.escape(info.version_id)}</VersionId>"
        f"<IsLatest>{'true' if info.is_latest else 'false'}</IsLatest>"
        f"<LastModified>{xml.timestamp(info.modified_ns)}</LastModified>"
    )
    if info.delete_marker:
        return f"<DeleteMarker>{start}{owner}</DeleteMarker>"
    algorithms = "".join(f"<ChecksumAlgorithm>{name.upper()}</ChecksumAlgorithm>" for name in info.checksums)
    if algorithms:
        algorithms += f"<ChecksumType>{info.checksum_type or 'FULL_OBJECT'}</ChecksumType>"
    storage_class = xml.escape(info.headers.get("x-amz-storage-class", "STANDARD"))
    return (
        f"<Version>{start}<ETag>&quot;{info.etag}&quot;</ETag>{algorithms}<Size>{info.size}</Size>{owner}"
        f"<StorageClass>{storage_class}</StorageClass></Version>"
    )
