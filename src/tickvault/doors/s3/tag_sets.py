"""Tags of objects and buckets: S3's three spellings and its limits.

Invariants: a tag set that passed `check` has unique keys within S3's limits of count, length and alphabet.

Sources: S3 User Guide, "Categorizing your storage using tags"; API Reference, PutObjectTagging,
PutBucketTagging.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_plus

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.xml import Element, document, tag

OBJECT_TAG_COUNT_MAX = 10
BUCKET_TAG_COUNT_MAX = 50
KEY_LENGTH_MAX = 128
VALUE_LENGTH_MAX = 256

_ALLOWED = re.compile(r"[\w\s+\-=._:/@]*")


def check(pairs: Iterable[tuple[str, str]], count_max: int = OBJECT_TAG_COUNT_MAX) -> dict[str, str]:
    """Return a tag set, checked.

    Raises
    ------
    S3Error
        ``InvalidTag`` for a key or value S3 does not take or a key given twice, ``BadRequest`` for too many.
    """
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not 1 <= len(key) <= KEY_LENGTH_MAX or _ALLOWED.fullmatch(key) is None:
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > VALUE_LENGTH_MAX or _ALLOWED.fullmatch(value) is None:
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        if key.lower().startswith("aws:"):
            raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
        if key in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > count_max:
        kind = "Object" if count_max == OBJECT_TAG_COUNT_MAX else "Bucket"
        raise S3Error("BadRequest", f"{kind} tags cannot be greater than {count_max}")
    return tags


def from_header(header: str) -> dict[str, str]:
    """Return the tag set of an ``x-amz-tagging`` header, which is written like a URL's query.

    Examples
    --------
    >>> from_header("a=1&b=x%20y&c")
    {'a': '1', 'b': 'x y', 'c': ''}
    """
    pairs = []
    for part in header.split("&"):
        if part:
            key, _, value = part.partition("=")
            try:
                pairs.append((unquote_plus(key, errors="strict"), unquote_plus(value, errors="strict")))
            except UnicodeDecodeError:
                raise S3Error(
                    "InvalidArgument",
                    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query "
                    "parameters without tag name duplicates.",
                    ArgumentName="x-amz-tagging",
                    ArgumentValue=header,
                ) from None
    return check(pairs)


def from_element(tagging: Element, count_max: int = OBJECT_TAG_COUNT_MAX) -> dict[str, str]:
    """Return the tag set of a Tagging document."""
    tag_set = tagging.find("TagSet")
    if tagging.name != "Tagging" or tag_set is None:
        raise S3Error("MalformedXML")
    pairs = []
    for child in tag_set.children:
        key, value = child.raw("Key"), child.raw("Value")
        if child.name != "Tag" or key is None or value is None:
            raise S3Error("MalformedXML")
        pairs.append((key, value))
    return check(pairs, count_max)


def tagging_document(tags: Mapping[str, str]) -> bytes:
    """Return a Tagging document."""
    content = "".join(f"<Tag>{tag('Key', key)}{tag('Value', value)}</Tag>" for key, value in tags.items())
    return document("Tagging", f"<TagSet>{content}</TagSet>")
