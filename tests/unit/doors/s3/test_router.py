"""Routing: every operation of S3's own service model finds its place, and none is taken for another."""

import asyncio
import re

import pytest
from botocore.session import Session

from tickvault.doors.s3.authorization.signer import root_signer
from tickvault.doors.s3.body import EMPTY_BODY
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.operations.unconfigured import (
    unconfigured_bucket,
    unsupported,
)
from tickvault.doors.s3.router import Context, find_operation, route
from tickvault.errors import BucketNotFoundError

#: What S3 calls differently from our files: two names of one thing, or one file for several operations.
SAME = {
    "get_bucket_lifecycle_configuration": "get_bucket_lifecycle",
    "put_bucket_lifecycle_configuration": "put_bucket_lifecycle",
}
IMPLEMENTED = set(
    re.findall(
        r"\w+",
        """
AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket DeleteBucketCors
DeleteBucketLifecycle DeleteBucketTagging DeleteObject DeleteObjectTagging DeleteObjects GetBucketAcl GetBucketCors
GetBucketLifecycle GetBucketLifecycleConfiguration GetBucketLocation GetBucketTagging GetBucketVersioning GetObject
GetObjectAcl GetObjectAttributes GetObjectTagging HeadBucket HeadObject ListBuckets ListMultipartUploads
ListObjectVersions ListObjects ListObjectsV2 ListParts PutBucketAcl PutBucketCors PutBucketLifecycle
PutBucketLifecycleConfiguration PutBucketTagging PutBucketVersioning PutObject PutObjectAcl PutObjectTagging UploadPart
UploadPartCopy GetObjectLegalHold GetObjectLockConfiguration GetObjectRetention PutObjectLegalHold
PutObjectLockConfiguration PutObjectRetention GetBucketEncryption PutBucketEncryption DeleteBucketEncryption
GetBucketPolicy GetBucketPolicyStatus PutBucketPolicy DeleteBucketPolicy GetPublicAccessBlock PutPublicAccessBlock
DeletePublicAccessBlock
""",
    )
)

SERVICE = Session().get_service_model("s3")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def make(method, bucket="", key="", query=None, headers=None, access_key="AK"):
    path = f"/{bucket}/{key}" if bucket else "/"
    signer = root_signer(access_key, "secret") if access_key else None
    return Request(method, path, bucket, key, query or {}, headers or {}, EMPTY_BODY, access_key, "ID", signer=signer)


def example(operation):
    """Return a request of an operation, with every required query parameter and header."""
    path, _, raw_query = operation.http["requestUri"].partition("?")
    query = dict(pair.partition("=")[::2] for pair in raw_query.split("&") if pair)
    headers = {}
    shape = operation.input_shape
    for name in (shape.required_members if shape else ()) or ():
        member = shape.members[name]
        where = member.serialization.get("location")
        if where == "querystring":
            query[member.serialization["name"]] = "1"
        elif where == "header":
            headers[member.serialization["name"].lower()] = "b/k"
    bucket = "bucket" if "{Bucket}" in path else path.strip("/")
    return make(operation.http["method"], bucket, "key" if "{Key" in path else "", query, headers)


@pytest.mark.parametrize("name", SERVICE.operation_names)
def test_every_operation_of_the_service_model(name):
    request = example(SERVICE.operation_model(name))
    if name == "ListDirectoryBuckets":
        request.query["x-id"] = name
    try:
        handler = find_operation(request)
    except S3Error as error:
        assert name not in IMPLEMENTED
        assert error.status in (405, 501)
        return
    if name in IMPLEMENTED:
        assert handler.__name__ == SAME.get(snake(name), snake(name))
    elif name == "ListDirectoryBuckets":
        answer = route(Context(None, lambda key: None), request)
        assert answer.status == 501
    else:
        assert handler in {unsupported, unconfigured_bucket}


class NoBuckets:
    def bucket(self, name):
        raise BucketNotFoundError(name)


def answer_of(request, **options):
    async def run():
        answer = route(Context(NoBuckets(), lambda key: None, **options), request)
        return answer if isinstance(answer, Response) else await answer

    return asyncio.run(run())


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
@pytest.mark.parametrize(("bucket", "key"), [("b", ""), ("b", "k")])
def test_an_unknown_parameter_never_becomes_the_plain_operation(method, bucket, key):
    with pytest.raises(S3Error) as caught:
        find_operation(make(method, bucket, key, {"newFeature": ""}))
    assert caught.value.status == 501


def test_parameters_that_change_nothing_are_let_through():
    query = {"X-Amz-Signature": "x", "x-id": "PutObject", "x-purpose": "billing"}
    assert find_operation(make("PUT", "b", "k", query)).__name__ == "put_object"
    assert find_operation(make("GET", "b", "k", {"anything": ""})).__name__ == "get_object"


def test_copies_are_told_by_their_header():
    headers = {"x-amz-copy-source": "b/k"}
    assert find_operation(make("PUT", "b", "k", {}, headers)).__name__ == "copy_object"
    query = {"uploadId": "u", "partNumber": "1"}
    assert find_operation(make("PUT", "b", "k", query, headers)).__name__ == "upload_part_copy"
    for query in ({"uploadId": "u"}, {"partNumber": "1"}):
        with pytest.raises(S3Error):
            find_operation(make("PUT", "b", "k", query))


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (make("GET", "b", "k"), 404, b"NoSuchBucket"),
        (make("PUT", "b", "k"), 404, b"NoSuchBucket"),
        (make("PATCH", "b", "k"), 405, b"MethodNotAllowed"),
        (make("DELETE"), 405, b"MethodNotAllowed"),
        (make("POST"), 403, b"MissingAuthenticationToken"),
        (make("POST", "b", "k"), 405, b"MethodNotAllowed"),
        (make("GET", "b", "k" * 1025), 400, b"KeyTooLongError"),
        (make("PUT", "b", "é" * 513), 400, b"KeyTooLongError"),
        (make("GET", "b", "k", access_key=""), 403, b"AccessDenied"),
        (make("OPTIONS", "b", "k", access_key=""), 400, b"BadRequest"),
        (make("GET", "b", "k", headers={"x-amz-expected-bucket-owner": "1"}), 403, b"AccessDenied"),
    ],
)
def test_errors_are_answers(request_, status, code):
    answer = answer_of(request_)
    assert answer.status == status
    assert b"<Code>" + code + b"</Code>" in answer.body


def test_a_missing_bucket_is_named():
    assert b"<BucketName>b</BucketName>" in answer_of(make("GET", "b", "k")).body


def test_unsigned_requests_reach_reads_only():
    for method, bucket, key, query in (
        ("GET", "", "", {}),
        ("PUT", "b", "k", {}),
        ("DELETE", "b", "k", {}),
        ("GET", "b", "", {"acl": ""}),
        ("GET", "b", "k", {"tagging": ""}),
        ("POST", "b", "", {"delete": ""}),
    ):
        request = make(method, bucket, key, query, access_key="")
        assert answer_of(request, allow_anonymous=True).status == 403
    assert answer_of(make("GET", "b", "k", access_key=""), allow_anonymous=True).status == 404


def test_a_bug_is_an_answer_too(caplog):
    class Broken:
        def bucket(self, name):
            raise ZeroDivisionError("secret")

    for method in ("GET", "PUT"):

        async def run(method=method):
            answer = route(Context(Broken(), lambda key: None), make(method, "b", "k"))
            return answer if isinstance(answer, Response) else await answer

        answer = asyncio.run(run())
        assert answer.status == 500
        assert b"secret" not in answer.body
    assert "ZeroDivisionError" in caplog.text
