"""Headers that belong to an object: taken from a request, kept, and given back.

Invariants: stored text is Unicode (the wire's bytes read as UTF-8 where they are UTF-8); nothing stored can
break out of its header, since control characters never reach the wire; a header that would change how the
object is stored in a way this door does not offer is refused, never ignored.

Sources: Amazon S3 API Reference, PutObject, GetObject; S3 User Guide, "Working with object metadata".
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache

from tickvault.doors.s3.canned_acl import object_acl
from tickvault.doors.s3.conditions import http_date
from tickvault.doors.s3.encryption_headers import encryption_headers
from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.doors.s3.lock_headers import LOCK_PREFIX, lock_headers
from tickvault.objects.model import ObjectInfo

METADATA_SIZE_MAX = 2048
DEFAULT_CONTENT_TYPE = "binary/octet-stream"

STORAGE_CLASSES = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    }
)

#: Request header -> name on the wire of an answer.
_KEPT = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
    "x-amz-website-redirect-location": "x-amz-website-redirect-location",
    "x-amz-storage-class": "x-amz-storage-class",
}
_ENCRYPTION_PREFIX = "x-amz-server-side-encryption"
_REFUSED_PREFIXES = (
    "x-amz-grant-",
    "x-amz-write-offset-bytes",
    "x-amz-object-annotation",
)

#: Query parameter of a signed read -> the header it replaces.
_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def from_wire(value: str) -> str:
    """Return a header's text: its bytes, which arrive as Latin-1, read as UTF-8 where they are UTF-8."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


@lru_cache(maxsize=4096)
def to_wire(value: str) -> str:
    """Return text as a header may carry it: no control characters, UTF-8 bytes written as Latin-1."""
    if value.isascii() and value.isprintable():
        return value
    return _CONTROL.sub("", value).encode("utf-8", "replace").decode("latin-1")


def decode_metadata(value: str) -> str:
    """Return a metadata value as text; RFC 2047 encoded words are decoded.

    Examples
    --------
    >>> decode_metadata("=?UTF-8?B?w6Q=?=")
    'ä'
    """
    value = from_wire(value)
    if "=?" not in value or not value.isascii():
        return value
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in decode_header(value)
        )
    except (HeaderParseError, LookupError, ValueError):
        return value


def encode_metadata(value: str) -> str:
    """Return a metadata value for an answer: as it is when printable ASCII, else one RFC 2047 encoded word.

    Examples
    --------
    >>> encode_metadata("ä")
    '=?UTF-8?B?w6Q=?='
    """
    if value.isascii() and value.isprintable():
        return value
    return f"=?UTF-8?B?{b64encode(value.encode('utf-8', 'replace')).decode()}?="


def refuse_unsupported(headers: Mapping[str, str]) -> None:
    """Refuse headers that ask for encryption, grants or locks, where nothing is written that could have them."""
    for name in headers:
        if name.startswith((_ENCRYPTION_PREFIX, *_REFUSED_PREFIXES)):
            raise not_implemented(f"Header {name}")
        if name.startswith(LOCK_PREFIX):
            raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def refuse_on_part(headers: Mapping[str, str]) -> None:
    """Refuse headers that ask for grants or locks on a part; `encryption_headers.check_part` reads the rest."""
    refuse_unsupported({name: value for name, value in headers.items() if not name.startswith(_ENCRYPTION_PREFIX)})


def stored_headers(headers: Mapping[str, str]) -> tuple[str | None, dict[str, str], dict[str, str]]:
    """Return what a write keeps of its request: content type, user metadata, other headers.

    Parameters
    ----------
    headers : mapping
        Of the request, names in lower case.

    Returns
    -------
    content_type : str or None
    metadata : dict of str to str
        ``x-amz-meta-*`` without the prefix.
    kept : dict of str to str
        By lower-case name; `ObjectInfo.headers` lists them.

    Raises
    ------
    S3Error
        ``MetadataTooLarge`` beyond 2 KiB of names and values, ``InvalidStorageClass``, ``InvalidArgument``
        for an unknown ACL, ``NotImplemented`` for grants. What asks for encryption is read by
        `encryption_headers.asked_encryption`.
    """
    content_type = None
    metadata: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith("x-amz-"):
            if name.startswith("x-amz-meta-"):
                if len(name) > 11:
                    metadata[name[11:]] = decode_metadata(value)
                continue
            if name.startswith(_REFUSED_PREFIXES):
                raise not_implemented(f"Header {name}")
            if name == "x-amz-acl":
                acl = object_acl(value)
                if acl != "private":
                    kept[name] = acl
                continue
            if name == "x-amz-storage-class":
                if value not in STORAGE_CLASSES:
                    raise S3Error("InvalidStorageClass", StorageClassRequested=value)
                if value != "STANDARD":
                    kept[name] = value
                continue
        if name == "content-type":
            content_type = from_wire(value) or None
        elif name == "content-encoding":
            # aws-chunked describes the transfer, not the object.
            codings = [part.strip() for part in value.split(",")]
            rest = ",".join(part for part in codings if part and part.lower() != "aws-chunked")
            if rest:
                kept[name] = from_wire(rest)
        elif name in _KEPT:
            kept[name] = from_wire(value)
    if metadata:
        check_metadata_size(metadata)
    location = kept.get("x-amz-website-redirect-location")
    if location is not None and not location.startswith(("/", "http://", "https://")):
        raise S3Error(
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        )
    return content_type, metadata, kept


def check_metadata_size(metadata: Mapping[str, str]) -> None:
    """Raise ``MetadataTooLarge`` when names and values together exceed 2 KiB of UTF-8."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > METADATA_SIZE_MAX:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=METADATA_SIZE_MAX)


def read_headers(info: ObjectInfo, versioned: bool) -> dict[str, str]:
    """Return the headers of GetObject and HeadObject, without lengths and checksums.

    Parameters
    ----------
    info : ObjectInfo
    versioned : bool
        The bucket's versioning is enabled or suspended, so that the version id is named.
    """
    content_type = info.content_type
    headers = {
        "Last-Modified": http_date(info.modified_ns // 1_000_000_000),
        "ETag": f'"{info.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": to_wire(content_type) if content_type else DEFAULT_CONTENT_TYPE,
    }
    if versioned:
        headers["x-amz-version-id"] = info.version_id
    if info.headers:
        for name, value in info.headers.items():
            wire_name = _KEPT.get(name)
            if wire_name is not None:
                headers[wire_name] = to_wire(value)
    if info.metadata:
        missing = 0
        for name, value in info.metadata.items():
            if _TOKEN.fullmatch(name) is None:
                # Written through another door, with a name no header may have.
                missing += 1
            else:
                headers[f"x-amz-meta-{name}"] = encode_metadata(value)
        if missing:
            headers["x-amz-missing-meta"] = str(missing)
    if info.tag_count:
        headers["x-amz-tagging-count"] = str(info.tag_count)
    if info.locked:
        headers.update(lock_headers(info))
    if info.encryption is not None:
        headers.update(encryption_headers(info.encryption))
    return headers


def add_checksums(headers: dict[str, str], info: ObjectInfo) -> None:
    """Add ``x-amz-checksum-*`` and its type, when the object has any."""
    for algorithm, value in info.checksums.items():
        headers[f"x-amz-checksum-{algorithm}"] = value
    if info.checksums:
        headers["x-amz-checksum-type"] = info.checksum_type or "FULL_OBJECT"


def apply_overrides(headers: dict[str, str], query: Mapping[str, str], signed: bool) -> None:
    """Replace headers by the ``response-*`` parameters of a read; S3 allows them on signed requests only."""
    for name, wire_name in _OVERRIDES.items():
        if name in query:
            if not signed:
                raise S3Error(
                    "InvalidRequest",
                    "Request specific response headers cannot be used for anonymous GET requests.",
                )
            headers[wire_name] = to_wire(query[name])
