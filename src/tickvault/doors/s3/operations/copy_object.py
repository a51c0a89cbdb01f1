"""CopyObject: a new object from one that is stored.

Invariants: bytes are shared or verified on the way, never passed through unverified; an ACL, a storage class
and a redirect of the source are not copied, as in S3; a copy onto itself that would change nothing is
refused.

Source: Amazon S3 API Reference, CopyObject.
"""

from __future__ import annotations

from typing import Any

from tickvault.doors.s3 import checksums, xml
from tickvault.doors.s3.conditions import check_copy_source, write_conditions
from tickvault.doors.s3.context import PUT_SIZE_MAX, Context
from tickvault.doors.s3.copy_source import CopySource, find_source
from tickvault.doors.s3.digests import DEFAULT_ALGORITHM, algorithm_named, element_name
from tickvault.doors.s3.encryption_headers import asked_encryption, encryption_headers
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.lock_headers import LOCK_PREFIX, asked_lock
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.multipart_checksums import COMPOSITE
from tickvault.doors.s3.object_headers import stored_headers
from tickvault.doors.s3.tag_sets import from_header
from tickvault.errors import NotFoundError, PreconditionFailedError
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import BucketInfo, ObjectInfo

#: Attempts for a source that is replaced while it is copied.
ATTEMPTS_MAX = 5
_NOT_COPIED = frozenset({"x-amz-acl", "x-amz-storage-class", "x-amz-website-redirect-location"})


async def copy_object(context: Context, request: Request) -> Response:
    """Answer CopyObject."""
    destination = context.bucket(request.bucket)
    for _ in range(ATTEMPTS_MAX):
        source = find_source(context, request)
        check_copy_source(request.headers, source.info)
        try:
            info = await _copy(context, request, source, destination)
        except PreconditionFailedError:
            # Either the destination's condition does not hold, or the source was replaced since it was looked at; then
            # everything is decided again for the new one.
            if find_source(context, request).info.etag == source.info.etag:
                raise
            continue
        break
    else:
        raise S3Error("ConditionalRequestConflict")
    answer = {"Content-Type": "application/xml"}
    if destination.info.versioning != "off":
        answer["x-amz-version-id"] = info.version_id
    if source.bucket.info.versioning != "off":
        answer["x-amz-copy-source-version-id"] = source.info.version_id
    answer.update(encryption_headers(info.encryption, request))
    return Response(200, answer, xml.document("CopyObjectResult", copy_result(info)))


async def _copy(context: Context, request: Request, source: CopySource, destination: Bucket) -> ObjectInfo:
    if source.info.size > PUT_SIZE_MAX:
        raise S3Error(
            "InvalidRequest",
            f"The specified copy source is larger than the maximum allowable size for a copy source: {PUT_SIZE_MAX}",
        )
    options = _options(
        request, source.info, destination.info, onto_itself=source.names(request) and not source.explicit_version
    )
    algorithm = _checksum_to_compute(request.headers.get("x-amz-checksum-algorithm"), source.info)
    if algorithm is not None:
        options["checksums"] = {algorithm: await context.in_thread(_checksum_of, source, algorithm)}
    try:
        return await context.in_thread(
            source.bucket.copy,
            source.key,
            request.key,
            dest_bucket=destination,
            version_id=source.version_id,
            source_if_match=source.info.etag,
            source_customer_key=source.customer_key,
            **options,
        )
    except NotFoundError:
        context.bucket(request.bucket)
        raise S3Error("NoSuchKey", Key=request.key) from None


def copy_result(info: ObjectInfo) -> str:
    """Return the elements that tell of a copy."""
    content = [
        f"<LastModified>{xml.timestamp(info.modified_ns)}</LastModified>",
        f"<ETag>&quot;{info.etag}&quot;</ETag>",
    ]
    if info.checksums:
        content.append(xml.tag("ChecksumType", info.checksum_type or "FULL_OBJECT"))
        content.extend(xml.tag(element_name(name), value) for name, value in info.checksums.items())
    return "".join(content)


def _options(request: Request, source: ObjectInfo, destination: BucketInfo, *, onto_itself: bool) -> dict[str, Any]:
    """Return what the new object keeps of its source and takes from the request."""
    headers = request.headers
    directive = _directive(headers.get("x-amz-metadata-directive"), "x-amz-metadata-directive")
    tagging_directive = _directive(headers.get("x-amz-tagging-directive"), "x-amz-tagging-directive")
    content_type, metadata, asked = stored_headers(headers)
    options: dict[str, Any] = {}
    encryption = asked_encryption(request)
    if encryption is not None:
        options["encryption"] = encryption
    if directive == "REPLACE":
        options.update(content_type=content_type, metadata=metadata, headers=asked)
    else:
        kept = {name: value for name, value in source.headers.items() if name not in _NOT_COPIED}
        kept.update({name: value for name, value in asked.items() if name in _NOT_COPIED})
        # A copy onto itself is also how a lock is put on a new version of it.
        changes = (
            any(name.startswith(LOCK_PREFIX) for name in headers)
            or "x-amz-storage-class" in headers
            or "x-amz-website-redirect-location" in headers
            or encryption is not None
        )
        if onto_itself and not changes:
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without "
                "changing the object's metadata, storage class, website redirect location or "
                "encryption attributes.",
            )
        if kept != dict(source.headers):
            options.update(content_type=source.content_type, metadata=dict(source.metadata), headers=kept)
    if tagging_directive == "REPLACE":
        options["tags"] = from_header(headers.get("x-amz-tagging", ""))
    options["if_match"], options["if_none_match"] = write_conditions(headers)
    lock = asked_lock(headers)
    if lock is not None:
        if destination.object_lock is None:
            raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration", BucketName=request.bucket)
        if lock.retention_mode is not None:
            options.update(retention_mode=lock.retention_mode, retain_until=lock.retain_until_ns)
        options["legal_hold"] = lock.legal_hold
    return options


def _directive(value: str | None, name: str) -> str:
    directive = "COPY" if value is None else value.upper()
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", f"Unknown {name}.", ArgumentName=name, ArgumentValue=value)
    return directive


def _checksum_to_compute(named: str | None, source: ObjectInfo) -> str | None:
    """Return the algorithm of the checksum that the copy needs and its source does not have; None if it has it."""
    composite = source.checksum_type == COMPOSITE
    # Of sealed ones the names suffice: the copy, which has the key, opens them.
    kept = source.sealed_checksums or source.checksums
    if named:
        algorithm = algorithm_named(named)
        return None if algorithm in kept and not composite else algorithm
    if not kept:
        return DEFAULT_ALGORITHM
    # The copy has no parts, so that the checksum of parts says nothing of it.
    return next(iter(kept)) if composite else None


def _checksum_of(source: CopySource, algorithm: str) -> str:
    reader = source.bucket.read(source.key, version_id=source.version_id, customer_key=source.customer_key)
    hasher = checksums.new(algorithm)
    for chunk in reader.chunks(0, reader.info.size):
        hasher.update(chunk)
    return checksums.encode(hasher.digest())
