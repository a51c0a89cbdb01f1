"""Every request of a served vault is in its audit trail once, with who sent it and how it ended."""

from __future__ import annotations

import boto3
import botocore.config
import pytest

import tickvault as tv
from tickvault.audit.record import Category
from tickvault.doors.s3.worker import DoorOptions, DoorThread
from tickvault.errors import BusyError
from tickvault.security import credentials
from tickvault.security.identity.names import ROOT_ARN


@pytest.fixture
def served(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        pair = credentials.load_or_create(str(tmp_path / "data"))
        with DoorThread(vault.store, DoorOptions(secret_for=pair.secret_for, allow_anonymous=True)) as door:
            yield vault, door.endpoint, pair


def client(endpoint, access_key, secret_key):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(retries={"total_max_attempts": 1}, signature_version="s3v4"),
    )


def test_every_request_is_told_once(served, refused):
    vault, endpoint, pair = served
    s3 = client(endpoint, pair.access_key, pair.secret_key)
    ids = []

    def did(answer):
        ids.append(answer["ResponseMetadata"]["RequestId"])
        return answer

    did(s3.create_bucket(Bucket="raw"))
    did(s3.put_bucket_versioning(Bucket="raw", VersioningConfiguration={"Status": "Enabled"}))
    version = did(s3.put_object(Bucket="raw", Key="a b/ü", Body=b"four"))["VersionId"]
    did(s3.get_object(Bucket="raw", Key="a b/ü"))["Body"].read()
    did(s3.head_object(Bucket="raw", Key="a b/ü", VersionId=version))
    did(s3.get_object(Bucket="raw", Key="a b/ü", Range="bytes=1-2"))["Body"].read()
    did(s3.list_objects_v2(Bucket="raw"))
    did(s3.put_object(Bucket="raw", Key="large", Body=b"x" * 400_000))
    did(s3.get_object(Bucket="raw", Key="large"))["Body"].read()
    did(s3.copy_object(Bucket="raw", Key="copy", CopySource="raw/large"))
    did(s3.put_object_tagging(Bucket="raw", Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}))
    did(s3.delete_object(Bucket="raw", Key="copy"))
    did(s3.delete_object(Bucket="raw", Key="a b/ü", VersionId=version))
    did(s3.delete_object(Bucket="raw", Key="never-there", VersionId="0" * 16))
    found = list(vault.audit.query(sequence_from=1))
    by_id = {}
    for record in found:
        by_id.setdefault(record.request_id, []).append(record)
    for request_id in ids:
        assert len(by_id[request_id]) == 1, by_id[request_id]
    told = [by_id[request_id][0] for request_id in ids]
    assert [record.action for record in told] == [
        "CreateBucket",
        "PutBucketVersioning",
        "PutObject",
        "GetObject",
        "HeadObject",
        "GetObject",
        "ListObjectsV2",
        "PutObject",
        "GetObject",
        "CopyObject",
        "PutObjectTagging",
        "DeleteObject",
        "DeleteObjectVersion",
        "DeleteObjectVersion",
    ]
    assert {record.identity for record in told} == {ROOT_ARN}
    assert {record.source for record in told} == {"127.0.0.1"}
    assert [record.size_bytes for record in told if record.action == "GetObject"] == [4, 2, 400_000]
    assert told[2].key == "a b/ü"
    assert told[2].version_id == version
    # What was asked to go and was not there changed nothing: a request, and no change.
    assert told[-1].category is Category.READ


def test_refusals_name_what_was_claimed_and_no_secret(served, refused):
    vault, endpoint, pair = served
    vault.create_bucket("raw").put("k", b"x")
    wrong = client(endpoint, pair.access_key, "not-the-secret-key")
    assert refused(wrong.get_object, Bucket="raw", Key="k") == (403, "SignatureDoesNotMatch")
    nobody = client(endpoint, "AKNOBODY", "secret-of-nobody")
    assert refused(nobody.put_object, Bucket="raw", Key="k", Body=b"y") == (403, "InvalidAccessKeyId")
    good = client(endpoint, pair.access_key, pair.secret_key)
    assert refused(good.get_object, Bucket="raw", Key="none").status == 404
    assert refused(good.put_object, Bucket="no-such-bucket", Key="k", Body=b"x").status == 404
    found = list(vault.audit.query(category=Category.REFUSAL))
    assert [(record.result, record.status, record.identity) for record in found] == [
        ("SignatureDoesNotMatch", 403, ""),
        ("InvalidAccessKeyId", 403, ""),
        ("NoSuchKey", 404, ROOT_ARN),
        ("NoSuchBucket", 404, ROOT_ARN),
    ]
    assert found[0].detail["claimed_access_key"] == pair.access_key
    assert (found[0].bucket, found[0].key) == ("raw", "k")
    text = repr(list(vault.audit.query()))
    for secret in (pair.secret_key, "not-the-secret-key", "Signature="):
        assert secret not in text


def test_of_many_deletes_the_refused_ones_are_told_too(served):
    vault, endpoint, pair = served
    s3 = client(endpoint, pair.access_key, pair.secret_key)
    bucket = vault.create_bucket("kept", object_lock=True)
    free, held = bucket.put("free", b"x"), bucket.put("held", b"x", legal_hold=True)
    answer = s3.delete_objects(
        Bucket="kept", Delete={"Objects": [{"Key": info.key, "VersionId": info.version_id} for info in (free, held)]}
    )
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    request_id = answer["ResponseMetadata"]["RequestId"]
    found = [record for record in vault.audit.query() if record.request_id == request_id]
    assert [(record.category, record.key, record.result) for record in found] == [
        (Category.CHANGE, "free", "ok"),
        (Category.REFUSAL, "held", "ObjectLocked"),
    ]


def test_what_cannot_be_audited_is_not_answered(served, refused):
    vault, endpoint, pair = served
    vault.create_bucket("raw").put("k", b"secret bytes")
    s3 = client(endpoint, pair.access_key, pair.secret_key)

    def full(*arguments, **options):
        raise BusyError("full")

    vault.audit.record = full
    try:
        assert refused(s3.get_object, Bucket="raw", Key="k") == (503, "SlowDown")
    finally:
        del vault.audit.record
    assert s3.get_object(Bucket="raw", Key="k")["Body"].read() == b"secret bytes"


def test_presigned_and_anonymous_requests(served):
    import urllib.request

    vault, endpoint, pair = served
    vault.create_bucket("raw").put("k", b"x", headers={"x-amz-acl": "public-read"})
    s3 = client(endpoint, pair.access_key, pair.secret_key)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "raw", "Key": "k"})
    assert urllib.request.urlopen(url).read() == b"x"
    assert urllib.request.urlopen(f"{endpoint}/raw/k").read() == b"x"
    found = list(vault.audit.query(action="GetObject"))
    assert [record.identity for record in found] == [ROOT_ARN, ""]
