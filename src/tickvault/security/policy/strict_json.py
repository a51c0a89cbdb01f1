r"""JSON in, without what JSON readers let pass.

Invariants: what comes out holds nothing but `JsonObject`, list, str, `Number`, bool and None, nested at most
`NESTING_DEPTH_MAX` deep; a number keeps its digits and is never made a float, so that ``1e999`` and ``NaN`` are seen
for what they are; a name that stands twice in an object is remembered, so that whoever reads the object can say
where; a text that is not Unicode (a lone ``\ud800``) never comes out.

Source: RFC 8259, sections 4 (names should be unique), 6 (no NaN), 8.2 (unpaired surrogates).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tickvault.security.policy.limits import NESTING_DEPTH_MAX, SOURCE_SIZE_MAX, refuse, shown

# The closing quote is optional and the run possessive: an unterminated string is passed over once, not from each
# of its quotes again.
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class JsonObject(dict[str, Any]):
    """An object, and the names that stood in it twice."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: tuple[str, ...] = ()
        if len(self) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.repeated = tuple(name for name, count in counts.items() if count > 1)


def read_json(source: str | bytes | Mapping[str, Any], *, place: str) -> JsonObject:
    """Return the object that a text, or a mapping as Python holds it, stands for.

    Parameters
    ----------
    place : str
        What the text is, for messages.

    Raises
    ------
    InvalidInputError
        Not JSON, not an object, too large, too deep, or not Unicode.
    """
    document = _adopt(source, place, 0) if isinstance(source, Mapping) else _parse(source, place)
    if not isinstance(document, JsonObject):
        refuse(place, f"must be a JSON object, was {shown(document)}")
    return document


def _parse(source: object, place: str) -> Any:
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) > SOURCE_SIZE_MAX:
            refuse(place, f"has {len(source):,} bytes; the most that is read is {SOURCE_SIZE_MAX:,}")
        try:
            text = bytes(source).decode("utf-8")
        except UnicodeDecodeError as error:
            refuse(place, f"is not UTF-8 at byte {error.start:,}; a policy is JSON in UTF-8")
    elif isinstance(source, str):
        text = source
    else:
        refuse(place, f"must be a text, bytes or a mapping, was {type(source).__name__}")
    # A character has at least one byte: this bounds the work before the exact size is known.
    if len(text) > SOURCE_SIZE_MAX:
        refuse(place, f"has {len(text):,} characters; the most that is read is {SOURCE_SIZE_MAX:,} bytes")
    _check_depth(text, place)
    try:
        document = json.loads(
            text, object_pairs_hook=JsonObject, parse_int=Number, parse_float=Number, parse_constant=Number
        )
    except json.JSONDecodeError as error:
        refuse(place, f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
    _check_unicode(document, place)
    return document


def _check_depth(text: str, place: str) -> None:
    depth = 0
    for match in _BRACKET.finditer(text):
        bracket = match.group()
        if bracket in "[{":
            depth += 1
            if depth > NESTING_DEPTH_MAX:
                refuse(
                    place,
                    f"is nested deeper than {NESTING_DEPTH_MAX} at character {match.start():,}; no policy needs it",
                )
        elif bracket in "]}":
            depth -= 1


def _check_unicode(value: Any, place: str) -> None:
    """Refuse a lone surrogate, also in a name."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            refuse(place, f"{shown(value)} holds a lone surrogate at character {error.start:,}, which is no text")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_unicode(name, place)
            _check_unicode(inner, f"{place}: {name}" if name.isidentifier() else place)
    elif isinstance(value, list):
        for inner in value:
            _check_unicode(inner, place)


def _adopt(value: object, place: str, depth: int) -> Any:
    """Return a Python value as if it had been read, sharing nothing with the caller."""
    if depth > NESTING_DEPTH_MAX:
        refuse(place, f"is nested deeper than {NESTING_DEPTH_MAX}; no policy needs it")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                refuse(place, f"the name {shown(name)} must be a text, was {type(name).__name__}")
        adopted = JsonObject([(name, _adopt(inner, place, depth + 1)) for name, inner in value.items()])
        for name in adopted:
            _check_unicode(name, place)
        return adopted
    if isinstance(value, list | tuple):
        if len(value) > SOURCE_SIZE_MAX:
            refuse(place, f"holds a list of {len(value):,} values; no policy needs it")
        return [_adopt(inner, place, depth + 1) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_unicode(value, place)
        return str(value)
    if not isinstance(value, int | float):
        refuse(place, f"{shown(value)} is a {type(value).__name__}, which JSON does not have")
    # An int of millions of digits would take long to write out.
    if isinstance(value, int) and abs(value) >= 10**40:
        refuse(place, "a number is larger than any policy needs")
    return Number(repr(value))
