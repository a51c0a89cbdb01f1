"""`tickvault iam simulate` says what a server answers, of policies, canned ACLs and public access blocks alike."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from identity_world import World, served, statement

from tickvault.cli.app import main
from tickvault.objects.bucket_rules import block_document
from tickvault.security.policy import PublicAccessBlock

NO_BLOCK = PublicAccessBlock(False, False, False, False)
IGNORING = NO_BLOCK._replace(ignore_public_acls=True)
RESTRICTING = NO_BLOCK._replace(restrict_public_buckets=True)
READ, LIST = "s3:GetObject", "s3:ListBucket"


@pytest.fixture(scope="module", params=[True, False], ids=["anonymous", "signed-only"])
def world(request, tmp_path_factory):
    with served(tmp_path_factory.mktemp("simulated") / "data", allow_anonymous=request.param) as world:
        world.allow_anonymous = request.param
        yield world


def simulated(world: World, identity: str, action: str, resource: str, *context: str) -> dict:
    more = [word for pair in context for word in ("--context", pair)]
    if not world.allow_anonymous:
        more.append("--no-anonymous")
    line = ["iam", "simulate", "--identity", identity, "--action", action, "--resource", resource, *more]
    result = CliRunner().invoke(main, [*line, "--vault", world.vault.path, "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["allowed"] else 7), result
    text = CliRunner().invoke(main, [*line, "--vault", world.vault.path])
    assert text.exit_code == result.exit_code
    assert text.stdout.splitlines()[1].startswith("ALLOWED" if found["allowed"] else "DENIED")
    return found


def rule(effect: str, action: str, bucket: str, principal="*") -> dict:
    return statement(effect, action, [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], Principal=principal)


#: What stands in the way or helps: ACL of the bucket, public access block, statements of the bucket's policy.
CASES = {
    "nothing": (None, None, ()),
    "public bucket": ("public-read", None, ()),
    "public bucket, ignored": ("public-read", IGNORING, ()),
    "authenticated bucket": ("authenticated-read", None, ()),
    "no block": ("public-read", NO_BLOCK, ()),
    "denied": ("public-read", NO_BLOCK, (("Deny", "s3:*"),)),
    "allowed": (None, NO_BLOCK, (("Allow", READ),)),
    "allowed, restricted": (None, RESTRICTING, (("Allow", READ),)),
    "allowed and denied, restricted": ("public-read", RESTRICTING, (("Allow", "s3:*"), ("Deny", READ))),
}


@pytest.mark.parametrize("case", CASES)
def test_simulate_says_what_is_served(world, case):
    acl, block, statements = CASES[case]
    name = world.bucket(versioned=True)
    bucket = world.vault.bucket(name)
    bucket.put("private", b"x")
    old = bucket.put("public", b"x", headers={"x-amz-acl": "private"}).version_id
    new = bucket.put("public", b"x", headers={"x-amz-acl": "public-read"}).version_id
    bucket.set_document("acl", acl)
    bucket.set_document("public_access_block", None if block is None else block_document(block))
    if statements:
        policy = {"Version": "2012-10-17", "Statement": [rule(*each, name) for each in statements]}
        bucket.set_document("policy", json.dumps(policy))
    nobody, reader = world.user(), world.user(statement("Allow", "s3:Get*", "*"))
    asked = [
        (READ, "private", "", ()),
        (READ, "public", "", ()),
        ("s3:GetObjectVersion", "public", f"?versionId={old}", (f"s3:VersionId={old}",)),
        ("s3:GetObjectVersion", "public", f"?versionId={new}", (f"s3:VersionId={new}",)),
        ("s3:GetObjectTagging", "public", "?tagging", ()),
        (LIST, "", "", ()),
        ("s3:GetBucketAcl", "", "?acl", ()),
    ]
    for who in (None, nobody, reader):
        identity = "anonymous" if who is None else who.arn
        for action, key, query, context in asked:
            path = f"/{name}/{key}" if key else f"/{name}"
            status, _ = world.send(who, "GET", path + query)
            found = simulated(world, identity, action, path[1:], *context)
            assert status in (200, 403), (identity, action, key)
            assert found["allowed"] == (status == 200), (identity, action, key, query, found)


def test_what_is_open_by_an_acl_says_so(world):
    """An object that the server gave to anyone was DENIED to everybody."""
    name = world.bucket()
    world.vault.bucket(name).put("open", b"x", headers={"x-amz-acl": "public-read"})
    found = simulated(world, "anonymous", READ, f"{name}/open")
    assert (found["allowed"], found["opened_by_acl"]) == (world.allow_anonymous, world.allow_anonymous)
    if not world.allow_anonymous:
        assert "--allow-anonymous" in found["notes"][-1]
        return
    assert "public-read" in found["reason"] and "--allow-anonymous" in found["reason"]
    # Of what is not there, no ACL can be weighed.
    for resource, told in (
        (f"{name}/none", "no such object"),
        (f"{name}/*", "no such object"),
        (f"{name}-none/open", "no bucket"),
    ):
        missing = simulated(world, "anonymous", READ, resource)
        assert not missing["allowed"]
        assert told in missing["notes"][-1], missing
    (note,) = simulated(world, "anonymous", "s3:GetObjectVersion", f"{name}/open")["notes"]
    assert "s3:VersionId" in note
