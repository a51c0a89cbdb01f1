"""Users, groups, service accounts and their keys, as boto3 sees them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest
from identity_world import ACCOUNT, World, code, denial, document, served, statement
from served_vault import self_made_certificate

from tickvault.doors.s3.certificate import tls_context

S3 = "arn:aws:s3:::"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("identities") / "data") as world:
        yield world


@pytest.fixture
def filled(world: World):
    name = world.bucket()
    for key in ("a", "b/c", "secret/s"):
        world.vault.bucket(name).put(key, key.encode())
    return name


def test_a_user_may_what_policies_allow_and_is_told_what_they_do_not(world, filled):
    alice = world.user(statement("Allow", "s3:GetObject", f"{S3}{filled}/*"))
    assert alice.s3.get_object(Bucket=filled, Key="a")["Body"].read() == b"a"
    assert alice.s3.head_object(Bucket=filled, Key="a")["ContentLength"] == 1
    assert denial(alice.s3.put_object, Bucket=filled, Key="a", Body=b"x") == (
        f"User: {alice.arn} is not authorized to perform: s3:PutObject on resource: "
        f'"{S3}{filled}/a" because no identity-based policy allows the s3:PutObject action'
    )
    assert denial(alice.s3.list_objects_v2, Bucket=filled).endswith("allows the s3:ListBucket action")
    denial(alice.s3.list_buckets)
    denial(alice.s3.delete_object, Bucket=filled, Key="a")
    denial(alice.s3.head_bucket, Bucket=filled)
    assert bytes(world.vault.bucket(filled).get("a")) == b"a"


def test_deny_wins_wherever_it_stands(world, filled):
    alice = world.user(statement("Allow", "s3:*"), statement("Deny", "s3:GetObject", f"{S3}{filled}/secret/*"))
    assert alice.s3.get_object(Bucket=filled, Key="a")["Body"].read() == b"a"
    assert denial(alice.s3.get_object, Bucket=filled, Key="secret/s").endswith(
        "with an explicit deny in an identity-based policy"
    )
    # A group's denial too, from the moment of joining.
    group = world.name("group")
    world.identities.create_group(group)
    world.identities.put_inline_policy("no", document(statement("Deny", "s3:PutObject")), group=group)
    alice.s3.put_object(Bucket=filled, Key="new", Body=b"1")
    world.identities.add_user_to_group(alice.name, group)
    denial(alice.s3.put_object, Bucket=filled, Key="new", Body=b"1")
    world.identities.remove_user_from_group(alice.name, group)
    alice.s3.put_object(Bucket=filled, Key="new", Body=b"1")


def test_a_boundary_bounds(world, filled):
    alice = world.user(policies=("administrator",))
    alice.s3.put_object(Bucket=filled, Key="x", Body=b"1")
    world.identities.set_boundary("reader", user=alice.name)
    assert alice.s3.get_object(Bucket=filled, Key="x")["Body"].read() == b"1"
    assert "no permissions boundary allows" in denial(alice.s3.put_object, Bucket=filled, Key="x", Body=b"2")


def test_roles_out_of_the_box(world, filled):
    reader, writer, trader = (world.user(policies=(name,)) for name in ("reader", "writer", "trader"))
    for each in (reader, writer, trader):
        each.s3.get_object(Bucket=filled, Key="a")
        assert each.s3.list_objects_v2(Bucket=filled)["KeyCount"] >= 3
        assert filled in {bucket["Name"] for bucket in each.s3.list_buckets()["Buckets"]}
    denial(reader.s3.put_object, Bucket=filled, Key="n", Body=b"")
    writer.s3.put_object(Bucket=filled, Key="n", Body=b"")
    trader.s3.put_object(Bucket=filled, Key="n", Body=b"")
    denial(trader.s3.delete_object, Bucket=filled, Key="n")
    writer.s3.delete_object(Bucket=filled, Key="n")
    for each in (reader, writer, trader):
        denial(each.s3.put_bucket_policy, Bucket=filled, Policy="{}")
        denial(each.s3.create_bucket, Bucket="new-bucket")


def test_a_listing_by_prefix(world, filled):
    condition = {"StringLike": {"s3:prefix": ["b/*", "b/"]}}
    alice = world.user(
        statement("Allow", "s3:ListBucket", f"{S3}{filled}", Condition=condition),
        statement("Allow", "s3:GetObject", f"{S3}{filled}/b/*"),
    )
    assert [one["Key"] for one in alice.s3.list_objects_v2(Bucket=filled, Prefix="b/")["Contents"]] == ["b/c"]
    assert [one["Key"] for one in alice.s3.list_objects(Bucket=filled, Prefix="b/")["Contents"]] == ["b/c"]
    denial(alice.s3.list_objects_v2, Bucket=filled)
    denial(alice.s3.list_objects_v2, Bucket=filled, Prefix="")
    denial(alice.s3.list_objects_v2, Bucket=filled, Prefix="secret/")
    # The right to one prefix does not tell which keys there are elsewhere, nor here: Amazon asks without a prefix.
    assert code(alice.s3.get_object, Bucket=filled, Key="b/none") == "AccessDenied"


def test_what_is_missing_is_told_to_those_who_may_list(world, filled):
    blind = world.user(statement("Allow", "s3:GetObject", f"{S3}{filled}/*"))
    sighted = world.user(statement("Allow", ["s3:GetObject", "s3:ListBucket"]))
    for key in ("none", "a/none"):
        assert code(blind.s3.get_object, Bucket=filled, Key=key) == "AccessDenied"
        assert code(blind.s3.head_object, Bucket=filled, Key=key) == "403"
        assert code(sighted.s3.get_object, Bucket=filled, Key=key) == "NoSuchKey"
        assert code(sighted.s3.head_object, Bucket=filled, Key=key) == "404"


def test_conditions_on_address_and_transport(world, filled):
    def reads(**condition):
        user = world.user(statement("Allow", "s3:GetObject", Condition=condition))
        return code(user.s3.get_object, Bucket=filled, Key="a") == ""

    assert reads(IpAddress={"aws:SourceIp": "127.0.0.0/8"})
    assert not reads(IpAddress={"aws:SourceIp": "10.0.0.0/8"})
    assert not reads(Bool={"aws:SecureTransport": "true"})
    assert reads(Bool={"aws:SecureTransport": "false"})
    assert reads(DateLessThan={"aws:CurrentTime": "2999-01-01T00:00:00Z"})
    assert not reads(DateLessThan={"aws:CurrentTime": "2001-01-01T00:00:00Z"})
    assert reads(StringEquals={"s3:authType": "REST-HEADER"})
    assert not reads(StringEquals={"s3:authType": "REST-QUERY-STRING"})
    assert reads(StringLike={"aws:UserAgent": "Boto3*"})
    assert reads(NumericLessThan={"s3:signatureAge": "60000"})
    assert not reads(StringEquals={"aws:username": "somebody"})


def test_conditions_on_tags(world):
    name = world.bucket()
    bucket = world.vault.bucket(name)
    bucket.put("green", b"1", tags={"class": "green"})
    bucket.put("red", b"1", tags={"class": "red"})
    bucket.put("plain", b"1")
    alice = world.user(
        statement("Allow", "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/class": "green"}}),
        statement("Allow", ["s3:PutObject", "s3:PutObjectTagging"]),
        statement("Deny", "s3:PutObjectTagging", Condition={"StringEquals": {"s3:RequestObjectTag/class": "green"}}),
    )
    alice.s3.get_object(Bucket=name, Key="green")
    denial(alice.s3.get_object, Bucket=name, Key="red")
    denial(alice.s3.get_object, Bucket=name, Key="plain")
    assert code(alice.s3.get_object, Bucket=name, Key="none") == "AccessDenied"
    alice.s3.put_object(Bucket=name, Key="new", Body=b"1", Tagging="class=red")
    denial(alice.s3.put_object, Bucket=name, Key="new", Body=b"1", Tagging="class=green")
    # The same in a body, which is read before it is decided.
    tags = {"TagSet": [{"Key": "class", "Value": "green"}]}
    denial(alice.s3.put_object_tagging, Bucket=name, Key="red", Tagging=tags)
    assert bucket.get_tags("red") == {"class": "red"}
    tags["TagSet"][0]["Value"] = "blue"
    alice.s3.put_object_tagging(Bucket=name, Key="red", Tagging=tags)
    assert bucket.get_tags("red") == {"class": "blue"}


def test_variables_give_each_their_folder(world):
    name = world.bucket()
    policy = document(statement("Allow", "s3:*Object", f"{S3}{name}/${{aws:username}}/*"))
    world.identities.create_policy(f"folders-{name}", policy)
    alice, bob = world.user(policies=(f"folders-{name}",)), world.user(policies=(f"folders-{name}",))
    alice.s3.put_object(Bucket=name, Key=f"{alice.name}/x", Body=b"1")
    denial(bob.s3.get_object, Bucket=name, Key=f"{alice.name}/x")
    denial(alice.s3.put_object, Bucket=name, Key=f"{bob.name}/x", Body=b"1")


def test_keys_end_and_come_back(world, filled):
    alice = world.user(policies=("reader",))

    def ask(who=None):
        return code((who or alice).s3.get_object, Bucket=filled, Key="a")

    assert ask() == ""
    world.identities.set_access_key_disabled(alice.access_key, True)
    assert ask() == "InvalidAccessKeyId"
    world.identities.set_access_key_disabled(alice.access_key, False)
    assert ask() == ""
    world.identities.set_user_disabled(alice.name, True)
    assert ask() == "InvalidAccessKeyId"
    world.identities.set_user_disabled(alice.name, False)
    new = world.identities.rotate_access_key(alice.access_key)
    assert ask() == "ExpiredToken"
    successor = type(alice)(world, alice.name, new.id, new.secret.reveal())
    assert ask(successor) == ""
    world.identities.delete_access_key(new.id)
    assert ask(successor) == "InvalidAccessKeyId"
    assert world.identities.list_access_keys(alice.name)[0].id == alice.access_key


def test_a_vault_whose_sealing_key_is_lost(tmp_path):
    """It was answered InternalError, "the stored object is damaged", and a new sealing key was made on the way."""
    with served(tmp_path / "data") as world:
        bucket = world.bucket()
        world.vault.bucket(bucket).put("a", b"a")
        alice = world.user(policies=("reader",))
        temporary = alice.sts.get_session_token()["Credentials"]
    path = tmp_path / "data" / "security" / "sealing.key"
    key = path.read_bytes()
    for other in (None, bytes(range(32))):
        path.unlink()
        if other is not None:
            path.write_bytes(other)
            path.chmod(0o600)
        with served(tmp_path / "data") as world:
            asks = type(alice)(world, alice.name, alice.access_key, alice.secret).s3.get_object
            assert code(asks, Bucket=bucket, Key="a") == "ServiceUnavailable"
            session = world.client(
                temporary["AccessKeyId"], temporary["SecretAccessKey"], temporary["SessionToken"]
            ).get_object
            expected = "ServiceUnavailable" if other is None else "InvalidToken"
            assert code(session, Bucket=bucket, Key="a") == expected
            assert world.root.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
            assert path.exists() == (other is not None)
            path.write_bytes(key)
            path.chmod(0o600)
            assert code(asks, Bucket=bucket, Key="a") == ""
            assert code(session, Bucket=bucket, Key="a") == ""


def test_a_key_ends_by_itself(world, filled):
    world.identities.create_user("brief")
    world.identities.attach_policy("reader", user="brief")
    key = world.identities.create_access_key("brief", expires_ns=time.time_ns() + 1_200_000_000)
    brief = world.client(key.id, key.secret.reveal())
    assert code(brief.get_object, Bucket=filled, Key="a") == ""
    time.sleep(1.3)
    assert code(brief.get_object, Bucket=filled, Key="a") == "ExpiredToken"


def test_a_service_account_may_what_both_allow(world, filled):
    alice = world.user(policies=("writer",))
    whole = alice.account()
    narrow = alice.account(document(statement("Allow", "s3:*", f"{S3}{filled}/b/*")))
    for account in (whole, narrow):
        account.s3.get_object(Bucket=filled, Key="b/c")
    whole.s3.get_object(Bucket=filled, Key="a")
    denial(narrow.s3.get_object, Bucket=filled, Key="a")
    world.identities.detach_policy("writer", user=alice.name)
    for account in (whole, narrow):
        denial(account.s3.get_object, Bucket=filled, Key="b/c")
    world.identities.attach_policy("writer", user=alice.name)
    whole.s3.get_object(Bucket=filled, Key="b/c")
    world.identities.set_user_disabled(alice.name, True)
    assert code(whole.s3.get_object, Bucket=filled, Key="b/c") == "InvalidAccessKeyId"


def test_presigned_urls_of_users(world, filled):
    alice = world.user(statement("Allow", ["s3:GetObject", "s3:PutObject"], f"{S3}{filled}/b/*"))

    def get(client, key, method="get_object", body=None):
        url = client.generate_presigned_url(method, Params={"Bucket": filled, "Key": key})
        request = urllib.request.Request(url, body, method="PUT" if body is not None else "GET")
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code

    assert get(alice.s3, "b/c") == 200
    assert get(alice.s3, "a") == 403
    assert get(alice.s3, "b/new", "put_object", b"1") == 200
    assert get(alice.s3, "new", "put_object", b"1") == 403
    # A URL lives as long as the key that signed it.
    world.identities.set_access_key_disabled(alice.access_key, True)
    assert get(alice.s3, "b/c") == 403


def post(world, bucket, form):
    """Send a browser's form; return the status and the code."""
    lines = []
    for name, value in form["fields"].items():
        lines += ["--b", f'Content-Disposition: form-data; name="{name}"', "", value]
    lines += ["--b", 'Content-Disposition: form-data; name="file"; filename="f"', "", "data", "--b--", ""]
    body = "\r\n".join(lines).encode()
    return world.raw("POST", f"/{bucket}", body, {"Content-Type": "multipart/form-data; boundary=b"})


def test_a_form_is_authorized_like_a_put(world, filled):
    alice = world.user(statement("Allow", "s3:PutObject", f"{S3}{filled}/in/*"))

    def form(key, who=alice, **fields):
        conditions = [{name: value} for name, value in fields.items()]
        return who.s3.generate_presigned_post(filled, key, Fields=dict(fields), Conditions=conditions)

    assert post(world, filled, form("in/x"))[0] == 204
    assert bytes(world.vault.bucket(filled).get("in/x")) == b"data"
    assert post(world, filled, form("out/x")) == (403, "AccessDenied")
    assert post(world, filled, form("in/y", acl="public-read")) == (403, "AccessDenied")
    tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert post(world, filled, form("in/y", tagging=tagging)) == (403, "AccessDenied")
    assert post(world, filled, form("in/y", who=alice.account()))[0] == 204
    # A session's form carries the token, and the policy must cover it.
    answer = alice.sts.get_session_token()["Credentials"]
    session = type(alice)(world, alice.name, answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
    signed = form("in/z", who=session)
    assert signed["fields"]["x-amz-security-token"] == answer["SessionToken"]
    assert post(world, filled, signed)[0] == 204
    token = signed["fields"].pop("x-amz-security-token")
    assert post(world, filled, signed) == (403, "InvalidAccessKeyId")
    signed["fields"]["x-amz-security-token"] = token[:-4] + "AAAA"
    assert post(world, filled, signed) == (400, "InvalidToken")
    puts = [record.identity for record in world.vault.audit.query(bucket=filled, key="in/x")]
    assert puts == [alice.arn]


def test_multipart_uploads(world):
    name = world.bucket()
    alice = world.user(statement("Allow", "s3:PutObject", f"{S3}{name}/in/*"))
    upload = alice.s3.create_multipart_upload(Bucket=name, Key="in/x")["UploadId"]
    tag = alice.s3.upload_part(Bucket=name, Key="in/x", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
    denial(alice.s3.list_parts, Bucket=name, Key="in/x", UploadId=upload)
    denial(alice.s3.list_multipart_uploads, Bucket=name)
    denial(alice.s3.abort_multipart_upload, Bucket=name, Key="in/x", UploadId=upload)
    alice.s3.complete_multipart_upload(
        Bucket=name, Key="in/x", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
    )
    denial(alice.s3.create_multipart_upload, Bucket=name, Key="out/x")
    other = world.root.create_multipart_upload(Bucket=name, Key="out/x")["UploadId"]
    denial(alice.s3.upload_part, Bucket=name, Key="out/x", UploadId=other, PartNumber=1, Body=b"1")


def test_a_large_upload_is_refused_before_its_body(world):
    """Also where the client waits to be invited, and where it does not."""
    name = world.bucket()
    alice = world.user(policies=("reader",))
    denial(alice.s3.put_object, Bucket=name, Key="large", Body=bytes(8 << 20))
    assert world.send(alice, "PUT", f"/{name}/large", b"x" * 300_000) == (403, "AccessDenied")


def test_locks_take_rights_of_their_own(world):
    name = world.bucket(lock=True)
    bucket = world.vault.bucket(name)
    bucket.put("k", b"1", retention_mode="GOVERNANCE", retain_until=time.time_ns() + 10**15)
    version = bucket.head("k").version_id
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": "2099-01-01T00:00:00Z"}
    writer = world.user(policies=("writer",))
    options = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
    writer.s3.put_object(Bucket=name, Key="w", Body=b"1")
    assert "PutObjectRetention" in denial(writer.s3.put_object, Bucket=name, Key="w", Body=b"1", **options)
    assert "PutObjectLegalHold" in denial(
        writer.s3.put_object, Bucket=name, Key="w", Body=b"1", ObjectLockLegalHoldStatus="ON"
    )
    denial(writer.s3.put_object_retention, Bucket=name, Key="k", Retention=retention)
    # Without the right to bypass, a bypass is as if it had not been asked for: the lock holds.
    named = {"Bucket": name, "Key": "k", "VersionId": version}
    assert code(writer.s3.delete_object, BypassGovernanceRetention=True, **named) == "AccessDenied"
    listed = {"Objects": [{"Key": "k", "VersionId": version}]}
    answer = writer.s3.delete_objects(Bucket=name, Delete=listed, BypassGovernanceRetention=True)
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert bucket.head("k", version_id=version).retention_mode == "GOVERNANCE"
    officer = world.user(policies=("compliance-officer",))
    officer.s3.put_object_retention(Bucket=name, Key="k", Retention={}, BypassGovernanceRetention=True)
    assert bucket.head("k").retention_mode is None
    denial(officer.s3.delete_object, **named)
    writer.s3.delete_object(**named)


def test_conditions_on_what_a_lock_asks_for(world):
    name = world.bucket(lock=True)
    world.vault.bucket(name).put("k", b"1")
    alice = world.user(
        statement("Allow", ["s3:PutObject*"]),
        statement(
            "Deny", "s3:PutObjectRetention",
            Condition={"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "30"}},
        ),
    )  # fmt: skip
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20 * 86400))
    far = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 40 * 86400))

    def put(until):
        return code(
            alice.s3.put_object_retention,
            Bucket=name, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
        )  # fmt: skip

    assert put(far) == "AccessDenied"
    assert put(day) == ""
    options = {"ObjectLockMode": "GOVERNANCE", "ChecksumAlgorithm": "CRC32"}
    denial(alice.s3.put_object, Bucket=name, Key="n", Body=b"1", ObjectLockRetainUntilDate=far, **options)
    alice.s3.put_object(Bucket=name, Key="n", Body=b"1", ObjectLockRetainUntilDate=day, **options)


def test_whoever_signs_stands_in_the_trail(world, filled):
    alice = world.user(policies=("writer",))
    account = alice.account()
    alice.s3.put_object(Bucket=filled, Key="trail", Body=b"1")
    account.s3.get_object(Bucket=filled, Key="trail")
    denial(alice.s3.delete_bucket, Bucket=filled)
    found = [
        (record.action, record.identity)
        for record in world.vault.audit.query(bucket=filled)
        if alice.name in record.identity or account.name in record.identity
    ]
    assert found == [
        ("PutObject", alice.arn),
        ("GetObject", f"{ACCOUNT}:service-account/{account.name}"),
        ("DeleteBucket", alice.arn),
    ]


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_conditions_on_tls(tmp_path):
    certificate, key = self_made_certificate(tmp_path)
    with served(tmp_path / "data", tls=tls_context(str(certificate), str(key))) as world:
        name = world.bucket()
        world.vault.bucket(name).put("k", b"1")
        for condition, expected in (
            ({"Bool": {"aws:SecureTransport": "true"}}, ""),
            ({"Bool": {"aws:SecureTransport": "false"}}, "AccessDenied"),
            ({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}, ""),
            ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, "AccessDenied"),
        ):
            alice = world.user(statement("Allow", "s3:GetObject", Condition=condition))
            assert code(alice.s3.get_object, Bucket=name, Key="k") == expected
