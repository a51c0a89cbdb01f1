"""The query parameters that all of S3's listings share, and how their keys are written.

Invariants: a page holds at most 1,000 entries whatever is asked; a continuation token is opaque and names the
place to go on from, so that it holds across workers and restarts.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from collections.abc import Callable, Iterable, Mapping

from tickvault.doors.s3 import xml
from tickvault.doors.s3.context import PAGE_SIZE_MAX, Context
from tickvault.doors.s3.errors import S3Error
from tickvault.objects.model import ObjectInfo


def count(query: Mapping[str, str], name: str, maximum: int = PAGE_SIZE_MAX) -> int:
    """Return ``max-keys`` and its like, at most `maximum`; ``InvalidArgument`` for what is no number."""
    text = query.get(name)
    if text is None or text == "":
        return maximum
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > 0x7FFFFFFF:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return min(int(text), maximum)


def key_writer(query: Mapping[str, str]) -> Callable[[str], str]:
    """Return how keys are written: escaped for XML, or percent-encoded where ``encoding-type=url``."""
    encoding = query.get("encoding-type")
    if encoding is None:
        return xml.escape
    if encoding.lower() != "url":
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding,
        )
    return xml.escape_url


def encoding_type(query: Mapping[str, str]) -> str:
    """Return the EncodingType element, or nothing."""
    return "<EncodingType>url</EncodingType>" if "encoding-type" in query else ""


def token_for(place: str) -> str:
    """Return an opaque continuation token.

    Examples
    --------
    >>> place_of(token_for("a/ä"))
    'a/ä'
    """
    return urlsafe_b64encode(b"\x01" + place.encode()).decode()


def place_of(token: str) -> str:
    """Return the place a continuation token names; ``InvalidArgument`` for a token that is none."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        if raw[:1] == b"\x01":
            return raw[1:].decode()
    except (BinasciiError, UnicodeError, ValueError):
        pass
    raise S3Error(
        "InvalidArgument",
        "The continuation token provided is incorrect",
        ArgumentName="continuation-token",
        ArgumentValue=token,
    )


def owner_element(context: Context, name: str = "Owner") -> str:
    """Return the Owner element, or Initiator."""
    return f"<{name}>{xml.tag('ID', context.owner_id)}{xml.tag('DisplayName', context.owner_name)}</{name}>"


def common_prefixes(prefixes: Iterable[str], write_key: Callable[[str], str]) -> str:
    """Return the CommonPrefixes elements."""
    return "".join(f"<CommonPrefixes><Prefix>{write_key(prefix)}</Prefix></CommonPrefixes>" for prefix in prefixes)


def contents(objects: Iterable[ObjectInfo], write_key: Callable[[str], str], owner: str) -> str:
    """Return the Contents elements of a listing; `owner` is put into each."""
    lines = []
    timestamp = xml.timestamp
    for info in objects:
        extra = ""
        if info.checksums:
            extra = "".join(f"<ChecksumAlgorithm>{name.upper()}</ChecksumAlgorithm>" for name in info.checksums)
            extra += f"<ChecksumType>{info.checksum_type or 'FULL_OBJECT'}</ChecksumType>"
        storage_class = info.headers.get("x-amz-storage-class", "STANDARD") if info.headers else "STANDARD"
        lines.append(
            f"<Contents><Key>{write_key(info.key)}</Key><LastModified>{timestamp(info.modified_ns)}</LastModified>"
            f"<ETag>&quot;{info.etag}&quot;</ETag>{extra}<Size>{info.size}</Size>{owner}"
            f"<StorageClass>{xml.escape(storage_class)}</StorageClass></Contents>"
        )
    return "".join(lines)
