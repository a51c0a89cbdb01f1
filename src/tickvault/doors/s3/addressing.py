"""From the request target to bucket and key.

Invariants: a path is never normalised, ``..`` and ``//`` are ordinary parts of a key; a percent escape is
decoded exactly once; what is not UTF-8 after decoding is refused; ``+`` is a plus in a path and a space in a
query.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tickvault.doors.s3.errors import S3Error

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.~-]*").fullmatch
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_EMPTY_QUERY: dict[str, str] = {}

QueryPairs = list[tuple[str, str]]


class Target(NamedTuple):
    """A request target, taken apart."""

    path: str
    """As sent, still percent-encoded."""
    decoded_path: str
    query: dict[str, str]
    """Decoded; the first value where a name repeats. Shared when empty: not to be changed."""
    query_pairs: QueryPairs
    """Every decoded pair, in the order sent."""


def split_target(target: bytes) -> Target:
    """Take a request target apart.

    Raises
    ------
    S3Error
        ``InvalidURI``: not ASCII, no path, a broken percent escape, or not UTF-8.
    """
    try:
        text = target.decode("ascii")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "The request target holds bytes that must be percent-encoded.") from None
    if not text.startswith("/"):
        text = _origin_form(text)
    path, _, raw_query = text.partition("?")
    decoded_path = path if "%" not in path else _decode(path)
    if not raw_query:
        return Target(path, decoded_path, _EMPTY_QUERY, [])
    pairs = parse_query(raw_query)
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    return Target(path, decoded_path, query, pairs)


def parse_query(raw_query: str) -> QueryPairs:
    """Decode a query string into its pairs; a parameter without a value gets the empty string."""
    pairs: QueryPairs = []
    for field in raw_query.split("&"):
        if not field:
            continue
        name, _, value = field.partition("=")
        if "%" in field or "+" in field:
            name, value = _decode(name.replace("+", " ")), _decode(value.replace("+", " "))
        pairs.append((name, value))
    return pairs


def canonical_path(target: Target) -> str:
    """Return the path as SigV4 for S3 wants it: decoded once, encoded once, slashes kept, nothing
    normalised."""
    if _PLAIN_PATH(target.path):
        return target.path
    return quote(target.decoded_path, safe="/~")


def canonical_query(pairs: QueryPairs, skip: str | None = None) -> str:
    """Return the query string as SigV4 wants it: every pair encoded, sorted by encoded name, then value."""
    encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs if name != skip]
    encoded.sort()
    return "&".join([f"{name}={value}" for name, value in encoded])


def bucket_and_key(path: str, host: str, domains: tuple[str, ...]) -> tuple[str, str]:
    """Return bucket and key; both may be empty.

    Parameters
    ----------
    path : str
        Decoded path, starting with a slash.
    host : str
        The Host header. ``bucket.domain`` of one of `domains` is virtual-host style, anything else path
        style.
    domains : tuple of str
        Lower case, without port.
    """
    if domains:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().rstrip(".")
        for domain in domains:
            if name.endswith(domain) and name[: -len(domain)].endswith(".") and len(name) > len(domain) + 1:
                return name[: -len(domain) - 1], path[1:]
    bucket, _, key = path[1:].partition("/")
    return bucket, key


def _origin_form(text: str) -> str:
    """Return the path and query of an absolute target (``http://host/path``), which proxies may send."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        slash = rest.find("/")
        return rest[slash:] if slash >= 0 else "/"
    if text == "*":
        return "/"
    raise S3Error("InvalidURI", "The request target must start with a slash.")


def _decode(text: str) -> str:
    if _BAD_ESCAPE(text):
        raise S3Error("InvalidURI", "The request target holds a '%' without two hexadecimal digits.")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "The request target is not UTF-8 after percent-decoding.") from None
