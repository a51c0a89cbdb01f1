"""Every request of a served vault is in its audit trail once, with who sent it and how it ended."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
import urllib.parse
from datetime import UTC, datetime, timedelta

import boto3
import botocore.config
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from identity_world import served as served_world
from identity_world import statement

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


def told_of(vault, answer):
    request_id = answer["ResponseMetadata"]["RequestId"]
    return [record for record in vault.audit.query() if record.request_id == request_id]


def test_members_of_a_delete_that_are_refused_are_refusals_of_their_own(tmp_path):
    """Refused members of a DeleteObjects left one record of a read that went well, without a key or a reason."""
    with served_world(tmp_path / "data") as world:
        vault, user = world.vault, world.user(policies=("trader",))
        bucket = vault.create_bucket("kept", versioning="enabled")
        written = [bucket.put(f"k{number}", b"x") for number in range(3)]
        named = [{"Key": info.key, "VersionId": info.version_id} for info in written] + [{"Key": "k0"}]
        answer = user.s3.delete_objects(Bucket="kept", Delete={"Objects": named})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] * 4
        found = told_of(vault, answer)
        assert [(record.action, record.key, record.version_id) for record in found] == [
            *(("DeleteObjectVersion", info.key, info.version_id) for info in written),
            ("DeleteObject", "k0", ""),
        ]
        # The same, but for its request id and time, as that of the single call.
        try:
            user.s3.delete_object(Bucket="kept", Key="k1", VersionId=written[1].version_id)
        except ClientError as error:
            (single,) = told_of(vault, error.response)
        assert single.category is Category.REFUSAL
        own = {"sequence": 0, "time_ns": 0, "clock_error_ns": 0, "request_id": "", "detail": {}}
        assert found[1]._replace(**own) == single._replace(**own)
        assert found[1].detail["reason"] == single.detail["reason"]
        assert "s3:DeleteObjectVersion" in single.detail["reason"]


def test_a_thousand_refused_members_are_a_thousand_records(tmp_path):
    with served_world(tmp_path / "data") as world:
        user = world.user(policies=("trader",))
        world.vault.create_bucket("kept")
        names = [f"{'long/' * 100}{number:04}" for number in range(1000)]
        answer = user.s3.delete_objects(Bucket="kept", Delete={"Objects": [{"Key": name} for name in names]})
        assert len(answer["Errors"]) == 1000
        found = told_of(world.vault, answer)
        assert [record.key for record in found] == names
        assert {(record.category, record.result) for record in found} == {(Category.REFUSAL, "AccessDenied")}


def test_members_that_fail_for_other_reasons_are_told_once_each(served):
    vault, endpoint, pair = served
    s3 = client(endpoint, pair.access_key, pair.secret_key)
    bucket = vault.create_bucket("kept", object_lock=True)
    held = bucket.put("held", b"x", legal_hold=True)
    bucket.put("compared", b"x")
    answer = s3.delete_objects(
        Bucket="kept",
        Delete={
            "Objects": [
                {"Key": "held", "VersionId": held.version_id},
                {"Key": "held", "VersionId": held.version_id, "ETag": held.etag},
                {"Key": "compared", "ETag": "0" * 32},
                {"Key": "x" * 1025},
            ]
        },
    )
    assert len(answer["Errors"]) == 4
    found = told_of(vault, answer)
    assert sorted((record.action, record.key[:8], record.result, record.status) for record in found) == [
        ("DeleteObject", "compared", "PreconditionFailed", 412),
        ("DeleteObject", "xxxxxxxx", "KeyTooLongError", 400),
        ("DeleteObjectVersion", "held", "ObjectLocked", 403),
        ("DeleteObjectVersion", "held", "ObjectLocked", 403),
    ]
    assert {record.category for record in found} == {Category.REFUSAL}


def test_a_delete_whose_refusals_cannot_be_audited_deletes_nothing(tmp_path, refused):
    with served_world(tmp_path / "data") as world:
        bucket = world.vault.create_bucket("kept")
        bucket.put("mine/1", b"x")
        bucket.put("k", b"x")
        user = world.user(statement("Allow", "s3:DeleteObject", "arn:aws:s3:::kept/mine/*"))

        def full(*arguments, **options):
            raise BusyError("full")

        world.vault.audit.record = full
        try:
            both = {"Objects": [{"Key": "mine/1"}, {"Key": "k"}]}
            assert refused(user.s3.delete_objects, Bucket="kept", Delete=both) == (503, "SlowDown")
        finally:
            del world.vault.audit.record
        assert [info.key for info in bucket.list()] == ["k", "mine/1"]


def test_a_refusal_by_a_lock_names_the_version_that_it_keeps(served, refused):
    """Without a version id in the request, that of the refusal was empty."""
    vault, endpoint, pair = served
    s3 = client(endpoint, pair.access_key, pair.secret_key)
    bucket = vault.create_bucket("kept", object_lock=True)
    until = datetime.now(UTC) + timedelta(days=9)
    version = bucket.put("k", b"x", retention_mode="COMPLIANCE", retain_until=until).version_id
    sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(days=1)}
    assert refused(s3.put_object_retention, Bucket="kept", Key="k", Retention=sooner).status == 403
    (told,) = vault.audit.query(category=Category.REFUSAL)
    assert (told.action, told.key, told.version_id) == ("PutObjectRetention", "k", version)


def test_a_refused_form_names_its_key(tmp_path):
    with served_world(tmp_path / "data") as world:
        user = world.user(policies=("reader",))
        world.vault.create_bucket("raw")
        form = user.s3.generate_presigned_post("raw", "in/form")
        boundary = "x" * 20
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {**form["fields"], "file": "body"}.items()
        ]
        body = ("".join(parts) + f"--{boundary}--\r\n").encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        assert world.raw("POST", "/raw", body, headers) == (403, "AccessDenied")
        (told,) = world.vault.audit.query(category=Category.REFUSAL)
        assert (told.action, told.bucket, told.key, told.identity) == ("PostObject", "raw", "in/form", user.arn)


def test_a_refusal_that_nobody_waits_for_is_told_too(served, monkeypatch):
    """A client that was gone before its answer left no trace of what was refused to it."""
    from tickvault.doors.s3.operations import delete_object

    commit = delete_object.async_commit
    arrived = threading.Event()

    async def slowly(*arguments):
        arrived.set()
        await asyncio.sleep(0.3)
        return await commit(*arguments)

    monkeypatch.setattr(delete_object, "async_commit", slowly)
    vault, endpoint, pair = served
    bucket = vault.create_bucket("kept", object_lock=True)
    version = bucket.put("k", b"x", legal_hold=True).version_id
    asked = AWSRequest("DELETE", f"{endpoint}/kept/k?versionId={version}")
    S3SigV4Auth(Credentials(pair.access_key, pair.secret_key), "s3", "us-east-1").add_auth(asked)
    place = urllib.parse.urlsplit(endpoint)
    with socket.create_connection((place.hostname, place.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lines = [f"DELETE /kept/k?versionId={version} HTTP/1.1", f"Host: {place.netloc}"]
        lines += [f"{name}: {value}" for name, value in asked.headers.items()]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert arrived.wait(10)
    deadline = time.monotonic() + 10
    while not (found := list(vault.audit.query(category=Category.REFUSAL))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(told.action, told.key, told.version_id, told.result) for told in found] == [
        ("DeleteObjectVersion", "k", version, "ObjectLocked")
    ]
