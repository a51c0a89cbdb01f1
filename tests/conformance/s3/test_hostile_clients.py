"""A served vault under requests that no honest client makes, byte for byte over plain sockets.

What must hold throughout: an answer that is HTTP and an error of S3's, never a 500; nothing of another key, bucket or
file is seen or changed; memory and descriptors stay where they were; honest clients are served meanwhile.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import os
import random
import shutil
import socket
import ssl
import threading
import time
import urllib.parse
from pathlib import Path

import boto3
import botocore.config
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from served_vault import fetch, self_made_certificate, serving

MIB = 1 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "vault"
    with serving(path, "--domain", "s3.vault.test") as served:
        yield served
    shutil.rmtree(path)  # more than should stay in a folder for temporary files


@pytest.fixture(scope="module")
def client(served):
    config = botocore.config.Config(
        signature_version="s3v4", retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    return boto3.client(
        "s3",
        endpoint_url=served.url,
        aws_access_key_id=served.access_key,
        aws_secret_access_key=served.secret_key,
        region_name="us-east-1",
        config=config,
    )


@pytest.fixture
def bucket(client):
    name = f"hostile-{os.getpid()}-{random.randrange(10**9)}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def sign(served):
    """Return the headers of a request, signed as they stand."""
    signer = S3SigV4Auth(Credentials(served.access_key, served.secret_key), "s3", "us-east-1")

    def signed(method, target, body=b"", headers=None):
        request = AWSRequest(method, served.url + target, headers=dict(headers or {}), data=body)
        signer.add_auth(request)
        return {"Host": f"{served.host}:{served.port}", **dict(request.headers.items())}

    return signed


@pytest.fixture
def presign(served):
    def signed(method, target, expires=60):
        request = AWSRequest(method, served.url + target)
        S3SigV4QueryAuth(Credentials(served.access_key, served.secret_key), "s3", "us-east-1", expires).add_auth(
            request
        )
        return request.url

    return signed


class Answer:
    """One answer read from a socket."""

    def __init__(self, connection):
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.names = [name.lower() for name, _ in answer.getheaders()]
        self.body = answer.read()

    @property
    def code(self):
        _, _, rest = self.body.partition(b"<Code>")
        return rest.partition(b"</Code>")[0].decode()


@pytest.fixture
def send(served):
    """Send bytes on a connection of their own and return the answer to them."""

    def sent(method, target, headers, body=b""):
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if (
            "Content-Length" not in headers
            and "Transfer-Encoding" not in headers
            and (body or method in ("PUT", "POST"))
        ):
            lines.append(f"Content-Length: {len(body)}")
        with socket.create_connection((served.host, served.port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            return Answer(connection)

    return sent


@pytest.fixture
def ask(sign, send):
    """Sign and send."""
    return lambda method, target, body=b"", headers=None: send(
        method, target, sign(method, target, body, headers), body
    )


def workers(served):
    """The processes that serve; the one that was started only looks after them."""
    return [int(pid) for pid in Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()]


def memory(served):
    """Resident bytes of the workers, without the pages of files."""
    total = 0
    for pid in workers(served):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


def descriptors(served):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers(served))


# -- names


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "..\\..\\etc\\passwd".replace("\\", "%5C"),
        "/etc/passwd",
        "//",
        ".",
        "a/./b//../c",
        "%252e%252e%252f",
        "~root",
        "%E2%80%AE%EF%BF%BD",
        "a%0d%0aSet-Cookie:%20x=1",
        "%01%1f%7f",
    ],
)
def test_a_key_is_nothing_but_a_name(ask, client, bucket, key):
    target = f"/{bucket}/{key}"
    assert ask("PUT", target, b"mine").status == 200
    got = ask("GET", target)
    assert (got.status, got.body) == (200, b"mine")
    (listed,) = client.list_objects_v2(Bucket=bucket, EncodingType="url")["Contents"]
    assert urllib.parse.unquote(listed["Key"]) == urllib.parse.unquote(key)
    assert "set-cookie" not in ask("GET", target + "-none").headers
    assert ask("DELETE", target).status == 204


@pytest.mark.parametrize(
    ("key", "codes"),
    [
        ("%", ("InvalidURI",)),
        ("%zz", ("InvalidURI",)),
        ("%ff%fe", ("InvalidURI",)),
        ("%c0%ae%c0%ae/etc/passwd", ("InvalidURI",)),
        ("%ed%a0%80", ("InvalidURI",)),
        ("k" * 1025, ("KeyTooLongError",)),
        ("%F0%9F%98%80" * 257, ("KeyTooLongError",)),
    ],
)
def test_keys_that_are_none(ask, bucket, key, codes):
    for method in ("PUT", "GET", "DELETE"):
        answer = ask(method, f"/{bucket}/{key}")
        assert (answer.status, answer.code) in [(400, code) for code in codes]


@pytest.mark.parametrize("name", ["..", "%2e%2e", "%00", "-a-", "A" * 20, "x" * 64, "192.168.1.1", "a..b", "_x"])
def test_bucket_names_that_are_none(ask, name):
    answer = ask("PUT", f"/{name}")
    assert answer.status == 400
    assert answer.code in ("InvalidBucketName", "NoSuchKey", "InvalidURI")
    assert ask("GET", f"/{name}").status in (400, 404)


def test_a_key_of_nul(ask, client, bucket):
    """Whether or not it is taken, it does not become another key."""
    ask("PUT", f"/{bucket}/a", b"a")
    answer = ask("PUT", f"/{bucket}/a%00b", b"other")
    assert answer.status in (200, 400)
    assert ask("GET", f"/{bucket}/a").body == b"a"
    assert ask("GET", f"/{bucket}/a%00").status in (400, 404)


@pytest.mark.parametrize(
    "host",
    [
        "..s3.vault.test",
        "a/b.s3.vault.test",
        "%2e%2e.s3.vault.test",
        ".s3.vault.test",
        "s3.vault.test.evil.test",
        "evil.test:80:80",
        "x" * 5000 + ".s3.vault.test",
        "[::1].s3.vault.test",
        "",
        "s3.vault.test, evil.test",
        "\xff.s3.vault.test",
    ],
)
def test_hosts_that_are_none(send, sign, bucket, host):
    headers = sign("GET", f"/{bucket}?list-type=2")
    answer = send("GET", f"/{bucket}?list-type=2", {**headers, "Host": host})
    assert 400 <= answer.status < 500


# -- signatures


def test_what_was_signed_cannot_be_changed(send, sign, ask, client, bucket):
    body = b"ten bytes!"
    target = f"/{bucket}/k"
    headers = sign("PUT", target, body, {"x-amz-meta-venue": "XCME", "Content-Type": "text/csv"})
    assert send("PUT", target, headers, body).status == 200
    attempts = {
        "another key": ("PUT", f"/{bucket}/other", headers, body),
        "another method": ("DELETE", target, headers, b""),
        "a subresource": ("PUT", f"{target}?acl", headers, body),
        "a version": ("PUT", f"{target}?versionId=null", headers, body),
        "another body": ("PUT", target, headers, b"ten bytes?"),
        "a shorter body": ("PUT", target, headers, b"ten bytes"),
        "other metadata": ("PUT", target, {**headers, "x-amz-meta-venue": "XEUR"}, body),
        "more metadata": ("PUT", target, {**headers, "x-amz-meta-more": "1"}, body),
        "a copy source": ("PUT", target, {**headers, "x-amz-copy-source": f"/{bucket}/k"}, body),
        "another acl": ("PUT", target, {**headers, "x-amz-acl": "public-read"}, body),
        "another type": ("PUT", target, {**headers, "Content-Type": "text/html"}, body),
        "no hash of the body": ("PUT", target, {**headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"other"),
        "another host": ("PUT", target, {**headers, "Host": "evil.test"}, body),
        "a host that is a bucket": ("PUT", "/k", {**headers, "Host": f"{bucket}.s3.vault.test"}, body),
        "an absolute target": ("PUT", f"http://evil.test{target}x", headers, body),
        "another time": ("PUT", target, {**headers, "X-Amz-Date": "20200101T000000Z"}, body),
        "another region": (
            "PUT",
            target,
            {**headers, "Authorization": headers["Authorization"].replace("us-east-1", "eu-west-1")},
            body,
        ),
        "half a signature": ("PUT", target, {**headers, "Authorization": headers["Authorization"][:-32]}, body),
        "no signature": ("PUT", target, {name: headers[name] for name in headers if name != "Authorization"}, body),
        "a signature of version 2": ("PUT", target, {**headers, "Authorization": "AWS a:b"}, body),
        "a password": ("PUT", target, {**headers, "Authorization": "Basic YTpi"}, body),
        "a header less": (
            "PUT",
            target,
            {**headers, "Authorization": headers["Authorization"].replace(";x-amz-meta-venue", "")},
            body,
        ),
    }
    for what, (method, place, sent, content) in attempts.items():
        answer = send(method, place, sent, content)
        assert answer.status in (400, 403), what
        assert answer.code, what
        assert b"XCME" not in answer.body or answer.code == "SignatureDoesNotMatch", what
    got = ask("GET", target)
    assert (got.body, got.headers["x-amz-meta-venue"], got.headers["content-type"]) == (body, "XCME", "text/csv")
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_an_error_never_holds_the_secret(served, send, sign, bucket):
    headers = sign("GET", f"/{bucket}")
    answer = send("GET", f"/{bucket}?x=1", headers)
    assert answer.code == "SignatureDoesNotMatch"
    assert served.secret_key.encode() not in answer.body


def test_old_and_future_signatures(served, send, monkeypatch, bucket):
    target = f"/{bucket}"
    for minutes, code in ((-20, "RequestTimeTooSkewed"), (20, "RequestTimeTooSkewed")):
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
        stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        empty = hashlib.sha256(b"").hexdigest()
        host = f"{served.host}:{served.port}"
        canonical = f"GET\n{target}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n"
        canonical += f"host;x-amz-content-sha256;x-amz-date\n{empty}"
        scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = b"AWS4" + served.secret_key.encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
        authorization = f"AWS4-HMAC-SHA256 Credential={served.access_key}/{scope},"
        authorization += f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}"
        headers = {"Host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp, "Authorization": authorization}
        answer = send("GET", target, headers)
        assert (answer.status, answer.code) == (403, code)


def test_presigned_urls_are_for_one_thing_and_one_time(presign, ask, bucket):
    ask("PUT", f"/{bucket}/k", b"body")
    url = presign("GET", f"/{bucket}/k")
    assert fetch(url).body == b"body"
    for what in (
        url.replace("/k?", "/other?"),
        url + "&versionId=null",
        url + "&response-content-type=text%2Fhtml",
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        url.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
        url + "&X-Amz-Expires=600",
        url.replace("aws4_request", "aws5_request"),
        url.partition("&X-Amz-Signature")[0],
    ):
        assert fetch(what).status in (400, 403), what
    assert fetch(url, "PUT", b"x").status == 403
    assert fetch(url, x_amz_acl="public-read").status == 403
    short = presign("GET", f"/{bucket}/k", 1)
    time.sleep(2.1)
    answer = fetch(short)
    assert answer.status == 403
    assert b"Request has expired" in answer.body
    assert fetch(presign("GET", f"/{bucket}/k", 604_801)).status == 400


def test_chunks_with_a_wrong_signature_leave_nothing(served, send, bucket, ask):
    headers = {
        "Host": f"{served.host}:{served.port}",
        "x-amz-decoded-content-length": "5",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "Content-Encoding": "aws-chunked",
    }

    class Streaming(S3SigV4Auth):
        def payload(self, request):
            return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    request = AWSRequest("PUT", f"{served.url}/{bucket}/k", headers=headers)
    Streaming(Credentials(served.access_key, served.secret_key), "s3", "us-east-1").add_auth(request)
    signed = {**headers, **dict(request.headers.items())}
    signed.pop("X-Amz-Content-SHA256", None)
    signed["x-amz-content-sha256"] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    wrong = "0" * 64
    for body in (
        f"5;chunk-signature={wrong}\r\nhello\r\n0;chunk-signature={wrong}\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        f"fffffffffffffffff;chunk-signature={wrong}\r\nhello",
        "",
    ):
        answer = send("PUT", f"/{bucket}/k", signed, body.encode())
        assert answer.status in (400, 403), body
        assert answer.code in ("SignatureDoesNotMatch", "IncompleteBody", "InvalidChunkSizeError", "InvalidRequest"), (
            body
        )
    assert ask("GET", f"/{bucket}/k").status == 404


# -- numbers and tokens


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("bytes=0-99999999999999999999", (200, 206), b"0123456789"),
        ("bytes=9-9223372036854775808", (200, 206), None),
        ("bytes=99999999999999999999-", (200, 416), None),
        ("bytes=-99999999999999999999", (200, 206), b"0123456789"),
        ("bytes=-0", (416,), None),
        ("bytes=" + "0-0," * 1000 + "1-1", (200,), b"0123456789"),
        ("bytes=5-2", (200, 416), None),
        ("bytes=1e1-", (200,), b"0123456789"),
    ],
)
def test_ranges_beyond_reason(ask, bucket, text, status, body):
    ask("PUT", f"/{bucket}/k", b"0123456789")
    answer = ask("GET", f"/{bucket}/k", headers={"Range": text})
    assert answer.status in status
    assert body is None or answer.body == body


@pytest.mark.parametrize(
    "number", ["0", "10001", "-1", "", "1.5", "99999999999999999999", "abc", "%D9%A3", "1%00", "%2B1"]
)
def test_part_numbers_that_are_none(ask, client, bucket, number):
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    answer = ask("PUT", f"/{bucket}/k?partNumber={number}&uploadId={upload_id}", b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "Parts" not in client.list_parts(Bucket=bucket, Key="k", UploadId=upload_id)


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=99999999999999999999",
        "max-keys=-1",
        "max-keys=%D9%A3",
        "list-type=99",
        "list-type=2&continuation-token=..%2F..%2Fetc",
        "list-type=2&continuation-token=%00",
        "list-type=2&continuation-token=" + "A" * 5000,
        "list-type=2&start-after=" + "A" * 5000,
        "prefix=%ff",
        "prefix=" + "A" * 5000,
        "delimiter=" + "%2F" * 1000,
        "marker=%00",
        "versions&version-id-marker=..%2Fx",
        "versions&key-marker=a&version-id-marker=%00",
        "uploads&upload-id-marker=..%2F",
        "uploads&key-marker=a&upload-id-marker=" + "9" * 400,
        "encoding-type=%0D%0A",
    ],
)
def test_listings_of_nonsense(ask, bucket, query):
    answer = ask("GET", f"/{bucket}?{query}")
    assert answer.status in (200, 400)
    assert answer.headers["content-type"] == "application/xml"


@pytest.mark.parametrize("token", ["..%2F..%2Fetc", "%00", "9" * 400, "-1", "null%00", "0x10", "%D9%A3"])
def test_ids_of_nonsense(ask, bucket, token):
    ask("PUT", f"/{bucket}/k", b"x")
    for method, query in (("GET", "versionId"), ("DELETE", "versionId"), ("GET", "uploadId"), ("DELETE", "uploadId")):
        answer = ask(method, f"/{bucket}/k?{query}={token}")
        assert 400 <= answer.status < 500 or (method, answer.status) == ("DELETE", 204)
    assert ask("GET", f"/{bucket}/k").body == b"x"


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/",
        "k",
        "//",
        "/../../etc/passwd",
        "%",
        "%ff/x",
        "{b}/",
        "{b}/k?versionId=..%2f",
        "{b}/k?versionId=",
        "{b}%00/k",
        "http://evil.test/{b}/k",
        "arn:aws:s3:us-east-1:0:accesspoint/x/object/k",
        "{b}/" + "k" * 1025,
    ],
)
def test_copies_of_nonsense(ask, bucket, source):
    ask("PUT", f"/{bucket}/k", b"x")
    answer = ask("PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": source.format(b=bucket)})
    assert 400 <= answer.status <= 501
    assert answer.status != 500
    assert ask("GET", f"/{bucket}/copy").status == 404


# -- documents

LAUGHS = b"<!DOCTYPE l [<!ENTITY a 'lol'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (name, b"&%c;" % (name - 1) * 10) for name in b"bcdefghijk"
)
DOCUMENTS = {
    "billion laughs": LAUGHS + b"]><Delete><Object><Key>&k;</Key></Object></Delete>",
    "external entity": b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><Delete><Object><Key>&x;</Key></Object></Delete>",
    "parameter entity": b"<!DOCTYPE d [<!ENTITY % x SYSTEM 'http://127.0.0.1:1/x'> %x;]><Delete/>",
    "deep": b"<Delete>" * 100_000,
    "wide": b"<Delete>" + b"<Object/>" * 200_000 + b"</Delete>",
    "long attribute": b"<Delete a='" + b"x" * 4_000_000 + b"'/>",
    "another encoding": b"<?xml version='1.0' encoding='utf-7'?><Delete/>",
    "utf-16": "<Delete><Object><Key>k</Key></Object></Delete>".encode("utf-16")[:-1],
    "nul": b"<Delete><Object><Key>k\x00</Key></Object></Delete>",
    "cut off": b"<Delete><Object><Key>k</Key>",
    "twice": b"<Delete></Delete><Delete></Delete>",
    "no xml": b"\x00\x01\x02{}",
    "empty": b"",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_are_bombs(served, ask, bucket, name):
    body = DOCUMENTS[name]
    ask("PUT", f"/{bucket}/k", b"x")
    before = memory(served)
    started = time.monotonic()
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    for query in ("delete", "tagging", "lifecycle", "cors", "versioning", "acl"):
        answer = ask("POST" if query == "delete" else "PUT", f"/{bucket}?{query}", body, md5)
        assert answer.status in (400, 411, 501), (query, answer.body)
        assert b"root:" not in answer.body
    assert time.monotonic() - started < 10
    assert memory(served) - before < 100 * MIB
    assert ask("GET", f"/{bucket}/k").body == b"x"


# -- what is stored and sent back


def test_control_characters_cannot_split_an_answer(ask, sign, send, client, bucket):
    target = f"/{bucket}/k"
    for value in ("a\x01b", "a\x7fb", "a\x0bb"):
        answer = ask("PUT", target, b"x", {"x-amz-meta-a": value})
        assert answer.status in (200, 400)
        if answer.status == 200:
            got = ask("GET", target)
            assert got.status == 200
            assert got.names.count("content-length") == 1
    rule = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    for evil in (
        "<ExposeHeader>*</ExposeHeader>",
        "<ExposeHeader>a&#13;&#10;Set-Cookie: x=1</ExposeHeader>",
        "<AllowedHeader>a&#10;b</AllowedHeader>",
        "<ExposeHeader>\u2028</ExposeHeader>",
    ):
        document = f"<CORSConfiguration>{rule}{evil}</CORSRule></CORSConfiguration>".encode()
        answer = ask("PUT", f"/{bucket}?cors", document)
        if answer.status == 200:
            got = ask("GET", target, headers={"Origin": "http://evil.test"})
            assert "set-cookie" not in got.headers
            assert got.status in (200, 404), (evil, got.body)
        else:
            assert answer.status == 400
    got = ask("GET", target, headers={"Origin": "http://evil.test\x01"})
    assert got.status < 500


def test_a_form_cannot_store_what_would_split_an_answer(served, client, send, ask, bucket):
    for field, value in (
        ("x-amz-meta-a", "a\r\nSet-Cookie: x=1"),
        ("Content-Type", "text/html\r\nSet-Cookie: x=1"),
        ("Content-Disposition", "a\nb"),
        ("x-amz-website-redirect-location", "/\r\nSet-Cookie: x=1"),
        ("x-amz-meta-b\r\nSet-Cookie", "x"),
        ("success_action_redirect", "http://good.test/\r\nSet-Cookie: x=1"),
    ):
        name = "a" if field.startswith("x-amz-meta-b") else field
        conditions = [["starts-with", f"${name}", ""]]
        post = client.generate_presigned_post(bucket, "k", Conditions=conditions)
        fields = {**post["fields"], field: value}
        boundary = "b0undary"
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'.encode()
            for key, text in fields.items()
        )
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()
        body += f"x\r\n--{boundary}--\r\n".encode()
        headers = {
            "Host": f"{served.host}:{served.port}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        answer = send("POST", f"/{bucket}", headers, body)
        assert "set-cookie" not in answer.headers, field
        assert answer.status < 500, (field, answer.body)
        got = ask("GET", f"/{bucket}/k")
        assert "set-cookie" not in got.headers, field
        # What was taken can be read again; what could not be read again was not taken.
        assert got.status == (200 if answer.status in (200, 204, 303) else 404), (field, answer.status, got.body)
        ask("DELETE", f"/{bucket}/k")


# -- too much


@pytest.mark.parametrize(
    ("start", "filler", "code"),
    [
        (b"GET /", b"v" * 1000, "InvalidURI"),
        (b"GET / HTTP/1.1\r\nX: ", b"v" * 1000, "RequestHeaderSectionTooLarge"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"X-Filler: " + b"v" * 988 + b"\r\n", "RequestHeaderSectionTooLarge"),
    ],
)
def test_a_hundred_megabytes_of_headers(served, start, filler, code):
    """It is refused at once; what still comes is dropped for a moment, so that the client can read why."""
    before = memory(served)
    with socket.create_connection((served.host, served.port), timeout=20) as connection:
        connection.sendall(start)
        try:
            for _ in range(100):
                connection.sendall(filler * 1000)
        except OSError:
            pass
        answer = Answer(connection)
        assert answer.code == code
        assert answer.headers["connection"] == "close"
        connection.settimeout(10)
        assert connection.recv(1) == b""
    assert memory(served) - before < 20 * MIB


def test_a_large_body_does_not_take_its_size_in_memory(served, presign, ask, bucket):
    """600 MB, made up as it is sent; a body of 5 GiB takes the same path."""
    size = 600 * MIB
    piece = bytes(range(256)) * 4096
    before = memory(served)
    highest = before
    parts = urllib.parse.urlsplit(presign("PUT", f"/{bucket}/large"))
    digest = hashlib.md5()
    with socket.create_connection((served.host, served.port), timeout=120) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for number in range(size // MIB):
            connection.sendall(piece)
            digest.update(piece)
            if number % 10 == 0:
                highest = max(highest, memory(served))
        answer = Answer(connection)
    assert answer.status == 200
    assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
    parts = urllib.parse.urlsplit(presign("GET", f"/{bucket}/large"))
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    received = 0
    digest_back = hashlib.md5()
    while data := answer.read(MIB):
        received += len(data)
        digest_back.update(data)
        if received % (10 * MIB) < MIB:
            highest = max(highest, memory(served))
    connection.close()
    assert digest_back.digest() == digest.digest()
    assert highest - before < 64 * MIB
    ask("DELETE", f"/{bucket}/large")


def test_clients_that_go_away_leave_no_descriptor_behind(served, presign, ask, client, bucket):
    client.put_object(Bucket=bucket, Key="k", Body=bytes(8 * MIB))
    time.sleep(0.2)
    before = descriptors(served)
    get = urllib.parse.urlsplit(presign("GET", f"/{bucket}/k"))
    put = urllib.parse.urlsplit(presign("PUT", f"/{bucket}/half"))
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # close with a reset
    for number in range(60):
        connection = socket.create_connection((served.host, served.port), timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if number % 3 == 0:
            connection.sendall(f"GET {get.path}?{get.query} HTTP/1.1\r\nHost: {get.netloc}\r\n\r\n".encode())
            connection.recv(100)
        elif number % 3 == 1:
            head = f"PUT {put.path}?{put.query} HTTP/1.1\r\nHost: {put.netloc}\r\nContent-Length: {8 * MIB}\r\n\r\n"
            connection.sendall(head.encode() + bytes(MIB))
        else:
            connection.sendall(b"GET / HT")
        connection.close()
    deadline = time.monotonic() + 10
    while descriptors(served) > before + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert descriptors(served) <= before + 2
    assert ask("GET", f"/{bucket}/half").status == 404
    assert ask("GET", f"/{bucket}/k").status == 200


def test_slow_clients_do_not_slow_the_others(served, ask, bucket):
    ask("PUT", f"/{bucket}/k", b"x")
    slow = []
    try:
        for number in range(400):
            connection = socket.create_connection((served.host, served.port), timeout=20)
            connection.sendall(
                b"GET /" if number % 2 else b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nX: "
            )
            slow.append(connection)
        started = time.monotonic()
        for _ in range(50):
            for connection in slow[::40]:
                connection.sendall(b"v")
            assert ask("GET", f"/{bucket}/k").body == b"x"
        assert time.monotonic() - started < 5
    finally:
        for connection in slow:
            connection.close()


# -- anything


def test_a_thousand_damaged_requests(served, sign, ask, bucket):
    """Each is a good request with some bytes changed, left out or repeated; the seed makes them the same every time."""
    seed = random.Random(20260105)
    ask("PUT", f"/{bucket}/k", b"unharmed")
    templates = []
    for method, target, body, headers in (
        ("GET", f"/{bucket}/k", b"", {"Range": "bytes=1-3"}),
        ("PUT", f"/{bucket}/new", b"0123456789", {"x-amz-meta-a": "b", "Content-Type": "text/csv"}),
        ("GET", f"/{bucket}?list-type=2&prefix=a&max-keys=3", b"", {}),
        ("POST", f"/{bucket}?delete", b"<Delete><Object><Key>none</Key></Object></Delete>", {}),
        ("PUT", f"/{bucket}/copy", b"", {"x-amz-copy-source": f"/{bucket}/k"}),
    ):
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in sign(method, target, body, headers).items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        templates.append("\r\n".join(lines).encode() + body)
    statuses = set()
    lock = threading.Lock()

    def attack(attempts):
        for data in attempts:
            with socket.create_connection((served.host, served.port), timeout=30) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                try:
                    while piece := connection.recv(65536):
                        answer += piece
                except ConnectionResetError:
                    continue
            if answer:
                assert answer.startswith(b"HTTP/1.1 "), data
                with lock:
                    statuses.add((int(answer[9:12]), data if answer[9:10] == b"5" else b""))

    attempts = []
    for _ in range(1000):
        data = bytearray(seed.choice(templates))
        for _ in range(seed.choice((1, 1, 2, 5))):
            place = seed.randrange(len(data))
            kind = seed.randrange(4)
            if kind == 0:
                data[place] = seed.randrange(256)
            elif kind == 1:
                del data[place : place + seed.choice((1, 2, 10))]
            elif kind == 2:
                data[place:place] = data[place : place + seed.choice((1, 4, 40))]
            else:
                data[place:place] = seed.choice(
                    (b"\r\n", b"\0", b"%", b" ", b":", b"%00", b"\xff", b"=", b";", b"&", b"/")
                )
        attempts.append(bytes(data))
    threads = [threading.Thread(target=attack, args=(attempts[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in statuses} >= {400, 403}
    assert [data for status, data in statuses if status >= 500 and status not in (501, 503)] == []
    assert ask("GET", f"/{bucket}/k").body == b"unharmed"


def test_an_upload_of_nothing_is_invited_too(served, sign, bucket):
    """An ``Expect`` with an empty body was answered at once; botocore then read the next answer wrongly and hung.

    aws s3 sync of a tree with an empty file did so: its connection takes a final answer in place of the invitation as
    one to a request whose body was not wanted, and keeps its status for the next answer on that connection.
    """
    target = f"/{bucket}/empty"
    headers = {**sign("PUT", target), "Content-Length": "0", "Expect": "100-continue"}
    with socket.create_connection((served.host, served.port), timeout=20) as connection:
        lines = [f"PUT {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        received = b""
        while received.count(b"\r\n\r\n") < 2:
            received += connection.recv(4096)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_put_that_does_not_say_its_length_stores_nothing(sign, served, ask, bucket):
    """The story: a PUT with neither Content-Length nor Transfer-Encoding was answered 200 and made an empty object,
    where S3 answers 411; what is no upload needs no length, there as here."""

    def bare(method, target, headers=None):
        lines = [f"{method} {target} HTTP/1.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in sign(method, target, headers=headers).items()]
        with socket.create_connection((served.host, served.port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            return Answer(connection)

    answer = bare("PUT", f"/{bucket}/k")
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert ask("HEAD", f"/{bucket}/k").status == 404
    assert bare("PUT", f"/{bucket}/k", {"Content-Length": "0"}).status == 200
    assert bare("PUT", f"/{bucket}/copy", {"x-amz-copy-source": f"/{bucket}/k"}).status == 200
    assert bare("PUT", f"/{bucket}/k?acl", {"x-amz-acl": "public-read"}).status == 200
    assert bare("PUT", f"/{bucket}-2").status == 200


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_an_upload_that_cannot_be_is_not_invited(served, sign, ask, bucket, size):
    """The story: with ``Expect: 100-continue`` a client was told to send its body, and only then that the bucket did
    not exist, or that the key was taken."""
    ask("PUT", f"/{bucket}/taken", b"x")
    for target, more, expected in (
        (f"/{bucket}-none/k", {}, (404, "NoSuchBucket")),
        (f"/{bucket}/taken", {"If-None-Match": "*"}, (412, "PreconditionFailed")),
        (f"/{bucket}/k", {"If-Match": '"0"'}, (404, "NoSuchKey")),
        (f"/{bucket}/k?partNumber=1&uploadId=none", {}, (404, "NoSuchUpload")),
        (f"/{bucket}/k", {"Content-MD5": "AAAA"}, (400, "InvalidDigest")),
        (f"/{bucket}/k", {"Authorization": "AWS4-HMAC-SHA256 none"}, (400, "AuthorizationHeaderMalformed")),
    ):
        headers = {**sign("PUT", target, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}), **more}
        headers |= {"Content-Length": size, "Expect": "100-continue"}
        lines = [f"PUT {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        with socket.create_connection((served.host, served.port), timeout=20) as connection:
            connection.sendall("\r\n".join(lines).encode())
            answer = Answer(connection)
            assert (answer.status, answer.code) == expected, target
            assert answer.headers["connection"] == "close"
            assert connection.recv(1) == b""


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_an_upload_that_ends_early_is_told_so_and_stores_nothing(served, sign, ask, bucket, size):
    """The story: a small upload that was cut short got no answer, and only a large one its 400."""
    target = f"/{bucket}/k"
    for more, body in (
        ({}, b"0123456789"),
        (
            {
                "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "x-amz-decoded-content-length": f"{size - 20}",
            },
            b"10\r\n012345",
        ),
    ):
        headers = sign("PUT", target, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD", **more})
        lines = [f"PUT {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        with socket.create_connection((served.host, served.port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, f"Content-Length: {size}", "", ""]).encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = Answer(connection)
            assert (answer.status, answer.code) == (400, "IncompleteBody")
            assert connection.recv(1) == b""
    assert ask("HEAD", target).status == 404


def test_a_server_of_tls_does_not_wait_for_idle_clients_to_agree_to_its_end(tmp_path):
    """One that kept its connection for later held the end up for 30 s."""
    certificate, key = self_made_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    with serving(tmp_path / "vault", "--cert", certificate, "--key", key) as served:
        connection = socket.create_connection((served.host, served.port), timeout=20)
        idle = context.wrap_socket(connection, server_hostname="localhost")
        idle.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 403"
        told = time.monotonic()
    assert time.monotonic() - told < 20
    idle.close()
