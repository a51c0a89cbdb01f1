"""Buckets and their settings with boto3: location, tags, CORS, lifecycle, and what is not offered."""

import datetime
import http.client
import urllib.parse

import pytest


def test_create_head_and_delete(s3, bucket, refused):
    head = s3.head_bucket(Bucket=bucket)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert head["BucketRegion"] == "us-east-1"
    assert refused(s3.create_bucket, Bucket=bucket) == (409, "BucketAlreadyOwnedByYou")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == (404, "404")
    assert refused(s3.delete_bucket, Bucket=bucket) == (404, "NoSuchBucket")
    assert bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket=bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ab", "3 to 63 characters"),
        ("a" * 64, "3 to 63 characters"),
        ("Upper", "lower-case letters"),
        ("under_score", "lower-case letters"),
        ("1.2.3.4", "IP address"),
        ("a..b", "dot next to a dot"),
        ("-a-b", "begin and end with a letter or digit"),
        ("a-b-", "begin and end with a letter or digit"),
        ("a%20b", "lower-case letters"),
        ("%C3%A4bc", "lower-case letters"),
        ("xn--a", "begin with xn--"),
        ("a--ol-s3", "end with -s3alias or --ol-s3"),
    ],
)
def test_names(send_signed, name, rule):
    """The story: a refused name was answered with "The specified bucket is not valid" and no word of the rule."""
    status, _, content = send_signed("PUT", f"/{name}")
    assert (status, b"<Code>InvalidBucketName</Code>" in content) == (400, True)
    assert rule in content.decode()


def test_locations(s3, bucket, refused):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    name = f"{bucket}-far"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-north-7"})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-north-7"
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "eu-north-7"
    (item,) = s3.list_buckets(BucketRegion="eu-north-7", Prefix=name)["Buckets"]
    assert item["BucketRegion"] == "eu-north-7"
    call = {"Bucket": f"{bucket}-bad", "CreateBucketConfiguration": {"LocationConstraint": "no region!"}}
    assert refused(s3.create_bucket, **call) == (400, "InvalidLocationConstraint")


def test_what_a_bucket_cannot_be_made_with(s3, bucket, refused):
    name = f"{bucket}-x"
    assert refused(s3.create_bucket, Bucket=name, GrantRead='id="x"') == (501, "NotImplemented")
    assert refused(s3.create_bucket, Bucket=name, ACL="log-delivery-write") == (501, "NotImplemented")
    assert refused(s3.create_bucket, Bucket=name, ObjectOwnership="BucketOwnerEnforced").status == 501
    assert refused(s3.head_bucket, Bucket=name).status == 404


def test_tags(s3, bucket, refused):
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(50)]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    call = {"Bucket": bucket, "Tagging": {"TagSet": [*tags, {"Key": "one", "Value": ""}]}}
    assert refused(s3.put_bucket_tagging, **call) == (400, "BadRequest")
    call = {"Bucket": bucket, "Tagging": {"TagSet": [tags[0], tags[0]]}}
    assert refused(s3.put_bucket_tagging, **call) == (400, "InvalidTag")
    s3.delete_bucket_tagging(Bucket=bucket)
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")


# -- object tags


def test_object_tags(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1", Tagging="a=1&b=x%20y")["VersionId"]
    got = s3.get_object_tagging(Bucket=versioned, Key="k")
    assert {tag["Key"]: tag["Value"] for tag in got["TagSet"]} == {"a": "1", "b": "x y"}
    assert got["VersionId"] == first
    assert s3.get_object(Bucket=versioned, Key="k")["TagCount"] == 2
    before = s3.head_object(Bucket=versioned, Key="k")
    s3.put_object(Bucket=versioned, Key="k", Body=b"2")
    answer = s3.put_object_tagging(
        Bucket=versioned, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "c", "Value": "ü"}]}
    )
    assert answer["VersionId"] == first
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == []
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == [{"Key": "c", "Value": "ü"}]
    after = s3.head_object(Bucket=versioned, Key="k", VersionId=first)
    assert (after["LastModified"], after["ETag"]) == (before["LastModified"], before["ETag"])
    s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=first)
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == []
    assert "TagCount" not in s3.get_object(Bucket=versioned, Key="k", VersionId=first)


def test_object_tag_refusals(s3, bucket, refused):
    assert refused(s3.put_object, Bucket=bucket, Key="k", Tagging="a=1&a=2") == (400, "InvalidTag")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    for tags, code in (
        ([{"Key": "k" * 129, "Value": ""}], "InvalidTag"),
        ([{"Key": "k", "Value": "v" * 257}], "InvalidTag"),
        ([{"Key": "aws:k", "Value": ""}], "InvalidTag"),
        ([{"Key": str(n), "Value": ""} for n in range(11)], "BadRequest"),
    ):
        call = {"Bucket": bucket, "Key": "k", "Tagging": {"TagSet": tags}}
        assert refused(s3.put_object_tagging, **call) == (400, code)
    for call in (s3.get_object_tagging, s3.delete_object_tagging):
        assert refused(call, Bucket=bucket, Key="no") == (404, "NoSuchKey")
        assert refused(call, Bucket=bucket, Key="k", VersionId="00000000000000ff") == (404, "NoSuchVersion")


# -- CORS

RULES = [
    {
        "ID": "uploads",
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 600,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
]


def ask(endpoint, method, path, **headers):
    parts = urllib.parse.urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.content = answer.read()
    connection.close()
    return answer


def test_cors_configuration(s3, bucket, refused):
    assert refused(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    bad = {"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]}
    assert refused(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration=bad) == (400, "InvalidRequest")
    s3.delete_bucket_cors(Bucket=bucket)
    assert refused(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")


def test_preflight(endpoint, s3, bucket):
    origin = "https://a.example.com"
    answer = ask(endpoint, "OPTIONS", f"/{bucket}/k", Origin=origin, Access_Control_Request_Method="PUT")
    assert answer.status == 403
    assert b"CORS is not enabled" in answer.content
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    answer = ask(
        endpoint,
        "OPTIONS",
        f"/{bucket}/k",
        Origin=origin,
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="X-Amz-Date, x-amz-content-sha256",
    )
    assert answer.status == 200
    assert answer.getheader("access-control-allow-origin") == origin
    assert answer.getheader("access-control-allow-methods") == "PUT, GET"
    assert answer.getheader("access-control-allow-headers") == "x-amz-date, x-amz-content-sha256"
    assert answer.getheader("access-control-max-age") == "600"
    assert answer.getheader("access-control-allow-credentials") == "true"
    assert "Origin" in answer.getheader("vary")
    for headers in (
        {"Origin": "https://evil.org", "Access_Control_Request_Method": "PUT"},
        {"Origin": origin, "Access_Control_Request_Method": "DELETE"},
        {"Origin": origin, "Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "other"},
    ):
        assert ask(endpoint, "OPTIONS", f"/{bucket}/k", **headers).status == 403
    assert ask(endpoint, "OPTIONS", f"/{bucket}/k").status == 400
    assert ask(endpoint, "OPTIONS", f"/{bucket}/k", Origin=origin).status == 400
    missing = ask(endpoint, "OPTIONS", "/no-such-bucket/k", Origin=origin, Access_Control_Request_Method="PUT")
    assert missing.status == 403


def test_actual_answers_carry_cors_headers(endpoint, s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    path = url.removeprefix(endpoint.url)
    answer = ask(endpoint, "GET", path, Origin="https://a.example.com")
    assert answer.getheader("access-control-allow-origin") == "https://a.example.com"
    assert answer.getheader("access-control-expose-headers") == "ETag"
    answer = ask(endpoint, "GET", path, Origin="https://other.org")
    assert answer.getheader("access-control-allow-origin") == "*"
    assert ask(endpoint, "GET", path).getheader("access-control-allow-origin") is None
    missing = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "no"}).removeprefix(endpoint.url)
    answer = ask(endpoint, "GET", missing, Origin="https://other.org")
    assert (answer.status, answer.getheader("access-control-allow-origin")) == (404, "*")


# -- lifecycle


def test_lifecycle(s3, bucket, refused):
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == (
        404,
        "NoSuchLifecycleConfiguration",
    )
    rules = [
        {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 3}},
        {
            "ID": "two",
            "Status": "Disabled",
            "Filter": {"And": {"Prefix": "b/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}},
            "Expiration": {"Date": datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)},
        },
        {
            "ID": "three",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 3},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    got = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert got == rules
    bad = {"Rules": [{**rules[0], "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]}
    call = {"Bucket": bucket, "LifecycleConfiguration": bad}
    assert refused(s3.put_bucket_lifecycle_configuration, **call) == (501, "NotImplemented")
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket).status == 404


# -- attributes


def test_attributes(s3, versioned, refused):
    version_id = s3.put_object(Bucket=versioned, Key="k", Body=b"0123456789")["VersionId"]
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    got = s3.get_object_attributes(Bucket=versioned, Key="k", ObjectAttributes=wanted)
    assert (got["ObjectSize"], got["StorageClass"], got["VersionId"]) == (10, "STANDARD", version_id)
    assert got["ETag"] == s3.head_object(Bucket=versioned, Key="k")["ETag"].strip('"')
    assert set(got["Checksum"]) == {"ChecksumCRC32", "ChecksumType"}
    assert "ObjectParts" not in got
    got = s3.get_object_attributes(Bucket=versioned, Key="k", ObjectAttributes=["ObjectSize"])
    assert "ETag" not in got
    call = {"Bucket": versioned, "Key": "k", "ObjectAttributes": ["Nonsense"]}
    assert refused(s3.get_object_attributes, **call) == (400, "InvalidArgument")
    call = {"Bucket": versioned, "Key": "no", "ObjectAttributes": ["ETag"]}
    assert refused(s3.get_object_attributes, **call) == (404, "NoSuchKey")


def test_attributes_of_an_object_of_parts(s3, bucket):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for number, size in enumerate((5 << 20, 5 << 20, 7), 1):
        etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=number, Body=bytes(size))["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts})
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=2)["ObjectParts"]
    assert (got["TotalPartsCount"], got["IsTruncated"], got["NextPartNumberMarker"]) == (3, True, 2)
    assert [(part["PartNumber"], part["Size"]) for part in got["Parts"]] == [(1, 5 << 20), (2, 5 << 20)]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], PartNumberMarker=2)
    assert [part["PartNumber"] for part in got["ObjectParts"]["Parts"]] == [3]


# -- what is not offered


@pytest.mark.parametrize(
    ("operation", "options", "expected"),
    [
        ("get_bucket_policy", {}, (404, "NoSuchBucketPolicy")),
        ("get_bucket_policy_status", {}, (404, "NoSuchBucketPolicy")),
        ("get_bucket_encryption", {}, (404, "ServerSideEncryptionConfigurationNotFoundError")),
        ("get_object_lock_configuration", {}, (404, "ObjectLockConfigurationNotFoundError")),
        ("get_bucket_website", {}, (404, "NoSuchWebsiteConfiguration")),
        ("get_bucket_replication", {}, (404, "ReplicationConfigurationNotFoundError")),
        ("get_bucket_ownership_controls", {}, (404, "OwnershipControlsNotFoundError")),
        ("get_bucket_inventory_configuration", {"Id": "x"}, (404, "NoSuchConfiguration")),
        ("get_bucket_logging", {}, (501, "NotImplemented")),
        ("get_bucket_notification_configuration", {}, (501, "NotImplemented")),
        ("get_bucket_accelerate_configuration", {}, (501, "NotImplemented")),
        ("get_bucket_request_payment", {}, (501, "NotImplemented")),
        ("list_bucket_metrics_configurations", {}, (501, "NotImplemented")),
        ("put_bucket_policy", {"Policy": "{}"}, (400, "MalformedPolicy")),
        ("delete_bucket_website", {}, (501, "NotImplemented")),
        ("delete_bucket_replication", {}, (501, "NotImplemented")),
        (
            "put_bucket_request_payment",
            {"RequestPaymentConfiguration": {"Payer": "Requester"}},
            (501, "NotImplemented"),
        ),
        (
            "put_bucket_accelerate_configuration",
            {"AccelerateConfiguration": {"Status": "Enabled"}},
            (501, "NotImplemented"),
        ),
    ],
)
def test_bucket_operations_that_are_not_offered(s3, bucket, refused, operation, options, expected):
    assert refused(getattr(s3, operation), Bucket=bucket, **options) == expected
    assert refused(getattr(s3, operation), Bucket="no-such-bucket", **options) == (404, "NoSuchBucket")
    s3.head_bucket(Bucket=bucket)


def test_object_operations_that_are_not_offered(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    where = {"Bucket": bucket, "Key": "k"}
    assert refused(s3.get_object_torrent, **where) == (501, "NotImplemented")
    assert refused(s3.restore_object, **where, RestoreRequest={"Days": 1}) == (501, "NotImplemented")
    assert refused(s3.get_object_retention, **where) == (400, "InvalidRequest")
    assert refused(s3.get_object_legal_hold, **where) == (400, "InvalidRequest")
    assert refused(
        s3.select_object_content,
        **where,
        Expression="select 1",
        ExpressionType="SQL",
        InputSerialization={"CSV": {}},
        OutputSerialization={"CSV": {}},
    ) == (501, "NotImplemented")
    assert s3.get_object(**where)["Body"].read() == b"x"


def test_a_delete_with_an_unknown_parameter_deletes_nothing(s3, bucket, send_signed):
    """`DELETE /bucket?some-new-feature` must never be taken for `DELETE /bucket`."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for path in (f"/{bucket}?some-new-feature", f"/{bucket}/k?some-new-feature"):
        for method in ("DELETE", "PUT", "POST"):
            status, _, content = send_signed(method, path)
            assert (status, b"<Code>NotImplemented</Code>" in content) == (501, True)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_key_of_no_characters_is_no_tag(s3, bucket, send_signed):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    document = b"<Tagging><TagSet><Tag><Key></Key><Value>v</Value></Tag></TagSet></Tagging>"
    status, _, content = send_signed("PUT", f"/{bucket}/k?tagging", document)
    assert (status, b"InvalidTag" in content) == (400, True)


@pytest.mark.parametrize("subresource", ["tagging", "cors", "lifecycle", "versioning", "acl"])
def test_documents_that_are_none(bucket, send_signed, subresource):
    for document in (b"<a", b"<Other/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\xff\xfe\x00"):
        status, _, content = send_signed("PUT", f"/{bucket}?{subresource}", document)
        assert (status, b"Malformed" in content) == (400, True), content
    status, _, content = send_signed("PUT", f"/{bucket}?{subresource}", b"<a>" + b"x" * (2 << 20) + b"</a>")
    assert (status, b"MaxMessageLengthExceeded" in content) == (400, True)
    status, _, content = send_signed("PUT", f"/{bucket}?{subresource}")
    assert status == 400
