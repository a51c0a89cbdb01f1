"""Rules of what identities hold besides names and policies: tags, descriptions, ends of keys.

Invariants: what passes here is of its type and bounded, and holds no control character, so that it can be printed.
"""

from __future__ import annotations

from collections.abc import Mapping

from tickvault.errors import InvalidInputError
from tickvault.security.identity.limits import (
    DESCRIPTION_LENGTH_MAX,
    TAG_KEY_LENGTH_MAX,
    TAG_VALUE_LENGTH_MAX,
)

_TAG_EXTRA = frozenset(" _.:/=+-@")
_TIME_NS_MAX = 2**63 - 1


def check_tags(tags: Mapping[str, str], count_max: int, what: str) -> dict[str, str]:
    """Return tags if they may be some (AWS IAM User Guide, "Tags for IAM resources")."""
    if not isinstance(tags, Mapping):
        raise InvalidInputError(f"{what}, tags: must map text to text, was {type(tags).__name__}")
    if len(tags) > count_max:
        raise InvalidInputError(f"{what}, tags: at most {count_max}, were {len(tags)}")
    seen: set[str] = set()
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidInputError(f"{what}, tags: must map text to text, was {key!a}: {value!a}")
        if not 1 <= len(key) <= TAG_KEY_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
            raise InvalidInputError(
                f"{what}, tag {key[:40]!a}: the key must have 1 to {TAG_KEY_LENGTH_MAX} characters, the value up to "
                f"{TAG_VALUE_LENGTH_MAX}"
            )
        if not all(c.isalnum() or c in _TAG_EXTRA for c in key + value):
            raise InvalidInputError(f"{what}, tag {key!a}: may hold letters, digits, spaces and _ . : / = + - @ only")
        if key.lower().startswith("aws:"):
            raise InvalidInputError(f"{what}, tag {key!a}: keys that begin with aws: are reserved")
        if key.casefold() in seen:
            raise InvalidInputError(f"{what}, tag {key!a}: is there twice; keys do not differ by case only")
        seen.add(key.casefold())
    return dict(tags)


def check_description(text: str, what: str) -> str:
    """Return a description if it may be one."""
    if not isinstance(text, str):
        raise InvalidInputError(f"{what}, description: must be text, was {type(text).__name__}")
    if len(text) > DESCRIPTION_LENGTH_MAX or not all(c.isprintable() or c in "\n\t" for c in text):
        raise InvalidInputError(
            f"{what}, description: at most {DESCRIPTION_LENGTH_MAX} printable characters, had {len(text)}"
        )
    return text


def check_whole(value: int, lowest: int, highest: int, what: str) -> int:
    """Return a whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise InvalidInputError(f"{what}: must be a whole number from {lowest} to {highest}, was {value!r:.40}")
    return value


def check_end(expires_ns: int | None, now_ns: int, what: str) -> int | None:
    """Return the end of a key, which must lie ahead."""
    return None if expires_ns is None else check_whole(expires_ns, now_ns + 1, _TIME_NS_MAX, f"{what}, expires_ns")
