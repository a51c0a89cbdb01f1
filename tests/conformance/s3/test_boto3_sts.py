"""STS: sessions of roles and users, by boto3."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from identity_world import ACCOUNT, Signing, World, code, denial, document, served, statement, trust

S3 = "arn:aws:s3:::"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("sts") / "data") as world:
        yield world


@pytest.fixture
def bucket(world: World):
    name = world.bucket()
    world.vault.bucket(name).put("a", b"a")
    return name


def role(world, *principals, policies=("writer",), **options):
    name = world.name("role")
    world.identities.create_role(name, trust(*principals), **options)
    for policy in policies:
        world.identities.attach_policy(policy, role=name)
    return name


def test_who_am_i(world):
    alice = world.user()
    assert alice.sts.get_caller_identity()["Arn"] == alice.arn
    answer = world.client(world.root_pair.access_key, world.root_pair.secret_key, service="sts").get_caller_identity()
    assert (answer["Arn"], answer["Account"]) == (f"{ACCOUNT}:root", "000000000000")
    account = alice.account()
    assert account.sts.get_caller_identity()["Arn"].startswith(f"{ACCOUNT}:service-account/account-")


def test_a_role_is_assumed_and_may_what_it_may(world, bucket):
    alice, bob = world.user(), world.user()
    name = role(world, alice.arn)
    denial(alice.s3.get_object, Bucket=bucket, Key="a")
    answer = alice.sts.assume_role(RoleArn=f"{ACCOUNT}:role/{name}", RoleSessionName="night", DurationSeconds=900)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{name}/night"
    left = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert 880 < left <= 901
    session = alice.assume(name)
    session.s3.put_object(Bucket=bucket, Key="b", Body=b"1")
    assert session.s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    assert session.sts.get_caller_identity()["Arn"].endswith(f"assumed-role/{name}/session")
    message = denial(session.s3.put_bucket_policy, Bucket=bucket, Policy="{}")
    assert message.startswith(f"User: arn:aws:sts::000000000000:assumed-role/{name}/session is not authorized")
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole"):
        bob.assume(name)
    for missing in ("no-such-role", name.upper()):
        assert code(bob.sts.assume_role, RoleArn=f"{ACCOUNT}:role/{missing}", RoleSessionName="xx") == "AccessDenied"
    told = [record.identity for record in world.vault.audit.query(bucket=bucket, key="b")]
    assert told == [f"arn:aws:sts::000000000000:assumed-role/{name}/session"]


def test_a_session_policy_narrows(world, bucket):
    alice = world.user()
    name = role(world, alice.arn)
    session = alice.assume(name, Policy=document(statement("Allow", "s3:GetObject")))
    session.s3.get_object(Bucket=bucket, Key="a")
    assert "no session policy allows" in denial(session.s3.put_object, Bucket=bucket, Key="b", Body=b"1")
    wide = alice.assume(name, Policy=document(statement("Allow", "*")))
    denial(wide.s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert code(
        alice.sts.assume_role, RoleArn=f"{ACCOUNT}:role/{name}", RoleSessionName="xx", Policy="{}"
    ) == "MalformedPolicyDocument"  # fmt: skip


def test_conditions_of_a_trust_policy(world):
    alice = world.user()
    name = world.name("role")
    text = trust(alice.arn).replace(
        '"Effect"', '"Condition": {"StringEquals": {"sts:ExternalId": "secret-42"}, '
        '"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}, "Effect"'
    )  # fmt: skip
    world.identities.create_role(name, text)
    with pytest.raises(ClientError, match="AccessDenied"):
        alice.assume(name)
    with pytest.raises(ClientError, match="AccessDenied"):
        alice.assume(name, ExternalId="other")
    assert alice.assume(name, ExternalId="secret-42").token


def test_a_session_of_a_user(world, bucket):
    alice = world.user(policies=("reader",))
    found = alice.sts.get_session_token(DurationSeconds=900)["Credentials"]
    session = Signing(world, alice.name, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    assert session.s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    denial(session.s3.put_object, Bucket=bucket, Key="a", Body=b"1")
    assert session.sts.get_caller_identity()["Arn"] == alice.arn
    assert code(session.sts.get_session_token) == "AccessDenied"
    assert code(alice.account().sts.get_session_token) == "AccessDenied"
    world.identities.put_inline_policy("none", document(statement("Deny", "sts:GetSessionToken")), user=alice.name)
    assert code(alice.sts.get_session_token) == "AccessDenied"
    # What is taken from the user is taken from the session.
    world.identities.detach_policy("reader", user=alice.name)
    denial(session.s3.get_object, Bucket=bucket, Key="a")


def test_sessions_end(world, bucket):
    alice = world.user()
    name = role(world, alice.arn)

    def ask(session):
        return code(session.s3.get_object, Bucket=bucket, Key="a")

    first, second = alice.assume(name), alice.assume(name)
    assert ask(first) == ask(second) == ""
    world.identities.revoke_sessions(role=name)
    assert ask(first) == ask(second) == "InvalidToken"
    third = alice.assume(name)
    assert ask(third) == ""
    world.identities.set_user_disabled(alice.name, True)
    assert ask(third) == "InvalidToken"
    world.identities.set_user_disabled(alice.name, False)
    assert ask(third) == ""
    world.identities.delete_role(name, force=True)
    assert ask(third) == "InvalidToken"


def test_presigned_urls_of_sessions(world, bucket):
    alice = world.user()
    name = role(world, alice.arn)
    session = alice.assume(name)
    url = session.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"})
    assert urllib.request.urlopen(url).read() == b"a"

    def status(changed):
        try:
            return urllib.request.urlopen(changed).status
        except urllib.error.HTTPError as error:
            return error.code

    head, mark, rest = url.partition("X-Amz-Security-Token=")
    token, _, tail = rest.partition("&")
    assert mark
    assert status(f"{head}{tail}") == 403
    assert status(f"{head}X-Amz-Security-Token={token[:-4]}AAAA&{tail}") == 400
    # Smuggled as a header, beside the query or in its place.
    for changed in (url, f"{head}{tail}"):
        request = urllib.request.Request(changed, headers={"X-Amz-Security-Token": session.token})
        assert status(request) == 400
    world.identities.revoke_sessions(role=name)
    assert status(url) == 400


def test_what_is_not_offered_says_so(world):
    alice = world.user(policies=("administrator",))
    arn = f"{ACCOUNT}:role/{role(world, alice.arn)}"
    sts = alice.sts
    for options in (
        {"Tags": [{"Key": "a", "Value": "b"}]},
        {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]},
        {"SerialNumber": "arn:aws:iam::000000000000:mfa/alice", "TokenCode": "123456"},
        {"SourceIdentity": "alice"},
    ):
        assert code(sts.assume_role, RoleArn=arn, RoleSessionName="xx", **options) == "NotImplemented", options
    assert code(sts.get_federation_token, Name="xx") == "NotImplemented"
    assert code(sts.decode_authorization_message, EncodedMessage="x") == "NotImplemented"
    iam = world.client(alice.access_key, alice.secret, service="iam")
    with pytest.raises(ClientError) as caught:
        iam.list_users()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "tickvault iam" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"DurationSeconds": 901, "RoleSessionName": "xx"}, ""),
        ({"DurationSeconds": 3601, "RoleSessionName": "xx"}, "ValidationError"),
        ({"DurationSeconds": 10**8, "RoleSessionName": "xx"}, "ValidationError"),
        ({"RoleSessionName": "with space"}, "ValidationError"),
        ({"RoleSessionName": "xx", "ExternalId": "y" * 1225}, "ValidationError"),
        ({"RoleSessionName": "xx", "Policy": "{" * 2048}, "MalformedPolicyDocument"),
        ({"RoleSessionName": "xx", "Policy": "x" * 40_000}, "ValidationError"),
    ],
)
def test_values_are_checked(world, options, expected):
    alice = world.user()
    sts = boto3.client(
        "sts", endpoint_url=world.endpoint, aws_access_key_id=alice.access_key, region_name="us-east-1",
        aws_secret_access_key=alice.secret, config=Config(parameter_validation=False),
    )  # fmt: skip
    assert code(sts.assume_role, RoleArn=f"{ACCOUNT}:role/{role(world, alice.arn)}", **options) == expected


def test_the_root_begins_no_sessions(world):
    name = role(world, "000000000000")
    sts = world.client(world.root_pair.access_key, world.root_pair.secret_key, service="sts")
    assert code(sts.assume_role, RoleArn=f"{ACCOUNT}:role/{name}", RoleSessionName="xx") == "AccessDenied"
    assert code(sts.get_session_token) == "AccessDenied"
