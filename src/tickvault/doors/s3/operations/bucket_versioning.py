"""GetBucketVersioning and PutBucketVersioning.

Invariants: versioning, once on, can be suspended but never switched off; MFA delete is not offered and
refused.

Source: Amazon S3 API Reference, GetBucketVersioning, PutBucketVersioning.
"""

from __future__ import annotations

from typing import Literal

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.request_document import read_required

_STATES: dict[str, Literal["enabled", "suspended"]] = {"Enabled": "enabled", "Suspended": "suspended"}


def get_bucket_versioning(context: Context, request: Request) -> Response:
    """Answer GetBucketVersioning."""
    state = context.bucket(request.bucket).info.versioning
    content = "" if state == "off" else xml.tag("Status", state.capitalize())
    return Response(200, {"Content-Type": "application/xml"}, xml.document("VersioningConfiguration", content))


async def put_bucket_versioning(context: Context, request: Request) -> Response:
    """Answer PutBucketVersioning."""
    bucket = context.bucket(request.bucket)
    root = await read_required(request, "VersioningConfiguration")
    mfa_delete = root.value("MfaDelete") or root.value("MFADelete")
    if mfa_delete == "Enabled":
        raise not_implemented("MFA delete")
    status = root.value("Status")
    if status is None:
        raise S3Error("IllegalVersioningConfigurationException")
    state = _STATES.get(status)
    if state is None:
        raise S3Error("MalformedXML")
    if state != "enabled" and bucket.info.object_lock is not None:
        raise S3Error(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        )
    await context.in_thread(bucket.set_versioning, state)
    return Response(200)
