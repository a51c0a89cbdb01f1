"""The condition operators: what the values of a policy say of one value of the request.

Invariants: a policy value that an operator cannot read is refused when the policy is read; a request value that it
cannot read raises `UnreadableError`, and the condition then decides against whoever sent it; nothing is compared as
a float.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from tickvault.security.policy.arns import ArnPattern, arn_pattern
from tickvault.security.policy.limits import refuse, shown
from tickvault.security.policy.patterns import Context, Pattern, Variable, tokenize

#: Does a value of the request agree with any of the policy's?
Test = Callable[[str, Context], bool]


class UnreadableError(ValueError):
    """A value of the request is not of the operator's type."""


class Read(NamedTuple):
    """The values of a policy, read by an operator."""

    test: Test
    variables: tuple[str, ...] = ()
    """The keys, in lower case, that the values take from the request."""


class Operator(NamedTuple):
    """An operator, without its qualifiers."""

    negated: bool
    """It holds when no value agrees, and when the request has no such key."""
    read: Callable[[Sequence[str], str, bool], Read]
    """From the policy's values, their place, and whether they may have variables."""


# -- texts and ARNs


def _any_of(patterns: Sequence[Pattern | ArnPattern]) -> Read:
    variables = tuple(dict.fromkeys(key for pattern in patterns for key in pattern.variables))
    if len(patterns) == 1:
        return Read(patterns[0].matches, variables)
    return Read(lambda value, context: any(pattern.matches(value, context) for pattern in patterns), variables)


def _reads_texts(*, wildcards: bool, fold: Callable[[str], str] | None = None) -> Callable[..., Read]:
    def read(values: Sequence[str], place: str, variables: bool) -> Read:
        tokens = [tokenize(value, place, variables=variables, wildcards=wildcards) for value in values]
        if not wildcards and not any(isinstance(token, Variable) for listed in tokens for token in listed):
            texts = frozenset("".join(str(token) for token in listed) for listed in tokens)
            if fold is None:
                return Read(lambda value, _: value in texts)
            folded = frozenset(map(fold, texts))
            return Read(lambda value, _: fold(value) in folded)
        return _any_of([Pattern(listed, fold=fold) for listed in tokens])

    return read


def _read_arns(values: Sequence[str], place: str, variables: bool) -> Read:
    patterns: list[Pattern | ArnPattern] = []
    for value in values:
        # ${aws:PrincipalArn} is a whole ARN, known only when asked.
        whole = variables and re.fullmatch(r"\$\{[^{}]*\}", value)
        patterns.append(
            Pattern(tokenize(value, place, variables=True)) if whole else arn_pattern(value, place, variables=variables)
        )
    return _any_of(patterns)


# -- numbers, times, addresses: a policy value and a request value are read alike, then compared


def _reads_by(parse: Callable[[str], Any], agree: Callable[[Any, Any], bool], what: str) -> Callable[..., Read]:
    """Return the reader of an operator that holds if ``agree(request value, policy value)``."""

    def read(values: Sequence[str], place: str, variables: bool) -> Read:
        parsed = []
        for value in values:
            try:
                parsed.append(parse(value))
            except ValueError:
                refuse(place, f"{shown(value)} is no {what}")

        if len(parsed) == 1:
            only = parsed[0]
            return Read(lambda value, _: agree(_request_value(parse, value), only))

        def test(value: str, context: Context) -> bool:
            asked = _request_value(parse, value)
            return any(agree(asked, wanted) for wanted in parsed)

        return Read(test)

    return read


def _request_value(parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except ValueError:
        raise UnreadableError(value) from None


_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?", re.ASCII)


def parse_number(text: str) -> Decimal:
    """Return a number of at most twenty digits before and after the point, exactly."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)
_EPOCH = re.compile(r"-?\d{5,12}(?:\.\d{1,9})?", re.ASCII)
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> int:
    """Return nanoseconds since 1970 of a time: ISO 8601 as the W3C profiles it, or seconds since 1970.

    Four digits are a year; a time of day needs its zone.
    """
    if _EPOCH.fullmatch(text):
        return int(Decimal(text) * 1_000_000_000)
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    moment = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
    )
    nanoseconds = int((moment - _EPOCH_START) // timedelta(seconds=1)) * 1_000_000_000
    nanoseconds += int((fraction or "").ljust(9, "0"))
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:])
        if hours > 14 or minutes > 59:
            raise ValueError(text)
        offset = (hours * 60 + minutes) * 60 * 1_000_000_000
        nanoseconds += -offset if zone[0] == "+" else offset
    return nanoseconds


def parse_bool(text: str) -> bool:
    """Return whether a text is true; it may be false, and nothing else."""
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueError(text)
    return lowered == "true"


def _parse_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(text) from None


class Network(NamedTuple):
    """A range of addresses; an IPv4 range stays one however it is written."""

    version: int
    first: int
    mask: int
    prefix_length: int


_V4_MAPPED_FIRST = 0xFFFF_0000_0000
_ADDRESS_LENGTH_MAX = 64


def parse_network(text: str) -> Network:
    """Return a range in CIDR notation, or a single address."""
    if len(text) > _ADDRESS_LENGTH_MAX or "%" in text:
        raise ValueError(text)
    network = ipaddress.ip_network(text, strict=False)
    first, length = int(network.network_address), network.prefixlen
    version = network.version
    if version == 6 and length >= 96 and first >> 32 == _V4_MAPPED_FIRST >> 32:
        version, first, length = 4, first & 0xFFFF_FFFF, length - 96
    bits = 32 if version == 4 else 128
    return Network(version, first, ((1 << length) - 1) << (bits - length), length)


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> tuple[int, int]:
    if len(text) > _ADDRESS_LENGTH_MAX:
        raise ValueError(text)
    address = ipaddress.ip_address(text.partition("%")[0])
    number = int(address)
    if address.version == 6 and number >> 32 == _V4_MAPPED_FIRST >> 32:
        return 4, number & 0xFFFF_FFFF
    return address.version, number


def _read_networks(values: Sequence[str], place: str, variables: bool) -> Read:
    networks: list[Network] = []
    for value in values:
        try:
            networks.append(parse_network(value))
        except ValueError:
            refuse(place, f"{shown(value)} is no IP address or range; write 192.0.2.0/24 or 2001:db8::/32")

    def test(value: str, context: Context) -> bool:
        version, number = _request_value(_parse_address, value)
        return any(version == network.version and number & network.mask == network.first for network in networks)

    return Read(test)


_NUMBER_SAID = "number; write digits, with a point if need be, at most 20 on each side"
_TIME_SAID = "time; write 2030-01-31T00:00:00Z, a date, or seconds since 1970"
_FLAG_SAID = "truth value; write true or false"

_equals = _reads_texts(wildcards=False)
_equals_folded = _reads_texts(wildcards=False, fold=str.casefold)
_like = _reads_texts(wildcards=True)
_bool = _reads_by(parse_bool, operator.eq, _FLAG_SAID)


def _comparisons(kind: str, parse: Callable[[str], Any], said: str) -> dict[str, Operator]:
    equal = _reads_by(parse, operator.eq, said)
    return {
        f"{kind}Equals": Operator(False, equal),
        f"{kind}NotEquals": Operator(True, equal),
        f"{kind}LessThan": Operator(False, _reads_by(parse, operator.lt, said)),
        f"{kind}LessThanEquals": Operator(False, _reads_by(parse, operator.le, said)),
        f"{kind}GreaterThan": Operator(False, _reads_by(parse, operator.gt, said)),
        f"{kind}GreaterThanEquals": Operator(False, _reads_by(parse, operator.ge, said)),
    }


#: Every operator by its name. `Null` asks whether the key is there, so `conditions` evaluates it itself.
OPERATORS = MappingProxyType(
    {
        "StringEquals": Operator(False, _equals),
        "StringNotEquals": Operator(True, _equals),
        "StringEqualsIgnoreCase": Operator(False, _equals_folded),
        "StringNotEqualsIgnoreCase": Operator(True, _equals_folded),
        "StringLike": Operator(False, _like),
        "StringNotLike": Operator(True, _like),
        **_comparisons("Numeric", parse_number, _NUMBER_SAID),
        **_comparisons("Date", parse_time, _TIME_SAID),
        "Bool": Operator(False, _bool),
        "BinaryEquals": Operator(False, _reads_by(_parse_base64, operator.eq, "base64 text")),
        "IpAddress": Operator(False, _read_networks),
        "NotIpAddress": Operator(True, _read_networks),
        "ArnEquals": Operator(False, _read_arns),
        "ArnLike": Operator(False, _read_arns),
        "ArnNotEquals": Operator(True, _read_arns),
        "ArnNotLike": Operator(True, _read_arns),
        "Null": Operator(False, _bool),
    }
)
