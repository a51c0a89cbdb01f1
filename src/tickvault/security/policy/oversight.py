"""What a policy says that is likely not meant.

Invariants: nothing here changes what a policy means; what is told is true of the catalogue of this store, whoever
else may know the action or the key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tickvault.security.policy.actions import expand
from tickvault.security.policy.keys import is_known_key
from tickvault.security.policy.limits import shown
from tickvault.security.policy.patterns import S3_ARN
from tickvault.security.policy.statement import Statement

_VARIABLE = re.compile(r"\$\{[A-Za-z0-9-]+:[^{}]+\}")


def can_apply(statement: Statement) -> bool:
    """Tell whether an action of a bucket policy's statement can have one of its resources."""
    if statement.not_action or statement.not_resource:
        return True
    levels = {action.level for pattern in statement.actions for action in expand(pattern)}
    # Actions that the catalogue does not have are let be: another store may know them.
    if not levels:
        return True
    on_objects = any("/" in resource[len(S3_ARN) :] for resource in statement.resources)
    on_bucket = any("/" not in resource[len(S3_ARN) :] for resource in statement.resources)
    return (on_objects and "object" in levels) or (on_bucket and "bucket" in levels)


def oversights(statements: Sequence[Statement], *, variables: bool) -> list[str]:
    """Return what stands in a policy without effect, or with more of it than is likely meant, in words."""
    found: list[str] = []
    for statement in statements:
        place = f"Statement[{statement.index}]"
        for action in statement.actions:
            if action != "*" and not expand(action):
                found.append(f"{place}: no action is called {shown(action)}; it never matches a request here")
        for condition in statement.conditions:
            if not is_known_key(condition.key):
                found.append(
                    f"{place}: the key {shown(condition.key)} is never in a request here; the condition sees it missing"
                )
        if not variables:
            values = [value for condition in statement.conditions for value in condition.values]
            found += [
                f"{place}: {shown(text)} is taken as it is written; variables need Version 2012-10-17"
                for text in (*statement.resources, *values)
                if _VARIABLE.search(text)
            ]
        for resource in statement.resources:
            if resource != "*" and resource.split(":")[1] not in ("aws", "*"):
                found.append(
                    f"{place}: {shown(resource)} is of another partition; the resources here begin with arn:aws:"
                )
        if statement.principal is not None:
            found += [f"{place}: {shown(name)} matches nobody here" for name in statement.principal.foreign]
            if statement.principal.negated and statement.effect == "Allow":
                found.append(f"{place}: NotPrincipal with Allow allows everyone else, also without a signature")
    return found
