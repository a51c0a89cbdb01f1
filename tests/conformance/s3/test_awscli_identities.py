"""The command line of AWS as a user, with a role of its configuration, and the settings of who may."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from identity_world import ACCOUNT, document, served, statement, trust
from served_vault import plain_environment, program

S3 = "arn:aws:s3:::"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with served(tmp_path_factory.mktemp("aws") / "data") as world:
        yield world


@pytest.fixture
def aws(world, tmp_path):
    """A function that runs aws as somebody; it returns what came back, or the error's text."""
    executable = program("aws", "awscli")

    def run(signer, *arguments, **variables):
        environment = plain_environment(
            tmp_path, AWS_ACCESS_KEY_ID=signer.access_key, AWS_SECRET_ACCESS_KEY=signer.secret,
            AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1", AWS_PAGER="",
            **({"AWS_SESSION_TOKEN": signer.token} if signer.token else {}), **variables,
        )  # fmt: skip
        done = subprocess.run(
            [executable, "--endpoint-url", world.endpoint, "--output", "json", *arguments],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    return run


def test_a_user_a_session_and_a_policy_of_a_bucket(world, aws, tmp_path):
    bucket = world.bucket()
    world.vault.bucket(bucket).put("a", b"a")
    alice = world.user(policies=("reader",))
    (tmp_path / "new").write_text("1")
    assert aws(alice, "sts", "get-caller-identity")["Arn"] == alice.arn
    assert "a" in aws(alice, "s3", "ls", f"s3://{bucket}/")
    told = aws(alice, "s3", "cp", str(tmp_path / "new"), f"s3://{bucket}/new")
    assert "AccessDenied" in told and "is not authorized to perform: s3:PutObject" in told
    name = world.name("role")
    world.identities.create_role(name, trust(alice.arn))
    world.identities.attach_policy("writer", role=name)
    found = aws(alice, "sts", "assume-role", "--role-arn", f"{ACCOUNT}:role/{name}", "--role-session-name", "night",
                "--duration-seconds", "900")["Credentials"]  # fmt: skip
    session = type(alice)(world, name, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    assert "upload" in aws(session, "s3", "cp", str(tmp_path / "new"), f"s3://{bucket}/new")
    policy = document(statement("Deny", "s3:GetObject", f"{S3}{bucket}/new", Principal={"AWS": alice.arn}))
    admin = world.user(policies=("administrator",))
    assert aws(admin, "s3api", "put-bucket-policy", "--bucket", bucket, "--policy", policy) == ""
    kept = aws(admin, "s3api", "get-bucket-policy", "--bucket", bucket)["Policy"]
    assert json.loads(kept)["Statement"][0]["Effect"] == "Deny"
    assert aws(admin, "s3api", "get-bucket-policy-status", "--bucket", bucket) == {"PolicyStatus": {"IsPublic": False}}
    told = aws(alice, "s3api", "get-object", "--bucket", bucket, "--key", "new", str(tmp_path / "out"))
    assert "explicit deny in a resource-based policy" in told
    assert aws(admin, "s3api", "delete-bucket-policy", "--bucket", bucket) == ""
    block = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=false"
    configure = ("put-public-access-block", "--bucket", bucket, "--public-access-block-configuration", block)
    assert aws(admin, "s3api", *configure) == ""
    shown = aws(admin, "s3api", "get-public-access-block", "--bucket", bucket)["PublicAccessBlockConfiguration"]
    assert [shown[name] for name in sorted(shown)] == [True, True, True, False]


def test_a_role_of_the_configuration(world, aws, tmp_path):
    """``role_arn`` in a profile: the client asks STS by itself, and signs as the session."""
    bucket = world.bucket()
    alice = world.user()
    name = world.name("role")
    world.identities.create_role(name, trust(alice.arn))
    world.identities.attach_policy("writer", role=name)
    config = tmp_path / "config"
    config.write_text(
        f"[profile loader]\nrole_arn = {ACCOUNT}:role/{name}\ncredential_source = Environment\nregion = us-east-1\n"
    )
    # The client of the dependencies: not every release of aws takes an endpoint for STS from its surroundings.
    script = "import boto3, sys; boto3.Session(profile_name='loader').client('s3').list_objects_v2(Bucket=sys.argv[1])"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL": world.endpoint,
        "AWS_ACCESS_KEY_ID": alice.access_key,
        "AWS_SECRET_ACCESS_KEY": alice.secret,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    subprocess.run([sys.executable, "-c", script, bucket], env=environment, check=True, timeout=60)


def test_apis_that_are_not_offered_say_so(world, aws):
    """The command line showed a KMS client that this endpoint belonged to 'sts', in XML that it could not read."""
    alice = world.user()
    for call, said in (
        (("kms", "list-keys"), "This server has no KMS interface: make and manage keys with tickvault keys"),
        (("iam", "list-users"), "The API of IAM is not offered over HTTP"),
        (("secretsmanager", "list-secrets"), "Only S3 and STS are offered here, not secretsmanager."),
        (("sns", "list-topics"), "Only S3 and STS are offered here, not sns."),
    ):
        told = aws(alice, *call)
        assert "An error occurred (NotImplemented) when calling" in told and said in told
