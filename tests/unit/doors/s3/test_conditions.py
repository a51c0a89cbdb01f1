"""Conditional requests: S3's precedence."""

import pytest

from tickvault.doors.s3.conditions import (
    check_copy_source,
    check_read,
    etag_matches,
    http_date,
    parse_http_date,
    write_conditions,
)
from tickvault.doors.s3.errors import S3Error
from tickvault.objects.model import ObjectInfo

SECOND = 1_700_000_000
INFO = ObjectInfo("k", 1, "abc", 1, SECOND * 1_000_000_000 + 999, headers={"cache-control": "no-cache"})
BEFORE, AT, AFTER = http_date(SECOND - 1), http_date(SECOND), http_date(SECOND + 1)


def outcome(check, headers):
    try:
        check(headers, INFO)
    except S3Error as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-match": '"abc"'}, 200),
        ({"if-match": "abc"}, 200),
        ({"if-match": '"x", "abc"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x"'}, 412),
        ({"if-none-match": '"abc"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": AT}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-unmodified-since": "yesterday"}, 200),
        # The two pairs of S3's documentation.
        ({"if-match": '"abc"', "if-unmodified-since": BEFORE}, 200),
        ({"if-none-match": '"abc"', "if-modified-since": BEFORE}, 304),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, 200),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, 412),
    ],
)
def test_reads(headers, status):
    assert outcome(check_read, headers) == status


def test_not_modified_carries_what_a_cache_needs():
    with pytest.raises(S3Error) as caught:
        check_read({"if-none-match": "abc"}, INFO)
    assert caught.value.headers == {"ETag": '"abc"', "Last-Modified": AT, "Cache-Control": "no-cache"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"match": '"abc"'}, 200),
        ({"match": '"x"'}, 412),
        ({"none-match": '"abc"'}, 412),
        ({"none-match": '"x"'}, 200),
        ({"modified-since": AFTER}, 412),
        ({"modified-since": BEFORE}, 200),
        ({"unmodified-since": BEFORE}, 412),
        ({"match": '"abc"', "unmodified-since": BEFORE}, 200),
        ({"none-match": '"abc"', "modified-since": BEFORE}, 412),
    ],
)
def test_copy_sources(headers, status):
    headers = {f"x-amz-copy-source-if-{name}": value for name, value in headers.items()}
    assert outcome(check_copy_source, headers) == status


def test_writes():
    assert write_conditions({}) == (None, None)
    assert write_conditions({"if-none-match": "*"}) == (None, "*")
    assert write_conditions({"if-match": '"abc"'}) == ("abc", None)
    assert write_conditions({"if-match": "*"}) == ("*", None)
    for headers in ({"if-none-match": '"abc"'}, {"if-none-match": "*", "if-match": "x"}):
        with pytest.raises(S3Error) as caught:
            write_conditions(headers)
        assert caught.value.status == 501


def test_dates():
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777
    assert parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784111777
    for text in ("", "x", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 999999 08:49:37 GMT"):
        assert parse_http_date(text) is None


def test_etags_of_parts_do_not_match_by_beginning():
    assert not etag_matches('"abc-2"', "abc")
    assert not etag_matches('""', "abc")
