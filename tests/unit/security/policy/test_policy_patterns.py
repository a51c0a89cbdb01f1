"""Wildcards and variables: what matches, and that nothing is slow on purpose."""

from __future__ import annotations

import time

import pytest

from tickvault.errors import InvalidInputError
from tickvault.security.policy.arns import ArnPattern, arn_pattern, bucket_of, literal_bucket
from tickvault.security.policy.limits import WILDCARDS_MAX
from tickvault.security.policy.patterns import Pattern, Variable, Wild, tokenize


def matches(pattern: str, text: str, **context: str) -> bool:
    named = {f"aws:{key}": value for key, value in context.items()}
    return Pattern(tokenize(pattern, "here", variables=True)).matches(text, named)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "anything/at all\n", True),
        ("a*", "a", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),  # the two a's are not one
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("a*b*c", "a-c-b", False),
        ("a*b*c", "a-b-b-c", True),
        ("?", "", False),
        ("?", "\n", True),
        ("??", "a", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*?", "", False),
        ("?*?", "a", False),
        ("?*?", "ab", True),
        ("*a?c*", "xxabcx", True),
        ("*a?c*", "xxabxc", False),
        ("a.c", "abc", False),  # a point is a point
        ("[a]*", "a", False),  # and brackets are brackets
        ("***a***", "bab", True),
    ],
)
def test_wildcards(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 100, "*a" * 100 + "*b", "a*" * 100 + "b", "*?a" * 60 + "b", "*" + "a" * 1000 + "b*", "?*" * 60 + "b"],
)
def test_no_pattern_is_slow_on_purpose(pattern: str) -> None:
    """A matcher that goes back over stars needs longer than the universe for the second of these."""
    compiled = Pattern(tokenize(pattern, "here", variables=False))
    text = "a" * 2000
    started = time.perf_counter()
    compiled.matches(text, {})
    assert time.perf_counter() - started < 0.1


def test_time_grows_with_the_text_and_not_faster() -> None:
    compiled = Pattern(tokenize("*a" * 60 + "*b", "here", variables=False))

    def seconds(length: int) -> float:
        text = "a" * length
        best = 1.0
        for _ in range(20):
            started = time.perf_counter()
            compiled.matches(text, {})
            best = min(best, time.perf_counter() - started)
        return best

    assert seconds(64_000) < 64 * 20 * max(seconds(1_000), 1e-6)


def test_too_many_wildcards_are_refused() -> None:
    tokenize("a*" * WILDCARDS_MAX, "here", variables=False)
    with pytest.raises(InvalidInputError, match=r"here.*wildcards"):
        tokenize("a*" * (WILDCARDS_MAX + 1), "here", variables=False)
    with pytest.raises(InvalidInputError, match="wildcards"):
        tokenize("?" * (WILDCARDS_MAX + 1), "here", variables=False)
    assert tokenize("*" * 10_000, "here", variables=False) == [Wild.STAR]


def test_variables() -> None:
    assert matches("home/${aws:username}/*", "home/alice/x", username="alice")
    assert not matches("home/${aws:username}/*", "home/bob/x", username="alice")
    assert matches("home/${AWS:UserName}/*", "home/alice/x", username="alice")  # names of keys have no case
    assert not matches("home/${aws:username}/*", "home/Alice/x", username="alice")  # values have


def test_what_a_variable_brings_in_is_no_wildcard() -> None:
    assert not matches("home/${aws:username}/x", "home/alice/x", username="*")
    assert matches("home/${aws:username}/x", "home/*/x", username="*")
    assert not matches("${aws:username}", "ab", username="a?")
    assert not matches("${aws:username}", "root", username="${aws:other}")


def test_a_variable_without_a_value_matches_nothing() -> None:
    assert not matches("home/${aws:username}/*", "home//x")
    assert not matches("${aws:username}*", "anything")
    pattern = Pattern(tokenize("${aws:tags}", "here", variables=True))
    assert not pattern.matches("a", {"aws:tags": ("a", "b")})
    assert pattern.matches("a", {"aws:tags": ("a",)})


def test_defaults() -> None:
    assert matches("home/${aws:username, 'guest'}/*", "home/guest/x")
    assert matches("home/${aws:username,'guest'}/*", "home/alice/x", username="alice")
    assert matches("${aws:username, ''}x", "x")
    assert tokenize("${aws:PrincipalTag/Desk Name, 'a b'}", "here", variables=True) == [
        Variable("aws:principaltag/desk name", "a b")
    ]


def test_escapes() -> None:
    assert matches("a${*}b", "a*b")
    assert not matches("a${*}b", "axb")
    assert matches("a${?}b${$}{x}", "a?b${x}")


def test_one_pattern_serves_changing_values() -> None:
    pattern = Pattern(tokenize("${aws:username}", "here", variables=True))
    for name in ("alice", "bob", "alice", "carol"):
        assert pattern.matches(name, {"aws:username": name})
        assert not pattern.matches("mallory", {"aws:username": name})


@pytest.mark.parametrize(
    "text",
    [
        "${aws:username",
        "${}",
        "${username}",
        "${aws:}",
        "${aws:user*}",
        "${aws:username, guest}",
        "${aws:username, 'a'b'}",
        "${aws:${aws:x}}",
        "${" + "a" * 10_000 + ":b}",
        "${aws:" + " " * 400 + "'}",
    ],
)
def test_faulty_variables_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="here"):
        tokenize(text, "here", variables=True)


def test_version_2008_has_no_variables() -> None:
    tokens = tokenize("${aws:username", "here", variables=False)
    assert tokens == ["${aws:username"]


# -- ARNs


def arn_matches(pattern: str, text: str, **context: str) -> bool:
    named = {f"aws:{key}": value for key, value in context.items()}
    return arn_pattern(pattern, "here", variables=True).matches(text, named)


def test_no_wildcard_of_an_arn_reaches_over_a_colon() -> None:
    assert arn_matches("arn:aws:iam::*:user/a", "arn:aws:iam::123:user/a")
    assert not arn_matches("arn:aws:iam::*:user/a", "arn:aws:iam::123:x:user/a")
    assert arn_matches("arn:aws:*:::bucket", "arn:aws:s3:::bucket")
    assert not arn_matches("arn:aws:*:::bucket", "arn:aws:s3:us:::bucket")
    assert isinstance(arn_pattern("arn:aws:iam::*:user/a", "here", variables=True), ArnPattern)


def test_the_last_part_of_an_arn_may_hold_colons() -> None:
    assert arn_matches("arn:aws:s3:::bucket/a:*", "arn:aws:s3:::bucket/a:b:c")


def test_a_variable_in_an_arn() -> None:
    assert arn_matches("arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::1:user/al", username="al")
    assert not arn_matches("arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::1:user/bo", username="al")


@pytest.mark.parametrize("text", ["", "bucket/*", "arn:*", "arn:aws:s3:bucket", "urn:aws:s3:::b", "*:aws:s3:::b"])
def test_what_is_no_arn_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="here"):
        arn_pattern(text, "here", variables=True)


def test_which_bucket() -> None:
    assert bucket_of("arn:aws:s3:::logs/a/b") == "logs"
    assert bucket_of("arn:aws:s3:::logs") == "logs"
    assert bucket_of("arn:aws:iam::1:user/logs") == ""
    assert literal_bucket("arn:aws:s3:::logs/*", variables=True) == "logs"
    assert literal_bucket("arn:aws:s3:::logs*", variables=True) is None
    assert literal_bucket("arn:aws:s3:::${aws:username}/x", variables=True) is None
    assert literal_bucket("arn:aws:s3:::*", variables=True) is None
    assert literal_bucket("*", variables=True) is None
