"""UploadPart: one part of a multipart upload.

Invariants: a part put again under its number replaces the first; a part is durable before it is answered; the
checksums kept with it suffice to give the whole object its own without reading it again.

Source: Amazon S3 API Reference, UploadPart.
"""

from __future__ import annotations

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.digests import announced_algorithm
from tickvault.doors.s3.encryption_headers import check_part, encryption_headers
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.multipart_checksums import part_algorithms
from tickvault.doors.s3.object_headers import refuse_on_part
from tickvault.doors.s3.operations.put_object import body_length
from tickvault.doors.s3.ranges import part_number
from tickvault.doors.s3.upload_stream import Sink, commit, discard, pour
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.stored import info_of
from tickvault.objects.model import PartInfo, UploadInfo


async def upload_part(context: Context, request: Request) -> Response:
    """Answer UploadPart."""
    bucket, number, length, upload, algorithms = _checked(context, request)
    sealed = None if upload.encryption is None else info_of(upload.encryption)
    customer_key = check_part(request, sealed)
    upload_id = request.query["uploadId"]
    body = request.body
    if body.complete and length <= context.store.inline_size_max:
        data = await body.read(length)
        values = dict(body.checksums)
        for algorithm in algorithms:
            if algorithm not in values:
                values[algorithm] = checksums.compute(algorithm, data)
        part = await context.in_thread(
            bucket.put_part, request.key, upload_id, number, data, checksums=values, customer_key=customer_key
        )
    else:
        part = await _streamed(context, bucket, request, number, customer_key, algorithms=algorithms)
    headers = {"ETag": f'"{part.etag}"'}
    # S3 answers with the checksum the client chose, else with the one it computed by itself.
    headers[f"x-amz-checksum-{algorithms[0]}"] = part.checksums[algorithms[0]]
    headers.update(encryption_headers(sealed, request))
    return Response(200, headers)


def check_upload_part(context: Context, request: Request) -> None:
    """Raise what UploadPart would say of a request whose body is not here yet."""
    upload = _checked(context, request)[3]
    check_part(request, None if upload.encryption is None else info_of(upload.encryption))


def _checked(context: Context, request: Request) -> tuple[Bucket, int, int, UploadInfo, tuple[str, ...]]:
    """Return the bucket, the part's number, its length, its upload, and the checksums it needs."""
    bucket = context.bucket(request.bucket)
    number = part_number(request.query.get("partNumber", ""))
    length = body_length(request)
    refuse_on_part(request.headers)
    upload = bucket.upload_info(request.key, request.query["uploadId"])
    return bucket, number, length, upload, part_algorithms(upload, announced_algorithm(request.headers))


async def _streamed(
    context: Context,
    bucket: Bucket,
    request: Request,
    number: int,
    customer_key: bytes | None,
    *,
    algorithms: tuple[str, ...],
) -> PartInfo:
    upload_id = request.query["uploadId"]
    length = body_length(request)
    named = announced_algorithm(request.headers)
    writer = await context.in_thread(
        bucket.open_part_writer, request.key, upload_id, number, length, customer_key=customer_key
    )
    sink = Sink(writer, [algorithm for algorithm in algorithms if algorithm != named])
    try:
        await pour(context, request.body, sink, length)
        return await commit(context, sink, {**request.body.checksums, **sink.checksums()})
    except BaseException:
        discard(context, sink)
        raise
