"""A lifecycle document is taken whole or refused with the rule and the value."""

from __future__ import annotations

from typing import Any

import pytest

import tickvault as tv
from tickvault.objects.lifecycle import validate_lifecycle
from tickvault.objects.lifecycle_rules import DAY_NS, due_ns, parse_rules


def document(**rule: Any) -> dict[str, Any]:
    return {"rules": [{"id": "r", "status": "Enabled", "filter": {}, **rule}]}


def test_every_field_at_once_is_taken() -> None:
    validate_lifecycle(
        {
            "rules": [
                {
                    "id": "a",
                    "status": "Enabled",
                    "filter": {
                        "prefix": "ES/",
                        "tags": {"tier": "cold"},
                        "size_greater_than": 0,
                        "size_less_than": 9,
                    },
                    "expiration": {"days": 1},
                    "noncurrent_version_expiration": {"noncurrent_days": 1, "newer_noncurrent_versions": 100},
                },
                {"status": "Disabled", "expiration": {"date": "2030-01-01T00:00:00Z"}},
                {"status": "Enabled", "filter": {"prefix": ""}, "expiration": {"expired_object_delete_marker": True}},
                {"status": "Enabled", "abort_incomplete_multipart_upload": {"days_after_initiation": 3}},
            ]
        }
    )


def test_only_enabled_rules_are_carried_out_but_all_are_checked() -> None:
    disabled = document(status="Disabled", expiration={"days": 1})
    assert parse_rules(disabled) == []
    with pytest.raises(tv.InvalidInputError):
        validate_lifecycle(document(status="Disabled", expiration={"days": 0}))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "the document must be a mapping, was None"),
        ({"rules": []}, "1 to 1000 rules, was 0"),
        ({"rules": "all"}, "1 to 1000 rules, was 'all'"),
        ({"rules": [{"status": "Enabled", "expiration": {"days": 1}}] * 1001}, "was 1001"),
        ({"rules": [], "more": 1}, "may hold only rules, was 'more'"),
        (document(), "needs at least one action"),
        (document(expiration={"days": 1}, transition={}), "was 'transition'"),
        (document(status="on", expiration={"days": 1}), "'Enabled' or 'Disabled', was 'on'"),
        (document(id="x" * 256, expiration={"days": 1}), "up to 255 characters"),
        (document(expiration={"days": 0}), "days must be a whole number from 1 to 2147483647, was 0"),
        (document(expiration={"days": True}), "was True"),
        (document(expiration={"days": 1.0}), "was 1.0"),
        (document(expiration={"days": 1, "date": "2030-01-01T00:00:00Z"}), "exactly one of"),
        (document(expiration={}), "exactly one of"),
        (document(expiration={"date": "2030-01-01T12:00:00Z"}), "must be a midnight UTC"),
        (document(expiration={"date": "tomorrow"}), "was 'tomorrow'"),
        (document(expiration={"date": 7}), "was 7"),
        (document(expiration={"expired_object_delete_marker": 1}), "must be a bool"),
        (
            document(filter={"tags": {"a": "b"}}, expiration={"expired_object_delete_marker": True}),
            "cannot name tags or sizes",
        ),
        (document(noncurrent_version_expiration={"newer_noncurrent_versions": 1}), "noncurrent_days"),
        (
            document(noncurrent_version_expiration={"noncurrent_days": 1, "newer_noncurrent_versions": 101}),
            "from 1 to 100, was 101",
        ),
        (
            document(filter={"size_less_than": 5}, abort_incomplete_multipart_upload={"days_after_initiation": 1}),
            "cannot name tags or sizes",
        ),
        (document(filter={"suffix": ".csv"}, expiration={"days": 1}), "was 'suffix'"),
        (document(filter={"prefix": 3}, expiration={"days": 1}), "prefix must be a str"),
        (document(filter={"prefix": "\ud800"}, expiration={"days": 1}), "valid Unicode"),
        (document(filter={"prefix": "x" * 1025}, expiration={"days": 1}), "at most 1024 bytes, was 1025"),
        (document(filter={"tags": ["a"]}, expiration={"days": 1}), "tags must be a mapping"),
        (document(filter={"tags": {"": "b"}}, expiration={"days": 1}), "tag key"),
        (document(filter={"size_greater_than": -1}, expiration={"days": 1}), "was -1"),
        (
            document(filter={"size_greater_than": 5, "size_less_than": 5}, expiration={"days": 1}),
            "larger than size_greater_than 5, was 5",
        ),
    ],
)
def test_what_is_wrong_is_named(wrong: Any, words: str) -> None:
    with pytest.raises(tv.InvalidInputError) as caught:
        validate_lifecycle(wrong)
    assert words in str(caught.value)


def test_rule_ids_are_unique() -> None:
    rule = {"id": "a", "status": "Enabled", "expiration": {"days": 1}}
    with pytest.raises(tv.InvalidInputError, match="unique"):
        validate_lifecycle({"rules": [rule, rule]})


@pytest.mark.parametrize(
    ("since_ns", "days", "expected_ns"),
    [
        (10 * DAY_NS + DAY_NS // 2, 3, 14 * DAY_NS),
        (10 * DAY_NS + 1, 1, 12 * DAY_NS),
        (11 * DAY_NS - 1, 1, 12 * DAY_NS),
        # S3: "rounding the resulting time to the next day midnight UTC".
        (10 * DAY_NS, 1, 12 * DAY_NS),
    ],
)
def test_days_end_at_the_midnight_after(since_ns: int, days: int, expected_ns: int) -> None:
    assert due_ns(since_ns, days) == expected_ns


def test_a_date_with_an_offset_is_read_as_utc() -> None:
    (rule,) = parse_rules(document(expiration={"date": "2030-01-01T02:00:00+02:00"}))
    assert rule.date_ns == 21_915 * DAY_NS
