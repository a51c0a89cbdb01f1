"""CopyObject with boto3: directives, conditions, refusals."""

import base64
import concurrent.futures
import datetime
import hashlib
import os
import zlib

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def source(s3, bucket):
    s3.put_object(
        Bucket=bucket,
        Key="a b/ü",
        Body=b"body",
        ContentType="text/csv",
        Metadata={"m": "1"},
        Tagging="t=1",
        CacheControl="no-cache",
        StorageClass="STANDARD_IA",
        ACL="public-read",
        WebsiteRedirectLocation="/x",
    )
    return {"Bucket": bucket, "Key": "a b/ü"}


def test_a_copy_keeps_what_s3_keeps(s3, bucket, source):
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    before, after = (s3.head_object(Bucket=bucket, Key=key) for key in (source["Key"], "copy"))
    assert answer["CopyObjectResult"]["ETag"] == before["ETag"] == after["ETag"]
    assert answer["CopyObjectResult"]["LastModified"] == after["LastModified"]
    assert (after["ContentType"], after["Metadata"], after["CacheControl"]) == (
        "text/csv",
        {"m": "1"},
        "no-cache",
    )
    assert "StorageClass" not in after
    assert "WebsiteRedirectLocation" not in after
    assert len(s3.get_object_acl(Bucket=bucket, Key="copy")["Grants"]) == 1
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"body"
    assert (
        answer["CopyObjectResult"]["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    )


def test_directives(s3, bucket, source):
    s3.copy_object(
        Bucket=bucket,
        Key="copy",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        ContentType="text/html",
        TaggingDirective="REPLACE",
        Tagging="u=2&v=3",
        StorageClass="ONEZONE_IA",
    )
    after = s3.head_object(Bucket=bucket, Key="copy")
    assert (after["ContentType"], after["Metadata"]) == ("text/html", {"n": "2"})
    assert "CacheControl" not in after
    assert after["StorageClass"] == "ONEZONE_IA"
    tags = s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"u": "2", "v": "3"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, TaggingDirective="REPLACE")
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == []


def test_onto_itself(s3, bucket, source, refused):
    call = {"Bucket": bucket, "Key": source["Key"], "CopySource": source}
    assert refused(s3.copy_object, **call) == (400, "InvalidRequest")
    s3.copy_object(**call, MetadataDirective="REPLACE", Metadata={"n": "2"})
    assert s3.head_object(**source)["Metadata"] == {"n": "2"}
    s3.copy_object(**call, StorageClass="GLACIER_IR")
    head = s3.head_object(**source)
    assert (head["StorageClass"], head["Metadata"]) == ("GLACIER_IR", {"n": "2"})
    assert s3.get_object(**source)["Body"].read() == b"body"


def test_between_buckets(s3, bucket, source):
    other = f"{bucket}-other"
    s3.create_bucket(Bucket=other)
    body = os.urandom(3 << 20)
    s3.put_object(Bucket=bucket, Key="large", Body=body)
    s3.copy_object(Bucket=other, Key="large", CopySource=f"{bucket}/large")
    s3.delete_object(Bucket=bucket, Key="large")
    assert s3.get_object(Bucket=other, Key="large")["Body"].read() == body


def test_source_conditions(s3, bucket, source, refused):
    head = s3.head_object(**source)
    etag, modified = head["ETag"], head["LastModified"]
    hour = datetime.timedelta(hours=1)
    call = {"Bucket": bucket, "Key": "copy", "CopySource": source}
    for conditions in (
        {"CopySourceIfMatch": '"x"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": modified},
        {"CopySourceIfUnmodifiedSince": modified - hour},
        {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": modified - hour},
    ):
        assert refused(s3.copy_object, **call, **conditions) == (412, "PreconditionFailed")
    for conditions in (
        {"CopySourceIfMatch": etag},
        {"CopySourceIfNoneMatch": '"x"'},
        {"CopySourceIfModifiedSince": modified - hour},
        {"CopySourceIfUnmodifiedSince": modified},
        {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": modified - hour},
    ):
        s3.copy_object(**call, **conditions)


def test_destination_conditions(s3, bucket, source, refused):
    call = {"Bucket": bucket, "Key": "copy", "CopySource": source}
    etag = s3.copy_object(**call, IfNoneMatch="*")["CopyObjectResult"]["ETag"]
    assert refused(s3.copy_object, **call, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refused(s3.copy_object, **call, IfMatch='"x"') == (412, "PreconditionFailed")
    s3.copy_object(**call, IfMatch=etag)


def test_refusals(s3, bucket, source, refused):
    def copy(copy_source, **options):
        return refused(s3.copy_object, **{"Bucket": bucket, "Key": "copy", "CopySource": copy_source, **options})

    assert copy(f"{bucket}/no") == (404, "NoSuchKey")
    assert copy("no-such-bucket/no") == (404, "NoSuchBucket")
    assert copy(source, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert copy("nonsense") == (400, "InvalidArgument")
    assert copy(f"{bucket}/x?versionId=00000000000000ff") == (404, "NoSuchVersion")
    assert copy(source, MetadataDirective="KEEP") == (400, "InvalidArgument")
    assert copy(source, TaggingDirective="KEEP") == (400, "InvalidArgument")
    assert copy(source, ServerSideEncryption="aws:kms:dsse") == (501, "NotImplemented")
    assert copy(source, MetadataDirective="REPLACE", Metadata={"a": "b" * 2048}) == (400, "MetadataTooLarge")


def test_a_delete_marker_cannot_be_copied(s3, versioned, refused):
    s3.put_object(Bucket=versioned, Key="k", Body=b"x")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    call = {"Bucket": versioned, "Key": "copy"}
    assert refused(s3.copy_object, **call, CopySource=f"{versioned}/k") == (404, "NoSuchKey")
    named = {"Bucket": versioned, "Key": "k", "VersionId": marker}
    assert refused(s3.copy_object, **call, CopySource=named) == (400, "InvalidRequest")


def test_another_checksum(s3, bucket, source):
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm="SHA256")
    value = answer["CopyObjectResult"]["ChecksumSHA256"]
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == value
    assert s3.get_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")["Body"].read() == b"body"


def test_an_object_of_parts_can_be_copied(s3, bucket):
    body = os.urandom((6 << 20) + 3)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    parts = []
    for number, piece in enumerate((body[: 5 << 20], body[5 << 20 :]), 1):
        etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload_id, PartNumber=number, Body=piece)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload_id, MultipartUpload={"Parts": parts})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/parts")
    s3.delete_object(Bucket=bucket, Key="parts")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    # The copy is of one piece: its ETag and its checksum are those of its bytes.
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_a_composite_checksum_becomes_one_of_the_whole(s3, bucket):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="parts", ChecksumAlgorithm="SHA256")["UploadId"]
    part = {"Bucket": bucket, "Key": "parts", "UploadId": upload_id, "PartNumber": 1, "Body": b"body"}
    done = s3.upload_part(**part, ChecksumAlgorithm="SHA256")
    listed = {"PartNumber": 1, "ETag": done["ETag"], "ChecksumSHA256": done["ChecksumSHA256"]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload_id, MultipartUpload={"Parts": [listed]})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/parts")
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_a_source_that_changes_all_the_time(s3, bucket):
    """A copy takes one of the bodies that were there, whole; it never mixes two."""
    bodies = [bytes([n]) * 300_000 for n in range(8)]
    s3.put_object(Bucket=bucket, Key="k", Body=bodies[0])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        writes = pool.submit(lambda: [s3.put_object(Bucket=bucket, Key="k", Body=body) for body in bodies * 3])
        while not writes.done():
            try:
                s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
            except ClientError as error:
                assert error.response["Error"]["Code"] == "ConditionalRequestConflict"
                continue
            assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() in bodies
