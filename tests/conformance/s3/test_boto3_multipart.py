"""All of multipart with boto3: parts, copies of parts, checksums, listings, and every refusal."""

import base64
import hashlib
import os
import zlib

import boto3.s3.transfer
import pytest

from tickvault.doors.s3 import checksums

MIB = 1 << 20
PART = 5 * MIB


def upload(s3, bucket, pieces, key="k", complete=None, **options):
    """Upload pieces as parts 1, 2, … and complete; return the answer."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    algorithm = options.get("ChecksumAlgorithm")
    parts = []
    for number, piece in enumerate(pieces, 1):
        extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        if algorithm in {"CRC32C", "CRC64NVME"}:  # boto3 computes these only with its C runtime installed
            extra = {f"Checksum{algorithm}": checksums.compute(algorithm.lower(), piece)}
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=piece, **extra)
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if algorithm:
            part[f"Checksum{algorithm}"] = answer[f"Checksum{algorithm}"]
        parts.append(part)
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **(complete or {})
    )


def etag_of(pieces):
    joined = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(pieces)}"'


@pytest.fixture(scope="module")
def pieces():
    return [os.urandom(PART), os.urandom(PART + 1), os.urandom(123)]


def test_an_object_of_parts(s3, bucket, pieces):
    answer = upload(
        s3,
        bucket,
        pieces,
        ContentType="text/csv",
        Metadata={"a": "b"},
        StorageClass="STANDARD_IA",
        Tagging="t=1",
    )
    assert answer["ETag"] == etag_of(pieces)
    assert answer["Bucket"] == bucket
    assert answer["Key"] == "k"
    assert answer["Location"].endswith(f"/{bucket}/k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(pieces)
    assert (got["ContentType"], got["Metadata"], got["StorageClass"]) == (
        "text/csv",
        {"a": "b"},
        "STANDARD_IA",
    )
    assert got["ETag"] == etag_of(pieces)
    assert got["TagCount"] == 1
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_reading_by_part_number(s3, bucket, pieces, refused):
    upload(s3, bucket, pieces)
    whole = b"".join(pieces)
    start = 0
    for number, piece in enumerate(pieces, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == piece
        assert got["PartsCount"] == 3
        assert got["ContentRange"] == f"bytes {start}-{start + len(piece) - 1}/{len(whole)}"
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (len(piece), 3)
        start += len(piece)
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=4) == (416, "InvalidPartNumber")
    for low, high in [
        (PART - 1, PART + 1),
        (0, len(whole)),
        (2 * PART, len(whole)),
        (PART - 70_000, 2 * PART + 9),
    ]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={low}-{high - 1}")
        assert got["Body"].read() == whole[low:high]


def test_parts_may_be_left_out_replaced_and_come_in_any_order(s3, bucket, pieces):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]

    def part(number, body):
        return s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=number, Body=body)["ETag"]

    last = part(10_000, pieces[2])
    part(7, b"left out")
    part(3, pieces[0])
    first = part(3, pieces[1])
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"PartNumber": 3, "ETag": first}, {"PartNumber": 10_000, "ETag": last}]},
    )
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == pieces[1] + pieces[2]
    assert got["ETag"] == etag_of([pieces[1], pieces[2]])


def test_refusals_of_a_completion(s3, bucket, refused):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    etags = [
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=n, Body=bytes([n]) * 10)["ETag"]
        for n in (1, 2)
    ]

    def complete(*parts, upload_id=upload_id, **options):
        return refused(
            s3.complete_multipart_upload,
            Bucket=bucket,
            Key="k",
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in parts]},
            **options,
        )

    assert complete() == (400, "MalformedXML")
    assert complete((2, etags[1]), (1, etags[0])) == (400, "InvalidPartOrder")
    assert complete((1, etags[0]), (1, etags[0])) == (400, "InvalidPartOrder")
    assert complete((1, etags[1])) == (400, "InvalidPart")
    assert complete((3, etags[0])) == (400, "InvalidPart")
    small = complete((1, etags[0]), (2, etags[1]))
    assert small == (400, "EntityTooSmall")
    assert small.response["Error"]["MinSizeAllowed"] == str(PART)
    assert complete((1, etags[0]), MpuObjectSize=11) == (400, "InvalidRequest")
    assert complete((1, etags[0]), upload_id="nonsense") == (404, "NoSuchUpload")
    assert complete((0, etags[0])) == (400, "InvalidArgument")
    # Nothing of this has ended the upload.
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=upload_id,
        MpuObjectSize=10,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etags[0]}]},
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == bytes([1]) * 10


def test_a_completion_may_be_repeated(s3, bucket, refused):
    """A client whose connection broke before the answer tries again, and must not be told that it failed."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x")["ETag"]
    call = {
        "Bucket": bucket,
        "Key": "k",
        "UploadId": upload_id,
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]},
    }
    first = s3.complete_multipart_upload(**call)
    assert s3.complete_multipart_upload(**call)["ETag"] == first["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"other")
    assert refused(s3.complete_multipart_upload, **call) == (404, "NoSuchUpload")


def test_conditional_completions(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    assert refused(upload, s3=s3, bucket=bucket, pieces=[b"new"], complete={"IfNoneMatch": "*"}) == (
        412,
        "PreconditionFailed",
    )
    assert refused(upload, s3=s3, bucket=bucket, pieces=[b"new"], complete={"IfMatch": '"x"'}).status == 412
    upload(s3, bucket, [b"new"], complete={"IfMatch": etag})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"
    upload(s3, bucket, [b"new"], key="other", complete={"IfNoneMatch": "*"})
    missing = refused(upload, s3=s3, bucket=bucket, pieces=[b"x"], key="no", complete={"IfMatch": etag})
    assert missing == (404, "NoSuchKey")


def test_refusals_of_parts(s3, bucket, refused):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]

    def part(**options):
        call = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "PartNumber": 1, "Body": b"x", **options}
        return refused(s3.upload_part, **call)

    assert part(PartNumber=0) == (400, "InvalidArgument")
    assert part(PartNumber=10_001) == (400, "InvalidArgument")
    assert part(UploadId="nonsense") == (404, "NoSuchUpload")
    assert part(Key="other") == (404, "NoSuchUpload")
    assert part(Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert part(ContentMD5=base64.b64encode(bytes(16)).decode()) == (400, "BadDigest")
    assert part(ContentMD5="nonsense") == (400, "InvalidDigest")
    assert part(Body=bytes(1 * MIB), ChecksumSHA256=base64.b64encode(bytes(32)).decode()) == (
        400,
        "BadDigest",
    )
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=upload_id).get("Parts", []) == []


def test_abort(s3, bucket, refused):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x")
    assert refused(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id)
    for call in (s3.abort_multipart_upload, s3.list_parts):
        assert refused(call, Bucket=bucket, Key="k", UploadId=upload_id) == (404, "NoSuchUpload")
    assert refused(s3.upload_part, Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x").status == 404
    s3.delete_bucket(Bucket=bucket)


def test_list_parts(s3, bucket):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k ü", StorageClass="STANDARD_IA")["UploadId"]
    expected = []
    for number in (1, 2, 5, 9, 10):
        body = bytes(number)
        answer = s3.upload_part(Bucket=bucket, Key="k ü", UploadId=upload_id, PartNumber=number, Body=body)
        expected.append((number, answer["ETag"], number))
    page = s3.list_parts(Bucket=bucket, Key="k ü", UploadId=upload_id)
    assert [(p["PartNumber"], p["ETag"], p["Size"]) for p in page["Parts"]] == expected
    assert (page["Key"], page["StorageClass"], page["IsTruncated"]) == ("k ü", "STANDARD_IA", False)
    assert page["Owner"]["ID"] == page["Initiator"]["ID"]
    found, marker = [], 0
    while True:
        page = s3.list_parts(Bucket=bucket, Key="k ü", UploadId=upload_id, MaxParts=2, PartNumberMarker=marker)
        found += [p["PartNumber"] for p in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert found == [1, 2, 5, 9, 10]


def test_list_uploads(s3, bucket):
    keys = ["a", "a", "b/1", "b/2", "c"]
    expected = sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys)

    def pairs(page):
        return [(item["Key"], item["UploadId"]) for item in page.get("Uploads", [])]

    assert pairs(s3.list_multipart_uploads(Bucket=bucket)) == expected
    assert pairs(s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")) == expected[2:4]
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["b/"]
    assert pairs(page) == [expected[0], expected[1], expected[4]]
    for size in (1, 2, 4, 5):
        found, markers = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=size, **markers)
            found += pairs(page)
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        assert found == expected
    assert pairs(s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a")) == expected[2:]


# -- checksums


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("CRC32", "COMPOSITE"),
        ("CRC32", "FULL_OBJECT"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC64NVME", "FULL_OBJECT"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
    ],
)
def test_checksums_of_parts_and_of_the_whole(s3, bucket, pieces, algorithm, kind):
    answer = upload(s3, bucket, pieces, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    name = f"Checksum{algorithm}"
    assert answer["ChecksumType"] == kind
    assert answer[name].endswith("-3") == (kind == "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (answer[name], kind)
    if algorithm == "CRC32" and kind == "FULL_OBJECT":
        value = zlib.crc32(b"".join(pieces)).to_bytes(4, "big")
        assert answer[name] == base64.b64encode(value).decode()
    if kind == "FULL_OBJECT":
        assert answer[name] == checksums.compute(algorithm.lower(), b"".join(pieces))
    if algorithm == "SHA256":
        digest = hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).digest()
        assert answer[name] == base64.b64encode(digest).decode() + "-3"
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(pieces)


def test_a_checksum_of_the_whole_that_is_wrong(s3, bucket, refused):
    wrong = {"ChecksumCRC32": base64.b64encode(bytes(4)).decode(), "ChecksumType": "FULL_OBJECT"}
    options = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    assert refused(upload, s3=s3, bucket=bucket, pieces=[b"x"], complete=wrong, **options) == (
        400,
        "BadDigest",
    )
    value = base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()
    upload(s3, bucket, [b"x"], complete={"ChecksumCRC32": value, "ChecksumType": "FULL_OBJECT"}, **options)


def test_checksum_rules(s3, bucket, refused):
    create = s3.create_multipart_upload
    for algorithm, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
        call = {"Bucket": bucket, "Key": "k", "ChecksumAlgorithm": algorithm, "ChecksumType": kind}
        assert refused(create, **call) == (400, "InvalidRequest")
    answer = create(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    assert (answer["ChecksumAlgorithm"], answer["ChecksumType"]) == ("SHA256", "COMPOSITE")
    part = {"Bucket": bucket, "Key": "k", "UploadId": answer["UploadId"], "PartNumber": 1, "Body": b"x"}
    assert refused(s3.upload_part, **part, ChecksumAlgorithm="CRC32") == (400, "InvalidRequest")
    uploaded = s3.upload_part(**part, ChecksumAlgorithm="SHA256")
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=answer["UploadId"])
    assert listed["ChecksumAlgorithm"] == "SHA256"
    assert listed["Parts"][0]["ChecksumSHA256"] == uploaded["ChecksumSHA256"]
    without = {"Parts": [{"PartNumber": 1, "ETag": uploaded["ETag"]}]}
    done = {"Bucket": bucket, "Key": "k", "UploadId": answer["UploadId"]}
    assert refused(s3.complete_multipart_upload, **done, MultipartUpload=without) == (400, "InvalidRequest")
    wrong = {"Parts": [{**without["Parts"][0], "ChecksumSHA256": base64.b64encode(bytes(32)).decode()}]}
    assert refused(s3.complete_multipart_upload, **done, MultipartUpload=wrong) == (400, "InvalidPart")


def test_without_any_checksum_the_whole_gets_crc64nvme(endpoint, client_for, bucket):
    s3 = client_for(endpoint, request_checksum_calculation="when_required")
    answer = upload(s3, bucket, [bytes(PART), b"abc"])
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == answer["ChecksumCRC64NVME"]
    assert head["ChecksumType"] == "FULL_OBJECT"
    s3.put_object(Bucket=bucket, Key="one", Body=bytes(PART) + b"abc")
    assert (
        s3.head_object(Bucket=bucket, Key="one", ChecksumMode="ENABLED")["ChecksumCRC64NVME"]
        == (head["ChecksumCRC64NVME"])
    )


# -- copies of parts


def test_copies_of_parts(s3, bucket, pieces, refused):
    s3.put_object(Bucket=bucket, Key="source ü", Body=pieces[1])
    source = {"Bucket": bucket, "Key": "source ü"}
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    call = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "CopySource": source}
    whole = s3.upload_part_copy(**call, PartNumber=1)["CopyPartResult"]
    assert whole["ETag"] == f'"{hashlib.md5(pieces[1]).hexdigest()}"'
    some = s3.upload_part_copy(**call, PartNumber=2, CopySourceRange="bytes=10-19")["CopyPartResult"]
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": whole["ETag"]}, {"PartNumber": 2, "ETag": some["ETag"]}]},
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == pieces[1] + pieces[1][10:20]


def test_refusals_of_copies_of_parts(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")["ETag"]
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]

    def copy(**options):
        call = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "PartNumber": 1, **options}
        call.setdefault("CopySource", f"{bucket}/source")
        return refused(s3.upload_part_copy, **call)

    for text in ("bytes=0-10", "bytes=0-", "bytes=-1", "0-1", "bytes=5-2"):
        assert copy(CopySourceRange=text) == (400, "InvalidArgument")
    assert copy(CopySource=f"{bucket}/no") == (404, "NoSuchKey")
    assert copy(CopySource="no-such-bucket/k") == (404, "NoSuchBucket")
    assert copy(UploadId="nonsense") == (404, "NoSuchUpload")
    assert copy(CopySourceIfMatch='"x"') == (412, "PreconditionFailed")
    assert copy(CopySourceIfNoneMatch=etag) == (412, "PreconditionFailed")


def test_transfers_of_large_files(s3, bucket, tmp_path):
    body = os.urandom(20 * MIB + 17)
    path = tmp_path / "large"
    path.write_bytes(body)
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    s3.upload_file(str(path), bucket, "large", Config=config)
    s3.download_file(bucket, "large", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == body
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-5"')
