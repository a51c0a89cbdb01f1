"""Policies out: one text for one policy.

Invariants: elements in one order, no white space, one value as a text and several as a list, numbers and truth values
as texts; what the text says is what was read, in the order in which it was read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tickvault.security.policy.statement import Statement


def canonical_json(version: str, policy_id: str | None, statements: Sequence[Statement]) -> str:
    """Return the text of a policy."""
    document: dict[str, Any] = {"Version": version}
    if policy_id is not None:
        document["Id"] = policy_id
    document["Statement"] = [_statement_json(statement) for statement in statements]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _statement_json(statement: Statement) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if statement.sid:
        entry["Sid"] = statement.sid
    entry["Effect"] = statement.effect
    if statement.principal is not None:
        name = "NotPrincipal" if statement.principal.negated else "Principal"
        entry[name] = statement.principal.to_json()
    entry["NotAction" if statement.not_action else "Action"] = _one_or_list(statement.actions)
    if statement.resources:
        entry["NotResource" if statement.not_resource else "Resource"] = _one_or_list(statement.resources)
    if statement.conditions:
        block: dict[str, dict[str, str | list[str]]] = {}
        for condition in statement.conditions:
            block.setdefault(condition.operator, {})[condition.key] = _one_or_list(condition.values)
        entry["Condition"] = block
    return entry


def _one_or_list(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
