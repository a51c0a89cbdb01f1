"""DeleteObjects with boto3."""

import base64
import hashlib


def put(s3, bucket, *keys):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def test_each_key_is_reported_in_order(s3, bucket):
    put(s3, bucket, "a", "b ü", "c<&>")
    keys = ["c<&>", "no", "a", "b ü"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert [item["Key"] for item in answer["Deleted"]] == keys
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_quiet(s3, bucket):
    put(s3, bucket, "a")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    assert "Deleted" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_versions_and_markers(s3, versioned):
    put(s3, versioned, "k", "other")
    version_id = s3.head_object(Bucket=versioned, Key="k")["VersionId"]
    (marked,) = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}]})["Deleted"]
    assert marked["DeleteMarker"] is True
    marker = marked["DeleteMarkerVersionId"]
    objects = [{"Key": "k", "VersionId": marker}, {"Key": "k", "VersionId": version_id}]
    first, second = s3.delete_objects(Bucket=versioned, Delete={"Objects": objects})["Deleted"]
    assert first == {"Key": "k", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    assert second == {"Key": "k", "VersionId": version_id}
    assert [item["Key"] for item in s3.list_object_versions(Bucket=versioned)["Versions"]] == ["other"]


def test_a_key_that_fails_does_not_stop_the_others(s3, bucket):
    put(s3, bucket, "a", "b")
    etag = s3.head_object(Bucket=bucket, Key="a")["ETag"]
    objects = [{"Key": "x" * 1025}, {"Key": "a", "ETag": '"wrong"'}, {"Key": "b", "ETag": etag}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [
        ("x" * 1025, "KeyTooLongError"),
        ("a", "PreconditionFailed"),
    ]
    assert [item["Key"] for item in answer["Deleted"]] == ["b"]


def test_a_thousand_and_no_more(s3, bucket, refused):
    put(s3, bucket, "k0", "k999")
    objects = [{"Key": f"k{n}"} for n in range(1000)]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert len(answer["Deleted"]) == 1000
    objects.append({"Key": "one too many"})
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": objects}) == (400, "MalformedXML")
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": []}) == (400, "MalformedXML")
    assert refused(s3.delete_objects, Bucket="no-such-bucket", Delete={"Objects": objects[:1]}).status == 404


def test_documents_of_every_kind(s3, bucket, send_signed):
    put(s3, bucket, "a")
    good = b"<Delete><Object><Key>a</Key></Object></Delete>"

    def post(document, **headers):
        headers = headers or {"Content-MD5": base64.b64encode(hashlib.md5(document).digest()).decode()}
        status, _, content = send_signed("POST", f"/{bucket}?delete", document, headers)
        return status, content

    status, content = post(good, Other="x")
    assert (status, b"InvalidRequest" in content) == (400, True)
    status, content = post(good, **{"Content-MD5": base64.b64encode(bytes(16)).decode()})
    assert (status, b"BadDigest" in content) == (400, True)
    for document in (
        b"<Delete>",
        b"<Other/>",
        b"<Delete><Object></Object></Delete>",
        # What can be read in two ways: one key would be deleted that was not meant.
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a<b>c</b></Key></Object></Delete>",
        b"<Delete><Object><Key><b/>a</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><VersionId>null</VersionId><VersionId>1</VersionId></Object></Delete>",
        b'<Delete><Object><Key>a</Key><ETag>*</ETag><ETag>"1"</ETag></Object></Delete>',
        b"<Delete><Quiet>true</Quiet><Quiet>false</Quiet><Object><Key>a</Key></Object></Delete>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    ):
        status, content = post(document)
        assert (status, b"<Code>MalformedXML</Code>" in content) == (400, True)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    unknown = good[:8] + b"<Later>1</Later>" + good[8:].replace(b"</Key>", b"</Key><Other>x</Other>")
    status, content = post(b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' + unknown[8:])
    assert status == 200
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
