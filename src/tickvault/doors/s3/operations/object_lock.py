"""Object lock: GetObjectLockConfiguration, PutObjectLockConfiguration, and of one version GetObjectRetention,
PutObjectRetention, GetObjectLegalHold, PutObjectLegalHold.

Invariants: what may be changed is decided in the commit (`objects.lock.guard`), never here.

Source: Amazon S3 API Reference, the operations of those names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.lock_headers import bypasses_governance, format_date, parse_date
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import missing, requested_version
from tickvault.doors.s3.request_document import read_required
from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.lock.retention import DAYS_MAX, MODES, YEARS_MAX, BucketLock
from tickvault.objects.model import ObjectInfo

_XML = {"Content-Type": "application/xml"}
_MISSING = "Bucket is missing Object Lock Configuration"


def get_object_lock_configuration(context: Context, request: Request) -> Response:
    """Answer GetObjectLockConfiguration."""
    lock = context.bucket(request.bucket).info.object_lock
    if lock is None:
        raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=request.bucket)
    rule = ""
    if lock.mode is not None:
        period = xml.tag("Years", lock.years) if lock.years else xml.tag("Days", lock.days)
        rule = f"<Rule><DefaultRetention>{xml.tag('Mode', lock.mode)}{period}</DefaultRetention></Rule>"
    enabled = xml.tag("ObjectLockEnabled", "Enabled")
    return Response(200, dict(_XML), xml.document("ObjectLockConfiguration", enabled, rule))


async def put_object_lock_configuration(context: Context, request: Request) -> Response:
    """Answer PutObjectLockConfiguration."""
    bucket = context.bucket(request.bucket)
    root = await read_required(request, "ObjectLockConfiguration")
    if root.value("ObjectLockEnabled") != "Enabled":
        raise S3Error("MalformedXML")
    lock = _default_retention(root)
    if bucket.info.versioning != "enabled":
        raise S3Error(
            "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        )
    await context.in_thread(bucket.set_object_lock, lock)
    return Response(200)


def _default_retention(root: xml.Element) -> BucketLock:
    rule = root.find("Rule")
    if rule is None:
        return BucketLock()
    default = rule.find("DefaultRetention")
    if default is None:
        raise S3Error("MalformedXML")
    mode, days, years = default.value("Mode"), default.value("Days"), default.value("Years")
    if mode not in MODES or (days is None) == (years is None):
        raise S3Error("MalformedXML")
    text = days if days is not None else years or ""
    if not text.lstrip("-").isdecimal() or len(text) > 9:
        raise S3Error("MalformedXML")
    period = int(text)
    if period <= 0:
        raise S3Error("InvalidRetentionPeriod", "Default retention period must be a positive integer value.")
    if period > (DAYS_MAX if days is not None else YEARS_MAX):
        raise S3Error("InvalidRetentionPeriod", "Default retention period is too large.")
    return BucketLock(mode, days=period) if days is not None else BucketLock(mode, years=period)


def get_object_retention(context: Context, request: Request) -> Response:
    """Answer GetObjectRetention."""
    info = _head(context, request)
    if info.retention_mode is None:
        raise S3Error("NoSuchObjectLockConfiguration", Key=request.key)
    until = xml.tag("RetainUntilDate", format_date(info.retain_until_ns))
    return Response(200, dict(_XML), xml.document("Retention", xml.tag("Mode", info.retention_mode), until))


async def put_object_retention(context: Context, request: Request) -> Response:
    """Answer PutObjectRetention."""
    bucket = _lockable(context, request)
    root = await read_required(request, "Retention")
    mode, date = root.value("Mode") or None, root.value("RetainUntilDate") or None
    until = None
    if mode is not None or date is not None:
        until = None if date is None else parse_date(date)
        if mode not in MODES or until is None:
            raise S3Error("MalformedXML")
    await _set(
        context,
        bucket,
        request,
        lambda version_id: bucket.retain(
            request.key, version_id, mode, until, bypass_governance=bypasses_governance(request.headers)
        ),
    )
    return Response(200)


def get_object_legal_hold(context: Context, request: Request) -> Response:
    """Answer GetObjectLegalHold."""
    info = _head(context, request)
    if not info.legal_hold and not info.locked:
        raise S3Error("NoSuchObjectLockConfiguration", Key=request.key)
    status = xml.tag("Status", "ON" if info.legal_hold else "OFF")
    return Response(200, dict(_XML), xml.document("LegalHold", status))


async def put_object_legal_hold(context: Context, request: Request) -> Response:
    """Answer PutObjectLegalHold."""
    bucket = _lockable(context, request)
    status = (await read_required(request, "LegalHold")).value("Status")
    if status not in ("ON", "OFF"):
        raise S3Error("MalformedXML")
    await _set(context, bucket, request, lambda version_id: bucket.hold(request.key, version_id, status == "ON"))
    return Response(200)


def _lockable(context: Context, request: Request) -> Bucket:
    bucket, settings = context.find_bucket(request.bucket)
    if settings.object_lock is None:
        raise S3Error("InvalidRequest", _MISSING, BucketName=request.bucket)
    return bucket


def _head(context: Context, request: Request) -> ObjectInfo:
    bucket = _lockable(context, request)
    version_id = requested_version(request)
    try:
        return bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None


async def _set(context: Context, bucket: Bucket, request: Request, change: Callable[[str | None], Any]) -> None:
    version_id = requested_version(request)
    try:
        await context.in_thread(change, version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    except InvalidInputError as error:
        raise S3Error("InvalidArgument", f"The retain until date must be in the future! ({error})") from None
