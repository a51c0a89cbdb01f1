"""A plain and slow evaluator of policies, over the JSON as it was written: what the fast one must agree with."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

Doc = Mapping[str, Any]


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def glob(pattern: tuple[str, ...], text: str) -> bool:
    """Match a pattern of single characters, where "*" and "?" in brackets, ("<*>"), are wildcards; by recursion."""

    @cache
    def at(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(text)
        if pattern[i] == "<*>":
            return at(i + 1, j) or (j < len(text) and at(i, j + 1))
        return j < len(text) and pattern[i] in ("<?>", text[j]) and at(i + 1, j + 1)

    return at(0, 0)


def pattern_of(text: str, context: Mapping[str, Any] | None, *, wild: bool = True) -> tuple[str, ...] | None:
    """Return the characters of a pattern, None if a variable has no value."""
    out: list[str] = []
    for variable, name, default, character in re.findall(r"(\$\{([^},]*)(?:, *'([^']*)')?\})|(.)", text, re.DOTALL):
        if variable and context is not None:
            if name in ("*", "?", "$"):
                out.append(name)
                continue
            value = context.get(name.lower())
            if isinstance(value, tuple):
                value = value[0] if len(value) == 1 else None
                if value is None:
                    return None
            if value is None:
                value = default if "'" in variable else None
            if value is None:
                return None
            out.extend(value)
        elif variable:
            out.extend(f"<{c}>" if wild and c in "*?" else c for c in variable)
        else:
            out.append(f"<{character}>" if wild and character in "*?" else character)
    return tuple(out)


def text_matches(pattern: str, text: str, context: Mapping[str, Any] | None, *, wild: bool = True) -> bool:
    characters = pattern_of(pattern, context, wild=wild)
    return characters is not None and glob(characters, text)


def one_value(base: str, wanted: str, given: str, context: Mapping[str, Any] | None) -> bool:
    """Does one value of the request agree with one value of the policy? ``Not`` is taken out of `base`."""
    if base == "StringEquals":
        return text_matches(wanted, given, context, wild=False)
    if base == "StringEqualsIgnoreCase":
        return wanted.casefold() == given.casefold()
    if base in ("StringLike", "ArnLike"):
        return text_matches(wanted, given, context)
    if base.startswith("Numeric"):
        a, b = int(given), int(wanted)
        return {"Equals": a == b, "LessThan": a < b, "GreaterThanEquals": a >= b}[base.removeprefix("Numeric")]
    if base.startswith("Date"):
        x, y = (datetime.fromisoformat(text) for text in (given, wanted))
        return {"LessThan": x < y, "GreaterThan": x > y}[base.removeprefix("Date")]
    if base == "Bool":
        return wanted == given
    assert base == "IpAddress"
    return ipaddress.ip_address(given) in ipaddress.ip_network(wanted)


def condition_holds(operator: str, wanted: Any, given: Any, context: Mapping[str, Any] | None) -> bool:
    quantifier, _, rest = operator.rpartition(":")
    base = rest.removesuffix("IfExists")
    negated = "Not" in base
    plain = base.replace("Not", "")
    values = as_list(wanted)
    if base == "Null":
        return ("true" if given is None else "false") in values
    if given is None or (quantifier and given == ""):
        if rest != base or quantifier == "ForAllValues":
            return True
        return negated and not quantifier
    agreeing = [any(one_value(plain, value, one, context) for value in values) for one in as_list(given)]
    if quantifier == "ForAllValues":
        return all(one != negated for one in agreeing)
    if quantifier == "ForAnyValue":
        return any(one != negated for one in agreeing)
    return not any(agreeing) if negated else any(agreeing)


def named(principals: Any, who: Mapping[str, str]) -> str:
    names = ["*"] if principals == "*" else as_list(principals.get("AWS", []))
    if "*" in names:
        return "everyone"
    if who["kind"] == "anonymous":
        return ""
    if who["arn"] in names:
        return "itself"
    if who["kind"] == "role" and who["role"] in names:
        return "role"
    account = who["account"] in names or f"arn:aws:iam::{who['account']}:root" in names
    return ("itself" if who["kind"] == "root" else "account") if account else ""


def about(statement: Doc, who: Mapping[str, str]) -> str:
    if "Principal" in statement:
        return named(statement["Principal"], who)
    if "NotPrincipal" in statement:
        return "everyone" if named(statement["NotPrincipal"], who) in ("", "account") else ""
    return "its own"


def matches(statement: Doc, version: str, ask: Mapping[str, Any]) -> bool:
    context = ask["context"] if version == "2012-10-17" else None
    actions = as_list(statement.get("Action", statement.get("NotAction")))
    acts = any(text_matches(action.lower(), ask["action"].lower(), None) for action in actions)
    if acts == ("NotAction" in statement):
        return False
    resources = as_list(statement.get("Resource", statement.get("NotResource")))
    lies = any(text_matches(resource, ask["resource"], context) for resource in resources)
    if lies == ("NotResource" in statement):
        return False
    if not about(statement, ask["who"]):
        return False
    return all(
        condition_holds(operator, wanted, ask["context"].get(key.lower()), context)
        for operator, block in statement.get("Condition", {}).items()
        for key, wanted in block.items()
    )


def found(document: Doc, effect: str, ask: Mapping[str, Any]) -> list[Doc]:
    version = document.get("Version", "2008-10-17")
    return [s for s in as_list(document["Statement"]) if s["Effect"] == effect and matches(s, version, ask)]


def decide(
    ask: Mapping[str, Any], identity: list[Doc], boundary: Doc | None, sessions: list[Doc], bucket: Doc | None
) -> bool:
    who = ask["who"]
    kept = who["kind"] == "root" and ask["action"].lower() in (
        "s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy",
    )  # fmt: skip
    for document in [*identity, *sessions, *([boundary] if boundary else [])]:
        if found(document, "Deny", ask):
            return False
    if bucket and found(bucket, "Deny", ask) and not kept:
        return False
    own = who["kind"] == "root" or (who["kind"] != "anonymous" and any(found(d, "Allow", ask) for d in identity))
    in_boundary = boundary is None or bool(found(boundary, "Allow", ask))
    in_sessions = all(found(session, "Allow", ask) for session in sessions)
    if own and in_boundary and in_sessions:
        return True
    grants = {about(statement, who) for statement in found(bucket, "Allow", ask)} if bucket else set()
    if "everyone" in grants:
        return True
    if "itself" in grants and (who["kind"] == "role" or in_sessions):
        return True
    return "role" in grants and in_boundary and in_sessions
