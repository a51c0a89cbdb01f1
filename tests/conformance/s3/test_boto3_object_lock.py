"""Object lock over S3: what boto3 asks for, and what S3 answers.

What S3 refuses, and with which code, is as Ceph's s3-tests have it (``test_object_lock_*``); messages and the rest are
those of the Amazon S3 API Reference.
"""

import base64
import hashlib
import http.client
import itertools
import os
import re
import urllib.parse
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

FAR = datetime(2100, 1, 1, tzinfo=UTC)
FARTHER = datetime(2100, 1, 2, tzinfo=UTC)
NEARER = datetime(2099, 12, 31, tzinfo=UTC)
MIB = 1 << 20
DENIED = (403, "AccessDenied")


_numbers = itertools.count(1)


@pytest.fixture
def locked(s3):
    """The name of a new bucket with object lock."""
    name = f"locked-{os.getpid()}-{next(_numbers)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def default(mode="GOVERNANCE", **period):
    return {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": mode, **(period or {"Days": 1})}},
    }


def put(s3, bucket, key="k", body=b"v", **lock):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **lock)["VersionId"]


def retain(s3, bucket, mode="GOVERNANCE", until=FAR, key="k", **options):
    s3.put_object_retention(Bucket=bucket, Key=key, Retention={"Mode": mode, "RetainUntilDate": until}, **options)


# -- the configuration of a bucket


def test_a_bucket_made_with_object_lock(s3, locked):
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled"
    }
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"


@pytest.mark.parametrize(
    ("mode", "period"), [("GOVERNANCE", {"Days": 1}), ("COMPLIANCE", {"Years": 1}), ("GOVERNANCE", {"Days": 36500})]
)
def test_a_default_comes_back_as_it_was_put(s3, locked, mode, period):
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=default(mode, **period))
    found = s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
    assert found == default(mode, **period)
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]


def test_enabling_it_later(s3, bucket, refused):
    configuration = {"Bucket": bucket, "ObjectLockConfiguration": default()}
    assert refused(s3.put_object_lock_configuration, **configuration) == (409, "InvalidBucketState")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert refused(s3.put_object_lock_configuration, **configuration) == (409, "InvalidBucketState")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(**configuration)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == default()


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        (default(Days=1, Years=1), "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE"}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Days": 1}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {}}, "MalformedXML"),
        (default("governance"), "MalformedXML"),
        (default("abc"), "MalformedXML"),
        ({**default(), "ObjectLockEnabled": "Disabled"}, "MalformedXML"),
        ({"Rule": default()["Rule"]}, "MalformedXML"),
        (default(Days=0), "InvalidRetentionPeriod"),
        (default(Years=-1), "InvalidRetentionPeriod"),
        (default(Days=36501), "InvalidRetentionPeriod"),
        (default(Years=101), "InvalidRetentionPeriod"),
    ],
)
def test_configurations_that_are_none(s3, locked, refused, configuration, code):
    answer = refused(s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=configuration)
    assert answer == (400, code)
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]


def test_versioning_stays_enabled(s3, locked, refused):
    suspended = {"Bucket": locked, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refused(s3.put_bucket_versioning, **suspended) == (409, "InvalidBucketState")
    s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Enabled"})


def test_a_bucket_without_object_lock(s3, versioned, refused):
    put(s3, versioned)
    here = {"Bucket": versioned, "Key": "k"}
    assert refused(s3.get_object_lock_configuration, Bucket=versioned) == (404, "ObjectLockConfigurationNotFoundError")
    for call in (s3.get_object_retention, s3.get_object_legal_hold):
        assert refused(call, **here) == (400, "InvalidRequest")
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": FAR}
    assert refused(s3.put_object_retention, **here, Retention=retention) == (400, "InvalidRequest")
    assert refused(s3.put_object_legal_hold, **here, LegalHold={"Status": "ON"}) == (400, "InvalidRequest")
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": FAR}
    for asked in (lock, {"ObjectLockLegalHoldStatus": "ON"}):
        assert refused(s3.put_object, **here, Body=b"w", **asked) == (400, "InvalidRequest")
        assert refused(s3.create_multipart_upload, **here, **asked) == (400, "InvalidRequest")
        source = {"Bucket": versioned, "Key": "k"}
        assert refused(s3.copy_object, **here, CopySource=source, **asked) == (400, "InvalidRequest")
    assert s3.get_object(**here)["Body"].read() == b"v"


def test_what_is_not_there(s3, locked, refused):
    assert refused(s3.get_object_lock_configuration, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    here = {"Bucket": locked, "Key": "k"}
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": FAR}
    assert refused(s3.get_object_retention, **here) == (404, "NoSuchKey")
    assert refused(s3.put_object_retention, **here, Retention=retention) == (404, "NoSuchKey")
    assert refused(s3.put_object_legal_hold, **here, LegalHold={"Status": "ON"}) == (404, "NoSuchKey")
    put(s3, locked)
    assert refused(s3.get_object_retention, **here) == (404, "NoSuchObjectLockConfiguration")
    assert refused(s3.get_object_legal_hold, **here) == (404, "NoSuchObjectLockConfiguration")
    gone = {**here, "VersionId": "00000000000fffff"}
    assert refused(s3.get_object_retention, **gone) == (404, "NoSuchVersion")
    assert refused(s3.put_object_retention, **gone, Retention=retention) == (404, "NoSuchVersion")


# -- retention of a version


def test_a_retention_comes_back_as_it_was_put(s3, locked):
    version_id = put(s3, locked)
    until = datetime(2061, 7, 28, 1, 2, 3, 456000, tzinfo=timezone(timedelta(hours=-5)))
    retain(s3, locked, until=until)
    found = s3.get_object_retention(Bucket=locked, Key="k", VersionId=version_id)["Retention"]
    assert found == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    # What was answered, sent back, shortens nothing.
    s3.put_object_retention(Bucket=locked, Key="k", Retention=found)


@pytest.mark.parametrize(
    "text", ["2061-07-28T01:02:03.456Z", "2061-07-28T01:02:03.4555001Z", "2061-07-28T06:02:03.456+05:00"]
)
def test_a_date_to_the_millisecond(s3, locked, send_signed, text):
    put(s3, locked)
    body = f"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{text}</RetainUntilDate></Retention>".encode()
    digest = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "Content-Type": "application/xml"}
    status, _, content = send_signed("PUT", f"/{locked}/k?retention", body, digest)
    assert status == 200, content
    _, _, content = send_signed("GET", f"/{locked}/k?retention")
    assert b"<RetainUntilDate>2061-07-28T01:02:03.456Z</RetainUntilDate>" in content
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockRetainUntilDate"] == datetime(2061, 7, 28, 1, 2, 3, 456000, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        "<Retention><Mode>GOVERNANCE</Mode></Retention>",
        "<Retention><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
        "<Retention><Mode>governance</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
        "<Retention><Mode>abc</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
        *[
            f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{date}</RetainUntilDate></Retention>"
            for date in (
                "2100-01-01",
                "2100-01-01T00:00:00",
                "tomorrow",
                "2300-01-01T00:00:00Z",
                "2100-02-30T00:00:00Z",
            )
        ],
        "<LegalHold/>",
        "<Retention>",
        "",
    ],
)
def test_retentions_that_are_none(s3, locked, refused, send_signed, body):
    put(s3, locked)
    raw = body.encode()
    digest = {"x-amz-content-sha256": hashlib.sha256(raw).hexdigest(), "Content-Type": "application/xml"}
    status, _, content = send_signed("PUT", f"/{locked}/k?retention", raw, digest)
    assert status == 400, content
    assert b"<Code>MalformedXML</Code>" in content or (not body and b"<Code>" in content)
    assert refused(s3.get_object_retention, Bucket=locked, Key="k") == (404, "NoSuchObjectLockConfiguration")


def test_the_past_is_no_retention(s3, locked, refused):
    put(s3, locked)
    past = datetime(2001, 1, 1, tzinfo=UTC)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": past}
    answer = refused(s3.put_object_retention, Bucket=locked, Key="k", Retention=retention)
    assert answer == (400, "InvalidArgument")
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": past}
    assert refused(s3.put_object, Bucket=locked, Key="k", Body=b"w", **lock) == (400, "InvalidArgument")
    assert refused(s3.create_multipart_upload, Bucket=locked, Key="k", **lock) == (400, "InvalidArgument")


def test_extending_shortening_and_bypassing(s3, locked, refused):
    put(s3, locked)
    retain(s3, locked)
    retain(s3, locked, until=FARTHER)
    shorter = {"Bucket": locked, "Key": "k", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": NEARER}}
    assert refused(s3.put_object_retention, **shorter) == DENIED
    assert refused(s3.put_object_retention, **shorter, BypassGovernanceRetention=False) == DENIED
    s3.put_object_retention(**shorter, BypassGovernanceRetention=True)
    lifted = {"Bucket": locked, "Key": "k", "Retention": {}}
    assert refused(s3.put_object_retention, **lifted) == DENIED
    s3.put_object_retention(**lifted, BypassGovernanceRetention=True)
    assert refused(s3.get_object_retention, Bucket=locked, Key="k") == (404, "NoSuchObjectLockConfiguration")


def test_changing_the_mode(s3, locked, refused):
    put(s3, locked)
    retain(s3, locked)
    compliance = {"Bucket": locked, "Key": "k", "Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": FAR}}
    governance = {"Bucket": locked, "Key": "k", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": FARTHER}}
    assert refused(s3.put_object_retention, **compliance) == DENIED
    s3.put_object_retention(**compliance, BypassGovernanceRetention=True)
    assert refused(s3.put_object_retention, **governance) == DENIED
    assert refused(s3.put_object_retention, **governance, BypassGovernanceRetention=True) == DENIED
    empty = {"Bucket": locked, "Key": "k", "Retention": {}}
    assert refused(s3.put_object_retention, **empty, BypassGovernanceRetention=True) == DENIED
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == compliance["Retention"]


# -- legal holds


def test_legal_holds(s3, locked, refused):
    version_id = put(s3, locked)
    here = {"Bucket": locked, "Key": "k"}
    s3.put_object_legal_hold(**here, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**here)["LegalHold"] == {"Status": "ON"}
    assert s3.head_object(**here)["ObjectLockLegalHoldStatus"] == "ON"
    for options in ({}, {"BypassGovernanceRetention": True}):
        assert refused(s3.delete_object, **here, VersionId=version_id, **options) == DENIED
    for status in ("abc", "on", "OFF ON"):
        assert refused(s3.put_object_legal_hold, **here, LegalHold={"Status": status}) == (400, "MalformedXML")
    assert refused(s3.put_object_legal_hold, **here, LegalHold={}) == (400, "MalformedXML")
    s3.put_object_legal_hold(**here, VersionId=version_id, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**here)["LegalHold"] == {"Status": "OFF"}
    s3.delete_object(**here, VersionId=version_id)


# -- deleting


def test_deleting_a_retained_version(s3, locked, refused):
    version_id = put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR)
    here = {"Bucket": locked, "Key": "k"}
    assert refused(s3.delete_object, **here, VersionId=version_id) == DENIED
    marker = s3.delete_object(**here)["VersionId"]
    assert s3.get_object(**here, VersionId=version_id)["Body"].read() == b"v"
    s3.delete_object(**here, VersionId=marker)
    answer = s3.delete_object(**here, VersionId=version_id, BypassGovernanceRetention=True)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(s3.get_object, **here) == (404, "NoSuchKey")


@pytest.mark.parametrize("value", ["false", "", "1", "yes"])
def test_only_true_bypasses(s3, locked, send_signed, value):
    version_id = put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR)
    path = f"/{locked}/k?versionId={version_id}"
    assert send_signed("DELETE", path, headers={"x-amz-bypass-governance-retention": value})[0] == 403
    assert send_signed("DELETE", path, headers={"x-amz-bypass-governance-retention": "TRUE"})[0] == 204


def test_a_list_of_deletes_with_locked_members(s3, locked):
    lock = {"ObjectLockRetainUntilDate": FAR}
    versions = {
        "g": put(s3, locked, "g", ObjectLockMode="GOVERNANCE", **lock),
        "c": put(s3, locked, "c", ObjectLockMode="COMPLIANCE", **lock),
        "h": put(s3, locked, "h", ObjectLockLegalHoldStatus="ON"),
        "free": put(s3, locked, "free"),
    }
    asked = {"Objects": [{"Key": key, "VersionId": version_id} for key, version_id in versions.items()]}
    answer = s3.delete_objects(Bucket=locked, Delete=asked)
    assert [one["Key"] for one in answer["Deleted"]] == ["free"]
    assert {(one["Key"], one["Code"], one["VersionId"]) for one in answer["Errors"]} == {
        (key, "AccessDenied", versions[key]) for key in "gch"
    }
    answer = s3.delete_objects(Bucket=locked, Delete=asked, BypassGovernanceRetention=True)
    assert {one["Key"] for one in answer["Deleted"]} == {"g", "free"}
    assert {one["Key"] for one in answer["Errors"]} == {"c", "h"}
    for key in "ch":
        assert s3.get_object(Bucket=locked, Key=key)["Body"].read() == b"v"


def test_a_bucket_with_locked_versions_stays(s3, locked, refused):
    put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=FAR)
    s3.delete_object(Bucket=locked, Key="k")
    assert refused(s3.delete_bucket, Bucket=locked) == (409, "BucketNotEmpty")


# -- writing with a lock


@pytest.mark.parametrize("size", [1, 300_000, 2 * MIB])
def test_a_put_with_a_lock(s3, locked, refused, size):
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": FAR, "ObjectLockLegalHoldStatus": "ON"}
    version_id = put(s3, locked, body=bytes(size), **lock)
    for call in (s3.head_object, s3.get_object):
        answer = call(Bucket=locked, Key="k", VersionId=version_id)
        assert {name: answer[name] for name in lock} == lock
    assert refused(s3.delete_object, Bucket=locked, Key="k", VersionId=version_id) == DENIED


def test_a_default_and_a_header_that_overrides_it(s3, locked):
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=default("GOVERNANCE", Days=1))
    put(s3, locked)
    found = s3.head_object(Bucket=locked, Key="k")
    assert found["ObjectLockMode"] == "GOVERNANCE"
    ends = found["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < ends < timedelta(days=1, minutes=1)
    assert "ObjectLockLegalHoldStatus" not in found
    put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=FAR)
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockMode"] == "COMPLIANCE"
    put(s3, locked, ObjectLockLegalHoldStatus="ON")
    found = s3.head_object(Bucket=locked, Key="k")
    assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
    put(s3, locked, ObjectLockLegalHoldStatus="OFF")
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockMode"] == "GOVERNANCE"


MODE, UNTIL, HOLD = (f"x-amz-object-lock-{name}" for name in ("mode", "retain-until-date", "legal-hold"))
SOON = "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({MODE: "GOVERNANCE"}, "InvalidArgument"),
        ({UNTIL: SOON}, "InvalidArgument"),
        ({MODE: "governance", UNTIL: SOON}, "InvalidArgument"),
        ({MODE: "GOVERNANCE", UNTIL: "soon"}, "InvalidArgument"),
        ({MODE: "GOVERNANCE", UNTIL: "2100-01-01T00:00:00"}, "InvalidArgument"),
        ({HOLD: "on"}, "InvalidArgument"),
        ({HOLD: ""}, "InvalidArgument"),
        ({"x-amz-object-lock-years": "3"}, "InvalidRequest"),
    ],
)
def test_headers_that_are_none(s3, locked, send_signed, headers, code):
    headers = {**headers, "Content-MD5": "nhZp0ZtnW9VwWP1GRCBdKg=="}
    status, _, content = send_signed("PUT", f"/{locked}/k", b"v", headers)
    assert (status, f"<Code>{code}</Code>".encode() in content) == (400, True), content
    assert s3.list_object_versions(Bucket=locked).get("Versions", []) == []


def test_a_lock_is_not_given_to_a_body_without_a_digest(s3, locked, send_signed):
    headers = {MODE: "GOVERNANCE", UNTIL: SOON, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    status, _, content = send_signed("PUT", f"/{locked}/k", b"v", headers)
    assert (status, b"<Code>InvalidRequest</Code>" in content) == (400, True), content
    headers["Content-MD5"] = "nmlp0ZtnW9VwWP1GRCBdKg=="
    assert send_signed("PUT", f"/{locked}/k", b"v", headers)[0] == 400  # not the digest of these bytes
    assert s3.list_object_versions(Bucket=locked).get("Versions", []) == []


def test_a_multipart_upload_with_a_lock(s3, locked, refused):
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": FAR, "ObjectLockLegalHoldStatus": "ON"}
    upload = s3.create_multipart_upload(Bucket=locked, Key="k", **lock)["UploadId"]
    here = {"Bucket": locked, "Key": "k", "UploadId": upload}
    etag = s3.upload_part(**here, PartNumber=1, Body=b"part")["ETag"]
    made = s3.complete_multipart_upload(**here, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    found = s3.head_object(Bucket=locked, Key="k", VersionId=made["VersionId"])
    assert {name: found[name] for name in lock} == lock
    assert refused(s3.delete_object, Bucket=locked, Key="k", VersionId=made["VersionId"]) == DENIED


def test_boto3s_own_transfer_of_parts(s3, locked, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(12 * MIB))
    extra = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": FAR}
    s3.upload_file(str(path), locked, "k", ExtraArgs=extra, Config=TransferConfig(multipart_threshold=8 * MIB))
    found = s3.head_object(Bucket=locked, Key="k")
    assert (found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", FAR)
    assert found["ETag"].endswith('-2"')


def test_a_copy_does_not_inherit_the_lock(s3, locked):
    put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=FAR, ObjectLockLegalHoldStatus="ON")
    source = {"Bucket": locked, "Key": "k"}
    s3.copy_object(Bucket=locked, Key="copy", CopySource=source)
    found = s3.head_object(Bucket=locked, Key="copy")
    assert not [name for name in found if name.startswith("ObjectLock")]
    # Onto itself: another version.
    s3.copy_object(Bucket=locked, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert len(s3.list_object_versions(Bucket=locked, Prefix="k")["Versions"]) == 2


def test_a_copy_may_be_given_a_lock(s3, locked, refused):
    put(s3, locked)
    source = {"Bucket": locked, "Key": "k"}
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": FARTHER}
    version_id = s3.copy_object(Bucket=locked, Key="copy", CopySource=source, **lock)["VersionId"]
    found = s3.head_object(Bucket=locked, Key="copy")
    assert {name: found[name] for name in lock} == lock
    assert refused(s3.delete_object, Bucket=locked, Key="copy", VersionId=version_id) == DENIED


def test_a_form_with_a_lock(s3, locked):
    fields = {MODE: "COMPLIANCE", UNTIL: SOON, HOLD: "ON"}
    post = s3.generate_presigned_post(locked, "form", fields, [{name: value} for name, value in fields.items()])
    answer = send_form(post)
    assert answer == 204
    found = s3.head_object(Bucket=locked, Key="form")
    assert found["ObjectLockMode"] == "COMPLIANCE"
    assert found["ObjectLockRetainUntilDate"] == FAR
    assert found["ObjectLockLegalHoldStatus"] == "ON"


def test_a_form_whose_lock_is_none(s3, locked, versioned):
    fields = {MODE: "COMPLIANCE"}
    conditions = [{name: value} for name, value in fields.items()]
    assert send_form(s3.generate_presigned_post(locked, "form", fields, conditions)) == 400
    # Not what the policy allows.
    post = s3.generate_presigned_post(locked, "form", {}, [])
    post["fields"] = {**post["fields"], HOLD: "ON"}
    assert send_form(post) == 403
    fields = {HOLD: "ON"}
    assert send_form(s3.generate_presigned_post(versioned, "form", fields, [{HOLD: "ON"}])) == 400


def send_form(post):
    """Send a form; return the status of the answer."""
    lines = [
        f'--form\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in post["fields"].items()
    ]
    lines.append('--form\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nv\r\n--form--\r\n')
    parts = urllib.parse.urlsplit(post["url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    headers = {"Content-Type": "multipart/form-data; boundary=form"}
    connection.request("POST", parts.path, "".join(lines).encode(), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_presigned_writes_carry_their_lock(s3, locked):
    arguments = {"Bucket": locked, "Key": "k", "ObjectLockLegalHoldStatus": "ON"}
    url = s3.generate_presigned_url("put_object", Params=arguments)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    digest = base64.b64encode(hashlib.md5(b"v").digest()).decode()
    connection.request("PUT", f"{parts.path}?{parts.query}", b"v", {HOLD: "ON", "Content-MD5": digest})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"


def test_the_block_of_the_how_to_page_runs(s3, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "lock-objects.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "boto3" in block]
    monkeypatch.setattr("boto3.client", lambda *arguments, **options: s3)
    exec(block, {})
    found = s3.head_object(Bucket="trades", Key="1")
    assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("COMPLIANCE", "ON")
    assert found["ObjectLockRetainUntilDate"] == datetime(2101, 1, 1, tzinfo=UTC)
