"""Checksums of encrypted objects by boto3: told to who has the key, as Amazon's does, and nowhere on the disk."""

import base64
import hashlib
import http.client
import os
import pathlib
import urllib.parse
import zlib

import boto3
import pytest
from botocore.config import Config
from served_vault import serving

import tickvault as tv
from tickvault.doors.s3 import checksums
from tickvault.objects.encryption.key_uses import destroy_key

MIB = 1 << 20


def customer(key):
    """A customer's key as it goes over the wire: boto3 spells it for some operations only."""
    digest = base64.b64encode(hashlib.md5(key).digest()).decode()
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(key).decode(),
        "SSECustomerKeyMD5": digest,
    }


CUSTOMER, OTHER = customer(bytes(range(32))), customer(bytes(32))
KMS = {"ServerSideEncryption": "aws:kms"}
#: What a write asks for, and what a read brings.
WAYS = pytest.mark.parametrize(("asked", "brought"), [(KMS, {}), (CUSTOMER, CUSTOMER)], ids=["kms", "customer"])


def values(data):
    """The checksums of a body, by the names of boto3's fields."""
    return {
        "ChecksumCRC32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode(),
        "ChecksumCRC64NVME": checksums.compute("crc64nvme", data),
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
    }


def told(answer):
    return {name: value for name, value in answer.items() if name.startswith("Checksum")}


def client_of(url, served, **options):
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=served.access_key,
        aws_secret_access_key=served.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options),
    )


def assert_nowhere(endpoint, *bodies):
    """No checksum of these bodies is in any file of the vault."""
    folder = pathlib.Path(endpoint.path)
    found = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for data in bodies:
        for value in values(data).values():
            raw = base64.b64decode(value)
            assert value.encode() not in found
            # Four bytes of a CRC-32 are found anywhere once there is enough to look through.
            assert len(raw) < 8 or raw not in found


@WAYS
@pytest.mark.parametrize("size", [20, 1000, 300_000])
def test_put_head_get_and_attributes(s3, endpoint, bucket, refused, asked, brought, size):
    for number, (sent, expected) in enumerate(
        [
            ({"ChecksumAlgorithm": "SHA256"}, "ChecksumSHA256"),
            ({"ChecksumAlgorithm": "CRC32"}, "ChecksumCRC32"),
            ({}, "ChecksumCRC64NVME"),
        ]
    ):
        body = os.urandom(size) + bytes([number])
        # boto3 sends this one and does not compute it.
        sent = sent or {"ChecksumCRC64NVME": values(body)["ChecksumCRC64NVME"]}
        call = {"Bucket": bucket, "Key": f"k{number}"}
        answer = s3.put_object(**call, Body=body, **sent, **asked)
        assert told(answer) == {expected: values(body)[expected], "ChecksumType": "FULL_OBJECT"}
        head = s3.head_object(**call, ChecksumMode="ENABLED", **brought)
        assert told(head) == told(answer)
        assert told(s3.head_object(**call, **brought)) == {}
        got = s3.get_object(**call, ChecksumMode="ENABLED", **brought)
        assert (got["Body"].read(), told(got)) == (body, told(answer))
        if brought:
            assert refused(s3.head_object, **call, ChecksumMode="ENABLED").status == 400
            assert refused(s3.head_object, **call, ChecksumMode="ENABLED", **OTHER).status == 403
        asked_for = s3.get_object_attributes(**call, ObjectAttributes=["Checksum", "ObjectSize"], **brought)
        assert (asked_for["Checksum"], asked_for["ObjectSize"]) == (told(answer), len(body))
        assert_nowhere(endpoint, body)


@WAYS
def test_one_that_the_server_makes_by_itself(endpoint, bucket, asked, brought):
    plain = client_of(endpoint.url, endpoint, request_checksum_calculation="when_required")
    for size in (100, 400_000):
        body = os.urandom(size)
        answer = plain.put_object(Bucket=bucket, Key="k", Body=body, **asked)
        assert answer["ChecksumCRC64NVME"] == values(body)["ChecksumCRC64NVME"]
        head = plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **brought)
        assert head["ChecksumCRC64NVME"] == answer["ChecksumCRC64NVME"]
        assert_nowhere(endpoint, body)


@WAYS
@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), (None, None)])
def test_in_parts(s3, endpoint, bucket, refused, asked, brought, algorithm, kind):
    bodies = [os.urandom(5 * MIB), os.urandom(1000)]
    whole = b"".join(bodies)
    field = f"Checksum{algorithm or 'CRC64NVME'}"
    options = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind} if algorithm else {}
    call = {"Bucket": bucket, "Key": "mp"}
    call["UploadId"] = s3.create_multipart_upload(**call, **options, **asked)["UploadId"]
    listed = []
    for number, body in enumerate(bodies, 1):
        sent = {"ChecksumAlgorithm": algorithm} if algorithm else {field: values(body)[field]}
        part = s3.upload_part(**call, PartNumber=number, Body=body, **sent, **brought)
        assert part[field] == values(body)[field]
        listed.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
    shown = s3.list_parts(**call, **brought)["Parts"]
    assert [part[field] for part in shown] == [part[field] for part in listed]
    if brought:
        assert [told(part) for part in s3.list_parts(**call)["Parts"]] == [{}, {}]
        assert refused(s3.list_parts, **call, **OTHER).status == 403
        assert refused(s3.complete_multipart_upload, **call, MultipartUpload={"Parts": listed}, **OTHER).status == 403
    swapped = [{**listed[0], field: listed[1][field]}, listed[1]]
    answer = refused(s3.complete_multipart_upload, **call, MultipartUpload={"Parts": swapped}, **brought)
    assert answer.code == "InvalidPart"
    done = s3.complete_multipart_upload(**call, MultipartUpload={"Parts": listed}, **brought)
    if kind == "COMPOSITE":
        joined = b"".join(hashlib.sha256(body).digest() for body in bodies)
        expected = base64.b64encode(hashlib.sha256(joined).digest()).decode() + "-2"
    else:
        expected = values(whole)[field]
    assert (done[field], done["ChecksumType"]) == (expected, kind or "FULL_OBJECT")
    again = s3.complete_multipart_upload(**call, MultipartUpload={"Parts": listed}, **brought)
    assert (told(again), again["ETag"]) == (told(done), done["ETag"]), "a repeat is answered like the first"
    del call["UploadId"]
    head = s3.head_object(**call, ChecksumMode="ENABLED", **brought)
    assert told(head) == told(done)
    attributes = s3.get_object_attributes(**call, ObjectAttributes=["Checksum", "ObjectParts"], **brought)
    assert attributes["Checksum"] == told(done)
    assert attributes["ObjectParts"]["TotalPartsCount"] == 2
    got = s3.get_object(**call, ChecksumMode="ENABLED", **brought)
    assert (got["Body"].read(), told(got)) == (whole, told(done))
    assert_nowhere(endpoint, *bodies, whole)


@pytest.mark.parametrize("kind", ["COMPOSITE", None])
def test_an_upload_completed_without_the_customers_key_has_none(s3, endpoint, bucket, kind):
    """Amazon's asks for the key where the upload has checksums; older clients do not bring it, and are not refused."""
    body = os.urandom(1000)
    options = {"ChecksumAlgorithm": "SHA256", "ChecksumType": kind} if kind else {}
    call = {"Bucket": bucket, "Key": "mp"}
    call["UploadId"] = s3.create_multipart_upload(**call, **options, **CUSTOMER)["UploadId"]
    sent = {"ChecksumAlgorithm": "SHA256" if kind else "CRC32"}
    part = s3.upload_part(**call, PartNumber=1, Body=body, **sent, **CUSTOMER)
    listed = {"PartNumber": 1, "ETag": part["ETag"]} | {
        name: part[name] for name in told(part) if name != "ChecksumType"
    }
    done = s3.complete_multipart_upload(**call, MultipartUpload={"Parts": [listed]}, MpuObjectSize=1000)
    assert told(done) == {}
    again = s3.complete_multipart_upload(**call, MultipartUpload={"Parts": [listed]})
    assert (told(again), again["ETag"]) == ({}, done["ETag"])
    got = s3.get_object(Bucket=bucket, Key="mp", ChecksumMode="ENABLED", **CUSTOMER)
    assert (got["Body"].read(), told(got)) == (body, {})
    assert_nowhere(endpoint, body)


@WAYS
def test_copies(s3, endpoint, bucket, asked, brought):
    from_customer = {f"CopySource{name}": value for name, value in brought.items()}
    for size in (100, MIB):
        body = os.urandom(size)
        # What lies in the clear is gone from the search below: it is another body.
        s3.put_object(Bucket=bucket, Key="source", Body=body, ChecksumAlgorithm="SHA256", **asked)
        call = {"Bucket": bucket, "CopySource": f"{bucket}/source", **from_customer}
        for options, field in (({}, "ChecksumSHA256"), ({"ChecksumAlgorithm": "CRC32"}, "ChecksumCRC32")):
            answer = s3.copy_object(**call, Key="copy", **options, **asked)
            assert answer["CopyObjectResult"][field] == values(body)[field]
            head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED", **brought)
            assert head[field] == values(body)[field]
        call["CopySourceRange"] = "bytes=0-98"
        upload = s3.create_multipart_upload(Bucket=bucket, Key="mp", ChecksumAlgorithm="CRC32", **asked)["UploadId"]
        part = s3.upload_part_copy(**call, Key="mp", UploadId=upload, PartNumber=1, **brought)
        assert part["CopyPartResult"]["ChecksumCRC32"] == values(body[:99])["ChecksumCRC32"]
        s3.abort_multipart_upload(Bucket=bucket, Key="mp", UploadId=upload)
        assert_nowhere(endpoint, body, body[:99])
        s3.copy_object(Bucket=bucket, CopySource=f"{bucket}/source", Key="open", **from_customer)
        head = s3.head_object(Bucket=bucket, Key="open", ChecksumMode="ENABLED")
        assert head["ChecksumSHA256"] == values(body)["ChecksumSHA256"], "where nothing is encrypted, as ever"


def test_into_an_encrypted_bucket(s3, endpoint, bucket):
    setting = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [setting]})
    body = os.urandom(3000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.copy_object(Bucket=bucket, CopySource=f"{bucket}/k", Key="c")["CopyObjectResult"]["ChecksumCRC32"]
    post = s3.generate_presigned_post(bucket, "form")
    form = os.urandom(2000)
    lines = [
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in post["fields"].items()
    ]
    lines.append(b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n')
    parts = urllib.parse.urlsplit(post["url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(
        "POST",
        parts.path,
        b"".join(lines) + form + b"\r\n--frontier--\r\n",
        {"Content-Type": "multipart/form-data; boundary=frontier"},
    )
    answer = connection.getresponse()
    assert answer.status == 204
    assert answer.headers["x-amz-checksum-crc64nvme"] == values(form)["ChecksumCRC64NVME"]
    connection.close()
    head = s3.head_object(Bucket=bucket, Key="form", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == values(form)["ChecksumCRC64NVME"]
    assert_nowhere(endpoint, body, form)


def test_a_destroyed_key_leaves_none(s3, endpoint, bucket):
    name = f"sealed-{bucket}"
    with tv.open(endpoint.path) as vault:
        vault.store.keys.create(name)
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ChecksumAlgorithm="SHA256", SSEKMSKeyId=name, **KMS)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"]
    with tv.open(endpoint.path) as vault:
        destroy_key(vault.store, name)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (told(head), head["ContentLength"]) == ({}, 4)
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectSize"])
    assert ("Checksum" in attributes, attributes["ObjectSize"]) == (False, 4)


def test_a_server_that_was_just_started_opens_them(tmp_path):
    """Its keyring is not open yet, so that opening them waits, and the event loop must not."""
    with serving(tmp_path / "v") as served:
        client = client_of(f"http://127.0.0.1:{served.port}", served)
        client.create_bucket(Bucket="raw")
        client.put_object(Bucket="raw", Key="k", Body=b"body", ChecksumAlgorithm="SHA256", **KMS)
    expected = values(b"body")["ChecksumSHA256"]
    for ask in (
        lambda client: client.head_object(Bucket="raw", Key="k", ChecksumMode="ENABLED"),
        lambda client: client.get_object(Bucket="raw", Key="k", ChecksumMode="ENABLED"),
        lambda client: client.get_object_attributes(Bucket="raw", Key="k", ObjectAttributes=["Checksum"])["Checksum"],
        lambda client: client.copy_object(Bucket="raw", Key="c", CopySource="raw/k")["CopyObjectResult"],
    ):
        with serving(tmp_path / "v") as served:
            assert ask(client_of(f"http://127.0.0.1:{served.port}", served))["ChecksumSHA256"] == expected
