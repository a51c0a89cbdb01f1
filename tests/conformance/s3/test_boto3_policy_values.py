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


# -- what a bucket adds


@pytest.fixture(scope="module")
def keys(world: World):
    for name in ("desk-7", "desk-8"):
        world.vault.store.keys.create(name)


SSE = "s3:x-amz-server-side-encryption"
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}


def encrypting(world: World, setting) -> str:
    name = world.bucket()
    world.vault.bucket(name).put("source", b"1")
    world.vault.bucket(name).set_encryption(setting)
    return name


@pytest.mark.parametrize(
    "asked", [{}, {"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}, CUSTOMER]
)
def test_a_denied_key_is_denied_where_the_bucket_names_it(world, keys, asked):
    """A write without a key's id was allowed, and used the bucket's key that was denied."""
    user = all_but(world, {"StringEquals": {KEY_ID: "desk-7"}})
    name = encrypting(world, {"key": "desk-7"})
    denial(user.s3.put_object, Bucket=name, Key="a", Body=b"1", **asked)
    denial(user.s3.create_multipart_upload, Bucket=name, Key="a", **asked)
    denial(user.s3.copy_object, Bucket=name, Key="a", CopySource=f"{name}/source", **asked)
    other = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "desk-8"}
    assert user.s3.put_object(Bucket=name, Key="a", Body=b"1", **other)["SSEKMSKeyId"] == "desk-8"
    plain = world.bucket()
    user.s3.put_object(Bucket=plain, Key="a", Body=b"1", **asked)


def test_a_form_has_the_key_of_the_bucket_too(world, keys):
    user = all_but(world, {"StringEquals": {KEY_ID: "desk-7"}})
    for setting, status in (({"key": "desk-7"}, 403), ({"key": "desk-8"}, 204)):
        name = encrypting(world, setting)
        fields = {**user.s3.generate_presigned_post(name, "form")["fields"], "file": "body"}
        parts = [f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
        body = ("".join(parts) + "--x--\r\n").encode()
        assert world.raw("POST", f"/{name}", body, {"Content-Type": "multipart/form-data; boundary=x"})[0] == status


def test_python_sees_the_key_of_the_bucket_too(world, keys):
    user = all_but(world, {"StringEquals": {KEY_ID: "desk-7"}})
    name = encrypting(world, {"key": "desk-7", "suite": "aes-256-gcm"})
    with as_python(world, user) as vault:
        bucket = vault[name]
        for asked in (None, {"mode": "kms"}, "aes-256-gcm", {"mode": "managed"}, {"customer_key": b"k" * 32}):
            with pytest.raises(tv.AccessDeniedError):
                bucket.put("a", b"1", encryption=asked)
            with pytest.raises(tv.AccessDeniedError):
                bucket.create_upload("a", encryption=asked)
            with pytest.raises(tv.AccessDeniedError):
                bucket.copy("source", "a", encryption=asked)
        with pytest.raises(tv.AccessDeniedError):
            bucket.put_many([("a", b"1")])
        bucket.put("a", b"1", encryption={"key": "desk-8"})


@pytest.mark.parametrize("asked", [{"mode": "managed", "suite": "aes-256-gcm"}, {"customer_key": b"k" * 32}])
def test_a_key_is_named_only_where_it_is_chosen(world, bucket, keys, asked):
    """A mode that chooses no key took one all the same, and no condition saw it."""
    for key in ("desk-7", "desk-8"):
        with pytest.raises(tv.InvalidInputError, match="takes no key id"):
            world.vault[bucket].put("a", b"1", encryption={**asked, "key": key})


@pytest.mark.parametrize(
    ("setting", "asked", "expected"),
    [
        (None, {}, (None, None)),
        (None, {"ServerSideEncryption": "AES256"}, ("AES256", None)),
        (None, {"ServerSideEncryption": "aws:kms"}, ("aws:kms", "default-aes-256-gcm")),
        ("aes-256-gcm", {}, ("AES256", None)),
        ("aes-256-gcm", {"ServerSideEncryption": "aws:kms"}, ("aws:kms", "default-aes-256-gcm")),
        ({"key": "desk-7"}, {}, ("aws:kms", "desk-7")),
        ({"key": "desk-7"}, {"ServerSideEncryption": "AES256"}, ("AES256", "desk-7")),
        ({"key": "desk-7", "mode": "managed"}, {}, ("AES256", "desk-7")),
        ({"key": "desk-7"}, CUSTOMER, (None, "desk-7")),
    ],
)
def test_what_conditions_see_of_encryption(world, keys, setting, asked, expected):
    name = encrypting(world, setting)
    for key, value in zip((SSE, KEY_ID), expected, strict=True):
        condition = {"Null": {key: "true"}} if value is None else {"StringEquals": {key: value}}
        user = world.user(statement("Allow", "s3:PutObject", "*", Condition=condition))
        user.s3.put_object(Bucket=name, Key="a", Body=b"1", **asked)
        denied = all_but(world, condition)
        denial(denied.s3.put_object, Bucket=name, Key="a", Body=b"1", **asked)


def test_what_adds_to_an_upload_does_not_say_how_it_is_encrypted(world, bucket):
    """A header that UploadPart and CompleteMultipartUpload do not act on satisfied conditions on it."""
    user = all_but(world, {"Null": {SSE: "true"}})
    upload = world.root.create_multipart_upload(Bucket=bucket, Key="plain")["UploadId"]
    path = f"/{bucket}/plain?uploadId={upload}"
    body = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
    said = {"x_amz_server_side_encryption": "AES256"}
    assert world.send(user, "POST", path, body, **said) == (403, "AccessDenied")
    assert world.send(user, "PUT", f"{path}&partNumber=1", b"1", **said) == (403, "AccessDenied")


# -- ACLs


def spelled_out(world: World, group: str | None) -> dict:
    owner = world.root.list_buckets()["Owner"]
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": owner["ID"]}, "Permission": "FULL_CONTROL"}]
    if group:
        uri = f"http://acs.amazonaws.com/groups/global/{group}"
        grants.append({"Grantee": {"Type": "Group", "URI": uri}, "Permission": "READ"})
    return {"Owner": {"ID": owner["ID"]}, "Grants": grants}


def test_a_denied_acl_is_denied_however_it_is_written(world, bucket):
    """An ACL that was spelled out in the body was stored as the canned one that a condition denied."""
    actions = ["s3:PutObject", "s3:PutObjectAcl", "s3:PutBucketAcl"]
    user = all_but(world, {"StringLike": {"s3:x-amz-acl": "public-*"}}, actions)
    for call, named in ((user.s3.put_object_acl, {"Key": "open/1"}), (user.s3.put_bucket_acl, {})):
        denial(call, Bucket=bucket, **named, ACL="public-read")
        denial(call, Bucket=bucket, **named, AccessControlPolicy=spelled_out(world, "AllUsers"))
        call(Bucket=bucket, **named, AccessControlPolicy=spelled_out(world, "AuthenticatedUsers"))
        call(Bucket=bucket, **named, AccessControlPolicy=spelled_out(world, None))
        call(Bucket=bucket, **named, ACL="private")
    denial(user.s3.put_object, Bucket=bucket, Key="a", Body=b"1", ACL="public-read")
    upload = world.root.create_multipart_upload(Bucket=bucket, Key="a", ACL="public-read")["UploadId"]
    denial(user.s3.upload_part, Bucket=bucket, Key="a", UploadId=upload, PartNumber=1, Body=b"1")
    world.vault.bucket(bucket).set_headers("top/secret", {"x-amz-acl": "public-read"})
    with as_python(world, user) as vault:
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].set_headers("open/1", {"x-amz-acl": "public-read"})
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].put("a", b"1", headers={"X-Amz-Acl": "public-read"})
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].set_document("acl", "public-read")
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].copy("top/secret", "a")
        vault[bucket].copy("top/secret", "a", metadata={})
        vault[bucket].set_headers("open/1", {"x-amz-acl": None})


def test_python_takes_the_right_to_an_acl_too(world, bucket):
    user = world.user(statement("Allow", ["s3:PutObject", "s3:GetObject"], "*"))
    with as_python(world, user) as vault:
        with pytest.raises(tv.AccessDeniedError, match="PutObjectAcl"):
            vault[bucket].put("a", b"1", headers={"x-amz-acl": "public-read"})
        with pytest.raises(tv.AccessDeniedError, match="PutObjectAcl"):
            vault[bucket].set_headers("open/1", {"x-amz-acl": "public-read"})
        vault[bucket].set_headers("open/1", {"cache-control": "no-store"})


# -- what a copy keeps


@pytest.mark.parametrize("key", ["s3:RequestObjectTag/secret", "s3:RequestObjectTagKeys"])
def test_a_denied_tag_does_not_come_with_a_copy(world, bucket, key):
    """The tags that a copy takes over by itself were seen by no condition."""
    actions = ["s3:PutObject", "s3:PutObjectTagging"]
    user = all_but(world, {"StringEquals": {key: "no" if "/" in key else "secret"}}, actions)
    world.vault.bucket(bucket).set_tags("top/secret", {"secret": "no"})
    source = {"CopySource": f"{bucket}/top/secret", "Bucket": bucket, "Key": "copy"}
    denial(user.s3.put_object, Bucket=bucket, Key="copy", Body=b"1", Tagging="secret=no")
    denial(user.s3.copy_object, **source)
    # With COPY a header names tags that nobody sets.
    denial(user.s3.copy_object, **source, Tagging="open=yes")
    denial(user.s3.copy_object, **source, TaggingDirective="REPLACE", Tagging="secret=no")
    user.s3.copy_object(**source, TaggingDirective="REPLACE", Tagging="open=yes")
    user.s3.copy_object(**{**source, "CopySource": f"{bucket}/open/1"})
    assert code(user.s3.copy_object, **{**source, "CopySource": f"{bucket}/none"}) == "NoSuchKey"
    with as_python(world, user) as vault:
        with pytest.raises(tv.AccessDeniedError):
            vault[bucket].copy("top/secret", "copy")
        vault[bucket].copy("top/secret", "copy", tags={})
        vault[bucket].copy("open/1", "copy")


def test_a_copy_that_names_no_directive_copies(world, bucket):
    user = all_but(world, {"StringEquals": {"s3:x-amz-metadata-directive": "COPY"}})
    source = {"CopySource": f"{bucket}/open/1", "Bucket": bucket, "Key": "copy"}
    for given in ({}, {"MetadataDirective": "COPY"}):
        denial(user.s3.copy_object, **source, **given)
    user.s3.copy_object(**source, MetadataDirective="REPLACE")


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
