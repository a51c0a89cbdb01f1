"""CompleteMultipartUpload: the parts become one object.

Invariants: the parts listed, and no others, make up the object, in ascending order; all but the last have at
least 5 MiB; nothing is copied; a repeat of a completion that succeeded is answered like the first, since a
client whose connection broke cannot know; without the customer's key that an upload was begun with, nothing of its
checksums is compared, told or kept.

Source: Amazon S3 API Reference, CompleteMultipartUpload.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from tickvault.doors.s3 import checksums, xml
from tickvault.doors.s3.conditions import bare_etag, write_conditions
from tickvault.doors.s3.context import PART_COUNT_MAX, PART_SIZE_MIN, Context
from tickvault.doors.s3.digests import element_name, header_checksums
from tickvault.doors.s3.encryption_headers import encryption_headers, read_customer_key
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.multipart_checksums import COMPOSITE, object_checksum
from tickvault.doors.s3.request_document import read_required
from tickvault.errors import NotFoundError, UploadNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.stored import info_of
from tickvault.objects.get import with_checksums
from tickvault.objects.model import ObjectInfo, PartInfo, UploadInfo

DOCUMENT_SIZE_MAX = 4 << 20
_MD5_HEX = re.compile(r"[0-9a-f]{32}")


class ListedPart(NamedTuple):
    """A part as the client lists it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


async def complete_multipart_upload(context: Context, request: Request) -> Response:
    """Answer CompleteMultipartUpload."""
    bucket = context.bucket(request.bucket)
    if_match, if_none_match = write_conditions(request.headers)
    root = await read_required(request, None, size_max=DOCUMENT_SIZE_MAX)
    listed = listed_parts(root)
    upload_id = request.query["uploadId"]
    try:
        info = await context.in_thread(
            _complete, bucket, request, upload_id, listed, if_match=if_match, if_none_match=if_none_match
        )
    except UploadNotFoundError:
        repeated = None
        if not (if_match or if_none_match):
            repeated = await context.in_thread(_already_done, bucket, request, listed)
        if repeated is None:
            raise S3Error("NoSuchUpload", UploadId=upload_id) from None
        info = repeated
    except NotFoundError:
        context.bucket(request.bucket)
        raise S3Error("NoSuchKey", Key=request.key) from None
    headers = {"Content-Type": "application/xml"}
    if bucket.info.versioning != "off":
        headers["x-amz-version-id"] = info.version_id
    headers.update(encryption_headers(info.encryption, request))
    scheme = "https" if request.secure else "http"
    values = "".join(xml.tag(element_name(name), value) for name, value in info.checksums.items())
    body = xml.document(
        "CompleteMultipartUploadResult",
        xml.tag("Location", f"{scheme}://{request.host}{quote(f'/{bucket.name}/{request.key}')}"),
        xml.tag("Bucket", bucket.name),
        xml.tag("Key", request.key),
        f"<ETag>&quot;{info.etag}&quot;</ETag>",
        values,
        xml.tag("ChecksumType", info.checksum_type) if info.checksums else "",
    )
    return Response(200, headers, body)


def listed_parts(root: xml.Element) -> list[ListedPart]:
    """Return the parts of a CompleteMultipartUpload document.

    Raises
    ------
    S3Error
        ``MalformedXML`` when it lists none or a part without number or ETag; ``InvalidPartOrder``;
        ``InvalidArgument`` for a number out of range.
    """
    # Some clients name the root CompleteMultipartUpload, older ones CompleteMultipartUploadRequest.
    if not root.name.startswith("CompleteMultipartUpload"):
        raise S3Error("MalformedXML")
    listed: list[ListedPart] = []
    for element in root.all("Part"):
        number_text, etag = element.value("PartNumber") or "", element.value("ETag")
        if etag is None or not (number_text.isascii() and number_text.isdigit()) or len(number_text) > 9:
            raise S3Error("MalformedXML")
        number = int(number_text)
        if not 1 <= number <= PART_COUNT_MAX:
            raise S3Error("InvalidArgument", f"PartNumber must be between 1 and {PART_COUNT_MAX}")
        if listed and number <= listed[-1].number:
            raise S3Error("InvalidPartOrder")
        values = {}
        for algorithm in checksums.DIGEST_SIZES:
            value = element.value(element_name(algorithm))
            if value:
                values[algorithm] = value
        listed.append(ListedPart(number, bare_etag(etag), values))
    if not listed:
        raise S3Error("MalformedXML")
    return listed


def _complete(
    bucket: Bucket,
    request: Request,
    upload_id: str,
    listed: list[ListedPart],
    *,
    if_match: str | None,
    if_none_match: str | None,
) -> ObjectInfo:
    upload = bucket.upload_info(request.key, upload_id)
    customer_key = read_customer_key(request)
    # The parts' checksums are sealed under the customer's key, which S3 asks for only where there are checksums to
    # compare, and which clients that never heard of them do not bring. Nothing in the vault may open them without it
    # (their key wrapped by the vault's own would let whoever has both confirm guesses), so then the parts are known by
    # their entity tags, which nobody can guess, and the object gets no checksum.
    closed = customer_key is None and upload.encryption is not None and info_of(upload.encryption).mode == "customer"
    parts = _chosen(upload, listed, _stored_parts(bucket, request.key, upload_id, customer_key), closed=closed)
    values, kind = ({}, None) if closed else object_checksum(upload, parts)
    _verify_size(request.headers, sum(part.size for part in parts))
    if not closed:
        _verify_checksums(request.headers, upload, values, kind)
    return bucket.complete_upload(
        request.key,
        upload_id,
        [(part.part_number, part.etag) for part in parts],
        checksums=values,
        checksum_type=kind,
        if_match=if_match,
        if_none_match=if_none_match,
        customer_key=customer_key,
    )


def _stored_parts(bucket: Bucket, key: str, upload_id: str, customer_key: bytes | None) -> dict[int, PartInfo]:
    stored: dict[int, PartInfo] = {}
    marker = 0
    while True:
        page = bucket.list_parts_page(key, upload_id, part_number_marker=marker, customer_key=customer_key)
        stored.update((part.part_number, part) for part in page.parts)
        if page.next_part_number_marker is None:
            return stored
        marker = page.next_part_number_marker


def _chosen(
    upload: UploadInfo, listed: list[ListedPart], stored: dict[int, PartInfo], *, closed: bool
) -> list[PartInfo]:
    """Return the stored parts that the client lists, each checked against what the client says of it.

    Of checksums, only where they could be opened.
    """
    chosen = []
    for entry in listed:
        part = stored.get(entry.number)
        if part is None or part.etag != entry.etag:
            raise _invalid_part(upload, entry)
        if (
            upload.checksum_type == COMPOSITE
            and upload.checksum_algorithm is not None
            and upload.checksum_algorithm not in entry.checksums
        ):
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {upload.checksum_algorithm} checksum. The complete request "
                f"must include the checksum for each part. It was missing for part "
                f"{entry.number} in the request.",
            )
        for algorithm, value in entry.checksums.items() if not closed else ():
            if part.checksums.get(algorithm) != value:
                raise _invalid_part(upload, entry)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < PART_SIZE_MIN:
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=part.size,
                MinSizeAllowed=PART_SIZE_MIN,
                PartNumber=part.part_number,
                ETag=part.etag,
            )
    return chosen


def _invalid_part(upload: UploadInfo, entry: ListedPart) -> S3Error:
    return S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=entry.number, ETag=entry.etag)


def _verify_size(headers: Mapping[str, str], size: int) -> None:
    """Compare the size that the client says the whole object has with what its parts make of it."""
    expected_size = headers.get("x-amz-mp-object-size")
    if expected_size is not None and expected_size != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {expected_size} does not match what was "
            f"computed: {size}",
        )


def _verify_checksums(headers: Mapping[str, str], upload: UploadInfo, values: dict[str, str], kind: str | None) -> None:
    """Compare what the client says of the whole object's checksums with what its parts make of them."""
    expected_kind = headers.get("x-amz-checksum-type")
    if expected_kind is not None and upload.checksum_type is not None and expected_kind.upper() != kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {kind} checksum mode. The complete request must use the same "
            "checksum mode.",
        )
    for algorithm, value in header_checksums(headers).items():
        computed = values.get(algorithm)
        if computed is None:
            raise S3Error(
                "InvalidRequest",
                f"Checksum Type mismatch occurred, expected checksum Type: "
                f"{upload.checksum_algorithm or 'null'}, actual checksum Type: {algorithm}",
            )
        if value not in (computed, computed.partition("-")[0]):
            raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _already_done(bucket: Bucket, request: Request, listed: list[ListedPart]) -> ObjectInfo | None:
    """Return the object that exactly these parts made, if it is the current one."""
    if not all(_MD5_HEX.fullmatch(part.etag) for part in listed):
        return None
    joined = b"".join(bytes.fromhex(part.etag) for part in listed)
    etag = f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(listed)}"
    try:
        info = bucket.head(request.key)
    except NotFoundError:
        return None
    return with_checksums(bucket, info, read_customer_key(request)) if info.etag == etag else None
