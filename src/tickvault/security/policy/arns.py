"""Patterns of ARNs, and what an ARN of S3 says.

Invariants: a wildcard reaches over no colon into the next part of an ARN; a bucket is told from a resource in one way
only, whether of a request or of a policy.

Source: IAM User Guide, "IAM JSON policy elements: Resource", "IAM identifiers".
"""

from __future__ import annotations

from collections.abc import Sequence

from tickvault.security.policy.limits import refuse, shown
from tickvault.security.policy.patterns import S3_ARN, Context, Pattern, Token, Wild, tokenize

ARN_PARTS = 6


class ArnPattern:
    """A pattern of an ARN: each of its six parts on its own, so that no wildcard reaches over a colon into the next."""

    __slots__ = ("_parts", "needle", "variables")

    def __init__(self, parts: Sequence[Pattern]) -> None:
        assert len(parts) == ARN_PARTS
        self._parts = tuple(parts)
        self.needle = max((part.needle for part in parts), key=len)
        self.variables = tuple(dict.fromkeys(key for part in parts for key in part.variables))

    def matches(self, text: str, context: Context) -> bool:
        """Tell whether the text is an ARN of which every part matches."""
        parts = text.split(":", ARN_PARTS - 1)
        return len(parts) == ARN_PARTS and all(
            pattern.matches(part, context) for pattern, part in zip(self._parts, parts, strict=True)
        )


def split_arn(tokens: Sequence[Token]) -> list[list[Token]] | None:
    """Return the six parts of an ARN's tokens, None if there are fewer."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        rest = token
        while isinstance(rest, str) and len(parts) < ARN_PARTS and ":" in rest:
            before, _, rest = rest.partition(":")
            if before:
                parts[-1].append(before)
            parts.append([])
        if rest != "":
            parts[-1].append(rest)
    return parts if len(parts) == ARN_PARTS else None


def arn_pattern(text: str, place: str, *, variables: bool) -> Pattern | ArnPattern:
    """Return the pattern of an ARN, or of ``*`` alone.

    Raises
    ------
    InvalidInputError
        It is neither.
    """
    tokens = tokenize(text, place, variables=variables)
    if tokens == [Wild.STAR]:
        return Pattern(tokens)
    parts = split_arn(tokens)
    if parts is None or parts[0] != ["arn"]:
        refuse(
            place,
            f"{shown(text)} is no ARN; it must be '*' or of the form arn:partition:service:region:account:resource, "
            "such as arn:aws:s3:::bucket/prefix/*",
        )
    # Five literal parts cannot be crossed: then one pattern over the whole text says the same, in one step.
    if all(not part or (len(part) == 1 and isinstance(part[0], str)) for part in parts[:-1]):
        return Pattern(tokens)
    return ArnPattern([Pattern(part) for part in parts])


def bucket_of(resource: str) -> str:
    """Return the bucket that an ARN of S3 names, ``""`` for any other resource."""
    return resource[len(S3_ARN) :].partition("/")[0] if resource.startswith(S3_ARN) else ""


def literal_bucket(text: str, *, variables: bool) -> str | None:
    """Return the one bucket that a resource pattern can match in, None if it is not written out."""
    if not text.startswith(S3_ARN):
        return None
    bucket = text[len(S3_ARN) :].partition("/")[0]
    return None if not bucket or "*" in bucket or "?" in bucket or (variables and "${" in bucket) else bucket
