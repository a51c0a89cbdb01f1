"""GetObjectTagging, PutObjectTagging and DeleteObjectTagging.

Invariants: tags belong to one version and change neither its bytes nor its times; a put replaces the whole
set.

Source: Amazon S3 API Reference, GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
"""

from __future__ import annotations

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import missing, requested_version
from tickvault.doors.s3.request_document import read_required
from tickvault.doors.s3.tag_sets import from_element, tagging_document
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import ObjectInfo


def get_object_tagging(context: Context, request: Request) -> Response:
    """Answer GetObjectTagging."""
    bucket = context.bucket(request.bucket)
    info = _head(bucket, request)
    tags = bucket.get_tags(request.key, version_id=requested_version(request)) if info.tag_count else {}
    headers = {"Content-Type": "application/xml", **_version(bucket, info)}
    return Response(200, headers, tagging_document(tags))


async def put_object_tagging(context: Context, request: Request) -> Response:
    """Answer PutObjectTagging."""
    bucket = context.bucket(request.bucket)
    tags = from_element(await read_required(request, "Tagging"))
    return Response(200, _version(bucket, await _set(context, bucket, request, tags)))


async def delete_object_tagging(context: Context, request: Request) -> Response:
    """Answer DeleteObjectTagging."""
    bucket = context.bucket(request.bucket)
    return Response(204, _version(bucket, await _set(context, bucket, request, {})))


async def _set(context: Context, bucket: Bucket, request: Request, tags: dict[str, str]) -> ObjectInfo:
    version_id = requested_version(request)
    try:
        return await context.in_thread(bucket.set_tags, request.key, tags, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None


def _head(bucket: Bucket, request: Request) -> ObjectInfo:
    version_id = requested_version(request)
    try:
        return bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None


def _version(bucket: Bucket, info: ObjectInfo) -> dict[str, str]:
    return {"x-amz-version-id": info.version_id} if bucket.info.versioning != "off" else {}
