"""Ways to get what one may not have: each of them was open somewhere once, none is here."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import subprocess
import sys
import time

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from identity_world import ACCOUNT, Signing, World, code, denial, document, served, statement, trust

S3 = "arn:aws:s3:::"
_COMMAND = "from tickvault.cli.app import main; main()"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("attacks") / "data") as world:
        yield world


@pytest.fixture(scope="module")
def places(world: World):
    """A bucket that is open to the attacker, and one that is not."""
    mine, theirs = world.bucket(versioned=True), world.bucket(versioned=True)
    world.vault.bucket(theirs).put("secret", b"old secret")
    world.vault.bucket(theirs).put("secret", b"secret", tags={"a": "b"})
    world.vault.bucket(mine).put("k", b"old")
    world.vault.bucket(mine).put("k", b"new")
    return mine, theirs


@pytest.fixture(scope="module")
def mallory(world, places):
    return world.user(statement("Allow", "s3:*", [f"{S3}{places[0]}", f"{S3}{places[0]}/*"]), name="mallory")


def test_through_the_source_of_a_copy(world, places, mallory):
    mine, theirs = places
    version = world.vault.bucket(theirs).head("secret").version_id
    for source in (
        f"{theirs}/secret",
        f"/{theirs}/secret",
        f"{theirs}/secret?versionId={version}",
        {"Bucket": theirs, "Key": "secret", "VersionId": version},
        f"{theirs}/no-such-key",
        f"{theirs}/%73ecret",
        f"{mine}/../{theirs}/secret",
    ):
        denied = code(mallory.s3.copy_object, Bucket=mine, Key="stolen", CopySource=source)
        assert denied in ("AccessDenied", "NoSuchKey"), source
        assert denied == "AccessDenied" or ".." in str(source), "a key of dots is a key of the same bucket"
    assert code(world.root.head_object, Bucket=mine, Key="stolen") == "404"
    # A user of both rights copies; the tags of the source take two rights more.
    thief = world.user(
        statement("Allow", "s3:GetObject", f"{S3}{theirs}/*"), statement("Allow", "s3:PutObject", f"{S3}{mine}/*")
    )
    denial(thief.s3.copy_object, Bucket=mine, Key="copy", CopySource=f"{theirs}/secret")
    denial(thief.s3.copy_object, Bucket=mine, Key="copy", CopySource=f"{theirs}/secret?versionId={version}")
    thief.s3.copy_object(Bucket=mine, Key="copy", CopySource=f"{theirs}/secret", TaggingDirective="REPLACE")
    denial(
        thief.s3.copy_object, Bucket=mine, Key="copy", CopySource=f"{theirs}/secret", TaggingDirective="REPLACE",
        Tagging="x=y",
    )  # fmt: skip
    # Whether a source is there is told to those who may list its bucket.
    missing = {"Bucket": mine, "Key": "copy", "CopySource": f"{theirs}/no-such-key"}
    denial(thief.s3.copy_object, **missing)
    assert code(world.root.copy_object, **missing) == "NoSuchKey"
    # The source's bucket may deny, whatever the destination's says.
    world.root.put_bucket_policy(
        Bucket=theirs,
        Policy=document(statement("Deny", "s3:GetObject", f"{S3}{theirs}/*", Principal={"AWS": thief.arn})),
    )
    options = {"Bucket": mine, "Key": "copy", "CopySource": f"{theirs}/secret", "TaggingDirective": "REPLACE"}
    denial(thief.s3.copy_object, **options)
    world.root.delete_bucket_policy(Bucket=theirs)


def test_through_a_part_that_is_copied(world, places, mallory):
    mine, theirs = places
    upload = mallory.s3.create_multipart_upload(Bucket=mine, Key="stolen")["UploadId"]
    named = {"Bucket": mine, "Key": "stolen", "UploadId": upload, "PartNumber": 1}
    version = world.vault.bucket(theirs).head("secret").version_id
    for source in (f"{theirs}/secret", f"{theirs}/secret?versionId={version}", f"{theirs}/no-such-key"):
        denial(mallory.s3.upload_part_copy, CopySource=source, **named)
        denial(mallory.s3.upload_part_copy, CopySource=source, CopySourceRange="bytes=0-1", **named)
    mallory.s3.upload_part_copy(CopySource=f"{mine}/k", **named)
    theirs_upload = world.root.create_multipart_upload(Bucket=theirs, Key="x")["UploadId"]
    denial(
        mallory.s3.upload_part_copy, Bucket=theirs, Key="x", UploadId=theirs_upload, PartNumber=1,
        CopySource=f"{mine}/k",
    )  # fmt: skip


def test_through_a_list_of_deletes(world, places):
    mine, _ = places
    bucket = world.vault.bucket(mine)
    for key in ("in/1", "in/2", "out/1"):
        bucket.put(key, b"1")
    versions = {key: bucket.head(key).version_id for key in ("in/2", "out/1")}
    eve = world.user(statement("Allow", "s3:DeleteObject", f"{S3}{mine}/in/*"))
    listed = [
        {"Key": "in/1"},
        {"Key": "out/1"},
        {"Key": "in/2", "VersionId": versions["in/2"]},
        {"Key": "out/1", "VersionId": versions["out/1"]},
        {"Key": "in/../out/1"},
        {"Key": "IN/1"},
    ]
    answer = eve.s3.delete_objects(Bucket=mine, Delete={"Objects": listed})
    assert [one["Key"] for one in answer["Deleted"]] == ["in/1", "in/../out/1"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [
        ("out/1", "AccessDenied"),
        ("in/2", "AccessDenied"),
        ("out/1", "AccessDenied"),
        ("IN/1", "AccessDenied"),
    ]
    assert "s3:DeleteObjectVersion" in answer["Errors"][1]["Message"]
    assert bytes(bucket.get("out/1")) == bytes(bucket.get("in/2")) == b"1"
    assert code(eve.s3.delete_objects, Bucket="no-such-bucket", Delete={"Objects": listed}) == "NoSuchBucket"


def test_through_a_version(world, places):
    """The right to the current version is not that to older ones."""
    mine, _ = places
    old = next(info for info in world.vault.bucket(mine).versions("k") if not info.is_latest).version_id
    eve = world.user(statement("Allow", ["s3:GetObject", "s3:DeleteObject", "s3:*Tagging"], f"{S3}{mine}/*"),
                     statement("Deny", "s3:*ObjectVersion*", "*"))  # fmt: skip
    named = {"Bucket": mine, "Key": "k", "VersionId": old}
    assert eve.s3.get_object(Bucket=mine, Key="k")["Body"].read() == b"new"
    for call in (eve.s3.get_object, eve.s3.head_object, eve.s3.delete_object, eve.s3.get_object_tagging):
        denial(call, **named)
    denial(eve.s3.delete_object_tagging, **named)
    denial(eve.s3.put_object_tagging, Tagging={"TagSet": []}, **named)
    denial(eve.s3.get_object_attributes, ObjectAttributes=["ETag"], **named)
    denial(eve.s3.get_object, Bucket=mine, Key="k", VersionId=world.vault.bucket(mine).head("k").version_id)
    denial(eve.s3.get_object, Bucket=mine, Key="k", VersionId="null")


def test_listing_what_one_may_not_read(world, places, mallory):
    _, theirs = places
    for call in (
        mallory.s3.list_objects, mallory.s3.list_objects_v2, mallory.s3.list_object_versions,
        mallory.s3.list_multipart_uploads, mallory.s3.head_bucket, mallory.s3.get_bucket_location,
        mallory.s3.get_bucket_tagging, mallory.s3.get_bucket_notification_configuration,
    ):  # fmt: skip
        denial(call, Bucket=theirs)
    denial(mallory.s3.list_buckets)
    # What is there and what is not look the same.
    told = {denial(mallory.s3.get_object, Bucket=theirs, Key=key).replace(key, "") for key in ("secret", "nothing")}
    assert len(told) == 1


def test_through_a_service_account(world, places):
    mine, theirs = places
    alice = world.user(policies=("reader",))
    greedy = alice.account(document(statement("Allow", "*")))
    greedy.s3.get_object(Bucket=mine, Key="k")
    denial(greedy.s3.put_object, Bucket=mine, Key="k", Body=b"x")
    denial(greedy.s3.put_bucket_policy, Bucket=mine, Policy="{}")
    name = world.name("role")
    world.identities.create_role(name, trust(alice.arn))
    world.identities.attach_policy("administrator", role=name)
    narrow = alice.account(document(statement("Allow", "s3:GetObject", f"{S3}{mine}/*")))
    assert code(narrow.sts.assume_role, RoleArn=f"{ACCOUNT}:role/{name}", RoleSessionName="xx") == "AccessDenied"
    denial(narrow.s3.get_object, Bucket=theirs, Key="secret")


def signed_get(world, signer, path, *, when=None, service="s3", change=None):
    """Sign a GET as of another time, or for another service, change it, and send it."""
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        Credentials(signer.access_key, signer.secret, signer.token), service, "us-east-1"
    )
    request = AWSRequest("GET", world.endpoint + path)
    if when is not None:
        moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
        with pytest.MonkeyPatch.context() as patch:
            import botocore.auth

            patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment, raising=False)

            class Frozen(datetime.datetime):
                @classmethod
                def utcnow(cls):
                    return moment.replace(tzinfo=None)

            if hasattr(botocore.auth, "datetime"):
                module = botocore.auth.datetime
                patch.setattr(
                    botocore.auth, "datetime",
                    Frozen if isinstance(module, type) else type("module", (), {"datetime": Frozen}),
                )  # fmt: skip
            auth.add_auth(request)
    else:
        auth.add_auth(request)
    headers = dict(request.headers.items())
    if change is not None:
        change(headers)
    return world.raw("GET", path, b"", headers)


def test_old_skewed_and_borrowed_signatures(world, places, mallory):
    mine, _ = places
    path = f"/{mine}/k"
    now = time.time()
    assert signed_get(world, mallory, path) == (200, "")
    assert signed_get(world, mallory, path, when=now - 600) == (200, "")
    for when in (now - 3600, now + 3600, now - 86_400):
        assert signed_get(world, mallory, path, when=when) == (403, "RequestTimeTooSkewed")
    assert signed_get(world, mallory, path, service="sts")[0] == 400
    # Another's signature under one's own name, and one's own under another's.
    alice = world.user(policies=("administrator",))

    def borrow(headers):
        headers["Authorization"] = headers["Authorization"].replace(mallory.access_key, alice.access_key)

    assert signed_get(world, mallory, path, change=borrow) == (403, "SignatureDoesNotMatch")
    unknown = Signing(world, "x", "TVAKAAAAAAAAAAAAAAAA", "y" * 40)
    assert signed_get(world, unknown, path) == (403, "InvalidAccessKeyId")
    for odd in ("TVAK/../user/alice1", "TVAK", "x" * 200, "TVAKAAAAAAAAAAAAAAA\xe9"):
        assert signed_get(world, Signing(world, "x", odd, "y" * 40), path)[0] in (400, 403)


@pytest.fixture(scope="module")
def session(world, places, mallory):
    name = world.name("role")
    world.identities.create_role(name, trust(mallory.arn))
    world.identities.put_inline_policy(
        "own", document(statement("Allow", "s3:GetObject", f"{S3}{places[0]}/*")), role=name
    )
    return mallory.assume(name)


def test_smuggled_tokens(world, places, mallory, session):
    path = f"/{places[0]}/k"
    assert signed_get(world, session, path) == (200, "")

    def drop(headers):
        del headers["X-Amz-Security-Token"]

    def alter(headers):
        headers["X-Amz-Security-Token"] = headers["X-Amz-Security-Token"][:-2] + "AA"

    def add(headers):
        headers["X-Amz-Security-Token"] = session.token

    assert signed_get(world, session, path, change=drop)[0] == 403
    assert signed_get(world, session, path, change=alter) == (400, "InvalidToken")
    # A lasting key takes no token, and one that was not signed is not looked at.
    assert signed_get(world, mallory, path, change=add)[0] in (400, 403)
    both = Signing(world, "x", mallory.access_key, mallory.secret, session.token)
    assert signed_get(world, both, path) == (400, "InvalidToken")
    root = Signing(world, "x", world.root_pair.access_key, world.root_pair.secret_key, session.token)
    assert signed_get(world, root, path) == (400, "InvalidToken")
    # Of another session: the same role, and yet not the key's own.
    other = mallory.assume(session.name)
    mixed = Signing(world, "x", session.access_key, session.secret, other.token)
    assert signed_get(world, mixed, path) == (400, "InvalidToken")
    swapped = Signing(world, "x", other.access_key, session.secret, other.token)
    assert signed_get(world, swapped, path) == (403, "SignatureDoesNotMatch")
    # In the query of a request that is signed by its header it means nothing.
    lost = Signing(world, "x", session.access_key, session.secret)
    assert signed_get(world, lost, f"{path}?X-Amz-Security-Token={session.token}") == (403, "InvalidAccessKeyId")


def test_a_token_of_another_vault(world, places, session, tmp_path_factory):
    with served(tmp_path_factory.mktemp("elsewhere") / "data") as elsewhere:
        alice = elsewhere.user(name="mallory")
        elsewhere.identities.create_role(session.name, trust(alice.arn))
        elsewhere.identities.attach_policy("administrator", role=session.name)
        foreign = alice.assume(session.name)
        assert signed_get(elsewhere, session, f"/{places[0]}/k") == (400, "InvalidToken")
    assert signed_get(world, foreign, f"/{places[0]}/k") == (400, "InvalidToken")


def test_a_body_of_sts_that_was_not_signed(world):
    alice = world.user()
    name = world.name("role")
    world.identities.create_role(name, trust(alice.arn))

    def ask(body, signed=None, **headers):
        request = AWSRequest("POST", f"{world.endpoint}/", data=signed if signed is not None else body)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        for key, value in headers.items():
            request.headers[key.replace("_", "-")] = value
        SigV4Auth(Credentials(alice.access_key, alice.secret), "sts", "us-east-1").add_auth(request)
        return world.raw("POST", "/", body, dict(request.headers.items()))

    who = b"Action=GetCallerIdentity&Version=2011-06-15"
    take = f"Action=AssumeRole&Version=2011-06-15&RoleArn={ACCOUNT}:role/{name}&RoleSessionName=xx".encode()
    assert ask(who) == (200, "")
    assert ask(take, signed=who) == (403, "SignatureDoesNotMatch")
    assert ask(take, signed=who, X_Amz_Content_SHA256=hashlib.sha256(who).hexdigest())[0] >= 400
    assert ask(take, X_Amz_Content_SHA256="UNSIGNED-PAYLOAD")[0] == 403
    assert ask(take + b"&RoleSessionName=yy") == (400, "ValidationError")
    assert ask(take + b"&x=%ff") == (400, "ValidationError")
    assert ask(b"&".join(b"a%d=1" % n for n in range(100))) == (400, "ValidationError")
    assert ask(b"x" * 100_000)[0] == 400
    assert ask(b"Action=Nothing")[0] == 501
    # Not for S3, and not by a key of S3's scope.
    assert world.send(alice, "POST", "/", who, Content_Type="application/x-www-form-urlencoded")[0] == 400
    assert world.raw("POST", "/", who, {"Content-Type": "application/x-www-form-urlencoded"})[0] == 403
    assert world.raw("POST", "/?Action=GetCallerIdentity", b"", {})[0] in (400, 403)


def test_an_expired_url_and_one_that_was_changed(world, places, mallory):
    mine, theirs = places
    url = mallory.s3.generate_presigned_url("get_object", Params={"Bucket": mine, "Key": "k"}, ExpiresIn=2)
    path = url.removeprefix(world.endpoint)
    assert world.raw("GET", path, b"", {})[0] == 200
    assert world.raw("GET", path.replace(mine, theirs).replace("/k?", "/secret?"), b"", {})[0] == 403
    assert world.raw("GET", path.replace("X-Amz-Expires=2", "X-Amz-Expires=600"), b"", {})[0] == 403
    assert world.raw("GET", f"{path}&versionId=null", b"", {})[0] == 403
    time.sleep(3.1)
    assert world.raw("GET", path, b"", {}) == (403, "AccessDenied")


def test_a_form_of_one_who_may_not(world, places, mallory):
    """The policy of the form is signed rightly, for a bucket that is not the signer's."""
    _, theirs = places
    form = mallory.s3.generate_presigned_post(theirs, "planted")
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
             for name, value in form["fields"].items()]  # fmt: skip
    body = "".join(lines) + '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert world.raw("POST", f"/{theirs}", body.encode(), headers) == (403, "AccessDenied")
    assert code(world.root.head_object, Bucket=theirs, Key="planted") == "404"


def test_another_process_takes_a_right_away_at_once(world, places):
    """A command beside the server: from the next request on, without a restart and without waiting."""
    mine, _ = places
    alice = world.user(policies=("reader",))

    def run(*arguments):
        command = [sys.executable, "-c", _COMMAND, "iam", *arguments, "--vault", str(world.vault.path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    assert code(alice.s3.get_object, Bucket=mine, Key="k") == ""
    run("detach", "reader", "--user", alice.name)
    denial(alice.s3.get_object, Bucket=mine, Key="k")
    run("attach", "reader", "--user", alice.name)
    assert code(alice.s3.get_object, Bucket=mine, Key="k") == ""
    run("key", "disable", alice.access_key)
    assert code(alice.s3.get_object, Bucket=mine, Key="k") == "InvalidAccessKeyId"


def test_the_chunks_of_a_stream_are_signed_by_the_users_own_key(world, places, mallory):
    mine, _ = places
    secret = mallory.secret
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    headers = {
        "host": world.endpoint.removeprefix("http://"),
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-date": stamp,
        "x-amz-decoded-content-length": "4",
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"PUT\n/{mine}/chunked\n\n{lines}\n{names}\n{headers['x-amz-content-sha256']}"

    def sign(text, by):
        key = b"AWS4" + by.encode()
        for step in scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    digest = hashlib.sha256(canonical.encode()).hexdigest()
    seed = sign(f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}", secret)
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={mallory.access_key}/{scope}, SignedHeaders={names}, Signature={seed}"
    )
    empty = hashlib.sha256(b"").hexdigest()

    def chunked(by):
        previous, body = seed, b""
        for piece in (b"data", b""):
            text = (
                f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{hashlib.sha256(piece).hexdigest()}"
            )
            previous = sign(text, by)
            body += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + b"\r\n"
        return world.raw("PUT", f"/{mine}/chunked", body, headers)

    assert chunked(world.root_pair.secret_key) == (403, "SignatureDoesNotMatch")
    assert chunked(secret) == (200, "")


def test_no_secret_is_told(world, mallory, session):
    """Neither the trail nor an answer holds what signs."""
    trail = json.dumps([str(record) for record in world.vault.audit.query()])
    for secret in (mallory.secret, session.secret, session.token, world.root_pair.secret_key):
        assert secret not in trail
