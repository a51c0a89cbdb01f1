"""The source of a copy: parsing ``x-amz-copy-source`` and looking it up.

Invariants: the source is looked up once and then named by its version, where it has one, so that conditions
are checked on the very bytes that are copied.

Source: Amazon S3 API Reference, CopyObject, UploadPartCopy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from tickvault.doors.s3.context import KEY_SIZE_MAX, Context
from tickvault.doors.s3.encryption_headers import COPY_SOURCE, read_customer_key
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.message import Request
from tickvault.errors import NotFoundError, VersionNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.customer_key import check_key
from tickvault.objects.model import NULL_VERSION, ObjectInfo


@dataclass(frozen=True, slots=True)
class CopySource:
    """A stored object that is to be copied from.

    Attributes
    ----------
    bucket : Bucket
    key : str
    version_id : str or None
        To read by: as asked for, else that of the version found; None where the bucket has no versions.
    info : ObjectInfo
    """

    bucket: Bucket
    key: str
    version_id: str | None
    info: ObjectInfo
    explicit_version: bool
    customer_key: bytes | None = field(default=None, repr=False)

    def names(self, request: Request) -> bool:
        """Return whether the request writes to the very key it copies from."""
        return self.bucket.name == request.bucket and self.key == request.key


def parse_copy_source(header: str) -> tuple[str, str, str | None]:
    """Return bucket, key and version id of an ``x-amz-copy-source``.

    Raises
    ------
    S3Error
        ``InvalidArgument`` when it does not name a bucket and a key.

    Examples
    --------
    >>> parse_copy_source("/b/a%20b?versionId=7")
    ('b', 'a b', '7')
    """
    path, question, rest = header.partition("?versionId=")
    version_id = rest if question else None
    try:
        # A client that does not encode sends the key's own UTF-8 bytes.
        decoded = unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeError:
        decoded = ""
    if decoded.startswith("arn:"):
        raise not_implemented("An access point as a copy source")
    bucket, _, key = decoded.removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
            ArgumentValue=header,
        )
    if version_id == "":
        raise S3Error(
            "InvalidArgument",
            "Version id cannot be the empty string",
            ArgumentName="versionId",
            ArgumentValue="",
        )
    return bucket, key, version_id


def find_source(context: Context, request: Request) -> CopySource:
    """Look up what ``x-amz-copy-source`` names.

    Raises
    ------
    S3Error
        ``NoSuchBucket``, ``NoSuchKey``, ``NoSuchVersion``; ``InvalidRequest`` for a delete marker named by
        its version.
    """
    headers = request.headers
    customer_key = read_customer_key(request, COPY_SOURCE)
    bucket_name, key, version_id = parse_copy_source(headers["x-amz-copy-source"])
    if len(key.encode()) > KEY_SIZE_MAX:
        raise S3Error("KeyTooLongError", Size=len(key.encode()), MaxSizeAllowed=KEY_SIZE_MAX)
    bucket = context.bucket(bucket_name)
    try:
        info = bucket.head(key, version_id=version_id)
    except VersionNotFoundError:
        raise S3Error("NoSuchVersion", Key=key, VersionId=version_id) from None
    except NotFoundError as error:
        if version_id is not None and getattr(error, "delete_marker", False):
            raise S3Error(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ) from None
        raise S3Error("NoSuchKey", Key=key) from None
    check_key(customer_key, b"" if info.encryption is None else info.encryption.customer_check)
    explicit = version_id is not None
    if version_id is None and info.version_id != NULL_VERSION:
        version_id = info.version_id
    return CopySource(bucket, key, version_id, info, explicit, customer_key)
