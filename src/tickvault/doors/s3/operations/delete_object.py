"""DeleteObject: remove a key, or one version of it.

Invariants: deleting what is not there is not an error; with versioning on, a delete without a version id only
adds a delete marker; the answer follows the durable commit.

Source: Amazon S3 API Reference, DeleteObject.
"""

from __future__ import annotations

from tickvault.doors.s3.commit import async_commit
from tickvault.doors.s3.conditions import bare_etag
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.lock_headers import bypasses_governance
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import requested_version
from tickvault.errors import NotFoundError


async def delete_object(context: Context, request: Request) -> Response:
    """Answer DeleteObject."""
    bucket = context.bucket(request.bucket)
    version_id = requested_version(request)
    headers = request.headers
    if_match = headers.get("if-match")
    for name in ("if-none-match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"):
        if name in headers:
            raise not_implemented(f"Header {name} on DeleteObject")
    if if_match is not None:
        if_match = "*" if if_match.strip() == "*" else bare_etag(if_match)
    operation = bucket.delete_operation(
        request.key, version_id=version_id, if_match=if_match, bypass_governance=bypasses_governance(headers)
    )
    try:
        result = await async_commit(context.store, operation)
    except NotFoundError:
        context.bucket(request.bucket)
        if if_match is not None:
            raise S3Error("NoSuchKey", Key=request.key) from None
        return Response(204, {"x-amz-version-id": version_id} if version_id else {})
    answer: dict[str, str] = {}
    if result.delete_marker:
        answer["x-amz-delete-marker"] = "true"
    if result.version_id is not None and (bucket.info.versioning != "off" or version_id is not None):
        answer["x-amz-version-id"] = result.version_id
    elif version_id is not None:
        answer["x-amz-version-id"] = version_id
    return Response(204, answer)
