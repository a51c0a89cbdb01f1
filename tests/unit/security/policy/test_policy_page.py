"""The reference page says all there is."""

from __future__ import annotations

import re
from pathlib import Path

from tickvault.security.policy import ACTIONS, ROLES
from tickvault.security.policy.document import _ELEMENTS, _STATEMENT_ELEMENTS
from tickvault.security.policy.keys import PRINCIPAL_KEYS, REQUEST_KEYS, TAG_KEYS
from tickvault.security.policy.limits import POLICY_SIZE_MAX
from tickvault.security.policy.operators import OPERATORS
from tickvault.security.policy.public_access import FIXING_KEYS

PAGE = (Path(__file__).parents[4] / "docs/reference/policies.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)))


def test_elements_operators_keys_and_roles_are_on_the_page() -> None:
    assert {*_ELEMENTS, *_STATEMENT_ELEMENTS} <= CODE
    assert set(OPERATORS) <= CODE
    assert {*REQUEST_KEYS, *PRINCIPAL_KEYS, *(f"{key}KEY" for key in TAG_KEYS)} <= CODE
    assert set(ROLES) <= CODE
    assert {name.lower() for name in CODE} >= FIXING_KEYS


def test_our_own_actions_and_the_sizes_are_on_the_page() -> None:
    own = {action.name.partition(":")[2] for action in ACTIONS.values() if action.name.startswith("tickvault:")}
    assert own <= CODE
    for kind, size in POLICY_SIZE_MAX.items():
        assert re.search(rf"^\| {kind} \|.*\| {size:,} \|$", PAGE, re.MULTILINE), kind


def test_the_page_names_no_key_or_operator_that_is_none() -> None:
    keys = {name for name in CODE if re.fullmatch(r"(aws|s3):[a-zA-Z-]+", name)}
    known = {key.lower() for key in (*REQUEST_KEYS, *PRINCIPAL_KEYS)} | FIXING_KEYS | set(ACTIONS)
    assert {key for key in keys if key.lower() not in known} == set()
