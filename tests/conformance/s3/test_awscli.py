"""The command line of AWS against a served vault: ``aws s3`` for trees of files, ``aws s3api`` for single requests."""

import base64
import filecmp
import hashlib
import json
import os

import pytest
from served_vault import (
    AWKWARD_NAMES,
    MANY_COUNT,
    client,
    fetch,
    files_of,
    fill,
    plain_environment,
    presenting,
    program,
    self_made_certificate,
    serving,
    some_bytes,
    tree_of_files,
)

MIB = 1 << 20


@pytest.fixture(scope="session")
def aws_for(tmp_path_factory):
    """A function that returns a caller of aws for a server; the caller returns what aws did."""
    executable = program("aws", "awscli")

    def caller(served, **variables):
        environment = plain_environment(
            tmp_path_factory.mktemp("home"),
            AWS_ACCESS_KEY_ID=served.access_key,
            AWS_SECRET_ACCESS_KEY=served.secret_key,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_MAX_ATTEMPTS="1",
            AWS_PAGER="",
            **variables,
        )

        return client(executable, "--endpoint-url", served.url, "--output", "json", environment=environment)

    return caller


@pytest.fixture(scope="session")
def aws(aws_for, endpoint):
    return aws_for(endpoint, AWS_REQUEST_CHECKSUM_CALCULATION="when_supported")


@pytest.fixture
def api(aws):
    """Call one operation of s3api; returns its answer as aws prints it."""

    def call(operation, *arguments, **options):
        printed = aws("s3api", operation, *arguments, **options)
        return json.loads(printed.bytes) if printed.bytes.strip() else {}

    return call


@pytest.fixture
def tree(tmp_path):
    """A folder of files that are older than a second."""
    root = tree_of_files(tmp_path / "tree", 25 * MIB)
    for path in root.rglob("*"):
        # S3 lists times in whole seconds: a file younger than that would look changed after it went up.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return root


def assert_same(left, right):
    assert files_of(left) == files_of(right)
    _, different, unreadable = filecmp.cmpfiles(left, right, files_of(left), shallow=False)
    assert (different, unreadable) == ([], [])


def keys_of(s3, bucket):
    return [
        item["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for item in page.get("Contents", [])
    ]


# -- aws s3


def test_a_tree_goes_up_and_comes_down_again(aws, s3, bucket, tree, tmp_path):
    aws("s3", "cp", "--recursive", "--quiet", tree, f"s3://{bucket}/t", "--metadata", "venue=XCME")
    assert keys_of(s3, bucket) == [f"t/{name}" for name in files_of(tree)]
    large = s3.head_object(Bucket=bucket, Key="t/sub/large.bin")
    assert large["ETag"].endswith('-4"')  # 25 MiB in parts of 8
    assert large["Metadata"] == {"venue": "XCME"}
    assert s3.head_object(Bucket=bucket, Key="t/small.csv")["ContentType"] == "text/csv"
    aws("s3", "cp", "--recursive", "--quiet", f"s3://{bucket}/t", tmp_path / "down")
    assert_same(tree, tmp_path / "down")


def test_sync_carries_what_changed_and_nothing_else(aws, s3, bucket, tree, tmp_path):
    aws("s3", "sync", tree, f"s3://{bucket}")
    assert aws("s3", "sync", tree, f"s3://{bucket}").lines == []
    (tree / "small.csv").write_bytes(b"another size")
    (tree / "sub" / AWKWARD_NAMES[0]).unlink()
    lines = aws("s3", "sync", "--delete", "--no-progress", tree, f"s3://{bucket}").lines
    assert sorted(line.split(":")[0] for line in lines) == ["delete", "upload"]
    aws("s3", "sync", f"s3://{bucket}", tmp_path / "down")
    assert_same(tree, tmp_path / "down")
    assert aws("s3", "sync", f"s3://{bucket}", tmp_path / "down").lines == []


def test_copies_moves_and_removals_within_the_server(aws, s3, bucket, tree):
    aws("s3", "cp", "--recursive", "--quiet", tree, f"s3://{bucket}/a")
    # Above 8 MiB a copy is one of parts, each of them an UploadPartCopy.
    aws("s3", "cp", "--recursive", "--quiet", f"s3://{bucket}/a", f"s3://{bucket}/b")
    names = files_of(tree)
    assert len(keys_of(s3, bucket)) == 2 * len(names)
    for name in names:
        copy = s3.get_object(Bucket=bucket, Key=f"b/{name}")["Body"].read()
        assert copy == (tree / name).read_bytes(), name
    assert s3.head_object(Bucket=bucket, Key="b/sub/large.bin")["ETag"].endswith('-4"')
    aws("s3", "mv", "--recursive", "--quiet", f"s3://{bucket}/b", f"s3://{bucket}/c")
    aws("s3", "rm", "--recursive", "--quiet", f"s3://{bucket}/a", "--exclude", "*small*")
    assert keys_of(s3, bucket) == sorted(["a/small.csv", *(f"c/{name}" for name in names)], key=str.encode)
    aws("s3", "rb", f"s3://{bucket}", status=1)
    aws("s3", "rb", "--force", f"s3://{bucket}")
    assert bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]


def test_streams(aws, s3, bucket):
    body = some_bytes(20 * MIB)
    aws("s3", "cp", "-", f"s3://{bucket}/stream", stdin=body)
    assert s3.head_object(Bucket=bucket, Key="stream")["ETag"].endswith('-3"')
    assert aws("s3", "cp", f"s3://{bucket}/stream", "-").bytes == body


def test_listing_of_many_keys(aws, endpoint, s3, bucket):
    keys = [f"day/{number:05}" for number in range(MANY_COUNT)]
    fill(endpoint.path, bucket, [*keys, "a b+c%", "other/x"])
    printed = aws("s3", "ls", "--recursive", "--summarize", "--page-size", "700", f"s3://{bucket}").lines
    assert [line.split(maxsplit=3)[3] for line in printed[: MANY_COUNT + 2]] == ["a b+c%", *keys, "other/x"]
    assert f"Total Objects: {MANY_COUNT + 2}" in printed[-2]
    printed = [line.split() for line in aws("s3", "ls", f"s3://{bucket}").lines]
    assert [words[-2:] for words in printed] == [["PRE", "day/"], ["PRE", "other/"], ["a", "b+c%"]]


def test_presigned(aws_for, endpoint, s3, bucket, tmp_path):
    settings = tmp_path / "settings"
    # The first generation of this client presigns with version 2 unless it is told.
    settings.write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    aws = aws_for(endpoint, AWS_CONFIG_FILE=str(settings))
    for name in (AWKWARD_NAMES[2], AWKWARD_NAMES[3]):
        body = name.encode()
        s3.put_object(Bucket=bucket, Key=name, Body=body)
        (url,) = aws("s3", "presign", f"s3://{bucket}/{name}", "--expires-in", "60").lines
        assert fetch(url).body == body
        assert fetch(url, Range="bytes=1-3").body == body[1:4]
        assert fetch(url, "PUT", b"x").status == 403


def test_wrong_credentials(aws_for, endpoint, bucket):
    stranger = presenting(endpoint, access_key="AKIANOBODY")
    assert "InvalidAccessKeyId" in aws_for(stranger)("s3", "ls", f"s3://{bucket}", status=1).stderr
    liar = presenting(endpoint, secret_key="wrong")
    assert "SignatureDoesNotMatch" in aws_for(liar)("s3", "ls", f"s3://{bucket}", status=1).stderr


# -- aws s3api


def test_versions(api, bucket, tmp_path):
    api("put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two!")
    one = api("put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "one")
    two = api("put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "two")
    marker = api("delete-object", "--bucket", bucket, "--key", "k")
    assert marker["DeleteMarker"] is True
    listed = api("list-object-versions", "--bucket", bucket)
    assert [(item["VersionId"], item["Size"], item["IsLatest"]) for item in listed["Versions"]] == [
        (two["VersionId"], 4, False),
        (one["VersionId"], 3, False),
    ]
    assert [(item["VersionId"], item["IsLatest"]) for item in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    api("get-object", "--bucket", bucket, "--key", "k", tmp_path / "none", status=1)
    got = api("get-object", "--bucket", bucket, "--key", "k", "--version-id", one["VersionId"], tmp_path / "down")
    assert got["VersionId"] == one["VersionId"]
    assert (tmp_path / "down").read_bytes() == b"one"
    gone = [{"Key": "k", "VersionId": marker["VersionId"]}, {"Key": "k", "VersionId": one["VersionId"]}]
    deleted = api("delete-objects", "--bucket", bucket, "--delete", json.dumps({"Objects": gone}))
    assert [item["VersionId"] for item in deleted["Deleted"]] == [item["VersionId"] for item in gone]
    got = api("get-object", "--bucket", bucket, "--key", "k", "--range", "bytes=-1", tmp_path / "down")
    assert (got["VersionId"], got["ContentRange"]) == (two["VersionId"], "bytes 3-3/4")
    assert (tmp_path / "down").read_bytes() == b"!"


def test_multipart_step_by_step(api, bucket, tmp_path):
    place = ["--bucket", bucket, "--key", AWKWARD_NAMES[0]]
    pieces = [some_bytes(5 * MIB, 1), some_bytes(17, 2)]
    created = api("create-multipart-upload", *place, "--content-type", "text/csv", "--metadata", "venue=XCME")
    upload = ["--upload-id", created["UploadId"]]
    parts = []
    for number, piece in enumerate(pieces, 1):
        (tmp_path / "piece").write_bytes(piece)
        part = api("upload-part", *place, *upload, "--part-number", number, "--body", tmp_path / "piece")
        assert part["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"'
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    listed = api("list-parts", *place, *upload)["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed] == [
        (1, 5 * MIB, parts[0]["ETag"]),
        (2, 17, parts[1]["ETag"]),
    ]
    done = api("complete-multipart-upload", *place, *upload, "--multipart-upload", json.dumps({"Parts": parts}))
    md5 = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()
    assert done["ETag"] == f'"{md5}-2"'
    got = api("get-object", *place, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"".join(pieces)
    assert (got["ContentType"], got["Metadata"]) == ("text/csv", {"venue": "XCME"})


def test_tags_lifecycle_and_cors(api, bucket, tmp_path):
    (tmp_path / "body").write_bytes(b"x")
    place = ["--bucket", bucket, "--key", "k"]
    api("put-object", *place, "--body", tmp_path / "body", "--tagging", "desk=rates&note=a%20b%2Bc")
    assert api("get-object-tagging", *place)["TagSet"] == [
        {"Key": "desk", "Value": "rates"},
        {"Key": "note", "Value": "a b+c"},
    ]
    rule = {
        "ID": "old days",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "day/", "Tags": [{"Key": "desk", "Value": "rates"}]}},
        "Expiration": {"Days": 30},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 2},
    }
    unfinished = {
        "ID": "unfinished",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    }
    lifecycle = json.dumps({"Rules": [rule, unfinished]})
    api("put-bucket-lifecycle-configuration", "--bucket", bucket, "--lifecycle-configuration", lifecycle)
    assert api("get-bucket-lifecycle-configuration", "--bucket", bucket)["Rules"] == [rule, unfinished]
    cors = {"AllowedOrigins": ["https://desk.example"], "AllowedMethods": ["GET"], "MaxAgeSeconds": 60}
    api("put-bucket-cors", "--bucket", bucket, "--cors-configuration", json.dumps({"CORSRules": [cors]}))
    assert api("get-bucket-cors", "--bucket", bucket)["CORSRules"] == [cors]


def test_checksums(api, bucket, tmp_path):
    body = some_bytes(70_000)
    (tmp_path / "body").write_bytes(body)
    place = ["--bucket", bucket, "--key", "k"]
    put = api("put-object", *place, "--body", tmp_path / "body", "--checksum-algorithm", "SHA256")
    assert base64.b64decode(put["ChecksumSHA256"]) == hashlib.sha256(body).digest()
    got = api("get-object", *place, "--checksum-mode", "ENABLED", tmp_path / "down")
    assert got["ChecksumSHA256"] == put["ChecksumSHA256"]
    wrong = base64.b64encode(bytes(16)).decode()
    api("put-object", *place, "--body", tmp_path / "body", "--content-md5", wrong, status=1)
    attributes = api("get-object-attributes", *place, "--object-attributes", "ETag", "Checksum", "ObjectSize")
    assert attributes["ETag"] == hashlib.md5(body).hexdigest()
    assert attributes["ObjectSize"] == len(body)
    assert attributes["Checksum"]["ChecksumSHA256"] == put["ChecksumSHA256"]


# -- other ways in


def test_tls_with_a_certificate_of_our_own(aws_for, tmp_path):
    certificate, key = self_made_certificate(tmp_path)
    body = some_bytes(20 * MIB)
    with serving(tmp_path / "vault", "--cert", certificate, "--key", key) as served:
        assert served.url.startswith("https://")
        assert "CERTIFICATE_VERIFY_FAILED" in aws_for(served)("s3", "ls", status=1).stderr
        aws = aws_for(served, AWS_CA_BUNDLE=str(certificate))
        aws("s3", "mb", "s3://raw")
        aws("s3", "cp", "-", "s3://raw/k", stdin=body)
        assert aws("s3", "cp", "s3://raw/k", "-").bytes == body


def test_buckets_as_host_names(aws_for, tmp_path):
    """The names are not in any DNS: the server itself stands in as the proxy that a client leaves them to."""
    (tmp_path / "body").write_bytes(some_bytes(20 * MIB))
    with serving(tmp_path / "vault", "--domain", "s3.vault.test") as served:
        named = presenting(served, url="http://s3.vault.test")
        settings = tmp_path / "settings"
        settings.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
        aws = aws_for(named, HTTP_PROXY=served.url, AWS_CONFIG_FILE=str(settings))
        aws("s3", "mb", "s3://raw")
        aws("s3", "cp", "--quiet", tmp_path / "body", f"s3://raw/{AWKWARD_NAMES[0]}")
        aws("s3", "cp", "--quiet", f"s3://raw/{AWKWARD_NAMES[0]}", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == (tmp_path / "body").read_bytes()
