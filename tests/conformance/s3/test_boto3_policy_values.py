"""What conditions see is what the store does, however a client writes it and through whichever door it comes."""

from __future__ import annotations

import pytest
from identity_world import World, code, denial, document, served, statement, trust

import tickvault as tv

S3 = "arn:aws:s3:::"
KEY_ID = "s3:x-amz-server-side-encryption-aws-kms-key-id"
PART_SIZE = 5 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("values") / "data") as world:
        yield world


@pytest.fixture
def bucket(world: World):
    name = world.bucket()
    for key in ("top/secret", "open/1"):
        world.vault.bucket(name).put(key, key.encode())
    return name


def all_but(world: World, deny: dict, actions: str = "s3:PutObject"):
    """Make a user who may do everything, but not what a condition says."""
    return world.user(statement("Allow", "s3:*", "*"), statement("Deny", actions, "*", Condition=deny))


def as_python(world: World, user):
    return world.vault.as_identity(user.access_key)


# -- the source of a copy


@pytest.mark.parametrize("form", ["{}/top/secret", "/{}/top/secret", "{}%2Ftop%2Fsecret", "{}/%74op/secret"])
def test_a_denied_source_is_denied_however_it_is_written(world, bucket, form):
    user = all_but(world, {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/top/*"}})
    source = form.format(bucket)
    path = f"/{bucket}/copy"
    assert world.send(user, "PUT", path, x_amz_copy_source=source)[1] == "AccessDenied"
    upload = world.root.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = f"/{bucket}/parts?partNumber=1&uploadId={upload}"
    assert world.send(user, "PUT", part, x_amz_copy_source=source)[1] == "AccessDenied"
    assert world.send(user, "PUT", path, x_amz_copy_source=f"/{bucket}/open/1")[0] == 200


def test_an_allowed_source_is_allowed_however_it_and_the_policy_are_written(world, bucket):
    condition = {"StringLike": {"s3:x-amz-copy-source": f"/{bucket}/open/*"}}
    user = world.user(
        statement("Allow", "s3:GetObject", "*"), statement("Allow", "s3:PutObject", "*", Condition=condition)
    )
    for form in ("{}/open/1", "/{}/open/1", "{}%2Fopen%2F1"):
        assert world.send(user, "PUT", f"/{bucket}/copy", x_amz_copy_source=form.format(bucket))[0] == 200
    assert world.send(user, "PUT", f"/{bucket}/copy", x_amz_copy_source=f"{bucket}/top/secret")[0] == 403


def test_python_sees_the_source_of_a_copy_too(world, bucket):
    user = all_but(world, {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/top/*"}})
    with as_python(world, user) as vault:
        with pytest.raises(tv.AccessDeniedError, match="PutObject"):
            vault[bucket].copy("top/secret", "copy")
        vault[bucket].copy("open/1", "copy")


# -- encryption


@pytest.mark.parametrize("name", ["desk-7", "arn:aws:kms:us-east-1:000000000000:key/desk-7", "arn:x:key/desk-7"])
@pytest.mark.parametrize("written", ["desk-7", "arn:aws:kms:eu-central-1:111122223333:key/desk-7"])
def test_a_denied_key_is_denied_however_it_is_named(world, bucket, name, written):
    user = all_but(world, {"StringEquals": {KEY_ID: written}})
    with pytest.raises(Exception, match="AccessDenied"):
        user.s3.put_object(Bucket=bucket, Key="a", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId=name)
    with as_python(world, user) as vault, pytest.raises(tv.AccessDeniedError):
        vault[bucket].put("a", b"1", encryption={"mode": "kms", "key": "desk-7"})


def test_python_meets_an_allow_that_wants_encryption(world, bucket):
    wanted = {"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}
    user = world.user(statement("Allow", "s3:PutObject", "*", Condition=wanted))
    with as_python(world, user) as vault:
        vault[bucket].put("a", b"1", encryption={"mode": "kms"})
        for other in (None, {"mode": "managed"}):
            with pytest.raises(tv.AccessDeniedError):
                vault[bucket].put("a", b"1", encryption=other)


def test_the_usual_policy_against_plain_uploads_lets_encrypted_parts_in(world, bucket):
    deny = {"Null": {"s3:x-amz-server-side-encryption": "true"}}
    user = all_but(world, deny)
    s3 = user.s3
    denial(s3.put_object, Bucket=bucket, Key="plain", Body=b"1")
    denial(s3.create_multipart_upload, Bucket=bucket, Key="plain")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ServerSideEncryption="AES256")["UploadId"]
    named = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    etags = [s3.upload_part(**named, PartNumber=n, Body=b"x" * PART_SIZE)["ETag"] for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert world.root.head_object(Bucket=bucket, Key="big")["ServerSideEncryption"] == "AES256"
    # An upload that somebody else began without encryption takes no part of theirs.
    plain = world.root.create_multipart_upload(Bucket=bucket, Key="plain")["UploadId"]
    denial(s3.upload_part, Bucket=bucket, Key="plain", UploadId=plain, PartNumber=1, Body=b"1")
    with as_python(world, user) as vault:
        begun = vault[bucket].create_upload("big", encryption="aes-256-gcm")
        vault[bucket].put_part("big", begun.upload_id, 1, b"1")
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].put_part("plain", plain, 1, b"1")


# -- tags


def test_the_parts_of_an_upload_have_its_tags(world, bucket):
    condition = {"StringEquals": {"s3:RequestObjectTag/class": "open"}}
    user = world.user(statement("Allow", ["s3:PutObject", "s3:PutObjectTagging"], "*", Condition=condition))
    denial(user.s3.create_multipart_upload, Bucket=bucket, Key="k", Tagging="class=closed")
    upload = user.s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="class=open")["UploadId"]
    user.s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"1")
    closed = world.root.create_multipart_upload(Bucket=bucket, Key="k", Tagging="class=closed")["UploadId"]
    denial(user.s3.upload_part, Bucket=bucket, Key="k", UploadId=closed, PartNumber=1, Body=b"1")


def test_a_second_spelling_of_a_tag_does_not_get_around_a_condition(world, bucket):
    for effect in ("Allow", "Deny"):
        operator = "StringEquals" if effect == "Allow" else "StringNotEquals"
        condition = {operator: {"s3:RequestObjectTag/class": "open"}}
        statements = [statement(effect, ["s3:PutObject", "s3:PutObjectTagging"], "*", Condition=condition)]
        if effect == "Deny":
            statements.append(statement("Allow", "s3:*", "*"))
        user = world.user(*statements)
        user.s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="class=open")
        denial(user.s3.put_object, Bucket=bucket, Key="k", Body=b"1", Tagging="Class=open&class=closed")
        with as_python(world, user) as vault:
            vault[bucket].put("k", b"1", tags={"class": "open"})
            with pytest.raises(tv.AccessDeniedError):
                vault[bucket].put("k", b"1", tags={"Class": "open", "class": "closed"})


# -- what a refusal tells


def test_who_may_only_write_learns_nothing_by_conditions(world, bucket):
    user = world.user(statement("Allow", ["s3:PutObject", "s3:DeleteObject"], "*"))
    etag = world.root.head_object(Bucket=bucket, Key="top/secret")["ETag"]
    for key in ("top/secret", "none"):
        for match in (etag, '"00000000000000000000000000000000"', "*"):
            denial(user.s3.put_object, Bucket=bucket, Key=key, Body=b"1", IfMatch=match)
            assert world.send(user, "DELETE", f"/{bucket}/{key}", if_match=match)[1] == "AccessDenied"
        answer = user.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key, "ETag": etag}]})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
        with as_python(world, user) as vault, pytest.raises(tv.AccessDeniedError) as refused:
            vault[bucket].put(key, b"1", if_match="0" * 32)
        assert etag.strip('"') not in str(refused.value)
    user.s3.put_object(Bucket=bucket, Key="new", Body=b"1", IfNoneMatch="*")


# -- names of those who are gone


def test_nobody_inherits_a_bucket_from_one_whose_name_they_were_given(world, bucket):
    first = world.user()
    allow = statement("Allow", "s3:GetObject", f"{S3}{bucket}/*", Principal={"AWS": first.arn})
    world.root.put_bucket_policy(Bucket=bucket, Policy=document(allow))
    first.s3.get_object(Bucket=bucket, Key="open/1")
    world.identities.delete_user(first.name, force=True)
    second = world.user(name=first.name)
    denial(second.s3.get_object, Bucket=bucket, Key="open/1")
    with as_python(world, second) as vault, pytest.raises(tv.AccessDeniedError):
        vault[bucket].get("open/1")
    # What denies the name denies it to the second as well.
    deny = statement("Deny", "s3:PutObject", f"{S3}{bucket}/*", Principal={"AWS": first.arn})
    world.root.put_bucket_policy(Bucket=bucket, Policy=document(deny, allow))
    second.s3.get_object(Bucket=bucket, Key="open/1")
    world.identities.delete_user(first.name, force=True)
    third = world.user(name=first.name, policies=("writer",))
    denial(third.s3.put_object, Bucket=bucket, Key="open/1", Body=b"1")


def test_nobody_inherits_a_role_or_the_sessions_of_one(world, bucket):
    first = world.user()
    role, other = world.name("role"), world.name("role")
    world.identities.create_role(role, trust(first.arn))
    world.identities.attach_policy("reader", role=role)
    allow = statement(
        "Allow", "s3:PutObject", f"{S3}{bucket}/*", Principal={"AWS": f"arn:aws:iam::000000000000:role/{role}"}
    )
    world.root.put_bucket_policy(Bucket=bucket, Policy=document(allow))
    session = first.assume(role)
    session.s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    world.identities.delete_user(first.name, force=True)
    second = world.user(name=first.name)
    with pytest.raises(Exception, match="AccessDenied"):
        second.assume(role)
    world.identities.create_role(other, trust(second.arn))
    world.identities.delete_role(role, force=True)
    world.identities.create_role(role, trust(second.arn))
    world.identities.attach_policy("reader", role=role)
    again = second.assume(role)
    again.s3.get_object(Bucket=bucket, Key="open/1")
    denial(again.s3.put_object, Bucket=bucket, Key="a", Body=b"2")


def test_a_policy_names_only_those_who_are_there(world, bucket):
    for kind in ("user", "role", "service-account"):
        arn = f"arn:aws:iam::000000000000:{kind}/not-there"
        policy = document(statement("Allow", "s3:GetObject", f"{S3}{bucket}/*", Principal={"AWS": arn}))
        assert code(world.root.put_bucket_policy, Bucket=bucket, Policy=policy) == "MalformedPolicy"
        with pytest.raises(tv.InvalidInputError, match="not-there"):
            world.identities.create_role(world.name("role"), trust(arn))
    # Other accounts have nobody here, and match nobody.
    foreign = "arn:aws:iam::111122223333:user/alice"
    policy = document(statement("Allow", "s3:GetObject", f"{S3}{bucket}/*", Principal={"AWS": foreign}))
    world.root.put_bucket_policy(Bucket=bucket, Policy=policy)
