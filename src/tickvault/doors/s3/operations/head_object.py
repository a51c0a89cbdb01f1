"""HeadObject: what GetObject would answer, without the bytes.

Invariants: status and headers equal those of GetObject for the same request; no body is ever sent, also with
an error.

Source: Amazon S3 API Reference, HeadObject.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from tickvault.doors.s3.context import Context
from tickvault.doors.s3.encryption_headers import read_customer_key
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.get_object import asks_checksums, missing, prepare_read, requested_version
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.get import with_checksums
from tickvault.objects.model import BucketInfo, ObjectInfo


def head_object(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Answer HeadObject."""
    bucket, settings = context.find_bucket(request.bucket)
    version_id = requested_version(request)
    try:
        info = bucket.head(request.key, version_id=version_id)
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    if info.sealed_checksums and asks_checksums(request) and not context.store.keys.at_once:
        # Opening them asks a key service that is elsewhere, or not open yet.
        return context.in_thread(_answer, bucket, settings, request, info)
    return _answer(bucket, settings, request, info)


def _answer(bucket: Bucket, settings: BucketInfo, request: Request, info: ObjectInfo) -> Response:
    opened = partial(_opened, bucket, request, info)
    status, start, end, headers = prepare_read(settings, request, info, opened)
    return Response(status, headers, b"", end - start)


def _opened(bucket: Bucket, request: Request, info: ObjectInfo) -> ObjectInfo:
    return with_checksums(bucket, info, read_customer_key(request)) if info.sealed_checksums else info
