"""Texts with wildcards and policy variables.

``*`` stands for any run of characters, ``?`` for one. A variable, ``${aws:username}``, stands for a value of the
request; ``${aws:username, 'nobody'}`` has a default; ``${*}``, ``${?}`` and ``${$}`` are the characters themselves.

Invariants: what a variable brings in is text, never a wildcard, whoever chose it; a variable without a value makes a
pattern that nothing matches; matching takes time in proportion to the text for every run between two stars and never
goes back over a star, so that no pattern is slow on purpose.

Source: IAM User Guide, "IAM policy elements: Variables and tags", "IAM JSON policy elements: Resource".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from tickvault.security.policy.limits import KEY_LENGTH_MAX, WILDCARDS_MAX, refuse, shown

#: Keys in lower case, and their value or values.
Context = Mapping[str, str | tuple[str, ...]]

S3_ARN = "arn:aws:s3:::"

_VARIABLE = re.compile(r"[A-Za-z0-9-]+:[^{}$*?,']+")
_DEFAULT = re.compile(r"'([^{}$']*)'")
_ESCAPED = {"*": "*", "?": "?", "$": "$"}


class Wild(Enum):
    """A wildcard."""

    STAR = "*"
    ONE = "?"


class Variable(NamedTuple):
    """A key of the request that stands for its value."""

    key: str
    """In lower case."""
    default: str | None


Token = str | Wild | Variable


def tokenize(text: str, place: str, *, variables: bool, wildcards: bool = True) -> list[Token]:
    """Split a text into literals, wildcards and variables.

    Parameters
    ----------
    place : str
        Where the text stands, for messages.
    variables : bool
        Whether ``${…}`` is a variable; it is text in policies of version 2008-10-17.
    wildcards : bool
        Whether ``*`` and ``?`` are wildcards.

    Raises
    ------
    InvalidInputError
        A variable is not closed or has no name, or there are too many wildcards.
    """
    tokens: list[Token] = []
    literal: list[str] = []
    wildcard_count = 0
    position = 0
    while position < len(text):
        character = text[position]
        token: Token | None = None
        if variables and text.startswith("${", position):
            end = text.find("}", position)
            if end < 0:
                refuse(place, f"{shown(text)} has a '${{' without its '}}'; write ${{$}} for a plain dollar sign")
            inner = text[position + 2 : end]
            position = end + 1
            if inner in _ESCAPED:
                literal.append(_ESCAPED[inner])
                continue
            token = _variable(inner, place)
        else:
            position += 1
            if wildcards and character == "*":
                if tokens and not literal and tokens[-1] is Wild.STAR:
                    continue
                token = Wild.STAR
            elif wildcards and character == "?":
                token = Wild.ONE
            else:
                literal.append(character)
                continue
        if literal:
            tokens.append("".join(literal))
            literal.clear()
        tokens.append(token)
        wildcard_count += isinstance(token, Wild)
        if wildcard_count > WILDCARDS_MAX:
            refuse(place, f"{shown(text)} has more than {WILDCARDS_MAX} wildcards")
    if literal:
        tokens.append("".join(literal))
    return tokens


def _variable(inner: str, place: str) -> Variable:
    name, comma, rest = inner.partition(",")
    name = name.strip()
    default = _DEFAULT.fullmatch(rest.strip()) if comma else None
    known = len(name) <= KEY_LENGTH_MAX and _VARIABLE.fullmatch(name) is not None
    if not known or (comma and default is None):
        refuse(
            place,
            f"{shown('${' + inner + '}')} is no policy variable; write ${{aws:username}}, or "
            "${aws:username, 'default'}, and ${*}, ${?} and ${$} for those characters",
        )
    return Variable(name.lower(), None if default is None else default[1])


class _Run:
    """What stands between two stars: literals and ``?``, so of one fixed length."""

    __slots__ = ("length", "literal", "regex")

    def __init__(self, tokens: Sequence[str | Wild]) -> None:
        self.length = sum(len(token) if isinstance(token, str) else 1 for token in tokens)
        self.literal: str | None = None
        self.regex: re.Pattern[str] | None = None
        if all(isinstance(token, str) for token in tokens):
            self.literal = "".join(token for token in tokens if isinstance(token, str))
        else:
            parts = [re.escape(token) if isinstance(token, str) else "." for token in tokens]
            self.regex = re.compile("".join(parts), re.DOTALL)

    def stands_at(self, text: str, position: int) -> bool:
        if self.literal is not None:
            return text.startswith(self.literal, position)
        assert self.regex is not None
        return self.regex.match(text, position) is not None

    def find(self, text: str, start: int, end: int) -> int:
        if self.literal is not None:
            return text.find(self.literal, start, end)
        assert self.regex is not None
        match = self.regex.search(text, start, end)
        return -1 if match is None else match.start()


class Wildcard:
    """A pattern of literals, ``*`` and ``?``.

    `exact` is the text of a pattern without wildcards, `prefix` what a pattern of the form ``text*`` begins with;
    they let many patterns be looked up at once.
    """

    __slots__ = ("_head", "_length_min", "_middle", "_starred", "_tail", "exact", "prefix")

    def __init__(self, tokens: Sequence[str | Wild]) -> None:
        runs: list[list[str | Wild]] = [[]]
        for token in tokens:
            if token is Wild.STAR:
                runs.append([])
            else:
                runs[-1].append(token)
        self._starred = len(runs) > 1
        self._head = _Run(runs[0])
        self._tail = _Run(runs[-1]) if self._starred else _Run([])
        self._middle = tuple(_Run(run) for run in runs[1:-1] if run)
        self._length_min = self._head.length + self._tail.length + sum(run.length for run in self._middle)
        self.exact = None if self._starred else self._head.literal
        self.prefix = self._head.literal if self._starred and not self._middle and not self._tail.length else None

    def matches(self, text: str) -> bool:
        """Tell whether the whole text matches."""
        if self.exact is not None:
            return text == self.exact
        if self.prefix is not None:
            return text.startswith(self.prefix)
        length = len(text)
        if length < self._length_min or not (self._starred or length == self._length_min):
            return False
        if not self._head.stands_at(text, 0):
            return False
        position, end = self._head.length, length - self._tail.length
        if self._starred and not self._tail.stands_at(text, end):
            return False
        # The leftmost place of each run leaves the most room for those after it, so nothing need be tried again.
        for run in self._middle:
            found = run.find(text, position, end)
            if found < 0:
                return False
            position = found + run.length
        return True


class Pattern:
    """A text with wildcards and variables, compiled once.

    Parameters
    ----------
    tokens : sequence of Token
        From `tokenize`.
    fold : callable, optional
        Applied to the pattern and the text: `str.casefold` for operators that ignore case.
    """

    __slots__ = ("_fold", "_memo", "_tokens", "fixed", "needle", "variables")

    def __init__(self, tokens: Sequence[Token], *, fold: Callable[[str], str] | None = None) -> None:
        self._fold = fold
        self._tokens = tuple(tokens)
        self.variables = tuple(dict.fromkeys(token.key for token in tokens if isinstance(token, Variable)))
        literals = [token.removeprefix(S3_ARN) for token in tokens if isinstance(token, str)]
        self.needle = "" if fold is not None else max(literals, key=len, default="")
        """What every text that matches contains."""
        self.fixed: Wildcard | None = None
        # The values last seen and what they made: one principal asks again and again.
        self._memo: tuple[tuple[str | None, ...], Wildcard] | None = None
        if not self.variables:
            self.fixed = self._compile([token for token in tokens if not isinstance(token, Variable)])

    def _compile(self, tokens: Sequence[str | Wild]) -> Wildcard:
        fold = self._fold
        if fold is not None:
            tokens = [fold(token) if isinstance(token, str) else token for token in tokens]
        return Wildcard(tokens)

    def matches(self, text: str, context: Context) -> bool:
        """Tell whether the whole text matches, the variables taken from `context`."""
        wildcard = self.fixed or self._resolved(context)
        if wildcard is None:
            return False
        return wildcard.matches(text if self._fold is None else self._fold(text))

    def _resolved(self, context: Context) -> Wildcard | None:
        values: list[str | None] = []
        for key in self.variables:
            value = context.get(key)
            if isinstance(value, tuple):
                # Only a key with one value can be a variable.
                if len(value) != 1:
                    return None
                value = value[0]
            values.append(value)
        known = tuple(values)
        memo = self._memo
        if memo is not None and memo[0] == known:
            return memo[1]
        by_key = dict(zip(self.variables, known, strict=True))
        tokens: list[str | Wild] = []
        for token in self._tokens:
            if isinstance(token, Variable):
                found = by_key[token.key]
                if found is None:
                    found = token.default
                if found is None:
                    return None
                tokens.append(found)
            else:
                tokens.append(token)
        wildcard = self._compile(tokens)
        self._memo = (known, wildcard)
        return wildcard
