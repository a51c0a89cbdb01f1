"""The copy source header."""

import pytest

from tickvault.doors.s3.copy_source import parse_copy_source
from tickvault.doors.s3.errors import S3Error


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("b/k", ("b", "k", None)),
        ("/b/k", ("b", "k", None)),
        ("b/a%2Fb%3Fc", ("b", "a/b?c", None)),
        ("b/a+b", ("b", "a+b", None)),
        ("b/ä".encode().decode("latin-1"), ("b", "ä", None)),
        ("b%2Fk", ("b", "k", None)),
        ("b//k", ("b", "/k", None)),
        ("b/k?versionId=null", ("b", "k", "null")),
    ],
)
def test_parse(header, expected):
    assert parse_copy_source(header) == expected


@pytest.mark.parametrize("header", ["", "b", "/", "b/", "/b/", "b/%FF", "b/k?versionId="])
def test_refused(header):
    with pytest.raises(S3Error) as caught:
        parse_copy_source(header)
    assert caught.value.code == "InvalidArgument"
