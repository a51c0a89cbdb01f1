"""Browser form uploads: boto3 signs the policy, the form is sent by hand."""

import hashlib
import http.client
import os
import urllib.parse
from xml.etree import ElementTree

import pytest


def send(post, content, filename="ticks.csv", order=None):
    boundary = "----tickvault-test"
    lines = []
    for name, value in (order or post["fields"]).items():
        lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    head += "Content-Type: text/csv\r\n\r\n"
    lines.append(f"--{boundary}\r\n{head}".encode() + content + f"\r\n--{boundary}--\r\n".encode())
    parts = urllib.parse.urlsplit(post["url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(
        "POST", parts.path, b"".join(lines), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    answer = connection.getresponse()
    answer.content = answer.read()
    connection.close()
    return answer


def signed(s3, bucket, key="form/${filename}", fields=None, conditions=()):
    fields = dict(fields or {})
    extra = [{name: value} for name, value in fields.items()] + list(conditions)
    return s3.generate_presigned_post(bucket, key, fields, extra)


@pytest.mark.parametrize("size", [0, 10, 300_000, 3 << 20])
def test_upload(s3, bucket, size):
    content = os.urandom(size)
    post = signed(s3, bucket, fields={"acl": "public-read", "Content-Type": "text/csv", "x-amz-meta-name": "Zürich"})
    answer = send(post, content)
    assert answer.status == 204, answer.content
    assert answer.getheader("etag") == f'"{hashlib.md5(content).hexdigest()}"'
    assert answer.getheader("location").endswith(f"/{bucket}/form/ticks.csv")
    got = s3.get_object(Bucket=bucket, Key="form/ticks.csv")
    assert got["Body"].read() == content
    assert got["ContentType"] == "text/csv"
    assert got["Metadata"]["name"] == "=?UTF-8?B?WsO8cmljaA==?="
    assert len(s3.get_object_acl(Bucket=bucket, Key="form/ticks.csv")["Grants"]) == 2


def test_answers(s3, bucket):
    answer = send(signed(s3, bucket, fields={"success_action_status": "201"}), b"x")
    assert answer.status == 201
    root = ElementTree.fromstring(answer.content)
    assert (root.findtext("Bucket"), root.findtext("Key")) == (bucket, "form/ticks.csv")
    assert send(signed(s3, bucket, fields={"success_action_status": "200"}), b"x").status == 200
    answer = send(signed(s3, bucket, fields={"success_action_redirect": "https://example.com/done?a=1"}), b"x")
    assert answer.status == 303
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.getheader("location")).query)
    assert (query["a"], query["bucket"], query["key"]) == (["1"], [bucket], ["form/ticks.csv"])


def test_tags(s3, bucket):
    tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    assert send(signed(s3, bucket, fields={"tagging": tagging}), b"x").status == 204
    assert s3.get_object_tagging(Bucket=bucket, Key="form/ticks.csv")["TagSet"] == [{"Key": "a", "Value": "1"}]


def test_refusals(s3, bucket):
    def code(answer):
        return answer.status, ElementTree.fromstring(answer.content).findtext("Code")

    limits = [["content-length-range", 5, 10]]
    assert code(send(signed(s3, bucket, conditions=limits), b"1234")) == (400, "EntityTooSmall")
    assert code(send(signed(s3, bucket, conditions=limits), b"1" * 11)) == (400, "EntityTooLarge")
    assert send(signed(s3, bucket, conditions=limits), b"12345").status == 204
    s3.delete_object(Bucket=bucket, Key="form/ticks.csv")
    post = signed(s3, bucket)
    assert code(send(post, b"x", order={**post["fields"], "x-amz-meta-other": "1"})) == (403, "AccessDenied")
    assert code(send(post, b"x", order={**post["fields"], "key": "elsewhere"})) == (403, "AccessDenied")
    wrong = {**post["fields"], "x-amz-signature": "0" * 64}
    assert code(send(post, b"x", order=wrong)) == (403, "SignatureDoesNotMatch")
    assert code(send(post, b"x", order={"key": "k"})) == (403, "AccessDenied")
    no_key = {name: value for name, value in post["fields"].items() if name != "key"}
    assert code(send(post, b"x", order=no_key)) == (400, "InvalidArgument")
    expired = s3.generate_presigned_post(bucket, "k", ExpiresIn=-10)
    assert code(send(expired, b"x")) == (403, "AccessDenied")
    elsewhere = {**post, "url": post["url"].replace(bucket, "no-such-bucket")}
    assert send(elsewhere, b"x").status in (403, 404)
    encrypted = signed(s3, bucket, fields={"x-amz-server-side-encryption": "wood"})
    assert code(send(encrypted, b"x")) == (400, "InvalidEncryptionAlgorithmError")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
