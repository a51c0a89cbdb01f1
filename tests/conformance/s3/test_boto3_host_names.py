"""boto3 in virtual-host style: the bucket is a part of the host name.

The names are in no DNS; a resolver of our own leads every one of them to the server.
"""

import random
import socket

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError
from served_vault import AWKWARD_NAMES, fetch, serving, some_bytes

MIB = 1 << 20
DOMAINS = ("s3.vault.test", "localhost")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    options = [option for domain in DOMAINS for option in ("--domain", domain)]
    with serving(tmp_path_factory.mktemp("named") / "vault", *options) as served:
        yield served


@pytest.fixture(autouse=True)
def resolver(monkeypatch, served):
    found = socket.getaddrinfo

    def lead(host, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        return found(served.host if name and name.endswith(DOMAINS) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lead)


def client_for(served, domain, style="virtual", **options):
    return boto3.client(
        "s3",
        endpoint_url=f"http://{domain}:{served.port}",
        aws_access_key_id=served.access_key,
        aws_secret_access_key=served.secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": style},
            **options,
        ),
    )


@pytest.fixture(params=DOMAINS)
def s3(served, request):
    return client_for(served, request.param)


@pytest.fixture
def bucket(s3):
    name = f"named-{random.randrange(10**9)}"
    s3.create_bucket(Bucket=name)
    return name


def test_objects(s3, bucket):
    asked = []
    s3.meta.events.register("before-send.s3", lambda request, **_: asked.append(request.url))
    for name in ("plain", "//", "a/../b", bucket, *AWKWARD_NAMES):
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
        assert fetch(s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": name})).body == name.encode()
    assert all(f"//{bucket}." in url for url in asked)
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(keys) == sorted(["plain", "//", "a/../b", bucket, *AWKWARD_NAMES])
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": AWKWARD_NAMES[3]})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == AWKWARD_NAMES[3].encode()
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in [*keys, "copy"]]})
    assert len(gone["Deleted"]) == len(keys) + 1
    s3.delete_bucket(Bucket=bucket)


def test_parts(s3, bucket, tmp_path):
    (tmp_path / "file").write_bytes(some_bytes(20 * MIB))
    s3.upload_file(str(tmp_path / "file"), bucket, "large")
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    s3.download_file(bucket, "large", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == (tmp_path / "file").read_bytes()


def test_both_styles_reach_the_same(served, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for domain in DOMAINS:
        for style in ("path", "virtual"):
            assert client_for(served, domain, style).get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert bucket in [item["Name"] for item in s3.list_buckets()["Buckets"]]


def test_a_bucket_that_is_not_there(s3):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.get_object(Bucket="no-such-bucket", Key="k")


def test_forms(s3, bucket):
    post = s3.generate_presigned_post(bucket, "k")
    assert f"//{bucket}." in post["url"]
    boundary = "b0undary"
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in post["fields"].items()
    )
    body += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nbody\r\n--{boundary}--\r\n'
    )
    answer = fetch(post["url"], "POST", body.encode(), Content_Type=f"multipart/form-data; boundary={boundary}")
    assert answer.status == 204, answer.body
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"
