"""The matcher of wildcards against fnmatch and against plain recursion; the reader of policies against noise."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

import policy_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import InvalidInputError
from tickvault.security.policy import Policy, expand, parse_policy
from tickvault.security.policy.patterns import Pattern, tokenize

PATTERNS = st.text("ab*?*", max_size=12)
TEXTS = st.text("ab", max_size=16)


@settings(max_examples=800, deadline=None)
@given(PATTERNS, TEXTS)
def test_wildcards_against_fnmatch(pattern: str, text: str) -> None:
    expected = re.match(fnmatch.translate(pattern), text) is not None
    assert Pattern(tokenize(pattern, "here", variables=False)).matches(text, {}) is expected


@settings(max_examples=300, deadline=None)
@given(st.text("a*?${}:,' ", max_size=10), st.text("a*?${}:,' ", max_size=10))
def test_every_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    plain = Pattern(tokenize(pattern, "here", variables=False))
    assert plain.matches(text, {}) is reference.text_matches(pattern, text, None)
    try:
        tokens = tokenize(pattern, "here", variables=True)
    except InvalidInputError:
        assert "${" in pattern
        return
    Pattern(tokens).matches(text, {"a:a": "a"})


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(["a", "*", "?", "${aws:x}", "${aws:y, 'q*'}", "${*}", "${?}", "/"]), max_size=6),
       st.text("abq*?/", max_size=8), st.none() | st.text("ab*?", max_size=3))  # fmt: skip
def test_variables_against_the_reference(parts: list[str], text: str, value: str | None) -> None:
    pattern = "".join(parts)
    context = {} if value is None else {"aws:x": value}
    compiled = Pattern(tokenize(pattern, "here", variables=True))
    assert compiled.matches(text, context) is reference.text_matches(pattern, text, context)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, TEXTS)
def test_what_a_pattern_needs_stands_in_every_text_that_matches(pattern: str, text: str) -> None:
    """Statements are passed over by `needle` alone: were it wrong, a Deny would be missed."""
    compiled = Pattern(tokenize(pattern, "here", variables=False))
    if compiled.matches(text, {}):
        assert compiled.needle in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["*", "Allow", "s3:GetObject", "arn:aws:s3:::b/*", "2012-10-17", "10.0.0.0/8", "${aws:x}"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Principal", "AWS", "Condition",
                         "IpAddress", "StringLike", "aws:SourceIp", "Sid", "Id"]) | st.text(max_size=3),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["identity", "bucket", "session", "trust"]))
def test_any_json_is_a_policy_or_refused(document: Any, kind: Any) -> None:
    for source in (document, json.dumps(document)):
        try:
            assert isinstance(parse_policy(source, kind=kind), Policy)
        except InvalidInputError as error:
            assert str(error).startswith(f"{kind} policy")


GOOD = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"],
         "Condition": {"StringLike": {"s3:prefix": ["a", "b"]}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
    ],
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found += places(inner, (*path, key))
    return found


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(GOOD)[1:]), JSON)
def test_noise_anywhere_in_a_policy_is_read_or_refused(path: tuple[Any, ...], noise: Any) -> None:
    document = json.loads(json.dumps(GOOD))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = noise
    try:
        policy = parse_policy(document, kind="identity")
    except InvalidInputError:
        return
    assert parse_policy(policy.to_json(), kind="identity").to_json() == policy.to_json()


@settings(max_examples=200, deadline=None)
@given(st.text("s3:*GetPuObjc?", max_size=14))
def test_expanding_never_fails_and_is_what_fnmatch_finds(pattern: str) -> None:
    for action in expand(pattern):
        assert fnmatch.fnmatchcase(action.name.lower(), pattern.lower())
