"""Rules for names: buckets, keys, metadata, tags.

Source: Amazon S3 User Guide, "Bucket naming rules", "Creating object key names", "Categorizing objects using tags".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tickvault.errors import InvalidInputError

KEY_BYTES_MAX = 1024
DOCUMENT_NAME_BYTES_MAX = 400
METADATA_BYTES_MAX = 2048
TAG_COUNT_MAX = 10
TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_bucket_name(name: str) -> str:
    """Return the name if S3 would take it, else raise `InvalidInputError` with the rule."""
    rule = None
    if not isinstance(name, str) or not 3 <= len(name) <= 63:
        rule = "must be 3 to 63 characters long"
    elif not _BUCKET.fullmatch(name):
        rule = "may hold lower-case letters, digits, hyphens and dots, and must begin and end with a letter or digit"
    elif ".." in name or ".-" in name or "-." in name:
        rule = "must not hold a dot next to a dot or hyphen"
    elif _IP.fullmatch(name):
        rule = "must not look like an IP address"
    elif name.startswith("xn--"):
        rule = "must not begin with xn--, which is reserved"
    elif name.endswith(("-s3alias", "--ol-s3")):
        rule = "must not end with -s3alias or --ol-s3, which are reserved"
    if rule is not None:
        raise InvalidInputError(f"bucket name {name!r} {rule}")
    return name


def check_document_name(name: str) -> bytes:
    """Return the UTF-8 bytes of the name of a document of the vault, else raise `InvalidInputError` with the rule."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raw = b""
    if not 0 < len(raw) <= DOCUMENT_NAME_BYTES_MAX or b"\0" in raw:
        raise InvalidInputError(
            f"the name of a document has 1 to {DOCUMENT_NAME_BYTES_MAX} bytes of UTF-8 without NUL, not {name[:80]!r}"
        )
    return raw


def encode_key(key: str) -> bytes:
    """Return a key's UTF-8 bytes.

    Raises
    ------
    InvalidInputError
        The key is empty, longer than 1,024 bytes, or holds a NUL or a lone surrogate.
    """
    if type(key) is not str:
        raise InvalidInputError(f"an object key is a str, not {type(key).__name__}")
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"object key {key!r} is not valid Unicode") from None
    if not 0 < len(raw) <= KEY_BYTES_MAX:
        found = f"{len(raw)} bytes" if raw else "empty"
        raise InvalidInputError(f"an object key has 1 to {KEY_BYTES_MAX} bytes of UTF-8; this one is {found}")
    if b"\0" in raw:
        raise InvalidInputError(f"object key {key!r} holds a NUL character, which no listing could show")
    return raw


def encode_text(name: str, text: str) -> bytes:
    """Return the UTF-8 bytes of a prefix, delimiter or marker; raises `InvalidInputError`."""
    try:
        return text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise InvalidInputError(f"{name} must be a str of valid Unicode, was {text!r}") from None


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return user metadata with lower-case names, within S3's 2 KiB."""
    checked: dict[str, str] = {}
    size = 0
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name:
            raise InvalidInputError(f"metadata maps non-empty str to str; got {name!r}: {value!r}")
        checked[name.lower()] = value
        size += len(name.encode()) + len(value.encode())
    if size > METADATA_BYTES_MAX:
        raise InvalidInputError(f"metadata takes {size} bytes; at most {METADATA_BYTES_MAX} are allowed")
    return checked


def check_tags(tags: Mapping[str, str], *, count_max: int = TAG_COUNT_MAX) -> dict[str, str]:
    """Return tags if they keep S3's limits: their number, 128 characters a key, 256 a value."""
    if len(tags) > count_max:
        raise InvalidInputError(f"an object has at most {count_max} tags; got {len(tags)}")
    for name, value in tags.items():
        if not isinstance(name, str) or not 1 <= len(name) <= TAG_KEY_LENGTH_MAX:
            raise InvalidInputError(f"a tag key has 1 to {TAG_KEY_LENGTH_MAX} characters; got {name!r}")
        if not isinstance(value, str) or len(value) > TAG_VALUE_LENGTH_MAX:
            raise InvalidInputError(
                f"a tag value has up to {TAG_VALUE_LENGTH_MAX} characters; got {value!r} for {name!r}"
            )
        if name.lower().startswith("aws:"):
            raise InvalidInputError(f"tag key {name!r}: the prefix aws: is reserved")
    return dict(tags)
