"""The table of rights: complete, spelt as the catalogue spells it, and asked for as it stands."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

import tickvault as tv
from tickvault.doors.s3.authorization.signer import Signer, Signers, root_signer
from tickvault.doors.s3.authorization.table import KEYS_IN_BODY, OPENED_BY_ACL, TABLE, Need
from tickvault.doors.s3.body import EMPTY_BODY, RequestBody
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.router import OPERATIONS, copy_object, post_object, refuse_early, route, upload_part_copy
from tickvault.objects.condition_keys import BYPASS
from tickvault.security.policy import find_action

HANDLERS = {handler.__name__ for table in OPERATIONS.values() for handler in table.values()} | {
    handler.__name__ for handler in (copy_object, upload_part_copy, post_object)
}
_numbers = itertools.count(1)

#: Operation -> method, key named, query, headers, and every right that it then takes.
CASES: dict[str, tuple[str, str, dict[str, str], dict[str, str], list[str]]] = {
    "list_buckets": ("GET", "", {}, {}, ["s3:ListAllMyBuckets *"]),
    "create_bucket": ("PUT", "", {}, {}, ["s3:CreateBucket bbb"]),
    "head_bucket": ("HEAD", "", {}, {}, ["s3:ListBucket bbb"]),
    "delete_bucket": ("DELETE", "", {}, {}, ["s3:DeleteBucket bbb"]),
    "get_bucket_location": ("GET", "", {"location": ""}, {}, ["s3:GetBucketLocation bbb"]),
    "list_objects": ("GET", "", {}, {}, ["s3:ListBucket bbb"]),
    "list_objects_v2": ("GET", "", {"list-type": "2"}, {}, ["s3:ListBucket bbb"]),
    "list_object_versions": ("GET", "", {"versions": ""}, {}, ["s3:ListBucketVersions bbb"]),
    "list_multipart_uploads": ("GET", "", {"uploads": ""}, {}, ["s3:ListBucketMultipartUploads bbb"]),
    "get_object": ("GET", "k", {}, {}, ["s3:GetObject bbb/k"]),
    "get_object of a version": ("GET", "k", {"versionId": "v"}, {}, ["s3:GetObjectVersion bbb/k"]),
    "get_object_attributes": (
        "GET", "k", {"attributes": ""}, {}, ["s3:GetObject bbb/k", "s3:GetObjectAttributes bbb/k"],
    ),
    "put_object": ("PUT", "k", {}, {}, ["s3:PutObject bbb/k"]),
    "put_object over a known one": (
        "PUT", "k", {}, {"if-match": '"a"'}, ["s3:PutObject bbb/k", "s3:GetObject bbb/k"],
    ),
    "delete_object if it is the known one": (
        "DELETE", "k", {}, {"if-match": '"a"'}, ["s3:DeleteObject bbb/k", "s3:GetObject bbb/k"],
    ),
    "put_object with all": (
        "PUT", "k", {},
        {
            "x-amz-tagging": "a=b", "x-amz-acl": "private", "x-amz-object-lock-mode": "GOVERNANCE",
            "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z", "x-amz-object-lock-legal-hold": "ON",
        },
        [
            "s3:PutObject bbb/k", "s3:PutObjectTagging bbb/k", "s3:PutObjectAcl bbb/k", "s3:PutObjectRetention bbb/k",
            "s3:PutObjectLegalHold bbb/k",
        ],
    ),
    "copy_object": (
        "PUT", "k", {}, {"x-amz-copy-source": "ccc/plain"}, ["s3:PutObject bbb/k", "s3:GetObject ccc/plain"],
    ),
    "copy_object of a version": (
        "PUT", "k", {}, {"x-amz-copy-source": "ccc/plain?versionId=null"},
        ["s3:PutObject bbb/k", "s3:GetObjectVersion ccc/plain"],
    ),
    "copy_object of tags": (
        "PUT", "k", {}, {"x-amz-copy-source": "ccc/tagged"},
        [
            "s3:PutObject bbb/k", "s3:PutObjectTagging bbb/k", "s3:GetObject ccc/tagged",
            "s3:GetObjectTagging ccc/tagged",
        ],
    ),
    "upload_part": ("PUT", "k", {"uploadId": "u", "partNumber": "1"}, {}, ["s3:PutObject bbb/k"]),
    "upload_part_copy": (
        "PUT", "k", {"uploadId": "u", "partNumber": "1"}, {"x-amz-copy-source": "ccc/plain"},
        ["s3:PutObject bbb/k", "s3:GetObject ccc/plain"],
    ),
    "create_multipart_upload": ("POST", "k", {"uploads": ""}, {"x-amz-tagging": "a=b"},
                                ["s3:PutObject bbb/k", "s3:PutObjectTagging bbb/k"]),
    "list_parts": ("GET", "k", {"uploadId": "u"}, {}, ["s3:ListMultipartUploadParts bbb/k"]),
    "abort_multipart_upload": ("DELETE", "k", {"uploadId": "u"}, {}, ["s3:AbortMultipartUpload bbb/k"]),
    "delete_object": ("DELETE", "k", {}, {}, ["s3:DeleteObject bbb/k"]),
    "delete_object of a version": ("DELETE", "k", {"versionId": "v"}, {}, ["s3:DeleteObjectVersion bbb/k"]),
    "delete_object_tagging": ("DELETE", "k", {"tagging": "", "versionId": "v"}, {},
                              ["s3:DeleteObjectVersionTagging bbb/k"]),
    "get_object_tagging": ("GET", "k", {"tagging": ""}, {}, ["s3:GetObjectTagging bbb/k"]),
    "get_object_acl": ("GET", "k", {"acl": "", "versionId": "v"}, {}, ["s3:GetObjectVersionAcl bbb/k"]),
    "put_object_acl": ("PUT", "k", {"acl": ""}, {"x-amz-acl": "private"}, ["s3:PutObjectAcl bbb/k"]),
    "get_object_retention": ("GET", "k", {"retention": ""}, {}, ["s3:GetObjectRetention bbb/k"]),
    "put_object_retention": ("PUT", "k", {"retention": ""}, {}, ["s3:PutObjectRetention bbb/k"]),
    "put_object_legal_hold": ("PUT", "k", {"legal-hold": ""}, {}, ["s3:PutObjectLegalHold bbb/k"]),
    "put_bucket_policy": ("PUT", "", {"policy": ""}, {}, ["s3:PutBucketPolicy bbb"]),
    "delete_public_access_block": ("DELETE", "", {"publicAccessBlock": ""}, {}, ["s3:PutBucketPublicAccessBlock bbb"]),
    "put_bucket_lifecycle": ("PUT", "", {"lifecycle": ""}, {}, ["s3:PutLifecycleConfiguration bbb"]),
    "delete_bucket_cors": ("DELETE", "", {"cors": ""}, {}, ["s3:PutBucketCORS bbb"]),
    "unsupported": ("PUT", "", {"notification": ""}, {}, ["s3:ListBucket bbb"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tv.Vault, Context, Signers]]:
    with tv.open(tmp_path_factory.mktemp("table") / "vault") as vault:
        vault.create_bucket("bbb")
        source = vault.create_bucket("ccc")
        source.put("plain", b"1")
        source.put("tagged", b"1", tags={"x": "y"})
        signers = Signers(lambda access_key: None, vault.identities)
        yield vault, Context(vault.store, signers.find), signers


def user(world: tuple[tv.Vault, Context, Signers], rights: list[str]) -> Signer:
    vault, _, signers = world
    name = f"user-{next(_numbers)}"
    vault.identities.create_user(name)
    if rights:
        statements = []
        for right in rights:
            action, resource = right.split(" ")
            statements.append({"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{resource}"})
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        vault.identities.put_inline_policy("own", text, user=name)
    return signers.find(vault.identities.create_access_key(name).id, None)


def request_of(case: tuple[str, str, dict[str, str], dict[str, str], list[str]], signer: Signer | None) -> Request:
    method, key, query, headers, rights = case
    bucket = "" if rights == ["s3:ListAllMyBuckets *"] else "bbb"
    access_key = "" if signer is None else signer.access_key
    return Request(
        method, f"/{bucket}/{key}", bucket, key, query, dict(headers), EMPTY_BODY, access_key, "ID", signer=signer
    )


def answer(context: Context, request: Request) -> Response:
    async def run() -> Response:
        found = route(context, request)
        return found if isinstance(found, Response) else await found

    return asyncio.run(run())


def test_every_operation_of_the_router_has_a_row() -> None:
    assert set(TABLE) >= HANDLERS
    assert {name for name in TABLE if name not in HANDLERS} <= {
        # Of another room's making: rows that wait for their operation.
        "get_bucket_encryption", "put_bucket_encryption", "delete_bucket_encryption",
    }  # fmt: skip
    for row in (OPENED_BY_ACL, KEYS_IN_BODY):
        assert set(row) <= set(TABLE)


def test_every_action_is_one_of_the_catalogue_on_its_own_kind_of_resource() -> None:
    needs = [Need(BYPASS), *(need for row in TABLE.values() for need in row)]
    for need in needs:
        for name in (need.action, *([need.version_action] if need.version_action else [])):
            action = find_action(name)
            assert action is not None and action.name == name, name
            assert action.level == {"source": "object"}.get(need.on, need.on), name


@pytest.mark.parametrize("name", CASES)
def test_each_right_of_a_row_is_taken_and_no_other(name: str, world: Any) -> None:
    """With all of them the operation runs; without any one of them it does not, told by which."""
    case = CASES[name]
    rights = case[4]
    _, context, _ = world
    request = request_of(case, user(world, rights))
    assert context.authorizer.authorize(context, request, name.split(" ")[0])
    for missing in rights:
        others = [right for right in rights if right != missing]
        refused = answer(context, request_of(case, user(world, [*others, "s3:GetBucketRequestPayment *"])))
        assert (refused.status, refused.error) == (403, "AccessDenied"), missing
        action, resource = missing.split(" ")
        if request.method != "HEAD":
            assert f'perform: {action} on resource: "arn:aws:s3:::{resource}"' in bytes(refused.body).decode().replace(
                "&quot;", '"'
            )


def test_an_operation_without_a_row_is_the_roots_alone(world: Any) -> None:
    _, context, _ = world
    case = CASES["get_object"]
    with pytest.raises(S3Error):
        context.authorizer.authorize(context, request_of(case, user(world, ["* *"])), "new_operation")
    assert context.authorizer.authorize(context, request_of(case, root_signer("AK", "s")), "new_operation")


def test_nobody_is_not_the_root(world: Any) -> None:
    """A request that no admission identified has no rights, whatever access key it names."""
    _, context, _ = world
    request = request_of(CASES["get_object"], None)
    request.access_key = "AK"
    assert answer(context, request).status == 403


def test_who_may_not_is_told_before_the_body(world: Any) -> None:
    _, context, _ = world
    body = RequestBody(1 << 30, None, None, None, buffer_max=1 << 20, size_max=1 << 40)
    for case in (CASES["put_object"], CASES["upload_part"], CASES["put_bucket_policy"], CASES["unsupported"]):
        request = request_of(case, user(world, ["s3:GetObject *"]))
        request.body = body
        refused = refuse_early(context, request)
        assert refused is not None and refused.status == 403
    allowed = request_of(CASES["put_object"], user(world, ["s3:PutObject bbb/k"]))
    allowed.body = body
    assert refuse_early(context, allowed) is None


def test_tags_and_locks_are_looked_up_only_for_policies_that_read_them(world: Any) -> None:
    vault, context, signers = world
    looked: list[str] = []
    bucket = context.bucket("ccc")
    plain = user(world, ["s3:GetObject ccc/*"])
    statement = {
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::ccc/*",
        "Condition": {"StringEquals": {"s3:ExistingObjectTag/x": "y"}},
    }  # fmt: skip
    vault.identities.create_user("tag-reader")
    vault.identities.put_inline_policy(
        "own", json.dumps({"Version": "2012-10-17", "Statement": [statement]}), user="tag-reader"
    )
    reader = signers.find(vault.identities.create_access_key("tag-reader").id, None)
    original = bucket.get_tags

    def get_tags(key: str, *, version_id: str | None = None) -> dict[str, str]:
        looked.append(key)
        return original(key, version_id=version_id)

    bucket.get_tags = get_tags
    try:
        for signer in (plain, reader):
            request = Request("GET", "/ccc/tagged", "ccc", "tagged", {}, {}, EMPTY_BODY, "AK", "ID", signer=signer)
            assert context.authorizer.authorize(context, request, "get_object")
            assert looked == ([] if signer is plain else ["tagged"])
    finally:
        del bucket.get_tags


def test_a_bypass_without_the_right_is_as_if_it_had_not_been_asked_for(world: Any) -> None:
    _, context, _ = world
    for name in ("delete_object of a version", "put_object_retention"):
        case = CASES[name]
        for rights, kept in ((case[4], False), ([*case[4], f"{BYPASS} bbb/k"], True)):
            request = request_of(case, user(world, rights))
            request.headers = {**request.headers, "x-amz-bypass-governance-retention": "true"}
            assert context.authorizer.authorize(context, request, name.split(" ")[0])
            assert ("x-amz-bypass-governance-retention" in request.headers) == kept
