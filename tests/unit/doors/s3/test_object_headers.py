"""Headers of objects: what is kept, what is refused, what can never leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.object_headers import (
    apply_overrides,
    decode_metadata,
    encode_metadata,
    read_headers,
    stored_headers,
    to_wire,
)
from tickvault.objects.model import ObjectInfo


def code(headers):
    with pytest.raises(S3Error) as caught:
        stored_headers(headers)
    return caught.value.code


def test_what_is_kept():
    content_type, metadata, kept = stored_headers(
        {
            "host": "h",
            "content-type": "text/csv",
            "content-encoding": "aws-chunked, gzip",
            "cache-control": "no-cache",
            "expires": "whenever",
            "x-amz-meta-venue": "XCME",
            "x-amz-storage-class": "STANDARD_IA",
            "x-amz-acl": "public-read",
            "x-amz-date": "x",
        }
    )
    assert content_type == "text/csv"
    assert metadata == {"venue": "XCME"}
    assert kept == {
        "content-encoding": "gzip",
        "cache-control": "no-cache",
        "expires": "whenever",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-acl": "public-read",
    }
    assert stored_headers({"content-encoding": "aws-chunked", "x-amz-storage-class": "STANDARD"})[2] == {}
    assert stored_headers({"x-amz-acl": "private"})[2] == {}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-amz-meta-a": "b" * 2048}, "MetadataTooLarge"),
        ({"x-amz-storage-class": "FAST"}, "InvalidStorageClass"),
        ({"x-amz-acl": "everyone"}, "InvalidArgument"),
        ({"x-amz-acl": "aws-exec-read"}, "NotImplemented"),
        ({"x-amz-grant-read": "id=1"}, "NotImplemented"),
        ({"x-amz-website-redirect-location": "ftp://x"}, "InvalidRedirectLocation"),
    ],
)
def test_what_is_refused(headers, expected):
    assert code(headers) == expected


def test_metadata_of_exactly_the_limit_is_taken():
    assert stored_headers({"x-amz-meta-a": "b" * 2047})[1] == {"a": "b" * 2047}


@given(st.text(st.characters(codec="utf-8")))
def test_metadata_round_trip(value):
    wire = encode_metadata(value)
    assert wire.isascii()
    assert wire == "" or wire.isprintable()
    if "=?" not in value:
        assert decode_metadata(wire) == value


def test_metadata_sent_as_utf8_bytes_is_read_as_such():
    assert decode_metadata("Ä".encode().decode("latin-1")) == "Ä"
    assert decode_metadata("\xc4") == "Ä"
    assert decode_metadata("=?nonsense?Q?x?=") == "=?nonsense?Q?x?="


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_stored_can_start_a_new_header(value):
    info = ObjectInfo(
        "k",
        1,
        "e",
        1,
        0,
        content_type=value,
        metadata={"a": value, "b\r\nc": "d"},
        headers={"expires": value},
    )
    headers = read_headers(info, versioned=False)
    assert headers["x-amz-missing-meta"] == "1"
    for text in headers.values():
        text.encode("latin-1")
        assert not {"\r", "\n", "\0"} & set(text)


def test_read_headers():
    info = ObjectInfo("k", 1, "e", 1, 0, version_id="v", tag_count=2, headers={"x-amz-acl": "public-read"})
    assert read_headers(info, versioned=True) == {
        "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT",
        "ETag": '"e"',
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
        "x-amz-version-id": "v",
        "x-amz-tagging-count": "2",
    }


def test_overrides_need_a_signature():
    headers = {"Content-Type": "a"}
    apply_overrides(headers, {"response-content-type": "b\r\nx: y"}, signed=True)
    assert headers == {"Content-Type": "bx: y"}
    with pytest.raises(S3Error) as caught:
        apply_overrides({}, {"response-expires": "x"}, signed=False)
    assert caught.value.code == "InvalidRequest"


def test_to_wire_keeps_utf8_bytes():
    assert to_wire("filename*=ä").encode("latin-1") == "filename*=ä".encode()
