"""Bucket policies and the public access block, by boto3 and by requests without a signature."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from identity_world import ACCOUNT, World, code, denial, document, served, statement, trust

S3 = "arn:aws:s3:::"
HUGE = document(
    *[statement("Deny", f"s3:Get{n}", f"arn:aws:s3:::BUCKET/{'x' * 40}", Principal="*") for n in range(190)]
)
ALL = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("policies") / "data", allow_anonymous=True) as world:
        yield world


@pytest.fixture
def bucket(world: World):
    name = world.bucket()
    for key in ("a", "secret/s"):
        world.vault.bucket(name).put(key, key.encode())
    return name


def for_bucket(bucket, effect, actions, principal, keys="/*", **more):
    return statement(effect, actions, [f"{S3}{bucket}", f"{S3}{bucket}{keys}"], Principal=principal, **more)


def give(world, bucket, *statements):
    world.root.put_bucket_policy(Bucket=bucket, Policy=document(*statements))


def opened(world, bucket):
    """Take the block of public policies from a bucket."""
    world.root.delete_public_access_block(Bucket=bucket)


def test_a_policy_is_kept_whole_and_goes_away(world, bucket):
    assert code(world.root.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
    assert code(world.root.get_bucket_policy_status, Bucket=bucket) == "NoSuchBucketPolicy"
    given = for_bucket(bucket, "Allow", "s3:GetObject", {"AWS": world.user().arn})
    give(world, bucket, given)
    (kept,) = json.loads(world.root.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert kept == given
    assert world.root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    world.root.delete_bucket_policy(Bucket=bucket)
    world.root.delete_bucket_policy(Bucket=bucket)
    assert code(world.root.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"


def test_an_allow_of_a_bucket_is_enough_for_who_is_named(world, bucket):
    alice, bob = world.user(), world.user()
    give(world, bucket, for_bucket(bucket, "Allow", ["s3:GetObject", "s3:ListBucket"], {"AWS": alice.arn}))
    assert alice.s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    assert code(alice.s3.get_object, Bucket=bucket, Key="none") == "NoSuchKey"
    denial(alice.s3.put_object, Bucket=bucket, Key="a", Body=b"x")
    denial(bob.s3.get_object, Bucket=bucket, Key="a")
    # The account leaves it to the policies of its users.
    give(world, bucket, for_bucket(bucket, "Allow", "s3:GetObject", {"AWS": "000000000000"}))
    denial(alice.s3.get_object, Bucket=bucket, Key="a")
    # A role that is named, and its sessions.
    name = world.name("role")
    world.identities.create_role(name, trust(alice.arn))
    give(world, bucket, for_bucket(bucket, "Allow", "s3:GetObject", {"AWS": f"{ACCOUNT}:role/{name}"}))
    assert alice.assume(name).s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    denial(alice.s3.get_object, Bucket=bucket, Key="a")


def test_a_deny_of_a_bucket_stops_everyone_the_root_too(world, bucket):
    admin = world.user(policies=("administrator",))
    give(world, bucket, for_bucket(bucket, "Deny", "s3:*", "*"))
    for client in (admin.s3, world.root):
        assert "explicit deny in a resource-based policy" in denial(client.get_object, Bucket=bucket, Key="a")
        denial(client.put_object, Bucket=bucket, Key="b", Body=b"1")
        denial(client.list_objects_v2, Bucket=bucket)
        denial(client.put_public_access_block, Bucket=bucket, PublicAccessBlockConfiguration=ALL)
    denial(admin.s3.delete_bucket_policy, Bucket=bucket)
    denial(admin.s3.put_bucket_policy, Bucket=bucket, Policy="{}")
    # The root, and nobody else, gets in again.
    assert "Deny" in world.root.get_bucket_policy(Bucket=bucket)["Policy"]
    world.root.delete_bucket_policy(Bucket=bucket)
    admin.s3.get_object(Bucket=bucket, Key="a")


def test_a_service_account_is_stopped_by_its_own_name_and_by_its_parents(world, bucket):
    alice = world.user(policies=("reader",))
    account = alice.account()
    arn = account.sts.get_caller_identity()["Arn"]
    account.s3.get_object(Bucket=bucket, Key="a")
    for name in (arn, alice.arn):
        give(world, bucket, for_bucket(bucket, "Deny", "s3:GetObject", {"AWS": name}))
        denial(account.s3.get_object, Bucket=bucket, Key="a")
        assert (code(alice.s3.get_object, Bucket=bucket, Key="a") == "") == (name == arn)
    # An Allow that names it lifts it above nobody.
    give(world, bucket, for_bucket(bucket, "Allow", "s3:PutObject", {"AWS": arn}))
    denial(account.s3.put_object, Bucket=bucket, Key="b", Body=b"1")


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ("", "MissingRequestBodyError"),
        ("{", "JSON"),
        ("[]", "must be a JSON object"),
        ('{"Version": "2012-10-17"}', "Statement"),
        ('{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": []}', "twice"),
        (document(statement("Allow", "s3:GetObject", "arn:aws:s3:::BUCKET/*")), "Principal"),
        (document(statement("Allow", "s3:GetObject", "arn:aws:s3:::other/*", Principal="*")), "arn:aws:s3:::"),
        (document(statement("Allow", "s3:GetObject", "*", Principal="*")), "arn:aws:s3:::"),
        (document(statement("Allow", "s3:ListBucket", "arn:aws:s3:::BUCKET/*", Principal="*")), "none of its actions"),
        (document(statement("Allow", "s3:Get*", "arn:aws:s3:::BUCKET/*", Principal={"AWS": "alice"})), "principal"),
        ("[" * 30_000 + "]" * 30_000, "deep"),
        (" " * 70_000 + "{}", "exceeds"),
        (HUGE, "20,480"),
        ("\x00\xff", "JSON"),
    ],
)  # fmt: skip
def test_malformed_and_huge_policies_are_refused(world, bucket, policy, word):
    before = for_bucket(bucket, "Deny", "s3:DeleteBucket", "*")
    give(world, bucket, before)
    with pytest.raises(ClientError) as caught:
        world.root.put_bucket_policy(Bucket=bucket, Policy=policy.replace("BUCKET", bucket))
    error = caught.value.response["Error"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert word in error["Code"] or (error["Code"] == "MalformedPolicy" and word in error["Message"]), error
    assert json.loads(world.root.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == [before]


def fetch(world, path, method="GET", body=None):
    try:
        request = urllib.request.Request(world.endpoint + path, body, method=method)
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_public_policy_takes_that_its_block_is_taken_away(world, bucket):
    public = for_bucket(bucket, "Allow", "s3:GetObject", "*", "/a")
    shown = world.root.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert shown == {**ALL, "BlockPublicAcls": False, "IgnorePublicAcls": False}
    assert "BlockPublicPolicy" in denial(world.root.put_bucket_policy, Bucket=bucket, Policy=document(public))
    assert fetch(world, f"/{bucket}/a") == 403
    opened(world, bucket)
    assert code(world.root.get_public_access_block, Bucket=bucket) == "NoSuchPublicAccessBlockConfiguration"
    give(world, bucket, public)
    assert world.root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    assert fetch(world, f"/{bucket}/a") == fetch(world, f"/{bucket}/a", "HEAD") == 200
    assert fetch(world, f"/{bucket}/secret/s") == fetch(world, f"/{bucket}/none") == fetch(world, f"/{bucket}") == 403
    assert fetch(world, f"/{bucket}/a", "PUT", b"x") == fetch(world, f"/{bucket}/a", "DELETE") == 403
    # Restricted, it lets nobody in without a signature; its Denies, and who is named, stay.
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert fetch(world, f"/{bucket}/a") == 403
    alice = world.user()
    assert code(alice.s3.get_object, Bucket=bucket, Key="a") == ""


def test_what_a_restricted_policy_denies_no_acl_opens(world, bucket):
    """Restricting a public policy once took its Denies away with its Allows."""
    opened(world, bucket)
    for key in ("a", "secret/s"):
        world.root.put_object_acl(Bucket=bucket, Key=key, ACL="public-read")
    deny = for_bucket(
        bucket, "Deny", "s3:GetObject", "*", "/secret/*", Condition={"Bool": {"aws:SecureTransport": "false"}}
    )
    give(world, bucket, for_bucket(bucket, "Allow", "s3:GetObject", "*", "/a"), deny)
    assert fetch(world, f"/{bucket}/secret/s") == 403
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert fetch(world, f"/{bucket}/secret/s") == 403
    assert fetch(world, f"/{bucket}/a") == 200, "its ACL opens it"


def test_a_policy_may_open_more_than_reading(world, bucket):
    opened(world, bucket)
    give(world, bucket, for_bucket(bucket, "Allow", ["s3:PutObject", "s3:ListBucket"], "*", "/inbox/*"))
    assert fetch(world, f"/{bucket}/inbox/x", "PUT", b"1") == 200
    assert fetch(world, f"/{bucket}/inbox/x") == 403
    assert fetch(world, f"/{bucket}?list-type=2") == 200
    assert fetch(world, f"/{bucket}/none") == 404, "the listing tells it anyway"
    assert fetch(world, f"/{bucket}/x", "PUT", b"1") == 403


def test_a_condition_on_the_address_is_not_public(world, bucket):
    condition = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    give(world, bucket, for_bucket(bucket, "Allow", "s3:GetObject", "*", Condition=condition))
    assert world.root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    assert fetch(world, f"/{bucket}/a") == 200


def test_acls_and_the_block(world, bucket):
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False}
    world.root.put_object_acl(Bucket=bucket, Key="a", ACL="public-read")
    assert fetch(world, f"/{bucket}/a") == 200
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    for acl in ("public-read", "public-read-write", "authenticated-read"):
        denial(world.root.put_object_acl, Bucket=bucket, Key="a", ACL=acl)
        denial(world.root.put_bucket_acl, Bucket=bucket, ACL=acl)
        denial(world.root.put_object, Bucket=bucket, Key="n", ACL=acl)
        denial(world.root.copy_object, Bucket=bucket, Key="n", CopySource=f"{bucket}/a", ACL=acl)
        denial(world.root.create_multipart_upload, Bucket=bucket, Key="n", ACL=acl)
    world.root.put_object_acl(Bucket=bucket, Key="secret/s", ACL="private")
    assert fetch(world, f"/{bucket}/a") == 200, "what is open already stays open until it is ignored"
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=ALL)
    assert fetch(world, f"/{bucket}/a") == 403
    assert fetch(world, f"/{bucket}/none") == 403
    # An ACL that opens a read to everyone opens it to users too; a Deny still wins.
    opened(world, bucket)
    alice = world.user()
    bob = world.user(statement("Deny", "s3:GetObject"))
    assert code(alice.s3.get_object, Bucket=bucket, Key="a") == ""
    denial(alice.s3.get_object, Bucket=bucket, Key="secret/s")
    denial(alice.s3.get_object, Bucket=bucket, Key="none")
    denial(bob.s3.get_object, Bucket=bucket, Key="a")


@pytest.mark.parametrize("body", ["<PublicAccessBlockConfiguration><BlockPublicAcls>maybe</BlockPublicAcls>"
                                  "</PublicAccessBlockConfiguration>",
                                  "<PublicAccessBlockConfiguration><Other>true</Other></PublicAccessBlockConfiguration>",
                                  "<Other/>", "x"])  # fmt: skip
def test_a_block_is_read_exactly(world, bucket, body):
    signer = world.user(statement("Allow", "s3:*"))
    assert world.send(signer, "PUT", f"/{bucket}?publicAccessBlock", body.encode()) == (400, "MalformedXML")


def test_rights_of_the_settings_themselves(world, bucket):
    reader = world.user(policies=("reader",))
    policy = document(for_bucket(bucket, "Allow", "s3:*", {"AWS": reader.arn}))
    denial(reader.s3.get_bucket_policy, Bucket=bucket)
    denial(reader.s3.put_bucket_policy, Bucket=bucket, Policy=policy)
    denial(reader.s3.delete_bucket_policy, Bucket=bucket)
    denial(reader.s3.get_bucket_policy_status, Bucket=bucket)
    denial(reader.s3.get_public_access_block, Bucket=bucket)
    denial(reader.s3.put_public_access_block, Bucket=bucket, PublicAccessBlockConfiguration=ALL)
    denial(reader.s3.delete_public_access_block, Bucket=bucket)


def test_another_handle_of_the_vault_changes_the_policy(world, bucket):
    """As another process would: what counts is what the bucket's settings say at the moment of the request."""
    alice = world.user(policies=("reader",))
    settings = world.vault.bucket(bucket)
    for effect in ("Deny", "Allow", "Deny"):
        text = document(for_bucket(bucket, effect, "s3:GetObject", {"AWS": alice.arn}))
        settings.set_document("policy", text)
        assert (code(alice.s3.get_object, Bucket=bucket, Key="a") == "") == (effect == "Allow")
    # One that nobody could have put over the wire keeps everyone out, until it is replaced.
    settings.set_document("policy", '{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}')
    denial(alice.s3.get_object, Bucket=bucket, Key="a")
    denial(world.root.get_object, Bucket=bucket, Key="a")
    world.root.delete_bucket_policy(Bucket=bucket)
    assert code(alice.s3.get_object, Bucket=bucket, Key="a") == ""
