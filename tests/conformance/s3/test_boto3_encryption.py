"""Encryption at rest by boto3: SSE-S3, SSE-KMS, SSE-C, the default of a bucket, and what is refused."""

import base64
import hashlib
import io
import os
import socket

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from served_vault import self_made_certificate, serving

import tickvault as tv

MIB = 1 << 20
KEY = bytes(range(32))
MINE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
THEIRS = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
KEY_MD5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
PARTS = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)


def told(answer):
    return {name: answer[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if name in answer}


def setting(algorithm, key=None):
    default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}


def stored_encryption(endpoint, bucket, key):
    """What the vault itself says of an object."""
    with tv.open(endpoint.path) as vault:
        return vault[bucket].head(key).encryption


@pytest.fixture
def kms_key(endpoint):
    name = f"conformance-{os.getpid()}"
    with tv.open(endpoint.path) as vault:
        if name not in {key.key_id for key in vault.store.keys.list()}:
            vault.store.keys.create(name)
    return name


@pytest.mark.parametrize("size", [0, 1000, 300_000, 6 * MIB])
def test_sse_s3(s3, endpoint, bucket, size):
    body = os.urandom(size)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="AES256")
    assert told(answer) == {"ServerSideEncryption": "AES256"}
    assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["ETag"], told(got)) == (body, answer["ETag"], told(answer))
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], told(head)) == (size, told(answer))
    if size:
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={size // 2}-")
        assert part["Body"].read() == body[size // 2 :]
        assert part["ContentRange"] == f"bytes {size // 2}-{size - 1}/{size}"
    assert stored_encryption(endpoint, bucket, "k").suite == "aes-256-gcm"


def test_sse_kms(s3, endpoint, bucket, kms_key, refused):
    for named in (None, kms_key, f"arn:aws:kms:us-east-1:000000000000:key/{kms_key}"):
        options = {} if named is None else {"SSEKMSKeyId": named}
        for body in (b"small", os.urandom(MIB)):
            answer = s3.put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="aws:kms", **options)
            expected = kms_key if named else "default-aes-256-gcm"
            assert told(answer) == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": expected}
            assert answer["ETag"] != f'"{hashlib.md5(body).hexdigest()}"'
            got = s3.get_object(Bucket=bucket, Key="k")
            assert (got["Body"].read(), told(got), got["ETag"]) == (body, told(answer), answer["ETag"])
    call = {"Bucket": bucket, "Key": "n", "Body": b""}
    assert refused(s3.put_object, **call, ServerSideEncryption="aws:kms", SSEKMSKeyId="nobody") == (
        400,
        "KMS.NotFoundException",
    )
    assert refused(s3.put_object, **call, ServerSideEncryption="aws:kms:dsse").code == "NotImplemented"
    assert refused(s3.head_object, Bucket=bucket, Key="n").status == 404


def test_the_default_of_a_bucket(s3, endpoint, bucket, kms_key, refused):
    missing = (404, "ServerSideEncryptionConfigurationNotFoundError")
    assert refused(s3.get_bucket_encryption, Bucket=bucket) == missing
    s3.put_object(Bucket=bucket, Key="before", Body=b"plain")
    for algorithm, key, expected in (
        ("AES256", None, {"ServerSideEncryption": "AES256"}),
        ("aws:kms", None, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "default-aes-256-gcm"}),
        ("aws:kms", kms_key, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}),
    ):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=setting(algorithm, key))
        found = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        default = found[0]["ApplyServerSideEncryptionByDefault"]
        assert default["SSEAlgorithm"] == algorithm
        assert default.get("KMSMasterKeyID") == expected.get("SSEKMSKeyId")
        assert told(s3.put_object(Bucket=bucket, Key="k", Body=b"sealed")) == expected
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"sealed"
        large = io.BytesIO(os.urandom(6 * MIB))
        s3.upload_fileobj(large, bucket, "large", Config=PARTS)
        assert told(s3.head_object(Bucket=bucket, Key="large")) == expected
    answer = s3.put_object(Bucket=bucket, Key="own", Body=b"x", ServerSideEncryption="AES256")
    assert told(answer) == {"ServerSideEncryption": "AES256"}, "a write's own word goes first"
    for wrong, code in (
        (setting("AES256", kms_key), "InvalidArgument"),
        (setting("aws:kms", "nobody"), "KMS.NotFoundException"),
        (setting("rot13"), "MalformedXML"),
        ({"Rules": []}, "MalformedXML"),
        ({"Rules": [{"BucketKeyEnabled": True}]}, "MalformedXML"),
    ):
        refusal = refused(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=wrong)
        assert (refusal.status, refusal.code) == (400, code)
    s3.delete_bucket_encryption(Bucket=bucket)
    assert refused(s3.get_bucket_encryption, Bucket=bucket) == missing
    assert told(s3.put_object(Bucket=bucket, Key="after", Body=b"plain")) == {}
    for key in ("before", "after"):
        assert told(s3.head_object(Bucket=bucket, Key=key)) == {}
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"sealed"


def test_the_suite_of_a_bucket_outlives_a_client_that_knows_only_of_aes256(s3, endpoint, bucket):
    with tv.open(endpoint.path) as vault:
        vault[bucket].set_encryption("sm4-gcm")
    for options in ({}, {"ServerSideEncryption": "AES256"}):
        answer = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **options)
        assert told(answer) == {"ServerSideEncryption": "AES256"}
        assert stored_encryption(endpoint, bucket, "k").suite == "sm4-gcm"
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=setting("AES256"))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 500_000)
    assert stored_encryption(endpoint, bucket, "k").suite == "sm4-gcm"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x" * 500_000


@pytest.mark.parametrize("size", [0, 100, 400_000])
def test_sse_c(s3, bucket, refused, size):
    body = os.urandom(size)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, **MINE)
    assert (answer["SSECustomerAlgorithm"], answer["SSECustomerKeyMD5"]) == ("AES256", KEY_MD5)
    assert "ServerSideEncryption" not in answer
    assert answer["ETag"] != f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k", **MINE)
    assert (got["Body"].read(), got["SSECustomerKeyMD5"]) == (body, KEY_MD5)
    assert s3.head_object(Bucket=bucket, Key="k", **MINE)["ContentLength"] == size
    if size:
        assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=5-9", **MINE)["Body"].read() == body[5:10]
    assert refused(s3.get_object, Bucket=bucket, Key="k") == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket=bucket, Key="k").status == 400
    assert refused(s3.get_object, Bucket=bucket, Key="k", **THEIRS) == (403, "AccessDenied")
    assert refused(s3.head_object, Bucket=bucket, Key="k", **THEIRS).status == 403
    # boto3 encodes the key only where it makes the MD5 itself.
    spelled = {**MINE, "SSECustomerKey": base64.b64encode(KEY).decode()}
    wrong = {**spelled, "SSECustomerKeyMD5": base64.b64encode(bytes(16)).decode()}
    assert refused(s3.get_object, Bucket=bucket, Key="k", **wrong) == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket=bucket, Key="k", **wrong) == (400, "InvalidArgument")
    short = {**MINE, "SSECustomerKey": b"short"}
    assert refused(s3.put_object, Bucket=bucket, Key="k", **short) == (400, "InvalidArgument")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert refused(s3.get_object, Bucket=bucket, Key="plain", **MINE) == (400, "InvalidRequest")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Size"] for entry in listed] == [size, 1]
    s3.delete_object(Bucket=bucket, Key="k")


def test_sse_c_in_parts(s3, bucket, refused):
    body = os.urandom(12 * MIB)
    s3.upload_fileobj(io.BytesIO(body), bucket, "mp", ExtraArgs=MINE, Config=PARTS)
    down = io.BytesIO()
    s3.download_fileobj(bucket, "mp", down, ExtraArgs=MINE, Config=PARTS)
    assert down.getvalue() == body
    assert s3.get_object(Bucket=bucket, Key="mp", PartNumber=2, **MINE)["Body"].read() == body[5 * MIB : 10 * MIB]
    assert refused(s3.get_object, Bucket=bucket, Key="mp") == (400, "InvalidRequest")

    upload = s3.create_multipart_upload(Bucket=bucket, Key="own", **MINE)
    assert upload["SSECustomerKeyMD5"] == KEY_MD5
    call = {"Bucket": bucket, "Key": "own", "UploadId": upload["UploadId"], "PartNumber": 1}
    assert refused(s3.upload_part, **call, Body=b"x") == (400, "InvalidRequest")
    assert refused(s3.upload_part, **call, Body=b"x", **THEIRS) == (403, "AccessDenied")
    part = s3.upload_part(**call, Body=b"x", **MINE)
    assert part["SSECustomerKeyMD5"] == KEY_MD5
    copied = s3.upload_part_copy(
        **call,
        CopySource=f"{bucket}/mp",
        CopySourceRange="bytes=0-99",
        CopySourceSSECustomerAlgorithm="AES256",
        CopySourceSSECustomerKey=KEY,
        **MINE,
    )
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="own",
        UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]},
    )
    assert s3.get_object(Bucket=bucket, Key="own", **MINE)["Body"].read() == body[:100]
    plain = s3.create_multipart_upload(Bucket=bucket, Key="plain")["UploadId"]
    call = {"Bucket": bucket, "Key": "plain", "UploadId": plain, "PartNumber": 1}
    assert refused(s3.upload_part, **call, Body=b"x", **MINE) == (400, "InvalidRequest")


def test_copies(s3, bucket, refused):
    source = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
    for size in (10, MIB):
        body = os.urandom(size)
        s3.put_object(Bucket=bucket, Key="mine", Body=body, Metadata={"a": "b"}, **MINE)
        call = {"Bucket": bucket, "CopySource": f"{bucket}/mine"}
        assert refused(s3.copy_object, **call, Key="x") == (400, "InvalidRequest")
        assert s3.copy_object(**call, Key="managed", ServerSideEncryption="AES256", **source)["ServerSideEncryption"]
        answer = s3.copy_object(**call, Key="theirs", **source, **THEIRS)
        assert answer["SSECustomerAlgorithm"] == "AES256"
        s3.copy_object(**call, Key="plain", **source)
        for key, brought in (("managed", {}), ("theirs", THEIRS), ("plain", {})):
            got = s3.get_object(Bucket=bucket, Key=key, **brought)
            assert (got["Body"].read(), got["Metadata"]) == (body, {"a": "b"})
        assert refused(s3.copy_object, Bucket=bucket, CopySource=f"{bucket}/plain", Key="x", **source) == (
            400,
            "InvalidRequest",
        )
    # Onto itself: how an object that is there is encrypted.
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=f"{bucket}/plain", ServerSideEncryption="aws:kms")
    assert s3.head_object(Bucket=bucket, Key="plain")["ServerSideEncryption"] == "aws:kms"
    assert s3.get_object(Bucket=bucket, Key="plain")["Body"].read() == body


def test_a_form_from_a_browser(s3, bucket):
    import urllib.request

    fields = {"x-amz-server-side-encryption": "AES256"}
    post = s3.generate_presigned_post(bucket, "k", Fields=fields, Conditions=[fields])
    parts = [
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in post["fields"].items()
    ]
    parts.append(
        '--frontier\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nticks\r\n--frontier--\r\n'
    )
    request = urllib.request.Request(
        post["url"], "".join(parts).encode(), {"Content-Type": "multipart/form-data; boundary=frontier"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["x-amz-server-side-encryption"] == "AES256"
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), told(got)) == (b"ticks", {"ServerSideEncryption": "AES256"})


def test_a_shredded_object_is_refused_and_can_be_deleted(s3, endpoint, bucket, refused):
    with tv.open(endpoint.path) as vault:
        vault.store.keys.create(f"gone-{bucket}")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=f"gone-{bucket}")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with tv.open(endpoint.path) as vault:
        from tickvault.objects.encryption.key_uses import destroy_key

        destroy_key(vault.store, f"gone-{bucket}")
    refusal = refused(s3.get_object, Bucket=bucket, Key="k")
    assert refusal == (400, "KMS.KMSInvalidStateException"), "a fault of the key, not of anybody's rights"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 1
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    s3.delete_object(Bucket=bucket, Key="k")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_key_goes_over_tls_or_from_this_machine(tmp_path):
    """On an address that others reach, a customer's key is taken over TLS only."""
    address = next(
        (
            found[4][0]
            for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
            if not found[4][0].startswith("127.")
        ),
        None,
    )
    if address is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing
            except OSError:
                pytest.skip("this machine has no address but the loopback's")
            address = probe.getsockname()[0]
    certificate, key = self_made_certificate(tmp_path)

    def client(served, url, **options):
        return boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=served.access_key,
            aws_secret_access_key=served.secret_key,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            **options,
        )

    with serving(tmp_path / "v", "--host", "0.0.0.0") as served:
        near = client(served, f"http://127.0.0.1:{served.port}")
        near.create_bucket(Bucket="raw")
        near.put_object(Bucket="raw", Key="k", Body=b"x", **MINE)
        far = client(served, f"http://{address}:{served.port}")
        for call in (
            lambda: far.put_object(Bucket="raw", Key="k", Body=b"x", **MINE),
            lambda: far.get_object(Bucket="raw", Key="k", **MINE),
        ):
            with pytest.raises(far.exceptions.ClientError, match="must be made over a secure connection"):
                call()
    with serving(tmp_path / "v", "--host", "0.0.0.0", "--cert", certificate, "--key", key) as served:
        # The certificate is of another name: what matters here is that the wire is encrypted.
        far = client(served, f"https://{address}:{served.port}", verify=False)
        assert far.get_object(Bucket="raw", Key="k", **MINE)["Body"].read() == b"x"
