"""Policies in: what is read, and what is refused, where and with which words."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tickvault.errors import InvalidInputError
from tickvault.security.policy import Policy, parse_policy
from tickvault.security.policy.limits import POLICY_SIZE_MAX, SOURCE_SIZE_MAX, STATEMENTS_MAX, VALUES_MAX

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
PUBLIC = {**ALLOW, "Principal": "*"}


def identity(*statements: Any, **elements: Any) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements), **elements}, kind="identity")


def bucket(*statements: Any) -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return parse_policy(json.dumps(document), kind="bucket", for_bucket="bucket")


def refused(document: Any, *words: str, kind: Any = "identity", for_bucket: str | None = None) -> str:
    """Return the message; every word must stand in it."""
    with pytest.raises(InvalidInputError) as caught:
        parse_policy(document, kind=kind, for_bucket=for_bucket)
    message = str(caught.value)
    for word in words:
        assert word in message, (word, message)
    assert message.startswith(f"{kind} policy")
    assert len(message) < 700
    return message


def test_a_policy_is_read_from_text_bytes_and_mapping() -> None:
    document = {"Version": "2012-10-17", "Id": "x", "Statement": {"Sid": "a", **ALLOW}}
    for source in (json.dumps(document), json.dumps(document).encode(), document):
        policy = parse_policy(source, kind="identity")
        assert policy.version == "2012-10-17"
        assert policy.id == "x"
        assert [s.sid for s in policy.statements] == ["a"]
        assert policy.statements[0].actions == ("s3:GetObject",)
        assert policy.warnings == ()


def test_the_canonical_text_reads_back_as_itself() -> None:
    policy = bucket(
        {"Sid": "a b", "Effect": "Deny", "NotPrincipal": {"AWS": ["123456789012", "arn:aws:iam::123456789012:user/a"]},
         "NotAction": ["s3:PutObject", "s3:Get*"], "NotResource": "arn:aws:s3:::bucket/ü",
         "Condition": {"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"aws:SecureTransport": [False, "true"]}}},
        {"Effect": "Allow", "Principal": {"AWS": "*", "Service": "x.amazonaws.com"}, "Action": "*",
         "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]},
        {**PUBLIC, "Principal": {"AWS": ["*"]}},
    )  # fmt: skip
    text = policy.to_json()
    assert parse_policy(text, kind="bucket", for_bucket="bucket").to_json() == text
    assert json.loads(text)["Statement"][0]["Condition"] == {
        "NumericLessThan": {"s3:max-keys": "10"},
        "Bool": {"aws:SecureTransport": ["false", "true"]},
    }
    assert json.loads(text)["Statement"][2]["Principal"] == "*"
    assert "ü" in text


def test_without_a_version_it_is_of_2008_and_has_no_variables() -> None:
    policy = parse_policy({"Statement": [{**ALLOW, "Resource": "arn:aws:s3:::b/${aws:username}"}]}, kind="identity")
    assert policy.version == "2008-10-17"
    context = {"aws:username": "alice"}
    assert policy.statements[0].matches_resource("arn:aws:s3:::b/${aws:username}", context)
    assert not policy.statements[0].matches_resource("arn:aws:s3:::b/alice", context)
    assert policy.warnings == (
        "Statement[0]: 'arn:aws:s3:::b/${aws:username}' is taken as it is written; variables need Version 2012-10-17",
    )


STATEMENT_FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"Effect": "allow"}, ["Statement[0].Effect", "'allow'", "Allow or Deny"]),
    ({"Effect": None}, ["Statement[0].Effect", "null"]),
    ({"Effect": ["Allow"]}, ["Statement[0].Effect"]),
    ({"effect": "Allow"}, ["Statement[0]", "'effect'", "write Effect"]),
    ({"Resources": "*"}, ["Statement[0]", "'Resources'"]),
    ({"Sid": "a-b"}, ["Statement[0].Sid", "'a-b'", "letters and digits"]),
    ({"Sid": 5}, ["Statement[0].Sid"]),
    ({"Sid": "a" * 300}, ["Statement[0].Sid", "256"]),
    ({"Action": []}, ["Statement[0].Action", "empty"]),
    ({"Action": [1]}, ["Statement[0].Action[0]"]),
    ({"Action": None}, ["Statement[0].Action"]),
    ({"Action": "GetObject"}, ["Statement[0].Action", "'GetObject'", "service:Name"]),
    ({"Action": "s3:Get Object"}, ["Statement[0].Action"]),
    ({"Action": "s?:GetObject"}, ["Statement[0].Action"]),
    ({"Action": "s3:" + "A" * 200}, ["Statement[0].Action", "128"]),
    ({"NotAction": "s3:GetObject"}, ["Statement[0]", "both Action and NotAction"]),
    ({"NotResource": "*"}, ["Statement[0]", "both Resource and NotResource"]),
    ({"Resource": "bucket/*"}, ["Statement[0].Resource", "'bucket/*'", "arn:"]),
    ({"Resource": {"AWS": "*"}}, ["Statement[0].Resource"]),
    ({"Resource": "arn:aws:s3:::b/${aws:username"}, ["Statement[0].Resource", "${$}"]),
    ({"Resource": "arn:aws:s3:::b/" + "*a" * 200}, ["Statement[0].Resource", "wildcards"]),
    ({"Resource": "arn:aws:s3:::b/" + "a" * 3000}, ["Statement[0].Resource", "2,048"]),
    ({"Principal": "*"}, ["Statement[0].Principal", "no place"]),
    ({"NotPrincipal": "*"}, ["Statement[0].NotPrincipal", "no place"]),
    ({"Condition": []}, ["Statement[0].Condition"]),
    ({"Condition": {"StringEqual": {"aws:username": "a"}}}, ["Statement[0].Condition.StringEqual", "unknown"]),
    ({"Condition": {"stringequals": {"aws:username": "a"}}}, ["write StringEquals"]),
    ({"Condition": {"StringEquals": "a"}}, ["Statement[0].Condition.StringEquals"]),
    ({"Condition": {"StringEquals": {"aws:username": []}}}, ['StringEquals["aws:username"]', "no values"]),
    ({"Condition": {"StringEquals": {"aws:username": {"a": 1}}}}, ['StringEquals["aws:username"]']),
    ({"Condition": {"StringEquals": {"aws:username": [None]}}}, ['StringEquals["aws:username"][0]']),
    ({"Condition": {"StringEquals": {"username": "a"}}}, ['StringEquals["username"]', "service:Key"]),
    ({"Condition": {"StringEquals": {"aws:username": "a", "aws:UserName": "b"}}}, ["without case"]),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}, ['IpAddress["aws:SourceIp"]', "'10.0.0.0/33'"]),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::g"]}}}, ["'::g'"]),
    ({"Condition": {"NumericLessThan": {"s3:max-keys": "ten"}}}, ['NumericLessThan["s3:max-keys"]', "'ten'"]),
    ({"Condition": {"NumericLessThan": {"s3:max-keys": "1e9"}}}, ["'1e9'"]),
    ({"Condition": {"DateLessThan": {"aws:CurrentTime": "yesterday"}}}, ["'yesterday'", "2030-01-31T00:00:00Z"]),
    ({"Condition": {"DateLessThan": {"aws:CurrentTime": "2030-02-30T00:00:00Z"}}}, ["'2030-02-30T00:00:00Z'"]),
    ({"Condition": {"DateLessThan": {"aws:CurrentTime": "2030-02-20T00:00:00"}}}, ["'2030-02-20T00:00:00'"]),
    ({"Condition": {"Bool": {"aws:SecureTransport": "yes"}}}, ["'yes'", "true or false"]),
    ({"Condition": {"Null": {"aws:username": "maybe"}}}, ["'maybe'"]),
    ({"Condition": {"NullIfExists": {"aws:username": "true"}}}, ["Null takes neither"]),
    ({"Condition": {"ForAllValues:Null": {"aws:username": "true"}}}, ["Null takes neither"]),
    ({"Condition": {"ForSomeValues:StringEquals": {"aws:username": "a"}}}, ["'ForSomeValues'", "ForAnyValue:"]),
    ({"Condition": {"BinaryEquals": {"aws:x": "%%%"}}}, ["'%%%'", "base64"]),
    ({"Condition": {"ArnLike": {"aws:PrincipalArn": "alice"}}}, ["'alice'", "arn:"]),
]


@pytest.mark.parametrize(("change", "words"), STATEMENT_FAULTS, ids=lambda value: str(value)[:60])
def test_faults_of_a_statement_name_their_place(change: dict[str, Any], words: list[str]) -> None:
    refused({"Version": "2012-10-17", "Statement": [{**ALLOW, **change}]}, *words)


def test_the_place_counts_statements() -> None:
    bad = {**ALLOW, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}
    refused(
        {"Statement": [ALLOW, ALLOW, ALLOW, bad]}, 'identity policy: Statement[3].Condition.IpAddress["aws:SourceIp"]: '
    )


@pytest.mark.parametrize("missing", ["Effect", "Action", "Resource"])
def test_missing_elements(missing: str) -> None:
    refused({"Statement": [{name: value for name, value in ALLOW.items() if name != missing}]}, "Statement[0]", missing)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, ["Statement", "missing"]),
        ({"Statement": []}, ["Statement", "empty"]),
        ({"Statement": "*"}, ["Statement[0]"]),
        ({"Statement": [None]}, ["Statement[0]"]),
        ({"Statement": [ALLOW], "Version": "2012-10-18"}, ["Version", "2012-10-17", "'2012-10-18'"]),
        ({"Statement": [ALLOW], "Version": 2012}, ["Version"]),
        ({"Statement": [ALLOW], "Id": None}, ["Id"]),
        ({"Statement": [ALLOW], "Id": "x" * 600}, ["Id", "512"]),
        ({"statement": [ALLOW]}, ["'statement'", "write Statement"]),
        ({"Statement": [ALLOW], "Comment": "x"}, ["'Comment'"]),
        ({"Statement": [{"Sid": "a", **ALLOW}, {"Sid": "a", **ALLOW}]}, ["Statement[1].Sid", "Statement[0]"]),
        ({"Statement": [ALLOW] * (STATEMENTS_MAX + 1)}, ["Statement", "201", "200"]),
        ({"Statement": [{**ALLOW, "Action": ["s3:GetObject"] * (VALUES_MAX + 1)}]}, ["Statement[0].Action", "501"]),
        ({"Statement": [ALLOW], 5: 1}, ["5"]),
        ({"Statement": [{**ALLOW, "Sid": b"a"}]}, ["bytes"]),
        ({"Statement": [{**ALLOW, "Sid": {1, 2}}]}, ["set"]),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_faults_of_the_document(document: Any, words: list[str]) -> None:
    refused(document, *words)


# -- JSON that is none, or a trap

TEXT = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW]})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["line 1"]),
        ("null", ["object"]),
        ("[]", ["object"]),
        ('"Allow"', ["object"]),
        (TEXT[:-1], ["line 1"]),
        (TEXT + "x", ["line 1"]),
        ("\ufeff" + TEXT, ["BOM"]),
        (TEXT.replace('"Effect"', '"Effect": "Deny", "Effect"'), ["Statement[0]", "'Effect'", "twice"]),
        (TEXT.replace('"Version"', '"Statement": [], "Version"'), ["'Statement'", "twice"]),
        (TEXT.replace("s3:GetObject", "s3:Get\\ud800Object"), ["surrogate"]),
        (TEXT.replace("Effect", "Ef\\udc00fect"), ["surrogate"]),
        (TEXT.replace('"Allow"', "NaN"), ["Statement[0].Effect", "NaN"]),
        (TEXT.replace('"s3:GetObject"', "1e999"), ["Statement[0].Action"]),
        (TEXT.replace('"2012-10-17"', "-Infinity"), ["Version"]),
        (TEXT.replace('"2012-10-17"', "9" * 50_000), ["Version"]),
        ("[" * 100_000, ["characters"]),
        ("[" * 60_000, ["nested deeper"]),
        ('{"a":' * 10_000, ["nested deeper"]),
        ('{"Statement":' + "[" * 500 + "]" * 500 + "}", ["nested deeper"]),
        ('"' + '\\"' * 30_000, ["line 1"]),  # quotes that open and never close
        ('\\"' * 32_000, ["line 1"]),
        (" " * (SOURCE_SIZE_MAX + 1), ["characters"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_hostile_json(text: str, words: list[str]) -> None:
    started = time.perf_counter()
    refused(text, *words)
    assert time.perf_counter() - started < 1
    if "\ud800" not in text:
        refused(text.encode("utf-8"))


def test_a_condition_value_keeps_its_digits() -> None:
    def with_number(literal: str) -> str:
        return TEXT.replace(
            '"Resource"', '"Condition": {"NumericEquals": {"s3:max-keys": ' + literal + '}}, "Resource"'
        )

    policy = parse_policy(with_number("9007199254740993"), kind="identity")
    assert policy.statements[0].conditions[0].values == ("9007199254740993",)
    for literal in ("NaN", "1e999", "1E5", "-Infinity", "9" * 60):
        message = refused(with_number(literal), 'NumericEquals["s3:max-keys"]')
        assert len(message) < 300
    for value in (float("nan"), float("inf"), 10**300):
        refused({"Statement": [{**ALLOW, "Condition": {"NumericEquals": {"s3:max-keys": value}}}]})


def test_bytes_that_are_no_text() -> None:
    refused(TEXT.encode("utf-16"), "UTF-8")
    refused(TEXT.encode() + b"\xff", "UTF-8")
    refused(b"\x00" * 100)
    refused(b" " * (SOURCE_SIZE_MAX + 1), "65,537 bytes")
    refused(5, "int")
    refused(None, "NoneType")


def test_repeated_names_deep_inside_name_their_place() -> None:
    for inner, place in [
        ('"Condition": {"Bool": {"aws:a": true}, "Bool": {"aws:b": true}}', "Statement[0].Condition"),
        ('"Condition": {"Bool": {"aws:a": true, "aws:a": false}}', "Statement[0].Condition.Bool"),
    ]:
        refused(TEXT.replace('"Resource"', f'{inner}, "Resource"'), place, "twice")
    text = '{"Statement": [{"Principal": {"AWS": "*", "AWS": "*"}, "Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    refused(text, "Statement[0].Principal", "twice", kind="bucket")


@pytest.mark.parametrize("cut", range(0, len(TEXT), 3))
def test_every_truncation_is_refused(cut: int) -> None:
    refused(TEXT[:cut])


def test_flipped_bits_give_a_policy_or_an_error() -> None:
    data = TEXT.encode()
    for position in range(len(data)):
        for bit in (0, 2, 5, 7):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                policy = parse_policy(bytes(changed), kind="identity")
            except InvalidInputError:
                continue
            assert parse_policy(policy.to_json(), kind="identity").to_json() == policy.to_json()


# -- sizes


@pytest.mark.parametrize("kind", ["identity", "session"])
def test_sizes(kind: Any) -> None:
    limit = POLICY_SIZE_MAX[kind]

    def document(padding: int) -> dict[str, Any]:
        names = [f"arn:aws:s3:::b/{'k' * 1000}{i}" for i in range(padding // 1017)]
        return {"Version": "2012-10-17", "Statement": [{**ALLOW, "Resource": [*names, "arn:aws:s3:::b/" + "x" * 500]}]}

    assert len(parse_policy(document(limit - 1500), kind=kind).to_json()) <= limit
    refused(document(limit + 500), f"{limit:,}", kind=kind)


def test_white_space_does_not_count() -> None:
    policy = parse_policy(json.dumps(json.loads(TEXT), indent=200), kind="session")
    assert policy.to_json() == parse_policy(TEXT, kind="session").to_json()


# -- bucket policies


def test_a_bucket_policy_needs_a_principal_and_its_own_bucket() -> None:
    bucket(PUBLIC)
    refused({"Statement": [ALLOW]}, "Statement[0]", "Principal", kind="bucket")
    for resource in (
        "arn:aws:s3:::other/*", "*", "arn:aws:s3:::*", "arn:aws:s3:::bucket*", "arn:aws:s3:::bucke?/*",
        "arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::", "arn:aws:iam::1:user/x", "arn:aws-cn:s3:::bucket/*",
    ):  # fmt: skip
        refused({"Version": "2012-10-17", "Statement": [{**PUBLIC, "Resource": resource}]},
                "Statement[0].Resource", kind="bucket", for_bucket="bucket")  # fmt: skip
    refused({"Statement": [{**PUBLIC, "Resource": None, "NotResource": "*"}]}, kind="bucket")


def test_an_action_needs_a_resource_that_it_is_on() -> None:
    refused(
        {"Statement": [{**PUBLIC, "Action": "s3:ListBucket"}]}, "Statement[0]", "arn:aws:s3:::BUCKET", kind="bucket"
    )
    refused({"Statement": [{**PUBLIC, "Resource": "arn:aws:s3:::bucket"}]}, "arn:aws:s3:::BUCKET/*", kind="bucket")
    bucket({**PUBLIC, "Action": "s3:*", "Resource": "arn:aws:s3:::bucket"})
    bucket({**PUBLIC, "Action": ["s3:ListBucket", "s3:GetObject"]})


@pytest.mark.parametrize(
    "principal",
    [
        None, 5, "", "alice", [], {}, {"AWS": []}, {"AWS": None}, {"AWS": [5]}, {"aws": "*"}, {"Group": "x"},
        {"AWS": "arn:aws:iam::123456789012:user/*"}, {"AWS": "arn:aws:iam::*:root"}, {"AWS": "12345"},
        {"AWS": "arn:aws:iam::123456789012:user/${aws:username}"}, {"AWS": "arn:aws:s3:::bucket"},
        {"AWS": "arn:aws:iam::123456789012:group/g"}, {"AWS": "arn:aws:iam::123456789012:user/"},
        {"AWS": "١٢٣٤٥٦٧٨٩٠١٢"}, {"AWS": "arn:aws:iam::123456789012:user/" + "a" * 600}, {"Service": ""},
    ],
    ids=str,
)  # fmt: skip
def test_faulty_principals(principal: Any) -> None:
    for name in ("Principal", "NotPrincipal"):
        refused({"Statement": [{**ALLOW, name: principal}]}, f"Statement[0].{name}", kind="bucket")


def test_a_trust_policy_has_principals_and_no_resource() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    policy = parse_policy({"Version": "2012-10-17", "Statement": [{"Sid": "", **statement}]}, kind="trust")
    assert policy.statements[0].resources == ()
    refused({"Statement": [{**statement, "Resource": "*"}]}, "Statement[0].Resource", kind="trust")
    refused({"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}, "Principal", kind="trust")


def test_an_unknown_kind() -> None:
    with pytest.raises(InvalidInputError, match="it is one of"):
        parse_policy(TEXT, kind="group")  # type: ignore[arg-type]


# -- warnings


def test_warnings_tell_what_has_no_effect() -> None:
    policy = identity(
        {**ALLOW, "Action": ["s3:GetObjct", "s3:GetObject", "ec2:*"]},
        {**ALLOW, "Condition": {"StringEquals": {"aws:RequestedRegion": "x", "aws:PrincipalTag/desk": "y"}}},
        {**ALLOW, "Resource": "arn:aws-cn:s3:::bucket/*"},
    )
    assert [re.findall(r"'(.*?)'", warning)[0] for warning in policy.warnings] == [
        "s3:GetObjct", "ec2:*", "aws:RequestedRegion", "arn:aws-cn:s3:::bucket/*",
    ]  # fmt: skip
    warnings = bucket(
        {**PUBLIC, "Principal": {"Service": "logging.s3.amazonaws.com"}},
        {**ALLOW, "NotPrincipal": {"AWS": "123456789012"}},
    ).warnings
    assert "matches nobody" in warnings[0]
    assert "NotPrincipal with Allow" in warnings[1]
