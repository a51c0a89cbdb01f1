"""GetObject: the bytes of an object, or of a range or part of it.

Invariants: no byte is sent that was not verified; what is small and in the page cache is answered without
leaving the event loop, and what may have to come from the disk never blocks it; a small or first piece is
verified before the status line, so that damage found there is an error and not a broken answer.

Source: Amazon S3 API Reference, GetObject.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from tickvault.doors.s3 import access
from tickvault.doors.s3.conditions import bare_etag, check_read, http_date, parse_http_date
from tickvault.doors.s3.context import RESIDENCY_CHECK_SIZE_MAX, WHOLE_READ_SIZE_MAX, Context
from tickvault.doors.s3.encryption_headers import check_readable, encryption_headers, read_customer_key
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.object_headers import add_checksums, apply_overrides, read_headers
from tickvault.doors.s3.ranges import parse_range, part_number, part_range
from tickvault.errors import NotFoundError, VersionNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.get import ObjectReader
from tickvault.objects.model import BucketInfo, ObjectInfo

_CONDITIONAL = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})


def get_object(context: Context, request: Request) -> Response | Awaitable[Response]:
    """Answer GetObject."""
    bucket, settings = context.find_bucket(request.bucket)
    version_id = requested_version(request) if request.query else None
    try:
        reader = bucket.read_resident(request.key, version_id=version_id, customer_key=read_customer_key(request))
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None
    if reader is None:
        return _from_disk(context, bucket, settings, request)
    return _answer(context, settings, request, reader)


async def _from_disk(context: Context, bucket: Bucket, settings: BucketInfo, request: Request) -> Response:
    reader = await context.in_thread(_open_reader, bucket, request)
    answer = _answer(context, settings, request, reader)
    return answer if isinstance(answer, Response) else await answer


def _answer(
    context: Context, settings: BucketInfo, request: Request, reader: ObjectReader
) -> Response | Awaitable[Response]:
    info = reader.info
    status, start, end, headers = prepare_read(settings, request, info)
    size = end - start
    if size <= WHOLE_READ_SIZE_MAX:
        if size == 0:
            return Response(status, headers)
        if reader.resident(start, end):
            return Response(status, headers, reader.bytes(start, end))
        return _whole_from_disk(context, reader, (start, end), status, headers)
    if size <= RESIDENCY_CHECK_SIZE_MAX and reader.resident(start, end):
        return Response(status, headers, _started(reader.chunks(start, end)), size)
    return _stream_from_disk(context, reader, (start, end), status, headers)


def _open_reader(bucket: Bucket, request: Request) -> ObjectReader:
    """Look the requested version up, once.

    Raises
    ------
    S3Error
        ``NoSuchKey``, ``NoSuchVersion``, or ``MethodNotAllowed`` for a version that is a delete marker.
    """
    version_id = requested_version(request)
    try:
        return bucket.read(request.key, version_id=version_id, customer_key=read_customer_key(request))
    except NotFoundError as error:
        raise missing(bucket, request, error, version_id) from None


def requested_version(request: Request) -> str | None:
    """Return the ``versionId`` of a request, None without one; it must not be empty."""
    version_id = request.query.get("versionId") if request.query else None
    if version_id == "":
        raise S3Error(
            "InvalidArgument",
            "Version id cannot be the empty string",
            ArgumentName="versionId",
            ArgumentValue="",
        )
    return version_id


def missing(bucket: Bucket, request: Request, error: NotFoundError, version_id: str | None) -> S3Error:
    """Return S3's answer to a read of what is not there, or of a delete marker."""
    access.check_told(request, bucket)
    if isinstance(error, VersionNotFoundError):
        return S3Error("NoSuchVersion", Key=request.key, VersionId=version_id)
    headers = {}
    if getattr(error, "delete_marker", False):
        headers["x-amz-delete-marker"] = "true"
        marker_id = getattr(error, "version_id", None) or version_id
        if marker_id:
            headers["x-amz-version-id"] = marker_id
        if version_id is not None:
            headers["Allow"] = "DELETE"
            modified_ns = getattr(error, "modified_ns", None)
            if modified_ns is not None:
                headers["Last-Modified"] = http_date(modified_ns // 1_000_000_000)
            return S3Error(
                "MethodNotAllowed",
                headers=headers,
                Method=request.method,
                ResourceType="DeleteMarker",
            )
    return S3Error("NoSuchKey", headers=headers, Key=request.key)


def prepare_read(
    settings: BucketInfo, request: Request, info: ObjectInfo, opened: Callable[[], ObjectInfo] | None = None
) -> tuple[int, int, int, dict[str, str]]:
    """Evaluate everything GetObject and HeadObject share: access, conditions, range, part and headers.

    Parameters
    ----------
    opened : callable, optional
        Returns the info with its checksums opened, where they are sealed; asked only where they are told.

    Returns
    -------
    status : int
        200, or 206 for a part of the object.
    start, end : int
        Bytes to send, end exclusive.
    headers : dict of str to str
    """
    request_headers = request.headers
    access.check_read(request, info)
    check_readable(request, info.encryption)
    if not _CONDITIONAL.isdisjoint(request_headers):
        check_read(request_headers, info)
    headers = read_headers(info, settings.versioning != "off")
    if info.encryption is not None and info.encryption.customer_check:
        headers.update(encryption_headers(info.encryption, request))
    query = request.query
    size = info.size
    wanted: tuple[int, int] | None = None
    if query and "partNumber" in query:
        number = part_number(query["partNumber"])
        if "range" in request_headers:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        wanted = part_range(number, info.part_sizes, size)
        if info.part_sizes:
            headers["x-amz-mp-parts-count"] = str(len(info.part_sizes))
    elif "range" in request_headers and _range_holds(request_headers.get("if-range"), info):
        wanted = parse_range(request_headers["range"], size)
    elif asks_checksums(request):
        add_checksums(headers, info if opened is None else opened())
    if query:
        apply_overrides(headers, query, bool(request.access_key))
    if wanted is None or wanted[0] == wanted[1]:  # a range of an empty part has no Content-Range to give
        return 200, 0, size, headers
    start, end = wanted
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return 206, start, end, headers


def asks_checksums(request: Request) -> bool:
    """Return whether a read asks for the checksums of the object."""
    return request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"


def _range_holds(if_range: str | None, info: ObjectInfo) -> bool:
    """Return whether a range still refers to the object the client has the rest of (RFC 9110, 13.1.5)."""
    if if_range is None:
        return True
    date = parse_http_date(if_range)
    if date is not None:
        return date == info.modified_ns // 1_000_000_000
    return not if_range.strip().startswith("W/") and bare_etag(if_range) == info.etag


def _started(chunks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Verify the first chunk now and return an iterator over all of them."""
    first = next(chunks, None)

    def rest() -> Iterator[memoryview]:
        if first is not None:
            yield first
            yield from chunks

    return rest()


async def _whole_from_disk(
    context: Context, reader: ObjectReader, span: tuple[int, int], status: int, headers: dict[str, str]
) -> Response:
    return Response(status, headers, await context.in_thread(reader.bytes, *span))


async def _stream_from_disk(
    context: Context, reader: ObjectReader, span: tuple[int, int], status: int, headers: dict[str, str]
) -> Response:
    chunks = await context.in_thread(_started, reader.chunks(*span))
    return Response(status, headers, chunks, span[1] - span[0], blocking=True)
