"""The ``Condition`` element: read once, then asked for every request.

Every condition of a statement must hold; of the values of a condition one must agree, or none for a negated operator.
Of several values of the request an Allow asks it of each, a Deny of any.

Invariants: an operator that nobody knows is refused when the policy is read, never skipped; a key that the request
lacks makes a condition false, unless the operator is negated, ends in ``IfExists`` or asks with ``ForAllValues:``; a
value of the request that its operator cannot read never helps the request: it makes the condition of an Allow false
and of a Deny true.

Source: IAM User Guide, "IAM JSON policy elements: Condition", "Single-valued vs. multivalued context keys".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tickvault.security.policy.keys import plain_value
from tickvault.security.policy.limits import (
    CONDITIONS_MAX,
    KEY_LENGTH_MAX,
    VALUE_LENGTH_MAX,
    VALUES_MAX,
    check_length,
    refuse,
    shown,
)
from tickvault.security.policy.operators import OPERATORS, UnreadableError
from tickvault.security.policy.patterns import Context
from tickvault.security.policy.strict_json import JsonObject, Number

Quantifier = Literal["", "ForAllValues", "ForAnyValue"]


class Condition:
    """One operator, one key, and the values that the policy wants."""

    __slots__ = (
        "_absent",
        "_deny",
        "_negated",
        "_null",
        "_test",
        "base",
        "key",
        "key_folded",
        "keys_read",
        "operator",
        "quantifier",
        "values",
    )

    def __init__(self, operator: str, key: str, values: Sequence[str], *, place: str, deny: bool, variables: bool):
        quantifier, base, if_exists = _split_operator(operator, place)
        known = OPERATORS[base]
        read = known.read(values, place, variables)
        self.operator = operator
        self.base = base
        self.key = key
        self.key_folded = key.lower()
        self.values = tuple(values)
        self.quantifier: Quantifier = quantifier
        self.keys_read = (self.key_folded, *read.variables)
        """Every key of the request, in lower case, that the answer depends on."""
        self._test = read.test
        self._negated = known.negated
        self._null = base == "Null"
        self._deny = deny
        self._absent = if_exists or quantifier == "ForAllValues" or (known.negated and not quantifier)

    def holds(self, context: Context) -> bool:
        """Tell whether a request satisfies the condition."""
        value = context.get(self.key_folded)
        if self._null:
            return self._test("true" if value is None else "false", context)
        if value is None:
            return self._absent
        try:
            if isinstance(value, str):
                # An empty text is an empty set to the quantifiers.
                if self.quantifier and not value:
                    return self._absent
                return self._test(value, context) != self._negated
            agree = [self._test(one, context) for one in value]
        except UnreadableError:
            return self._deny
        # Without a quantifier AWS leaves several values undefined. Here none of them helps whoever sent them: an Allow
        # asks it of every value, a Deny of any.
        wanted = self.quantifier or ("ForAnyValue" if self._deny else "ForAllValues")
        every = all if wanted == "ForAllValues" else any
        return every(one != self._negated for one in agree)


def _split_operator(operator: str, place: str) -> tuple[Quantifier, str, bool]:
    quantifier, colon, rest = operator.rpartition(":")
    base = rest.removesuffix("IfExists")
    if_exists = base != rest
    if colon and quantifier not in ("ForAllValues", "ForAnyValue"):
        refuse(place, f"the qualifier {shown(quantifier)} is unknown; there are ForAllValues: and ForAnyValue:")
    if base not in OPERATORS:
        near = [name for name in OPERATORS if name.lower() == base.lower()]
        what = f"write {near[0]}" if near else "the operators stand in docs/reference/policies.md"
        refuse(place, f"the operator {shown(base)} is unknown; {what}")
    if base == "Null" and (if_exists or colon):
        refuse(place, f"{shown(operator)} is no operator; Null takes neither IfExists nor a qualifier")
    if quantifier == "ForAllValues":
        return "ForAllValues", base, if_exists
    return ("ForAnyValue" if colon else ""), base, if_exists


def read_conditions(value: Any, place: str, *, deny: bool, variables: bool) -> tuple[Condition, ...]:
    """Return the conditions that the value of a ``Condition`` element stands for.

    Parameters
    ----------
    deny : bool
        Whether the statement denies: that decides what an unreadable value of the request means.
    variables : bool
        Whether the policy's version has variables.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    if not isinstance(value, JsonObject):
        refuse(place, f"must be an object of operators, was {shown(value)}")
    if value.repeated:
        refuse(place, f"the operator {shown(value.repeated[0])} stands twice; put its keys into one object")
    conditions: list[Condition] = []
    for operator, block in value.items():
        inner = f"{place}.{operator}" if operator.isidentifier() else f"{place}[{shown(operator)}]"
        if not isinstance(block, JsonObject):
            refuse(inner, f"must be an object of condition keys, was {shown(block)}")
        _split_operator(operator, inner)
        if block.repeated:
            refuse(inner, f"the key {shown(block.repeated[0])} stands twice; put its values into one list")
        seen: dict[str, str] = {}
        for key, given in block.items():
            here = f'{inner}["{key}"]' if len(key) <= KEY_LENGTH_MAX else f"{inner}[{shown(key)}]"
            _check_key(key, here)
            if key.lower() in seen:
                refuse(here, f"is {seen[key.lower()]!r} again, as names of keys are compared without case")
            seen[key.lower()] = key
            values = tuple(plain_value(key.lower(), value) for value in _read_values(given, here))
            if len(conditions) == CONDITIONS_MAX:
                refuse(place, f"has more than {CONDITIONS_MAX} conditions; split the statement")
            conditions.append(Condition(operator, key, values, place=here, deny=deny, variables=variables))
    return tuple(conditions)


def _check_key(key: str, place: str) -> None:
    check_length(place, key, KEY_LENGTH_MAX)
    prefix, colon, name = key.partition(":")
    if not colon or not prefix or not name or not key.isprintable():
        refuse(place, f"{shown(key)} is no condition key; it has the form service:Key, such as aws:SourceIp")
    if "*" in prefix or "${" in key:
        refuse(place, f"{shown(key)}: the name of a key holds neither a wildcard nor a variable")


def _read_values(given: Any, place: str) -> tuple[str, ...]:
    listed = given if isinstance(given, list) else [given]
    if not listed:
        refuse(place, "has no values; name at least one")
    if len(listed) > VALUES_MAX:
        refuse(place, f"has {len(listed):,} values; at most {VALUES_MAX} are read")
    values: list[str] = []
    for index, value in enumerate(listed):
        here = f"{place}[{index}]" if isinstance(given, list) else place
        if isinstance(value, bool):
            values.append("true" if value else "false")
            continue
        if not isinstance(value, str):
            refuse(here, f"must be a text, a number or a truth value, was {shown(value)}")
        if isinstance(value, Number) and len(value) > 41:
            refuse(here, f"the number {shown(str(value))} has too many digits; write it as a text if it is an id")
        if isinstance(value, Number) and not value.lstrip("-").replace(".", "", 1).isdigit():
            refuse(here, f"the number {value} is not written in plain digits; write them out")
        check_length(here, value, VALUE_LENGTH_MAX)
        values.append(str(value))
    return tuple(dict.fromkeys(values))
