from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from raw_client import ACCESS_KEY, SECRET_KEY

from tickvault.doors.s3.authorization.signer import Signers
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.post_policy import PostGrant, verify_post_policy
from tickvault.doors.s3.signing_key import SigningKey

NOW = 1369353600.0  # 2013-05-24
FIND = Signers({ACCESS_KEY: SECRET_KEY}.get).find


def form(conditions: list[Any], expiration: Any = "2013-05-25T00:00:00.000Z", **fields: str) -> dict[str, str]:
    policy = base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()
    return {
        "policy": policy,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request",
        "x-amz-date": "20130524T000000Z",
        "x-amz-signature": SigningKey.derive(SECRET_KEY, "20130524", "us-east-1").sign(policy),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }


#: Covers the fields that every form has.
BASE: list[Any] = [["starts-with", f"$x-amz-{name}", ""] for name in ("algorithm", "credential", "date")]


def verify(fields: dict[str, str], bucket: str = "raw", now: float = NOW) -> PostGrant:
    return verify_post_policy(fields, bucket=bucket, find=FIND, now=now)


def refusal(fields: dict[str, str], **options: Any) -> str:
    with pytest.raises(S3Error) as caught:
        verify(fields, **options)
    return caught.value.code


def test_what_boto3_makes_is_let_in() -> None:
    client = boto3.client(
        "s3",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="eu-west-1",
        config=Config(signature_version="s3v4"),
    )
    post = client.generate_presigned_post(
        "raw",
        "incoming/${filename}",
        Fields={"acl": "private", "Content-Type": "text/csv"},
        Conditions=[{"acl": "private"}, ["starts-with", "$Content-Type", "text/"], ["content-length-range", 1, 10]],
    )
    fields = {name.lower(): value for name, value in post["fields"].items()}
    fields["key"] = "incoming/today.csv"
    assert verify_post_policy(fields, bucket="raw", find=FIND) == PostGrant(FIND(ACCESS_KEY, None), 1, 10)
    assert refusal(fields, bucket="other", now=None) == "AccessDenied"


def test_conditions() -> None:
    conditions = [*BASE, {"bucket": "raw"}, ["starts-with", "$key", "user/"], {"acl": "private"}]
    assert verify(form(conditions, key="user/x", acl="private")).signer.access_key == ACCESS_KEY
    assert refusal(form(conditions, key="other/x", acl="private")) == "AccessDenied"
    assert refusal(form(conditions, key="user/x", acl="public-read")) == "AccessDenied"
    assert refusal(form(conditions, key="user/x")) == "AccessDenied"
    assert refusal(form(conditions, key="user/x", acl="private"), bucket="b") == "AccessDenied"


def test_every_field_must_be_covered() -> None:
    conditions = [*BASE, ["eq", "$key", "k"]]
    assert verify(form(conditions, key="k", x_ignore_this="1"))
    assert refusal(form(conditions, key="k", x_amz_meta_extra="1")) == "AccessDenied"


def test_expiry() -> None:
    fields = form([*BASE, {"key": "k"}], key="k")
    assert verify(fields, now=NOW + 86400)
    assert refusal(fields, now=NOW + 86401) == "AccessDenied"


@pytest.mark.parametrize("expiration", [None, "", "tomorrow", "2013-05-25", 1369440000, "2013-05-25T00:00:00+01:00"])
def test_an_expiry_that_is_no_time_in_utc_is_refused(expiration: Any) -> None:
    assert refusal(form([*BASE, {"key": "k"}], expiration, key="k")) == "InvalidPolicyDocument"


@pytest.mark.parametrize(
    "condition",
    [
        "key",
        ["eq", "key", "k"],
        ["eq", "$key"],
        ["less", "$key", "k"],
        ["eq", "$key", 1],
        {"key": "k", "acl": "x"},
        {"key": None},
        ["content-length-range", "a", 1],
        ["content-length-range", 5, 1],
        ["content-length-range", -5, 1],
        [[], [], []],
    ],
)
def test_malformed_conditions_are_refused(condition: Any) -> None:
    assert refusal(form([*BASE, {"key": "k"}, condition], key="k")) == "InvalidPolicyDocument"


def test_signature_and_keys() -> None:
    fields = form([*BASE, {"key": "k"}], key="k")
    assert refusal(fields | {"x-amz-signature": "0" * 64}) == "SignatureDoesNotMatch"
    assert refusal(fields | {"x-amz-signature": "ü"}) == "SignatureDoesNotMatch"
    other = form([*BASE, {"key": "x"}], key="x")
    assert refusal(fields | {"policy": other["policy"]}) == "SignatureDoesNotMatch"
    credential = fields["x-amz-credential"].replace(ACCESS_KEY, "NOBODY")
    assert refusal(fields | {"x-amz-credential": credential}) == "InvalidAccessKeyId"
    assert refusal({name: value for name, value in fields.items() if name != "x-amz-date"}) == "MissingFields"
    assert refusal(fields | {"x-amz-algorithm": "AWS"}) == "InvalidArgument"
    assert refusal(fields | {"awsaccesskeyid": "x"}) == "InvalidRequest"


def test_without_a_policy_nobody_is_let_in() -> None:
    assert refusal({"key": "k"}) == "AccessDenied"


def test_a_policy_that_is_no_json_is_refused() -> None:
    for document in (b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"conditions": 1}'):
        policy = base64.b64encode(document).decode()
        fields = form([]) | {"policy": policy}
        fields["x-amz-signature"] = SigningKey.derive(SECRET_KEY, "20130524", "us-east-1").sign(policy)
        assert refusal(fields) == "InvalidPolicyDocument"
