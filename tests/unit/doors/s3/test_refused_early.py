"""What an upload is refused for by its head alone, before its client is invited to send the body."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tickvault
from tickvault.doors.s3.authorization.signer import Signers, root_signer
from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.context import PUT_SIZE_MAX
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.router import Context, refuse_early


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with tickvault.open(str(tmp_path_factory.mktemp("early") / "vault")) as vault:
        bucket = vault.create_bucket("raw", durability="relaxed")
        bucket.put("here", b"x")
        bucket.put("large", bytes(1 << 20))
        bucket.put("gone", b"x")
        bucket.set_versioning("enabled")
        bucket.delete("gone")
        yield Context(store=vault.store, find=Signers(lambda access_key: None).find)


def refusal(
    context: Context,
    key: str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "PUT",
    bucket: str = "raw",
    query: dict[str, str] | None = None,
    length: int | None = 100,
    access_key: str = "AK",
) -> tuple[int, str]:
    """Return the status and code of the refusal, 100 where there is none."""
    body = RequestBody(length, None, None, None, buffer_max=1 << 20, size_max=1 << 40)
    request = Request(method, f"/{bucket}/{key}", bucket, key, query or {}, headers or {}, body, access_key, "ID")
    request.signer = root_signer(access_key, "secret") if access_key else None
    answer = refuse_early(context, request)
    if answer is None:
        return 100, ""
    return answer.status, bytes(answer.body).partition(b"<Code>")[2].partition(b"</Code>")[0].decode()  # type: ignore[arg-type]


def test_uploads_that_are_taken(context: Context) -> None:
    etag = context.bucket("raw").head("here").etag
    large = context.bucket("raw").head("large").etag
    for key, headers in (
        ("here", {}),
        ("new", {}),
        ("new", {"if-none-match": "*"}),
        ("gone", {"if-none-match": "*"}),
        ("here", {"if-match": f'"{etag}"'}),
        ("here", {"if-match": "*"}),
        ("large", {"if-match": large}),
    ):
        assert refusal(context, key, headers) == (100, ""), (key, headers)
    assert refusal(context, "", bucket="to-be-made") == (100, "")
    assert refusal(context, "", {"content-type": "multipart/form-data"}, method="POST", bucket="none")[0] == 100


def test_uploads_that_are_refused_by_their_head(context: Context) -> None:
    """The story: each of these was told only after the body had been sent, however large."""
    for key, headers, expected in (
        ("here", {"if-none-match": "*"}, (412, "PreconditionFailed")),
        ("large", {"if-none-match": "*"}, (412, "PreconditionFailed")),
        ("here", {"if-match": '"0"'}, (412, "PreconditionFailed")),
        ("large", {"if-match": '"0"'}, (412, "PreconditionFailed")),
        ("new", {"if-match": "*"}, (404, "NoSuchKey")),
        ("gone", {"if-match": "*"}, (404, "NoSuchKey")),
        ("here", {"if-none-match": '"0"'}, (501, "NotImplemented")),
        ("new", {"x-amz-storage-class": "NONE"}, (400, "InvalidStorageClass")),
        ("new", {"x-amz-meta-a": "v" * 3000}, (400, "MetadataTooLarge")),
        ("new", {"x-amz-server-side-encryption": "wood"}, (400, "InvalidEncryptionAlgorithmError")),
        ("new", {"x-amz-server-side-encryption": "aws:kms:dsse"}, (501, "NotImplemented")),
        ("new", {"x-amz-expected-bucket-owner": "1"}, (403, "AccessDenied")),
        ("k" * 1025, {}, (400, "KeyTooLongError")),
    ):
        assert refusal(context, key, headers) == expected, (key[:10], headers)
    assert refusal(context, "k", bucket="none") == (404, "NoSuchBucket")
    assert refusal(context, "k", access_key="") == (403, "AccessDenied")
    assert refusal(context, "k", length=PUT_SIZE_MAX + 1) == (400, "EntityTooLarge")
    assert refusal(context, "k", length=None) == (411, "MissingContentLength")
    assert refusal(context, "k", query={"torrent": ""}) == (501, "NotImplemented")
    assert refusal(context, "k", query={"tagging": ""}, bucket="none") == (404, "NoSuchBucket")


def test_parts_that_are_refused_by_their_head(context: Context) -> None:
    upload_id = context.bucket("raw").create_upload("k").upload_id
    query = {"uploadId": upload_id, "partNumber": "1"}
    assert refusal(context, "k", query=query) == (100, "")
    assert refusal(context, "k", query=query, length=PUT_SIZE_MAX + 1) == (400, "EntityTooLarge")
    assert refusal(context, "k", query={**query, "partNumber": "0"}) == (400, "InvalidArgument")
    assert refusal(context, "k", query={**query, "uploadId": "0" * len(upload_id)}) == (404, "NoSuchUpload")
    assert refusal(context, "k", query=query, bucket="none") == (404, "NoSuchBucket")


def test_the_length_of_a_body_is_told(context: Context) -> None:
    """The story: a PUT with neither Content-Length nor Transfer-Encoding made an empty object and was answered 200."""
    chunked = {"transfer-encoding": "chunked"}
    aws = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    assert refusal(context, "k", {}, length=None) == (411, "MissingContentLength")
    assert refusal(context, "k", chunked, length=None) == (501, "NotImplemented")
    assert refusal(context, "k", chunked | aws, length=None) == (411, "MissingContentLength")
    assert refusal(context, "k", {}, length=0) == (100, "")
