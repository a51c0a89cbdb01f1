"""Conditional requests, with S3's precedence.

Invariants: If-Match outranks If-Unmodified-Since and If-None-Match outranks If-Modified-Since, so that the
outranked one is not looked at; a date that cannot be read is ignored; times are compared in whole seconds, as
they are sent.

Sources: Amazon S3 API Reference, GetObject ("Considerations for conditional requests"); RFC 9110, section
13.2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from time import gmtime

from tickvault.doors.s3.errors import S3Error, not_implemented
from tickvault.objects.model import ObjectInfo

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=8192)
def http_date(second: int) -> str:
    """Return seconds since the epoch as an HTTP date.

    Examples
    --------
    >>> http_date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    t = gmtime(second)  # not strftime: its names of days and months follow the locale
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon]} {t.tm_year:04d} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )


def parse_http_date(text: str) -> int | None:
    """Return an HTTP date as seconds since the epoch, None when it cannot be read."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def bare_etag(text: str) -> str:
    """Return an entity tag without quotes and without the mark of a weak one."""
    text = text.strip()
    if text.startswith("W/"):
        text = text[2:]
    return text.strip('"')


def etag_matches(header: str, etag: str) -> bool:
    """Return whether a list of entity tags, or ``*``, names `etag`.

    Examples
    --------
    >>> etag_matches('"a", W/"b"', "b"), etag_matches("*", "b"), etag_matches("a", "b")
    (True, True, False)
    """
    return any(part.strip() == "*" or bare_etag(part) == etag for part in header.split(","))


def check_read(headers: Mapping[str, str], info: ObjectInfo) -> None:
    """Check the conditions of GetObject and HeadObject.

    Raises
    ------
    S3Error
        ``PreconditionFailed`` (412), or ``NotModified`` (304) with the headers a cache needs.
    """
    modified = info.modified_ns // 1_000_000_000
    if_match = headers.get("if-match")
    if if_match is not None:
        if not etag_matches(if_match, info.etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    elif (text := headers.get("if-unmodified-since")) is not None:
        limit = parse_http_date(text)
        if limit is not None and modified > limit:
            raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        unchanged = etag_matches(if_none_match, info.etag)
    else:
        limit = parse_http_date(headers.get("if-modified-since", ""))
        unchanged = limit is not None and modified <= limit
    if unchanged:
        cached = {"ETag": f'"{info.etag}"', "Last-Modified": http_date(modified)}
        for stored, name in (("cache-control", "Cache-Control"), ("expires", "Expires")):
            if stored in info.headers:
                cached[name] = info.headers[stored]
        raise S3Error("NotModified", headers=cached)


def check_copy_source(headers: Mapping[str, str], info: ObjectInfo) -> None:
    """Check the ``x-amz-copy-source-if-*`` conditions; each that fails is ``PreconditionFailed``.

    Source: Amazon S3 API Reference, CopyObject: If-Match true with If-Unmodified-Since false copies;
    If-None-Match false with If-Modified-Since true does not.
    """
    prefix = "x-amz-copy-source-if-"
    modified = info.modified_ns // 1_000_000_000
    match = headers.get(prefix + "match")
    none_match = headers.get(prefix + "none-match")
    unmodified_since = parse_http_date(headers.get(prefix + "unmodified-since", ""))
    modified_since = parse_http_date(headers.get(prefix + "modified-since", ""))
    failed = None
    if match is not None:
        if not etag_matches(match, info.etag):
            failed = "match"
    elif unmodified_since is not None and modified > unmodified_since:
        failed = "unmodified-since"
    if failed is None:
        if none_match is not None:
            if etag_matches(none_match, info.etag):
                failed = "none-match"
        elif modified_since is not None and modified <= modified_since:
            failed = "modified-since"
    if failed is not None:
        raise S3Error("PreconditionFailed", Condition=prefix + failed)


def write_conditions(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (if_match, if_none_match) of a conditional write, ready for the store.

    Raises
    ------
    S3Error
        ``NotImplemented`` for an If-None-Match other than ``*``, and for both at once, as S3 answers.
    """
    if_match = headers.get("if-match")
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise not_implemented("If-None-Match with an ETag on a write")
        if if_match is not None:
            raise not_implemented("If-Match together with If-None-Match on a write")
        return None, "*"
    if if_match is not None:
        if_match = if_match.strip()
        return (if_match if if_match == "*" else bare_etag(if_match)), None
    return None, None
