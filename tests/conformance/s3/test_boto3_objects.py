"""PutObject, GetObject, HeadObject and DeleteObject with boto3: bytes, headers, ranges and conditions."""

import datetime
import hashlib
import http.client
import os
import urllib.parse

import pytest


def put(s3, bucket, key="k", body=b"0123456789", **options):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **options)


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 65_537, 256 << 10, (256 << 10) + 1, (3 << 20) + 7])
def test_bytes_come_back(s3, bucket, size):
    body = os.urandom(size)
    answer = put(s3, bucket, body=body)
    assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert got["ContentLength"] == size
    assert got["ETag"] == answer["ETag"]
    assert got["AcceptRanges"] == "bytes"
    assert got["ContentType"] == "binary/octet-stream"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == size
    assert head["LastModified"] == got["LastModified"]
    assert "x-amz-request-id" in head["ResponseMetadata"]["HTTPHeaders"]
    assert "x-amz-version-id" not in head["ResponseMetadata"]["HTTPHeaders"]


@pytest.mark.parametrize("size", [10, 600_000])
def test_headers_and_metadata_come_back(s3, bucket, size):
    expires = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    put(
        s3,
        bucket,
        body=bytes(size),
        ContentType="text/csv; charset=utf-8",
        CacheControl="no-cache",
        ContentDisposition='attachment; filename="x.csv"',
        ContentEncoding="gzip",
        ContentLanguage="en",
        Expires=expires,
        Metadata={"Venue": "XCME", "a-b": "c=d; e"},
        StorageClass="STANDARD_IA",
        WebsiteRedirectLocation="/other",
    )
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=bucket, Key="k")
        assert got["ContentType"] == "text/csv; charset=utf-8"
        assert got["CacheControl"] == "no-cache"
        assert got["ContentDisposition"] == 'attachment; filename="x.csv"'
        assert got["ContentEncoding"] == "gzip"
        assert got["ContentLanguage"] == "en"
        assert got["ExpiresString"] == "Wed, 01 Jan 2031 00:00:00 GMT"
        assert got["Metadata"] == {"venue": "XCME", "a-b": "c=d; e"}
        assert got["StorageClass"] == "STANDARD_IA"
        assert got["WebsiteRedirectLocation"] == "/other"


def test_storage_class_standard_is_not_named(s3, bucket, refused):
    put(s3, bucket, StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    assert refused(s3.put_object, Bucket=bucket, Key="k", StorageClass="FAST") == (400, "InvalidStorageClass")


def test_metadata_beyond_two_kibibytes_is_refused(s3, bucket, refused):
    put(s3, bucket, Metadata={"a": "b" * 2047})
    assert refused(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "b" * 2048}) == (
        400,
        "MetadataTooLarge",
    )


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a b",
        "a/b/c",
        "/a",
        "a//b",
        "../a",
        "a/./b",
        "ü/€/😀",
        "a+b",
        "a%20b",
        "a?b=c&d",
        "a#b",
        "x" * 1024,
        "é" * 512,
        "a\nb",
        "'\"<&>",
        "a/",
        ".",
    ],
)
def test_keys_are_any_text(s3, bucket, key):
    put(s3, bucket, key, key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_keys_beyond_1024_bytes_are_refused(s3, bucket, refused):
    for key in ("x" * 1025, "é" * 513):
        assert refused(s3.put_object, Bucket=bucket, Key=key) == (400, "KeyTooLongError")
        assert refused(s3.get_object, Bucket=bucket, Key=key) == (400, "KeyTooLongError")


def test_what_is_not_there(s3, bucket, refused):
    assert refused(s3.get_object, Bucket=bucket, Key="no") == (404, "NoSuchKey")
    assert refused(s3.head_object, Bucket=bucket, Key="no") == (404, "404")
    assert refused(s3.get_object, Bucket=bucket, Key="no", VersionId="0" * 16) == (404, "NoSuchVersion")
    assert refused(s3.get_object, Bucket="no-such-bucket", Key="no") == (404, "NoSuchBucket")
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="no") == (404, "NoSuchBucket")
    assert refused(s3.delete_object, Bucket="no-such-bucket", Key="no") == (404, "NoSuchBucket")
    answer = s3.delete_object(Bucket=bucket, Key="no")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "VersionId" not in answer


def test_an_error_names_what_failed(s3, bucket, refused):
    error = refused(s3.get_object, Bucket=bucket, Key="a<&>b").response["Error"]
    assert error["Key"] == "a<&>b"
    error = refused(s3.get_object, Bucket="no-such-bucket", Key="k").response["Error"]
    assert error["BucketName"] == "no-such-bucket"


# -- ranges


@pytest.mark.parametrize(
    ("text", "expected", "content_range"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-5", b"2345", "bytes 2-5/10"),
        ("bytes=5-", b"56789", "bytes 5-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ],
)
def test_ranges(s3, bucket, text, expected, content_range):
    put(s3, bucket)
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (got["Body"].read(), got["ContentRange"], got["ContentLength"]) == (
        expected,
        content_range,
        len(expected),
    )
    head = s3.head_object(Bucket=bucket, Key="k", Range=text)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (head["ContentRange"], head["ContentLength"]) == (content_range, len(expected))


@pytest.mark.parametrize("text", ["bytes=0-1,3-4", "bytes=5-2", "bytes=x", "lines=0-1"])
def test_a_range_that_is_none_is_ignored(s3, bucket, text):
    put(s3, bucket)
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert got["Body"].read() == b"0123456789"


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_end(s3, bucket, refused, text):
    put(s3, bucket)
    error = refused(s3.get_object, Bucket=bucket, Key="k", Range=text)
    assert error == (416, "InvalidRange")
    assert error.response["Error"]["ActualObjectSize"] == "10"
    put(s3, bucket, "empty", b"")
    assert refused(s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-0") == (416, "InvalidRange")


def test_ranges_of_a_large_object(s3, bucket):
    body = os.urandom((5 << 20) + 123)
    put(s3, bucket, body=body)
    for start, end in [
        (0, 1),
        (65_535, 65_537),
        (1, 5 << 20),
        (300_000, 900_000),
        (len(body) - 1, len(body)),
    ]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{end - 1}")
        assert got["Body"].read() == body[start:end]


def test_part_number_of_an_object_of_one_piece(s3, bucket, refused):
    put(s3, bucket)
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert got["Body"].read() == b"0123456789"
    assert "PartsCount" not in got
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=2) == (416, "InvalidPartNumber")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=10_001) == (400, "InvalidArgument")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == (
        400,
        "InvalidRequest",
    )


# -- conditions


def test_conditional_reads(s3, bucket, refused):
    etag = put(s3, bucket)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(hours=1)
    for call in (s3.get_object, s3.head_object):

        def status(call=call, **conditions):
            return refused(call, Bucket=bucket, Key="k", **conditions).status

        assert status(IfMatch='"x"') == 412
        assert status(IfNoneMatch=etag) == 304
        assert status(IfModifiedSince=modified) == 304
        assert status(IfModifiedSince=after) == 304
        assert status(IfUnmodifiedSince=before) == 412
        assert status(IfNoneMatch=etag, IfModifiedSince=before) == 304
        for conditions in (
            {"IfMatch": etag},
            {"IfNoneMatch": '"x"'},
            {"IfModifiedSince": before},
            {"IfUnmodifiedSince": modified},
            {"IfMatch": etag, "IfUnmodifiedSince": before},
        ):
            assert call(Bucket=bucket, Key="k", **conditions)["ETag"] == etag
    error = refused(s3.get_object, Bucket=bucket, Key="k", IfMatch='"x"')
    assert error.code == "PreconditionFailed"
    assert error.response["Error"]["Condition"] == "If-Match"
    unchanged = refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert unchanged.headers["etag"] == etag


@pytest.mark.parametrize("size", [10, 600_000])
def test_conditional_writes(s3, bucket, refused, size):
    body = bytes(size)
    first = put(s3, bucket, body=body, IfNoneMatch="*")["ETag"]
    assert refused(put, s3=s3, bucket=bucket, body=body, IfNoneMatch="*") == (412, "PreconditionFailed")
    second = put(s3, bucket, body=body + b"x", IfMatch=first)["ETag"]
    assert refused(put, s3=s3, bucket=bucket, body=body, IfMatch=first) == (412, "PreconditionFailed")
    put(s3, bucket, body=body, IfMatch="*")
    assert refused(put, s3=s3, bucket=bucket, key="no", body=body, IfMatch=second) == (404, "NoSuchKey")
    assert refused(put, s3=s3, bucket=bucket, body=body, IfNoneMatch=second) == (501, "NotImplemented")
    assert s3.get_object(Bucket=bucket, Key="k")["ETag"] == first


def test_conditional_deletes(s3, bucket, refused):
    etag = put(s3, bucket)["ETag"]
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch='"x"') == (412, "PreconditionFailed")
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatchSize=10) == (501, "NotImplemented")
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch=etag) == (404, "NoSuchKey")


# -- overrides and presigned requests


def http_call(url, method="GET", body=None, headers=()):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_response_overrides(s3, bucket):
    put(s3, bucket, ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="text/html",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
        ResponseContentLanguage="fr",
        ResponseContentEncoding="x",
        ResponseExpires=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    )
    assert got["ContentType"] == "text/html"
    assert got["ContentDisposition"] == "inline"
    assert got["CacheControl"] == "no-store"
    assert got["ContentLanguage"] == "fr"
    assert got["ContentEncoding"] == "x"
    assert got["ExpiresString"].startswith("Tue, 01 Jan 2030")


def test_an_override_cannot_break_out_of_its_header(s3, bucket):
    put(s3, bucket)
    url = s3.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "k", "ResponseContentType": "text/html\r\nSet-Cookie: a=b"}
    )
    answer, _ = http_call(url)
    assert answer.status == 200
    assert answer.getheader("set-cookie") is None


def test_presigned_requests(s3, bucket):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b/ü"})
    answer, _ = http_call(url, "PUT", b"body")
    assert answer.status == 200
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"})
    answer, content = http_call(url)
    assert (answer.status, content) == (200, b"body")
    answer, content = http_call(url[:-1] + ("0" if url[-1] != "0" else "1"))
    assert answer.status == 403
    assert b"SignatureDoesNotMatch" in content
    answer, content = http_call(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"))
    assert answer.status == 403


def test_metadata_in_utf8_comes_back_as_an_encoded_word(s3, bucket, send_signed):
    status, _, content = send_signed("PUT", f"/{bucket}/k", b"x", {"x-amz-meta-name": "Zürich"})
    assert status == 200, content
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"]["name"] == "=?UTF-8?B?WsO8cmljaA==?="
    copied = {"x-amz-meta-name": "=?UTF-8?B?WsO8cmljaA==?="}
    assert send_signed("PUT", f"/{bucket}/copy", b"x", copied)[0] == 200
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"]["name"] == "=?UTF-8?B?WsO8cmljaA==?="


def test_an_unsigned_request_is_refused(endpoint, s3, bucket):
    put(s3, bucket, ACL="public-read")
    for path in ("/", f"/{bucket}", f"/{bucket}/k", "/no-such-bucket"):
        answer, content = http_call(endpoint.url + path)
        assert answer.status == 403
        assert b"<Code>AccessDenied</Code>" in content
        assert answer.getheader("x-amz-request-id")


# -- requests that are not offered


def test_what_would_change_how_an_object_is_kept_is_refused(s3, bucket, refused):
    for options in (
        {"ServerSideEncryption": "aws:kms:dsse"},
        {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "e30="},
        {"GrantRead": 'id="x"'},
        {"WriteOffsetBytes": 3},
    ):
        assert refused(put, s3=s3, bucket=bucket, **options) == (501, "NotImplemented")
    assert refused(
        put,
        s3=s3,
        bucket=bucket,
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=datetime.datetime(2031, 1, 1),
    ) == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket=bucket, Key="k").status == 404


def test_the_bucket_owner_that_is_expected(s3, bucket, refused):
    assert put(s3, bucket, ExpectedBucketOwner="000000000000")
    assert refused(put, s3=s3, bucket=bucket, ExpectedBucketOwner="123456789012") == (403, "AccessDenied")


def test_a_body_without_a_length_is_refused(s3, bucket):
    """As S3 does: HTTP's own chunks are taken with aws-chunked in them only."""
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(
        "PUT",
        f"{parts.path}?{parts.query}",
        iter([b"abc", b"def"]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    answer = connection.getresponse()
    assert answer.status == 501
    body = answer.read()
    assert b"<Code>NotImplemented</Code>" in body
    assert b"<Header>Transfer-Encoding</Header>" in body
    connection.close()


def test_a_body_beyond_five_gibibytes_is_refused_before_it_is_sent(s3, bucket):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    connection.putheader("Content-Length", str((5 << 30) + 1))
    connection.endheaders()
    connection.send(b"x" * 1000)
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"EntityTooLarge" in answer.read()
    connection.close()


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(s3, bucket):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    connection.putheader("Content-Length", str(10 << 20))
    connection.endheaders()
    connection.send(bytes(5 << 20))
    connection.close()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
