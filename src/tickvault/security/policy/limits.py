"""How large a policy may be, and how its faults are told.

Invariants: everything that a caller can make long has a limit here, and is measured before it is worked on; a
message names the place in the document, the rule and the value, and never repeats more than `SHOWN_LENGTH_MAX`
characters of what it was given.
"""

from __future__ import annotations

from typing import Literal, NoReturn

from tickvault.errors import InvalidInputError

PolicyKind = Literal["identity", "bucket", "session", "trust"]

#: Largest canonical text of a policy of each kind, bytes of UTF-8. Amazon S3: 20 KB for a bucket policy; AWS STS:
#: 2,048 characters for a session policy; IAM quotas: 4,096 for a trust policy, 10,240 for the policies within a role.
POLICY_SIZE_MAX: dict[PolicyKind, int] = {
    "bucket": 20 * 1024,
    "identity": 10 * 1024,
    "session": 2 * 1024,
    "trust": 4 * 1024,
}

#: Largest text that is parsed at all, bytes, white space included.
SOURCE_SIZE_MAX = 64 * 1024

#: Deepest nesting of objects and lists. A policy needs six: statement list, statement, condition, operator, values.
NESTING_DEPTH_MAX = 16

STATEMENTS_MAX = 200
VALUES_MAX = 500
"""Values in one list: actions, resources, principals, values of a condition key."""
CONDITIONS_MAX = 100
"""Pairs of operator and key in one statement."""

ID_LENGTH_MAX = 512
SID_LENGTH_MAX = 256
ACTION_LENGTH_MAX = 128
RESOURCE_LENGTH_MAX = 2048
PRINCIPAL_LENGTH_MAX = 512
KEY_LENGTH_MAX = 256
VALUE_LENGTH_MAX = 2048
WILDCARDS_MAX = 128
"""``*`` and ``?`` in one pattern, neighbouring stars counted once."""

#: Policies in one `PolicySet`, all sources together.
POLICIES_MAX = 256

#: Warnings kept for one policy.
WARNINGS_MAX = 50

SHOWN_LENGTH_MAX = 80


def shown(value: object) -> str:
    """Return a value as a message shows it: as Python writes it, ASCII only, cut to `SHOWN_LENGTH_MAX`.

    ``null``, ``true`` and ``false`` stand as the one who wrote the policy wrote them.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | bytes) and len(value) > SHOWN_LENGTH_MAX:
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[:SHOWN_LENGTH_MAX]!a}… ({len(value):,} {unit})"
    if isinstance(value, dict):
        return f"an object of {len(value):,} names"
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,} values"
    text = ascii(value)
    return text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "…"


def refuse(place: str, what: str) -> NoReturn:
    """Raise the fault of one place of a policy."""
    raise InvalidInputError(f"{place}: {what}")


def check_length(place: str, value: str, length_max: int) -> None:
    """Refuse a text that is too long."""
    if len(value) > length_max:
        refuse(place, f"{shown(value)} is too long; it may have {length_max:,} characters")
