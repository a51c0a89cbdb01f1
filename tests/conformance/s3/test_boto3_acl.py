"""Canned ACLs with boto3, and what they open to requests without a signature."""

import http.client
import urllib.parse

import pytest

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def grants(answer):
    return {(grant["Grantee"].get("URI", "owner"), grant["Permission"]) for grant in answer["Grants"]}


PRIVATE = {("owner", "FULL_CONTROL")}
PUBLIC = PRIVATE | {(ALL_USERS, "READ")}


def test_private_unless_said_otherwise(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == PRIVATE
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k")) == PRIVATE
    assert s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]


def test_bucket_acls(s3, bucket, refused):
    for acl, expected in (
        ("public-read", PUBLIC),
        ("public-read-write", PUBLIC | {(ALL_USERS, "WRITE")}),
        ("authenticated-read", PRIVATE | {(ALL_USERS.replace("AllUsers", "AuthenticatedUsers"), "READ")}),
        ("private", PRIVATE),
    ):
        s3.put_bucket_acl(Bucket=bucket, ACL=acl)
        assert grants(s3.get_bucket_acl(Bucket=bucket)) == expected
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="log-delivery-write") == (501, "NotImplemented")
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="everyone") == (400, "InvalidArgument")
    assert refused(s3.put_bucket_acl, Bucket=bucket, GrantRead='id="x"') == (501, "NotImplemented")
    assert refused(s3.put_bucket_acl, Bucket=bucket) == (400, "MissingSecurityHeader")


def test_an_acl_that_spells_out_a_canned_one(s3, bucket, refused):
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]
    mine = {"Grantee": {"Type": "CanonicalUser", "ID": owner["ID"]}, "Permission": "FULL_CONTROL"}
    anyone = {"Grantee": {"Type": "Group", "URI": ALL_USERS}, "Permission": "READ"}
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": owner, "Grants": [mine, anyone]})
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == PUBLIC
    other = {"Grantee": {"Type": "CanonicalUser", "ID": "0" * 64}, "Permission": "READ"}
    for unusual in ([mine, other], [mine, {**anyone, "Permission": "WRITE_ACP"}]):
        call = {"Bucket": bucket, "AccessControlPolicy": {"Owner": owner, "Grants": unusual}}
        assert refused(s3.put_bucket_acl, **call) == (501, "NotImplemented")
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == PUBLIC


def test_object_acls(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1", ACL="public-read")
    assert grants(s3.get_object_acl(Bucket=versioned, Key="k")) == PUBLIC
    before = s3.head_object(Bucket=versioned, Key="k")
    s3.put_object_acl(Bucket=versioned, Key="k", ACL="private")
    assert grants(s3.get_object_acl(Bucket=versioned, Key="k")) == PRIVATE
    s3.put_object_acl(Bucket=versioned, Key="k", ACL="public-read")
    after = s3.head_object(Bucket=versioned, Key="k")
    for name in ("LastModified", "VersionId", "ETag"):
        assert after[name] == before[name]
    s3.put_object(Bucket=versioned, Key="k", Body=b"2", ACL="bucket-owner-full-control")
    assert grants(s3.get_object_acl(Bucket=versioned, Key="k")) == PRIVATE
    named = {"Bucket": versioned, "Key": "k", "VersionId": first["VersionId"]}
    assert grants(s3.get_object_acl(**named)) == PUBLIC
    s3.put_object_acl(**named, ACL="private")
    assert grants(s3.get_object_acl(**named)) == PRIVATE
    assert refused(s3.put_object_acl, Bucket=versioned, Key="no", ACL="private") == (404, "NoSuchKey")


@pytest.fixture(scope="module")
def open_s3(open_endpoint, client_for):
    return client_for(open_endpoint)


def test_unsigned_requests_read_what_is_public_and_nothing_else(open_endpoint, open_s3):
    """On a server that was told to answer them; `test_an_unsigned_request_is_refused` is the other half."""
    s3 = open_s3
    s3.create_bucket(Bucket="closed")
    s3.create_bucket(Bucket="listed", ACL="public-read-write")
    for bucket in ("closed", "listed"):
        s3.put_object(Bucket=bucket, Key="private", Body=b"x")
        s3.put_object(Bucket=bucket, Key="public", Body=b"0123456789", ACL="public-read")

    def ask(method, path, body=None, **headers):
        parts = urllib.parse.urlsplit(open_endpoint.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    assert ask("GET", "/closed/public") == (200, b"0123456789")
    assert ask("GET", "/closed/public", Range="bytes=1-2") == (206, b"12")
    assert ask("HEAD", "/closed/public") == (200, b"")
    assert ask("GET", "/listed/public") == (200, b"0123456789")
    assert ask("GET", "/listed")[0] == ask("GET", "/listed?list-type=2")[0] == ask("HEAD", "/listed")[0] == 200
    # What is missing is told only where the bucket may be listed.
    assert ask("GET", "/closed/missing")[0] == 403
    assert ask("GET", "/listed/missing")[0] == 404
    for method, path in (
        ("GET", "/"),
        ("GET", "/closed"),
        ("HEAD", "/closed"),
        ("GET", "/closed?list-type=2"),
        ("GET", "/closed/private"),
        ("GET", "/listed/private"),
        ("HEAD", "/listed/private"),
        ("PUT", "/listed/new"),
        ("DELETE", "/listed/public"),
        ("PUT", "/new-bucket"),
        ("DELETE", "/listed"),
        ("GET", "/listed?acl"),
        ("GET", "/listed/public?tagging"),
        ("GET", "/listed?versions"),
        ("POST", "/listed?delete"),
        ("POST", "/listed/x?uploads"),
        ("GET", "/listed?uploads"),
    ):
        status, content = ask(method, path, b"" if method in ("PUT", "POST") else None)
        assert (status, method == "HEAD" or b"AccessDenied" in content) == (403, True), (
            method,
            path,
            content,
        )
    assert ask("GET", "/closed/public?response-content-type=text/html")[0] == 400
    assert ask("GET", "/no-such-bucket/k")[0] == 404
