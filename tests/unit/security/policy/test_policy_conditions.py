"""Condition operators, each against what the IAM User Guide says of it."""

from __future__ import annotations

from typing import Any

import pytest

from tickvault.security.policy import ANONYMOUS, Principal
from tickvault.security.policy.conditions import read_conditions
from tickvault.security.policy.keys import full_context
from tickvault.security.policy.operators import OPERATORS, parse_network, parse_number, parse_time
from tickvault.security.policy.strict_json import read_json

CASES = [
    # operator, policy value(s), request value (None: missing), holds
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", ["a", "b"], "b", True),
    ("StringEquals", "a*", "ab", False),
    ("StringEquals", "a*", "a*", True),
    ("StringEquals", "a", None, False),
    ("StringEquals", "${aws:missing}", "", False),
    ("StringEquals", "${aws:other}", "seen", True),
    ("StringNotEquals", "a", "b", True),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringNotEquals", "a", None, True),
    ("StringNotEquals", "${aws:missing}", "x", True),  # nothing is equal to a value that is not there
    ("StringEqualsIgnoreCase", "Straße", "STRASSE", True),
    ("StringNotEqualsIgnoreCase", "a", "A", False),
    ("StringLike", "a*", "ab", True),
    ("StringLike", "?", "ab", False),
    ("StringLike", ["x", "${aws:other}/*"], "seen/x", True),
    ("StringLike", "${aws:missing, 'd'}*", "dx", True),
    ("StringLike", "*", "", True),
    ("StringLike", "*", None, False),
    ("StringNotLike", ["a*", "b*"], "bc", False),
    ("StringNotLike", ["a*", "b*"], "c", True),
    ("StringNotLike", "a*", None, True),
    ("NumericEquals", "10", "10.0", True),
    ("NumericEquals", 10, "010", True),
    ("NumericNotEquals", "10", "11", True),
    ("NumericLessThan", "10", "9.999", True),
    ("NumericLessThan", "10", "10", False),
    ("NumericLessThanEquals", ["1", "10"], "10", True),
    ("NumericGreaterThan", "9007199254740992", "9007199254740993", True),  # a float would call them equal
    ("NumericGreaterThan", "-5", "-4", True),
    ("NumericGreaterThanEquals", "10", "9", False),
    ("NumericLessThan", "10", None, False),
    ("NumericNotEquals", "10", None, True),
    ("DateEquals", "2030-01-01T00:00:00Z", "2030-01-01T01:00:00+01:00", True),
    ("DateEquals", "2030-01-01", "1893456000", True),
    ("DateNotEquals", "2030-01-01", "2030-01-02", True),
    ("DateLessThan", "2030-01-01T00:00:00Z", "2029-12-31T23:59:59.999999999Z", True),
    ("DateLessThanEquals", "2030", "2030-01-01T00:00Z", True),
    ("DateGreaterThan", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z", True),
    ("DateGreaterThan", "1893456000", "2030-06", True),
    ("Bool", "true", "true", True),
    ("Bool", True, "True", True),
    ("Bool", "false", "true", False),
    ("Bool", "false", None, False),
    ("BoolIfExists", "false", None, True),
    ("BinaryEquals", "AAE=", "AAE=", True),
    ("BinaryEquals", "AAE=", "AAI=", False),
    ("IpAddress", "192.0.2.0/24", "192.0.2.255", True),
    ("IpAddress", "192.0.2.0/24", "192.0.3.0", False),
    ("IpAddress", "192.0.2.9", "192.0.2.9", True),
    ("IpAddress", "192.0.2.77/24", "192.0.2.1", True),
    ("IpAddress", "192.0.2.0/24", "::ffff:192.0.2.1", True),
    ("IpAddress", "::ffff:192.0.2.0/120", "192.0.2.1", True),
    ("IpAddress", "2001:db8::/32", "2001:db8:1::1", True),
    ("IpAddress", "2001:db8::/32", "2001:db9::1", False),
    ("IpAddress", "0.0.0.0/0", "2001:db8::1", False),
    ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
    ("IpAddress", "fe80::/10", "fe80::1%eth0", True),
    ("IpAddress", "10.0.0.0/8", None, False),
    ("NotIpAddress", ["10.0.0.0/8", "192.0.2.0/24"], "192.0.2.1", False),
    ("NotIpAddress", ["10.0.0.0/8", "192.0.2.0/24"], "198.51.100.1", True),
    ("NotIpAddress", "10.0.0.0/8", None, True),
    ("ArnEquals", "arn:aws:iam::*:user/*", "arn:aws:iam::123456789012:user/a/b", True),
    ("ArnLike", "arn:aws:iam::1:user/A", "arn:aws:iam::1:user/a", False),
    ("ArnLike", "arn:aws:iam::*", "arn:aws:iam::1:user/a", None),  # not six parts: refused
    ("ArnLike", "arn:aws:iam:*:user/a:b", "arn:aws:iam::1:user/a:b", False),
    ("ArnLike", "${aws:whole}", "arn:aws:iam::1:user/a", True),
    ("ArnLike", "*", "arn:aws:iam::1:user/a", True),
    ("ArnNotEquals", "arn:aws:iam::1:user/a", "arn:aws:iam::1:user/b", True),
    ("ArnNotLike", "arn:aws:iam::1:user/*", "arn:aws:iam::1:user/b", False),
    ("ArnNotLike", "arn:aws:iam::1:user/*", None, True),
    ("Null", "true", None, True),
    ("Null", "true", "a", False),
    ("Null", "false", "", True),
    ("Null", False, None, False),
    ("Null", ["true", "false"], None, True),
    ("StringEqualsIfExists", "a", None, True),
    ("StringEqualsIfExists", "a", "b", False),
    ("StringNotEqualsIfExists", "a", None, True),
    ("NumericLessThanIfExists", "10", "11", False),
    # sets
    ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
    ("ForAllValues:StringEquals", ["a", "b"], ("a", "c"), False),
    ("ForAllValues:StringEquals", ["a", "b"], None, True),
    ("ForAllValues:StringEquals", ["a", "b"], (), True),
    ("ForAllValues:StringEquals", ["a", "b"], "", True),
    ("ForAllValues:StringEquals", "a", "a", True),
    ("ForAnyValue:StringEquals", ["a", "b"], ("x", "b"), True),
    ("ForAnyValue:StringEquals", ["a", "b"], ("x", "y"), False),
    ("ForAnyValue:StringEquals", ["a", "b"], None, False),
    ("ForAnyValue:StringEquals", ["a", "b"], "", False),
    ("ForAllValues:StringNotEquals", ["a", "b"], ("x", "y"), True),
    ("ForAllValues:StringNotEquals", ["a", "b"], ("x", "a"), False),
    ("ForAnyValue:StringNotEquals", ["a", "b"], ("x", "a"), True),
    ("ForAnyValue:StringNotEquals", ["a", "b"], ("b", "a"), False),
    ("ForAnyValue:StringNotEquals", ["a", "b"], None, False),
    ("ForAnyValue:StringEqualsIfExists", "a", None, True),
    ("ForAllValues:StringLike", ["re*"], ("red", "read"), True),
    ("ForAllValues:StringEqualsIfExists", "a", ("b",), False),
]  # fmt: skip


def holds(operator: str, wanted: Any, given: Any, *, deny: bool = False) -> bool:
    block = read_json({operator: {"aws:Key": wanted}}, place="here")
    [condition] = read_conditions(block, "here", deny=deny, variables=True)
    context = {"aws:other": "seen", "aws:whole": "arn:aws:iam::1:user/a"}
    if given is not None:
        context["aws:kEY"] = given
    return condition.holds(full_context(ANONYMOUS, context))


def test_of_several_values_none_helps_whoever_sent_them() -> None:
    # Two tags whose keys differ in case only are one key with two values.
    assert holds("StringEquals", "closed", ("open", "closed"), deny=True)
    assert holds("StringNotEquals", "open", ("open", "closed"), deny=True)
    assert not holds("StringNotEquals", "open", ("open", "open"), deny=True)
    assert not holds("StringEquals", "open", ("open", "closed"))
    assert not holds("StringNotEquals", "closed", ("open", "closed"))
    assert holds("StringEquals", ["open", "closed"], ("open", "closed"))


@pytest.mark.parametrize(("operator", "wanted", "given", "expected"), CASES, ids=lambda value: str(value)[:40])
def test_operators(operator: str, wanted: Any, given: Any, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="here"):
            holds(operator, wanted, given)
    else:
        assert holds(operator, wanted, given) is expected
        assert holds(operator, wanted, given, deny=True) is expected


def test_every_operator_has_a_case() -> None:
    tested = {case[0].rpartition(":")[2].removesuffix("IfExists") for case in CASES}
    assert tested == set(OPERATORS)


@pytest.mark.parametrize(
    ("operator", "wanted", "given"),
    [
        ("NumericLessThan", "10", "ten"),
        ("NumericNotEquals", "10", "1e5"),
        ("NumericEquals", "10", "9" * 1000),
        ("DateLessThan", "2030", "tomorrow"),
        ("DateNotEquals", "2030", "2030-13-01"),
        ("DateLessThan", "2030", "2030-01-01T25:00:00Z"),
        ("DateLessThan", "2030", "0000-01-01"),
        ("Bool", "true", "maybe"),
        ("BinaryEquals", "AAE=", "!"),
        ("IpAddress", "10.0.0.0/8", "10.0.0"),
        ("NotIpAddress", "10.0.0.0/8", "unix:"),
        ("NotIpAddress", "10.0.0.0/8", "1" * 5000),
        ("ForAnyValue:NumericLessThan", "10", ("1", "x")),
    ],
)
def test_a_value_that_cannot_be_read_never_helps_the_request(operator: str, wanted: str, given: Any) -> None:
    assert holds(operator, wanted, given, deny=False) is False
    assert holds(operator, wanted, given, deny=True) is True


def test_every_condition_must_hold() -> None:
    block = read_json({"StringEquals": {"aws:a": "1", "aws:b": "2"}, "Bool": {"aws:c": "true"}}, place="here")
    conditions = read_conditions(block, "here", deny=False, variables=True)
    good = {"aws:a": "1", "aws:b": "2", "aws:c": "true"}
    assert all(condition.holds(good) for condition in conditions)
    for key in good:
        assert not all(condition.holds({**good, key: "x"}) for condition in conditions)


def test_times() -> None:
    second = 1_000_000_000
    assert parse_time("1970-01-01T00:00:00Z") == 0
    assert parse_time("1970-01-01T00:00:01.5Z") == second * 3 // 2
    assert parse_time("1970-01-01T02:00:00+02:00") == 0
    assert parse_time("1969-12-31T23:00:00-01:00") == 0
    assert parse_time("99999") == 99_999 * second
    assert parse_time("2000-02-29") == 951_782_400 * second
    assert parse_time("0001-01-01") < 0
    for text in ("2001-02-29", "٢٠٣٠", "2030-1-1", "2030-01-01T00:00:60Z", "2030-01-01T00:00:00+15:00", "", "-"):
        with pytest.raises(ValueError):
            parse_time(text)


def test_numbers_and_networks() -> None:
    assert parse_number("+0010.50") == parse_number("10.5")
    for text in ("", ".5", "5.", "1,000", "0x10", "١", "NaN", "inf", "1_0"):
        with pytest.raises(ValueError):
            parse_number(text)
    assert parse_network("::ffff:10.0.0.0/104") == parse_network("10.0.0.0/8")
    assert parse_network("::ffff:0:0/95").version == 6
    for text in ("10.0.0.0/8/8", "fe80::1%eth0", "", "10.0.0.0/255.0.0.x", "1" * 100):
        with pytest.raises(ValueError):
            parse_network(text)


# -- what conditions see


ALICE = Principal(
    "arn:aws:iam::123456789012:user/alice", "123456789012", "alice", "AIDA1", "user", {"Desk": "fx", "desk": "eq"}
)


def test_what_the_principal_is_comes_from_the_principal() -> None:
    spoofed = {
        "aws:username": "root",
        "AWS:UserId": "x",
        "aws:PrincipalArn": "arn:x",
        "aws:PrincipalTag/Desk": "all",
        "aws:principaltype": "Account",
        "aws:PrincipalAccount": "9",
        "aws:SourceIp": "10.0.0.1",
    }
    context = full_context(ALICE, spoofed)
    assert context == {
        "aws:username": "alice",
        "aws:userid": "AIDA1",
        "aws:principalarn": ALICE.arn,
        "aws:principalaccount": "123456789012",
        "aws:principaltype": "User",
        "aws:principaltag/desk": ("fx", "eq"),
        "aws:sourceip": "10.0.0.1",
    }
    nobody = full_context(ANONYMOUS, spoofed)
    assert nobody == {"aws:userid": "anonymous", "aws:principaltype": "Anonymous", "aws:sourceip": "10.0.0.1"}


def test_a_role_has_no_user_name_and_the_arn_of_its_role() -> None:
    session = Principal("arn:aws:sts::123456789012:assumed-role/quant/s1", "123456789012", "x", "AROA1:s1", "role")
    context = full_context(session, {"aws:username": "x"})
    assert "aws:username" not in context
    assert context["aws:principalarn"] == "arn:aws:iam::123456789012:role/quant"
    assert context["aws:principaltype"] == "AssumedRole"


def test_keys_that_differ_in_case_become_one_key_of_all_values() -> None:
    context = full_context(
        ANONYMOUS, {"s3:ExistingObjectTag/A": "1", "s3:ExistingObjectTag/a": ("2", "3"), "aws:x": ()}
    )
    assert context["s3:existingobjecttag/a"] == ("1", "2", "3")
    assert "aws:x" not in context
