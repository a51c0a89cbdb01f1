"""Encryption at rest by the command line of AWS: ``aws s3 --sse``, ``--sse-c``, and the operations of a bucket."""

import json

import pytest
from served_vault import client, plain_environment, program, some_bytes

MIB = 1 << 20


@pytest.fixture(scope="module")
def aws(tmp_path_factory, endpoint):
    environment = plain_environment(
        tmp_path_factory.mktemp("home"),
        AWS_ACCESS_KEY_ID=endpoint.access_key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret_key,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_MAX_ATTEMPTS="1",
        AWS_PAGER="",
    )
    command = (program("aws", "awscli"), "--endpoint-url", endpoint.url, "--output", "json")
    return client(*command, environment=environment)


def test_copies_with_every_kind_of_encryption(aws, tmp_path, bucket):
    small, large, key = tmp_path / "small", tmp_path / "large", tmp_path / "key"
    small.write_bytes(b"ticks")
    large.write_bytes(some_bytes(9 * MIB))
    key.write_bytes(bytes(range(32)))
    brought = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{key}")
    for file, ways in ((small, (("--sse", "aws:kms"),)), (large, (("--sse",), brought))):
        for options in ways:
            away, home = f"s3://{bucket}/{file.name}", tmp_path / "down"
            aws("s3", "cp", "--quiet", file, away, *options)
            back = options if options == brought else ()
            aws("s3", "cp", "--quiet", away, home, *back)
            assert home.read_bytes() == file.read_bytes()
    assert "400" in aws("s3", "cp", f"s3://{bucket}/large", tmp_path / "x", status=1).stderr
    source = ("--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", f"fileb://{key}")
    aws("s3", "cp", "--quiet", f"s3://{bucket}/large", f"s3://{bucket}/copy", *source, "--sse")
    assert aws("s3", "cp", f"s3://{bucket}/copy", "-").bytes == large.read_bytes()


def test_the_default_of_a_bucket(aws, bucket):
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    here = ("--bucket", bucket)
    aws("s3api", "put-bucket-encryption", *here, "--server-side-encryption-configuration", json.dumps(rules))
    found = json.loads(aws("s3api", "get-bucket-encryption", *here).bytes)["ServerSideEncryptionConfiguration"]
    assert found["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    aws("s3", "cp", "-", f"s3://{bucket}/k", stdin=b"ticks")
    head = json.loads(aws("s3api", "head-object", *here, "--key", "k").bytes)
    assert head["ServerSideEncryption"] == "AES256"
    aws("s3api", "delete-bucket-encryption", *here)
    assert "ConfigurationNotFound" in aws("s3api", "get-bucket-encryption", *here, status=254).stderr
