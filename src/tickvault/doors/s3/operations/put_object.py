"""PutObject: store a body under a key.

Invariants: the answer is sent after the commit, which is durable as the bucket demands; every digest the
client named was compared before; a body that ends early, is too long or does not match leaves nothing behind.

Source: Amazon S3 API Reference, PutObject.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.commit import bridge
from tickvault.doors.s3.conditions import write_conditions
from tickvault.doors.s3.context import PUT_SIZE_MAX, Context
from tickvault.doors.s3.digests import DEFAULT_ALGORITHM, announced_algorithm, etag_of_content_md5
from tickvault.doors.s3.encryption_headers import asked_encryption, encryption_headers
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.lock_headers import asked_lock, check_digest_sent
from tickvault.doors.s3.message import Deferred, Outcome, Request, Response, resolve
from tickvault.doors.s3.object_headers import stored_headers
from tickvault.doors.s3.tag_sets import from_header
from tickvault.doors.s3.upload_stream import Sink, commit, discard, pour
from tickvault.engine.commit import Operation
from tickvault.errors import AccessDeniedError, IntegrityError, NotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.customer_key import CustomerKeyError
from tickvault.objects.encryption.sealing import ready
from tickvault.objects.model import BucketInfo, ObjectInfo


def put_object(context: Context, request: Request) -> Deferred | Awaitable[Response]:
    """Answer PutObject."""
    bucket, settings = context.find_bucket(request.bucket)
    length = body_length(request)
    options = write_options(request)
    check_lockable(settings, request, options)
    body = request.body
    if not body.complete or length > context.store.inline_size_max:
        return _put_streamed(context, bucket, request, length, options)
    data = body.read_arrived(length)
    make = partial(
        bucket.put_operation,
        request.key,
        data,
        checksums=dict(body.checksums) or {DEFAULT_ALGORITHM: checksums.compute(DEFAULT_ALGORITHM, data)},
        checksum_type="FULL_OBJECT",
        etag=etag_of_content_md5(request.headers),
        **options,
    )
    if not ready(context.store.keys, settings, options.get("encryption"), length):
        return _put_prepared(context, settings, request, make)
    operation = make()
    answer = Deferred(partial(_written, context, settings, request))
    bridge().submit_then(context.store, operation, answer.settle)
    return answer


async def _put_prepared(
    context: Context, settings: BucketInfo, request: Request, make: Callable[[], Operation[ObjectInfo]]
) -> Response:
    """Answer a small PutObject whose key may have to be asked for, which the event loop does not wait for."""
    operation = await context.in_thread(make)
    outcome: asyncio.Future[ObjectInfo] = asyncio.get_running_loop().create_future()
    bridge().submit_then(context.store, operation, partial(resolve, outcome))
    try:
        info = await outcome
    except NotFoundError:
        raise _not_there(context, request) from None
    return Response(200, written_headers(settings, info, request))


def check_put_object(context: Context, request: Request) -> None:
    """Raise what PutObject would say of a request whose body is not here yet.

    What it says of conditions is of now; the commit decides.
    """
    bucket, settings = context.find_bucket(request.bucket)
    body_length(request)
    options = write_options(request)
    check_lockable(settings, request, options)
    if_match = options.get("if_match")
    if if_match is None and options.get("if_none_match") is None:
        return
    try:
        reader = bucket.read_resident(request.key)
    except NotFoundError:
        if if_match is not None:
            raise _not_there(context, request) from None
        return
    except (IntegrityError, AccessDeniedError, CustomerKeyError):
        return  # it is there; whether it can be read is no condition
    # No reader means an object that is not in memory: it is there, and its tag is not worth a wait for the disk.
    if if_match is None or (reader is not None and if_match not in ("*", reader.info.etag)):
        raise S3Error("PreconditionFailed")


def check_lockable(settings: BucketInfo, request: Request, options: Mapping[str, Any]) -> None:
    """Refuse a lock in a bucket that has none, and one without a digest of the body."""
    if "lock" not in options:
        return
    if settings.object_lock is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration", BucketName=request.bucket)
    check_digest_sent(request.headers)


def _written(context: Context, settings: BucketInfo, request: Request, outcome: Outcome) -> Response:
    """Return the answer to a write that ended so."""
    try:
        info = outcome()
    except NotFoundError:
        raise _not_there(context, request) from None
    return Response(200, written_headers(settings, info, request))


def _not_there(context: Context, request: Request) -> S3Error:
    """Return the answer to an If-Match on a key without an object; a bucket deleted meanwhile keeps its own error."""
    context.bucket(request.bucket)
    return S3Error("NoSuchKey", Key=request.key)


def body_length(request: Request) -> int:
    """Return the announced length of a body.

    Raises
    ------
    S3Error
        ``MissingContentLength``, ``NotImplemented`` for HTTP's own chunks without aws-chunked in them, as S3 answers,
        or ``EntityTooLarge`` beyond 5 GiB, before a byte is read.
    """
    length = request.body.length
    if length is None:
        headers = request.headers
        if "transfer-encoding" in headers and not headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            raise S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented: a body of unknown length. "
                "Send Content-Length, or aws-chunked with x-amz-decoded-content-length.",
                Header="Transfer-Encoding",
            )
        raise S3Error("MissingContentLength")
    if length > PUT_SIZE_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=length, MaxSizeAllowed=PUT_SIZE_MAX)
    return length


def write_options(request: Request) -> dict[str, Any]:
    """Return what a request's headers say of the object to write, as arguments of the store."""
    headers = request.headers
    content_type, metadata, kept = stored_headers(headers)
    options: dict[str, Any] = {"content_type": content_type, "metadata": metadata, "headers": kept}
    encryption = asked_encryption(request)
    if encryption is not None:
        options["encryption"] = encryption
    tagging = headers.get("x-amz-tagging")
    if tagging:
        options["tags"] = from_header(tagging)
    lock = asked_lock(headers)
    if lock is not None:
        options["lock"] = lock
    if "if-match" in headers or "if-none-match" in headers:
        options["if_match"], options["if_none_match"] = write_conditions(headers)
    return options


def written_headers(settings: BucketInfo, info: ObjectInfo, request: Request) -> dict[str, str]:
    """Return the headers that answer a write: ETag, checksums, version, encryption.

    `settings` may be those of before the write: a version id other than ``null`` is named whatever they say.
    """
    headers = {"ETag": f'"{info.etag}"'}
    for algorithm, value in info.checksums.items():
        headers[f"x-amz-checksum-{algorithm}"] = value
        headers["x-amz-checksum-type"] = info.checksum_type or "FULL_OBJECT"
    if settings.versioning != "off" or info.version_id != "null":
        headers["x-amz-version-id"] = info.version_id
    if info.encryption is not None:
        headers.update(encryption_headers(info.encryption, request))
    return headers


async def _put_streamed(
    context: Context, bucket: Bucket, request: Request, length: int, options: dict[str, Any]
) -> Response:
    named = announced_algorithm(request.headers)
    writer = await context.in_thread(bucket.open_writer, request.key, length, **options)
    sink = Sink(writer, () if named is not None else (DEFAULT_ALGORITHM,))
    try:
        await pour(context, request.body, sink, length)
        values = dict(request.body.checksums) or sink.checksums()
        info = await commit(context, sink, values)
    except NotFoundError:
        discard(context, sink)
        raise _not_there(context, request) from None
    except BaseException:
        discard(context, sink)
        raise
    return Response(200, written_headers(bucket.info, info, request))
