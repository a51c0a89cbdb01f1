"""Versions and delete markers with boto3."""

import pytest


def put(s3, bucket, body, key="k"):
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def listed(page):
    both = page.get("Versions", []) + page.get("DeleteMarkers", [])
    return {(item["Key"], item["VersionId"], item["IsLatest"]) for item in both}


def test_states(s3, bucket, refused):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    call = {"Bucket": bucket, "VersioningConfiguration": {"Status": "Off"}}
    assert refused(s3.put_bucket_versioning, **call) == (400, "MalformedXML")
    call = {"Bucket": bucket, "VersioningConfiguration": {}}
    assert refused(s3.put_bucket_versioning, **call) == (400, "IllegalVersioningConfigurationException")
    call = {"Bucket": bucket, "VersioningConfiguration": {"Status": "Enabled", "MFADelete": "Enabled"}}
    assert refused(s3.put_bucket_versioning, **call) == (501, "NotImplemented")
    assert refused(s3.get_bucket_versioning, Bucket="no-such-bucket") == (404, "NoSuchBucket")


def test_each_version_is_kept(s3, versioned):
    ids = [put(s3, versioned, body) for body in (b"1", b"22", b"333")]
    assert len(set(ids)) == 3
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == ids[2]
    for version_id, body in zip(ids, (b"1", b"22", b"333"), strict=True):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version_id)
        assert (got["Body"].read(), got["VersionId"]) == (body, version_id)
        assert s3.head_object(Bucket=versioned, Key="k", VersionId=version_id)["ContentLength"] == len(body)
    page = s3.list_object_versions(Bucket=versioned)
    assert [item["VersionId"] for item in page["Versions"]] == ids[::-1]
    assert [item["IsLatest"] for item in page["Versions"]] == [True, False, False]
    assert [item["Size"] for item in page["Versions"]] == [3, 2, 1]


def test_delete_markers(s3, versioned, refused):
    version_id = put(s3, versioned, b"1")
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    marker = deleted["VersionId"]
    for call in (s3.get_object, s3.head_object):
        error = refused(call, Bucket=versioned, Key="k")
        assert error.status == 404
        assert error.headers["x-amz-delete-marker"] == "true"
        assert error.headers["x-amz-version-id"] == marker
        error = refused(call, Bucket=versioned, Key="k", VersionId=marker)
        assert error.status == 405
        assert error.headers["x-amz-delete-marker"] == "true"
        assert error.headers["allow"] == "DELETE"
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=version_id)["Body"].read() == b"1"
    assert listed(s3.list_object_versions(Bucket=versioned)) == {
        ("k", marker, True),
        ("k", version_id, False),
    }
    assert refused(s3.delete_bucket, Bucket=versioned) == (409, "BucketNotEmpty")
    undone = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    assert (undone["DeleteMarker"], undone["VersionId"]) == (True, marker)
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"
    gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=version_id)
    assert gone["VersionId"] == version_id
    assert "DeleteMarker" not in gone
    s3.delete_bucket(Bucket=versioned)


def test_the_version_before_becomes_current_when_the_latest_goes(s3, versioned):
    first, second = put(s3, versioned, b"1"), put(s3, versioned, b"2")
    s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == first
    assert listed(s3.list_object_versions(Bucket=versioned)) == {("k", first, True)}


def test_null_versions(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = put(s3, bucket, b"while")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    answer = s3.put_object(Bucket=bucket, Key="k", Body=b"after")
    assert answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-version-id") == "null"
    got = s3.get_object(Bucket=bucket, Key="k", VersionId="null")
    assert (got["Body"].read(), got["VersionId"]) == (b"after", "null")
    assert listed(s3.list_object_versions(Bucket=bucket)) == {("k", "null", True), ("k", kept, False)}
    deleted = s3.delete_object(Bucket=bucket, Key="k")
    assert (deleted["DeleteMarker"], deleted["VersionId"]) == (True, "null")
    assert listed(s3.list_object_versions(Bucket=bucket)) == {("k", "null", True), ("k", kept, False)}
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"while"


def test_deleting_a_version_that_is_not_there(s3, versioned):
    put(s3, versioned, b"1")
    answer = s3.delete_object(Bucket=versioned, Key="k", VersionId="00000000000000ff")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages(s3, versioned, size):
    expected = []
    for key in ("a", "b/1", "b/2", "c"):
        ids = [put(s3, versioned, b"x", key) for _ in range(3)]
        expected += [(key, version_id) for version_id in ids[::-1]]
    marker = s3.delete_object(Bucket=versioned, Key="b/2")["VersionId"]
    expected.insert(6, ("b/2", marker))
    found, markers = [], {}
    while True:
        page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **markers)
        both = page.get("Versions", []) + page.get("DeleteMarkers", [])
        assert len(both) <= size
        found += [(item["Key"], item["VersionId"]) for item in both]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert sorted(found) == sorted(expected)
    if size == 1:
        assert found == expected
    page = s3.list_object_versions(Bucket=versioned, Prefix="b/", Delimiter="/")
    assert {item["Key"] for item in page["Versions"]} == {"b/1", "b/2"}
    page = s3.list_object_versions(Bucket=versioned, Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["b/"]
    assert {item["Key"] for item in page["Versions"]} == {"a", "c"}
    page = s3.list_object_versions(Bucket=versioned, KeyMarker="b/1")
    assert {item["Key"] for item in page["Versions"]} == {"b/2", "c"}


def test_wrong_markers(s3, versioned, refused):
    call = {"Bucket": versioned, "VersionIdMarker": "x"}
    assert refused(s3.list_object_versions, **call) == (400, "InvalidArgument")


def test_an_unversioned_bucket_lists_null_versions(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert listed(s3.list_object_versions(Bucket=bucket)) == {("k", "null", True)}


def test_conditions_and_versions(s3, versioned, refused):
    etag = s3.put_object(Bucket=versioned, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*").status == 412
    s3.delete_object(Bucket=versioned, Key="k")
    assert refused(s3.put_object, Bucket=versioned, Key="k", Body=b"2", IfMatch=etag) == (404, "NoSuchKey")
    s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*")


def test_multipart_and_copy_name_their_versions(s3, versioned):
    first = put(s3, versioned, b"1")
    copied = s3.copy_object(
        Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first}
    )
    assert copied["CopySourceVersionId"] == first
    assert copied["VersionId"] != first
    upload_id = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
    etag = s3.upload_part(Bucket=versioned, Key="k", UploadId=upload_id, PartNumber=1, Body=b"2")["ETag"]
    done = s3.complete_multipart_upload(
        Bucket=versioned,
        Key="k",
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == done["VersionId"] != first
    # An older version is restored by copying it onto its own key.
    restored = s3.copy_object(
        Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first}
    )
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=restored["VersionId"])["Body"].read() == b"1"
